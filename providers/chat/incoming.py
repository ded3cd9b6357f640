"""Reader of a Chat Completions client's request into a ``Request``; ``history`` reads its messages.

Source: the parameter types of the openai package (``openai/types/chat``).
"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from providers.chat.history import read_marks, read_messages
from providers.neutral.fields import Drops, Fields, expect, join_path
from providers.neutral.parameters import read_parameters
from providers.neutral.request import Format, NativeTool, Parameter, Reasoning, Request, Tool, ToolChoice
from streams.errors import invalid


def read_request(body: Mapping[str, Any]) -> Request:
    """Return the client's request. See ``providers.neutral.codec.Codec.read_request``."""
    fields, drops = Fields(body), Drops()
    members: dict[str, Any] = {
        "model": fields.string("model") or "",
        "messages": read_messages(fields, drops),
        "stream": fields.boolean("stream") or False,
        "include_usage": _read_include_usage(fields, drops),
        "tools": tuple(_read_tools(fields, drops)),
        "tool_choice": _read_tool_choice(fields, drops),
        "parallel_tools": _read_parallel(fields),
        "reasoning": _read_reasoning(fields, drops),
        "format": _read_format(fields, drops),
        "parameters": _read_parameters(fields),
    }
    drops.add_unread(fields)
    return Request(api="chat", source=body, dropped=drops.paths(), **members)


def _read_include_usage(fields: Fields, drops: Drops) -> bool:
    options = fields.object("stream_options")
    if options is None:
        return False
    options.ignore("include_obfuscation")  # padding without effect
    include_usage = options.boolean("include_usage") or False
    drops.add_unread(options)
    return include_usage


def _read_parameters(fields: Fields) -> dict[str, Parameter]:
    """Return the settings; ``max_tokens`` is the older name of ``max_completion_tokens``, which wins."""
    older = fields.integer("max_tokens")
    parameters = read_parameters(fields, "chat")
    if older is not None:
        parameters.setdefault("max_tokens", Parameter(older, "max_tokens"))
    return parameters


def _read_parallel(fields: Fields) -> Parameter | None:
    """Return ``parallel_tool_calls``.

    It is false for clients of ``functions``, whose answers have space for one call only.
    """
    parallel = fields.boolean("parallel_tool_calls")
    if parallel is None and fields.data.get("functions") and not fields.data.get("tools"):
        return Parameter(False, "functions")
    return None if parallel is None else Parameter(parallel, "parallel_tool_calls")


def _read_tools(fields: Fields, drops: Drops) -> Iterator[Tool | NativeTool]:
    for tool in fields.objects("tools"):
        kind = tool.string("type") or ("custom" if "custom" in tool.data else "function")
        if kind in ("function", "custom"):
            yield _read_tool(tool, kind == "custom", drops)
        else:
            yield NativeTool("chat", kind, tool.data, tool.at)
    for tool in fields.objects("functions"):  # the older form of tools
        yield _read_tool(tool, False, drops)


def _read_tool(tool: Fields, custom: bool, drops: Drops) -> Tool:
    """Return a tool of the client's own; clients also send it flat, as in Responses (BerriAI/litellm#34029)."""
    inner = tool.object("custom" if custom else "function") or tool
    found = Tool(
        name=inner.need("name", str),
        description=inner.string("description"),
        schema=None if custom else inner.value("parameters"),
        kind="custom" if custom else "function",
        strict=None if custom else inner.boolean("strict"),
        format=_unwrap_grammar(inner.value("format")) if custom else None,
        at=tool.at,
        marks=read_marks(tool),
    )
    _drop_unread(tool, inner, drops)
    return found


def _drop_unread(outer: Fields, inner: Fields, drops: Drops) -> None:
    drops.add_unread(outer)
    if inner is not outer:
        drops.add_unread(inner)


def _unwrap_grammar(value: Any) -> Any:
    """Return a custom tool's format in the form of Responses; Chat nests a grammar one level deeper."""
    if isinstance(value, dict) and isinstance(grammar := value.get("grammar"), dict):
        return {name: one for name, one in value.items() if name != "grammar"} | {"type": "grammar", **grammar}
    return value


_MODES: Mapping[str, Literal["none", "auto", "required"]] = {
    "none": "none", "auto": "auto", "required": "required", "any": "required",  # `any` is Mistral's
}  # fmt: skip


def _read_tool_choice(fields: Fields, drops: Drops) -> ToolChoice | None:
    choice, at = fields.value("tool_choice"), fields.path("tool_choice")
    if choice is None:
        return _read_function_choice(fields, drops)
    if isinstance(choice, str):
        return _read_mode(choice, at)
    chosen = Fields.of(choice, at)
    kind = chosen.string("type") or "function"  # Hugging Face's client omits it
    if kind == "allowed_tools":
        return _read_allowed_choice(chosen, drops)
    if kind not in ("function", "custom"):
        raise invalid(f"{at}.type must be function, custom or allowed_tools, not {kind!r}", f"{at}.type")
    inner = chosen.object(kind) or chosen
    found = ToolChoice("tool", inner.need("name", str), "custom" if kind == "custom" else "function", at=at)
    _drop_unread(chosen, inner, drops)
    return found


def _read_mode(word: str, at: str) -> ToolChoice:
    if word not in _MODES:
        raise invalid(f"{at} must be none, auto, required or an object, not {word!r}", at)
    return ToolChoice(_MODES[word], at=at)


def _read_function_choice(fields: Fields, drops: Drops) -> ToolChoice | None:
    """Return the choice in ``function_call``, the older ``tool_choice``."""
    choice, at = fields.value("function_call"), fields.path("function_call")
    if choice is None:
        return None
    if isinstance(choice, str):
        return _read_mode(choice, at)
    chosen = Fields.of(choice, at)
    found = ToolChoice("tool", name=chosen.need("name", str), at=at)
    drops.add_unread(chosen)
    return found


def _read_allowed_choice(chosen: Fields, drops: Drops) -> ToolChoice:
    inner = chosen.object("allowed_tools") or chosen
    mode = _read_mode(inner.need("mode", str), inner.path("mode"))
    names = tuple(_read_allowed_name(tool, drops) for tool in inner.objects("tools"))
    _drop_unread(chosen, inner, drops)
    return ToolChoice(mode.mode, allowed=names, at=chosen.at)


def _read_allowed_name(tool: Fields, drops: Drops) -> str:
    kind = tool.string("type") or "function"
    inner = (tool.object(kind) if isinstance(tool.data.get(kind), dict) else tool) or tool
    name = inner.need("name", str)
    _drop_unread(tool, inner, drops)
    return name


def _read_reasoning(fields: Fields, drops: Drops) -> Reasoning | None:
    """Return the reasoning of ``reasoning_effort``, or else of OpenRouter's ``reasoning`` object."""
    effort = fields.string("reasoning_effort")
    if effort is not None:
        return _read_effort(effort, fields.path("reasoning_effort"))
    if not isinstance(fields.data.get("reasoning"), dict):
        return None
    member = Fields.of(fields.value("reasoning"), fields.path("reasoning"))
    effort, budget, enabled = member.string("effort"), member.integer("max_tokens"), member.boolean("enabled")
    drops.add_unread(member)
    if effort is not None:
        return _read_effort(effort, member.path("effort"))
    if budget is None and enabled is None:
        return None
    return Reasoning("disabled" if enabled is False else "enabled", budget=budget, at=member.at)


def _read_effort(effort: str, at: str) -> Reasoning:
    return Reasoning("disabled" if effort == "none" else "enabled", effort=effort, at=at)


def _read_format(fields: Fields, drops: Drops) -> Format | None:
    member = fields.object("response_format")
    if member is None:
        return None
    kind = member.need("type", str)
    if kind in ("text", "json_object"):
        drops.add_unread(member)
        return None if kind == "text" else Format("json_object", at=member.at)
    if kind != "json_schema":
        at = join_path(member.at, "type")
        raise invalid(f"{at} must be text, json_object or json_schema, not {kind!r}", at)
    inner = Fields.of(member.need("json_schema", dict), member.path("json_schema"))
    schema = inner.value("schema")
    found = Format(
        "json_schema",
        name=inner.string("name"),
        schema=None if schema is None else expect(schema, dict, inner.path("schema")),
        strict=inner.boolean("strict"),
        description=inner.string("description"),
        at=member.at,
    )
    _drop_unread(member, inner, drops)
    return found
