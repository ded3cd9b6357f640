"""Writer of a ``Request``'s messages as ``system`` and ``messages`` for a Converse provider.

The API requires separate system text, alternating roles that start with the user, no blank text, no empty content or
results, reasoning first and calls last in a turn, and a text besides documents. Source: Amazon Bedrock's API reference;
the rules cite public threads.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import takewhile
from typing import Any, Final, assert_never

from providers.converse.families import Family, Place
from providers.converse.media import DocumentNames, document_block, image_block, sound_block, video_block
from providers.converse.wording import tool_use_id
from providers.neutral.arguments import call_input
from providers.neutral.fields import Drops, join_path
from providers.neutral.media import is_video
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
from providers.neutral.texts import FIRST_TEXT
from streams.errors import invalid

Block = dict[str, Any]

MAX_POINTS: Final = 4
_LIFETIMES: Final = ("5m", "1h")
_LONG: Final = "1h"


class CachePoints:
    """The cache points of one request, in prompt order: tools, system, messages.

    A ``cachePoint`` block follows the marked block. Claude Code marks every request, which made every model without
    caching fail; a dropped lifetime made the next one a 400 (Portkey-AI/gateway#1762, 0xPlaygrounds/rig#1673,
    strands-agents/sdk-typescript#1089).
    """

    def __init__(self, places: tuple[Place, ...], drops: Drops) -> None:
        self._places = places
        self._drops = drops
        self._points: list[tuple[Block, str]] = []

    def append(self, blocks: list[Block], mark: Mapping[str, Any], place: Place, path: str) -> None:
        """Append a cache point to ``blocks`` if the model accepts one there.

        Appends nothing after another cache point, after reasoning, or to an empty list. ``path`` is the client's
        path to the mark.
        """
        if place not in self._places or not blocks or "reasoningContent" in blocks[-1]:
            self._drops.add(path)
            return
        if "cachePoint" in blocks[-1]:
            return
        point: Block = {"type": "default"}
        if (ttl := mark.get("ttl")) in _LIFETIMES:
            point["ttl"] = ttl
        elif ttl is not None:
            self._drops.add(f"{path}.ttl")
        blocks.append({"cachePoint": point})
        self._points.append((point, path))

    def limit(self, *holders: list[Block]) -> None:
        """Remove all but the last four points from ``holders``, as later ones cover more, and shorten lifetimes that
        exceed an earlier one."""
        excess = self._points[:-MAX_POINTS]
        removed = {id(point) for point, _ in excess}
        self._drops.add(*(path for _, path in excess))
        for blocks in holders if removed else ():
            blocks[:] = [block for block in blocks if id(block.get("cachePoint")) not in removed]
        short = False
        for point, path in self._points[len(excess) :]:
            if short and point.get("ttl") == _LONG:
                point["ttl"] = _LIFETIMES[0]
                self._drops.add(f"{path}.ttl")
            short = point.get("ttl") != _LONG


_INSTRUCTIONS: Final = ("system", "developer")
_DOCUMENT_MARKS: Final = ("context", "citations")
_REASONING: Final = ("reasoningText", "redactedContent")

_NO_OUTPUT: Final = "(no output)"
_DOCUMENT_TEXT: Final = "See the document."


class History:
    """The written messages of one request; ``write`` fills ``system`` and ``messages``."""

    def __init__(self, request: Request, issuer: Issuer, family: Family, points: CachePoints, drops: Drops) -> None:
        self.system: list[Block] = []
        self.messages: list[dict[str, Any]] = []
        self._request = request
        self._issuer = issuer
        self._family = family
        self._points = points
        self._drops = drops
        self._names = DocumentNames()

    def write(self, messages: Sequence[Message]) -> None:
        """Write ``messages``. Raises ``GatewayError`` (400) with the path of a part that the API cannot express."""
        leading = list(takewhile(lambda message: message.role in _INSTRUCTIONS, messages))
        for message in leading:
            self._add_instructions(self.system, message, "system")
        for message in messages[len(leading) :]:
            self._write_message(message)
        self.messages = [message for message in self.messages if message["content"]]
        if not self.messages and self.system:  # the API requires a message besides the instructions
            self.messages = [{"role": "user", "content": [*self.system]}]
            self.system = []
        if not self.messages or self.messages[0]["role"] != "user":
            self.messages.insert(0, {"role": "user", "content": [{"text": FIRST_TEXT}]})
        for written in self.messages:
            _order_content(written)

    def _write_message(self, message: Message) -> None:
        role = "assistant" if message.role == "assistant" else "user"
        if message.name is not None:
            self._drops.add(join_path(message.at, "name"))
        content: list[Block] = []
        if message.role in _INSTRUCTIONS:
            # Stays in place: moving it to `system` would invalidate the whole cached prefix.
            self._add_instructions(content, message, "messages", "<system>\n{}\n</system>")
        else:
            for part in message.parts:
                self._add_part(content, part, role == "assistant")
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
                self._write_marks(content, part, place)
            elif isinstance(part, NativePart):
                self._add_native(content, part)
            else:
                raise invalid(f"{part.at} must be text: this model's provider supports nothing else there", part.at)

    def _add_part(self, content: list[Block], part: Part, assistant: bool) -> None:
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
                self._write_marks(content, part)
            case ToolResultPart():
                self._add_result(content, part)
            case NativePart():
                self._add_native(content, part)
            case ImagePart() | FilePart() | AudioPart() if assistant:
                self._drops.add(part.at)  # the API accepts no media in a model's message
            case ImagePart() | FilePart():
                content.append(self._media_block(part))
                self._write_marks(content, part, handled=_DOCUMENT_MARKS if isinstance(part, FilePart) else ())
            case AudioPart():
                content.append(sound_block(part))
                self._write_marks(content, part)
            case _:
                assert_never(part)

    def _add_text(self, content: list[Block], part: TextPart, text: str) -> None:
        """Add a text that is not blank; the mark of a blank one goes to the previous block.

        White space as a placeholder used to be accepted, then conversations were lost (NousResearch/hermes-agent#63983,
        archestra-ai/archestra#4220).
        """
        citations = part.marks.get("citations") if self._request.api == "converse" else None
        if text.strip():
            plain: Block = {"text": text}
            native = isinstance(citations, list)
            content.append({"citationsContent": {"content": [plain], "citations": citations}} if native else plain)
        self._write_marks(content, part, handled=() if citations is None else ("citations",))

    def _add_reasoning(self, content: list[Block], part: ReasoningPart) -> None:
        item = restored_item(part.seal, self._issuer) if part.seal is not None else None
        if part.seal is None and self._request.api == "converse":
            item = part.native
        elif part.seal is None and self._request.api == "messages" and self._family.effort == "thinking":
            item = _bedrock_thinking(part.native)
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
        """Add the result of a tool. It must never be empty, least of all for an error (METR/hawk#1245)."""
        inner: list[Block] = []
        for one in part.parts:
            if not isinstance(one, TextPart):
                inner.append(self._media_block(one))
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
        for holder in (*part.parts, part):  # cache points follow the result, never inside it
            self._write_marks(content, holder, handled=_DOCUMENT_MARKS if isinstance(holder, FilePart) else ())

    def _media_block(self, part: ImagePart | FilePart) -> Block:
        if isinstance(part, ImagePart):
            if part.detail not in (None, "auto"):
                self._drops.add(join_path(part.at, "detail"))
            return image_block(part)
        if is_video(part.source):
            return video_block(part.source, part.at)
        block = document_block(part, self._names)
        if isinstance(context := part.marks.get("context"), str) and context:
            block["document"]["context"] = context
        citations = part.marks.get("citations")
        if isinstance(citations, Mapping) and citations.get("enabled"):
            block["document"]["citations"] = {"enabled": True}
        return block

    def _write_marks(
        self, content: list[Block], part: Any, place: Place = "messages", handled: tuple[str, ...] = ()
    ) -> None:
        """Write the marks of ``part``, the last block in ``content``; report those that the API lacks, except
        ``handled`` ones."""
        for name, value in part.marks.items():
            if (mark := cache_control(name, value)) is not None:
                self._points.append(content, mark, place, join_path(part.at, name))
            elif name not in handled:
                self._drops.add(join_path(part.at, name))


def _bedrock_thinking(block: Any) -> Block | None:
    """Return a thinking block of Claude's own API in Bedrock's form, or ``None``.

    Claude's signatures are valid on every platform. If another model signed it, the provider rejects the request, and
    the gateway repeats it without the block. Source:
    https://platform.claude.com/docs/en/build-with-claude/extended-thinking
    """
    match block:
        case {"type": "thinking", "thinking": str(text), "signature": str(signature)} if signature:
            return {"reasoningText": {"text": text, "signature": signature}}
        case {"type": "redacted_thinking", "data": str(data)} if data:
            return {"redactedContent": data}
    return None


def restored_item(seal: Seal, issuer: Issuer) -> Any:
    """Return the reasoning in a seal of ``issuer``; ``None`` for a seal of another issuer or API."""
    if not issuer.is_maker_of(seal) or seal.api != "converse" or not isinstance(seal.item, dict):
        return None
    return seal.item if any(name in seal.item for name in _REASONING) else None


def _order_content(message: dict[str, Any]) -> None:
    """Order the content of a message as the API requires.

    An assistant's message has reasoning, text, then calls (aws/bedrock-agentcore-sdk-python#419); a user's starts with
    results, and has a text besides documents.
    """
    content: list[Block] = message["content"]
    if message["role"] == "user":
        content[:] = _move_last(content, lambda block: "toolResult" not in block)
        kinds = {kind for block in content for kind in block}
        if "document" in kinds and "text" not in kinds:
            content.append({"text": _DOCUMENT_TEXT})
        return
    content[:] = _move_last(content, _is_call)
    if not _is_reasoning(content[0]):
        content[:] = _move_last(content, lambda block: not _is_reasoning(block))


def _move_last(content: list[Block], later: Callable[[Block], bool]) -> list[Block]:
    """Return ``content`` with the ``later`` blocks last; a cache point stays after its block."""
    groups: list[list[Block]] = []
    for block in content:
        if "cachePoint" in block and groups:
            groups[-1].append(block)
        else:
            groups.append([block])
    groups.sort(key=lambda group: later(group[0]))
    return [block for group in groups for block in group]


def _is_call(block: Block) -> bool:
    return "toolUse" in block and block["toolUse"].get("type") != "server_tool_use"


def _is_reasoning(block: Block) -> bool:
    return "reasoningContent" in block
