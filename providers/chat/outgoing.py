"""Writer of a ``Request`` as a Chat Completions request.

``parts`` writes the parts of messages, ``settings`` the settings that need more than a renaming. Source: the parameter
types of the openai package (``openai/types/chat/completion_create_params.py``).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, assert_never

import msgspec

from providers.catalog.strict import fits_strict, provider_strict
from providers.chat.parts import (
    PartsTarget,
    complete_reasoning,
    move_extras,
    numbered_images,
    sends_custom_tools,
    simplify_content,
    write_call,
    write_content,
    write_made_images,
    write_reasoning,
    write_result,
    write_result_media,
)
from providers.chat.settings import HANDLED, write_settings
from providers.neutral import tool_names
from providers.neutral.codec import Outgoing, Recipient
from providers.neutral.draft import losses_of
from providers.neutral.fields import Drops, join_path
from providers.neutral.parameters import drop_moderation, write_parameters
from providers.neutral.quirks import Quirks
from providers.neutral.request import (
    AudioPart,
    FilePart,
    Format,
    ImagePart,
    Message,
    NativePart,
    NativeTool,
    Part,
    ReasoningPart,
    RefusalPart,
    Request,
    TextPart,
    Tool,
    ToolCallPart,
    ToolChoice,
    ToolResultPart,
)
from providers.neutral.search_tools import is_search, write_search
from streams.errors import invalid
from streams.events import Api, ToolKind


def write_messages(request: Request, to: Recipient, drops: Drops) -> list[dict[str, Any]]:
    """Return the messages.

    Adds the paths of parts that Chat cannot express to ``drops``; raises a 400 for a part that must not be dropped.
    """
    target = PartsTarget.of(request, to, drops)
    messages: list[dict[str, Any]] = []
    for assistant, others in _split_rounds(request.messages):
        messages.extend(_write_round(target, assistant, others))
    if to.quirks.reasoning_replay == "every_message":
        complete_reasoning(messages, to.quirks.reasoning_field)
    return messages


def _split_rounds(messages: Iterable[Message]) -> Iterator[tuple[list[Message], list[Message]]]:
    """Yield rounds: consecutive messages of the assistant, and the others up to its next message."""
    assistant: list[Message] = []
    others: list[Message] = []
    for message in messages:
        if message.role != "assistant":
            others.append(message)
        else:
            if others:
                yield assistant, others
                assistant, others = [], []
            assistant.append(message)
    yield assistant, others


def _write_round(to: PartsTarget, assistant: Sequence[Message], others: Sequence[Message]) -> Iterator[dict[str, Any]]:
    """Yield the messages of a round; results directly follow their calls, in the same order
    (diegosouzapw/OmniRoute#4882)."""
    parts = [part for message in assistant for part in message.parts]
    name = next((message.name for message in assistant if message.name), None)
    yield from _write_assistant(to, parts, name)
    place = {part.id: i for i, part in enumerate(p for p in parts if isinstance(p, ToolCallPart))}
    found = [part for message in others for part in message.parts if isinstance(part, ToolResultPart)]
    found.sort(key=lambda part: place.get(part.call_id, len(place)))
    for part in found:
        yield write_result(to, part)
    if media := [piece for part in found for piece in write_result_media(to, part)]:
        yield {"role": "user", "content": media}
    for message in others:
        yield from _write_message(to, message)


def _write_message(to: PartsTarget, message: Message) -> Iterator[dict[str, Any]]:
    """Yield a user or instruction message without the results in it."""
    role: str = message.role
    if role == "developer" and not to.quirks.developer_role:
        role = "system"
    pieces = [piece for part in message.parts for piece in write_content(to, part, message.role)]
    if pieces:
        yield {
            "role": role,
            "content": simplify_content(to, pieces, role),
            **({"name": message.name} if message.name else {}),
        }


def _write_assistant(to: PartsTarget, parts: Sequence[Part], name: str | None) -> Iterator[dict[str, Any]]:
    pieces: list[dict[str, Any]] = []
    refusals: list[str] = []
    calls: list[dict[str, Any]] = []
    images: list[dict[str, Any]] = []
    reasoning_parts: list[ReasoningPart] = []
    for part in parts:
        match part:
            case TextPart():
                pieces.extend(write_content(to, part, "assistant"))
            case RefusalPart(text=text):
                refusals.append(text)
            case ToolCallPart():
                calls.append(write_call(to, part))
            case ReasoningPart():
                reasoning_parts.append(part)
            case NativePart() | ImagePart():
                images += write_made_images(to, part)
            case FilePart() | AudioPart() | ToolResultPart():
                raise invalid(f"{part.at} is not supported in an assistant message for this model", part.at)
            case _:
                assert_never(part)
    if not (pieces or refusals or calls or images):
        places = (place for part in reasoning_parts for place in part.places)
        to.drops.add(*places)  # providers reject a message with reasoning only
        return
    message: dict[str, Any] = {"role": "assistant"}
    if name:
        message["name"] = name
    reasoning = write_reasoning(to, reasoning_parts)
    move_extras(to, reasoning, calls)
    pieces = reasoning.pop("content", []) + pieces
    message |= {"content": simplify_content(to, pieces, "assistant") if pieces else None}
    if refusals:
        message["refusal"] = "".join(refusals)
    message |= reasoning | numbered_images(images)
    if calls:
        message["tool_calls"] = calls
    yield message


def write_request(request: Request, to: Recipient) -> Outgoing:
    """Return the provider's request. See ``providers.neutral.codec.Codec.write_request``."""
    drops = Drops(request.dropped)
    body: dict[str, Any] = {"model": to.model, "messages": write_messages(request, to, drops)}
    _write_tools(request, to.quirks, body, drops)
    if request.format is not None:
        body["response_format"] = _write_format(request.format, infer_strict=request.api == "messages")
    write_settings(request, to, body, drops)
    write_parameters(request, "chat", body, drops, HANDLED)
    if request.stream:
        body["stream"] = True
        if to.quirks.stream_usage:
            body["stream_options"] = {"include_usage": True}
    drop_moderation(body, to.quirks.refused_fields, to.known.moderation, drops)
    drops.remove_members(body, to.quirks.refused_fields)
    return Outgoing(msgspec.json.encode(body), edits=losses_of(drops.paths(), "translation"))


def _write_tools(request: Request, quirks: Quirks, body: dict[str, Any], drops: Drops) -> None:
    """Write tools, tool choice and parallel calls; OpenAI rejects the latter two without tools."""
    custom, search = sends_custom_tools(request.api), write_search(request, quirks, "chat", drops)
    written_tools = (tool for tool in request.tools if search is None or not is_search(tool))
    tools = [item for tool in written_tools if (item := _write_tool(tool, request.api, custom, drops)) is not None]
    if search is not None and search[0] == "openrouter":
        tools.append(dict(search[1]))
    elif search is not None:
        body |= search[1]
    if tools:
        body["tools"] = tools
    choice = request.tool_choice
    kinds: dict[str, ToolKind] = {
        tool.name: tool.kind if custom else "function" for tool in request.tools if isinstance(tool, Tool)
    }
    written = None if choice is None else _write_tool_choice(choice, kinds)
    if tools and written is not None:
        body["tool_choice"] = written
    elif (
        choice is not None and request.has_tools and (choice.mode in ("required", "tool") or choice.allowed is not None)
    ):
        drops.add(choice.at)  # the tools that it refers to are not offered
    if tools and request.parallel_tools is not None:
        body["parallel_tool_calls"] = request.parallel_tools.value


def _write_tool(tool: Tool | NativeTool, api: Api, custom: bool, drops: Drops) -> dict[str, Any] | None:
    if isinstance(tool, NativeTool):
        if tool.api == "chat":
            return dict(tool.item)
        drops.add(*tool.dropped_places)
        return None
    drops.add(*(join_path(tool.at, mark) for mark in tool.marks))
    definition: dict[str, Any] = {"name": tool.name}
    if tool.description is not None:
        definition["description"] = tool.description
    if tool.kind == "custom" and custom:
        return _write_custom_tool(tool, definition)
    if tool.kind == "custom":
        if (description := tool_names.function_description(tool, drops)) is not None:
            definition["description"] = description
        definition["parameters"] = tool_names.SCHEMA
    else:
        definition["parameters"] = {"type": "object", "properties": {}} if tool.schema is None else tool.schema
        if (strict := provider_strict(tool, api, drops)) is not None:
            definition["strict"] = strict
    return {"type": "function", "function": definition}


def _write_custom_tool(tool: Tool, definition: dict[str, Any]) -> dict[str, Any]:
    """Return a custom tool; Chat nests a grammar one level deeper than Responses."""
    format = tool.format
    if isinstance(format, dict) and format.get("type") == "grammar" and "grammar" not in format:
        grammar = {name: value for name, value in format.items() if name != "type"}
        format = {"type": "grammar", "grammar": grammar}
    return {"type": "custom", "custom": definition if format is None else {**definition, "format": format}}


def _write_tool_choice(choice: ToolChoice, kinds: Mapping[str, ToolKind]) -> Any:
    """Return the choice, or None if its tool is missing. ``kinds`` are the written tools by name."""
    if choice.allowed is not None and choice.mode != "none":
        tools = [_tool_reference(kinds[name], name) for name in choice.allowed if name in kinds]
        mode = "required" if choice.mode == "required" else "auto"
        return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": tools}} if tools else None
    match choice.mode:
        case "auto" | "none" | "required":
            return choice.mode
        case "tool":
            name = choice.name or ""
            return _tool_reference(kinds[name], name) if name in kinds else None
        case _:
            assert_never(choice.mode)


def _tool_reference(kind: str, name: str) -> dict[str, Any]:
    return {"type": kind, kind: {"name": name}}


def _write_format(format: Format, infer_strict: bool) -> dict[str, Any]:
    """Return ``response_format``.

    ``infer_strict``: the client's API has neither a name nor ``strict``, so ``strict`` follows from the schema.
    """
    if format.kind == "json_object":
        return {"type": "json_object"}
    strict = format.strict
    if strict is None and infer_strict and fits_strict(format.schema):
        strict = True
    definition = {
        "name": format.name or "output",  # required here, absent in Messages
        "description": format.description,
        "schema": format.schema,
        "strict": strict,
    }
    return {
        "type": "json_schema",
        "json_schema": {name: value for name, value in definition.items() if value is not None},
    }
