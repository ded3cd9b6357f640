"""A ``Call`` as the body of a Responses request, whichever API its client speaks.

Ids are sent only with items that the provider itself made: an id that it does not know is an error there
(Kilo-Org/kilocode#10197), and items without one are fine.
"""

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias, assert_never

import msgspec

from providers.call import (
    AudioPart,
    Call,
    CallPart,
    FilePart,
    Format,
    ImagePart,
    NativePart,
    NativeTool,
    Part,
    Reasoning,
    RefusalPart,
    ResultPart,
    Source,
    TextPart,
    ThinkingPart,
    Tool,
    ToolChoice,
    Turn,
)
from providers.codec import Outgoing, Recipient
from providers.controls import write_controls
from providers.fields import Drops
from providers.seal import Issuer, Seal
from streams.errors import invalid
from streams.events import ToolKind

Object: TypeAlias = dict[str, Any]

MINIMUM_TOKENS = 16  # the least that `max_output_tokens` may be
EFFORT_OF_BUDGET: tuple[tuple[int, str], ...] = ((2048, "low"), (8192, "medium"), (24000, "high"))
NO_SCHEMA: Mapping[str, Any] = {"type": "object", "properties": {}}
NEED_FILENAME: Mapping[str | None, str] = {"application/pdf": "document.pdf", "text/plain": "document.txt"}
CARRIED_MARKS = ("prompt_cache_breakpoint",)
ENCRYPTED = "reasoning.encrypted_content"
OUTPUT_TYPE: Mapping[ToolKind, str] = {"function": "function_call_output", "custom": "custom_tool_call_output"}

# Settings that are not one scalar here, or whose effect could not be told to the client.
BY_HAND = ("max_tokens", "verbosity", "service_tier", "store", "include", "top_logprobs")
FOREIGN_TIERS = ("standard_only",)  # Messages' words without a twin


def write_request(call: Call, to: Recipient) -> Outgoing:
    """Raises a 400 ``GatewayError`` for what the provider cannot honour and must not be left out."""
    drops = Drops(call.dropped)
    instructions, turns = _instructions(call, drops)
    body: Object = {"model": to.model}
    if instructions is not None:
        body["instructions"] = instructions
    items = _Items(call, to.issuer, drops).write(turns)
    if items or not any(name in call.controls for name in ("previous_response_id", "conversation", "prompt")):
        body["input"] = items
    _write_tools(call, body, drops)
    _write_settings(call, body, drops)
    body["stream"] = call.stream
    for name in to.quirks.refused_fields:
        if body.pop(name, None) is not None:
            drops.add(name)
    return Outgoing(msgspec.json.encode(body), dropped=drops.paths())


def _instructions(call: Call, drops: Drops) -> tuple[str | None, tuple[Turn, ...]]:
    """What goes into ``instructions``, and the turns that are left: the texts with which a Chat or Messages client
    begins, and of a Responses client only what it had there."""
    count = 0
    for turn in call.turns:
        plain = turn.role == "system" and all(isinstance(part, TextPart) for part in turn.parts)
        if not plain or (call.api == "responses" and turn.at != "instructions"):
            break
        count += 1
    texts = []
    for turn in call.turns[:count]:
        if turn.name is not None:
            drops.add(f"{turn.at}.name")
        for part in turn.parts:
            if isinstance(part, TextPart) and part.text:
                texts.append(part.text)
                drops.add(*(f"{part.at}.{mark}" for mark in part.marks))
    return "\n\n".join(texts) or None, call.turns[count:]


# Input


class _Items:
    """The items of ``input``, each with the path it came from."""

    def __init__(self, call: Call, issuer: Issuer, drops: Drops) -> None:
        self._native = call.api == "responses"
        self._issuer = issuer
        self._drops = drops
        self._kinds = {part.id: part.kind for turn in call.turns for part in turn.parts if isinstance(part, CallPart)}
        self._items: list[tuple[Object, str]] = []
        self._content: list[Object] = []  # of the message that is being written
        self._phase: Any = None

    def write(self, turns: Iterable[Turn]) -> list[Object]:
        for turn in turns:
            if turn.name is not None:
                self._drops.add(f"{turn.at}.name")
            for part in turn.parts:
                self._part(part, turn)
            self._end_message(turn)
        return self._without_lone_reasoning()

    def _part(self, part: Part, turn: Turn) -> None:
        match part:
            case TextPart() | ImagePart() | FilePart() | AudioPart() | RefusalPart():
                self._content.extend(self._content_part(part, turn.role == "assistant"))
            case CallPart():
                self._item(_call(part), part.at, turn)
                self._marks(part.marks, part.at)
            case ResultPart():
                self._item(self._result(part), part.at, turn)
                self._marks(part.marks, part.at)
            case ThinkingPart():
                self._thinking(part, turn)
            case NativePart(api=api, item=item):
                if api == "responses" and self._native:
                    self._item(item, part.at, turn)
                else:
                    self._drops.add(part.at)
            case _:
                assert_never(part)

    def _item(self, item: Object, at: str, turn: Turn) -> None:
        self._end_message(turn)
        self._items.append((item, at))

    def _end_message(self, turn: Turn) -> None:
        if not self._content:
            return
        message: Object = {"type": "message", "role": turn.role, "content": self._content}
        if self._phase is not None:
            message["phase"] = self._phase
        self._items.append((message, turn.at))
        self._content, self._phase = [], None

    def _content_part(self, part: Part, assistant: bool) -> list[Object]:
        """The part as this API has it; empty texts are left out."""
        if isinstance(part, TextPart):
            if not part.text:
                return []
            if not assistant:
                return [{"type": "input_text", "text": part.text, **self._marks(part.marks, part.at)}]
            marks = dict(part.marks)
            phase = marks.pop("phase", None)
            self._phase = self._phase or phase
            self._marks(marks, part.at, carried=())
            return [{"type": "output_text", "text": part.text, "annotations": []}]
        if isinstance(part, RefusalPart) and assistant:
            return [{"type": "refusal", "refusal": part.text}] if part.text else []
        if isinstance(part, ImagePart | FilePart) and not assistant:
            return [{**self._media(part), **self._marks(part.marks, part.at)}]
        at = part.at
        raise invalid(f"{at} cannot be sent to this model's provider: it takes no such content here", at)

    def _media(self, part: ImagePart | FilePart) -> Object:
        source = part.source
        if source.kind == "file_id" and not self._native:
            raise invalid(f"{part.at} names a file of another provider: send the data itself", part.at)
        if isinstance(part, ImagePart):
            return _image(source, part)
        return _file(source, part)

    def _marks(self, marks: Mapping[str, Any], at: str, carried: tuple[str, ...] = CARRIED_MARKS) -> Object:
        self._drops.add(*(f"{at}.{name}" for name in marks if name not in carried))
        return {name: value for name, value in marks.items() if name in carried}

    def _result(self, part: ResultPart) -> Object:
        kind = self._kinds.get(part.call_id, part.kind)
        return {"type": OUTPUT_TYPE[kind], "call_id": part.call_id, "output": self._output(part)}

    def _output(self, part: ResultPart) -> str | list[Object]:
        """A string where it is all text: not every server takes a list."""
        prefix = "Error: " if part.is_error else ""
        texts = [piece for piece in part.parts if isinstance(piece, TextPart)]
        if len(texts) == len(part.parts):
            for piece in texts:
                self._marks(piece.marks, piece.at, carried=())
            return prefix + "\n".join(piece.text for piece in texts)
        content = [each for piece in part.parts for each in self._content_part(piece, assistant=False)]
        return [{"type": "input_text", "text": prefix}, *content] if prefix else content

    def _thinking(self, part: ThinkingPart, turn: Turn) -> None:
        items = returned(part.seal, self._issuer) if part.seal is not None else []
        if part.seal is None and self._native and isinstance(part.native, dict):
            items = [part.native]
        for item in items:
            self._item(item, part.at, turn)
        if not items:
            self._drops.add(part.at)

    def _without_lone_reasoning(self) -> list[Object]:
        """OpenAI refuses a reasoning item that is not followed by what it led to (maximhq/bifrost#5892)."""
        kept: list[Object] = []
        for item, at in reversed(self._items):
            if item.get("type") == "reasoning" and not (kept and _is_said_by_model(kept[-1])):
                self._drops.add(at)
            else:
                kept.append(item)
        return kept[::-1]


def _is_said_by_model(item: Object) -> bool:
    if item.get("type") == "message":
        return item.get("role") == "assistant"
    return not str(item.get("type")).endswith("_output")


def returned(seal: Seal, issuer: Issuer) -> list[Object]:
    """The reasoning items in ``seal``, none unless ``issuer`` made them on this API. One seal may hold several."""
    if seal.issuer != issuer or seal.api != "responses":
        return []
    items = seal.item if isinstance(seal.item, list) else [seal.item]
    return [item for item in items if isinstance(item, dict)]


def _call(part: CallPart) -> Object:
    if part.kind == "custom":
        return {"type": "custom_tool_call", "call_id": part.id, "name": part.name, "input": part.input}
    return {"type": "function_call", "call_id": part.id, "name": part.name, "arguments": part.input or "{}"}


def _image(source: Source, part: ImagePart) -> Object:
    item: Object = {"type": "input_image", "detail": part.detail or "auto"}
    match source.kind:
        case "url":
            item["image_url"] = source.value
        case "base64":
            item["image_url"] = _data_url(source, "image/png")
        case "file_id":
            item["file_id"] = source.value
        case "text":
            raise invalid(f"{part.at} must be an image", part.at)
        case _:
            assert_never(source.kind)
    return item


def _file(source: Source, part: FilePart) -> Object:
    item: Object = {"type": "input_file"}
    match source.kind:
        case "text":
            return {"type": "input_text", "text": source.value}
        case "url":
            return item | {"file_url": source.value}
        case "file_id":
            return item | {"file_id": source.value}
        case "base64":
            name = part.filename or NEED_FILENAME.get(source.media_type, "document.pdf")
            return item | {"filename": name, "file_data": _data_url(source, "application/pdf")}
        case _:
            assert_never(source.kind)


def _data_url(source: Source, default: str) -> str:
    return f"data:{source.media_type or default};base64,{source.value}"


# Tools


def _write_tools(call: Call, body: Object, drops: Drops) -> None:
    """Without tools the members about them are left out: they would be refused."""
    tools = [item for tool in call.tools if (item := _tool(tool, call, drops)) is not None]
    if not tools:
        return
    body["tools"] = tools
    if call.tool_choice is not None:
        kinds = {tool.name: tool.kind for tool in call.tools if isinstance(tool, Tool)}
        body["tool_choice"] = _tool_choice(call.tool_choice, kinds)
    if call.parallel_tools is not None:
        body["parallel_tool_calls"] = call.parallel_tools.value


def _tool(tool: Tool | NativeTool, call: Call, drops: Drops) -> Object | None:
    if isinstance(tool, NativeTool):
        if tool.api == "responses":
            return dict(tool.item)
        drops.add(tool.at)
        return None
    item: Object = {"type": tool.kind, "name": tool.name}
    if tool.description is not None:
        item["description"] = tool.description
    if tool.kind == "custom":
        if tool.format is not None:
            item["format"] = tool.format
    else:
        item["parameters"] = NO_SCHEMA if tool.schema is None else tool.schema
        item["strict"] = bool(tool.strict)
    if call.api == "responses":
        return {**item, **tool.marks}
    drops.add(*(f"{tool.at}.{mark}" for mark in tool.marks))
    return item


def _tool_choice(choice: ToolChoice, kinds: Mapping[str, ToolKind]) -> str | Object:
    if choice.mode == "tool":
        return {"type": kinds.get(choice.name or "", choice.kind), "name": choice.name}
    if choice.allowed is None or choice.mode == "none":
        return choice.mode
    tools = [{"type": kinds.get(name, "function"), "name": name} for name in choice.allowed]
    return {"type": "allowed_tools", "mode": choice.mode, "tools": tools}


# Settings


def _write_settings(call: Call, body: Object, drops: Drops) -> None:
    write_controls(call, "responses", body, drops, skip=BY_HAND)
    controls = call.controls
    if (limit := controls.get("max_tokens")) is not None:
        if limit.value == 0:
            raise invalid(f"{limit.at}: this model's provider cannot warm its cache without an answer", limit.at)
        body["max_output_tokens"] = max(limit.value, MINIMUM_TOKENS)
    if (tier := controls.get("service_tier")) is not None:
        if tier.value in FOREIGN_TIERS:
            drops.add(tier.at)
        else:
            body["service_tier"] = tier.value
    if (logprobs := controls.get("top_logprobs")) is not None:
        drops.add(logprobs.at)  # the answer would have nowhere to hold them
    if call.reasoning is not None and (reasoning := _reasoning(call.reasoning)):
        body["reasoning"] = reasoning
    text = {} if call.format is None else {"format": _format(call.format)}
    if (verbosity := controls.get("verbosity")) is not None:
        text["verbosity"] = verbosity.value
    if text:
        body["text"] = text
    _write_state(call, body, drops)


def _write_state(call: Call, body: Object, drops: Drops) -> None:
    """What the provider keeps. For other APIs' clients nothing: they send the whole conversation each time, and
    reasoning then survives only as ``encrypted_content``."""
    store, include = call.controls.get("store"), call.controls.get("include")
    if call.api == "responses":
        body.update({name: control.value for name, control in (("store", store), ("include", include)) if control})
        return
    if store is not None and store.value:
        drops.add(store.at)
    body["store"] = False
    if call.reasoning is not None and call.reasoning.mode != "disabled":
        body["include"] = [ENCRYPTED]


def _reasoning(reasoning: Reasoning) -> Object:
    found: Object = {}
    if (effort := _effort(reasoning)) is not None:
        found["effort"] = effort
    if reasoning.summary is not None:
        found["summary"] = reasoning.summary
    return found


def _effort(reasoning: Reasoning) -> str | None:
    if reasoning.mode == "disabled":
        return "none"
    if reasoning.effort is not None or reasoning.budget is None:
        return reasoning.effort
    budget = reasoning.budget
    return next((effort for most, effort in EFFORT_OF_BUDGET if budget <= most), "xhigh")


def _format(format: Format) -> Object:
    if format.kind == "json_object":
        return {"type": "json_object"}
    item: Object = {"type": "json_schema", "name": format.name or "output", "schema": format.schema}
    if format.description is not None:
        item["description"] = format.description
    if format.strict is not None:
        item["strict"] = format.strict
    return item
