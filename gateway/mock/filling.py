"""Construction of a simple value that matches a JSON Schema of tools and structured outputs.

It knows the keywords that SDKs write. ``allOf`` joins members, and otherwise the first schema with a keyword counts.
Keywords such as ``not``, ``if``, ``contains`` and ``patternProperties`` have no effect. All items of an array are
alike, so only one can be in an array with ``uniqueItems``."""

import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
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


def fill(schema: object, say: TextFor, *, complete: bool = True) -> Any:
    """Return a value that matches ``schema``, with optional members and items if ``complete``.

    Raises ``NoMatchingValue``."""
    try:  # keywords may have arbitrary values
        return _ValueBuilder(schema, say, complete).value(schema, "", ())
    except (RecursionError, TypeError, ValueError):  # the last two come from invalid keyword values
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
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise NoMatchingValue
        flat = _merge({}, schema)
        if isinstance(ref := flat.pop("$ref", None), str):
            if path.count(ref) >= MAX_RECURSION:
                raise NoMatchingValue
            return self.value(_merge(flat, self._find_referenced(ref)), name, (*path, ref))
        if parts := _list_in(flat, "allOf"):
            return self.value(_merge({**flat, "allOf": parts[1:]}, parts[0]), name, path)
        for key in ("anyOf", "oneOf"):
            if choices := _list_in(flat, key):
                del flat[key]
                if len(path) >= MAX_OPTIONAL_DEPTH:  # alternatives that end the recursion first
                    choices = sorted(choices, key=lambda one: isinstance(one, Mapping) and "$ref" in one)
                return _first_possible(choices, lambda one: self.value(_merge(flat, one), name, path))
        if "const" in flat:
            return flat["const"]
        if values := _list_in(flat, "enum"):
            return next((one for one in values if one is not None), None)
        makers = [MAKERS[one] for one in sorted(_types(flat), key="null".__eq__) if one in MAKERS]
        return _first_possible(makers, lambda make: make(self, flat, name, path))

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

    def object(self, flat: Flat, name: str, path: Path) -> dict[str, Any]:
        known = properties if isinstance(properties := flat.get("properties"), Mapping) else {}
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
        wanted = min(most, least if self._omits_optional(path) else max(least, len(first), 1))
        found: list[Any] = []
        while len(found) < wanted:
            try:
                value = self.value([*first, flat.get("items", True)][min(len(found), len(first))], name, path)
            except NoMatchingValue:
                break
            if flat.get("uniqueItems") and value in found:
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
        return int(self.number(flat, name, path, unit=1))

    def number(self, flat: Flat, name: str, path: Path, unit: float = 0) -> float:
        low = max(_number(flat, "minimum", -math.inf), _number(flat, "exclusiveMinimum", -math.inf))
        high = min(_number(flat, "maximum", math.inf), _number(flat, "exclusiveMaximum", math.inf))
        grid, excluded = _number(flat, "multipleOf", 0), (flat.get("exclusiveMinimum"), flat.get("exclusiveMaximum"))
        step = max(grid, unit) or 1
        start = math.floor(max(low, min(high, 0)) / step) * step
        candidates = [1, *(start + times * step for times in (0, 1, 2, -1, -2))]
        if math.isfinite(high - low):
            candidates.append((low + high) / 2)
        for value in candidates:
            if low <= value <= high and value not in excluded and not any(one and value % one for one in (grid, unit)):
                return int(value) if isinstance(value, float) and value.is_integer() else value
        raise NoMatchingValue

    def _omits_optional(self, path: Path) -> bool:
        """Return whether optional parts are left out."""
        return not self._complete or len(path) >= MAX_OPTIONAL_DEPTH


Make: TypeAlias = Callable[[_ValueBuilder, Flat, str, Path], Any]

MAKERS: Final[Mapping[str, Make]] = {
    "object": _ValueBuilder.object, "array": _ValueBuilder.array, "string": _ValueBuilder.string,
    "integer": _ValueBuilder.integer, "number": _ValueBuilder.number,
    "boolean": lambda _, flat, *__: flat.get("default") is True, "null": lambda *_: None,
}  # fmt: skip
_TYPE_KEYWORDS: Final[Mapping[str, frozenset[str]]] = {
    "object": frozenset(("properties", "required", "additionalProperties")),
    "array": frozenset(("items", "prefixItems", "minItems")),
    "number": frozenset(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")),
}
"""Keywords that reveal the type of a schema without ``type``; the default is a string."""


def _types(flat: Flat) -> list[str]:
    types = flat.get("type")
    if types is None:
        return [next((type for type, signs in _TYPE_KEYWORDS.items() if signs & flat.keys()), "string")]
    return [one for one in (types if isinstance(types, list) else [types]) if isinstance(one, str)]


def _first_possible(choices: Sequence[Any], make: Callable[[Any], Any]) -> Any:
    """Return the value that ``make`` returns for the first choice with one. Raises ``NoMatchingValue``."""
    for choice in choices:
        try:
            return make(choice)
        except NoMatchingValue:
            continue
    raise NoMatchingValue


def _merge(one: Flat, other: object) -> Flat:
    """Return the members of both schemas; those of ``one`` count. Raises ``NoMatchingValue``."""
    if other is False:
        raise NoMatchingValue
    if not isinstance(other, Mapping):
        return one
    found = {**other, **one}
    for key in one.keys() & other.keys() & _JOIN.keys():
        found[key] = _JOIN[key](one[key], other[key])
    return found


_JOIN: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    **dict.fromkeys(("required", "allOf"), lambda one, other: [*one, *other]),
    "properties": lambda one, other: {**other, **one},
    **dict.fromkeys(("minimum", "exclusiveMinimum", "minLength", "minItems"), max),
    **dict.fromkeys(("maximum", "exclusiveMaximum", "maxLength", "maxItems"), min),
}
"""How two values of a keyword merge. The first counts for all other keywords."""


def _is_valid_string(flat: Flat, value: str) -> bool:
    """Return whether ``value`` has the required length and pattern."""
    pattern = flat.get("pattern")
    try:
        matches = not isinstance(pattern, str) or re.search(pattern, value) is not None
    except re.error:  # it is in another dialect
        matches = True
    return matches and _number(flat, "minLength", 0) <= len(value) <= _number(flat, "maxLength", MAX_STRING)


# Tolerant reading of keywords


def _list_in(schema: Mapping[str, Any], key: str) -> list[Any]:
    found = schema.get(key)
    return found if isinstance(found, list) else []


def _number(schema: Mapping[str, Any], key: str, default: float) -> float:
    found = schema.get(key)
    if not isinstance(found, int | float) or isinstance(found, bool) or abs(found) > sys.float_info.max:
        return default
    return found


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
