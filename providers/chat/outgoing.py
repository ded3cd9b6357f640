"""A ``Call`` written as a Chat Completions request, whichever API the client speaks. Messages are in ``turns``.

Source: the parameter types of the openai package (``openai/types/chat/completion_create_params.py``).
"""

from collections.abc import Iterable
from typing import Any, assert_never

import msgspec

from providers.call import Call, Control, Format, NativeTool, Reasoning, Tool, ToolChoice
from providers.chat.turns import write_messages
from providers.codec import Outgoing, Recipient
from providers.controls import write_controls
from providers.fields import Drops
from streams.errors import invalid

EFFORT_OF_BUDGET = ((2048, "low"), (8192, "medium"), (24000, "high"))
"""The largest thinking budget, in tokens, that an effort stands for; above them all it is xhigh."""

SERVICE_TIERS = frozenset(("auto", "default", "flex", "scale", "priority", "fast"))
"""What OpenAI's Chat knows; other APIs have words of their own that mean something else."""

_OWN = ("max_tokens", "n", "stop", "service_tier", "logprobs", "top_logprobs", "modalities", "audio")
"""Settings that are more than a renaming, written below."""

_UNREADABLE = ("logprobs", "top_logprobs", "audio")
"""Settings that ask for something in the answer which a translated answer cannot carry."""


def write_request(call: Call, to: Recipient) -> Outgoing:
    """See ``providers.codec.Codec.write_request``."""
    drops = Drops(call.dropped)
    body: dict[str, Any] = {"model": to.model, "messages": write_messages(call, to, drops)}
    _write_tools(call, body, drops)
    if call.format is not None:
        body["response_format"] = _format(call.format)
    if call.reasoning is not None:
        _write_reasoning(call, call.reasoning, to, body, drops)
    _write_settings(call, to, body, drops)
    write_controls(call, "chat", body, drops, _OWN)
    if call.stream:
        body["stream"] = True
        if to.quirks.stream_usage:
            body["stream_options"] = {"include_usage": True}
    for name in to.quirks.refused_fields:
        if body.pop(name, None) is not None:
            drops.add(name)
    return Outgoing(msgspec.json.encode(body), dropped=drops.paths())


def _write_tools(call: Call, body: dict[str, Any], drops: Drops) -> None:
    """Tools and what is said about them. Without tools nothing may be said: OpenAI refuses it."""
    tools = [tool for tool in (_tool(tool, drops) for tool in call.tools) if tool is not None]
    if tools:
        body["tools"] = tools
    choice = None if call.tool_choice is None else _tool_choice(call.tool_choice, call.tools)
    if tools and choice is not None:
        body["tool_choice"] = choice
    elif call.tools and call.tool_choice is not None and call.tool_choice.mode in ("required", "tool"):
        drops.add(call.tool_choice.at)  # what it names went with the tools that are dropped
    if tools and call.parallel_tools is not None:
        body["parallel_tool_calls"] = call.parallel_tools.value


def _tool(tool: Tool | NativeTool, drops: Drops) -> dict[str, Any] | None:
    if isinstance(tool, NativeTool):
        if tool.api == "chat":
            return dict(tool.item)
        drops.add(tool.at)
        return None
    drops.add(*(f"{tool.at}.{mark}" for mark in tool.marks))
    about: dict[str, Any] = {"name": tool.name}
    if tool.description is not None:
        about["description"] = tool.description
    if tool.kind == "custom":
        return {"type": "custom", "custom": about | _custom_format(tool.format)}
    about["parameters"] = {"type": "object", "properties": {}} if tool.schema is None else tool.schema
    if tool.strict is not None:
        about["strict"] = tool.strict
    return {"type": "function", "function": about}


def _custom_format(format: Any) -> dict[str, Any]:
    """A custom tool's format; Chat wraps a grammar once more than Responses."""
    if format is None:
        return {}
    if isinstance(format, dict) and format.get("type") == "grammar" and "grammar" not in format:
        grammar = {name: value for name, value in format.items() if name != "type"}
        return {"format": {"type": "grammar", "grammar": grammar}}
    return {"format": format}


def _tool_choice(choice: ToolChoice, tools: Iterable[Tool | NativeTool]) -> Any:
    """None where the choice names a tool that is not there."""
    kinds = {tool.name: tool.kind for tool in tools if isinstance(tool, Tool)}
    if choice.allowed is not None:
        allowed = [_named(kinds[name], name) for name in choice.allowed if name in kinds]
        inner = {"mode": "required" if choice.mode == "required" else "auto", "tools": allowed}
        return {"type": "allowed_tools", "allowed_tools": inner} if allowed else None
    match choice.mode:
        case "auto" | "none" | "required":
            return choice.mode
        case "tool":
            name = choice.name or ""
            return _named(kinds[name], name) if name in kinds else None
        case _:
            assert_never(choice.mode)


def _named(kind: str, name: str) -> dict[str, Any]:
    return {"type": kind, kind: {"name": name}}


def _format(format: Format) -> dict[str, Any]:
    if format.kind == "json_object":
        return {"type": "json_object"}
    about = {
        "name": format.name or "output",  # required here, unknown to Messages
        "description": format.description,
        "schema": format.schema,
        "strict": format.strict,
    }
    return {"type": "json_schema", "json_schema": {name: value for name, value in about.items() if value is not None}}


def _write_reasoning(call: Call, reasoning: Reasoning, to: Recipient, body: dict[str, Any], drops: Drops) -> None:
    effort = effort_of(reasoning)
    if effort is not None and to.quirks.reasoning_effort:
        body["reasoning_effort"] = effort
    elif effort is not None or reasoning.mode == "disabled":
        drops.add(reasoning.at)
    if reasoning.summary is not None and call.api == "responses":
        drops.add("reasoning.summary")


def effort_of(reasoning: Reasoning) -> str | None:
    """The effort as given, else what the budget comes to. Who turns thinking off or leaves it to the model without
    naming an effort gets no field: not every model knows ``none``."""
    if reasoning.effort is not None:
        return reasoning.effort
    if reasoning.mode != "enabled" or reasoning.budget is None:
        return None
    return next((effort for most, effort in EFFORT_OF_BUDGET if reasoning.budget <= most), "xhigh")


def _write_settings(call: Call, to: Recipient, body: dict[str, Any], drops: Drops) -> None:
    """The settings of ``_OWN``."""
    controls = call.controls
    if (limit := controls.get("max_tokens")) is not None:
        body[to.quirks.max_tokens_field] = _limit(limit)
    if (n := controls.get("n")) is not None and n.value != 1:
        raise invalid(f"{n.at} must be 1: this model's provider is asked through a translation of one choice", n.at)
    if (stop := controls.get("stop")) is not None and stop.value:
        body["stop"] = stop.value
    if (tier := controls.get("service_tier")) is not None:
        if call.api == "chat" or tier.value in SERVICE_TIERS:
            body["service_tier"] = tier.value
        else:
            drops.add(tier.at)
    if (modalities := controls.get("modalities")) is not None and modalities.value != ["text"]:
        drops.add(modalities.at)
    drops.add(*(controls[name].at for name in _UNREADABLE if name in controls and controls[name].value))


def _limit(limit: Control) -> int:
    """A limit of 0 asks Messages to warm its cache only; a paid answer is no substitute."""
    if limit.value == 0:
        raise invalid(f"{limit.at} must be at least 1: this model's provider cannot warm a cache alone", limit.at)
    return int(limit.value)
