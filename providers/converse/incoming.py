"""Reader of a client's Converse request into a ``Request``, for providers of other APIs.

Source: ``ConverseRequest``, ``ConverseStreamRequest`` and ``CountTokensRequest`` in Amazon's service model
``bedrock-runtime`` (2023-09-30), and requests of boto3.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import attrs
import msgspec

from providers.converse.content import MESSAGE, SYSTEM, mark_last, read_blocks
from providers.converse.wording import STOP_SEQUENCE
from providers.neutral.fields import Drops, Fields, expect, join_path
from providers.neutral.parameters import BY_NAME, read_parameters
from providers.neutral.request import (
    Format,
    Message,
    NativePart,
    NativeTool,
    Parameter,
    Part,
    Reasoning,
    Request,
    Role,
    Tool,
    ToolChange,
    ToolChoice,
)
from providers.neutral.tool_names import apply_changes, changes_of
from streams.errors import invalid
from streams.surrogates import NOT_JSON

_NAMES: Final[Mapping[str, str]] = {
    "top_k": "top_k",
    "topK": "top_k",
    "stop_sequences": "stop",
    "seed": "seed",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
}
"""Scalar settings of families (Claude's, Nova's, OpenAI's), with their neutral names."""

_THINKING: Final = ("thinking", "reasoning_config", "reasoningConfig")


def read_additional(fields: Fields, parameters: dict[str, Parameter], drops: Drops) -> Reasoning | None:
    """Return the reasoning requested in ``fields``; adds settings to ``parameters`` and the rest to ``drops``."""
    _read_scalars(fields, parameters)
    if (inference := fields.object("inferenceConfig")) is not None:  # Nova's
        _read_scalars(inference, parameters)
        drops.add_unread(inference)
    reasoning = None
    for name in _THINKING:
        if (setting := fields.value(name)) is not None:
            reasoning = _read_reasoning(setting, fields.path(name), drops)
    if (effort := fields.string("reasoning_effort")) is not None:  # OpenAI's
        reasoning = read_effort(reasoning, effort, fields.path("reasoning_effort"))
    if (config := fields.object("output_config")) is not None:  # Claude's
        if (effort := config.string("effort")) is not None:
            reasoning = read_effort(reasoning, effort, config.path("effort"))
        drops.add_unread(config)
    drops.add_unread(fields)
    return reasoning


def read_effort(reasoning: Reasoning | None, effort: str, at: str = "outputConfig.effort") -> Reasoning:
    """Return ``reasoning`` with an effort, which may be the only setting."""
    if reasoning is None:
        return Reasoning("disabled", at=at) if effort == "none" else Reasoning("adaptive", effort, at=at)
    return attrs.evolve(reasoning, effort=effort)


def _read_scalars(fields: Fields, parameters: dict[str, Parameter]) -> None:
    for member, name in _NAMES.items():
        if (value := fields.value(member)) is not None:
            at = fields.path(member)
            parameters.setdefault(name, Parameter(expect(value, BY_NAME[name].kind, at), at))


def _read_reasoning(setting: Any, at: str, drops: Drops) -> Reasoning:
    """Return Claude's ``thinking`` (or ``reasoning_config``), Nova's ``reasoningConfig`` with an effort, or a plain
    word of other families."""
    if isinstance(setting, str):
        return Reasoning("disabled", at=at) if setting in ("none", "disabled") else Reasoning("enabled", setting, at=at)
    fields = Fields.of(setting, at)
    kind = fields.need("type", str)
    budget, effort = fields.integer("budget_tokens"), fields.string("maxReasoningEffort")
    summary = Parameter("auto", fields.path("display")) if fields.string("display") == "summarized" else None
    drops.add_unread(fields)
    match kind:
        case "disabled":
            return Reasoning("disabled", at=at)
        case "enabled":
            return Reasoning("enabled", effort, budget, summary, at)
        case "adaptive" | "between_tools":
            return Reasoning("adaptive", effort, None, summary, at)
    raise invalid(f'{at}.type must be enabled, adaptive or disabled, not "{kind}"', f"{at}.type")


_ROLES: Final[Mapping[str, Role]] = {"user": "user", "assistant": "assistant", "system": "system"}
_CHOICES: Final[Mapping[str, Any]] = {"auto": "auto", "any": "required", "tool": "tool"}
_CHANGES: Final = {"toolAddition": True, "toolRemoval": False}
_REQUIRED: Final = {"guardrailConfig": "guardrail", "promptVariables": "prompt_variables"}


def read_request(body: Mapping[str, Any]) -> Request:
    """Return ``body`` as a ``Request``; the path has its model and whether it streams.

    Raises ``GatewayError`` (400, with ``param``) for invalid members.
    """
    return _read(Fields(body))


def read_count_request(body: Mapping[str, Any]) -> Request:
    """Return the ``body`` of ``CountTokens`` as a ``Request``. Raises as ``read_request`` does."""
    fields = Fields(body)
    counted = Fields.of(fields.need("input", dict), "input")
    converse = counted.object("converse")
    if converse is None:
        raise invalid("input.converse is required: the body of an InvokeModel request is not counted", "input.converse")
    return attrs.evolve(_read(converse), source=body)


def _read(fields: Fields) -> Request:
    drops = Drops()
    messages = (*_read_system(fields, drops), *_read_messages(fields, drops))
    tools, choice = _read_tools(fields, drops)
    declared: tuple[Tool | NativeTool, ...] = ()
    if changes := changes_of(messages):
        declared, (tools, _) = tools, apply_changes(tools, (), changes, drops)
    parameters = _read_settings(fields, drops)
    format, effort = _read_output(fields, drops)
    reasoning = None
    if (additional := fields.object("additionalModelRequestFields")) is not None:
        reasoning = read_additional(additional, parameters, drops)
    if effort is not None:
        reasoning = read_effort(reasoning, effort)
    _drop_response_paths(fields, drops)
    drops.add_unread(fields)
    return Request(
        "converse", "", messages, tools=tools, tool_choice=choice, reasoning=reasoning, format=format,
        parameters=parameters, source=fields.data, dropped=drops.paths(), declared=declared,
    )  # fmt: skip


# Messages


def _read_system(fields: Fields, drops: Drops) -> Iterator[Message]:
    blocks = fields.array("system")
    parts = read_blocks(blocks, fields.path("system"), SYSTEM, drops) if blocks else []
    if parts:
        yield Message("system", tuple(parts), fields.path("system"))


def _read_messages(fields: Fields, drops: Drops) -> Iterator[Message]:
    at = fields.path("messages")
    if not fields.need("messages", list):
        raise invalid(f"{at} must have at least one message", at)
    for message in fields.objects("messages"):
        role = message.need_word("role", _ROLES, "user, assistant or system")
        parts = read_blocks(message.need("content", list), message.path("content"), MESSAGE, drops)
        drops.add_unread(message)
        kept: list[Part] = []
        changes: list[ToolChange] = []
        for part in parts:
            change = _read_change(part, drops) if isinstance(part, NativePart) and part.kind in _CHANGES else None
            if change is None:
                kept.append(part)
            else:
                changes.append(change)
        yield Message(_ROLES[role], tuple(kept), message.at, tool_changes=tuple(changes))


def _read_change(part: NativePart, drops: Drops) -> ToolChange | None:
    """Return the change of a tool; ``None`` for tools of an MCP server, which other APIs do not have."""
    change = Fields.of(part.item[part.kind], part.at)
    tool = Fields.of(change.need("tool", dict), change.path("tool"))
    name, server = tool.string("name"), tool.string("serverName")
    if name is None or server is not None:
        return None
    tool.ignore("type")  # any string; the name identifies the tool
    drops.add_unread(tool)
    drops.add_unread(change)
    return ToolChange(name, _CHANGES[part.kind], at=part.at)


# Tools


def _read_tools(fields: Fields, drops: Drops) -> tuple[tuple[Tool | NativeTool, ...], ToolChoice | None]:
    config = fields.object("toolConfig")
    if config is None:
        return (), None
    tools: list[Tool | NativeTool] = []
    for item in config.objects("tools"):
        _read_tool(item, tools, drops)
    choice = _read_choice(config, drops)
    drops.add_unread(config)
    return tuple(tools), choice


def _read_tool(item: Fields, tools: list[Tool | NativeTool], drops: Drops) -> None:
    if (spec := item.object("toolSpec")) is not None:
        schema = spec.object("inputSchema")
        json = None
        if schema is not None:
            json = schema.value("json")
            drops.add_unread(schema)
        name, description, strict = spec.need("name", str), spec.string("description"), spec.boolean("strict")
        tools.append(Tool(name, description, json, strict=strict, at=item.at))
        drops.add_unread(spec)
    elif (point := item.object("cachePoint")) is not None:
        mark_last(tools, point, drops)
    else:
        kind = next(iter(item.data), "")
        item.ignore(*item.data)
        tools.append(NativeTool("converse", kind, item.data, item.at))
    drops.add_unread(item)


def _read_choice(config: Fields, drops: Drops) -> ToolChoice | None:
    choice = config.object("toolChoice")
    if choice is None:
        return None
    for kind, mode in _CHOICES.items():
        if (chosen := choice.object(kind)) is not None:
            name = chosen.need("name", str) if kind == "tool" else None
            drops.add_unread(chosen)
            drops.add_unread(choice)
            return ToolChoice(mode, name, at=choice.at)
    raise invalid(f"{choice.at} must have one of the members auto, any and tool", choice.at)


# Settings


def _read_settings(fields: Fields, drops: Drops) -> dict[str, Parameter]:
    parameters: dict[str, Parameter] = {}
    if (inference := fields.object("inferenceConfig")) is not None:
        parameters = read_parameters(inference, "converse")
        drops.add_unread(inference)
    if (tier := fields.object("serviceTier")) is not None:
        parameters["service_tier"] = Parameter(tier.need("type", str), tier.path("type"))
        drops.add_unread(tier)
    for name, neutral in _REQUIRED.items():
        if found := fields.object(name):
            parameters[neutral] = Parameter(found.data, found.at)
    return parameters


def _read_output(fields: Fields, drops: Drops) -> tuple[Format | None, str | None]:
    """Return the answer's format and effort."""
    config = fields.object("outputConfig")
    if config is None:
        return None, None
    effort, text = config.string("effort"), config.object("textFormat")
    drops.add_unread(config)
    return (None if text is None else _read_format(text, drops)), effort or None


def _read_format(text: Fields, drops: Drops) -> Format:
    text.need_word("type", ("json_schema",), "json_schema")
    structure = Fields.of(text.need("structure", dict), text.path("structure"))
    definition = Fields.of(structure.need("jsonSchema", dict), structure.path("jsonSchema"))
    at = definition.path("schema")
    try:
        schema = msgspec.json.decode(definition.need("schema", str))
    except NOT_JSON:
        raise invalid(f"{at} must be a JSON schema, as text", at) from None
    format = Format(
        "json_schema", definition.string("name"), schema, description=definition.string("description"), at=text.at
    )
    for read in (definition, structure, text):
        drops.add_unread(read)
    return format


def _drop_response_paths(fields: Fields, drops: Drops) -> None:
    """Report requested response members that only this API has."""
    name = "additionalModelResponseFieldPaths"
    for i, path in enumerate(fields.array(name) or ()):
        if path != STOP_SEQUENCE:
            drops.add(join_path(fields.path(name), i))
