"""Checks that each top-level member of a request is unique.

RFC 8259, section 4, does not define which of two duplicates counts. The gateway uses the last, as most servers do. A
server that uses the first, or that treats ``Model`` as ``model`` as Go's decoder does
(https://pkg.go.dev/encoding/json#Unmarshal), would process another request than the gateway checked."""

import re
from collections.abc import Mapping
from typing import Final, TypeVar

import msgspec

from providers.neutral.api_members import conversation_members, other_members
from streams.errors import invalid
from streams.events import Api
from streams.surrogates import NOT_JSON, decode_or

T = TypeVar("T")

_PIECE: Final = 2**20  # bytes compared in one call
_SMALL: Final = 2**16  # bytes of a body that may be encoded again
_SHOWN: Final = 100  # characters of a name in a message
_START: Final = re.compile(rb'[ \t\r\n]*(?:"|$|})')
_NAME: Final = re.compile(rb'(?:[^"\\]{1,4096}+|\\.){1,4096}+', re.DOTALL)
_COLON: Final = re.compile(rb"[ \t\r\n]*:[ \t\r\n]*")
_NEXT: Final = re.compile(rb"[ \t\r\n]*[,}]")

_QUOTE: Final = ord('"')

_SNAKE_CASE: Final[tuple[Api, ...]] = ("chat", "messages", "responses", "interactions")
"""APIs that spell names in lower case only."""

KNOWN: Final = frozenset(
    (
        "model", "stream",
        *(name for api in _SNAKE_CASE for name in (*conversation_members(api), *other_members(api))),
        # frames of a websocket
        "type", "generate", "stream_id",
        # conversations
        "items",
        # routing members of servers that forward requests
        "client_metadata", "content_policy_fallbacks", "context_window_fallbacks", "models", "plugins", "preset",
        "compound_custom", "provider", "route", "user_config",
    )
)  # fmt: skip
"""Members that affect a decision."""


TEXT: Final = msgspec.json.Decoder(str)
STRING: Final = msgspec.json.Decoder(str | None)
BOOLEAN: Final = msgspec.json.Decoder(bool | None)


def decode_member(
    members: Mapping[str, msgspec.Raw], name: str, decoder: msgspec.json.Decoder[T], kind: str, within: str = ""
) -> T | None:
    """Return the member ``name``, ``None`` if it is missing. Raises ``GatewayError`` (400) unless it is ``kind``.

    ``within`` precedes its name in the message."""
    if (raw := members.get(name)) is None:
        return None
    try:
        return decoder.decode(raw)
    except NOT_JSON:
        raise invalid(f"{within}{name} must be {kind}", within + name) from None


def check_members(body: bytes, members: Mapping[str, msgspec.Raw]) -> None:
    """Raise ``GatewayError`` (400) for a duplicate member, or one that differs from a known one only in case.

    ``members`` were decoded from the JSON object ``body``."""
    if not members.keys() <= KNOWN:
        for name in members:
            if name not in KNOWN and (meant := name[:_SHOWN].casefold()) in KNOWN:
                found = f"{name} differs from {meant} only in case"
                raise invalid(f"{found}, and servers differ in whether they accept it: write {meant}", meant)
    check_duplicates(body, members)


def check_duplicates(body: bytes, members: Mapping[str, msgspec.Raw]) -> None:
    """Raise ``GatewayError`` (400) for a duplicate member. ``members`` were decoded from the JSON object ``body``."""
    if not _has_no_duplicates(body, members):
        _find_duplicate(body, members)


def _has_no_duplicates(body: bytes, members: Mapping[str, msgspec.Raw]) -> bool:
    """Return whether ``members`` account for all bytes of ``body``, so that there is no duplicate.

    The body must be written without white space, or if it is small, with that of Python's ``json``."""
    room, number = len(body) - sum(map(len, members)) - sum(map(len, members.values())), len(members)
    if room == 4 * number + 1:  # two quotes, a colon and a comma for each; two braces and no last comma
        return True
    if room != 6 * number:
        return False
    if len(body) > _SMALL:
        return _has_usual_spaces(body, members)
    return body == b"{" + b", ".join([b'"%b": %b' % (name.encode(), raw) for name, raw in members.items()]) + b"}"


def _has_usual_spaces(body: bytes, members: Mapping[str, msgspec.Raw]) -> bool:
    """Return whether ``body`` is ``members`` with the white space of Python's ``json``. It has no bytes more."""
    at = 1
    for name, value in members.items():
        beginning = b'"%b": ' % name.encode()
        start = at + len(beginning)
        if not body.startswith(beginning, at) or not _has_value_at(body, start, value):
            return False
        at = start + len(value) + 2
    return True


def _find_duplicate(body: bytes, members: Mapping[str, msgspec.Raw]) -> None:
    """Search for duplicates by walking over the names.

    A value with other bytes than the decoded ones, which are those of the last duplicate, belongs to an earlier one."""
    seen: set[str] = set()
    at = _end_of_match(_START, body, body.index(b"{") + 1)
    while body[at - 1] == _QUOTE:
        end = _end_of_name(body, at)
        name = msgspec.json.decode(body[at - 1 : end], type=str)
        at = _end_of_match(_COLON, body, end)
        value = members[name]
        if name in seen or not _has_value_at(body, at, value):
            raise _duplicate_error(name)
        seen.add(name)
        if (rest := _NEXT.match(body, at + len(value))) is None:  # another value with the same prefix
            raise _duplicate_error(name)
        at = _end_of_match(_START, body, rest.end())


def _end_of_match(pattern: re.Pattern[bytes], body: bytes, at: int) -> int:
    found = pattern.match(body, at)
    return len(body) if found is None else found.end()


def _end_of_name(body: bytes, start: int) -> int:
    """Return the end of the name that begins at ``start``, after its quote.

    A single match of a name of megabytes would hold the interpreter lock for a second."""
    at = start
    while body[at] != _QUOTE:
        at = _end_of_match(_NAME, body, at)
    return at + 1


def _has_value_at(body: bytes, at: int, value: msgspec.Raw) -> bool:
    if (size := len(value)) <= _PIECE:
        return body.startswith(bytes(value), at)
    view = memoryview(value)
    return all(body.startswith(bytes(view[start : start + _PIECE]), at + start) for start in range(0, size, _PIECE))


def _duplicate_error(name: str) -> Exception:
    shown = name[:_SHOWN]
    return invalid(f"{shown} appears twice in the request, and servers differ in which one they use: remove one", shown)


def text_of(raw: msgspec.Raw | None) -> str | None:
    """Return the string in ``raw``, ``None`` if it is something else."""
    if raw is None:
        return None
    return decode_or(TEXT.decode, raw, None)
