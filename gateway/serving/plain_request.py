"""HTTP/1.1 requests in the form that nearly all have, each read in one step. h11 reads all others, and needs a tenth of
the time of a small request for it.

A plain request arrives in one piece, alone and whole, with a short head of printable ASCII without repeated headers.
It is read exactly as ``request_reader`` would read it."""

import re
from typing import Final

import attrs
import h11

from gateway.serving.request_reader import SHORT_HEAD, is_host

_HEAD: Final = re.compile(
    rb"(GET|POST) ([!-~]+) HTTP/1\.1\r\n"
    rb"((?:[-!#$%&'*+.^_`|~0-9A-Za-z]+:[ \t]*(?:[!-~](?:[ -~\t]*[!-~])?)?\r\n)+)\r\n"
)
_HEADER: Final = re.compile(rb"([^:\r\n]+):[ \t]*([^\r\n]*)\r\n")  # in lines that match ``_HEAD``
_LONGEST_LENGTH: Final = 9  # digits; a body in one piece needs fewer
_KEEP: Final = b"keep-alive"
_SPECIAL: Final = (b"transfer-encoding", b"upgrade", b"expect")
"""Headers that need more than one step."""


@attrs.frozen(eq=False, repr=False, slots=False)  # created for each request; cheaper to construct without slots
class PlainRequest:
    """A whole request, with header names in lower case. Its connection stays open."""

    method: bytes
    target: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes


def read_plain_request(data: bytes) -> PlainRequest | None:
    """Return the plain request that ``data`` consists of, or ``None`` if it is anything else."""
    head = _HEAD.match(data, 0, SHORT_HEAD)
    if head is None:
        return None
    method, target, lines = head.groups()
    headers = [(name.lower(), value) for name, value in _HEADER.findall(lines)]
    fields, body = dict(headers), data[head.end() :]
    length = fields.get(b"content-length", b"0")
    if (
        len(fields) < len(headers)
        or b"host" not in fields
        or not is_host(fields[b"host"])
        or not (length.isdigit() and len(length) <= _LONGEST_LENGTH and int(length) == len(body))
        or fields.get(b"connection", _KEEP).lower() != _KEEP
        or any(name in fields for name in _SPECIAL)
    ):
        return None
    return PlainRequest(method, target, headers, body)


class PlainReader:
    """The reader of a connection's next request until its first bytes arrive, and after a plain request.

    It has the interface of ``RequestReader``, and keeps the bytes that follow the request."""

    def __init__(self) -> None:
        self._following = bytearray()
        self.their_state: object = h11.IDLE

    @property
    def trailing_data(self) -> tuple[bytes, bool]:
        return bytes(self._following), False

    def read(self, data: bytes) -> PlainRequest | None:
        """Return the plain request that ``data`` consists of, or ``None`` if another reader must read it."""
        request = read_plain_request(data)
        if request is not None:
            self.their_state = h11.DONE
        return request

    def receive_data(self, data: bytes) -> None:
        """Keep ``data``, which follows the request."""
        self._following += data

    def next_event(self) -> object:
        return h11.NEED_DATA
