r"""Decoding of JSON strings that contain half of a surrogate pair, such as "\ud83d".

JSON's grammar allows it (RFC 8259, section 8.2) and programs that cut text by UTF-16 units send it
(openclaw/openclaw#110642), but it is not valid Unicode text.
"""

import re
from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec

T = TypeVar("T")
D = TypeVar("D")

REPLACEMENT: Final = rb"\ufffd"

# Matches each escape whole, so that the backslash of "\\ud83d" starts none; a pair is one match.
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|[\s\S])"
)


def replace_lone_surrogates(json: bytes) -> bytes:
    """Return ``json`` with U+FFFD for each half of a surrogate pair; the same object if there is none."""
    if b"\\ud" not in json and b"\\uD" not in json:
        return json
    found = _ESCAPE.sub(lambda match: REPLACEMENT if match[1] else match[0], json)
    return json if found == json else found


def find_lone_surrogate(json: bytes) -> int | None:
    """Return the index of the first half of a surrogate pair, or ``None``."""
    return next((match.start() for match in _ESCAPE.finditer(json) if match[1]), None)


def tolerate_lone_surrogates(decode: Callable[[bytes], T]) -> Callable[[bytes], T]:
    """Return msgspec's ``decode``, extended to read half of a surrogate pair as U+FFFD. Raises the same exceptions."""

    def read(json: bytes) -> T:
        try:
            return decode(json)
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:
            if (repaired := replace_lone_surrogates(json)) is json:
                raise
            return decode(repaired)

    return read


any_json: Callable[[bytes], Any] = tolerate_lone_surrogates(msgspec.json.Decoder().decode)
"""Decode JSON of any shape to Python values. Raises one of ``NOT_JSON``."""

NOT_JSON: Final = (msgspec.MsgspecError, ValueError, RecursionError)
"""The exceptions of decoding for invalid JSON, invalid UTF-8 or too deep nesting."""


def decode_or(decode: Callable[[Any], T], json: Any, default: D) -> T | D:
    """Return ``decode(json)``, or ``default`` if ``json`` is not JSON or has another type."""
    try:
        return decode(json)
    except NOT_JSON:
        return default


def describe_json_error(error: Exception) -> str:
    """Return the fault that one of ``NOT_JSON`` reports, such as "trailing characters (byte 9)"."""
    if isinstance(error, UnicodeDecodeError):
        return "a string is not valid UTF-8"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    text = str(error).removeprefix("JSON is malformed: ")
    return "it ends too early" if text == "Input data was truncated" else text
