"""HTTP/1.1 requests read by h11, with stricter checks of chunks, targets, hosts and versions."""

import re
from typing import TYPE_CHECKING, Any, Final, cast

import h11
from h11._readers import ChunkedReader

if TYPE_CHECKING:
    from h11._receivebuffer import ReceiveBuffer

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\n"
MAX_TARGET: Final = 8192  # bytes of a path with its query; RFC 9112, section 3, requires at least 8000
MAX_LINES: Final = 256  # lines of a head; each takes about four microseconds
HUGE_CHUNK: Final = 2**40  # bytes: no client sends a chunk of this size

_NAME: Final = rb"[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2}"
_HOST: Final = re.compile(rb"(?:(?:%b)*|\[(?:%b|:)+\])(?::[0-9]*)?" % (_NAME, _NAME))
_END_OF_HEAD: Final = re.compile(rb"\n\r?\n")
_FIRST_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,20})(?:;[\t -~\x80-\xff]*)?[ \t]*\r\n")


class StrictChunkedReader(ChunkedReader):
    """Reads a chunked body, and rejects control characters in extensions and absurd sizes (RFC 9112, section 7.1).

    h11 allows any byte but a line feed in a chunk extension. Servers that treat a bare CR as the end of the line read
    other requests: CVE-2025-55315 is such a difference."""

    def __call__(self, buf: "ReceiveBuffer") -> Any:
        return super().__call__(cast("ReceiveBuffer", _CheckedLines(buf)))


class _CheckedLines:
    """A receive buffer of h11's that checks each line."""

    def __init__(self, buffer: "ReceiveBuffer") -> None:
        self.maybe_extract_at_most = buffer.maybe_extract_at_most
        self.maybe_extract_lines = buffer.maybe_extract_lines
        self._buffer = buffer

    def maybe_extract_next_line(self) -> Any:
        line = self._buffer.maybe_extract_next_line()
        if line is None:
            return None
        found = _FIRST_LINE.fullmatch(line)
        if found is None:
            raise h11.LocalProtocolError("illegal first line of a chunk")
        if int(found[1], 16) >= HUGE_CHUNK:
            raise h11.LocalProtocolError("a chunk says that it has more bytes than there can be")
        return line


def is_host(value: bytes) -> bool:
    """Return whether ``value`` is a host with an optional port, without user information (RFC 3986, section 3.2.2)."""
    return _HOST.fullmatch(value) is not None


def is_preface(request: h11.Request) -> bool:
    """Return whether the request is the first line of HTTP/2 by prior knowledge (RFC 9113, section 3.4)."""
    return (request.method, request.target, request.http_version) == (b"PRI", b"*", b"2.0")


class RequestReader(h11.Connection):
    """A reader of HTTP/1.1 requests that is stricter than h11's.

    It also reads while a pipelined request waits, so that a disconnect is noticed."""

    _has_too_many_lines = False
    headers: list[tuple[bytes, bytes]]
    """The headers of the last request, with names in lower case."""
    fields: dict[bytes, bytes]
    """The same by name, with the last value of each."""

    def receive_data(self, data: bytes) -> None:
        """Receive ``data``, but ignore an empty line before a request: some clients send one after a body (RFC 9112,
        section 2.2)."""
        if self.their_state is h11.IDLE:
            if data[:2] == b"\r\n" and not self.trailing_data[0]:
                data = data[2:]
            self._count_lines(data)
        if data:
            super().receive_data(data)

    def _count_lines(self, data: bytes) -> None:
        """Count the lines of the head that continues with ``data``: h11 reads all of them in one step."""
        received = self.trailing_data[0] + data
        end = _END_OF_HEAD.search(received)
        lines = received.count(b"\n", 0, len(received) if end is None else end.start())
        self._has_too_many_lines = lines > MAX_LINES

    def _get_io_object(self, role: Any, event: Any, io_dict: Any) -> Any:
        reader = super()._get_io_object(role, event, io_dict)
        return StrictChunkedReader() if isinstance(reader, ChunkedReader) else reader

    def next_event(self) -> Any:
        if self.their_state is h11.MUST_CLOSE:
            return h11.NEED_DATA  # RFC 9112, section 9.6; h11 would treat more data as an error
        if self._has_too_many_lines:
            raise h11.RemoteProtocolError("the head has too many lines", error_status_hint=431)
        event = super().next_event()
        if event is h11.PAUSED:
            return h11.NEED_DATA  # without reading, a disconnect would not be noticed
        if isinstance(event, h11.Request):
            # Iterating over ``event.headers`` itself takes three calls for each header.
            self.headers = [(name, value) for _, name, value in event.headers._full_items]
            fields = self.fields = dict(self.headers)
            # RFC 9112, section 6.1: a sign of request smuggling, rejected before anything else sees it.
            if b"content-length" in fields and b"transfer-encoding" in fields:
                raise h11.RemoteProtocolError("content-length together with transfer-encoding")
            if not is_host(fields.get(b"host", b"")):  # RFC 9112, section 3.2; h11 requires exactly one
                raise h11.RemoteProtocolError("not a host")
            if len(event.target) > MAX_TARGET:  # h11's limit of the head only applies to an incomplete one
                raise h11.RemoteProtocolError("the target is too long", error_status_hint=414)
            if not event.http_version.startswith(b"1.") and not is_preface(event):
                raise h11.RemoteProtocolError("not a version that h11 speaks", error_status_hint=505)
        return event
