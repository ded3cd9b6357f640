"""The exact characters at which two requests differ, for requests on disk."""

import re
from typing import Any, Final

import attrs
import msgspec

from gateway.prompt_caches.differences import Difference
from gateway.prompt_caches.digests import UNDECODABLE, class_at, compact_json

_STEP: Final = re.compile(r"([^.\[\]]+)|\[(\d+)\]")
_OBJECT: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_LIST: Final = msgspec.json.Decoder(list[msgspec.Raw])
_ANY: Final = msgspec.json.Decoder()
_TEXTS: Final = ("text", "content")


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
        before, after = _value_at(old, difference.path), _value_at(new, difference.path)
    except (*UNDECODABLE, LookupError, ValueError):
        return None
    texts = _text_of(before), _text_of(after)
    if texts[0] is None or texts[1] is None or difference.kind == "respelled":
        texts = compact_json(before).decode(errors="replace"), compact_json(after).decode(errors="replace")
    one, other = texts[0] or "", texts[1] or ""
    start = next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    most = min(len(one), len(other)) - start
    same = next((at for at in range(most) if one[-1 - at] != other[-1 - at]), most)
    end = max(len(other) - same, start)
    detail = _spelling(before, after) if difference.kind == "respelled" else class_at(other, start, max(end, start + 1))
    return ExactDifference(start, end, detail)


def _value_at(body: bytes, path: str) -> bytes:
    value = msgspec.Raw(body)
    for name, number in _STEP.findall(path):
        value = _LIST.decode(value)[int(number)] if number else _OBJECT.decode(value)[name]
    return bytes(value)


def _text_of(raw: bytes) -> str | None:
    """Return a JSON text, or that of a block with one; ``None`` otherwise."""
    value: Any = _ANY.decode(raw)
    if isinstance(value, dict):
        value = next((value[name] for name in _TEXTS if isinstance(value.get(name), str)), None)
    return value if isinstance(value, str) else None


def _spelling(before: bytes, after: bytes) -> str:
    """Return how two spellings of one JSON value differ."""
    one, other = _ANY.decode(before), _ANY.decode(after)
    if msgspec.json.encode(one) == msgspec.json.encode(other):
        return "escapes"
    ordered = msgspec.json.encode(one, order="sorted") == msgspec.json.encode(other, order="sorted")
    return "member order" if ordered else "numbers"
