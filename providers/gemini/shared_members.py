"""Members that both of Google's APIs have, in the words of each: safety settings and Google's own tools.

Source: ``SafetySetting``, ``Tool`` and ``ToolConfig`` of the google-genai package, and their namesakes of Interactions.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from providers.gemini.spellings import snake
from providers.neutral.fields import Drops, join_path

INTERACTIONS_TOOLS: Final[Mapping[str, str]] = {
    "googleSearch": "google_search", "codeExecution": "code_execution", "urlContext": "url_context",
    "fileSearch": "file_search", "computerUse": "computer_use", "googleMaps": "google_maps",
}  # fmt: skip
"""The types of Google's own tools in Interactions by their names in Gemini."""

GEMINI_TOOLS: Final[Mapping[str, str]] = {kind: name for name, kind in INTERACTIONS_TOOLS.items()}

TIERS: Final[Mapping[str, str]] = {"standard": "default", "flex": "flex", "priority": "priority"}
"""The neutral names of service tiers by Google's."""

_SEARCH_TYPES: Final[Mapping[str, str]] = {"webSearch": "web_search", "imageSearch": "image_search"}
_CATEGORY: Final = "HARM_CATEGORY_"
_PREFIXES: Final[Mapping[str, str]] = {
    "category": _CATEGORY, "threshold": "", "method": "", "environment": "ENVIRONMENT_", "disabled_safety_policies": "",
}  # fmt: skip
"""The prefixes of Gemini's words by the members with words, which are in capitals there."""

_LOCATION: Final = ("latitude", "longitude")
_UNDERSCORE: Final = re.compile(r"_([a-z])")


def gemini_safety(settings: Any) -> Any:
    """Return the safety settings of Interactions for Gemini."""
    return _each_object(settings, lambda name, value: _in_capitals("category" if name == "type" else name, value))


def interactions_safety(settings: Any) -> Any:
    """Return the safety settings of Gemini for Interactions."""

    def change(name: str, value: Any) -> tuple[str, Any]:
        name, value = _in_small_letters(snake(name), value)
        return "type" if name == "category" else name, value

    return _each_object(settings, change)


def gemini_tool(tool: Mapping[str, Any], at: str, drops: Drops) -> dict[str, Any]:
    """Return the settings of a tool of Interactions for Gemini, without the location of Google Maps."""
    found: dict[str, Any] = {}
    for name, value in tool.items():
        if name == "search_types" and isinstance(value, list):
            known: dict[str, Any] = {camel: {} for camel, word in _SEARCH_TYPES.items() if word in value}
            if known:
                found["searchTypes"] = known
            unknown = (i for i, word in enumerate(value) if word not in _SEARCH_TYPES.values())
            drops.add(*(join_path(join_path(at, name), i) for i in unknown))
        elif name != "type" and name not in _LOCATION:
            name, value = _in_capitals(name, value)
            found[_UNDERSCORE.sub(lambda one: one[1].upper(), name)] = value
    return found


def gemini_location(tool: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the ``retrievalConfig`` with the location of a tool of Interactions, ``None`` if it has none."""
    location = {name: tool[name] for name in _LOCATION if tool.get(name) is not None}
    return {"latLng": location} if location else None


def interactions_tool(name: str, settings: Any) -> dict[str, Any]:
    """Return the tool ``name`` of Gemini for Interactions."""
    found: dict[str, Any] = {"type": INTERACTIONS_TOOLS[name]}
    for member, value in settings.items() if isinstance(settings, dict) else ():
        member, value = _in_small_letters(snake(member), _in_snake_case(value))
        if member == "search_types" and isinstance(value, dict):
            value = list(value)
        found[member] = value
    return found


def _each_object(listed: Any, change: Callable[[str, Any], tuple[str, Any]]) -> Any:
    """Return a list with the members of its objects changed."""
    if not isinstance(listed, list):
        return listed
    return [dict(change(*item) for item in one.items()) if isinstance(one, Mapping) else one for one in listed]


def _in_capitals(name: str, value: Any) -> tuple[str, Any]:
    """Return a member of Interactions with Gemini's words (``HARM_CATEGORY_HARASSMENT`` instead of ``harassment``)."""
    prefix = _PREFIXES.get(name)
    if prefix is None:
        return name, value
    return name, _each_word(value, lambda word: prefix + word.upper().removeprefix(prefix))


def _in_small_letters(name: str, value: Any) -> tuple[str, Any]:
    prefix = _PREFIXES.get(name)
    if prefix is None:
        return name, value
    return name, _each_word(value, lambda word: word.removeprefix(prefix).lower())


def _each_word(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, list):
        return [_each_word(one, change) for one in value]
    return change(value) if isinstance(value, str) else value


def _in_snake_case(value: Any) -> Any:
    if isinstance(value, list):
        return [_in_snake_case(one) for one in value]
    return {snake(name): _in_snake_case(one) for name, one in value.items()} if isinstance(value, dict) else value
