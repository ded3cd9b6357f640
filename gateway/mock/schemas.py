"""The meanings of a JSON Schema: references, ``allOf`` and one choice of ``anyOf`` and ``oneOf`` merged into types and
bounds."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias
from urllib.parse import unquote

Flat: TypeAlias = dict[str, Any]
"""A schema without references and alternatives."""
Path: TypeAlias = tuple[str, ...]
"""The references that led to a schema."""

STEPS: Final = 20_000  # schemas examined for one value before giving up
DEEP: Final = 3  # depth of references from which on optional parts are left out
TWICE: Final = 2  # how often a reference may occur within itself

_COMBINING: Final = {"$ref", "allOf", "anyOf", "oneOf", "$defs", "definitions"}


class TooManySteps(Exception):
    """An error: more than ``STEPS`` steps were needed."""


class Meanings:
    """The meanings of a schema's parts, whose references lead into ``root``."""

    def __init__(self, root: object) -> None:
        self._root = root
        self._steps = 0

    def of(self, schema: object, path: Path) -> Iterator[tuple[Flat, Path]]:
        """Yield the flat schemas that ``schema`` can mean, the first choice first. Raises ``TooManySteps``."""
        self._steps += 1
        if self._steps > STEPS:
            raise TooManySteps
        if schema is False:
            return
        if not isinstance(schema, Mapping):
            yield {}, path
            return
        groups = [[one] for one in listed(schema, "allOf")]
        groups += [found for key in ("anyOf", "oneOf") if (found := listed(schema, key))]
        if isinstance(ref := schema.get("$ref"), str):
            if path.count(ref) >= TWICE:
                return
            path = (*path, ref)
            groups.insert(0, [self._target(ref)])
        if len(path) >= DEEP:
            groups = [sorted(group, key=_refers) for group in groups]
        own = {key: value for key, value in schema.items() if key not in _COMBINING}
        if isinstance(own.get("items"), list):  # as in drafts before 2020-12
            own |= {"prefixItems": own["items"], "items": own.get("additionalItems", True)}
        yield from self._with(own, groups, path)

    def _with(self, flat: Flat, groups: Sequence[Sequence[object]], path: Path) -> Iterator[tuple[Flat, Path]]:
        """Yield ``flat`` merged with one schema of each of ``groups``."""
        if not groups:
            yield flat, path
            return
        for choice in groups[0]:
            for found, inside in self.of(choice, path):
                merged = both(flat, found)
                if merged is not None:
                    yield from self._with(merged, groups[1:], inside)

    def _target(self, ref: str) -> object:
        """Return the schema that a reference leads to; outside ``root``, one that nothing matches."""
        found = self._root
        mark, *parts = unquote(ref).split("/")
        for part in parts if mark == "#" else [ref]:
            key = part.replace("~1", "/").replace("~0", "~")
            if isinstance(found, list) and key.isdecimal() and int(key) < len(found):
                found = found[int(key)]
            else:
                found = found.get(key, False) if isinstance(found, Mapping) else False
        return found


def _refers(schema: object) -> bool:
    return isinstance(schema, Mapping) and "$ref" in schema


# Tolerant reading of keywords


def listed(schema: Mapping[str, Any], key: str) -> list[Any]:
    found = schema.get(key)
    return found if isinstance(found, list) else []


def members(schema: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = schema.get(key)
    return found if isinstance(found, Mapping) else {}


def number(schema: Mapping[str, Any], key: str, default: float) -> float:
    found = schema.get(key)
    return found if isinstance(found, int | float) and not isinstance(found, bool) else default


def text_of(value: object) -> str:
    """Return a value as canonical JSON; Python considers 1 and true equal."""
    return json.dumps(value, sort_keys=True)


def same(one: object, other: object) -> bool:
    """Return whether two values are the same JSON."""
    return text_of(one) == text_of(other)


def matches(pattern: object, text: str) -> bool:
    """Return whether ``pattern`` matches in ``text``, in Python's dialect."""
    try:
        return not isinstance(pattern, str) or re.search(pattern, text) is not None
    except re.error:
        return True


# Merging


def both(one: Flat, other: Flat) -> Flat | None:
    """Return the schema that fits both, ``None`` if evidently nothing does."""
    found = {**other, **one}
    for key in one.keys() & other.keys():
        merged = _MERGE.get(key, _first)(one[key], other[key])
        if merged is None:
            return None
        found[key] = merged
    if properties := _all_of(_constrained_members(one, other), _constrained_members(other, one)):
        found["properties"] = properties
    first = range(max(len(listed(each, "prefixItems")) for each in (one, other)))
    if first:
        found["prefixItems"] = [{"allOf": [place(one, index), place(other, index)]} for index in first]
    return found


def place(flat: Flat, index: int) -> object:
    """Return the schema of an item."""
    first = listed(flat, "prefixItems")
    return first[index] if index < len(first) else flat.get("items", True)


def _constrained_members(one: Flat, other: Flat) -> Mapping[str, Any]:
    """Return the members of ``one`` with the constraints that ``other`` sets for unlisted members."""
    own, rest = members(one, "properties"), other.get("additionalProperties", True)
    if rest is True:
        return own
    named, patterns = members(other, "properties"), members(other, "patternProperties")
    strange = {name for name in own if name not in named and not any(matches(each, name) for each in patterns)}
    return {name: {"allOf": [schema, rest]} if name in strange else schema for name, schema in own.items()}


def _all_of(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    shared = {name: {"allOf": [one[name], other[name]]} for name in one if name in other}
    return {**one, **other, **shared}


def _types(one: object, other: object) -> list[str] | None:
    """Return the types that both allow."""
    ones, others = (set(each if isinstance(each, list) else [each]) for each in (one, other))
    ones |= {"integer"} & others if "number" in ones else set()
    others |= {"integer"} & ones if "number" in others else set()
    common = ones & others
    return sorted(common - ({"number"} if "integer" in common else set())) or None


def _shared(one: list[Any], other: list[Any]) -> list[Any] | None:
    return [value for value in one if any(same(value, each) for each in other)] or None


def _step(one: float, other: float) -> float:
    return one if one % other == 0 else other if other % one == 0 else one * other


def _either(one: object, other: object) -> object:
    return {"allOf": [one, other]}


def _first(one: object, other: object) -> object:
    return other if one is None else one


_MERGE: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "type": _types,
    "enum": _shared,
    "const": lambda one, other: _shared([one], [other]) and one,
    "required": lambda one, other: [*one, *other],
    "examples": lambda one, other: [*one, *other],
    "pattern": lambda one, other: f"(?=[\\s\\S]*?(?:{one}))(?=[\\s\\S]*?(?:{other}))",
    "format": lambda one, other: one if one == other else None,
    "multipleOf": _step,
    "patternProperties": _all_of,
    "uniqueItems": lambda one, other: bool(one or other),
    **dict.fromkeys(("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"), max),
    **dict.fromkeys(("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"), min),
    **dict.fromkeys(("items", "additionalProperties", "contains"), _either),
}
"""How two values of a keyword merge; ``None`` means that nothing fits both."""
