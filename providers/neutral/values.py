"""Access to a provider's JSON without trust: missing and mistyped members are empty values."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import msgspec

from providers.neutral.bounds import check_length
from streams.surrogates import any_json, decode_or

Json: TypeAlias = Mapping[str, Any]


def load(data: bytes) -> Any:
    """Return the JSON in ``data``, or ``None`` if it is invalid."""
    return decode_or(any_json, data, None)


def as_index(value: Any) -> int | None:
    """Return an integer, or ``None`` for anything else."""
    return value if isinstance(value, int) else None


def as_count(value: Any) -> int | None:
    """Return the positive whole number that a server may read from ``value``: 8, 8.0 or "8"; ``None`` for others.

    Pydantic accepts all three (https://docs.pydantic.dev/latest/concepts/conversion_table/). Fractions are rounded up.
    """
    if type(value) is int:  # a float has no room for all of them
        return value if value > 0 else None
    if isinstance(value, str) and len(value) > _MAX_DIGITS:
        return None
    try:
        found = float(value)
    except (TypeError, ValueError):
        return None
    return math.ceil(found) if math.isfinite(found) and found > 0 else None


_MAX_DIGITS = 32  # characters of a number in a string


def as_string(value: Any) -> str:
    """Return a string, or ``""`` for anything else."""
    return value if isinstance(value, str) else ""


def arguments_text(value: Any) -> str:
    """Return the arguments of a call: a string unchanged, the JSON of another value, ``""`` for an empty one.

    Some local servers send the object itself. Without the value, programs would run the tool without arguments."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode() if value else ""


def text_or_none(value: Any) -> str | None:
    """Return a string that is not empty, ``None`` for anything else."""
    return value if isinstance(value, str) and value else None


def as_object(value: Any) -> Json:
    """Return an object, or an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def as_objects(value: Any) -> list[dict[str, Any]]:
    """Return the objects in an array, or none for anything else."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def bounded_objects(value: Any) -> list[dict[str, Any]]:
    """Return ``as_objects`` of an array to process. Raises ``AnswerTooLarge`` if it is too long."""
    if not isinstance(value, list):
        return []
    return [item for item in check_length(value, "elements of an array") if isinstance(item, dict)]


def character_positions(pieces: Iterable[str], places: Iterable[int]) -> dict[Any, int]:
    """Return the character positions by those byte positions ``places`` that are in the text ``pieces``."""
    data = "".join(pieces).encode("utf-8", "surrogatepass")
    found: dict[Any, int] = {}
    before = count = 0
    for place in sorted(places):
        if place > len(data):
            break
        count += len(data[before:place].decode("utf-8", "ignore"))
        before, found[place] = place, count
    return found
