"""The end of a JSON object that arrives in pieces."""

from collections.abc import Sequence
from typing import Final

import msgspec

from streams.surrogates import decode_or

_skim: Final = msgspec.json.Decoder(msgspec.Raw).decode  # checks the structure, and makes no values


def ends_like_object(pieces: Sequence[bytes | bytearray]) -> bool:
    """Return whether ``pieces`` may be a whole JSON object. Few incomplete ones end like it."""
    last = next((text for piece in reversed(pieces) if (text := piece.rstrip())), b"")
    return last.endswith(b"}")


def is_object(pieces: Sequence[bytes | bytearray]) -> bool:
    """Return whether ``pieces`` are a whole JSON object. A megabyte takes a few milliseconds."""
    return ends_like_object(pieces) and decode_or(_skim, b"".join(pieces), None) is not None
