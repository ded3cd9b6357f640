"""Writer of a ``Request`` as the request for a Converse provider, with its tools and settings.

``Quirks`` and the family's row list those that a model accepts.
"""

from typing import Any, Final, TypeAlias

import msgspec

from providers.catalog.effort import (
    CLAUDE_LEVELS,
    accepts_sampling_with,
    add_budget,
    effort_level,
    omits_thinking,
    requested_level,
    show_summary,
)
from providers.converse.families import FAMILIES, Family
from providers.converse.history import Block, CachePoints, History
from providers.converse.wording import STOP_SEQUENCE, TIERS
from providers.neutral import tool_names
from providers.neutral.api_members import own_members
from providers.neutral.codec import Outgoing, Recipient
from providers.neutral.draft import losses_of, raised_limit_edit
from providers.neutral.fields import Drops, join_path
from providers.neutral.formats import (
    can_be_closed,
    close_objects,
    schema_with_description,
    with_format,
)
from providers.neutral.levels import known_level
from providers.neutral.parameters import BY_NAME, stop_strings, write_parameters
from providers.neutral.quirks import Quirks
from providers.neutral.request import (
    Format,
    NativeTool,
    Reasoning,
    Request,
    Tool,
    ToolCallPart,
    ToolChoice,
    cache_control,
)
from providers.neutral.schemas import is_combined, object_schema, write_without_limits

Body: TypeAlias = dict[str, Any]

_OWN_FIELDS: Final = own_members("converse")
"""Members of Bedrock only; programs of other APIs send them with their SDK's ``extra_body``."""

_CONVERSE_FIELDS: Final = (*_OWN_FIELDS, "outputConfig")
"""Members that the provider receives unchanged from a Converse client, including reasoning and format."""

_SAMPLING: Final = ("temperature", "top_p")
_SPECIAL_CASES: Final = (*_SAMPLING, "max_tokens", "top_k", "stop", "service_tier", "guardrail", "prompt_variables")
_HIGHEST: Final = "high"


def own_fields(request: Request) -> Body:
    """Return the members of the client's request that only Bedrock has, whatever the client's API."""
    names = _CONVERSE_FIELDS if request.api == "converse" else _OWN_FIELDS
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
    if tier.value in TIERS:
        body["serviceTier"] = {"type": tier.value}
    else:
        drops.add(tier.at)


def _write_stop(request: Request, family: Family, body: Body, inference: Body, drops: Drops) -> None:
    if stops := stop_strings(request.parameters.get("stop"), drops):
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
    level = known_level(requested_level(reasoning) or _HIGHEST, quirks.efforts or CLAUDE_LEVELS[:3])
    if level is None or not family.effort:
        drops.add(*reasoning.all_places)
        return
    if reasoning.summary is not None:
        drops.add(reasoning.summary.at)
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
        drops.add(*reasoning.all_places)
        _turn_off(reasoning, quirks, body, more, drops)
    elif quirks.adaptive_thinking:
        if not omits_thinking(request):
            more["thinking"] = show_summary({"type": "adaptive"}, reasoning)
    elif omits_thinking(request) or _calls_tools_without_thinking(body["messages"]):
        drops.add(*reasoning.all_places)
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


def write_format(format: Format, body: Body) -> None:
    """Write ``outputConfig.textFormat``, whose schema is JSON in a string."""
    schema: Body = {"schema": msgspec.json.encode(close_objects(schema_with_description(format))).decode()}
    if format.name:
        schema["name"] = format.name
    if format.description:
        schema["description"] = format.description
    _output_config(body)["textFormat"] = {"type": "json_schema", "structure": {"jsonSchema": schema}}


def _output_config(body: Body) -> Body:
    config: Body = body.setdefault("outputConfig", {})
    return config


def tool_config(request: Request, family: Family, to: Recipient, points: CachePoints, drops: Drops) -> Block | None:
    """Return ``toolConfig``, or ``None`` without tools.

    A request without tools is rejected if its history has calls, as in every summary of a conversation
    (langgenius/dify#17545, vxcontrol/pentagi#160, patriceckhart/zot#18); it then declares the called tools.
    """
    choice = request.tool_choice
    parts = (part for message in request.messages for part in message.parts)
    called_tools = tuple(dict.fromkeys(part.name for part in parts if isinstance(part, ToolCallPart)))
    forbidden = choice is not None and choice.mode == "none"
    tools = [] if forbidden and not called_tools else _write_tools(request, family, to, points, drops)
    if forbidden and called_tools and choice is not None:
        drops.add(choice.at)  # the API cannot forbid calls
        choice = None
    if not any("cachePoint" not in tool for tool in tools):
        tools = [{"toolSpec": {"name": name, **tool_names.CALLED_BEFORE}} for name in called_tools]
    if not tools:
        if choice is not None and choice.mode in ("required", "tool") and request.has_tools:
            drops.add(choice.at)  # the tools that it forces are not offered
        return None
    if request.parallel_tools is not None and request.parallel_tools.value is False:
        drops.add(request.parallel_tools.at)
    config: Block = {"tools": tools}
    if choice is not None and (written := _write_choice(choice, tools, family, to, drops)):
        config["toolChoice"] = written
    return config


def _write_tools(request: Request, family: Family, to: Recipient, points: CachePoints, drops: Drops) -> list[Block]:
    choice = request.tool_choice
    allowed = None if choice is None or choice.allowed is None else frozenset(choice.allowed)
    tools: list[Block] = []
    for tool in request.tools:
        if isinstance(tool, NativeTool):
            if tool.api == "converse":
                tools.append(tool.item)
            else:
                drops.add(*tool.dropped_places)
        elif allowed is None or tool.name in allowed:
            tools.append({"toolSpec": _spec(tool, family, to, drops)})
            _mark_tool(tools, tool, points, drops)
    return tools


def _spec(tool: Tool, family: Family, to: Recipient, drops: Drops) -> Block:
    spec: Block = {"name": tool.name}
    description, schema = tool_names.as_function(tool, drops)
    if description:
        spec["description"] = description
    spec["inputSchema"] = {"json": object_schema(schema, tool.at, drops)}
    if tool.strict and family.strict_tools and to.quirks.structured_output and not is_combined(schema):
        spec["strict"] = True
    elif tool.strict:
        drops.add(join_path(tool.at, "strict"))
    return spec


def _mark_tool(tools: list[Block], tool: Tool, points: CachePoints, drops: Drops) -> None:
    for name, value in tool.marks.items():
        if (mark := cache_control(name, value)) is not None:
            points.append(tools, mark, "tools", join_path(tool.at, name))
        else:
            drops.add(join_path(tool.at, name))


def _write_choice(choice: ToolChoice, tools: list[Block], family: Family, to: Recipient, drops: Drops) -> Block | None:
    """Return ``toolChoice``; ``auto`` is the default and omitted.

    If a family cannot be forced to call a certain tool, it only receives that tool.
    """
    if choice.mode in ("auto", "none"):
        return None
    forced = family.choices if to.quirks.forced_tools else ()
    named = [tool for tool in tools if tool.get("toolSpec", {}).get("name") == choice.name]
    if choice.mode == "required" and "any" in forced:
        return {"any": {}}
    if choice.mode == "tool" and named and "tool" in forced:
        return {"tool": {"name": choice.name}}
    if choice.mode == "tool" and named and "any" in forced:
        tools[:] = named
        return {"any": {}}
    drops.add(choice.at)
    return None


_COUNT_FIELDS = ("messages", "system", "toolConfig", "additionalModelRequestFields")
"""The members of a request that ``CountTokens`` accepts."""


def write_request(request: Request, to: Recipient) -> Outgoing:
    """Return the provider's request. See ``Codec.write_request``."""
    body, drops = _write(request, to)
    more = raised_limit_edit(request.parameters.get("max_tokens"), body.get("inferenceConfig", {}).get("maxTokens"))
    more = (*more, *write_without_limits(body, request, to.quirks))
    return Outgoing(msgspec.json.encode(body), (), (*losses_of(drops.paths(), "translation"), *more))


def write_count_request(request: Request, to: Recipient) -> Outgoing | None:
    """Return a ``CountTokens`` request. See ``Codec.write_count``."""
    body, drops = _write(request, to)
    more = write_without_limits(body, request, to.quirks)
    counted = {"input": {"converse": {name: body[name] for name in _COUNT_FIELDS if name in body}}}
    return Outgoing(msgspec.json.encode(counted), (), (*losses_of(drops.paths(), "translation"), *more))


def _write(request: Request, to: Recipient) -> tuple[dict[str, Any], Drops]:
    own = own_fields(request)
    drops = Drops(path for path in request.dropped if path.partition(".")[0] not in own)
    family = FAMILIES[to.quirks.bedrock_family]
    points = CachePoints(family.cached, drops)
    tools = tool_config(request, family, to, points, drops)
    history = History(request, to.issuer, family, points, drops)
    format = None if request.api == "converse" else request.format
    closed = format is not None and family.structured_output and to.quirks.structured_output and can_be_closed(format)
    history.write(with_format(request, format is None or closed, drops))
    points.limit(tools["tools"] if tools else [], history.system, *(one["content"] for one in history.messages))

    body: dict[str, Any] = {"messages": history.messages}
    if history.system:
        body["system"] = history.system
    if tools is not None:
        body["toolConfig"] = tools
    write_settings(request, family, to.quirks, body, drops)
    if format is not None and closed:
        write_format(format, body)
    for name, value in own.items():  # the client's own Bedrock members override translated ones
        written = body.get(name)
        body[name] = {**written, **value} if isinstance(written, dict) and isinstance(value, dict) else value
    drops.remove_members(body, to.quirks.refused_fields)
    return body, drops
