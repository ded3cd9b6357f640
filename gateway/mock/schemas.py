"""Resolution of JSON Schemas into flat ones, without references, ``allOf``, ``anyOf`` and ``oneOf``."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias
from urllib.parse import unquote

Flat: TypeAlias = dict[str, Any]
"""A schema without references and alternatives."""
Path: TypeAlias = tuple[str, ...]
"""The references that led to a schema."""

MAX_STEPS: Final = 20_000  # schemas examined for one value before giving up
MAX_OPTIONAL_DEPTH: Final = 3  # depth of references from which on optional parts are left out
MAX_RECURSION: Final = 2  # how often a reference may occur within itself

_COMBINING: Final = {"$ref", "allOf", "anyOf", "oneOf", "$defs", "definitions"}


class TooManySteps(Exception):
    """An error: more than ``MAX_STEPS`` steps were needed."""


class SchemaResolver:
    """A resolver of schemas within the document ``root``, into which their references point."""

    def __init__(self, root: object) -> None:
        self._root = root
        self._steps = 0

    def resolve(self, schema: object, path: Path) -> Iterator[tuple[Flat, Path]]:
        """Yield a flat schema for each choice that ``schema`` allows. Raises ``TooManySteps``."""
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise TooManySteps
        if schema is False:
            return
        if not isinstance(schema, Mapping):
            yield {}, path
            return
        groups = [[one] for one in list_in(schema, "allOf")]
        groups += [found for key in ("anyOf", "oneOf") if (found := list_in(schema, key))]
        if isinstance(ref := schema.get("$ref"), str):
            if path.count(ref) >= MAX_RECURSION:
                return
            path = (*path, ref)
            groups.insert(0, [self._find_referenced(ref)])
        if len(path) >= MAX_OPTIONAL_DEPTH:
            groups = [sorted(group, key=_is_reference) for group in groups]
        own = {key: value for key, value in schema.items() if key not in _COMBINING}
        if isinstance(own.get("items"), list):  # as in drafts before 2020-12
            own |= {"prefixItems": own["items"], "items": own.get("additionalItems", True)}
        yield from self._merge_choices(own, groups, path)

    def _merge_choices(self, flat: Flat, groups: Sequence[Sequence[object]], path: Path) -> Iterator[tuple[Flat, Path]]:
        """Yield ``flat`` merged with each combination of one schema from every group."""
        if not groups:
            yield flat, path
            return
        for choice in groups[0]:
            for found, inside in self.resolve(choice, path):
                merged = merge(flat, found)
                if merged is not None:
                    yield from self._merge_choices(merged, groups[1:], inside)

    def _find_referenced(self, ref: str) -> object:
        """Return the schema to which a reference points, or ``False``, which matches nothing, if there is none."""
        found = self._root
        mark, *parts = unquote(ref).split("/")
        for part in parts if mark == "#" else [ref]:
            key = part.replace("~1", "/").replace("~0", "~")
            if isinstance(found, list) and key.isdecimal() and int(key) < len(found):
                found = found[int(key)]
            else:
                found = found.get(key, False) if isinstance(found, Mapping) else False
        return found


def _is_reference(schema: object) -> bool:
    return isinstance(schema, Mapping) and "$ref" in schema


# Tolerant reading of keywords


def list_in(schema: Mapping[str, Any], key: str) -> list[Any]:
    found = schema.get(key)
    return found if isinstance(found, list) else []


def object_in(schema: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = schema.get(key)
    return found if isinstance(found, Mapping) else {}


def number(schema: Mapping[str, Any], key: str, default: float) -> float:
    found = schema.get(key)
    return found if isinstance(found, int | float) and not isinstance(found, bool) else default


def text_of(value: object) -> str:
    """Return a value as canonical JSON; Python considers 1 and true equal."""
    return json.dumps(value, sort_keys=True)


def are_equal(one: object, other: object) -> bool:
    """Return whether two values are the same JSON."""
    return text_of(one) == text_of(other)


def matches(pattern: object, text: str) -> bool:
    """Return whether ``pattern`` matches in ``text``, in Python's dialect."""
    try:
        return not isinstance(pattern, str) or re.search(pattern, text) is not None
    except re.error:
        return True


# Merging


def merge(one: Flat, other: Flat) -> Flat | None:
    """Merge two schemas into one that fits both; return ``None`` if evidently nothing does."""
    found = {**other, **one}
    for key in one.keys() & other.keys():
        merged = _MERGE.get(key, _first_present)(one[key], other[key])
        if merged is None:
            return None
        found[key] = merged
    if properties := _all_of(_constrained_members(one, other), _constrained_members(other, one)):
        found["properties"] = properties
    first = range(max(len(list_in(each, "prefixItems")) for each in (one, other)))
    if first:
        found["prefixItems"] = [{"allOf": [item_schema(one, index), item_schema(other, index)]} for index in first]
    return found


def item_schema(flat: Flat, index: int) -> object:
    """Return the schema of the array item at ``index``."""
    first = list_in(flat, "prefixItems")
    return first[index] if index < len(first) else flat.get("items", True)


def _constrained_members(one: Flat, other: Flat) -> Mapping[str, Any]:
    """Return the members of ``one`` with the constraints that ``other`` sets for members it does not list."""
    own, rest = object_in(one, "properties"), other.get("additionalProperties", True)
    if rest is True:
        return own
    named, patterns = object_in(other, "properties"), object_in(other, "patternProperties")
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


def _common_values(one: list[Any], other: list[Any]) -> list[Any] | None:
    return [value for value in one if any(are_equal(value, each) for each in other)] or None


def _common_multiple(one: float, other: float) -> float:
    return one if one % other == 0 else other if other % one == 0 else one * other


def _both_schemas(one: object, other: object) -> object:
    return {"allOf": [one, other]}


def _first_present(one: object, other: object) -> object:
    return other if one is None else one


_MERGE: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "type": _types,
    "enum": _common_values,
    "const": lambda one, other: _common_values([one], [other]) and one,
    "required": lambda one, other: [*one, *other],
    "examples": lambda one, other: [*one, *other],
    "pattern": lambda one, other: f"(?=[\\s\\S]*?(?:{one}))(?=[\\s\\S]*?(?:{other}))",
    "format": lambda one, other: one if one == other else None,
    "multipleOf": _common_multiple,
    "patternProperties": _all_of,
    "uniqueItems": lambda one, other: bool(one or other),
    **dict.fromkeys(("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"), max),
    **dict.fromkeys(("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"), min),
    **dict.fromkeys(("items", "additionalProperties", "contains"), _both_schemas),
}
"""How two values of a keyword merge; ``None`` means that nothing fits both."""
