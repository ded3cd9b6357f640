"""Readers of a Responses request's tools, tool choice, reasoning, format and scalar settings."""

from collections.abc import Iterator
from typing import Any

from providers.neutral.fields import Drops, Fields
from providers.neutral.parameters import read_parameters
from providers.neutral.request import Format, NativeTool, Parameter, Reasoning, Tool, ToolChoice
from providers.responses.tools import SEARCH, flat_name, is_client_search
from streams.errors import invalid

CHOICE_MODES = ("auto", "none", "required")

ENCRYPTED = "reasoning.encrypted_content"
LOGPROBS = "message.output_text.logprobs"
SOURCES = "web_search_call.action.sources"


# Tools


def read_tools(fields: Fields, drops: Drops) -> Iterator[Tool | NativeTool]:
    for tool in fields.objects("tools"):
        type = tool.need("type", str)
        if type in ("function", "custom"):
            yield _read_tool(tool, type == "custom")
        elif type == "namespace":
            yield from _read_namespace(tool, drops)
        elif is_client_search(tool.data):
            yield _read_search(tool, drops)
        else:
            yield NativeTool("responses", type, tool.data, tool.at)


def _read_search(fields: Fields, drops: Drops) -> Tool:
    """Return the search for tools that the client runs, as a function for other APIs (vllm-project/agentic-api#140)."""
    fields.ignore("execution")
    description, schema = fields.string("description"), fields.value("parameters")
    drops.add_unread(fields)
    return Tool(SEARCH, description, schema, at=fields.at, native=fields.data)


def _read_namespace(fields: Fields, drops: Drops) -> Iterator[Tool]:
    """Yield the tools of a namespace. Its description is added to each of them, because no other API has namespaces."""
    namespace, about = fields.need("name", str), fields.string("description")
    for tool in fields.objects("tools"):
        type = tool.need("type", str)
        if type in ("function", "custom"):
            yield _read_tool(tool, type == "custom", namespace, about)
        else:
            drops.add(tool.at)
    drops.add_unread(fields)


def _read_tool(fields: Fields, custom: bool, namespace: str | None = None, about: str | None = None) -> Tool:
    """Return a tool of the client's own. Members of this API only become marks."""
    description = fields.string("description")
    return Tool(
        name=flat_name(namespace, fields.need("name", str)),
        description="\n\n".join(filter(None, (description, about))) if about else description,
        schema=None if custom else fields.value("parameters"),
        kind="custom" if custom else "function",
        strict=None if custom else fields.boolean("strict"),
        format=fields.value("format") if custom else None,
        at=fields.at,
        marks={(name := path.removeprefix(f"{fields.at}.")): fields.data[name] for path in fields.unread()},
    )


def read_tool_choice(fields: Fields, drops: Drops) -> ToolChoice | None:
    value = fields.value("tool_choice")
    if value is None:
        return None
    if isinstance(value, str):
        if value not in CHOICE_MODES:
            raise invalid(f"tool_choice {value!r} is not known: use {', '.join(CHOICE_MODES)}", "tool_choice")
        return ToolChoice(value, at="tool_choice")  # type: ignore[arg-type]  # one of CHOICE_MODES
    choice = Fields.of(value, "tool_choice")
    match choice.need("type", str):
        case "function" | "custom" as kind:
            name = flat_name(choice.string("namespace"), choice.need("name", str))
            drops.add_unread(choice)
            return ToolChoice("tool", name, kind, at=choice.at)
        case "allowed_tools":
            return _read_allowed_choice(choice, drops)
        case _:  # a hosted tool, which only its own API can force
            drops.add(choice.at)
            return ToolChoice("auto", at=choice.at, hosted=(choice.data,))


def _read_allowed_choice(choice: Fields, drops: Drops) -> ToolChoice:
    mode = choice.string("mode") or "auto"
    if mode not in ("auto", "required"):
        raise invalid(f"{choice.path('mode')} must be auto or required", choice.path("mode"))
    names, hosted = [], []
    for tool in choice.objects("tools"):
        if tool.string("type") in ("function", "custom", None):
            names.append(flat_name(tool.string("namespace"), tool.need("name", str)))
            drops.add_unread(tool)
        else:
            drops.add(tool.at)
            hosted.append(tool.data)
    drops.add_unread(choice)
    return ToolChoice(mode, allowed=tuple(names), at=choice.at, hosted=tuple(hosted))  # type: ignore[arg-type]  # checked above


# Settings


def read_settings(fields: Fields) -> dict[str, Parameter]:
    """Return the scalar settings.

    ``include`` loses three values: encrypted reasoning and the sources of searches, which every answer has, and log
    probabilities, which become ``logprobs``.
    """
    parameters = read_parameters(fields, "responses")
    include = parameters.pop("include", None)
    asked: list[Any] = [] if include is None else include.value
    if rest := [what for what in asked if what not in (ENCRYPTED, LOGPROBS, SOURCES)]:
        parameters["include"] = Parameter(rest, "include")
    if LOGPROBS in asked:
        parameters["logprobs"] = Parameter(True, "include")
    elif (top := parameters.get("top_logprobs")) is not None and top.value:
        parameters["logprobs"] = Parameter(True, top.at)
    return parameters


def read_reasoning(fields: Fields, drops: Drops) -> Reasoning | None:
    reasoning = fields.object("reasoning")
    if reasoning is None:
        return None
    effort, old = reasoning.string("effort"), reasoning.string("generate_summary")
    value = reasoning.string("summary") or old
    summary = Parameter(value, reasoning.path("summary")) if value else None
    drops.add_unread(reasoning)
    if effort is None and summary is None:
        return None
    if effort is None:  # only the visibility of reasoning; the model decides whether to reason
        return Reasoning("adaptive", summary=summary, at=reasoning.at)
    return Reasoning("disabled" if effort == "none" else "enabled", effort, None, summary, reasoning.at)


def read_format(text: Fields, drops: Drops) -> Format | None:
    fields = text.object("format")
    if fields is None:
        return None
    type = fields.need("type", str)
    if type in ("text", "json_object"):
        drops.add_unread(fields)
        return None if type == "text" else Format("json_object", at=fields.at)
    if type != "json_schema":
        raise invalid(f"{fields.path('type')} {type!r} is not known: use text, json_object or json_schema", fields.at)
    format = Format(
        "json_schema",
        fields.string("name"),
        fields.need("schema", dict),
        fields.boolean("strict"),
        fields.string("description"),
        fields.at,
    )
    drops.add_unread(fields)
    return format
