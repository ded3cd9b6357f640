"""A client's stream, written."""

from providers.neutral.codec import Reply
from streams.events import Event


class ConverseWriter:
    """See ``providers.neutral.codec.Writer``."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply

    def send(self, event: Event) -> bytes:
        raise NotImplementedError

    def ping(self) -> bytes:
        raise NotImplementedError
