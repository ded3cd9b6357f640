"""What makes the client's bytes from a provider's in a relayed answer, and reads its usage. Nothing here waits."""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

import msgspec

from gateway.http.headers import Headers
from gateway.http.response import JSON_HEADERS
from gateway.streaming.lane import too_large
from providers.apis import CODECS
from providers.endpoints.usage import read_usage
from streams.errors import GatewayError
from streams.events import Api, ErrorInfo, Event, Usage
from streams.sse import SSE
from streams.structure import MAX_ELEMENTS, has_more_elements
from streams.surrogates import NOT_JSON, any_json

if TYPE_CHECKING:
    from providers.neutral.codec import Reader

Rewrite: TypeAlias = Callable[[bytes], tuple[bytes, Usage | None]]
"""Returns the client's form of a provider's whole answer, and its usage. Raises ``GatewayError``."""

AT_HAND: Final = 2**20
"""Bytes of an answer in JSON that is read whole before its head goes out: the head can state its cost then, and a
failure still has its own status."""

KEPT: Final = ("content-type", "content-disposition", "content-length", "content-range", "accept-ranges", "etag",
               "last-modified")  # fmt: skip
"""Headers about the body, which pass with an unchanged body."""


UNBUFFERED: Final = (("cache-control", "no-cache"), ("x-accel-buffering", "no"))


class AnswerFilter(Protocol):
    """Makes the client's bytes from a provider's answer; each attempt has its own.

    An answer of up to ``held`` bytes goes out whole, with its length. ``ping`` is a keep-alive that may go out between
    events, ``b""`` for an answer that is no stream of events."""

    @property
    def held(self) -> int: ...

    @property
    def ping(self) -> bytes: ...

    @property
    def usage(self) -> Usage | None:
        """The usage that the answer has reported so far."""
        ...

    def head(self, status: int, headers: Headers) -> Headers:
        """Return the client's headers about the body, from the provider's ``status`` and ``headers`` (names in lower
        case). Called first for each response. Raises ``GatewayError`` for a response that is no answer."""
        ...

    def take(self, piece: bytes) -> bytes:
        """Return the client's bytes for a piece, perhaps none yet. Raises ``GatewayError`` if the answer fails."""
        ...

    def close(self) -> bytes:
        """Return the client's last bytes. Raises ``GatewayError`` for an answer that is not whole."""
        ...


class AnswerReading(Protocol):
    """Reads the usage of an answer that passes unchanged, and whether the answer is whole. Its methods raise
    ``GatewayError`` for an answer that has failed, and nothing else, whatever a provider sends."""

    @property
    def usage(self) -> Usage | None: ...

    def event(self, name: str, data: bytes) -> None:
        """Read a server-sent event; ``name`` is "" if it has none."""
        ...

    def whole(self, value: object) -> None:
        """Read a whole answer in JSON, decoded."""
        ...

    def close(self, *, streamed: bool) -> None:
        """Note the end of the answer, which consisted of events if it was ``streamed``."""
        ...


class Unread:
    """The ``AnswerReading`` that reads nothing, and the base of others."""

    @property
    def usage(self) -> Usage | None:
        return None

    def event(self, name: str, data: bytes) -> None:
        return

    def whole(self, value: object) -> None:
        return

    def close(self, *, streamed: bool) -> None:
        return


class NativeUsage(Unread):
    """Reads the usage of answers in ``api``, and of others that have a member ``usage``. It judges none."""

    usage: Usage | None = None

    def __init__(self, api: Api) -> None:
        self._api = api
        self._reader: Reader | None = None

    def event(self, name: str, data: bytes) -> None:
        if self._reader is None:
            self._reader = CODECS[self._api].reader(keeps=0)
        self._see(self._reader.take(name, data))

    def whole(self, value: object) -> None:
        if not isinstance(value, Mapping):
            return
        try:
            self._see(CODECS[self._api].read_answer(msgspec.json.encode(value), texts=False, checked=False))
        except GatewayError:
            self.usage = None
        self.usage = self.usage or read_usage(value.get("usage"))

    def _see(self, events: Iterable[Event]) -> None:
        for event in events:
            if isinstance(event, Usage):
                self.usage = event


class PassedBytes:
    """The ``AnswerFilter`` of bytes that pass unread, and the base of others."""

    held = 0
    ping = b""

    @property
    def usage(self) -> Usage | None:
        return None

    def head(self, status: int, headers: Headers) -> Headers:
        return tuple(pair for pair in headers if pair[0] in KEPT)

    def take(self, piece: bytes) -> bytes:
        return piece

    def close(self) -> bytes:
        return b""


class PassedAnswer(PassedBytes):
    """The ``AnswerFilter`` of an answer that passes unchanged, events each as a whole. ``hides`` returns true for the
    data of an event that is meant for the gateway alone."""

    def __init__(self, reading: AnswerReading, event_limit: int, hides: Callable[[bytes], bool] | None = None) -> None:
        self._hides = hides
        self._hidden = False  # the last event is
        self._reading = reading
        self._splitter = SSE.splitter(event_limit)
        self._streamed = False
        self._parts: list[bytes] | None = None  # of JSON that is read once it is whole
        self._size = 0

    @property
    def usage(self) -> Usage | None:
        return self._reading.usage

    def head(self, status: int, headers: Headers) -> Headers:
        kind = next((value for name, value in headers if name == "content-type"), "").lower()
        self._streamed = SSE.matches_type(kind)
        if self._streamed:
            self.ping = SSE.comment
            return (*(pair for pair in headers if pair[0] == "content-type"), *UNBUFFERED)
        if "json" in kind and "jsonl" not in kind:
            self.held, self._parts = AT_HAND, []
        return super().head(status, headers)

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
        rest = SSE.complete(self._splitter.close())
        out = self._event(rest) if rest else b""
        self._reading.close(streamed=True)
        return out

    def _event(self, raw: bytes) -> bytes:
        if (parsed := SSE.parse(raw)) is None:
            return b"" if self._hidden and raw == b"\n" else raw
        self._reading.event(*parsed)
        self._hidden = self._hides is not None and self._hides(parsed[1])
        return b"" if self._hidden else raw


class HeldAnswer(PassedBytes):
    """The ``AnswerFilter`` of a whole answer of up to ``limit`` bytes, and what ``rewrite`` makes of it."""

    usage: Usage | None = None

    def __init__(self, rewrite: Rewrite, limit: int) -> None:
        self.held = limit
        self._rewrite = rewrite
        self._parts: list[bytes] = []
        self._size = 0

    def head(self, status: int, headers: Headers) -> Headers:
        return JSON_HEADERS

    def take(self, piece: bytes) -> bytes:
        self._parts.append(piece)
        self._size += len(piece)
        if self._size > self.held:
            raise GatewayError.of(too_large(self.held))
        return b""

    def close(self) -> bytes:
        data = b"".join(self._parts)
        self._parts.clear()
        out, self.usage = self._rewrite(data)
        return out


class ObjectAnswer(HeldAnswer):
    """The ``AnswerFilter`` of an object that a provider keeps, or of a list: ``shown`` writes the ``body`` that its
    owner gets; ``more`` returns other headers of the client's response from the provider's."""

    def __init__(
        self, limit: int, shown: Callable[[bytes], bytes], more: Callable[[Mapping[str, str]], Headers] = lambda _: ()
    ) -> None:
        super().__init__(lambda data: (shown(data), None), limit)
        self.body = b""
        self._more = more

    def head(self, status: int, headers: Headers) -> Headers:
        kind = tuple(pair for pair in headers if pair[0] == "content-type")
        return (*kind, ("cache-control", "no-store"), *self._more(dict(headers)))

    def close(self) -> bytes:
        self.body = super().close()
        return self.body


class RewrittenEvents(PassedBytes):
    """The ``AnswerFilter`` of an answer that is rewritten: each event by ``event``, a whole answer by ``whole``.
    ``reading`` reads the provider's bytes."""

    def __init__(
        self,
        reading: AnswerReading,
        event: Callable[[bytes], bytes],
        whole: Callable[[bytes], bytes],
        event_limit: int,
        answer_limit: int,
    ) -> None:
        self.held = answer_limit
        self._reading = reading
        self._event = event
        self._rewrite = whole
        self._whole = HeldAnswer(self._rewritten, answer_limit)
        self._splitter = SSE.splitter(event_limit)
        self._streamed = False

    @property
    def usage(self) -> Usage | None:
        return self._reading.usage

    def head(self, status: int, headers: Headers) -> Headers:
        kind = next((value for name, value in headers if name == "content-type"), "")
        self._streamed = SSE.matches_type(kind)
        if not self._streamed:
            return self._whole.head(status, headers)
        self.held, self.ping = 0, SSE.comment
        return (("content-type", SSE.content_type), *UNBUFFERED)

    def take(self, piece: bytes) -> bytes:
        if not self._streamed:
            return self._whole.take(piece)
        return b"".join(map(self._written, self._splitter.feed(piece)))

    def close(self) -> bytes:
        if not self._streamed:
            return self._whole.close()
        rest = SSE.complete(self._splitter.close())
        out = self._written(rest) if rest else b""
        self._reading.close(streamed=True)
        return out

    def _rewritten(self, body: bytes) -> tuple[bytes, Usage | None]:
        if (value := decoded(body)) is None:
            raise bad_answer("the provider's answer is not JSON")
        self._reading.whole(value)
        self._reading.close(streamed=False)
        return self._rewrite(body), self._reading.usage

    def _written(self, raw: bytes) -> bytes:
        if (parsed := SSE.parse(raw)) is None:
            return b""
        self._reading.event(*parsed)
        return self._event(parsed[1])


def decoded(body: bytes) -> object:
    """``None`` for what is no JSON, or would be too much of it."""
    if has_more_elements(body, MAX_ELEMENTS):
        return None
    try:
        return any_json(body)
    except NOT_JSON:
        return None


def bad_answer(message: str) -> GatewayError:
    """The error of an answer that a provider should not have given."""
    return GatewayError.of(ErrorInfo("upstream", message, reason="bad_answer"))
