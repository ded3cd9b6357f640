"""A provider's stream, read."""

from collections.abc import Sequence

from streams.events import Event


class GeminiReader:
    """See ``providers.neutral.codec.Reader``."""

    def __init__(self, keeps: int) -> None:
        self._keeps = keeps

    def take(self, event: str, data: bytes) -> Sequence[Event]:
        raise NotImplementedError

    def close(self) -> Sequence[Event]:
        raise NotImplementedError
