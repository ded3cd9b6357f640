"""Writers of a Converse request's scalar settings, reasoning, format, and members of Bedrock only.

``Quirks`` and the family's row list those that a model accepts.
"""

from typing import Any, Final, TypeAlias

import msgspec

from providers.catalog.effort import known_level, omits_thinking, requested_level
from providers.catalog.thinking import (
    LEVELS,
    accepts_sampling_with,
    add_budget,
    effort_level,
    show_summary,
    stop_strings,
)
from providers.converse.families import Family
from providers.converse.wording import STOP_SEQUENCE
from providers.neutral.fields import Drops
from providers.neutral.formats import can_be_closed, close_objects, format_instruction, schema_with_description
from providers.neutral.parameters import BY_NAME, write_parameters
from providers.neutral.quirks import Quirks
from providers.neutral.request import Format, Reasoning, Request

Body: TypeAlias = dict[str, Any]

OWN_FIELDS: Final = (
    "guardrailConfig", "promptVariables", "additionalModelResponseFieldPaths", "requestMetadata", "performanceConfig",
    "serviceTier", "additionalModelRequestFields",
)  # fmt: skip
"""Members of Bedrock only; programs of other APIs send them with their SDK's ``extra_body``."""

_CONVERSE_FIELDS: Final = (*OWN_FIELDS, "outputConfig")
"""Members that the provider receives unchanged from a Converse client, including reasoning and format."""

_TIERS: Final = ("priority", "default", "flex", "reserved")
_SAMPLING: Final = ("temperature", "top_p")
_SPECIAL_CASES: Final = (*_SAMPLING, "max_tokens", "top_k", "stop", "service_tier", "guardrail", "prompt_variables")
_HIGHEST: Final = "high"


def own_fields(request: Request) -> Body:
    """Return the members of the client's request that only Bedrock has, whatever the client's API."""
    names = _CONVERSE_FIELDS if request.api == "converse" else OWN_FIELDS
    found = {name: value for name in names if (value := request.source.get(name)) is not None}
    if request.api == "gemini":  # its tier has the same name
        found.pop("serviceTier", None)
    return found


def write_settings(request: Request, family: Family, quirks: Quirks, body: Body, drops: Drops) -> None:
    """Write ``inferenceConfig`` and additional settings, after messages and tools."""
    inference: Body = {}
    more: Body = {}
    _write_limit(request, inference, drops)
    _write_reasoning(request, family, quirks, body, inference, more, drops)
    write_parameters(request, "converse", inference, drops, skip=_SPECIAL_CASES)
    _write_stop(request, family, body, inference, drops)
    _write_sampling(request, family, quirks, inference, more, drops)
    _write_tier(request, body, drops)
    if inference:
        body["inferenceConfig"] = inference
    if more:
        body["additionalModelRequestFields"] = more


def _write_limit(request: Request, inference: Body, drops: Drops) -> None:
    limit = request.parameters.get("max_tokens")
    if limit is None:
        return
    if limit.value < 1:
        drops.add(limit.at)
    inference["maxTokens"] = max(1, limit.value)


def _write_tier(request: Request, body: Body, drops: Drops) -> None:
    tier = request.parameters.get("service_tier")
    if tier is None or tier.value == "auto":
        return
    if tier.value in _TIERS:
        body["serviceTier"] = {"type": tier.value}
    else:
        drops.add(tier.at)


def _write_stop(request: Request, family: Family, body: Body, inference: Body, drops: Drops) -> None:
    control = request.parameters.get("stop")
    if control is None:
        return
    if stops := stop_strings(control, drops):
        inference["stopSequences"] = stops
        if family.stop_string:
            body["additionalModelResponseFieldPaths"] = [STOP_SEQUENCE]


def _write_sampling(
    request: Request, family: Family, quirks: Quirks, inference: Body, more: Body, drops: Drops
) -> None:
    accepts_sampling = _accepts_sampling(request.reasoning, quirks, more)
    for name in (*_SAMPLING, "top_k"):
        control = request.parameters.get(name)
        if control is None:
            continue
        second = name == "top_p" and "temperature" in inference and quirks.one_of_temperature_top_p
        if name == "top_k" and request.api == "converse":
            continue
        if not accepts_sampling or second or (name == "top_k" and not family.top_k):
            if control.value != BY_NAME[name].default:
                drops.add(control.at)
        elif name == "top_k":
            _set_path(more, family.top_k, control.value)
        else:
            inference[BY_NAME[name].converse] = min(control.value, 1)
            if control.value > 1:
                drops.add(control.at)


def _set_path(more: Body, path: tuple[str, ...], value: Any) -> None:
    for name in path[:-1]:
        more = more.setdefault(name, {})
    more[path[-1]] = value


def _accepts_sampling(reasoning: Reasoning | None, quirks: Quirks, more: Body) -> bool:
    thinking: Body = more.get("thinking") or more.get("reasoningConfig") or {}
    if thinking.get("maxReasoningEffort") == _HIGHEST:  # Nova accepts none with it
        return False
    return accepts_sampling_with(thinking, reasoning, quirks)


# Reasoning


def _write_reasoning(
    request: Request, family: Family, quirks: Quirks, body: Body, inference: Body, more: Body, drops: Drops
) -> None:
    reasoning = request.reasoning
    if reasoning is None or request.api == "converse":
        return
    off = reasoning.mode == "disabled" or reasoning.effort == "none"
    if family.effort == "thinking":
        if off:
            _turn_off(reasoning, quirks, body, more, drops)
        else:
            _turn_on(request, reasoning, quirks, body, inference, more, drops)
        return
    if off:  # they do not think by default
        return
    level = known_level(requested_level(reasoning) or _HIGHEST, quirks.efforts or LEVELS[:3])
    if level is None or not family.effort:
        drops.add(*reasoning.places)
        return
    if reasoning.effort is not None and level != reasoning.effort:
        drops.add(*reasoning.places)
    if family.effort == "reasoningConfig":
        more["reasoningConfig"] = {"type": "enabled", "maxReasoningEffort": level}
        if level == _HIGHEST and inference.pop("maxTokens", None) is not None:
            drops.add(request.parameters["max_tokens"].at)
    else:
        more[family.effort] = level


def _turn_off(reasoning: Reasoning, quirks: Quirks, body: Body, more: Body, drops: Drops) -> None:
    """Turn thinking off for adaptive models, which think by default, or to the lowest effort for a model that always
    thinks."""
    if quirks.thinking_off == "lowest_effort":
        drops.add(*reasoning.places)
        if quirks.efforts:
            _output_config(body)["effort"] = quirks.efforts[0]
    elif quirks.adaptive_thinking:
        more["thinking"] = {"type": quirks.thinking_off}


def _turn_on(
    request: Request, reasoning: Reasoning, quirks: Quirks, body: Body, inference: Body, more: Body, drops: Drops
) -> None:
    """Write Claude's thinking as in Messages; the effort of adaptive models is a member of Converse."""
    if quirks.adaptive_thinking and (level := effort_level(reasoning, quirks, drops)) is not None:
        _output_config(body)["effort"] = level
    if quirks.thinking_off == "disabled" and "toolChoice" in body.get("toolConfig", {}):
        # A missing call breaks programs, missing reasoning does not (pydantic/pydantic-ai#6957).
        drops.add(*reasoning.places)
        _turn_off(reasoning, quirks, body, more, drops)
    elif quirks.adaptive_thinking:
        if not omits_thinking(request):
            more["thinking"] = show_summary({"type": "adaptive"}, reasoning)
    elif omits_thinking(request) or _calls_tools_without_thinking(body["messages"]):
        drops.add(*reasoning.places)
    else:
        limit = inference.get("maxTokens", quirks.default_max_tokens)
        more["thinking"], inference["maxTokens"] = add_budget(reasoning, quirks, limit, drops)


def _calls_tools_without_thinking(messages: list[Body]) -> bool:
    """Return whether the current turn has called tools without reasoning, which with a budget is a 400.

    Clients of other APIs may have lost the reasoning.
    """
    if len(messages) < 2 or messages[-1]["role"] != "user" or messages[-2]["role"] != "assistant":
        return False
    content = messages[-2]["content"]
    return any("toolUse" in block for block in content) and "reasoningContent" not in content[0]


# Structured output


def format_hint(format: Format | None, family: Family, quirks: Quirks, drops: Drops) -> str | None:
    """Return the format as an instruction and report it as dropped, if the model cannot enforce it.

    A hidden tool could be mistaken for a real call (BerriAI/litellm#34230).
    """
    if format is None or _is_enforceable(format, family, quirks):
        return None
    drops.add(format.at)
    return format_instruction(format)


def write_format(format: Format | None, family: Family, quirks: Quirks, body: Body) -> None:
    """Write ``outputConfig.textFormat``, whose schema is JSON in a string."""
    if format is None or not _is_enforceable(format, family, quirks):
        return
    schema: Body = {"schema": msgspec.json.encode(close_objects(schema_with_description(format))).decode()}
    if format.name:
        schema["name"] = format.name
    if format.description:
        schema["description"] = format.description
    _output_config(body)["textFormat"] = {"type": "json_schema", "structure": {"jsonSchema": schema}}


def _is_enforceable(format: Format, family: Family, quirks: Quirks) -> bool:
    return family.structured_output and quirks.structured_output and can_be_closed(format)


def _output_config(body: Body) -> Body:
    config: Body = body.setdefault("outputConfig", {})
    return config
