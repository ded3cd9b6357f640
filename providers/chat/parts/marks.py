"""Marks of cached prefixes."""

from collections.abc import Mapping
from typing import Any

from providers.chat.parts.target import PartsTarget
from providers.neutral.request import AudioPart, FilePart, ImagePart, TextPart, ToolCallPart, ToolResultPart

_BREAKPOINT = "prompt_cache_breakpoint"


def write(to: PartsTarget, part: TextPart | ImagePart | FilePart | AudioPart | ToolResultPart) -> dict[str, Any]:
    """The end of a cached prefix, where the model lets it be marked; all other marks are reported."""
    found: dict[str, Any] = {}
    for name, value in part.marks.items():
        breakpoint = _breakpoint(name, value) if to.quirks.cache_breakpoints else None
        if breakpoint is None:
            to.drops.add(f"{part.at}.{name}")
        else:
            found = {_BREAKPOINT: breakpoint}
    return found


def drop(to: PartsTarget, part: TextPart | ToolCallPart | ToolResultPart) -> None:
    """Report the marks of a part that cannot have any here."""
    to.drops.add(*(f"{part.at}.{name}" for name in part.marks))


def _breakpoint(name: str, value: Any) -> Any:
    """The mark ``name`` in Chat's words, None if it has none. ``cache_control`` is the same thing with other lifetimes:
    its 5 minutes are the default of 30, its hour is 12."""
    if not isinstance(value, Mapping):
        return None
    if name == "cache_control":
        return {"mode": "explicit", "ttl": "12h"} if value.get("ttl") == "1h" else {"mode": "explicit"}
    return value if name == _BREAKPOINT else None
