"""``additionalModelRequestFields``: what a family of models takes beside Converse's own members, read."""

from collections.abc import Mapping
from typing import Any, Final

import attrs

from providers.neutral.fields import Drops, Fields, expect
from providers.neutral.parameters import BY_NAME
from providers.neutral.request import Parameter, Reasoning
from streams.errors import invalid

_NAMES: Final[Mapping[str, str]] = {
    "top_k": "top_k",
    "topK": "top_k",
    "stop_sequences": "stop",
    "seed": "seed",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
}
"""Scalars of families (Claude's, Nova's, OpenAI's), by their neutral names."""

_THINKING: Final = ("thinking", "reasoning_config", "reasoningConfig")


def read_additional(fields: Fields, parameters: dict[str, Parameter], drops: Drops) -> Reasoning | None:
    """The wish for reasoning among ``fields``; settings go into ``parameters``, all else into ``drops``."""
    _read_scalars(fields, parameters)
    if (inference := fields.object("inferenceConfig")) is not None:  # Nova's
        _read_scalars(inference, parameters)
        drops.rest(inference)
    reasoning = None
    for name in _THINKING:
        if (wish := fields.any(name)) is not None:
            reasoning = _read_wish(wish, fields.path(name), drops)
    if (effort := fields.string("reasoning_effort")) is not None:  # OpenAI's
        reasoning = read_effort(reasoning, effort, fields.path("reasoning_effort"))
    if (config := fields.object("output_config")) is not None:  # Claude's
        if (effort := config.string("effort")) is not None:
            reasoning = read_effort(reasoning, effort, config.path("effort"))
        drops.rest(config)
    drops.rest(fields)
    return reasoning


def read_effort(reasoning: Reasoning | None, effort: str, at: str = "outputConfig.effort") -> Reasoning:
    """``reasoning`` with how much effort an answer is worth, which may be all that is said of it."""
    if reasoning is None:
        return Reasoning("disabled", at=at) if effort == "none" else Reasoning("adaptive", effort, at=at)
    return attrs.evolve(reasoning, effort=effort)


def _read_scalars(fields: Fields, parameters: dict[str, Parameter]) -> None:
    for member, name in _NAMES.items():
        if (value := fields.any(member)) is not None:
            at = fields.path(member)
            parameters.setdefault(name, Parameter(expect(value, BY_NAME[name].kind, at), at))


def _read_wish(wish: Any, at: str, drops: Drops) -> Reasoning:
    """Claude's ``thinking`` (``reasoning_config`` is the same), Nova's ``reasoningConfig`` with words for how much, and
    those of families that say nothing but the word."""
    if isinstance(wish, str):
        return Reasoning("disabled", at=at) if wish in ("none", "disabled") else Reasoning("enabled", wish, at=at)
    fields = Fields.of(wish, at)
    kind = fields.need("type", str)
    budget, effort = fields.integer("budget_tokens"), fields.string("maxReasoningEffort")
    summary = "auto" if fields.string("display") == "summarized" else None
    drops.rest(fields)
    match kind:
        case "disabled":
            return Reasoning("disabled", at=at)
        case "enabled":
            return Reasoning("enabled", effort, budget, summary, at)
        case "adaptive" | "between_tools":
            return Reasoning("adaptive", effort, None, summary, at)
    raise invalid(f'{at}.type must be enabled, adaptive or disabled, not "{kind}"', f"{at}.type")
