"""A ``Call`` written as the request of a Messages provider, whichever API its client speaks."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from providers.call import NO_MARKS, Call, Format, NativeTool, Reasoning, Tool, ToolChoice
from providers.codec import Outgoing, Recipient
from providers.controls import BY_NAME, write_controls
from providers.fields import Drops, join
from providers.messages.blocks import Block, Breakpoints, Prompt, cache_control, plain
from providers.messages.incoming import TOOL_MARKS
from providers.quirks import Quirks

NO_SAMPLING_SINCE = "2026-10-21"  # the version of the API from which temperature, top_p and top_k are a 400
MIN_BUDGET = 1024
DEFAULT_EFFORT = "high"  # what the API itself takes when it is told to think and not how much

# Effort to tokens of thinking for models that want a budget, and to the levels of those that decide themselves.
BUDGETS: Mapping[str, int] = {
    "minimal": 2048, "low": 2048, "medium": 8192, "high": 16384, "xhigh": 32768, "max": 32768,
}  # fmt: skip
LEVELS: Mapping[str, str] = {"minimal": "low"}
EFFORT_OF_BUDGET = ((2048, "low"), (8192, "medium"), (24000, "high"))

_CHOICES: Mapping[str, str] = {"auto": "auto", "none": "none", "required": "any", "tool": "tool"}
_SAMPLING = ("temperature", "top_p", "top_k")
_OWN = (*_SAMPLING, "max_tokens", "stop", "user", "safety_identifier", "service_tier", "prompt_cache_options")

_CUSTOM_SCHEMA = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}
_JSON_HINT = "Answer with a single JSON object and nothing else: no explanation and no code fence."
# Who may be told to a provider as a pseudonym only: an address or a number names a person.
_PERSONAL = re.compile(r"[^@\s]+@[^@\s]+\.\w+|\+?[\d\s().-]{7,20}")


def write_request(call: Call, to: Recipient) -> Outgoing:
    """Raises ``GatewayError`` (400) for what a Messages provider cannot honour and must not be left out."""
    drops = Drops(call.dropped)
    breakpoints = Breakpoints()
    tools = _tools(call, drops, breakpoints)
    prompt = Prompt(call, to.issuer, drops, breakpoints)
    prompt.write()
    breakpoints.limit(drops)
    if call.format is not None and call.format.kind == "json_object":
        prompt.system.append({"type": "text", "text": _JSON_HINT})
        drops.add(call.format.at)

    body: dict[str, Any] = {"model": to.model, "max_tokens": _max_tokens(call, to.quirks)}
    if prompt.system:
        body["system"] = plain(prompt.system)
    body["messages"] = prompt.messages
    if tools:
        body["tools"] = tools
    if choice := _tool_choice(call, tools, drops):
        body["tool_choice"] = choice
    _write_reasoning(call, to.quirks, body, drops)
    if call.format is not None and call.format.kind == "json_schema":
        body.setdefault("output_config", {})["format"] = _format(call.format)
    _write_settings(call, to.quirks, body, drops)
    if call.stream:
        body["stream"] = True
    for name in to.quirks.refused_fields:
        if body.pop(name, None) is not None:
            drops.add(name)
    headers = (("anthropic-version", to.quirks.anthropic_version),)
    return Outgoing(msgspec.json.encode(body), headers, drops.paths())


def _max_tokens(call: Call, quirks: Quirks) -> int:
    options = call.controls.get("prompt_cache_options")
    if options is not None and options.value.get("prewarm"):
        return 0  # both mean: fill the cache and answer nothing
    limit = call.controls.get("max_tokens")
    return quirks.default_max_tokens if limit is None else int(limit.value)


# Tools


def _tools(call: Call, drops: Drops, breakpoints: Breakpoints) -> list[Block]:
    allowed = call.tool_choice.allowed if call.tool_choice is not None else None
    tools: list[Block] = []
    for tool in call.tools:
        if isinstance(tool, NativeTool):
            if tool.api == "messages":
                tools.append(tool.item)
            else:
                drops.add(tool.at)
        elif allowed is None or tool.name in allowed:
            tools.append(_tool(tool, drops, breakpoints))
    return tools


def _tool(tool: Tool, drops: Drops, breakpoints: Breakpoints) -> Block:
    block: Block = {"name": tool.name}
    if description := _description(tool, drops):
        block["description"] = description
    block["input_schema"] = _CUSTOM_SCHEMA if tool.kind == "custom" else _schema(tool.schema)
    if tool.strict:
        block["strict"] = True
    for name, value in (tool.marks or NO_MARKS).items():
        if (control := cache_control(name, value)) is not None:
            breakpoints.put(block, control, tool.at)
        elif name in TOOL_MARKS:
            block[name] = value
        else:
            drops.add(join(tool.at, name))
    return block


def _schema(schema: Any) -> Any:
    if not isinstance(schema, dict):
        return {"type": "object", "properties": {}}
    return schema if "type" in schema else {"type": "object", **schema}


def _description(tool: Tool, drops: Drops) -> str | None:
    """A custom tool's grammar is told in words: nothing enforces it here, so it is reported too."""
    if tool.kind != "custom" or not isinstance(tool.format, dict) or tool.format.get("type") != "grammar":
        return tool.description
    drops.add(join(tool.at, "format"))
    grammar = tool.format.get("grammar")
    grammar = grammar if isinstance(grammar, dict) else tool.format  # Chat nests what Responses does not
    syntax, definition = grammar.get("syntax"), grammar.get("definition")
    return f"{tool.description or ''}\n\nThe input must follow this {syntax} grammar:\n{definition}".strip()


def _tool_choice(call: Call, tools: list[Block], drops: Drops) -> Block | None:
    choice, parallel = call.tool_choice, call.parallel_tools
    serial = parallel is not None and parallel.value is False
    if not tools or (choice is None and not serial):
        return None
    choice = choice or ToolChoice("auto")
    if choice.mode == "tool" and not any(tool.get("name") == choice.name for tool in tools):
        drops.add(choice.at)  # a server-side tool of another API, gone with its definition
        choice = ToolChoice("auto")
    block: Block = {"type": _CHOICES[choice.mode]}
    if choice.mode == "tool":
        block["name"] = choice.name
    if serial and choice.mode != "none":
        block["disable_parallel_tool_use"] = True
    return block


# Reasoning


def _write_reasoning(call: Call, quirks: Quirks, body: dict[str, Any], drops: Drops) -> None:
    reasoning = call.reasoning
    if reasoning is None:
        return
    if reasoning.mode == "disabled" or reasoning.effort == "none":
        if call.api == "messages":
            body["thinking"] = {"type": "disabled"}
        return
    if body["max_tokens"] == 0:
        return  # nothing is said, so nothing is thought
    if body.get("tool_choice", {}).get("type") in ("any", "tool"):
        # "Thinking may not be enabled when tool_choice forces tool use": a missing call breaks programs, missing
        # thoughts do not (pydantic/pydantic-ai#6957).
        drops.add(reasoning.at)
    elif quirks.adaptive_thinking:
        body["thinking"] = _shown({"type": "adaptive"}, reasoning)
        if effort := _effort(reasoning):
            body["output_config"] = {"effort": effort}
    elif _acts_unthinking(body["messages"]):
        drops.add(reasoning.at)
    else:
        budget = _budget(reasoning)
        if body["max_tokens"] <= budget:  # the budget counts as output: leave what was meant for the answer
            body["max_tokens"] += budget
        body["thinking"] = _shown({"type": "enabled", "budget_tokens": budget}, reasoning)


def _shown(thinking: Block, reasoning: Reasoning) -> Block:
    return {**thinking, "display": "summarized"} if reasoning.summary else thinking


def _effort(reasoning: Reasoning) -> str | None:
    if reasoning.effort is not None:
        return LEVELS.get(reasoning.effort, reasoning.effort)
    if reasoning.budget is None:
        return None
    return next((effort for limit, effort in EFFORT_OF_BUDGET if reasoning.budget <= limit), "xhigh")


def _budget(reasoning: Reasoning) -> int:
    if reasoning.budget is not None:
        return max(reasoning.budget, MIN_BUDGET)
    return BUDGETS.get(reasoning.effort or DEFAULT_EFFORT, BUDGETS[DEFAULT_EFFORT])


def _acts_unthinking(messages: list[dict[str, Any]]) -> bool:
    """Whether the turn that goes on has called tools without a thinking block of its own: with a budget that is a 400
    ("Expected `thinking` or `redacted_thinking`, but found `tool_use`"). Clients of other APIs lose the blocks."""
    if len(messages) < 2 or messages[-1]["role"] != "user" or messages[-2]["role"] != "assistant":
        return False
    content = messages[-2]["content"]
    if not isinstance(content, list) or not any(block["type"] == "tool_use" for block in content):
        return False
    return content[0]["type"] not in ("thinking", "redacted_thinking")


# Settings


def _write_settings(call: Call, quirks: Quirks, body: dict[str, Any], drops: Drops) -> None:
    controls = call.controls
    write_controls(call, "messages", body, drops, skip=_OWN)
    options = controls.get("prompt_cache_options")
    if options is not None and not options.value.get("prewarm"):
        drops.add(options.at)
    tier = controls.get("service_tier")
    if tier is not None and tier.value != "auto":  # the other tiers are each vendor's own
        drops.add(tier.at)
    _write_user(call, body, drops)
    _write_stop(call, body, drops)
    _write_sampling(call, quirks, body, drops)


def _write_user(call: Call, body: dict[str, Any], drops: Drops) -> None:
    for name in ("user", "safety_identifier"):
        control = call.controls.get(name)
        if control is None:
            continue
        if "metadata" in body or _PERSONAL.fullmatch(control.value):
            drops.add(control.at)
        else:
            body["metadata"] = {"user_id": control.value}


def _write_stop(call: Call, body: dict[str, Any], drops: Drops) -> None:
    control = call.controls.get("stop")
    if control is None:
        return
    stops = [text for text in control.value if isinstance(text, str) and text.strip()]  # white space alone is a 400
    if stops:
        body["stop_sequences"] = stops
    if len(stops) < len(control.value):
        drops.add(control.at)


def _write_sampling(call: Call, quirks: Quirks, body: dict[str, Any], drops: Drops) -> None:
    thinks = body.get("thinking", {}).get("type") in ("enabled", "adaptive")
    none = thinks or quirks.anthropic_version >= NO_SAMPLING_SINCE
    for name in _SAMPLING:
        control = call.controls.get(name)
        if control is None:
            continue
        # Newer models refuse temperature and top_p together.
        if none or (name == "top_p" and "temperature" in body):
            if control.value != BY_NAME[name].default:
                drops.add(control.at)
        elif name == "temperature" and control.value > 1:
            body[name] = 1
            drops.add(control.at)
        else:
            body[name] = control.value


def _format(format: Format) -> Block:
    return {"type": "json_schema", "schema": _closed(format.schema if format.schema is not None else {})}


_SCHEMAS = ("items", "not")
_SCHEMA_LISTS = ("anyOf", "allOf", "oneOf", "prefixItems")
_SCHEMA_MAPS = ("properties", "$defs", "definitions")


def _closed(schema: Any) -> Any:
    """``schema`` with ``additionalProperties: false`` in every object that says nothing of it, which the API wants."""
    if not isinstance(schema, dict):
        return schema
    closed = dict(schema)
    for name in _SCHEMAS:
        if name in closed:
            closed[name] = _closed(closed[name])
    for name in _SCHEMA_LISTS:
        if isinstance(closed.get(name), list):
            closed[name] = [_closed(item) for item in closed[name]]
    for name in _SCHEMA_MAPS:
        if isinstance(closed.get(name), dict):
            closed[name] = {key: _closed(value) for key, value in closed[name].items()}
    if closed.get("type") == "object":
        closed.setdefault("additionalProperties", False)
    return closed
