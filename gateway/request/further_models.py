"""The models that a request names beside its own: to go on with where that one fails, or for a part of the work.

A client whose key is for some models may name none but these. Only what reaches a provider as a name is looked for:
what users, tools and schemas are called is theirs.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from gateway.request.parse import Incoming
from providers.neutral.fields import join, too_deep
from streams.errors import invalid

ROWS: Final[Mapping[str, str]] = {
    "models": "what OpenRouter goes on with (https://openrouter.ai/docs/features/model-routing)",
    "fallbacks": "what Anthropic and LiteLLM go on with (https://docs.litellm.ai/docs/proxy/reliability)",
    "plugins": "what OpenRouter chooses among, and works with",
    "tools": "the model that draws an image, or that advises",
    "moderation": "the model that judges",
    "provider": "how OpenRouter chooses",
    "extra_body": "what LiteLLM passes on",
}
"""Members in which names of models are looked for at any depth, and what is asked of these."""

CHOOSING: Final[Mapping[str, str]] = {
    "route": "OpenRouter then chooses a model itself",
    "preset": "OpenRouter then takes the preset's model",
}
"""Members by which a provider is told to take another model than is named, and how."""

ANY: Final = "*"
"""The name of whatever the provider chooses."""

_NOTHING: Final = (b"null", b'""')
_SHOWN: Final = 100
_NAMES: Final = frozenset(("model", "models", "fallback", "fallbacks", "fallback_models", "allowed_models"))
_OTHERS: Final = frozenset(("parameters", "input_schema", "schema", "input_examples", "description", "function"))
"""What stands in these is a client's own: a schema may have a property ``model``."""


def further_models(incoming: Incoming) -> tuple[tuple[str, str], ...]:
    """The place of each further model of the request, and its name; ``ANY`` where the provider would choose. Raises
    ``GatewayError`` (400) where something stands twice in an object that may name one: servers differ in which they
    take."""
    found = [(member, ANY) for member in CHOOSING if bytes(incoming.members.get(member, b"null")) not in _NOTHING]
    for member in ROWS:
        if (raw := incoming.members.get(member)) is not None:
            _check_once(member, raw)
            found.extend(_named(member, incoming.json.value(member), member in _NAMES))
    return tuple(found)


def _check_once(member: str, raw: msgspec.Raw) -> None:
    def check(pairs: list[tuple[str, Any]]) -> None:
        seen: set[str] = set()
        for name, value in pairs:  # an object has become None
            meant = name.casefold() if value is not None and name.casefold() in _NAMES else name
            if meant in seen:
                found = f"{meant[:_SHOWN]} stands twice in an object of {member}"
                raise invalid(f"{found}, and servers differ in which they take: leave one out", member)
            seen.add(meant)

    try:
        json.loads(bytes(raw), object_pairs_hook=check)
    except RecursionError:
        raise too_deep() from None


def _named(at: str, value: Any, names: bool) -> Iterator[tuple[str, str]]:
    """The names of models in ``value``, which is one itself, or a list of them, if it ``names`` any."""
    if isinstance(value, str):
        if names:
            yield at, ANY if value == "default" else value
    elif isinstance(value, list):
        for item in value:
            yield from _named(f"{at}[]", item, names)
    elif isinstance(value, dict):
        for name, item in value.items():
            if name not in _OTHERS:
                yield from _named(join(at, name), item, name.casefold() in _NAMES)
