"""Converts the request members in LiteLLM's ``litellm_params`` into the key ``request`` of an entry.

LiteLLM adds them to requests that lack them (https://docs.litellm.ai/docs/proxy/configs)."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from configfile.wording import Wrong
from gateway.commands.imports.imported_values import with_texts
from gateway.commands.imports.losses import Group, Reason
from providers.members.names import checked_value, read_member

_NEUTRAL: Final = frozenset(
    ("temperature", "top_p", "top_k", "max_tokens", "stop", "seed", "n", "frequency_penalty", "presence_penalty",
     "logit_bias", "logprobs", "top_logprobs", "verbosity", "metadata", "service_tier", "store", "user",
     "safety_identifier", "prompt_cache_key", "reasoning_effort", "modalities", "audio", "prediction",
     "web_search_options")
)  # fmt: skip
"""Members with LiteLLM's name, which is OpenAI's, as the neutral name."""

_RENAMED: Final = {"max_completion_tokens": "max_tokens", "max_output_tokens": "max_tokens"}
_BODY: Final = "extra_body"
_OF_BODY: Final = frozenset(("chat_template_kwargs",))
"""Members that LiteLLM adds to ``extra_body``."""
_REPLACED_BY_CLIENTS: Final = frozenset(("openai", "azure", "text-completion-openai"))
"""Providers at which a client's own member replaces that of ``extra_body``."""

_SHAPES: Final[Mapping[str, type]] = {_BODY: dict, "thinking": dict}
"""Members that are read only in this shape."""

READ: Final = frozenset((*_NEUTRAL, *_RENAMED, *_OF_BODY, _BODY, "thinking"))
"""The members of ``litellm_params`` that become a part of ``request``."""


def read_members(params: Mapping[str, Any], prefix: str = "openai") -> tuple[dict[str, Any], dict[str, Reason]]:
    """Return the key ``request`` for a provider with LiteLLM's ``prefix``, and the losses by parameter.

    Clients may replace them, except those in ``extra_body``: these have precedence at most providers."""
    default: dict[str, Any] = {}
    fixed: dict[str, Any] = {}
    losses: dict[str, Reason] = {}
    for param, kind in _SHAPES.items():
        if not isinstance(params.get(param), kind | None):
            losses[param] = Group.NAMES, f"it is not a {kind.__name__}"
    for param, name, value in _default_members(params):
        is_fixed = name.startswith("other.") and prefix not in _REPLACED_BY_CLIENTS
        try:
            member = read_member(name, "set" if is_fixed else "default")
            (fixed if is_fixed else default)[name] = with_texts(checked_value(member, value))
        except Wrong as wrong:
            losses[param] = Group.NAMES, f"{wrong.found}: {wrong.expected or 'it has no counterpart'}"
    given = {"default": default, "set": fixed}
    return {name: value for name, value in given.items() if value}, losses


def _default_members(params: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Yield each parameter with its name in ``request`` and its value."""
    for param, value in params.items():
        if value is None:
            continue
        if param in _NEUTRAL or param in _RENAMED:
            yield param, _RENAMED.get(param, param), value
        elif param == "thinking" and isinstance(value, dict):
            if isinstance(budget := value.get("budget_tokens"), int):
                yield param, "thinking_budget", budget
            else:
                yield param, "messages.thinking", value
        elif param in _OF_BODY:
            yield param, f"other.{param}", value
        elif param == _BODY and isinstance(value, dict):
            for name, inner in value.items():
                yield f"{param}.{name}", f"other.{name}", inner
