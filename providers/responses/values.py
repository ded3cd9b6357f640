"""Tolerant readers of Responses JSON from providers: a missing value or a wrong type reads as empty, never
as an error."""

import attrs

from providers.neutral.token_usage import NEWER, diagnosis_word, read_tokens
from providers.neutral.values import Json, as_objects, as_string
from streams.events import Usage

ENCRYPTED_ARGUMENTS = "encrypted_function_args"
"""The member of Codex's calls with the names of the encrypted arguments."""


def reasoning_text(item: Json) -> str:
    """Return the readable text of a reasoning item: its summary, else its content, else ""."""
    for member in ("summary", "content"):
        texts = [text for part in as_objects(item.get(member)) if (text := as_string(part.get("text")))]
        if texts:
            return "\n\n".join(texts)
    return ""


def read_usage(response: Json, calls: tuple[tuple[str, int], ...] = ()) -> tuple[Usage, ...]:
    """Return the usage of ``response``, if any; ``calls`` are those of the provider's own tools.

    Some routers count a token both as read from the cache and as written to it.
    """
    value = response.get("usage")
    if not isinstance(value, dict):
        return ()
    usage = read_tokens(value, NEWER, tier=response.get("service_tier"), calls=calls)
    if usage is None:
        return ()
    found = response.get("prompt_cache_diagnostics")
    if isinstance(found, dict):  # https://developers.openai.com/api/docs/guides/prompt-caching/diagnostics
        usage = attrs.evolve(usage, cache_diagnosis=diagnosis_word(found.get("reason") or found.get("type")))
    return (usage,)
