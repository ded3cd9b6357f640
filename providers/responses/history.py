"""Reader of the ``input`` of a Responses request as messages.

It is a flat list of items. The model's messages, reasoning, calls and hosted tools become parts of assistant turns; the
client's items become parts of user turns.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import attrs
import msgspec

from providers.neutral.fields import Drops, Fields, expect, join_path
from providers.neutral.media import file_type, is_data_url, url_source
from providers.neutral.request import (
    NO_MARKS,
    AudioPart,
    FilePart,
    Format,
    ImagePart,
    MediaSource,
    Message,
    NativePart,
    NativeTool,
    Part,
    Reasoning,
    ReasoningPart,
    RefusalPart,
    Role,
    TextPart,
    Tool,
    ToolCallPart,
    ToolResultPart,
)
from providers.neutral.seal import PREFIX, unseal
from providers.neutral.texts import is_ciphertext
from providers.responses import compaction
from providers.responses.settings import read_format, read_reasoning, read_tools
from providers.responses.tools import ENCRYPTED_ARGUMENTS, SEARCH, flat_name, reasoning_text
from streams.errors import GatewayError, invalid
from streams.events import ToolKind

ROLES: Mapping[str, Role] = {
    "user": "user",
    "assistant": "assistant",
    "system": "system",
    "developer": "developer",
}
ANSWER_MARKS = ("annotations", "logprobs")  # members that only texts of earlier answers have
CONTINUES = ("previous_response_id", "conversation", "prompt")  # any of them may replace `input`
ITEM_BOOKKEEPING = ("type", "id", "status", "created_by")  # without meaning for a model
EARLIER_PREFIX = "previous.input"  # path prefix of items that are not in this request
_SHOWN = 100  # characters of an id in an error message
ENCRYPTED_PART = "encrypted_content"  # the type of a content part for other agents
SEARCHES = ("tool_search_call", "tool_search_output")  # by the client or the provider
DIRECT = {"type": "direct"}  # the caller of nearly all calls: the model itself


class History:
    """A reader of the items of ``input``, in order."""

    def __init__(self, drops: Drops) -> None:
        self.tools: list[Tool | NativeTool] = []
        self.found_tools: list[Tool] = []  # by searches of the client
        self.reasoning: Reasoning | None = None
        self.format: Format | None = None
        self._drops = drops
        self._turns: list[tuple[Role, list[Part], str, Mapping[str, Any] | None]] = []
        self._calls: set[str] = set()  # the ids that outputs may refer to
        self._knows_all_calls = False  # whether all calls of the conversation are known

    def messages(self) -> tuple[Message, ...]:
        return tuple(Message(role, tuple(parts), at, native=native) for role, parts, at, native in self._turns if parts)

    def read(self, fields: Fields, earlier: Sequence[Mapping[str, Any]] = ()) -> None:
        """Read instructions and input, after the ``earlier`` items of the conversation, which are not in
        the request."""
        if instructions := fields.string("instructions"):
            self._add_parts("system", "instructions", TextPart(instructions, "instructions"))
        for i, before in enumerate(earlier):
            self._read_item(Fields(before, join_path(EARLIER_PREFIX, i)))
        self._knows_all_calls = not any(fields.data.get(name) for name in CONTINUES)
        value = fields.value("input")
        if isinstance(value, str):
            self._add_parts("user", "input", TextPart(value, "input"))
        elif value is not None:
            expect(value, list, "input")
            for item in fields.objects("input"):
                self._read_item(item)
        elif not any(fields.data.get(name) for name in CONTINUES):
            raise invalid("input is required", "input")

    def _add_parts(self, role: Role, at: str, *parts: Part, native: Mapping[str, Any] | None = None) -> None:
        """Add parts to the conversation; consecutive parts of the model become one message.

        ``native`` is an item that only this API can express.
        """
        if not parts:
            return
        if role == "assistant" and self._turns and self._turns[-1][0] == "assistant":
            self._turns[-1][1].extend(parts)
        else:
            self._turns.append((role, list(parts), at, native))

    def _read_item(self, item: Fields) -> None:
        type = item_type(item.data, item.string("type"))
        if type is None:
            raise invalid(f"{item.at} needs a type, or a role and content", item.at)
        if not type.endswith("_output"):  # Codex refers to shell calls without a call_id by their id
            self._calls.update(id for name in ("call_id", "id") if isinstance(id := item.data.get(name), str))
        reader = _ITEMS.get(type)
        if reader is None or (type in SEARCHES and not _is_client_search(item)):
            role: Role = "user" if type.endswith("_output") or type == "mcp_approval_response" else "assistant"
            self._add_parts(role, item.at, NativePart("responses", type, item.data, item.at))
            return
        item.ignore(*ITEM_BOOKKEEPING)
        if item.data.get("caller") == DIRECT:
            item.ignore("caller")
        reader(self, item)
        self._drops.add_unread(item)

    def _read_message(self, item: Fields) -> None:
        word = item.need("role", str)
        role = ROLES.get(word)
        if role is None:
            raise invalid(
                f"{item.path('role')} {word!r} is not known: use one of {', '.join(ROLES)}", item.path("role")
            )
        parts = list(_read_content(item, "content", self._drops))
        if role == "assistant" and (phase := item.string("phase")):  # other APIs have no phases
            parts = [attrs.evolve(part, phase=phase) if isinstance(part, TextPart) else part for part in parts]
            self._drops.add(item.path("phase"))
        self._add_parts(role, item.at, *parts)

    def _read_call(self, item: Fields, kind: ToolKind, member: str) -> None:
        namespace, name = item.string("namespace"), item.need("name", str)
        encrypted = item.array(ENCRYPTED_ARGUMENTS)
        part = ToolCallPart(
            item.need("call_id", str), flat_name(namespace, name), item.string(member) or "", kind, item.at,
            marks=NO_MARKS if encrypted is None else {ENCRYPTED_ARGUMENTS: encrypted},
            namespace=namespace if namespace == name else None,
        )  # fmt: skip
        self._add_parts("assistant", item.at, part)

    def _read_output(self, item: Fields, kind: ToolKind) -> None:
        item.ignore("namespace")  # the call has them
        if not item.string("call_id") and item.string("name"):  # Codex starts a task with it, instead of a message
            self._add_parts("user", item.at, *_read_result_parts(item, self._drops), native=item.data)
            return
        call_id = item.need("call_id", str)
        if self._knows_all_calls and call_id not in self._calls:
            raise _missing_call_error(item, call_id)
        parts, sealed = [], {}
        for part in _read_result_parts(item, self._drops):
            if isinstance(part, NativePart):
                sealed[part.at.removeprefix(f"{item.at}.")] = part.item
            else:
                parts.append(part)
        native = item.data if sealed else None
        result = ToolResultPart(call_id, tuple(parts), kind=kind, at=item.at, marks=sealed or NO_MARKS, native=native)
        self._add_parts("user", item.at, result)

    def _read_search_call(self, item: Fields) -> None:
        call_id, arguments = item.need("call_id", str), item.value("arguments")
        text = arguments if isinstance(arguments, str) else msgspec.json.encode(arguments or {}).decode()
        self._add_parts("assistant", item.at, ToolCallPart(call_id, SEARCH, text, at=item.at, native=item.data))

    def _read_search_output(self, item: Fields) -> None:
        """Read the tools that the client has found. Other APIs get their names, and the tools with the others."""
        call_id = item.need("call_id", str)
        if self._knows_all_calls and call_id not in self._calls:
            raise _missing_call_error(item, call_id)
        found = [tool for tool in read_tools(item, self._drops) if isinstance(tool, Tool)]
        self.found_tools += (attrs.evolve(tool, native={}) for tool in found)
        text = "\n".join(tool.name for tool in found) or "(no tools found)"
        result = ToolResultPart(call_id, (TextPart(text, item.path("tools")),), at=item.at, native=item.data)
        self._add_parts("user", item.at, result)

    def _read_agent_message(self, item: Fields) -> None:
        """Read a message from one of Codex's agents to another. Its text also has the names of both."""
        item.ignore("author", "recipient", "agent")
        self._add_parts("user", item.at, *_read_content(item, "content", self._drops), native=item.data)

    def _read_reasoning(self, item: Fields) -> None:
        sealed = item.string("encrypted_content")
        item.ignore("summary", "content")
        text = reasoning_text(item.data)
        if sealed is None or not sealed.startswith(PREFIX):
            item.ignore(*item.data)
            self._add_parts("assistant", item.at, ReasoningPart(text, native=item.data, at=item.at))
        elif (seal := unseal(sealed)) is not None:
            self._add_parts("assistant", item.at, ReasoningPart(text, seal=seal, at=item.at))
        else:
            self._drops.add(item.at)

    def _drop_reference(self, item: Fields) -> None:
        """Drop a reference, because nothing is stored that it could refer to, and the reasoning before it.

        An error would end the AI SDK's conversations, although it also sends the items. OpenAI rejects reasoning
        without the item that follows it (maximhq/bifrost#5892).
        """
        self._drops.add(item.at)
        parts = self._turns[-1][1] if self._turns and self._turns[-1][0] == "assistant" else []
        while parts and isinstance(parts[-1], ReasoningPart):
            self._drops.add(parts.pop().at)

    def _read_compaction(self, item: Fields) -> None:
        """Read an own compaction as its summary; another one only its provider can read.

        It may contain calls.
        """
        self._knows_all_calls = False
        if not compaction.is_own(item.data):
            item.ignore(*item.data)
            self._add_parts("assistant", item.at, NativePart("responses", "compaction", item.data, item.at))
        elif (text := compaction.summary(item.data)) is not None:
            item.ignore("encrypted_content")
            self._add_parts("user", item.at, TextPart(text, item.at))
        else:
            item.ignore(*item.data)
            self._drops.add(item.at)

    def _read_additional_tools(self, item: Fields) -> None:
        item.ignore("role")
        self.tools.extend(read_tools(item, self._drops))

    def _read_configuration(self, item: Fields) -> None:
        """Store settings that apply from here on; the answer uses the latest."""
        self.reasoning = read_reasoning(item, self._drops) or self.reasoning
        if (text := item.object("text")) is not None:
            self.format = read_format(text, self._drops) or self.format
            self._drops.add_unread(text)


def _is_client_search(item: Fields) -> bool:
    """Return whether ``item``, of a search for tools, is of the client's search instead of the provider's."""
    return item.string("execution") != "server" and bool(item.string("call_id"))


def _missing_call_error(item: Fields, call_id: str) -> GatewayError:
    """Return the 400 for an output without a call, in OpenAI's words, which clients recognize
    (continuedev/continue#10092)."""
    kind = item.need("type", str).replace("_", " ")
    return invalid(
        f"No tool call found for {kind} with call_id {call_id[:_SHOWN]}: send the call before its output (a "
        "reference to an item that is not stored here is not enough), or continue from the response with the "
        "call by previous_response_id",
        item.path("call_id"),
    )


def item_type(item: Mapping[str, Any], declared_type: str | None) -> str | None:
    """Return the type of an item, which messages and references may omit, or ``None`` for an unknown item.

    ``declared_type`` is the item's ``type``.
    """
    if declared_type or item.get("role") is not None:
        return declared_type or "message"
    return "item_reference" if isinstance(item.get("id"), str) else None


_ITEMS: Mapping[str, Callable[[History, Fields], None]] = {
    "message": History._read_message,
    "function_call": partial(History._read_call, kind="function", member="arguments"),
    "custom_tool_call": partial(History._read_call, kind="custom", member="input"),
    "function_call_output": partial(History._read_output, kind="function"),
    "custom_tool_call_output": partial(History._read_output, kind="custom"),
    "agent_message": History._read_agent_message,
    "tool_search_call": History._read_search_call,
    "tool_search_output": History._read_search_output,
    "reasoning": History._read_reasoning,
    "item_reference": History._drop_reference,
    "compaction": History._read_compaction,
    # At the end of the input ``is_compaction`` handles it, earlier ones are complete.
    "compaction_trigger": lambda history, item: None,
    "additional_tools": History._read_additional_tools,
    "configuration_update": History._read_configuration,
}


# Content


def _read_content(fields: Fields, name: str, drops: Drops) -> Iterator[Part]:
    """Yield the parts of ``content`` or ``output``: a string or a list."""
    value = fields.value(name)
    if value is None:
        return
    if isinstance(value, str):
        yield TextPart(value, fields.path(name))
        return
    expect(value, list, fields.path(name))
    for part in fields.objects(name):
        type = part.need("type", str)
        reader = _PARTS.get(type)
        if reader is None:
            raise invalid(f"{part.at} is of type {type}, which is not supported in messages here", part.at)
        breakpoint = part.value("prompt_cache_breakpoint")
        yield reader(part, NO_MARKS if breakpoint is None else {"prompt_cache_breakpoint": breakpoint})
        drops.add_unread(part)


def _read_result_parts(item: Fields, drops: Drops) -> Iterator[TextPart | ImagePart | FilePart | NativePart]:
    for part in _read_content(item, "output", drops):
        if not isinstance(part, TextPart | ImagePart | FilePart | NativePart):
            raise invalid(f"{part.at} is not supported in a tool's output: send text, images or files", part.at)
        yield part


def _read_text(part: Fields, marks: Mapping[str, Any]) -> Part:
    part.ignore("parsed")  # added by OpenAI's SDK
    own = {name: value for name in ANSWER_MARKS if (value := part.array(name))}
    return TextPart(part.need("text", str), part.at, {**marks, **own} if own else marks)


def _read_image(part: Fields, marks: Mapping[str, Any]) -> Part:
    url, file_id = part.string("image_url"), part.string("file_id")
    if url is not None:
        source = url_source(url, part.path("image_url"))
    elif file_id is not None:
        source = MediaSource("file_id", file_id)
    else:
        raise invalid(f"{part.at} needs image_url or file_id", part.at)
    return ImagePart(source, part.string("detail"), part.at, marks)


def _read_file(part: Fields, marks: Mapping[str, Any]) -> Part:
    data, url, file_id = part.string("file_data"), part.string("file_url"), part.string("file_id")
    name = part.string("filename")
    if (detail := part.string("detail")) is not None:
        marks = {**marks, "detail": detail}
    if data is not None:
        # Bare base64 is accepted as well.
        source = url_source(data, part.path("file_data")) if is_data_url(data) else MediaSource("base64", data)
    elif url is not None:
        source = url_source(url, part.path("file_url"))
    elif file_id is not None:
        source = MediaSource("file_id", file_id)
    else:
        raise invalid(f"{part.at} needs file_data, file_url or file_id", part.at)
    if source.kind == "base64":
        source = attrs.evolve(source, media_type=file_type(name, source.media_type, source.value))
    return FilePart(source, name, part.at, marks)


def _read_audio(part: Fields, marks: Mapping[str, Any]) -> Part:
    audio = Fields.of(part.need("input_audio", dict), part.path("input_audio"))
    return AudioPart(audio.need("data", str), audio.need("format", str), part.at, marks)


def _read_refusal(part: Fields, marks: Mapping[str, Any]) -> Part:
    return RefusalPart(part.need("refusal", str), part.at)


def _read_encrypted(part: Fields, marks: Mapping[str, Any]) -> Part:
    """Return content that OpenAI's models encrypt for other agents; other models write text in its place."""
    content = part.need("encrypted_content", str)
    if is_ciphertext(content):
        return NativePart("responses", ENCRYPTED_PART, part.data, part.at)
    return TextPart(content, part.at, marks)


_PARTS: Mapping[str, Callable[[Fields, Mapping[str, Any]], Part]] = {
    "input_text": _read_text,
    "output_text": _read_text,
    "text": _read_text,
    "input_image": _read_image,
    "input_file": _read_file,
    "input_audio": _read_audio,
    "refusal": _read_refusal,
    ENCRYPTED_PART: _read_encrypted,
}
