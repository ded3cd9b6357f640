"""Pieces of Responses JSON that a provider sent, read without trust: whatever is missing or of the wrong type reads as
nothing, never as an error."""

from collections.abc import Mapping
from typing import Any, TypeAlias

from providers.neutral.bounds import bounded
from providers.neutral.token_usage import NEWER, read_tokens
from streams.events import Usage
from streams.surrogates import NOT_JSON, any_json

Json: TypeAlias = Mapping[str, Any]


def load(data: bytes) -> Any:
    try:
        return any_json(data)
    except NOT_JSON:
        return None


def as_index(value: Any) -> int | None:
    return value if isinstance(value, int) else None


def as_string(value: Any) -> str:
    return value if isinstance(value, str) else ""


def as_object(value: Any) -> Json:
    return value if isinstance(value, dict) else {}


def as_objects(value: Any) -> list[Json]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def few_objects(value: Any) -> list[Json]:
    """``as_objects`` of an array whose elements are each worked on. Raises ``TooMuch`` for one that is too long."""
    return as_objects(bounded(value, "elements of an array") if isinstance(value, list) else value)


def reasoning_text(item: Json) -> str:
    """The readable part of a reasoning item: its summary, else its text, "" if it has neither."""
    for member in ("summary", "content"):
        texts = [text for part in as_objects(item.get(member)) if (text := as_string(part.get("text")))]
        if texts:
            return "\n\n".join(texts)
    return ""


def read_usage(response: Json, calls: tuple[tuple[str, int], ...] = ()) -> tuple[Usage, ...]:
    """The usage of ``response``, none if it has none; ``calls`` are those of the provider's own tools. Some routers
    count one token as both read from the cache and written to it."""
    value = response.get("usage")
    if not isinstance(value, dict):
        return ()
    return (read_tokens(value, NEWER, tier=response.get("service_tier"), calls=calls),)
