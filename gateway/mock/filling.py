"""Construction of a simple value that matches a JSON Schema of tools and structured outputs.

References, ``allOf``, ``anyOf`` and ``oneOf`` are resolved into flat schemas first. Keywords that such schemas hardly
use have no effect: ``not``, ``if``, ``contains``, ``patternProperties``, ``minProperties`` and the uniqueness rule of
``oneOf``. All items of an array are alike, so only one can be in an array with ``uniqueItems``."""

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias
from urllib.parse import unquote

TextFor: TypeAlias = Callable[[str], str]
"""A function that returns the text for a member's name."""
Flat: TypeAlias = dict[str, Any]
"""A schema without references and alternatives."""
Path: TypeAlias = tuple[str, ...]
"""The references that led to a schema."""

MAX_STEPS: Final = 20_000  # schemas examined for one value before giving up
MAX_OPTIONAL_DEPTH: Final = 3  # depth of references from which on optional parts are left out
MAX_RECURSION: Final = 2  # how often a reference may occur within itself
MAX_STRING: Final = 100_000  # characters of a string


class NoMatchingValue(Exception):
    """An error: the builder finds no value that matches the schema."""


class _TooManySteps(Exception):
    """An error: more than ``MAX_STEPS`` steps were needed."""


def fill(schema: object, say: TextFor, *, complete: bool = True) -> Any:
    """Return a value that matches ``schema``, with optional members and items if ``complete``.

    Raises ``NoMatchingValue``."""
    try:  # keywords may have arbitrary values
        return _ValueBuilder(schema, say, complete).value(schema, "", ())
    except (_TooManySteps, RecursionError, TypeError, ValueError):  # the last two come from invalid keyword values
        raise NoMatchingValue from None


class _ValueBuilder:
    """A builder of one value for the schema ``root``, with a method for each type.

    In its methods, ``flat`` is the resolved schema, ``name`` the member of the value, and ``path`` the references that
    led to the schema."""

    def __init__(self, root: object, say: TextFor, complete: bool) -> None:
        self._root = root
        self._say = say
        self._complete = complete
        self._steps = 0

    def value(self, schema: object, name: str, path: Path) -> Any:
        for flat, inside in self._choices(schema, path):
            for make in _makers(flat):
                try:
                    return make(self, flat, name, inside)
                except NoMatchingValue:
                    continue
        raise NoMatchingValue

    # References and alternatives

    def _choices(self, schema: object, path: Path) -> Iterator[tuple[Flat, Path]]:
        """Yield a flat schema for each choice that ``schema`` allows. Raises ``_TooManySteps``."""
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise _TooManySteps
        if schema is False:
            return
        if not isinstance(schema, Mapping):
            yield {}, path
            return
        groups = [[one] for one in _list_in(schema, "allOf")]
        groups += [found for key in ("anyOf", "oneOf") if (found := _list_in(schema, key))]
        if isinstance(ref := schema.get("$ref"), str):
            if path.count(ref) >= MAX_RECURSION:
                return
            path = (*path, ref)
            groups.insert(0, [self._find_referenced(ref)])
        if len(path) >= MAX_OPTIONAL_DEPTH:  # alternatives that end the recursion first
            groups = [sorted(group, key=lambda one: isinstance(one, Mapping) and "$ref" in one) for group in groups]
        yield from self._merge_choices({key: schema[key] for key in schema.keys() - _COMBINING}, groups, path)

    def _merge_choices(self, flat: Flat, groups: Sequence[Sequence[object]], path: Path) -> Iterator[tuple[Flat, Path]]:
        """Yield ``flat`` merged with each combination of one schema from every group."""
        if not groups:
            yield flat, path
            return
        for choice in groups[0]:
            for found, inside in self._choices(choice, path):
                if (merged := _merge(flat, found)) is not None:
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

    # By type

    def fixed_value(self, flat: Flat, name: str, path: Path) -> Any:
        """Return a value that the schema lists in ``const`` or ``enum``."""
        values = [flat["const"]] if "const" in flat else _list_in(flat, "enum")
        fitting = [value for value in values if _is_allowed(flat, value)]
        if not fitting:
            raise NoMatchingValue
        return fitting[0]

    def object(self, flat: Flat, name: str, path: Path) -> dict[str, Any]:
        known = _object_in(flat, "properties")
        needed = [one for one in _list_in(flat, "required") if isinstance(one, str)]
        others = flat.get("additionalProperties", {})
        found = {one: self.value(known.get(one, others), one, path) for one in needed}
        for one in () if self._omits_optional(path) else known:
            if one not in found:
                try:
                    found[one] = self.value(known[one], one, path)
                except NoMatchingValue:
                    continue
        return {one: found[one] for one in dict.fromkeys((*known, *found)) if one in found}

    def array(self, flat: Flat, name: str, path: Path) -> list[Any]:
        first, least, most = _list_in(flat, "prefixItems"), _number(flat, "minItems", 0), _number(flat, "maxItems", 1e9)
        wanted = least if self._omits_optional(path) else min(most, max(least, len(first), 1))
        found: list[Any] = []
        while len(found) < wanted:
            try:
                value = self.value([*first, flat.get("items", True)][min(len(found), len(first))], name, path)
            except NoMatchingValue:
                break
            if flat.get("uniqueItems") and _is_in(value, found):
                break
            found.append(value)
        if len(found) < least:
            raise NoMatchingValue
        return found

    def string(self, flat: Flat, name: str, path: Path) -> str:
        least, most = _number(flat, "minLength", 0), min(_number(flat, "maxLength", MAX_STRING), MAX_STRING)
        plain = FORMATS.get(str(flat.get("format")))
        if (own := plain) is None:
            said = self._say(name)
            own = (said + "." * min(int(least) - len(said), MAX_STRING))[: int(most)]
        others = () if plain is not None else (flat.get("default"), *_list_in(flat, "examples"))
        samples = SAMPLES if "pattern" in flat else ()
        texts = (one for one in (*others, own, *samples) if isinstance(one, str) and (one or one in samples))
        if (text := next((one for one in texts if _is_valid_string(flat, one)), None)) is not None:
            return text
        if plain is not None or not least <= len(own) <= most:
            raise NoMatchingValue
        return own

    def integer(self, flat: Flat, name: str, path: Path) -> int:
        return int(self.number({"multipleOf": 1, **flat}, name, path))

    def number(self, flat: Flat, name: str, path: Path) -> float:
        low = max(_number(flat, "minimum", -math.inf), _number(flat, "exclusiveMinimum", -math.inf))
        high = min(_number(flat, "maximum", math.inf), _number(flat, "exclusiveMaximum", math.inf))
        grid = _number(flat, "multipleOf", 0) or 1
        start = math.floor(max(low, min(high, 0)) / grid) * grid
        candidates = [1, *(start + times * grid for times in (0, 1, 2, -1, -2))]
        if math.isfinite(high - low):
            candidates.append((low + high) / 2)
        for value in candidates:
            if _is_valid_number(flat, value):
                return int(value) if isinstance(value, float) and value.is_integer() else value
        raise NoMatchingValue

    def boolean(self, flat: Flat, name: str, path: Path) -> bool:
        return flat.get("default") is True

    def null(self, flat: Flat, name: str, path: Path) -> None:
        return None

    def _omits_optional(self, path: Path) -> bool:
        """Return whether optional parts are left out."""
        return not self._complete or len(path) >= MAX_OPTIONAL_DEPTH


Make: TypeAlias = Callable[[_ValueBuilder, Flat, str, Path], Any]

MAKERS: Final[Mapping[str, Make]] = {
    "object": _ValueBuilder.object, "array": _ValueBuilder.array, "string": _ValueBuilder.string,
    "integer": _ValueBuilder.integer, "number": _ValueBuilder.number, "boolean": _ValueBuilder.boolean,
    "null": _ValueBuilder.null,
}  # fmt: skip
_PYTHON: Final[Mapping[str, tuple[type, ...]]] = {
    "object": (dict,), "array": (list,), "string": (str,), "integer": (int,), "number": (int, float),
    "boolean": (bool,), "null": (type(None),),
}  # fmt: skip
_TYPE_KEYWORDS: Final[Mapping[str, frozenset[str]]] = {
    "object": frozenset(("properties", "required", "additionalProperties")),
    "array": frozenset(("items", "prefixItems", "minItems")),
    "number": frozenset(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")),
}
"""Keywords that reveal the type of a schema without ``type``; the default is a string."""


def _makers(flat: Flat) -> list[Make]:
    """Return the builder's methods for the types that the schema allows, null last."""
    if "const" in flat or "enum" in flat:
        return [_ValueBuilder.fixed_value]
    return [MAKERS[one] for one in sorted(_types(flat), key="null".__eq__) if one in MAKERS]


def _types(flat: Flat) -> list[str]:
    types = flat.get("type")
    if types is None:
        return [next((type for type, signs in _TYPE_KEYWORDS.items() if signs & flat.keys()), "string")]
    return [one for one in (types if isinstance(types, list) else [types]) if isinstance(one, str)]


# Checks


def _is_allowed(flat: Flat, value: object) -> bool:
    """Return whether a value that the schema lists also has its type and bounds."""
    if "enum" in flat and not _is_in(value, _list_in(flat, "enum")):
        return False
    if value is None and flat.get("nullable") is True:
        return True
    if "type" in flat and type(value) not in {kind for one in _types(flat) for kind in _PYTHON.get(one, ())}:
        return False
    return _is_valid_string(flat, value) and _is_valid_number(flat, value)


def _is_valid_string(flat: Flat, value: object) -> bool:
    """Return whether ``value`` has the required length and pattern, or is no string."""
    if not isinstance(value, str):
        return True
    pattern = flat.get("pattern")
    try:
        matches = not isinstance(pattern, str) or re.search(pattern, value) is not None
    except re.error:  # it is in another dialect
        matches = True
    return matches and _number(flat, "minLength", 0) <= len(value) <= _number(flat, "maxLength", MAX_STRING)


def _is_valid_number(flat: Flat, value: object) -> bool:
    """Return whether ``value`` is in the bounds and a multiple of ``multipleOf``, or is no number."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return True
    above, below = _number(flat, "exclusiveMinimum", -math.inf), _number(flat, "exclusiveMaximum", math.inf)
    low, high, step = (
        _number(flat, key, default)
        for key, default in (("minimum", -math.inf), ("maximum", math.inf), ("multipleOf", 0))
    )
    return low <= value <= high and above < value < below and not (step and value % step)


def _is_in(value: object, values: Sequence[object]) -> bool:
    return _as_json(value) in map(_as_json, values)


def _as_json(value: object) -> str:
    """Return a value as canonical JSON; Python considers 1 and true equal."""
    return json.dumps(value, sort_keys=True)


# Tolerant reading of keywords


def _list_in(schema: Mapping[str, Any], key: str) -> list[Any]:
    found = schema.get(key)
    return found if isinstance(found, list) else []


def _object_in(schema: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = schema.get(key)
    return found if isinstance(found, Mapping) else {}


def _number(schema: Mapping[str, Any], key: str, default: float) -> float:
    found = schema.get(key)
    return found if isinstance(found, int | float) and not isinstance(found, bool) else default


# Merging

_COMBINING: Final = frozenset(("$ref", "allOf", "anyOf", "oneOf", "$defs", "definitions"))


def _merge(one: Flat, other: Flat) -> Flat | None:
    """Merge two schemas into one that fits both; return ``None`` if evidently nothing does."""
    found = {**other, **one}
    for key in one.keys() & other.keys() & _MERGE.keys():
        found[key] = _MERGE[key](one[key], other[key])
        if found[key] is None:
            return None
    return found


def _common_types(one: object, other: object) -> list[str] | None:
    """Return the types that both allow."""
    ones, others = (set(each if isinstance(each, list) else [each]) for each in (one, other))
    ones |= {"integer"} & others if "number" in ones else set()
    others |= {"integer"} & ones if "number" in others else set()
    common = ones & others
    return sorted(common - ({"number"} if "integer" in common else set())) or None


def _join_members(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    return {**one, **other, **{name: {"allOf": [one[name], other[name]]} for name in one if name in other}}


_MERGE: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "type": _common_types,
    "enum": lambda one, other: [value for value in one if _is_in(value, other)] or None,
    "const": lambda one, other: one if _is_in(one, [other]) else None,
    "required": lambda one, other: [*one, *other],
    "properties": _join_members,
    "format": lambda one, other: one if one == other else None,
    **dict.fromkeys(("minimum", "exclusiveMinimum", "minLength", "minItems"), max),
    **dict.fromkeys(("maximum", "exclusiveMaximum", "maxLength", "maxItems"), min),
    **dict.fromkeys(("items", "additionalProperties"), lambda one, other: {"allOf": [one, other]}),
}
"""How two values of a keyword merge; ``None`` means that nothing fits both.

The first schema's value applies for all other keywords."""


# Strings

FORMATS: Final[Mapping[str, str]] = {
    "date": "2026-01-01", "date-time": "2026-01-01T12:00:00Z", "time": "12:01:00Z", "duration": "P1D",
    "email": "someone1@example.com", "hostname": "host1.example.com", "ipv4": "192.0.2.1", "ipv6": "2001:db8::1",
    **dict.fromkeys(("uri", "url", "iri"), "https://example.com/1"),
    **dict.fromkeys(("uri-reference", "uri-template", "json-pointer"), "/1"),
    "uuid": "00000000-0000-4000-8000-000000000001", "regex": "example1",
}  # fmt: skip
"""A string for each format."""

SAMPLES: Final = (
    "example", "Example", "EXAMPLE", "example-1", "example_1", "example.com", "someone@example.com",
    "https://example.com", "/example", "1", "12", "123", "1234", "12345", "1.0", "1.0.0", "A1", "AB", "ABC", "AB12",
    "AB-123", "a", "2026-01-01", "2026-01-01T12:00:00Z", "12:00", "12:00:00", "+15550100", "#112233", "en", "en-US",
    "00000000-0000-4000-8000-000000000001", "00000000", "112233445566", "USD 1.00", "",
)  # fmt: skip
"""Candidate strings for patterns; if none matches, the pattern is ignored."""
