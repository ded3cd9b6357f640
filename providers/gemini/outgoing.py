"""Writer of a ``Request`` as the request for a Gemini provider: ``systemInstruction`` and ``contents``, and tools.

The API requires two roles, consecutive messages of a role in one content, all results of a turn in one content after
the calls (google-gemini/gemini-cli#5443), thought signatures on their original parts, and no empty text. Source:
Gemini's API reference; the rules cite public threads.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby, takewhile
from typing import Any, Final, assert_never

import attrs
import msgspec

from providers.gemini.media import GeminiPart, media_of, media_part, result_media, result_part
from providers.gemini.schemas import reduce_schema
from providers.gemini.settings import generation_config, is_enforced, is_own, own_fields
from providers.gemini.shared_members import GEMINI_TOOLS, gemini_location, gemini_tool
from providers.gemini.spellings import find_member
from providers.gemini.turns import ModelTurn
from providers.neutral import tool_names
from providers.neutral.codec import Outgoing, Recipient
from providers.neutral.draft import losses_of
from providers.neutral.fields import Drops, join_path
from providers.neutral.formats import with_format
from providers.neutral.made_images import turn_images
from providers.neutral.quirks import Quirks
from providers.neutral.request import (
    NO_MARKS,
    AudioPart,
    FilePart,
    ImagePart,
    Message,
    NativePart,
    NativeTool,
    Part,
    ReasoningPart,
    RefusalPart,
    Request,
    Role,
    TextPart,
    Tool,
    ToolCallPart,
    ToolChoice,
    ToolResultPart,
)
from providers.neutral.schemas import typed_root
from providers.neutral.search_tools import becomes_another, settings_of
from providers.neutral.texts import FIRST_TEXT, drop_marks, instruction_texts
from streams.errors import invalid

_INSTRUCTIONS: Final = ("system", "developer")
_FILE_NAMES: Final[Mapping[str, str]] = {"chat": "file.filename", "messages": "title", "converse": "document.name"}


def _begins_with_call(content: Mapping[str, Any]) -> bool:
    """Return whether ``content`` is a turn of calls, which the API rejects at the beginning, where clients have removed
    older turns (diegosouzapw/OmniRoute#13573, lbjlaq/Antigravity-Manager#3396)."""
    return content["role"] == "model" and any("functionCall" in part for part in content["parts"])


class Contents:
    """The written messages of one request; ``write`` fills ``system`` and ``contents``."""

    def __init__(self, request: Request, to: Recipient, drops: Drops) -> None:
        self.system: list[GeminiPart] = []
        self.contents: list[dict[str, Any]] = []
        self._request = request
        self._to = to
        self._drops = drops
        self._names: dict[str, str] = {}  # function names by the ids of their calls so far
        self._ids: dict[str, str] = {}  # call ids from the provider
        self._order: dict[str, int] = {}  # positions of the calls in the previous turn

    def write(self, messages: Sequence[Message]) -> None:
        """Write ``messages``. Raises ``GatewayError`` (400) with the path of a part that the API cannot express."""
        leading = list(takewhile(lambda message: message.role in _INSTRUCTIONS, messages))
        for message in leading:
            self.system.extend(self._instruction_parts(message))
        conversation = (one for message in messages[len(leading) :] for one in _split_by_role(message))
        for role, several in groupby(conversation, lambda one: "model" if one.role == "assistant" else "user"):
            turn = list(several)
            parts = self._model_parts(turn) if role == "model" else self._user_parts(turn)
            if parts:
                self._add_turn(role, parts)
        if self.system and not self.contents:  # the API requires a content besides the instructions
            self._add_turn("user", self.system)
            self.system = []
        if not self.contents or _begins_with_call(self.contents[0]):
            self.contents.insert(0, {"role": "user", "parts": [{"text": FIRST_TEXT}]})

    def _add_turn(self, role: str, parts: list[GeminiPart]) -> None:
        if self.contents and self.contents[-1]["role"] == role:
            self.contents[-1]["parts"].extend(parts)
        else:
            self.contents.append({"role": role, "parts": parts})

    def _instruction_parts(self, message: Message) -> list[GeminiPart]:
        return [written for part in instruction_texts(message, self._drops) for written in self._text_parts(part)]

    # The client's turns

    def _user_parts(self, turn: Sequence[Message]) -> list[GeminiPart]:
        """Return a user's turn: results first, in the order of their calls."""
        results: list[ToolResultPart] = []
        parts: list[GeminiPart] = []
        for message in turn:
            self._drop_name(message)
            if message.role in _INSTRUCTIONS:
                # Stays in place: changing the system instruction would invalidate the whole cached prefix.
                parts += [{"text": f"<system>\n{one['text']}\n</system>"} for one in self._instruction_parts(message)]
                continue
            for part in message.parts:
                if isinstance(part, ToolResultPart):
                    results.append(part)
                else:
                    parts += self._client_parts(part)
        results.sort(key=lambda part: self._order.get(part.call_id, len(self._order)))
        written = list(map(self._result_part, results))
        if not self._to.quirks.media_in_results:
            native = self._request.api == "gemini"
            written += (one for result in results if media_of(result) for one in result_media(result, native))
        return written + parts

    def _result_part(self, part: ToolResultPart) -> GeminiPart:
        native = self._request.api == "gemini"
        for holder in (*part.parts, part):
            drop_marks(holder, self._drops)
            if isinstance(holder, FilePart) and holder.filename and not native:
                self._drops.add(join_path(holder.at, _FILE_NAMES.get(self._request.api, "filename")))
        name = self._names.get(part.call_id, part.call_id)
        return result_part(part, name, self._ids.get(part.call_id), self._to.quirks, native)

    def _client_parts(self, part: Part) -> list[GeminiPart]:
        match part:
            case TextPart():
                return self._text_parts(part)
            case RefusalPart(text=text):
                return [{"text": text}] if text else []
            case ImagePart() | FilePart() | AudioPart():
                return self._medium_parts(part)
            case NativePart(api="gemini", item=item):
                return [dict(item)]
            case NativePart(at=at):
                self._drops.add(at)
                return []
            case ReasoningPart():
                self._drops.add(*part.places)
                return []
            case ToolCallPart() | ToolResultPart():
                return []
            case _:
                assert_never(part)

    def _text_parts(self, part: TextPart) -> list[GeminiPart]:
        drop_marks(part, self._drops)
        return [{"text": part.text}] if part.text else []

    def _medium_parts(self, part: ImagePart | FilePart | AudioPart) -> list[GeminiPart]:
        """Return the part, preceded by a file's name as text, because the API has no member for it."""
        drop_marks(part, self._drops)
        native = self._request.api == "gemini"
        name = part.filename if isinstance(part, FilePart) and not native else None
        return [*([{"text": f"File {name}:"}] if name else []), media_part(part, native)]

    def _drop_name(self, message: Message) -> None:
        if message.name is not None:
            self._drops.add(join_path(message.at, "name"))

    # The model's turns

    def _model_parts(self, turn: Sequence[Message]) -> list[GeminiPart]:
        for message in turn:
            self._drop_name(message)
        parts = [part for message in turn for part in message.parts]
        written = ModelTurn(parts, self._request, self._to, self._drops)
        for part in parts:
            match part:
                case ToolCallPart():
                    self._names[part.id] = part.name
                    written.call(part)
                case ReasoningPart():
                    written.reasoning(part)
                case _:
                    self._add_model_part(part, written)
        calls = [part.id for part in parts if isinstance(part, ToolCallPart)]
        self._order = {id: place for place, id in enumerate(calls)}
        self._ids.update(written.ids)
        return written.all_parts()

    def _add_model_part(self, part: Part, written: ModelTurn) -> None:
        is_native = isinstance(part, NativePart) and part.api == "gemini"
        images = [] if is_native else turn_images(part, self._drops)
        for image in images:
            drop_marks(image, self._drops)
            written.image(image)
        if not images:
            written.add(self._client_parts(part))


def _split_by_role(message: Message) -> Iterator[Message]:
    """Yield ``message``, with results in a model's message, and calls in a user's, as separate messages.

    Messages' types allow both.
    """
    misplaced = ToolResultPart if message.role == "assistant" else ToolCallPart
    if not any(isinstance(part, misplaced) for part in message.parts):
        yield message
        return
    other: Role = "user" if message.role == "assistant" else "assistant"
    for wrong, several in groupby(message.parts, lambda part: isinstance(part, misplaced)):
        yield attrs.evolve(message, role=other if wrong else message.role, parts=tuple(several))


_MODES: Final[Mapping[str, str]] = {"auto": "AUTO", "none": "NONE", "required": "ANY", "tool": "ANY"}


@attrs.frozen
class GeminiTools:
    """The written ``tools`` and ``toolConfig``; ``functions`` is true if any tool is the client's own."""

    tools: list[dict[str, Any]]
    config: dict[str, Any]
    functions: bool


def write_tools(request: Request, quirks: Quirks, own: Mapping[str, Any], drops: Drops) -> GeminiTools:
    """Return the written tools of ``request``; ``own`` is the ``toolConfig`` of a client of this API."""
    functions = [_write_function(tool, quirks, drops) for tool in request.tools if isinstance(tool, Tool)]
    hosted = _find_hosted_tools(request, drops)
    if functions and hosted and not quirks.mixed_tools:
        # If the functions were dropped instead, the model would write its calls as text (cloudwego/eino-ext#761).
        drops.add(*hosted.values())
        hosted = {}
    natives = {tool.at: tool for tool in request.tools if isinstance(tool, NativeTool)}
    tools = [{name: _declaration(name, natives.get(at), drops)} for name, at in hosted.items()]
    if functions:
        tools.append({"functionDeclarations": functions})
    config = {name: value for name, value in own.items() if name not in _HANDLED}
    mixed = bool(functions and hosted)
    if calling := _write_calling_config(request.tool_choice, functions, mixed, drops):
        config["functionCallingConfig"] = calling
    if mixed and quirks.server_tool_invocations:
        config["includeServerSideToolInvocations"] = True
    elif (requested := own.get("includeServerSideToolInvocations")) is not None and hosted:
        config["includeServerSideToolInvocations"] = requested
    maps = natives.get(hosted.get("googleMaps", ""))
    if maps is not None and (location := gemini_location(maps.item)) is not None:
        config["retrievalConfig"] = location
    if request.parallel_tools is not None and request.parallel_tools.value is False and functions:
        drops.add(request.parallel_tools.at)
    return GeminiTools(tools, config, bool(functions))


_HANDLED: Final = (
    "functionCallingConfig", "function_calling_config", "includeServerSideToolInvocations",
    "include_server_side_tool_invocations",
)  # fmt: skip


def _write_function(tool: Tool, quirks: Quirks, drops: Drops) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name}
    description, schema = tool_names.as_function(tool, drops)
    if description:
        function["description"] = description
    if isinstance(schema, dict) and schema:
        function |= _write_parameters(typed_root(schema), tool.at, quirks, drops)
    drops.add(*(join_path(tool.at, name) for name in tool.marks or NO_MARKS))
    if tool.strict and not quirks.mixed_tools:  # newer models enforce the schema
        drops.add(join_path(tool.at, "strict"))
    return function


def _write_parameters(schema: Mapping[str, Any], at: str, quirks: Quirks, drops: Drops) -> dict[str, Any]:
    """Return a tool's schema as JSON Schema, or in Google's own form, which requires a property."""
    if quirks.schemas == "json":
        return {"parametersJsonSchema": schema}
    smaller, removed = reduce_schema(schema)
    drops.add(*(join_path(at, name) for name in removed))
    return {"parameters": smaller} if smaller.get("properties") else {}


def _find_hosted_tools(request: Request, drops: Drops) -> dict[str, str]:
    """Return Google's own tools, each with the path in the client's request; other APIs' web searches
    become Google's."""
    found: dict[str, str] = {}
    for tool in request.tools:
        if isinstance(tool, NativeTool):
            if tool.api == "gemini":
                found[tool.kind] = tool.at
            elif tool.api == "interactions" and tool.kind in GEMINI_TOOLS:
                found[GEMINI_TOOLS[tool.kind]] = tool.at
            elif becomes_another(tool):
                found.setdefault("googleSearch", tool.at)
                drops.add(*settings_of(tool))
            else:
                drops.add(*tool.dropped_places)
    if (search := request.parameters.get("web_search_options")) is not None:
        found.setdefault("googleSearch", search.at)
        drops.add(*(join_path(search.at, name) for name in search.value))
    return found


def _declaration(name: str, tool: NativeTool | None, drops: Drops) -> Any:
    """Return the settings of Google's tool ``name``, unchanged if the client speaks this API.

    ``tool`` is the client's, ``None`` for the web search of a Chat request."""
    if tool is not None and tool.api == "interactions":
        return gemini_tool(tool.item, tool.at, drops)
    return (tool.item.get(name) if tool is not None and tool.api == "gemini" else None) or {}


def _write_calling_config(
    choice: ToolChoice | None, functions: list[dict[str, Any]], mixed: bool, drops: Drops
) -> dict[str, Any] | None:
    """Return ``functionCallingConfig``.

    With Google's own tools, a model that may choose gets ``VALIDATED``, because ``AUTO`` is not allowed
    (vercel/ai#13920).
    """
    if not functions:
        if choice is not None and choice.mode in ("required", "tool"):
            drops.add(choice.at)  # the tools that it forces were all dropped
        return None
    if choice is None:
        return {"mode": "VALIDATED"} if mixed else None
    names = {function["name"] for function in functions}
    allowed = (choice.name,) if choice.mode == "tool" else choice.allowed
    kept = [name for name in allowed or () if name in names]
    mode = _MODES[choice.mode]
    if allowed is not None and not kept and mode != "NONE":
        drops.add(choice.at)
        mode = "AUTO"
    if mode == "AUTO" and (mixed or kept):  # names are only allowed with ANY and VALIDATED
        mode = "VALIDATED"
    return {"mode": mode} | ({"allowedFunctionNames": kept} if kept and mode != "NONE" else {})


UNCACHED: Final = ("systemInstruction", "tools", "toolConfig")
"""Members that a request with ``cachedContent`` must not have, because the cache contains them."""

_COUNT_FIELDS: Final = ("contents", "systemInstruction", "tools", "toolConfig", "cachedContent")
_MODEL: Final = "models/"


def write_request(request: Request, to: Recipient) -> Outgoing:
    """Return the provider's request. See ``Codec.write_request``."""
    body, drops = _write(request, to)
    return _outgoing(body, drops)


def write_count_request(request: Request, to: Recipient) -> Outgoing:
    """Return a ``countTokens`` request with the prompt only. See ``Codec.write_count``."""
    body, drops = _write(request, to)
    counted = {name: value for name, value in body.items() if name in _COUNT_FIELDS}
    if to.quirks.wrapped_count:
        model = to.model if to.model.startswith(_MODEL) else _MODEL + to.model
        counted = {"generateContentRequest": {"model": model, **counted}}
    return _outgoing(counted, drops)


def check_cached_content(has: Any) -> None:
    """Raise a 400 for a member that is not allowed with ``cachedContent``; ``has(name)`` returns whether it is set."""
    for name in UNCACHED:
        if has(name):
            raise invalid(f"{name} cannot be combined with cachedContent, which already has it: remove it", name)


def _outgoing(body: dict[str, Any], drops: Drops) -> Outgoing:
    return Outgoing(msgspec.json.encode(body), (), losses_of(drops.paths(), "translation"))


def _write(request: Request, to: Recipient) -> tuple[dict[str, Any], Drops]:
    own = own_fields(request)
    drops = Drops(path for path in request.dropped if not is_own(path, request, own))
    config = find_member(request.source, "toolConfig") if request.api == "gemini" else None
    tools = write_tools(request, to.quirks, config or {}, drops)
    enforced = is_enforced(request.format, tools.functions, to.quirks)
    contents = Contents(request, to, drops)
    contents.write(with_format(request, enforced, drops))

    body: dict[str, Any] = {}
    if contents.system:
        body["systemInstruction"] = {"parts": contents.system}
    body["contents"] = contents.contents
    if tools.tools:
        body["tools"] = tools.tools
    if tools.config:
        body["toolConfig"] = tools.config
    if settings := generation_config(request, to.quirks, enforced, drops):
        body["generationConfig"] = settings
    body |= own
    if body.get("cachedContent"):
        check_cached_content(lambda name: name in body)
    drops.remove_members(body, to.quirks.refused_fields)
    return body, drops
