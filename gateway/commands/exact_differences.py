"""The exact characters at which two requests differ, for requests on disk."""

from typing import Final

import attrs
import msgspec

from gateway.prompt_caches.compared_values import shared_end, shared_start, text_of, value_at
from gateway.prompt_caches.differences import Difference
from gateway.prompt_caches.digests import class_at, compact_json
from streams.surrogates import NOT_JSON

_ANY: Final = msgspec.json.Decoder()


@attrs.frozen
class ExactDifference:
    """The characters from ``start`` to ``end`` of the newer value at a path that differ, and a word about them."""

    start: int
    end: int
    detail: str | None


def exact_difference(old: bytes, new: bytes, difference: Difference) -> ExactDifference | None:
    """Return the characters at which two requests differ, ``None`` if one of them has no value at the path."""
    if not difference.path:
        return None
    try:
        before, after = value_at(old, difference.path), value_at(new, difference.path)
    except (*NOT_JSON, LookupError):
        return None
    texts = text_of(before), text_of(after)
    if texts[0] is None or texts[1] is None or difference.kind == "respelled":
        texts = compact_json(before).decode(errors="replace"), compact_json(after).decode(errors="replace")
    one, other = texts[0] or "", texts[1] or ""
    start = shared_start(one, other)
    end = len(other) - min(shared_end(one, other), len(one) - start, len(other) - start)
    detail = _spelling(before, after) if difference.kind == "respelled" else class_at(other, start, max(end, start + 1))
    return ExactDifference(start, end, detail)


def _spelling(before: bytes, after: bytes) -> str:
    """Return how two spellings of one JSON value differ."""
    one, other = _ANY.decode(before), _ANY.decode(after)
    if msgspec.json.encode(one) == msgspec.json.encode(other):
        return "escapes"
    ordered = msgspec.json.encode(one, order="sorted") == msgspec.json.encode(other, order="sorted")
    return "member order" if ordered else "numbers"
