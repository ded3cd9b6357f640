"""Filters that convert a provider's response into the client's bytes and read its usage, without I/O."""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

import msgspec

from gateway.http.headers import Headers
from gateway.http.response import JSON_HEADERS
from gateway.streaming.lane import too_large
from providers.apis import CODECS
from providers.endpoints.media_tokens import read_usage
from providers.errors.answer_form import JSON, AnswerForm
from streams.errors import GatewayError
from streams.events import Api, ErrorInfo, Event, Usage
from streams.sse import SSE
from streams.structure import MAX_ELEMENTS, has_more_elements
from streams.surrogates import any_json, decode_or

if TYPE_CHECKING:
    from providers.neutral.codec import Reader

Rewrite: TypeAlias = Callable[[bytes], tuple[bytes, Usage | None]]
"""A function that returns the client's form of a provider's whole response, and its usage. Raises ``GatewayError``."""

MAX_HELD_JSON: Final = 2**20
"""Bytes of a JSON response that is read completely before its head is sent, so that the head can state the cost and a
failure has its own status."""

BODY_HEADERS: Final = ("content-type", "content-disposition", "content-length", "content-range", "accept-ranges",
                       "etag", "last-modified")  # fmt: skip
"""Response headers about the body, passed on with an unchanged body."""


UNBUFFERED_HEADERS: Final = (("cache-control", "no-cache"), ("x-accel-buffering", "no"))


class AnswerFilter:
    """A converter of one attempt's provider response into the client's bytes. This base class returns them unread.

    The caller holds the response until it exceeds ``hold_limit`` bytes: a shorter one is sent whole with its length.
    ``ping`` is a keep-alive for use between events, ``b""`` if the response is no event stream."""

    hold_limit = 0
    ping = b""

    @property
    def usage(self) -> Usage | None:
        """The usage reported so far."""
        return None

    @property
    def buffered_bytes(self) -> int:
        """The bytes of the response in memory, if they may be many."""
        return 0

    @property
    def has_ended(self) -> bool:
        """True if the last event of a stream has arrived. The stream is complete even if its body does not end."""
        return False

    @property
    def is_json(self) -> bool:
        """True if the response is one JSON text, which is complete with its last bracket. Before ``head``, it may turn
        out to be a stream or something else."""
        return False

    def head(self, status: int, headers: Headers) -> Headers:
        """Begin a response: return the client's headers about the body.

        ``status`` and ``headers`` (lower-case names) are the provider's. Raises ``GatewayError`` for an unusable
        response."""
        return tuple(pair for pair in headers if pair[0] in BODY_HEADERS)

    def size_of_work(self, piece: bytes) -> int:
        """Return the number of bytes that ``take(piece)`` would decode, if they may be many."""
        return 0

    def take(self, piece: bytes) -> bytes:
        """Return the client's bytes for a piece of the provider's, possibly none.

        Raises ``GatewayError`` if the response fails."""
        return piece

    def end_part(self) -> None:
        """End the response to one of several requests, whose usage counts from now on. Raises as ``close`` does."""

    def close(self) -> bytes:
        """Return the client's last bytes. Raises ``GatewayError`` if the response is incomplete."""
        return b""


class ResponseReader(Protocol):
    """A reader of a response's usage, which also checks that the response is complete. By default it ignores
    the response.

    Its methods raise ``GatewayError`` for a failed response, and nothing else, whatever the provider sends."""

    @property
    def usage(self) -> Usage | None:
        return None

    @property
    def has_ended(self) -> bool:
        """True if the last event of a stream has been read."""
        return False

    def read_event(self, name: str, data: bytes) -> None:
        """Read a server-sent event; ``name`` is "" without one."""
        return

    def read_whole(self, value: object) -> None:
        """Read a complete response, decoded from JSON."""
        return

    def close(self, *, streamed: bool) -> None:
        """End the response; ``streamed`` is true if it was an event stream. Raises ``GatewayError`` if it is
        incomplete."""
        return


class NullReader(ResponseReader):
    """A reader that ignores the response."""


class ApiUsageReader(ResponseReader):
    """A reader of the usage in responses of ``api``, or else in a member ``usage``. It rejects no response."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._reader: Reader | None = None
        self._usage: Usage | None = None

    @property
    def usage(self) -> Usage | None:
        """The usage so far: the client may leave before the end."""
        unsent = None if self._reader is None else self._reader.unsent_usage()
        return unsent or self._usage

    def read_event(self, name: str, data: bytes) -> None:
        if self._reader is None:
            self._reader = CODECS[self._api].reader(content_limit=0)
        self._note_usage(self._reader.read_event(name, data))

    def read_whole(self, value: object) -> None:
        if not isinstance(value, Mapping):
            return
        try:
            self._note_usage(CODECS[self._api].read_answer(msgspec.json.encode(value), texts=False, checked=False))
        except GatewayError:
            self._usage = None
        self._usage = self._usage or read_usage(value.get("usage"))

    def _note_usage(self, events: Iterable[Event]) -> None:
        for event in events:
            if isinstance(event, Usage):
                self._usage = event


class PassedAnswer(AnswerFilter):
    """A filter that returns the response unchanged, whole events at a time, while ``reading`` reads it.

    ``hides`` returns whether to leave out an event, given its data: the gateway alone requested it. A response that is
    no stream fails if it does not have ``form``, as a web page or an incomplete body with a success status."""

    def __init__(
        self,
        reading: ResponseReader,
        event_limit: int,
        hides: Callable[[bytes], bool] | None = None,
        form: AnswerForm = JSON,
    ) -> None:
        self._form = form
        self._hides = hides
        self._is_hidden = False  # whether the last event was hidden
        self._reading = reading
        self._splitter = SSE.splitter(event_limit)
        self._is_streamed = False
        self._is_json = False
        self._parts: list[bytes] | None = None  # of a body that is read once it is complete
        self._size = 0
        self._ends: tuple[bytes, bytes] | None = None  # the first and last byte of JSON that is too long to be held
        self._last = b""  # its last byte waits for the check, because the client may know the length

    @property
    def usage(self) -> Usage | None:
        return self._reading.usage

    @property
    def has_ended(self) -> bool:
        return self._is_streamed and self._reading.has_ended

    @property
    def is_json(self) -> bool:
        return not self._is_streamed and self._form.kind == "json"  # one of unknown form may have several objects

    def head(self, status: int, headers: Headers) -> Headers:
        kind = next((value for name, value in headers if name == "content-type"), "").lower()
        self._form.check_type(kind)
        self._is_streamed = SSE.matches_type(kind)
        if self._is_streamed:
            self.ping = SSE.comment
            return (*(pair for pair in headers if pair[0] == "content-type"), *UNBUFFERED_HEADERS)
        self._form, self._is_json = self._form.for_type(kind), "json" in kind
        if self._form.is_decoded(kind):
            self.hold_limit, self._parts = MAX_HELD_JSON, []
        return super().head(status, headers)

    def take(self, piece: bytes) -> bytes:
        if self._is_streamed:
            return b"".join(map(self._pass_event, self._splitter.feed(piece)))
        self._size += len(piece)
        if self._parts is not None:
            self._parts.append(piece)
            if self._size > MAX_HELD_JSON:
                self._ends, self._parts = self._form.begin_long(self._parts), None
        if self._ends is None:
            return piece
        if end := piece[-64:].rstrip() or piece.rstrip():
            self._ends = self._ends[0], end[-1:]
        out, self._last = self._last + piece[:-1], piece[-1:]
        return out

    def close(self) -> bytes:
        if not self._is_streamed:
            self._read_whole()
            self._reading.close(streamed=False)
            return self._last
        rest = SSE.complete(self._splitter.close())
        out = self._pass_event(rest) if rest else b""
        self._reading.close(streamed=True)
        return out

    def _read_whole(self) -> None:
        """Read a response that is no stream. Raises ``GatewayError`` if it does not have its form."""
        if self._parts is not None or not self._size:
            value = self._form.decode(b"".join(self._parts or ()), is_json=self._is_json)
            if value is not None:
                self._reading.read_whole(value)
                self._form.check(value)
        elif self._ends is not None:
            self._form.check_ends(*self._ends)

    def _pass_event(self, raw: bytes) -> bytes:
        if (parsed := SSE.parse(raw)) is None:
            return b"" if self._is_hidden and raw == b"\n" else raw
        self._reading.read_event(*parsed)
        self._is_hidden = self._hides is not None and self._hides(parsed[1])
        return b"" if self._is_hidden else raw


class ScanningReader(ResponseReader, Protocol):
    """A reader that finds the usage at the start or end of a response of any length."""

    def scan(self, piece: bytes) -> None:
        """Read a piece of a response that is no event stream."""


class ScannedAnswer(PassedAnswer):
    """A filter that returns the response unchanged, and whose reader scans each piece."""

    def __init__(self, reader: ScanningReader, event_limit: int) -> None:
        super().__init__(reader, event_limit)
        self._reader = reader

    def take(self, piece: bytes) -> bytes:
        if not self.ping:
            self._reader.scan(piece)
        return super().take(piece)


class HeldAnswer(AnswerFilter):
    """A filter that collects the whole response, up to ``limit`` bytes, and converts it with ``rewrite``."""

    usage: Usage | None = None

    def __init__(self, rewrite: Rewrite, limit: int) -> None:
        self.hold_limit = limit
        self._rewrite = rewrite
        self._parts: list[bytes] = []
        self._size = 0

    @property
    def buffered_bytes(self) -> int:
        return self._size

    @property
    def is_json(self) -> bool:
        return True

    def head(self, status: int, headers: Headers) -> Headers:
        return JSON_HEADERS

    def take(self, piece: bytes) -> bytes:
        self._parts.append(piece)
        self._size += len(piece)
        if self._size > self.hold_limit:
            raise GatewayError.of(too_large(self.hold_limit))
        return b""

    def close(self) -> bytes:
        data = b"".join(self._parts)
        self._parts.clear()
        out, self.usage = self._rewrite(data)
        return out


def decode_json(body: bytes) -> object:
    """Decode a JSON ``body``; return ``None`` if it is invalid or has too many elements."""
    if has_more_elements(body, MAX_ELEMENTS):
        return None
    return decode_or(any_json, body, None)


def bad_answer_error(message: str) -> GatewayError:
    """Return the error for an invalid response of a provider."""
    return GatewayError.of(ErrorInfo("upstream", message, reason="bad_answer"))
