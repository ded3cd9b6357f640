"""Pieces of Responses JSON that a provider sent, read without trust: whatever is missing or of the wrong type reads as
nothing, never as an error."""

from providers.neutral.token_usage import NEWER, read_tokens
from providers.neutral.values import Json, as_objects, as_string
from streams.events import Usage


def reasoning_text(item: Json) -> str:
    """Return the readable part of a reasoning item: its summary, else its text, "" if it has neither."""
    for member in ("summary", "content"):
        texts = [text for part in as_objects(item.get(member)) if (text := as_string(part.get("text")))]
        if texts:
            return "\n\n".join(texts)
    return ""


def read_usage(response: Json, calls: tuple[tuple[str, int], ...] = ()) -> tuple[Usage, ...]:
    """Read the usage of ``response``, none if it has none; ``calls`` are those of the provider's own tools. Some
    routers count one token as both read from the cache and written to it."""
    value = response.get("usage")
    if not isinstance(value, dict):
        return ()
    return (read_tokens(value, NEWER, tier=response.get("service_tier"), calls=calls),)
