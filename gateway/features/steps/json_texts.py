"""Values of JSON and their positions in its bytes, which only edits need, and edits of the texts in them.

A duplicate member, an escape or an unknown member is seen where it is, and an edit leaves all other bytes unchanged.
Texts are Unicode without surrogates: half of a surrogate pair and a byte of invalid UTF-8 are U+FFFD. The decoder is C,
and keeps duplicate members. It decodes long documents value by value, so that no call takes long.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, AnyStr, Final, NamedTuple, TypeAlias, TypeVar

import msgspec

from streams.surrogates import NOT_JSON, tolerate_lone_surrogates

Edit: TypeAlias = tuple[int, int, str]
"""A start, an end and the replacement of a span of characters."""

E = TypeVar("E", bound=tuple[Any, ...])


class NotJson(ValueError):
    """Bytes that are no JSON."""


class KeyMasked(ValueError):
    """A mask that covers the name of a member or no value, so that JSON cannot express it. ``replacement`` is its
    text."""

    def __init__(self, replacement: str) -> None:
        super().__init__("a mask in the name of a member or of no value")
        self.replacement = replacement


class Member(NamedTuple):
    """A member of an object: its name, and the positions of the name's first quote and of the value."""

    name: str
    name_start: int
    start: int
    end: int


_SPACE: Final = rb"[ \t\r\n]*+"
_NAME: Final = re.compile(_SPACE + rb'"([^"\\]{0,256}+)"' + _SPACE + rb":" + _SPACE, re.DOTALL)
_NEXT: Final = re.compile(_SPACE + rb"," + _SPACE + rb'"([^"\\]{0,256}+)"' + _SPACE + rb":" + _SPACE, re.DOTALL)
_AFTER: Final = re.compile(_SPACE + rb"([,}\]])" + _SPACE)
_COLON: Final = re.compile(_SPACE + rb":" + _SPACE)
_BLANK: Final = re.compile(_SPACE)
_SCALAR: Final = re.compile(rb"[^\s,:\[\]{}\"]++")
_MARK: Final = re.compile(rb'[\[\]{}"]')

_OBJECT: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ARRAY: Final = msgspec.json.Decoder(list[msgspec.Raw])
_any: Final = tolerate_lone_surrogates(msgspec.json.Decoder(msgspec.Raw).decode)


# Positions


def document_at(data: bytes) -> tuple[int, int]:
    """Return the start and end of the only value in ``data``. The end of an object or array is not verified."""
    start, end = skip_space(data, 0), len(data.rstrip(b" \t\r\n"))
    if data[start : start + 1] not in (b"{", b"["):
        end = _end_of_value(data, start)
    return start, end


def skip_space(data: bytes, at: int) -> int:
    found = _BLANK.match(data, at)
    return at if found is None else found.end()


def read_members(data: bytes, start: int, end: int) -> list[Member]:
    """Return the members of the object at ``start``, duplicates included.

    The decoder finds the lengths of values, if it can and there are no duplicates; a scan in Python is slower."""
    try:
        values = _OBJECT.decode(memoryview(data)[start:end])
    except NOT_JSON:
        return _scan_members(data, start, end)
    found: list[Member] = []
    written, at = _NAME.match(data, start + 1), end
    for name, value in values.items():
        if written is None or written[1] != name.encode():
            return _scan_members(data, start, end)
        first = written.end()
        last = first + len(value)
        found.append(Member(name, written.start(1) - 1, first, last))
        if data.startswith(b"}", last):
            written, at = None, last + 1
        elif (written := _NEXT.match(data, last)) is None:
            rest = _AFTER.match(data, last)
            if rest is None or rest[1] != b"}":
                return _scan_members(data, start, end)
            at = rest.end(1)
    return found if not found or (written is None and at == end) else _scan_members(data, start, end)


def read_items(data: bytes, start: int, end: int) -> list[tuple[int, int]]:
    """Return the start and end of each item of the array at ``start``."""
    try:
        values = _ARRAY.decode(memoryview(data)[start:end])
    except NOT_JSON:
        return _scan_items(data, start, end)
    at, found = skip_space(data, start + 1), []
    for value in values:
        found.append((at, at + len(value)))
        rest = _AFTER.match(data, at + len(value))
        at = len(data) if rest is None else rest.end()
    return found


def _scan_members(data: bytes, start: int, end: int) -> list[Member]:
    return _scan_elements(data, start, end, b"}", _member_at)


def _scan_items(data: bytes, start: int, end: int) -> list[tuple[int, int]]:
    return _scan_elements(data, start, end, b"]", lambda data, at: (at, _end_of_value(data, at)))


def _member_at(data: bytes, at: int) -> Member:
    name_end = end_of_string(data, at)
    if (colon := _COLON.match(data, name_end)) is None:
        raise NotJson("expected a colon")
    return Member(string_text(data[at + 1 : name_end - 1]), at, colon.end(), _end_of_value(data, colon.end()))


def _scan_elements(data: bytes, start: int, end: int, close: bytes, read: Callable[[bytes, int], E]) -> list[E]:
    """Return the elements of the object or array at ``start``, whose last character is ``close``."""
    at, found = skip_space(data, start + 1), list[E]()
    while data[at : at + 1] != close:
        found.append(read(data, at))
        at = _next_element(data, found[-1][-1], close)
    if at + 1 != end:
        raise NotJson("the value ends too early")
    return found


def _next_element(data: bytes, at: int, close: bytes) -> int:
    """Return the position after a comma and white space, or of ``close``."""
    found = _AFTER.match(data, at)
    if found is None or found[1] not in (b",", close):
        raise NotJson("expected a comma or the end")
    return found.end() if found[1] == b"," else found.start(1)


def _end_of_value(data: bytes, at: int) -> int:
    match data[at : at + 1]:
        case b'"':
            return end_of_string(data, at)
        case b"{" | b"[":
            return _end_of_container(data, at)
    if (found := _SCALAR.match(data, at)) is None:
        raise NotJson("expected a value")
    return found.end()


def end_of_string(data: bytes, at: int) -> int:
    """Return the end of the string whose first quote is at ``at``. ``find`` is fast also for megabytes."""
    if data[at : at + 1] != b'"':
        raise NotJson("expected a string")
    start = at + 1
    while (end := data.find(b'"', start)) >= 0:
        if data[end - 1] != 0x5C or end == start:
            return end + 1
        text = data[start:end]
        if (len(text) - len(text.rstrip(b"\\"))) % 2 == 0:
            return end + 1
        start = end + 1
    raise NotJson("a string has no end")


def _end_of_container(data: bytes, at: int) -> int:
    depth = 0
    while (found := _MARK.search(data, at)) is not None:
        match found[0]:
            case b'"':
                at = end_of_string(data, found.start())
                continue
            case b"{" | b"[":
                depth += 1
            case _:
                depth -= 1
        at = found.end()
        if depth == 0:
            return at
    raise NotJson("an object or array has no end")


# Texts

_ESCAPE: Final = re.compile(
    r"\\(?:u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|(.))", re.DOTALL
)
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_CONTROL: Final = re.compile("[\0-\x1f]")
_NO_ASCII: Final = re.compile("[^ -~]")
_SHORT: Final = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}


def raw_text(data: bytes) -> str:
    """Return UTF-8 as characters. ``raw_bytes`` reverses it, also for invalid bytes."""
    return data.decode("utf-8", "surrogateescape")


def raw_bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


_decode: Final[Callable[[str], str]] = json.JSONDecoder(strict=False).decode


def string_text(data: bytes) -> str:
    """Return the text of a JSON string, without its quotes."""
    raw = raw_text(data)
    if "\\" in raw:
        try:
            raw = _decode(f'"{raw}"')
        except ValueError:  # an escape that JSON does not have
            raw = unescape(raw)
    return without_surrogates(raw)


def document_text(raw: str) -> str:
    r"""Return JSON text with its escapes resolved, except ``\"`` and ``\\``, without which it could not be read."""
    return without_surrogates(unescape(raw, document=True))


def without_surrogates(text: str) -> str:
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


def unescape(raw: str, *, document: bool = False) -> str:
    """Return ``raw`` with its escapes resolved, in a ``document`` without those of quotes and backslashes."""
    if "\\" not in raw:
        return raw
    return _ESCAPE.sub(_resolve_in_document if document else _resolve, raw)


def _resolve(found: re.Match[str]) -> str:
    if (short := found[4]) is not None:
        return _SHORT.get(short, short)
    if (code := found[3]) is not None:
        return chr(int(code, 16))
    return chr(0x10000 + ((int(found[1], 16) & 0x3FF) << 10 | int(found[2], 16) & 0x3FF))


def _resolve_in_document(found: re.Match[str]) -> str:
    resolved = _resolve(found)
    return "\\" + resolved if resolved in ('"', "\\") else resolved


def is_document(text: str) -> bool:
    """Return whether ``text`` is a JSON object or array, or has escapes and may be one for some programs."""
    if text.lstrip(" \t\r\n")[:1] not in ("{", "["):
        return False
    if "\\" in text:
        return True
    try:
        _any(raw_bytes(text))
    except NOT_JSON:
        return False
    return True


# Edits


def splice(text: AnyStr, edits: Iterable[tuple[int, int, AnyStr]]) -> AnyStr:
    """Return ``text`` with each span of ``edits``, which are in order and do not overlap, replaced."""
    at = 0
    found: list[AnyStr] = []
    for start, end, replacement in edits:
        found += (text[at : max(at, start)], replacement)
        at = max(at, end)
    found.append(text[at:])
    return text[:0].join(found)


def escape(text: str) -> str:
    """Return ``text`` as the content of a JSON string."""
    return json.dumps(text, ensure_ascii=_SURROGATE.search(text) is not None)[1:-1]


def edit_string(data: bytes, edits: Sequence[Edit]) -> bytes:
    """Return the JSON string ``data``, without its quotes, with spans of its text replaced by texts."""
    return _write_string(data, splice(string_text(data), edits))


def _write_string(before: bytes, text: str) -> bytes:
    """Return ``text`` as a JSON string without quotes, in ASCII if the string ``before`` was."""
    return json.dumps(text, ensure_ascii=before.isascii())[1:-1].encode()


def edit_document(data: bytes, edits: Sequence[Edit]) -> bytes:
    """Return the JSON value ``data`` with spans of its ``document_text`` replaced. Raises ``KeyMasked``."""
    raw = raw_text(data)
    return raw_bytes(splice(raw, document_edits(raw, edits)))


def edit_quoted_document(data: bytes, edits: Sequence[Edit]) -> bytes:
    """Return the JSON string ``data``, which contains a JSON value, with spans of its ``document_text`` replaced.

    Raises ``KeyMasked``."""
    document = string_text(data)
    return _write_string(data, splice(document, document_edits(document, edits)))


_TOKEN: Final = re.compile(r'"([^"\\]*+(?:\\.[^"\\]*+)*+)"([ \t\r\n]*+:)?|[^ \t\r\n\[\]{},:"]++', re.DOTALL)


def document_edits(raw: str, edits: Sequence[Edit]) -> list[Edit]:
    """Return the edits of ``raw`` for those of its text: each changed value is written anew. The first value in a span
    gets the replacement.

    Other values in the span lose their characters in it. A number, ``true`` or ``null`` becomes a string. Raises
    ``KeyMasked``, also if ``raw`` is no JSON and so has other values than its text."""
    written, tokens = (list(_TOKEN.finditer(one)) for one in ((raw, document_text(raw)) if edits else ("", "")))
    spans = [token.span(1) if token[1] is not None else token.span() for token in tokens]
    changes: dict[int, list[Edit]] = {}
    first = 0
    for start, end, new in edits:
        while first < len(spans) and spans[first][1] <= start:
            first += 1
        at, replacement, is_placed = first, escape(new), False
        while at < len(spans) and spans[at][0] < end:
            if tokens[at][2] is not None:
                raise KeyMasked(new)
            if spans[at][0] < spans[at][1]:
                base = spans[at][0]
                change = max(start, base) - base, min(end, spans[at][1]) - base, replacement
                changes.setdefault(at, []).append(change)
                replacement, is_placed = "", True
            at += 1
        if not is_placed or len(written) != len(tokens):
            raise KeyMasked(new)
    return [_value_edit(written[at], tokens[at], own) for at, own in sorted(changes.items())]


def _value_edit(written: re.Match[str], token: re.Match[str], changes: Sequence[Edit]) -> Edit:
    """Return the edit that writes the value ``token`` of a text with ``changes``. It is ``written`` in the document."""
    if document_text(written[0]) != token[0]:
        raise KeyMasked(changes[0][2])
    if token[1] is None:
        return (*written.span(), f'"{splice(token[0], changes)}"')
    content = token[1]
    inside = [*_are_in_escapes(content, [end for first, last, _ in changes for end in (first, last)])]
    whole = [
        (first - starts_inside, last + ends_inside, new)
        for (first, last, new), starts_inside, ends_inside in zip(changes, inside[::2], inside[1::2], strict=True)
    ]
    escaped = _NO_ASCII if written[0].isascii() else _CONTROL
    return (*written.span(1), escaped.sub(lambda found: json.dumps(found[0])[1:-1], splice(content, whole)))


def _are_in_escapes(text: str, positions: Sequence[int]) -> Iterator[bool]:
    """Yield whether each of ``positions``, which are in order, is between a backslash and the character after it."""
    last = first_backslash = 0
    for at in positions:
        if others := len(text[last:at].rstrip("\\")):
            first_backslash = last + others
        last = at
        yield (at - first_backslash) % 2 == 1


Route: TypeAlias = tuple[int, ...]
"""The position of a value in a document: the index of the member or item at each level."""

LONGEST_DECODED: Final = 64 * 1024
"""Bytes of the longest value that one call decodes."""

_NOT_DECODED: Final = (ValueError, RecursionError, StopIteration)

_scan = json.JSONDecoder(object_pairs_hook=tuple, strict=False, parse_int=float).scan_once  # type: ignore[attr-defined]


class Undecoded:
    """A value between two positions that is too long to be decoded by one call, or that the decoder does not read."""

    __slots__ = ("end", "start")

    def __init__(self, start: int, end: int) -> None:
        self.start = start
        self.end = end


class JsonDocument:
    """The tree of ``data``. An object is a tuple of its names and values, with duplicates."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._elements: dict[Route, Sequence[Any]] = {}

    def root(self) -> Any:
        """Return the whole document. Raises ``NotJson``."""
        return self.value(*document_at(self.data))

    def value(self, start: int, end: int) -> Any:
        """Return the value between two positions."""
        if end - start <= LONGEST_DECODED:
            text = raw_text(self.data[start:end])
            try:
                value, last = _scan(text, 0)
            except _NOT_DECODED:
                return Undecoded(start, end)
            if last == len(text):
                return value
        return Undecoded(start, end)

    def first_byte(self, value: Any) -> bytes:
        """Return the first byte of a value, for a number its first digit or sign."""
        if type(value) is Undecoded:
            return self.data[value.start : value.start + 1]
        return _FIRST.get(type(value), b"")

    def members(self, value: Any) -> Sequence[tuple[str, Any]]:
        """Return the names and values of an object. Raises ``NotJson``."""
        if type(value) is not Undecoded:
            return value  # type: ignore[no-any-return]
        return [(one.name, self.value(one.start, one.end)) for one in read_members(self.data, value.start, value.end)]

    def items(self, value: Any) -> Sequence[Any]:
        """Return the items of an array. Raises ``NotJson``."""
        if type(value) is not Undecoded:
            return value  # type: ignore[no-any-return]
        return [self.value(*span) for span in read_items(self.data, value.start, value.end)]

    def text(self, value: Any) -> str:
        if type(value) is not Undecoded:
            return value  # type: ignore[no-any-return]
        return string_text(self.data[value.start + 1 : value.end - 1])

    def span(self, route: Route) -> tuple[int, int]:
        """Return the start and end of the value at ``route``. Raises ``NotJson``."""
        if not route:
            return document_at(self.data)
        found = self.elements(route[:-1])[route[-1]]
        return found[-2:]  # type: ignore[no-any-return]

    def elements(self, route: Route) -> Sequence[Any]:
        """Return each ``Member`` of the object at ``route``, or the start and end of each item of an array."""
        if (known := self._elements.get(route)) is None:
            start, end = self.span(route)
            read = read_members if self.data[start : start + 1] == b"{" else read_items
            known = self._elements[route] = read(self.data, start, end)
        return known


_FIRST: Final[Mapping[type, bytes]] = {str: b'"', tuple: b"{", list: b"[", float: b"0"}
