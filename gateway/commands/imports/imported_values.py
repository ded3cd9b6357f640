"""Values in the files of other gateways."""

import re
from collections.abc import Container, Iterator, Mapping
from datetime import date
from itertools import chain, count
from typing import Any, Final

ENVIRONMENT: Final = "os.environ/"


def is_switched_off(value: Any) -> bool:
    """Return whether ``value`` turns a setting off."""
    return value in (None, False, 0, "", [], {})


def is_plain(value: Any) -> bool:
    """Return whether ``value`` is a text or number, and not a variable of LiteLLM."""
    return isinstance(value, str | int | float) and not str(value).startswith(ENVIRONMENT) and value != ""


def text_of(value: Any) -> str | None:
    """Return ``value`` as text for the new file, with variables in its syntax and other dollar signs doubled.

    A date becomes text again: YAML reads unquoted ``2024-10-21`` as a date."""
    if isinstance(value, date):
        return value.isoformat()
    if not isinstance(value, str | int | float) or isinstance(value, bool) or value == "":
        return None
    text = str(value)
    return f"${text.removeprefix(ENVIRONMENT)}" if text.startswith(ENVIRONMENT) else escape_dollars(text)


def with_texts(value: Any) -> Any:
    """Return JSON with its texts in the syntax of the new file."""
    if isinstance(value, dict):
        return {str(name): with_texts(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [with_texts(inner) for inner in value]
    return text_of(value) if isinstance(value, str) and value else value


def number_of(value: Any) -> float | int | None:
    """Return ``value`` as a finite number; text is converted, as LiteLLM does."""
    if isinstance(value, str) and re.fullmatch(r"\s*[0-9]{1,15}(\.[0-9]{1,9})?\s*", value):
        value = float(value) if "." in value else int(value)
    good = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 10**15
    return value if good else None


def positive(value: Any) -> float | None:
    """Return ``value`` as a number from 0.001 to below 10⁹, else None."""
    number = number_of(value)
    return float(number) if number is not None and 0.001 <= number < 10**9 else None


def timeouts_of(value: Any) -> dict[str, str]:
    """Return the timeouts for LiteLLM's limit, which applies to each wait of its HTTP client.

    https://docs.litellm.ai/docs/proxy/timeout"""
    seconds = positive(value)
    return {} if seconds is None else {"first_byte": f"{seconds:g}s", "idle": f"{seconds:g}s"}


def escape_dollars(text: str) -> str:
    """Escape ``$`` in ``text``, which would start a variable in the file."""
    return text.replace("$", "$$")


def mapping_of(value: Any) -> dict[str, Any]:
    """Return ``value`` if it is a mapping, otherwise an empty one."""
    return value if isinstance(value, dict) else {}


def section_of(content: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return a section of a configuration, empty if it is missing or no mapping."""
    return mapping_of(content.get(name))


def list_of(value: Any) -> list[Any]:
    """Return ``value`` if it is a list, otherwise an empty one."""
    return value if isinstance(value, list) else []


def items_of(value: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the mappings in a list."""
    yield from (one for one in list_of(value) if isinstance(one, dict))


def free_name(name: str, taken: Container[str]) -> str:
    """Return ``name``, with a number if it is in ``taken``."""
    names = chain([name], (f"{name}-{number}" for number in count(2)))
    return next(one for one in names if one not in taken)


def word_set(text: str) -> frozenset[str]:
    """Return the words in ``text``."""
    return frozenset(text.split())
