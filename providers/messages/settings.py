"""Writers of thinking, sampling, stop strings, users and formats for a Messages provider.

``Quirks`` list those that a model accepts. Source: Anthropic's API reference and migration guides.
"""

import re
from typing import Any, TypeAlias

from providers.catalog.effort import accepts_sampling_with, add_budget, effort_level, omits_thinking, show_summary
from providers.neutral.fields import Drops
from providers.neutral.formats import can_be_closed, close_objects, schema_with_description
from providers.neutral.parameters import BY_NAME, stop_strings, write_parameters
from providers.neutral.quirks import Quirks
from providers.neutral.request import Format, Request

Body: TypeAlias = dict[str, Any]

NO_SAMPLING_SINCE = "2026-10-21"  # from this API version on, temperature, top_p and top_k are a 400

_SAMPLING = ("temperature", "top_p", "top_k")
_MAX_TEMPERATURE = 1
_SPECIAL_CASES = (
    *_SAMPLING, "max_tokens", "stop", "user", "safety_identifier", "service_tier", "prompt_cache_options",
    "sealed_summary",
)  # fmt: skip

# User ids that identify a person (an email address or a phone number) are not sent.
_PERSONAL = re.compile(r"[^@\s]+@[^@\s]+\.\w+|\+?[\d\s().-]{7,20}")


def max_tokens(request: Request, quirks: Quirks) -> int:
    """Return ``max_tokens``, which the API requires: the client's limit or the model's maximum."""
    options = request.parameters.get("prompt_cache_options")
    if options is not None and options.value.get("prewarm"):
        return 0  # both mean: fill the cache without an answer
    limit = request.parameters.get("max_tokens")
    return quirks.default_max_tokens if limit is None else int(limit.value)


# Reasoning


def write_reasoning(request: Request, quirks: Quirks, body: Body, drops: Drops) -> None:
    """Write ``thinking`` and ``output_config.effort``. Requires ``max_tokens``, ``messages`` and ``tool_choice`` in
    ``body``."""
    reasoning = request.reasoning
    if reasoning is None or body["max_tokens"] == 0:  # no answer, so no reasoning
        return
    if reasoning.mode == "disabled" or reasoning.effort == "none":
        _turn_off(request, quirks, body, drops)
        return
    if quirks.adaptive_thinking and (level := effort_level(reasoning, quirks, drops)) is not None:
        body["output_config"] = {"effort": level}
    if quirks.thinking_off == "disabled" and body.get("tool_choice", {}).get("type") in ("any", "tool"):
        # "Thinking may not be enabled when tool_choice forces tool use": a missing call breaks programs, missing
        # reasoning does not (pydantic/pydantic-ai#6957).
        drops.add(*reasoning.all_places)
        _turn_off(request, quirks, body, drops)
    elif quirks.adaptive_thinking:
        if not omits_thinking(request):
            body["thinking"] = show_summary({"type": "adaptive"}, reasoning)
    elif omits_thinking(request) or _calls_tools_without_thinking(body["messages"]):
        drops.add(*reasoning.all_places)
    else:
        body["thinking"], body["max_tokens"] = add_budget(reasoning, quirks, body["max_tokens"], drops)


def _turn_off(request: Request, quirks: Quirks, body: Body, drops: Drops) -> None:
    """Turn thinking off, or to the lowest effort for a model that always thinks.

    Only adaptive models think by default; not every compatible server knows ``disabled``.
    """
    if quirks.thinking_off == "lowest_effort":
        if request.reasoning is not None:
            drops.add(*request.reasoning.places)
        if quirks.efforts:
            body["output_config"] = {"effort": quirks.efforts[0]}
    elif quirks.adaptive_thinking or request.api == "messages":
        body["thinking"] = {"type": quirks.thinking_off}


def _calls_tools_without_thinking(messages: list[Body]) -> bool:
    """Return whether the current turn has called tools without a thinking block.

    With a budget that is a 400 ("Expected `thinking` or `redacted_thinking`, but found `tool_use`"). Clients of other
    APIs lose these blocks.
    """
    if len(messages) < 2 or messages[-1]["role"] != "user" or messages[-2]["role"] != "assistant":
        return False
    content = messages[-2]["content"]
    if not isinstance(content, list) or not any(block["type"] == "tool_use" for block in content):
        return False
    return content[0]["type"] not in ("thinking", "redacted_thinking")


# Scalars


def write_settings(request: Request, quirks: Quirks, body: Body, drops: Drops) -> None:
    """Write all scalar settings, after ``write_reasoning``, because thinking excludes sampling settings."""
    parameters = request.parameters
    write_parameters(request, "messages", body, drops, skip=_SPECIAL_CASES)
    options = parameters.get("prompt_cache_options")
    if options is not None and not options.value.get("prewarm"):
        drops.add(options.at)
    tier = parameters.get("service_tier")
    if tier is not None and tier.value != "auto":  # other tiers are specific to each vendor
        drops.add(tier.at)
    if request.api != "messages":  # a Messages client's `metadata` is sent unchanged
        _write_user(request, body, drops)
    if stops := stop_strings(parameters.get("stop"), drops):
        body["stop_sequences"] = stops
    _write_sampling(request, quirks, body, drops)


def _write_user(request: Request, body: Body, drops: Drops) -> None:
    for name in ("user", "safety_identifier"):
        control = request.parameters.get(name)
        if control is None:
            continue
        if "metadata" in body or _PERSONAL.fullmatch(control.value):
            drops.add(control.at)
        else:
            body["metadata"] = {"user_id": control.value}


def _write_sampling(request: Request, quirks: Quirks, body: Body, drops: Drops) -> None:
    accepts_sampling = quirks.anthropic_version < NO_SAMPLING_SINCE and accepts_sampling_with(
        body.get("thinking", {}), request.reasoning, quirks
    )
    for name in _SAMPLING:
        control = request.parameters.get(name)
        if control is None:
            continue
        second = name == "top_p" and "temperature" in body and quirks.one_of_temperature_top_p
        if not accepts_sampling or second:
            if control.value != BY_NAME[name].default:
                drops.add(control.at)
        elif name == "temperature" and control.value > _MAX_TEMPERATURE:
            body[name] = _MAX_TEMPERATURE
            drops.add(control.at)
        else:
            body[name] = control.value


# Structured output


def write_format(format: Format | None, quirks: Quirks, body: Body) -> None:
    """Write ``output_config.format``, the API's own structured output."""
    if format is not None and is_enforceable(format, quirks):
        schema = close_objects(schema_with_description(format))
        body["output_config"] = {**body.get("output_config", {}), "format": {"type": "json_schema", "schema": schema}}


def is_enforceable(format: Format | None, quirks: Quirks) -> bool:
    """Return whether the API can enforce ``format``; it requires every object to be closed."""
    return format is not None and quirks.structured_output and can_be_closed(format)
