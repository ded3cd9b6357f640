"""Messages of a ``Request`` as the ``system`` and ``messages`` of a Converse provider.

What the API wants and others do not: system text apart, roles that alternate and begin with the user, no blank text and
no empty content, results that say something, reasoning in front of its turn and calls behind it, a text beside
documents. Source: the API reference of Amazon Bedrock; the public threads beside the rules.
"""

from collections.abc import Callable, Mapping
from itertools import takewhile
from typing import Any, Final, assert_never

from providers.converse.cache_points import Block, CachePoints
from providers.converse.families import Family, Place
from providers.converse.media import DocumentNames, document_block, image_block, sound_block
from providers.converse.wording import tool_use_id
from providers.neutral.arguments import call_input
from providers.neutral.fields import Drops, join
from providers.neutral.request import (
    AudioPart,
    FilePart,
    ImagePart,
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
)
from providers.neutral.seal import Issuer, Seal
from streams.errors import invalid

_INSTRUCTIONS: Final = ("system", "developer")
_OF_DOCUMENTS: Final = ("context", "citations")
_REASONING: Final = ("reasoningText", "redactedContent")

_NO_OUTPUT: Final = "(no output)"
_FIRST: Final = "(The conversation begins here.)"
_BESIDE_DOCUMENTS: Final = "See the document."


class History:
    """The messages of one request, written. ``system`` and ``messages`` are there once ``write`` has run."""

    def __init__(self, request: Request, issuer: Issuer, family: Family, points: CachePoints, drops: Drops) -> None:
        self.system: list[Block] = []
        self.messages: list[dict[str, Any]] = []
        self._request = request
        self._issuer = issuer
        self._family = family
        self._points = points
        self._drops = drops
        self._names = DocumentNames()

    def write(self) -> None:
        """Write all messages. Raises ``GatewayError`` (400) with the path of a part that the API cannot hold."""
        messages = self._request.messages
        leading = list(takewhile(lambda message: message.role in _INSTRUCTIONS, messages))
        for message in leading:
            self._add_instructions(self.system, message, "system")
        for message in messages[len(leading) :]:
            self._write_message(message)
        self.messages = [message for message in self.messages if message["content"]]
        if not self.messages and self.system:  # nothing is said beside the instructions: the API wants a message
            self.messages = [{"role": "user", "content": [*self.system]}]
            self.system = []
        if not self.messages or self.messages[0]["role"] != "user":
            self.messages.insert(0, {"role": "user", "content": [{"text": _FIRST}]})
        for written in self.messages:
            _settle(written)

    def _write_message(self, message: Message) -> None:
        role = "assistant" if message.role == "assistant" else "user"
        if message.name is not None:
            self._drops.add(join(message.at, "name"))
        content: list[Block] = []
        if message.role in _INSTRUCTIONS:
            # In place, not hoisted: a changed `system` would lose the whole cached prefix.
            self._add_instructions(content, message, "messages", "<system>\n{}\n</system>")
        else:
            for part in message.parts:
                self._add(content, part, role == "assistant")
        if not content:
            return
        if self.messages and self.messages[-1]["role"] == role:
            self.messages[-1]["content"].extend(content)
        else:
            self.messages.append({"role": role, "content": content})

    def _add_instructions(self, content: list[Block], message: Message, place: Place, form: str = "{}") -> None:
        for part in message.parts:
            if isinstance(part, TextPart):
                if part.text.strip():
                    content.append({"text": form.replace("{}", part.text)})
                self._mark(content, part, place)
            elif isinstance(part, NativePart):
                self._add_native(content, part)
            else:
                raise invalid(f"{part.at} must be text: this model's provider takes nothing else there", part.at)

    def _add(self, content: list[Block], part: Part, assistant: bool) -> None:
        match part:
            case TextPart(text=text):
                self._add_text(content, part, text)
            case RefusalPart(text=text):
                content.extend([{"text": text}] if text.strip() else [])
            case ReasoningPart():
                self._add_reasoning(content, part)
            case ToolCallPart():
                call = {
                    "toolUseId": tool_use_id(part.id),
                    "name": part.name,
                    "input": call_input(part.input, part.kind),
                }
                content.append({"toolUse": call})
                self._mark(content, part)
            case ToolResultPart():
                self._add_result(content, part)
            case NativePart():
                self._add_native(content, part)
            case ImagePart() | FilePart() | AudioPart() if assistant:
                self._drops.add(part.at)  # what a model made: the API takes none of it in its messages
            case ImagePart() | FilePart():
                content.append(self._media(part))
                self._mark(content, part, taken=_OF_DOCUMENTS if isinstance(part, FilePart) else ())
            case AudioPart():
                content.append(sound_block(part))
                self._mark(content, part)
            case _:
                assert_never(part)

    def _add_text(self, content: list[Block], part: TextPart, text: str) -> None:
        """White space alone is blank too: it was taken as a stand-in until it was not, and conversations were lost
        (NousResearch/hermes-agent#63983, archestra-ai/archestra#4220). The mark of such a text goes to what is before
        it."""
        cited = part.marks.get("citations") if self._request.api == "converse" else None
        if text.strip():
            plain: Block = {"text": text}
            native = isinstance(cited, list)
            content.append({"citationsContent": {"content": [plain], "citations": cited}} if native else plain)
        self._mark(content, part, taken=() if cited is None else ("citations",))

    def _add_reasoning(self, content: list[Block], part: ReasoningPart) -> None:
        item = restored(part.seal, self._issuer) if part.seal is not None else None
        if part.seal is None and self._request.api == "converse":
            item = part.native
        elif part.seal is None and self._request.api == "messages" and self._family.effort == "thinking":
            item = _of_messages(part.native)
        if item is None:
            self._drops.add(*part.places)
        else:
            content.append({"reasoningContent": item})

    def _add_native(self, content: list[Block], part: NativePart) -> None:
        if part.api == "converse" and isinstance(part.item, dict):
            content.append(part.item)
        else:
            self._drops.add(part.at)

    def _add_result(self, content: list[Block], part: ToolResultPart) -> None:
        """Add the result of a tool. It is never empty, least of all one that is an error (METR/hawk#1245)."""
        inner: list[Block] = []
        for one in part.parts:
            if not isinstance(one, TextPart):
                inner.append(self._media(one))
            elif one.text.strip():
                inner.append({"text": one.text})
        result: Block = {"toolUseId": tool_use_id(part.call_id), "content": inner}
        if part.is_error and self._family.result_status:
            result["status"] = "error"
        elif part.is_error:
            inner.insert(0, {"text": "Error:"})
        if not inner:
            inner.append({"text": _NO_OUTPUT})
        content.append({"toolResult": result})
        for holder in (*part.parts, part):  # beside the result, never inside of it
            self._mark(content, holder, taken=_OF_DOCUMENTS if isinstance(holder, FilePart) else ())

    def _media(self, part: ImagePart | FilePart) -> Block:
        if isinstance(part, ImagePart):
            if part.detail not in (None, "auto"):
                self._drops.add(join(part.at, "detail"))
            return image_block(part)
        block = document_block(part, self._names)
        if isinstance(context := part.marks.get("context"), str) and context:
            block["document"]["context"] = context
        cited = part.marks.get("citations")
        if isinstance(cited, Mapping) and cited.get("enabled"):
            block["document"]["citations"] = {"enabled": True}
        return block

    def _mark(self, content: list[Block], part: Any, place: Place = "messages", taken: tuple[str, ...] = ()) -> None:
        """Write the marks of ``part``, the last in ``content``, that the API has; the others are reported, but for
        those that are ``taken`` care of."""
        for name, value in part.marks.items():
            if (mark := cache_control(name, value)) is not None:
                self._points.behind(content, mark, place, join(part.at, name))
            elif name not in taken:
                self._drops.add(join(part.at, name))


def _of_messages(block: Any) -> Block | None:
    """Return a thinking block of Claude's own API as Bedrock has it. Claude's signatures hold on every platform. A
    block that another model has signed is refused, and then the request goes without it.
    Source: https://platform.claude.com/docs/en/build-with-claude/extended-thinking"""
    match block:
        case {"type": "thinking", "thinking": str(text), "signature": str(signature)} if signature:
            return {"reasoningText": {"text": text, "signature": signature}}
        case {"type": "redacted_thinking", "data": str(data)} if data:
            return {"redactedContent": data}
    return None


def restored(seal: Seal, issuer: Issuer) -> Any:
    """Return the reasoning in a seal that ``issuer`` made; ``None`` if it is another's, or of another API."""
    if not issuer.made(seal) or seal.api != "converse" or not isinstance(seal.item, dict):
        return None
    return seal.item if any(name in seal.item for name in _REASONING) else None


def _settle(message: dict[str, Any]) -> None:
    """Put the content of a message in the order that the API wants: in an assistant's reasoning, text, calls
    (aws/bedrock-agentcore-sdk-python#419), in a user's the results first, and a text beside documents."""
    content: list[Block] = message["content"]
    if message["role"] == "user":
        content[:] = _in_order(content, _is_no_result)
        said = {kind for block in content for kind in block}
        if "document" in said and "text" not in said:
            content.append({"text": _BESIDE_DOCUMENTS})
        return
    content[:] = _in_order(content, _is_call)
    if not _is_reasoning(content[0]):
        content[:] = _in_order(content, lambda block: not _is_reasoning(block))


def _in_order(content: list[Block], later: Callable[[Block], bool]) -> list[Block]:
    """Return ``content`` with the blocks that come later behind the others; a cache point stays behind its block."""
    groups: list[list[Block]] = []
    for block in content:
        if "cachePoint" in block and groups:
            groups[-1].append(block)
        else:
            groups.append([block])
    groups.sort(key=lambda group: later(group[0]))
    return [block for group in groups for block in group]


def _is_no_result(block: Block) -> bool:
    return "toolResult" not in block


def _is_call(block: Block) -> bool:
    return "toolUse" in block and block["toolUse"].get("type") != "server_tool_use"


def _is_reasoning(block: Block) -> bool:
    return "reasoningContent" in block
