"""HTTP/1.1 requests in the form that nearly all have, whose heads are read in one step. h11 reads the others, which
takes a tenth of the time of a small request.

The head of a plain request is the first that arrives, in one piece. It is short printable ASCII without repeated
headers, and states the length of the body. The result is exactly that of ``request_reader``."""

import re
from typing import Final

import attrs
import h11

from gateway.serving.request_reader import MAX_LINES, is_host

SHORT_HEAD: Final = 4096  # bytes

_HEAD: Final = re.compile(
    rb"(GET|POST) ([!-~]+) HTTP/1\.1\r\n"
    rb"((?:[-!#$%&'*+.^_`|~0-9A-Za-z]+:[ \t]*(?:[!-~](?:[ -~\t]*[!-~])?)?\r\n)+)\r\n"
)
_HEADER: Final = re.compile(rb"([^:\r\n]+):[ \t]*([^\r\n]*)\r\n")  # in lines that match ``_HEAD``
_LONGEST_LENGTH: Final = 9  # digits; no accepted body needs more
_KEEP: Final = b"keep-alive"
_SPECIAL: Final = frozenset((b"transfer-encoding", b"upgrade", b"expect"))
"""Headers that need more than one step."""


@attrs.frozen(eq=False, repr=False, slots=False)  # created for each request; cheaper to construct without slots
class PlainRequest:
    """A request with header names in lower case. Its connection stays open.

    ``body`` is what has arrived of the body, and ``missing`` the number of its other bytes."""

    method: bytes
    target: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes
    missing: int


def read_plain_request(data: bytes) -> PlainRequest | None:
    """Return the plain request that ``data`` begins. Return ``None`` if it is not plain, or if more follows it."""
    head = _HEAD.match(data, 0, SHORT_HEAD)
    if head is None:
        return None
    method, target, lines = head.groups()
    headers = [(name.lower(), value) for name, value in _HEADER.findall(lines)]
    fields, body = dict(headers), data[head.end() :]
    length = fields.get(b"content-length", b"0")
    if not (length.isdigit() and len(length) <= _LONGEST_LENGTH):
        return None
    missing = int(length) - len(body)
    if (
        missing < 0
        or len(fields) < len(headers)
        or len(headers) > MAX_LINES
        or b"host" not in fields
        or not is_host(fields[b"host"])
        or (b"connection" in fields and fields[b"connection"].lower() != _KEEP)
        or not _SPECIAL.isdisjoint(fields)
    ):
        return None
    return PlainRequest(method, target, headers, body, missing)


class PlainReader:
    """The reader of a connection's next request until its first bytes arrive, and of the rest of a plain request.

    It has the interface of ``RequestReader``, and keeps the bytes that follow the request."""

    def __init__(self) -> None:
        self.their_state: object = h11.IDLE
        self._arrived = bytearray()
        self._missing = 0

    @property
    def trailing_data(self) -> tuple[bytes, bool]:
        return bytes(self._arrived), False

    def read(self, data: bytes) -> PlainRequest | None:
        """Return the plain request that ``data`` begins, or ``None`` if another reader must read it, or if ``data``
        follows a request."""
        if self.their_state is not h11.IDLE or (request := read_plain_request(data)) is None:
            return None
        self._missing = request.missing
        self.their_state = h11.SEND_BODY if request.missing else h11.DONE
        return request

    def receive_data(self, data: bytes) -> None:
        """Receive more of the body, or what follows the request."""
        self._arrived += data

    def next_event(self) -> object:
        """Return the next piece or the end of the body, or that more data is needed."""
        if self.their_state is not h11.SEND_BODY:
            return h11.NEED_DATA
        if not self._missing:
            self.their_state = h11.DONE
            return h11.EndOfMessage()
        if not self._arrived:
            return h11.NEED_DATA
        piece = bytes(self._arrived[: self._missing])
        del self._arrived[: self._missing]
        self._missing -= len(piece)
        return h11.Data(data=piece)
