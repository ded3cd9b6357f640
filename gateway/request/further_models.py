"""The models that a request names in addition to its own, as fallbacks or for a part of the work.

A client with a key for some models may only name these. Only members that a provider reads as model names count, not
the names of users, tools and schemas."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from gateway.named_imports import import_named
from gateway.request.parse import Incoming
from providers.neutral.fields import join_path, too_deep_error
from streams.errors import GatewayError, invalid
from streams.surrogates import NOT_JSON

ROWS: Final[Mapping[str, str]] = {
    "models": "what OpenRouter goes on with (https://openrouter.ai/docs/features/model-routing)",
    "fallbacks": "what Anthropic and LiteLLM go on with (https://docs.litellm.ai/docs/proxy/reliability)",
    "plugins": "what OpenRouter chooses among, and works with",
    "tools": "the model that draws an image, or that advises",
    "moderation": "the model that judges",
    "agent_config": "the models that Google's agent works with",
    "provider": "how OpenRouter chooses",
    "extra_body": "what LiteLLM passes on",
    "context_window_fallbacks": "what LiteLLM goes on with where a prompt is too long",
    "content_policy_fallbacks": "what LiteLLM goes on with where a provider refuses to answer",
    "compound_custom": "what Groq's systems answer and reason with (https://console.groq.com/docs/compound)",
    "providerOptions": "what Vercel's gateway goes on with (https://vercel.com/docs/ai-gateway)",
}
"""Members that contain names of models at any depth, with their purpose."""

CHOOSING: Final[Mapping[str, str]] = {
    "route": "OpenRouter then chooses a model itself",
    "preset": "OpenRouter then takes the preset's model",
    "user_config": "LiteLLM then has the models that it lists",
}
"""Members that let a provider choose another model, with their purpose."""

ANY: Final = "*"
"""The name of a model that the provider chooses."""

FALLBACKS: Final = ("models", "fallbacks", "extra_body", "context_window_fallbacks", "content_policy_fallbacks",
                    "compound_custom", "providerOptions")  # fmt: skip
"""Members in ``ROWS`` whose models a provider may use instead of the request's own."""

MAX_FALLBACKS: Final = 100
"""Names of fallbacks in one request: finding the price of each takes a tenth of a millisecond."""

_NOTHING: Final = (b"null", b'""')
_MOST_SHOWN: Final = 100
_LARGEST: Final = 8 * 2**20
"""Bytes of such a member. A single call reads all of it and blocks all streams; no tools are as large."""

_NAME_MEMBERS: Final = frozenset(
    ("model", "models", "fallback", "fallbacks", "fallback_models", "allowed_models", "context_window_fallbacks",
     "content_policy_fallbacks", "answering_model", "reasoning_model")
)  # fmt: skip
_IGNORED: Final = frozenset(("parameters", "input_schema", "schema", "input_examples", "description", "function"))
"""Members with the client's own content: a schema may have a property ``model``."""


def further_models(incoming: Incoming, more: Iterable[str] = ()) -> tuple[tuple[str, str], ...]:
    """Return the path and the name of each additional model; ``ANY`` if the provider would choose. The members
    ``more`` may contain some, too.

    Raises ``GatewayError``: 400 for a duplicate member in an object that may name a model, because servers differ in
    which one they use; 413 for a member that is too large to search."""
    found = [(member, ANY) for member in CHOOSING if bytes(incoming.members.get(member, b"null")) not in _NOTHING]
    for member in (*ROWS, *more):
        if (raw := incoming.members.get(member)) is not None:
            if len(raw) > _LARGEST:
                raise GatewayError("too_large", f"{member} is larger than {_LARGEST} bytes", param=member)
            _check_duplicates(member, raw)
            found.extend(_find_names(member, incoming.json.value(member), member in _NAME_MEMBERS))
    return tuple(found)


def fallback_models(members: Mapping[str, msgspec.Raw]) -> tuple[str, ...]:
    """Return the names of the models that the provider may use instead of the request's own, at most one more than
    ``MAX_FALLBACKS``."""
    found: dict[str, None] = {}
    for member in FALLBACKS:
        if (raw := members.get(member)) is not None and len(raw) <= _LARGEST:
            with contextlib.suppress(*NOT_JSON):
                names = _find_names(member, msgspec.json.decode(raw), member in _NAME_MEMBERS)
                found.update((name, None) for _, name in names if name != ANY)
    return tuple(found)[: MAX_FALLBACKS + 1]


def _check_duplicates(member: str, raw: msgspec.Raw) -> None:
    def check(pairs: list[tuple[str, Any]]) -> None:
        seen: set[str] = set()
        for name, value in pairs:  # an object was decoded as None
            meant = name.casefold() if value is not None and name.casefold() in _NAME_MEMBERS else name
            if meant in seen:
                found = f"{meant[:_MOST_SHOWN]} appears twice in an object of {member}"
                raise invalid(f"{found}, and servers differ in which one they use: remove one", member)
            seen.add(meant)

    loads = import_named("json:loads")  # the start needs none of its five modules
    try:
        loads(bytes(raw), object_pairs_hook=check, parse_int=_ignore_number, parse_float=_ignore_number)
    except RecursionError:
        raise too_deep_error() from None


def _ignore_number(_: str) -> int:
    """Return 0: converting an integer of thousands of digits takes quadratic time (CVE-2020-10735)."""
    return 0


def _find_names(at: str, value: Any, are_models: bool) -> Iterator[tuple[str, str]]:
    """Yield the paths and names of models in ``value`` at the path ``at``.

    If ``are_models`` is true, strings in ``value`` are names of models."""
    if isinstance(value, str):
        if are_models:
            yield at, ANY if value == "default" else value
    elif isinstance(value, list):
        for item in value:
            yield from _find_names(f"{at}[]", item, are_models)
    elif isinstance(value, dict):
        for name, item in value.items():
            if name not in _IGNORED:
                # LiteLLM's {"a": ["b"]} has lists by model name.
                listed = are_models and isinstance(item, list) and "model" not in value
                yield from _find_names(join_path(at, name), item, listed or name.casefold() in _NAME_MEMBERS)
