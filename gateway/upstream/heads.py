"""The parser of the head of an HTTP/1.1 response (RFC 9112, sections 4 to 6), without I/O.

It accepts and rejects the same heads as h11 in a fifth of the steps; ``tests/gateway/upstream/test_heads.py`` compares
the two."""

import re
from functools import lru_cache
from typing import Final

import attrs

from gateway.http.headers import ends_connection

MAX_HEAD: Final = 100 * 1024
MAX_FIELDS: Final = 500  # header lines; responses of providers behind three proxies have sixty
MAX_INTERIM: Final = 20  # interim responses; servers send one of each kind, or one every few seconds

SHORT: Final = 64  # bytes of a header line that is remembered

_END = re.compile(rb"\n\r?\n")
_NO_STATUS: Final = "it does not begin with a status line"
_TLS_RECORDS: Final = (0x15, 0x16)  # alert and handshake (RFC 8446, section 5.1)
_STATUS = re.compile(rb"HTTP/([0-9]\.[0-9]) ([0-9]{3})(?: [^\0\n\r\v\f]*)?")
_FIELD = re.compile(rb"([-!#$%&'*+.^_`|~0-9a-zA-Z]+):[ \t]*((?:[^\0\s]+(?:[ \t]+[^\0\s]+)*)?)[ \t]*")
_FOLD = re.compile(rb"\r?\n[ \t]+")  # a continuation line (section 5.2)
_LONGEST_LENGTH: Final = 20  # digits
_LENGTH = re.compile(rb"[0-9]{1,%d}" % _LONGEST_LENGTH)

Headers = tuple[tuple[bytes, bytes], ...]


@attrs.frozen(repr=False, slots=False)  # created for each request; cheaper to construct without slots
class Head:
    """A parsed head. ``headers`` have lower-case names; ``length`` is the body's, if they state it. ``lasts``: the
    server keeps the connection open. ``rest`` is the data after the head."""

    status: int
    headers: Headers
    length: int | None
    chunked: bool
    lasts: bool
    rest: bytes


class HeadReader:
    """Reads the head of a response. Skips interim responses (1xx), except the 101 of a request that ``upgrades``."""

    def __init__(self, upgrades: bool = False) -> None:
        self._upgrades = upgrades
        self._held: bytes | bytearray = b""
        self._searched = 0
        self._interim = 0

    def feed(self, data: bytes) -> Head | None:
        """Return the head if ``data`` completes it. Raises ``ValueError`` for an invalid or too large head."""
        if self._held:  # usually a head arrives in one read, which is not copied
            self._held = bytearray(self._held) if isinstance(self._held, bytes) else self._held
            self._held += data
        else:
            self._held = data
        while (head := self._next()) is not None:
            if head.status >= 200 or (head.status == 101 and self._upgrades):
                return head
            if head.status < 100 or head.status == 101:
                raise ValueError(f"it has the status {head.status}")
            self._interim += 1
            if self._interim > MAX_INTERIM:
                raise ValueError("it has too many interim responses")
            self._held, self._searched = head.rest, 0
        return None

    def _next(self) -> Head | None:
        held = self._held
        if held and held[0] in _TLS_RECORDS:
            raise ValueError("it is TLS, so base_url must begin with https://")
        if held and held[0] < 0x21:  # an empty line
            raise ValueError(_NO_STATUS)
        end = _END.search(held, self._searched)
        if end is None:
            self._searched = max(0, len(held) - 2)
            if len(held) > MAX_HEAD:
                raise ValueError("its headers are too large")
            return None
        first, _, lines = bytes(held[: end.start()]).partition(b"\n")
        status = _STATUS.fullmatch(first.removesuffix(b"\r"))
        if status is None:
            raise ValueError(_NO_STATUS)
        return _head(status[1], int(status[2]), _fields(lines), bytes(held[end.end() :]))


def _head(version: bytes, status: int, headers: Headers, rest: bytes) -> Head:
    found = dict(headers)
    length = found.get(b"content-length")
    lasts = version >= b"1.1" and not (b"connection" in found and ends_connection(headers))
    return Head(status, headers, None if length is None else int(length), b"transfer-encoding" in found, lasts, rest)


def _fields(lines: bytes) -> Headers:
    headers: list[tuple[bytes, bytes]] = []
    if lines.count(b"\n") >= MAX_FIELDS:
        raise ValueError("it has too many headers")
    if b"\n " in lines or b"\n\t" in lines:
        lines = _FOLD.sub(b" ", lines)
    for line in lines.split(b"\n") if lines else ():
        name, value = (_field if len(line) <= SHORT else _read_field)(line)
        if name == b"content-length":
            value = _length(value)
            if (name, value) in headers:  # repeated
                continue
        if name in (b"content-length", b"transfer-encoding") and name in dict(headers):
            raise ValueError("two of its headers contradict each other")
        if name == b"transfer-encoding" and (value := value.lower()) != b"chunked":
            raise ValueError("its transfer-encoding is not supported")
        headers.append((name, value))
    return tuple(headers)


def _read_field(line: bytes) -> tuple[bytes, bytes]:
    field = _FIELD.fullmatch(line.removesuffix(b"\r"))
    if field is None:
        raise ValueError("one of its headers is malformed")
    return field[1].lower(), field[2]


_field = lru_cache(maxsize=512)(_read_field)  # a provider sends most of its headers with every response


def _length(value: bytes) -> bytes:
    if value.isdigit() and len(value) <= _LONGEST_LENGTH:
        return value
    lengths = {length.strip() for length in value.split(b",")}
    if len(lengths) != 1 or not _LENGTH.fullmatch(length := lengths.pop()):
        raise ValueError("its content-length is not valid")
    return length
