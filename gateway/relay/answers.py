"""The way of a relayed answer to its client, pure: the provider's bytes in, the client's out."""

from collections.abc import Callable
from typing import Final, Protocol

from gateway.http.headers import Headers
from streams.errors import GatewayError
from streams.events import ErrorInfo, Usage
from streams.sse import SSE
from streams.structure import ELEMENTS, holds_more
from streams.surrogates import NOT_JSON, any_json

AT_HAND: Final = 2**20
"""Bytes of an answer in JSON that is read whole before its head goes out: what it has cost can be told there then, and
a failure still has a status of its own."""

KEPT: Final = ("content-type", "content-disposition", "content-length", "content-range", "accept-ranges", "etag",
               "last-modified")  # fmt: skip
"""Headers about the body, which stay where it passes as it is."""


class AnswerFilter(Protocol):
    """One answer's way to its client; a new one for each attempt. ``held`` is up to how many bytes it waits to be
    whole, ``ping`` a keep-alive that may stand between any two of its pieces, ``b""`` where there is none."""

    @property
    def held(self) -> int: ...

    @property
    def ping(self) -> bytes: ...

    @property
    def usage(self) -> Usage | None:
        """What it says, so far, that it has taken."""
        ...

    def head(self, status: int, headers: Headers) -> Headers:
        """The headers of the client's answer that are about its body, for the provider's status and headers (names in
        lower case); it is called first, and once. Raises ``GatewayError`` for an answer that is none."""
        ...

    def take(self, piece: bytes) -> bytes:
        """What goes to the client for a piece, perhaps nothing yet. Raises ``GatewayError`` where the answer fails."""
        ...

    def close(self) -> bytes:
        """What goes to the client behind the last piece. Raises ``GatewayError`` for an answer that is not whole."""
        ...


class AnswerReading(Protocol):
    """Reads along in an answer that passes as it is: its usage, and whether it is whole. Whatever a provider sends, it
    raises nothing but ``GatewayError``, for an answer that has failed."""

    @property
    def usage(self) -> Usage | None: ...

    def event(self, name: str, data: bytes) -> None:
        """A server-sent event: its name ("" if none) and its data."""
        ...

    def whole(self, value: object) -> None:
        """A whole answer in JSON, decoded."""
        ...

    def close(self, *, streamed: bool) -> None:
        """The answer has ended; ``streamed``: it was one of events."""
        ...


class Unread:
    """The ``AnswerReading`` of an answer in which nobody reads."""

    usage: Usage | None = None

    def event(self, name: str, data: bytes) -> None:
        return

    def whole(self, value: object) -> None:
        return

    def close(self, *, streamed: bool) -> None:
        return


class PassedAnswer:
    """The ``AnswerFilter`` of an answer that passes byte for byte: events whole, all else as it comes. ``hides`` says
    of an event's data that it is there for the gateway alone."""

    def __init__(self, reading: AnswerReading, event_limit: int, hides: Callable[[bytes], bool] | None = None) -> None:
        self._hides = hides
        self._hidden = False  # the last event is
        self._reading = reading
        self._splitter = SSE.splitter(event_limit)
        self._streamed = False
        self._parts: list[bytes] | None = None  # of JSON that is read once it is whole
        self._size = 0
        self.held = 0
        self.ping = b""

    @property
    def usage(self) -> Usage | None:
        return self._reading.usage

    def head(self, status: int, headers: Headers) -> Headers:
        kind = next((value for name, value in headers if name == "content-type"), "").lower()
        self._streamed = SSE.announced_by(kind)
        if self._streamed:
            self.ping = SSE.comment
            return (*(pair for pair in headers if pair[0] == "content-type"), *UNBUFFERED)
        if "json" in kind and "jsonl" not in kind:
            self.held, self._parts = AT_HAND, []
        return tuple(pair for pair in headers if pair[0] in KEPT)

    def take(self, piece: bytes) -> bytes:
        if self._streamed:
            return b"".join(map(self._event, self._splitter.feed(piece)))
        if self._parts is not None:
            self._parts.append(piece)
            self._size += len(piece)
            if self._size > AT_HAND:
                self._parts = None
        return piece

    def close(self) -> bytes:
        if not self._streamed:
            if self._parts is not None and (value := decoded(b"".join(self._parts))) is not None:
                self._reading.whole(value)
            self._reading.close(streamed=False)
            return b""
        rest = SSE.completed(self._splitter.close())
        out = self._event(rest) if rest else b""
        self._reading.close(streamed=True)
        return out

    def _event(self, raw: bytes) -> bytes:
        if (parsed := SSE.parse(raw)) is None:
            return b"" if self._hidden and raw == b"\n" else raw
        self._reading.event(*parsed)
        self._hidden = self._hides is not None and self._hides(parsed[1])
        return b"" if self._hidden else raw


UNBUFFERED: Final = (("cache-control", "no-cache"), ("x-accel-buffering", "no"))


def decoded(body: bytes) -> object:
    """``None`` for what is no JSON, or would be too much of it."""
    if holds_more(body, ELEMENTS):
        return None
    try:
        return any_json(body)
    except NOT_JSON:
        return None


def bad_answer(message: str) -> GatewayError:
    """The error of an answer that a provider should not have given."""
    return GatewayError.of(ErrorInfo("upstream", message, reason="bad_answer"))
