"""Paths to members of requests that a provider rejects, and the removal of these members.

A path is a tuple of names in the provider's spelling, with ``[]`` for any index: ``("tools", "[]", "custom",
"defer_loading")``. It may contain tags that are no members (``custom``) but identify the kind of element.
"""

import re
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any, TypeAlias

from providers.neutral.fields import join_path

Path: TypeAlias = tuple[str, ...]

BETA = "anthropic-beta"
"""The first name of a path to a value of this header instead of a member; alone it means all values."""

INDEX = "[]"
ANYWHERE = "**"
"""The first name of a path that means every array element, at any depth, whose only member is the second name."""

TOOL_CHOICE: Path = ("toolConfig", "toolChoice")
CACHE_POINTS: Path = (ANYWHERE, "cachePoint")
ROUTE: Path = (":route",)
"""The address itself, for a provider that has the model at another address."""
TOOL_NAMES: Path = (":tools", "names")
"""The names of tools that are too long or have other characters than a server permits (``long_tool_names``)."""
NO_MEMBER = ":"
"""The first character of a path that is no member: a request in another shape (``other_shapes``), and those here."""
WHOLE: Path = (":stream",)
WHOLE_WITH_TOOLS: Path = (":stream", "tools")
"""Streams, for a model that only has whole answers: to all requests, or to those with tools."""
OTHER_API = ":api"
"""The first name of a path to the only API in which the provider serves the model; the API is its second name."""


_TOOLS = re.compile(rb'"tool(?:s|Config)"\s*:')


def is_answered_whole(paths: Collection[Path], body: bytes) -> bool:
    """Return whether a model that rejects ``paths`` answers ``body`` only without a stream."""
    return WHOLE in paths or (WHOLE_WITH_TOOLS in paths and _TOOLS.search(body) is not None)


def parse_path(text: str) -> Path:
    """Return ``tools.0.custom.x``, ``tools[0].x``, ``tools[].x`` or ``/tools/0/x`` as a path.

    Ignores a leading ``body``, which FastAPI adds.
    """
    names = re.findall(r"\[\]|[\w\-]+", text)
    return tuple(INDEX if name.isdecimal() else name for name in (names[1:] if names[:1] == ["body"] else names))


@lru_cache(512)
def parse_paths(texts: tuple[str, ...]) -> tuple[Path, ...]:
    """Return the paths that a provider's row lists."""
    return tuple(map(parse_path, texts))


def remove_path(value: Any, path: Path, at: str = "") -> tuple[Any, set[str]]:
    """Return ``value`` without the members that ``path`` matches, and their paths (``tools[].defer_loading``).

    Unaffected parts are shared with ``value``, which stays unchanged; without a match the result is ``value`` itself.
    """
    if not path:
        return value, set()
    name, rest = _spelling_in(path[0], value), path[1:]
    if name == ANYWHERE:
        return _remove_elements(value, rest[-1], at)
    if name == INDEX:
        if not isinstance(value, list):
            return value, set()
        items = [remove_path(item, rest, at + INDEX) for item in value]
        found = {place for _, places in items for place in places}
        return ([item for item, _ in items] if found else value), found
    if not isinstance(value, dict):
        return value, set()
    if not rest and name in value:
        return {key: other for key, other in value.items() if key != name}, {join_path(at, name)}
    if isinstance(value.get(name), dict | list):  # a text block also has a member named like the tag
        changed, places = remove_path(value[name], rest, join_path(at, name))
        return ({**value, name: changed} if places else value), places
    return remove_path(value, rest, at) if rest and at and _has_type(name, value) else (value, set())


def _spelling_in(name: str, value: Any) -> str:
    """Return ``name`` as ``value`` spells it; Google's errors and requests differ (``function_declarations``,
    ``functionDeclarations``)."""
    if "_" not in name or not isinstance(value, dict) or name in value:
        return name
    first, *others = name.split("_")
    camel = first + "".join(word[:1].upper() + word[1:] for word in others)
    return camel if camel in value else name


def _remove_elements(value: Any, name: str, at: str) -> tuple[Any, set[str]]:
    """Return ``value`` without array elements whose only member is ``name``."""
    places: set[str] = set()
    if isinstance(value, dict):
        changed = {key: _remove_elements(one, name, join_path(at, key)) for key, one in value.items()}
        places.update(*(found for _, found in changed.values()))
        return ({key: one for key, (one, _) in changed.items()} if places else value), places
    if not isinstance(value, list):
        return value, places
    kept = []
    for item in value:
        if isinstance(item, dict) and item.keys() == {name}:
            places.add(f"{at}{INDEX}.{name}")
            continue
        one, found = _remove_elements(item, name, at + INDEX)
        places |= found
        kept.append(one)
    return (kept if places else value), places


def _has_type(tag: str, value: Mapping[str, Any]) -> bool:
    """Return whether ``value`` is of the kind that the provider calls ``tag``, because a rejection may concern blocks
    of one type only."""
    sorts = [value[name] for name in ("type", "role") if name in value]
    return tag in sorts or not sorts
