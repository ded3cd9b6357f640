"""Answers about what providers keep: objects and lists with the ids of their owner, contents as they come."""

from collections.abc import Callable, Mapping

from gateway.http.headers import Headers
from gateway.relay.answers import KEPT
from gateway.streaming.lane import too_large
from streams.errors import GatewayError
from streams.events import Usage


class ContentAnswer:
    """The ``AnswerFilter`` of a file's bytes: nobody looks at them, whatever they are."""

    held = 0
    ping = b""
    usage: Usage | None = None

    def head(self, status: int, headers: Headers) -> Headers:
        return tuple(pair for pair in headers if pair[0] in KEPT)

    def take(self, piece: bytes) -> bytes:
        return piece

    def close(self) -> bytes:
        return b""


class ObjectAnswer:
    """The ``AnswerFilter`` of an object, or of a list, as JSON: it is held until it is whole, at most ``most`` bytes,
    and ``shown`` as its owner gets it. ``status``, ``received`` and ``body`` are the provider's headers and what the
    client was shown in the end; ``more`` makes further headers of the provider's."""

    ping = b""
    usage: Usage | None = None

    def __init__(
        self, most: int, shown: Callable[[bytes], bytes], more: Callable[[Mapping[str, str]], Headers] = lambda _: ()
    ) -> None:
        self.held = most
        self.body = b""
        self._more = more
        self._shown = shown
        self._parts: list[bytes] = []
        self._size = 0

    def head(self, status: int, headers: Headers) -> Headers:
        kind = tuple(pair for pair in headers if pair[0] == "content-type")
        return (*kind, ("cache-control", "no-store"), *self._more(dict(headers)))

    def take(self, piece: bytes) -> bytes:
        self._parts.append(piece)
        self._size += len(piece)
        if self._size > self.held:
            raise GatewayError.of(too_large(self.held))
        return b""

    def close(self) -> bytes:
        self.body = self._shown(b"".join(self._parts))
        self._parts.clear()
        return self.body
