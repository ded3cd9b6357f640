"""Readers of the parts of a Gemini answer: texts, thoughts, calls, and parts of this API only.

Only ``thought`` marks reasoning: a signature does not, and a thought may have none (BerriAI/litellm#17266,
decolua/9router#1752). All kinds share an ``UnfinishedAnswer``.

The gateway does not request arguments in pieces with JSON paths, but a client of the API may (Vertex AI,
``streamFunctionCallArguments``; source: its ``PartialArg``).
"""

import re
from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

import msgspec

from providers.neutral.bounds import PLACE, VALUE, AnswerBudgets, Budget, check_length
from providers.neutral.codec import new_id
from providers.neutral.made_images import SIGNED, image_mark, made_images
from providers.neutral.values import arguments_text, as_string
from streams.errors import GatewayError
from streams.events import (
    BlockEnd,
    Event,
    NativeItem,
    ReasoningDelta,
    ReasoningState,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
)

_STEP: Final = re.compile(r"\.([^.\[\]]+)|\[(\d{1,6})\]|\['((?:[^'\\]|\\.)*)'\]|\[\"((?:[^\"\\]|\\.)*)\"\]")
_MAX_DEPTH: Final = 64
_WHAT: Final = "pieces of arguments"

_Step: TypeAlias = str | int


class _Pieces(list[str]):
    """A text that is still incomplete."""


class PartialArguments:
    """The arguments of one call so far."""

    __slots__ = ("_budget", "_holds_content", "_root")

    def __init__(self, budget: Budget, holds_content: bool) -> None:
        self._budget = budget
        self._holds_content = holds_content
        self._root: dict[str, Any] = {}

    def set_whole(self, args: Any) -> None:
        """Store arguments that the call's first part carries whole."""
        if isinstance(args, dict) and self._holds_content:
            self._root = dict(args)

    def add(self, pieces: Any) -> None:
        """Add the pieces of ``partialArgs``. Raises ``GatewayError`` for a path that does not exist."""
        if not self._holds_content or not isinstance(pieces, list):
            return
        for piece in check_length(pieces, _WHAT):
            if isinstance(piece, dict):
                path = _parse_path(piece.get("jsonPath"))
                text = piece.get("stringValue")
                self._budget.spend(VALUE * len(path) + (len(text) if isinstance(text, str) else VALUE), _WHAT)
                _insert_at(self._root, path, _piece_value(piece))

    def end_events(self, block: int) -> list[Event]:
        """Return the event with the whole arguments."""
        return (
            [ToolCallDelta(block, msgspec.json.encode(_join_pieces(self._root)).decode())]
            if self._holds_content
            else []
        )


def _parse_path(path: Any) -> list[_Step]:
    text = path if isinstance(path, str) else ""
    rest = text.removeprefix("$")
    steps: list[_Step] = []
    at = 0
    while at < len(rest) and (found := _STEP.match(rest, at)) is not None and len(steps) < _MAX_DEPTH:
        name, index, single, double = found.groups()
        steps.append(int(index) if index is not None else name or single or double or "")
        at = found.end()
    if at < len(rest) or not steps or not isinstance(steps[0], str):
        raise _bad_path_error(text)
    return steps


def _piece_value(piece: Mapping[str, Any]) -> Any:
    for member in ("numberValue", "boolValue"):
        if member in piece:
            return piece[member]
    text = piece.get("stringValue")
    return _Pieces((text,)) if isinstance(text, str) else None


def _insert_at(holder: Any, path: list[_Step], value: Any) -> None:
    for i, step in enumerate(path):
        last = i == len(path) - 1
        made = value if last else ({} if isinstance(path[i + 1], str) else [])
        if isinstance(step, str) and isinstance(holder, dict):
            found = holder.setdefault(step, made)
        elif isinstance(step, int) and isinstance(holder, list) and step <= len(holder):
            if step == len(holder):
                holder.append(made)
            found = holder[step]
        else:
            raise _bad_path_error(str(step))
        if last and found is not made:
            if isinstance(found, _Pieces) and isinstance(value, _Pieces):
                found.extend(value)
            else:
                holder[step] = value
        holder = found


def _join_pieces(value: Any) -> Any:
    match value:
        case _Pieces():
            return "".join(value)
        case list():
            return [_join_pieces(item) for item in value]
        case dict():
            return {name: _join_pieces(item) for name, item in value.items()}
    return value


def _bad_path_error(path: str) -> GatewayError:
    message = f"the provider sent a part of arguments with an invalid path ({path[:100]!r})"
    return GatewayError("upstream", message, reason="bad_answer")


TextKind: TypeAlias = Literal["text", "thought"]

MAX_CITED: Final = 2**20
"""Characters of a text that are kept to convert citation positions from bytes; longer texts are cited as a whole."""

MAX_SCANNED: Final = 16 * MAX_CITED
"""Limit of characters scanned for positions in total; citations arrive once or twice in an answer."""


class UnfinishedAnswer(AnswerBudgets):
    """The state shared by all kinds of parts.

    At most one block is open: text, thought, or a call with arguments in pieces. All other parts arrive whole.
    """

    __slots__ = (
        "arguments",
        "block_count",
        "call_ids",
        "number",
        "scanned",
        "seen_citations",
        "signatures",
        "signed",
        "text",
        "text_kind",
        "text_size",
    )  # fmt: skip

    def __init__(self, content_limit: int, places: Budget | None = None) -> None:
        super().__init__(content_limit, places)
        self.block_count = 0  # block numbers used so far
        self.number = 0  # the number of the open block
        self.text_kind: TextKind | None = None  # the kind of the open block
        self.arguments: PartialArguments | None = None  # the arguments of the open call
        self.signed = False  # whether the open text has its signature
        self.signatures: list[Mapping[str, Any]] = []  # signatures of the open text, which follow it
        self.text: list[str] = []  # pieces of the open text
        self.text_size = 0
        self.scanned = 0
        self.seen_citations: set[tuple[str, int | None, int | None]] = set()  # citations of the open text so far
        self.call_ids: set[str] = set()

    def new_block(self) -> int:
        self.block_count += 1
        return self.block_count - 1

    def state_block(self, item: Mapping[str, Any]) -> list[Event]:
        """Return the events of a reasoning block that only contains ``item``."""
        number = self.new_block()
        return [ReasoningState(number, "gemini", item), BlockEnd(number)]

    def sign_block(self, item: Mapping[str, Any]) -> list[Event]:
        """Return the events for the end of the open block and ``item`` as the state of its thoughts.

        Clients send back the signature of a thought with its text, but some not a signature alone, so a thought
        contains ``item``. Other blocks end before it.
        """
        if self.text_kind == "thought":
            return [ReasoningState(self.number, "gemini", item), *self.end_block()]
        return [*self.end_block(), *self.state_block(item)]

    def store_signature(self, item: Mapping[str, Any]) -> None:
        """Store the signature of the open text until its end. Raises ``AnswerTooLarge`` beyond the limit."""
        self.places.spend(PLACE + len(item["signature"]), "signatures")
        self.signatures.append(item)

    def call_id(self, provider_id: object) -> str:
        """Return the id of a call: ``provider_id``, or a new one that is unique in the conversation.

        A counter for each answer assigned results to the wrong call (praxis-proxy/ai#1000).
        """
        id = (
            provider_id
            if isinstance(provider_id, str) and provider_id and provider_id not in self.call_ids
            else new_id("call_")
        )
        self.call_ids.add(id)
        return id

    def open_text(self, text_kind: TextKind) -> list[Event]:
        """Open a block of ``text_kind`` unless one is open, and return the events for the end of the previous block."""
        if self.text_kind == text_kind:
            return []
        events = self.end_block()
        self.number, self.text_kind = self.new_block(), text_kind
        return events

    def end_block(self) -> list[Event]:
        """Close the open block, and return its end and the events that waited for it."""
        if self.arguments is not None:
            events = self.arguments.end_events(self.number)
            self.arguments = None
            return [*events, BlockEnd(self.number)]
        if self.text_kind is None:
            return []
        events = [BlockEnd(self.number)]
        self.text_kind, self.signed, self.text, self.text_size = None, False, [], 0
        self.seen_citations.clear()
        for item in self.signatures:
            events += self.state_block(item)
        self.signatures = []
        return events

    def store_text(self, text: str) -> None:
        """Store ``text`` for citations up to the limit."""
        if self.holds_content and self.text_size <= MAX_CITED:
            self.text_size += len(text)
            self.text.append(text)
            if self.text_size > MAX_CITED:
                self.text = []


def call_events(answer: UnfinishedAnswer, part: Mapping[str, Any], signature: str) -> list[Event]:
    """Return the events of a ``functionCall`` part.

    A call without a name keeps an empty one, also if its arguments arrive in pieces: these must not become arguments of
    the next call (BerriAI/litellm#23815).
    """
    item = part["functionCall"]
    name, args = as_string(item.get("name")), item.get("args")
    if not name and answer.arguments is not None:
        answer.arguments.add(item.get("partialArgs"))
        return [] if item.get("willContinue") else answer.end_block()
    is_empty = not (name or item.get("partialArgs") or item.get("willContinue")) and args is None
    if is_empty and (not (id := item.get("id")) or as_string(id) in answer.call_ids):
        return []  # the end of a call that has already ended
    answer.places.spend(PLACE, "tool calls")
    id = answer.call_id(item.get("id"))
    state = {"part": "functionCall", "id": id, "signature": signature}
    events = answer.sign_block(state) if signature else answer.end_block()
    number = answer.new_block()
    events.append(ToolCallStart(number, id, name))
    if item.get("willContinue") or "partialArgs" in item:
        answer.number = number
        answer.arguments = PartialArguments(answer.held, answer.holds_content)
        answer.arguments.set_whole(args)
        answer.arguments.add(item.get("partialArgs"))
        return events if item.get("willContinue") else [*events, *answer.end_block()]
    return [*events, ToolCallDelta(number, arguments_text(args) or "{}"), BlockEnd(number)]


REPLAYED: Final = ("executableCode", "codeExecutionResult", "toolCall", "toolResponse")
"""Parts of Google's own tools that it requires back on the next turn.

Clients of other APIs have no block for them, so the part itself is sealed.
"""

_DESCRIPTIVE: Final = frozenset(("thought", "thoughtSignature", "partMetadata", "videoMetadata", "mediaResolution"))
"""Members that describe a part but do not determine its kind."""


def part_events(answer: UnfinishedAnswer, part: Mapping[str, Any]) -> list[Event]:
    signature = part.get("thoughtSignature")
    signature = signature if isinstance(signature, str) else ""
    text = part.get("text")
    text = text if isinstance(text, str) else None
    has_call = "functionCall" in part and isinstance(part["functionCall"], dict)
    events: list[Event] = []
    if text is not None and (text or not has_call):
        text_kind = _thought_events if part.get("thought") is True else _text_events
        events = text_kind(answer, text, "" if has_call else signature)
    if has_call:  # next to a text, often an empty one, in some servers' answers (trpc-group/trpc-agent-go#1089)
        return [*events, *call_events(answer, part, signature)]
    if text is not None or "functionCall" in part:
        return events
    kind = next((name for name in part if name not in _DESCRIPTIVE), None)
    if kind is not None:
        return _native_events(answer, kind, part)
    return _text_events(answer, "", signature)


def _text_events(answer: UnfinishedAnswer, text: str, signature: str) -> list[Event]:
    """Return the events of visible text.

    The signature follows a text that has already started, and precedes a new one. A second signed text starts a new
    block.
    """
    if not text:
        return _signature_events(answer, signature) if signature else []
    signed = {"part": "text", "signature": signature}
    if not signature:
        events = answer.open_text("text")
    elif answer.text_kind == "text" and not answer.signed:
        events = []
        answer.store_signature(signed)
        answer.signed = True
    else:
        events = [*answer.end_block(), *answer.state_block(signed), *answer.open_text("text")]
        answer.signed = True
    answer.store_text(text)
    return [*events, TextDelta(answer.number, text)]


def _signature_events(answer: UnfinishedAnswer, signature: str) -> list[Event]:
    """Return the events of a part with only a signature, or store it until the end of the open text, which may still be
    cited."""
    item = {"part": "text", "empty": True, "signature": signature}
    if answer.text_kind == "text":
        answer.store_signature(item)
        return []
    return [*answer.end_block(), *answer.state_block(item)]


def _thought_events(answer: UnfinishedAnswer, text: str, signature: str) -> list[Event]:
    events = answer.open_text("thought") if text or signature else []
    if text:
        events.append(ReasoningDelta(answer.number, text))
    if signature:
        events.append(ReasoningState(answer.number, "gemini", {"part": "thought", "signature": signature}))
        events += answer.end_block()
    return events


def _native_events(answer: UnfinishedAnswer, kind: str, part: Mapping[str, Any]) -> list[Event]:
    """Return the events of a part that only this API can express, whole.

    The signature of an image precedes it: clients of other APIs send both back, in different places.
    """
    events = answer.end_block()
    if kind in REPLAYED:
        events += answer.state_block({"part": kind, "native": part})
    elif kind == SIGNED and (signature := as_string(part.get("thoughtSignature"))):
        for image in made_images("gemini", part):
            answer.places.spend(PLACE, "images")
            events += answer.state_block({"part": kind, "id": image_mark(image.data), "signature": signature})
    return [*events, NativeItem(answer.new_block(), "gemini", kind, part)]
