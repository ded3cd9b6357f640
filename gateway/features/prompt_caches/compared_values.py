"""The values of two requests at their first difference, as texts, and the excerpts around it."""

import re
from collections.abc import Callable
from typing import Any, Final

import attrs
import msgspec

from gateway.features.prompt_caches.differences import Difference
from gateway.features.prompt_caches.prompts import PromptDigest
from gateway.features.prompt_caches.reading import compact_json
from streams.surrogates import NOT_JSON

EXCERPT: Final = 200
"""Characters of a text that an excerpt has."""

_BEFORE: Final = 80
"""Characters of an excerpt ahead of the difference."""

_WIDE: Final = 16 * 1024
"""Characters on both sides of the difference in which credentials are masked, because a cut one would not be found."""

_STEP: Final = re.compile(r"([^.\[\]]+)|\[(\d+)\]")
_OBJECT: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_LIST: Final = msgspec.json.Decoder(list[msgspec.Raw])
_ANY: Final = msgspec.json.Decoder()
_TEXTS: Final = ("text", "content")
_PARTED: Final = "header:"


@attrs.frozen(repr=False)
class Excerpt:
    """A part of a text: the unchanged characters ``before`` the difference, the ``changed`` ones, and those ``after``.

    ``is_start`` and ``is_end``: the part begins at the start of the text, or ends at its end."""

    before: str
    changed: str
    after: str
    is_start: bool
    is_end: bool


@attrs.frozen(repr=False)
class Excerpts:
    """The excerpts of two requests around their first difference, at ``path`` of the newer one as sent.

    One is ``None`` if its request has nothing at this position."""

    path: str
    old: Excerpt | None
    new: Excerpt | None


def excerpts_of(
    bodies: tuple[bytes, bytes],
    prompts: tuple[PromptDigest, PromptDigest],
    difference: Difference,
    mask: Callable[[str], str],
) -> Excerpts | None:
    """Return the excerpts of an earlier and a newer request around the difference ``difference`` of their prompts.

    ``mask`` removes credentials. The result is ``None`` if neither request has a text there, such as for a header."""
    paths = _paths(prompts, difference)
    values = [_value_or_none(body, path) for body, path in zip(bodies, paths, strict=True)]
    if values[0] is None and values[1] is None:
        return None
    texts = [None if value is None else text_of(value) for value in values]
    if difference.at.endswith("(respelled)") or None in texts or texts[0] == texts[1]:
        texts = [None if value is None else compact_json(value).decode(errors="replace") for value in values]
    old, new = _cut(texts[0], texts[1], mask)
    return Excerpts(paths[1] or paths[0], old, new)


def value_at(body: bytes, path: str) -> bytes:
    """Return the JSON at ``path`` in ``body``. Raises ``LookupError`` or one of ``NOT_JSON``."""
    value = msgspec.Raw(body)
    for name, number in _STEP.findall(path):
        value = _LIST.decode(value)[int(number)] if number else _OBJECT.decode(value)[name]
    return bytes(value)


def text_of(raw: bytes) -> str | None:
    """Return the text of a JSON string or of a content block, ``None`` for any other value."""
    value: Any = _ANY.decode(raw)
    if isinstance(value, dict):
        value = next((value[name] for name in _TEXTS if isinstance(value.get(name), str)), None)
    return value if isinstance(value, str) else None


def shared_start(one: str, other: str) -> int:
    """Return the number of characters with which both texts begin."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def shared_end(one: str, other: str) -> int:
    """Return the number of characters with which both texts end."""
    return shared_start(one[::-1], other[::-1])


def _paths(prompts: tuple[PromptDigest, PromptDigest], difference: Difference) -> tuple[str, str]:
    """Return the paths of the difference in both requests, "" where one has no value at this position."""
    if difference.part == "settings":
        name = "" if difference.at.startswith(_PARTED) else difference.at
        return name, name
    if difference.part == "tools" and difference.path:
        return difference.path, difference.path
    blocks = [prompt.block_before(difference.position + 1) for prompt in prompts]
    old, new = ("" if block is None else block.path for block in blocks)
    return old, new


def _value_or_none(body: bytes, path: str) -> bytes | None:
    try:
        return value_at(body, path) if path else None
    except (*NOT_JSON, LookupError):
        return None


def _cut(old: str | None, new: str | None, mask: Callable[[str], str]) -> tuple[Excerpt | None, Excerpt | None]:
    at = shared_start(old or "", new or "")
    begin = max(at - _WIDE, 0)
    wide = [None if text is None else mask(text[begin : at + _WIDE]) for text in (old, new)]
    one, other = wide[0] or "", wide[1] or ""
    start = shared_start(one, other)  # masked credentials have another length
    end = min(shared_end(one, other), len(one) - start, len(other) - start)
    found = [
        None
        if text is None or whole is None
        else _excerpt(text, start, len(text) - end, starts=begin == 0, ends=at + _WIDE >= len(whole))
        for text, whole in zip(wide, (old, new), strict=True)
    ]
    return found[0], found[1]


def _excerpt(text: str, start: int, end: int, *, starts: bool, ends: bool) -> Excerpt:
    """Return the excerpt of ``text``, whose characters from ``start`` to ``end`` differ."""
    first = max(start - _BEFORE, 0)
    last = min(first + EXCERPT, len(text))
    changed = min(end, last)
    return Excerpt(
        text[first:start], text[start:changed], text[changed:last], starts and first == 0, ends and last == len(text)
    )
