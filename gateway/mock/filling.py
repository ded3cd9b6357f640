"""Construction of a simple value that matches a JSON Schema.

Values are constructed by type and bounds. Unsupported are keywords that schemas of tools and structured outputs hardly
use: ``not``, ``if``, dependencies between members, and the uniqueness rule of ``oneOf``."""

import math
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any, Final, TypeAlias

from gateway.mock.schemas import (
    MAX_OPTIONAL_DEPTH,
    Flat,
    Path,
    SchemaResolver,
    TooManySteps,
    are_equal,
    item_schema,
    list_in,
    matches,
    number,
    object_in,
    text_of,
)

TextFor: TypeAlias = Callable[[str], str]
"""A function that returns the text for a member's name."""

MAX_STRING: Final = 100_000  # characters of a string


class NoMatchingValue(Exception):
    """An error: the builder finds no value that matches the schema."""


def fill(schema: object, say: TextFor, *, complete: bool = True) -> Any:
    """Return a value that matches ``schema``, with optional members and items if ``complete``.

    Raises ``NoMatchingValue``."""
    try:  # keywords may have arbitrary values
        return _ValueBuilder(SchemaResolver(schema), say, complete).value(schema, "", 0, ())
    except (TooManySteps, RecursionError, TypeError, ValueError):  # the last two come from invalid keyword values
        raise NoMatchingValue from None


class _ValueBuilder:
    """A builder of one value, with a method for each type.

    In its methods, ``flat`` is the resolved schema, ``name`` the member of the value, ``nth`` its number among values
    that must differ, and ``path`` the references that led to the schema."""

    def __init__(self, meanings: SchemaResolver, say: TextFor, complete: bool) -> None:
        self._resolver = meanings
        self._say = say
        self._complete = complete

    def value(self, schema: object, name: str, nth: int, path: Path) -> Any:
        for flat, inside in self._resolver.resolve(schema, path):
            for make in _makers(flat):
                try:
                    return make(self, flat, name, nth, inside)
                except NoMatchingValue:
                    continue
        raise NoMatchingValue

    def _omits_optional(self, path: Path) -> bool:
        """Return whether optional parts are left out."""
        return not self._complete or len(path) >= MAX_OPTIONAL_DEPTH

    # By type

    def fixed_value(self, flat: Flat, name: str, nth: int, path: Path) -> Any:
        """Return a value that the schema lists in ``const`` or ``enum``."""
        values = [flat["const"]] if "const" in flat else list_in(flat, "enum")
        fitting = [value for value in values if _is_allowed(flat, value)]
        if not fitting:
            raise NoMatchingValue
        return fitting[nth % len(fitting)]

    def object(self, flat: Flat, name: str, nth: int, path: Path) -> dict[str, Any]:
        known, least = object_in(flat, "properties"), number(flat, "minProperties", 0)
        needed = [one for one in list_in(flat, "required") if isinstance(one, str)]
        found = {one: self.value(_member_schema(flat, one), one, nth, path) for one in needed}
        wanted = least if self._omits_optional(path) else number(flat, "maxProperties", math.inf)
        for one in known:
            if one not in found and len(found) < wanted:
                self._add(found, flat, one, nth, path)
        for extra in count(1):
            if len(found) >= least:
                break
            found[f"key{extra}"] = self.value(_member_schema(flat, f"key{extra}"), "", nth, path)
        return {one: found[one] for one in dict.fromkeys((*known, *found)) if one in found}

    def _add(self, found: dict[str, Any], flat: Flat, name: str, nth: int, path: Path) -> None:
        """Add an optional member if a value exists."""
        try:
            found[name] = self.value(_member_schema(flat, name), name, nth, path)
        except NoMatchingValue:
            return

    def array(self, flat: Flat, name: str, nth: int, path: Path) -> list[Any]:
        least, most = number(flat, "minItems", 0), number(flat, "maxItems", math.inf)
        least = max(least, 1 if "contains" in flat else 0)
        wanted = least if self._omits_optional(path) else min(most, max(least, len(list_in(flat, "prefixItems")), 1))
        found: dict[str, Any] = {}
        while len(found) < wanted:
            try:
                key, value = self._item(flat, found, name, nth, path)
                found[key] = value
            except NoMatchingValue:
                break
        if len(found) < least:
            raise NoMatchingValue
        return list(found.values())

    def _item(self, flat: Flat, found: Mapping[str, Any], name: str, nth: int, path: Path) -> tuple[str, Any]:
        """Return the next item after ``found``, and a key: if items must differ, the item as JSON."""
        index = len(found)
        schema = item_schema(flat, index)
        if not found and "contains" in flat:
            schema = {"allOf": [schema, flat["contains"]]}
        first = nth if index < len(list_in(flat, "prefixItems")) else nth + index
        for other in range(first, nth + 2 * index + 1):
            value = self.value(schema, name, other, path)
            key = text_of(value) if flat.get("uniqueItems") else str(index)
            if key not in found:
                return key, value
        raise NoMatchingValue

    def string(self, flat: Flat, name: str, nth: int, path: Path) -> str:
        least, most = number(flat, "minLength", 0), min(number(flat, "maxLength", MAX_STRING), MAX_STRING)
        template = FORMATS.get(str(flat.get("format")))
        if template is not None:
            own = template.format(nth % 28 + 1)
        else:
            plain = f"{self._say(name)} {nth + 1}" if nth else self._say(name)
            own = (plain + "." * min(int(least) - len(plain), MAX_STRING))[: int(most)]
        samples = SAMPLES if "pattern" in flat else ()
        offered = _proposed_values(flat, nth) if template is None else ()
        candidates = (*offered, own, *samples)
        text = next((text for text in candidates if isinstance(text, str) and _is_valid_string(flat, text)), None)
        if text is None and (template is not None or not least <= len(own) <= most):
            raise NoMatchingValue
        return own if text is None else text

    def integer(self, flat: Flat, name: str, nth: int, path: Path) -> int:
        return int(
            self.number({**flat, "multipleOf": _smallest_whole_multiple(flat.get("multipleOf"))}, name, nth, path)
        )

    def number(self, flat: Flat, name: str, nth: int, path: Path) -> float:
        (low, _), (high, _) = _limits(flat)
        grid = number(flat, "multipleOf", 0) or 1
        start = 1 if low < 1 < high and grid == 1 else math.floor(max(low, min(high, 0)) / grid) * grid
        candidates = [*_proposed_values(flat, nth), *(start + grid * (nth + n) for n in (0, 1, 2))]
        candidates += [start - grid * (nth + n) for n in (0, 1, 2)]
        if math.isfinite(high - low):
            candidates.append(low + (high - low) * (nth % 7 + 1) / 8)
        for value in candidates:
            if type(value) in (int, float) and _is_valid_number(flat, value):
                return int(value) if isinstance(value, float) and value.is_integer() else value
        raise NoMatchingValue

    def boolean(self, flat: Flat, name: str, nth: int, path: Path) -> bool:
        return (flat.get("default") is True) != bool(nth % 2)

    def null(self, flat: Flat, name: str, nth: int, path: Path) -> None:
        return None


Make: TypeAlias = Callable[[_ValueBuilder, Flat, str, int, Path], Any]

MAKERS: Final[Mapping[str, Make]] = {
    "object": _ValueBuilder.object, "array": _ValueBuilder.array, "string": _ValueBuilder.string,
    "integer": _ValueBuilder.integer, "number": _ValueBuilder.number, "boolean": _ValueBuilder.boolean,
    "null": _ValueBuilder.null,
}  # fmt: skip


# Types

_PYTHON: Final[Mapping[str, tuple[type, ...]]] = {
    "object": (dict,), "array": (list,), "string": (str,), "integer": (int,), "number": (int, float),
    "boolean": (bool,), "null": (type(None),),
}  # fmt: skip

_TYPE_KEYWORDS: Final[Mapping[str, tuple[str, ...]]] = {
    "object": ("properties", "required", "additionalProperties", "patternProperties", "minProperties"),
    "array": ("items", "prefixItems", "minItems", "contains"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
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
        return [next((type for type, signs in _TYPE_KEYWORDS.items() if any(sign in flat for sign in signs)), "string")]
    return [one for one in (types if isinstance(types, list) else [types]) if isinstance(one, str)]


def _is_allowed(flat: Flat, value: object) -> bool:
    """Return whether a value that the schema lists also has its type and bounds."""
    if "enum" in flat and not any(are_equal(value, one) for one in list_in(flat, "enum")):
        return False
    if value is None and flat.get("nullable") is True:
        return True
    if "type" in flat and type(value) not in {kind for one in _types(flat) for kind in _PYTHON.get(one, ())}:
        return False
    return (
        _is_valid_string(flat, value)
        if isinstance(value, str)
        else type(value) is bool or _is_valid_number(flat, value)
    )


def _proposed_values(flat: Flat, nth: int) -> list[Any]:
    """Return the default and the examples of the schema, but only for the first of several different values."""
    return [] if nth else list(filter(None, (flat.get("default"), *list_in(flat, "examples"))))


# Members and items


def _member_schema(flat: Flat, name: str) -> object:
    """Return the schema of the member ``name``."""
    own = object_in(flat, "properties")
    found = [own[name]] if name in own else []
    found += [schema for pattern, schema in object_in(flat, "patternProperties").items() if matches(pattern, name)]
    return {"allOf": found} if found else flat.get("additionalProperties", {})


# Strings

FORMATS: Final[Mapping[str, str]] = {
    "date": "2026-01-{:02}",
    "date-time": "2026-01-{:02}T12:00:00Z",
    "time": "12:{:02}:00Z",
    "duration": "P{}D",
    "email": "someone{}@example.com",
    "idn-email": "someone{}@example.com",
    "hostname": "host{}.example.com",
    "idn-hostname": "host{}.example.com",
    "ipv4": "192.0.2.{}",
    "ipv6": "2001:db8::{}",
    "uri": "https://example.com/{}",
    "url": "https://example.com/{}",
    "iri": "https://example.com/{}",
    "uri-reference": "/{}",
    "iri-reference": "/{}",
    "uri-template": "/{}",
    "uuid": "00000000-0000-4000-8000-{:012}",
    "json-pointer": "/{}",
    "relative-json-pointer": "{}",
    "regex": "example{}",
}
"""A string for each format, with a placeholder for a number that varies it."""

SAMPLES: Final = (
    "example", "Example", "EXAMPLE", "example-1", "example_1", "example.com", "someone@example.com",
    "https://example.com", "/example", "1", "12", "123", "1234", "12345", "1.0", "1.0.0", "A1", "AB", "ABC", "AB12",
    "AB-123", "a", "2026-01-01", "2026-01-01T12:00:00Z", "12:00", "12:00:00", "+15550100", "#112233", "en", "en-US",
    "00000000-0000-4000-8000-000000000001", "00000000", "112233445566", "USD 1.00", "",
)  # fmt: skip
"""Candidate strings for patterns; if none matches, the pattern is ignored."""


def _is_valid_string(flat: Flat, text: str) -> bool:
    """Return whether a string has the required length and pattern."""
    least, most = number(flat, "minLength", 0), number(flat, "maxLength", MAX_STRING)
    return least <= len(text) <= most and matches(flat.get("pattern"), text)


# Numbers


def _is_valid_number(flat: Flat, value: object) -> bool:
    """Return whether ``value`` is in the bounds and a multiple of ``multipleOf``, or no number."""
    if not isinstance(value, int | float):
        return True
    (low, above), (high, below) = _limits(flat)
    step = number(flat, "multipleOf", 0)
    within = low < value < high or (value == low and not above) or (value == high and not below)
    return low <= value <= high and within and not (step and value % step)


def _limits(flat: Flat) -> tuple[tuple[float, bool], tuple[float, bool]]:
    """Return the lower and the upper bound, each with whether it is exclusive."""
    low = _limit(flat, "minimum", "exclusiveMinimum", -math.inf, max)
    return low, _limit(flat, "maximum", "exclusiveMaximum", math.inf, min)


def _limit(
    flat: Flat, key: str, excluding: str, default: float, tighter: Callable[[float, float], float]
) -> tuple[float, bool]:
    """Return one bound and whether it is exclusive; draft 4 marks that by a boolean."""
    inner, outer = number(flat, key, default), number(flat, excluding, default)
    limit = tighter(inner, outer)
    return limit, flat.get(excluding) is True or (math.isfinite(outer) and limit == outer)


def _smallest_whole_multiple(step: object) -> float:
    """Return the smallest integer multiple of ``step``, if one is near."""
    if not isinstance(step, int | float) or isinstance(step, bool) or step <= 0:
        return 1
    return next((int(step * times) for times in range(1, 1001) if step * times % 1 == 0), 1)
