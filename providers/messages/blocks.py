"""Writer of a ``Request``'s messages as ``system`` and ``messages`` for a Messages provider.

The API requires separate system text, alternating roles, tool results first in the user message after their calls, no
empty text, ids of a narrow alphabet, and at most four cache breakpoints.

Source: Anthropic's API reference; the rules cite public threads.
"""

import base64
import re
from collections.abc import Iterable, Sequence
from itertools import takewhile
from typing import Any, TypeAlias, assert_never

from providers.messages.adapting import THINKING, restored_blocks
from providers.messages.content import CALL_MARKS, DOCUMENT_MARKS, IMAGE_MARKS, RESULT_MARKS, TEXT_MARKS
from providers.neutral.arguments import call_input
from providers.neutral.codec import Recipient
from providers.neutral.fields import Drops, join_path
from providers.neutral.media import actual_type, is_audio, is_video
from providers.neutral.request import (
    AudioPart,
    FilePart,
    ImagePart,
    MediaSource,
    Message,
    NativePart,
    Part,
    ReasoningPart,
    RefusalPart,
    Request,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    cache_control,
    has_cache_marks,
)
from providers.neutral.texts import instruction_texts
from providers.neutral.tool_names import replacement_id
from streams.errors import GatewayError, invalid

Block: TypeAlias = dict[str, Any]


def media_source(source: MediaSource, image: bool, at: str, native: bool) -> Block:
    """Return the ``source`` of an image or a document. Raises a 400 if the provider cannot receive it."""
    match source.kind:
        case "base64":
            return _base64_source(source, image, at)
        case "url":
            return {"type": "url", "url": source.value}
        case "text":
            return {"type": "text", "media_type": "text/plain", "data": source.value}
        case "file_id":
            if native:
                return {"type": "file", "file_id": source.value}
            message = f"{at} names a file that this model's provider does not have: send its content instead"
            raise invalid(message, at)


def _unsupported_error(at: str, kind: str) -> GatewayError:
    return invalid(f"{at} is {kind}, which this model's provider does not support", at)


def _base64_source(source: MediaSource, image: bool, at: str) -> Block:
    media_type = source.media_type
    if image:
        return {"type": "base64", "media_type": actual_type(source, image), "data": source.value}
    if media_type is None or not media_type.startswith("text/"):
        return {"type": "base64", "media_type": media_type or "application/pdf", "data": source.value}
    try:
        text = base64.b64decode(source.value, validate=True).decode()
    except ValueError:
        raise invalid(f"{at} must be base64 of UTF-8 text, according to its media type", at) from None
    return {"type": "text", "media_type": "text/plain", "data": text}


MAX_BREAKPOINTS = 4
_INSTRUCTIONS = ("system", "developer")
_VALID_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Breakpoints:
    """The blocks that carry ``cache_control``, in prompt order: tools, system, messages."""

    def __init__(self) -> None:
        self._marked_blocks: list[tuple[Block, str]] = []

    def mark(self, block: Block, control: Any, at: str) -> None:
        block["cache_control"] = control
        self._marked_blocks.append((block, at))

    def copy_native(self, item: Block, at: str) -> Block:
        """Return a copy of a native block that counts its own mark; without a mark, the block itself."""
        if "cache_control" not in item:
            return item
        block = dict(item)
        self.mark(block, item["cache_control"], at)
        return block

    def limit(self, drops: Drops) -> None:
        """Remove all but the last four marks: more are a 400, and later ones cover longer prefixes."""
        for block, at in self._marked_blocks[:-MAX_BREAKPOINTS]:
            del block["cache_control"]
            drops.add(join_path(at, "cache_control"))


class Prompt:
    """The written messages of one request; ``write`` fills ``system`` and ``messages``.

    With ``keeps_lists``, texts stay in lists, because marks move from part to part.
    """

    def __init__(
        self, request: Request, to: Recipient, drops: Drops, breakpoints: Breakpoints, changes_tools: bool = False
    ) -> None:
        """Prepare to write ``request``; with ``changes_tools``, its changes of tools are messages, too."""
        self.system: list[Block] = []
        self.messages: list[dict[str, Any]] = []
        self.keeps_lists = has_cache_marks(request)
        self._changes_tools = changes_tools
        self._changes: list[Block] = []  # changes of tools that wait for the end of the user's turn
        self._request = request
        self._issuer = to.issuer
        self._claude = to.quirks.bedrock_family == "claude"
        self._drops = drops
        self._breakpoints = breakpoints

    def write(self, messages: Sequence[Message]) -> None:
        """Write ``messages``. Raises ``GatewayError`` (400) with the path of a part that the API cannot express."""
        leading = list(takewhile(lambda message: message.role in _INSTRUCTIONS, messages))
        for message in leading:
            self._write_parts(self.system, message)
            self._add_changes(message)
        for message in messages[len(leading) :]:
            self._write_message(message)
        self._write_changes()
        self.messages = [message for message in self.messages if message["content"]]
        if self.system and not self.messages:  # the API requires a message besides the instructions
            self.messages.append({"role": "user", "content": _mark_as_instructions(self.system)})
            self.system = []
        for written in self.messages:
            content: list[Block] = written["content"]
            if written["role"] == "user":  # results come first (Portkey-AI/gateway#980)
                content = sorted(content, key=lambda block: block["type"] != "tool_result")
            written["content"] = content if self.keeps_lists else simplify_content(content)

    def _add_changes(self, message: Message) -> None:
        if self._changes_tools:
            for change in message.tool_changes:
                kind = "tool_addition" if change.is_added else "tool_removal"
                self._changes.append({"type": kind, "tool": {"type": "tool_reference", "name": change.name}})

    def _write_changes(self) -> None:
        """Write the waiting changes as a message, which may only precede the model's turn or end the conversation."""
        if self._changes:
            self.messages.append({"role": "system", "content": self._changes})
            self._changes = []

    def _write_message(self, message: Message) -> None:
        role = "assistant" if message.role == "assistant" else "user"
        if role == "assistant":
            self._write_changes()
        self._add_changes(message)
        if message.name is not None:
            self._drops.add(join_path(message.at, "name"))
        if not self.messages or self.messages[-1]["role"] != role:
            self.messages.append({"role": role, "content": []})
        content: list[Block] = self.messages[-1]["content"]
        before = len(content)
        self._write_parts(content, message)
        if message.role in _INSTRUCTIONS:
            # Stays in place: moving it to `system` would invalidate the whole cached prefix.
            _mark_as_instructions(content[before:])

    def _write_parts(self, content: list[Block], message: Message) -> None:
        is_text = message.role in _INSTRUCTIONS
        for part in instruction_texts(message, self._drops) if is_text else message.parts:
            content.extend(self._part_blocks(part, message.role == "assistant", content))

    def _part_blocks(self, part: Part, assistant: bool, before: Sequence[Block]) -> Iterable[Block]:
        match part:
            case TextPart():
                return self._text_blocks(part, TEXT_MARKS if assistant else TEXT_MARKS[:1], before)
            case RefusalPart(text=text):
                return [{"type": "text", "text": text}] if text.strip() else []
            case ReasoningPart():
                return self._thinking_blocks(part)
            case ToolCallPart():
                value = call_input(part.input, part.kind)
                block = {"type": "tool_use", "id": tool_id(part.id), "name": part.name, "input": value}
                return [self._with_marks(block, part, CALL_MARKS)]
            case ToolResultPart():
                return [self._result_block(part)]
            case AudioPart(at=at):
                raise _unsupported_error(at, "audio")
            case FilePart(source=source, at=at) if is_audio(source):
                raise _unsupported_error(at, "audio")
            case FilePart(source=source, at=at) if is_video(source) and self._request.api != "messages":
                raise _unsupported_error(at, "a video")
            case ImagePart() | FilePart():
                return self._media_block(part, assistant)
            case NativePart(api=api, item=item, at=at):
                if api == "messages":
                    return [self._breakpoints.copy_native(item, at)]
                self._drops.add(at)
                return []
            case _:
                assert_never(part)

    def _text_blocks(self, part: TextPart, marks: tuple[str, ...], before: Sequence[Block]) -> list[Block]:
        if part.text.strip():
            return [self._with_marks({"type": "text", "text": part.text}, part, marks)]
        # "text content blocks must be non-empty" (anthropics/claude-code#62396), so its mark moves to the block before.
        for name, value in part.marks.items():
            control = cache_control(name, value)
            if control is None or not before or before[-1]["type"] in THINKING:
                self._drops.add(join_path(part.at, name))
            elif "cache_control" not in before[-1]:
                self._breakpoints.mark(before[-1], control, part.at)
        return []

    def _with_marks(self, block: Block, part: Any, names: tuple[str, ...]) -> Block:
        """Return ``block`` with the marks of ``part`` that the API accepts there; report the others as dropped."""
        for name, value in part.marks.items():
            if (control := cache_control(name, value)) is not None:
                self._breakpoints.mark(block, control, part.at)
            elif name in names:
                block[name] = value
            else:
                self._drops.add(join_path(part.at, name))
        return block

    def _thinking_blocks(self, part: ReasoningPart) -> list[Block]:
        blocks = restored_blocks(part.seal, self._issuer) if part.seal is not None else None
        if part.seal is None and part.native is not None:
            blocks = [part.native] if self._request.api == "messages" else self._blocks_from_converse(part.native)
        if blocks is None:
            self._drops.add(*part.places)
        return blocks or []

    def _blocks_from_converse(self, item: Any) -> list[Block] | None:
        """Return Claude's reasoning from Bedrock as Messages blocks; its signatures are valid on every platform."""
        if self._request.api != "converse" or not self._claude:
            return None
        match item:
            case {"reasoningText": {"text": str(text), "signature": str(signature)}} if signature:
                return [{"type": "thinking", "thinking": text, "signature": signature}]
            case {"redactedContent": str(data)} if data:
                return [{"type": "redacted_thinking", "data": data}]
        return None

    def _result_block(self, part: ToolResultPart) -> Block:
        block: Block = {"type": "tool_result", "tool_use_id": tool_id(part.call_id)}
        match part.parts:
            case ():
                pass
            case (TextPart(text=text, marks=marks),) if not marks:
                block["content"] = text
            case parts:
                content: list[Block] = []
                for inner in parts:
                    content.extend(self._part_blocks(inner, False, content))
                if content:
                    block["content"] = content
        if part.is_error:
            block["is_error"] = True
        return self._with_marks(block, part, RESULT_MARKS)

    def _media_block(self, part: ImagePart | FilePart, assistant: bool) -> list[Block]:
        if assistant:  # the API accepts no image or document in a model's message
            self._drops.add(part.at)
            return []
        image = isinstance(part, ImagePart)
        source = media_source(part.source, image, part.at, self._request.api == "messages")
        block: Block = {"type": "image" if image else "document", "source": source}
        if isinstance(part, FilePart):
            if part.filename:
                block["title"] = part.filename
        elif part.detail not in (None, "auto"):
            self._drops.add(join_path(part.at, "detail"))
        return [self._with_marks(block, part, IMAGE_MARKS if image else DOCUMENT_MARKS)]


def tool_id(id: str) -> str:
    """Return ``id`` if the API accepts it, else an id derived from it, the same for the call and its result."""
    return id if _VALID_ID.fullmatch(id) else replacement_id("toolu_", id)


def _mark_as_instructions(texts: list[Block]) -> list[Block]:
    """Change ``texts`` to mark them as instructions inside a user message, and return them."""
    for block in texts:
        block["text"] = f"<system>\n{block['text']}\n</system>"
    return texts


def simplify_content(content: list[Block]) -> list[Block] | str:
    """Return ``content`` unchanged, or as a string if it is a single text."""
    if len(content) == 1 and content[0].keys() == {"type", "text"}:
        text: str = content[0]["text"]
        return text
    return content
