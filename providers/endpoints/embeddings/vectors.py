"""The two forms of a vector: an array of numbers, and base64 of little-endian IEEE-754 singles with padding.

Both are JSON that nobody has decoded. What need not change its form keeps its bytes.
"""

import math
import sys
from array import array
from base64 import b64decode
from binascii import Error as Base64Error
from binascii import b2a_base64
from typing import Final

import msgspec

from streams.errors import GatewayError

_NUMBERS: Final = msgspec.json.Decoder(list[float])
_TEXT: Final = msgspec.json.Decoder(str)


def bad_answer(found: str) -> GatewayError:
    """The 502 for an answer of embeddings that is none: ``found`` says what is wrong with it."""
    message = f"the provider's answer {found}; vectors at wrong texts are worse than none"
    return GatewayError("upstream", message, code="bad_answer", reason="bad_answer")


def is_text(vector: msgspec.Raw) -> bool:
    """Whether ``vector`` is a JSON string, which is base64."""
    return bytes(memoryview(vector)[:1]) == b'"'


def is_array(vector: msgspec.Raw) -> bool:
    """Whether ``vector`` is a JSON array, of numbers or of vectors."""
    return bytes(memoryview(vector)[:1]) == b"["


def as_base64(vector: msgspec.Raw) -> msgspec.Raw:
    """``vector`` as a JSON string of base64. Raises ``GatewayError`` (502) for what is no vector."""
    if is_text(vector):
        return vector
    try:
        singles = array("f", _NUMBERS.decode(vector))
    except (msgspec.MsgspecError, OverflowError):
        raise bad_answer("has a vector that is no array of numbers") from None
    return msgspec.Raw(b'"%b"' % b2a_base64(_little_endian(singles).tobytes(), newline=False))


def as_numbers(vector: msgspec.Raw) -> msgspec.Raw:
    """``vector`` as a JSON array of numbers, each the single that was encoded. Raises ``GatewayError`` (502) for what
    is no vector."""
    if not is_text(vector):
        return vector
    singles = array("f")
    try:
        singles.frombytes(b64decode(_TEXT.decode(vector), validate=True))
    except (msgspec.MsgspecError, Base64Error, ValueError):
        raise bad_answer("has a vector that is no base64 of singles") from None
    numbers = _little_endian(singles).tolist()
    if not all(map(math.isfinite, numbers)):
        raise bad_answer("has a vector with a number that is none in JSON (NaN or infinite)")
    return msgspec.Raw(msgspec.json.encode(numbers))


def _little_endian(singles: "array[float]") -> "array[float]":
    if sys.byteorder == "big":
        singles.byteswap()
    return singles
