"""Members that both of Google's APIs have, in the words of each: safety settings, service tiers and Google's own tools.

Source: ``SafetySetting``, ``Tool`` and ``ToolConfig`` of the google-genai package, and their namesakes of Interactions.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from providers.gemini.spellings import camel
from providers.neutral.api_members import to_snake
from providers.neutral.fields import Drops, join_path

INTERACTIONS_TOOLS: Final[Mapping[str, str]] = {
    "googleSearch": "google_search", "codeExecution": "code_execution", "urlContext": "url_context",
    "fileSearch": "file_search", "computerUse": "computer_use", "googleMaps": "google_maps",
}  # fmt: skip
"""The types of Google's own tools in Interactions by their names in Gemini."""

GEMINI_TOOLS: Final[Mapping[str, str]] = {kind: name for name, kind in INTERACTIONS_TOOLS.items()}

TIERS: Final[Mapping[str, str]] = {"standard": "default", "flex": "flex", "priority": "priority"}
"""The neutral names of service tiers by Google's."""

TIER_WORDS: Final[Mapping[str, str]] = {neutral: word for word, neutral in TIERS.items()}

_SEARCH_TYPES: Final[Mapping[str, str]] = {"webSearch": "web_search", "imageSearch": "image_search"}
_PREFIXES: Final[Mapping[str, str]] = {
    "category": "HARM_CATEGORY_", "threshold": "", "method": "",
    "environment": "ENVIRONMENT_", "disabled_safety_policies": "",
}  # fmt: skip
"""The prefixes of Gemini's words by the members with words, which are in capitals there."""

_LOCATION: Final = ("latitude", "longitude")


def gemini_safety(settings: Any) -> Any:
    """Return the safety settings of Interactions for Gemini."""

    def change(name: str, value: Any) -> tuple[str, Any]:
        name = "category" if name == "type" else name
        return name, _in_words(name, value, _to_capitals)

    return _each_object(settings, change)


def interactions_safety(settings: Any) -> Any:
    """Return the safety settings of Gemini for Interactions."""

    def change(name: str, value: Any) -> tuple[str, Any]:
        name = to_snake(name)
        return "type" if name == "category" else name, _in_words(name, value, _small_letters)

    return _each_object(settings, change)


def gemini_tool(tool: Mapping[str, Any], at: str, drops: Drops) -> dict[str, Any]:
    """Return the settings of a tool of Interactions for Gemini, without the location of Google Maps."""
    found: dict[str, Any] = {}
    for name, value in tool.items():
        if name == "search_types" and isinstance(value, list):
            known: dict[str, Any] = {kind: {} for kind, word in _SEARCH_TYPES.items() if word in value}
            if known:
                found["searchTypes"] = known
            unknown = (i for i, word in enumerate(value) if word not in _SEARCH_TYPES.values())
            drops.add(*(join_path(join_path(at, name), i) for i in unknown))
        elif name != "type" and name not in _LOCATION:
            found[camel(name)] = _in_words(name, value, _to_capitals)
    return found


def gemini_location(tool: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the ``retrievalConfig`` with the location of a tool of Interactions, ``None`` if it has none."""
    location = {name: tool[name] for name in _LOCATION if tool.get(name) is not None}
    return {"latLng": location} if location else None


def interactions_tool(name: str, settings: Any) -> dict[str, Any]:
    """Return the tool ``name`` of Gemini for Interactions."""
    found: dict[str, Any] = {"type": INTERACTIONS_TOOLS[name]}
    for member, value in settings.items() if isinstance(settings, dict) else ():
        member, value = to_snake(member), _in_snake_case(value)
        is_types = member == "search_types" and isinstance(value, dict)
        found[member] = list(value) if is_types else _in_words(member, value, _small_letters)
    return found


def _each_object(listed: Any, change: Callable[[str, Any], tuple[str, Any]]) -> Any:
    """Return a list with the members of its objects changed."""
    if not isinstance(listed, list):
        return listed
    return [dict(change(*item) for item in one.items()) if isinstance(one, Mapping) else one for one in listed]


def _in_words(name: str, value: Any, change: Callable[[str, str], str]) -> Any:
    """Return the value of the member ``name`` with its words changed by ``change``, which gets their prefix first."""
    prefix = _PREFIXES.get(name)
    return value if prefix is None else _each_word(value, partial(change, prefix))


def _to_capitals(prefix: str, word: str) -> str:
    """Return a word of Interactions for Gemini (``HARM_CATEGORY_HARASSMENT`` for ``harassment``)."""
    return prefix + word.upper().removeprefix(prefix)


def _small_letters(prefix: str, word: str) -> str:
    return word.removeprefix(prefix).lower()


def _each_word(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, list):
        return [_each_word(one, change) for one in value]
    return change(value) if isinstance(value, str) else value


def _in_snake_case(value: Any) -> Any:
    if isinstance(value, list):
        return [_in_snake_case(one) for one in value]
    return {to_snake(name): _in_snake_case(one) for name, one in value.items()} if isinstance(value, dict) else value
