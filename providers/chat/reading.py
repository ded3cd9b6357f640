"""Readers of the content of a provider's Chat answer, by kind: texts, reasoning, images, tool calls.

``add_delta`` reads one delta; all kinds share an ``OpenAnswer``.

OpenAI numbers its calls and sends each name once. Other servers omit the number (Mistral), give every call the same one
(Ollama: huggingface/smolagents#1569), send an empty id (Google's and Alibaba's endpoints), or repeat id and name on
every fragment (langchain-ai/langchain#35281).
"""

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from providers.chat.chunks import Choice, Delta
from providers.chat.parts import CALL_EXTRA, EXTRA, TYPED_FIELD
from providers.neutral.bounds import PLACE, VALUE, AnswerBudgets, Budget
from providers.neutral.codec import new_id
from providers.neutral.values import arguments_text, as_string, bounded_objects
from streams.events import (
    BlockEnd,
    Citation,
    Event,
    NativeItem,
    ReasoningDelta,
    ReasoningState,
    RefusalDelta,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
    ToolKind,
)
from streams.structure import PIECE

_NO_MARKS = bytes(set(range(256)) - set(b'"{[]}'))


class Nesting:
    """The nesting depth of a JSON object that arrives in pieces, without storing them."""

    __slots__ = ("_depth", "_has_text", "_in_string", "_is_escaped")

    def __init__(self) -> None:
        self._has_text = False
        self._depth = 0
        self._in_string = False
        self._is_escaped = False  # the last piece ended with a backslash

    def add(self, text: str) -> None:
        self._has_text = self._has_text or not text.isspace()
        at = 0
        while at < len(text):
            at += self._is_escaped
            self._count_marks(text[at : at + PIECE])
            at += PIECE

    def _count_marks(self, piece: str) -> None:
        """Count the marks of a piece with a few calls into C: a provider may send megabytes of quotes and brackets."""
        bare = piece.replace("\\\\", "")
        self._is_escaped = bare.endswith("\\")
        marks = bare.replace('\\"', "").encode(errors="replace").translate(None, _NO_MARKS)
        parts = marks.replace(b'""', b"").split(b'"')  # an empty string has no marks
        open_marks = b"".join(parts[self._in_string :: 2])
        self._depth += len(open_marks) - 2 * len(open_marks.translate(None, b"{["))
        self._in_string ^= len(parts) % 2 == 0

    @property
    def is_empty(self) -> bool:
        """True until something has arrived."""
        return not self._has_text

    @property
    def is_incomplete(self) -> bool:
        """True while a string or bracket is open."""
        return self._depth > 0 or self._in_string

    @property
    def is_complete(self) -> bool:
        """True once something has arrived and nothing is open."""
        return self._has_text and not self.is_incomplete


class ToolCall:
    """A tool call whose fragments are still arriving. ``block`` is None until its name is known."""

    __slots__ = ("arguments", "block", "id", "kind", "name", "number", "pieces", "provider_id")

    def __init__(self, number: int, provider_id: str, id: str) -> None:
        self.number = number  # of the calls before it
        self.provider_id = provider_id  # the provider's id, or ""
        self.id = id
        self.name = ""
        self.kind: ToolKind = "function"
        self.block: int | None = None
        self.pieces: list[str] = []  # arguments that wait for the name
        self.arguments = Nesting()

    @property
    def is_incomplete(self) -> bool:
        """True if the arguments so far are incomplete."""
        return self.kind == "function" and self.arguments.is_incomplete


class Calls:
    """The tool calls of one answer. With ``is_whole``, each has arrived in one piece, whatever its id and index."""

    def __init__(self, places: Budget, *, is_whole: bool = False) -> None:
        self.is_whole = is_whole
        self._places = places
        self._by_index: dict[int, ToolCall] = {}
        self._by_id: dict[str, ToolCall] = {}
        self._last: ToolCall | None = None

    def __iter__(self) -> Iterator[ToolCall]:
        return iter(self._by_id.values())

    def __len__(self) -> int:
        return len(self._by_id)

    @property
    def is_incomplete(self) -> bool:
        return any(call.is_incomplete for call in self)

    def find(self, fragment: Mapping[str, Any], name: str, text: str) -> ToolCall:
        """Return the call that ``fragment`` continues, or a new one."""
        index, provider_id = fragment.get("index"), as_string(fragment.get("id"))
        found = None if self.is_whole and name else self._find_known(index, provider_id, name)
        if found is None or _starts_new_call(found, provider_id, name, text):
            id = provider_id if provider_id and provider_id not in self._by_id else new_id("call_")
            found = ToolCall(len(self), provider_id, id)
            self._places.spend(PLACE + len(found.id) + len(name), "tool calls")
            self._by_id[found.id] = found
        if isinstance(index, int):
            self._by_index[index] = found
        self._last = found
        return found

    def _find_known(self, index: Any, provider_id: str, name: str) -> ToolCall | None:
        if isinstance(index, int):
            return self._by_index.get(index)
        if provider_id:
            return self._by_id.get(provider_id)
        return None if name else self._last


def _starts_new_call(found: ToolCall, provider_id: str, name: str, text: str) -> bool:
    """Return whether a fragment with a known number starts another call."""
    if provider_id and found.provider_id:
        return provider_id != found.provider_id and bool(name or found.arguments.is_complete)
    return bool(name and text and found.name and not found.provider_id and found.arguments.is_complete)


def parse_fragment(fragment: Mapping[str, Any]) -> tuple[ToolKind, str, str]:
    """Return a fragment's kind, name (or "") and piece of the arguments."""
    custom = fragment.get("custom")
    if isinstance(custom, dict) and (fragment.get("type") == "custom" or "function" not in fragment):
        return "custom", as_string(custom.get("name")), arguments_text(custom.get("input"))
    function = fragment.get("function")
    if not isinstance(function, dict):
        return "function", "", ""
    return "function", as_string(function.get("name")), arguments_text(function.get("arguments"))


_TEXT_MEMBERS = {"reasoning.text": "text", "reasoning.summary": "summary"}  # by type, the member that arrives in pieces


def detail_text(detail: Mapping[str, Any]) -> str:
    """Return the text in one of the ``reasoning_details``, or ""."""
    member = _TEXT_MEMBERS.get(as_string(detail.get("type")))
    return as_string(detail.get(member)) if member else ""


class Details:
    """``reasoning_details`` assembled from pieces, as the provider requires them on the next turn.

    A piece continues the previous one if type and index agree: its text is appended, its other members replace.
    """

    def __init__(self) -> None:
        self._items: list[tuple[dict[str, Any], list[str]]] = []

    def __bool__(self) -> bool:
        return bool(self._items)

    def add(self, detail: Mapping[str, Any]) -> None:
        """Add one piece."""
        text = detail_text(detail)
        item, pieces = self._items[-1] if self._items else ({}, [])
        is_text = as_string(detail.get("type")) in _TEXT_MEMBERS
        if item and is_text and all(item.get(name) == detail.get(name) for name in ("type", "index")):
            item.update((name, value) for name, value in detail.items() if value is not None)
            pieces.append(text)
        else:
            self._items.append((dict(detail), [text]))

    def take_all(self) -> list[dict[str, Any]]:
        """Return the details so far and start a new list."""
        for item, pieces in self._items:
            member = _TEXT_MEMBERS.get(as_string(item.get("type")))
            if member and (member in item or any(pieces)):
                item[member] = "".join(pieces)
        items = [item for item, _ in self._items]
        self._items = []
        return items


Speech: TypeAlias = type[TextDelta] | type[RefusalDelta] | type[ReasoningDelta]


class OpenAnswer(AnswerBudgets):
    """The state shared by all kinds of content.

    Blocks are numbered as they open; at most one block other than tool calls is open.
    """

    __slots__ = ("block", "blocks", "calls", "citations", "details", "field", "logprobs", "speech", "tools")

    def __init__(self, content_limit: int, places: Budget | None = None) -> None:
        super().__init__(content_limit, places)
        self.blocks = 0
        self.block: int | None = None  # the open block that is not a tool call
        self.speech: Speech = TextDelta  # the kind of events in it
        self.citations: list[Any] = []  # texts: citations that arrived before their text
        self.logprobs: list[Any] = []  # texts: of tokens whose text has not arrived
        self.field = ""  # reasoning: the member that carried it
        self.details = Details()  # reasoning: of the open or next block
        self.calls = Calls(self.places)
        self.tools: list[int] = []  # calls: their blocks, which stay open until the end

    def next_block(self) -> int:
        """Return the number of a new block."""
        self.blocks += 1
        return self.blocks - 1

    def block_for(self, speech: Speech, out: list[Event]) -> int:
        """Return the open block for ``speech``, opening a new one if necessary."""
        return self.open_block(speech, out) if self.block is None or self.speech is not speech else self.block

    def open_block(self, speech: Speech, out: list[Event]) -> int:
        """Close the open block and open one for ``speech``."""
        self.close_block(out)
        self.speech = speech
        self.block = self.next_block()
        return self.block

    def close_block(self, out: list[Event]) -> None:
        """Close the open block other than tool calls, with the state of its reasoning.

        Details without readable reasoning get a block of their own.
        """
        if self.details and (self.block is None or self.speech is not ReasoningDelta):
            if self.block is not None:
                out.append(BlockEnd(self.block))
            self.block, self.speech = self.next_block(), ReasoningDelta
        if self.block is None:
            return
        if self.speech is ReasoningDelta and (item := self._state_item()):
            out.append(ReasoningState(self.block, "chat", item))
        out.append(BlockEnd(self.block))
        self.block = None

    def _state_item(self) -> dict[str, Any]:
        """Return the item that the provider requires back for the open reasoning, or ``{}``."""
        if self.details:
            return {"reasoning_details": self.details.take_all()}
        return {"field": self.field} if self.field else {}


def add_text(answer: OpenAnswer, text: str, out: list[Event]) -> None:
    """Add the events of a piece of text, with the log probabilities and citations that waited for it."""
    block = answer.block
    if block is None or answer.speech is not TextDelta:
        block = answer.open_block(TextDelta, out)
    if answer.logprobs:
        out.append(TextDelta(block, text, answer.logprobs))
        answer.logprobs = []
    else:
        out.append(TextDelta(block, text))
    if answer.citations:
        _add_waiting_citations(answer, block, out)


def add_audio(answer: OpenAnswer, audio: Any, content: Any, out: list[Event]) -> None:
    """Add the transcript of speech, unless ``content`` contains the same text, as on some servers."""
    text = as_string(audio.get("transcript")) if isinstance(audio, dict) else ""
    if text and text.strip() != _joined_text(content).strip():
        add_text(answer, text, out)


def _joined_text(value: Any) -> str:
    """Return the text of typed content, or of Mistral's ``thinking``: an array of text parts or a string."""
    return value if isinstance(value, str) else "".join(as_string(part.get("text")) for part in bounded_objects(value))


def store_logprobs(answer: OpenAnswer, logprobs: Any) -> None:
    """Store log probabilities for the text; a token may be a fraction of a character and have no text."""
    tokens = logprobs.get("content") if isinstance(logprobs, dict) else None
    if isinstance(tokens, list):  # no limit: there are as many as tokens
        answer.logprobs.extend(token for token in tokens if isinstance(token, dict))


def add_citations(answer: OpenAnswer, annotations: Any, out: list[Event]) -> None:
    """Add the citations of the open text, or store them for the next one (OpenRouter sends them first)."""
    answer.citations.extend(item for item in bounded_objects(annotations) if item.get("type") == "url_citation")
    if answer.block is not None and answer.speech is TextDelta:
        _add_waiting_citations(answer, answer.block, out)
    elif answer.citations:
        answer.charge_event("citations")


def add_pages(answer: OpenAnswer, pages: Any, out: list[Event]) -> None:
    """Add the pages of a search, which no text cites, as OpenRouter lists them
    (https://docs.perplexity.ai/docs/sonar/openai-compatibility)."""
    found = [one for one in bounded_objects(pages) if as_string(one.get("url"))]
    links = [{"url": one["url"], "title": as_string(one.get("title")), "start_index": 0, "end_index": 0,
              "content": as_string(one.get("snippet"))} for one in found]  # fmt: skip
    add_citations(answer, [{"type": "url_citation", "url_citation": link} for link in links], out)


def _add_waiting_citations(answer: OpenAnswer, block: int, out: list[Event]) -> None:
    out.extend(Citation(block, "chat", item) for item in answer.citations)
    answer.citations.clear()


def add_reasoning(answer: OpenAnswer, delta: Delta, out: list[Event]) -> None:
    """Add the event of a piece of reasoning, once if it arrives under two names (BerriAI/litellm#29600)."""
    details = bounded_objects(delta.reasoning_details)
    for field, text in (
        ("reasoning_content", delta.reasoning_content),
        ("reasoning", delta.reasoning),
        ("", "" if answer.field else "".join(map(detail_text, details))),
    ):
        if text and isinstance(text, str):
            _add_reasoning(answer, field, text, out)
            break
    if details and answer.holds_content:
        answer.charge_event("reasoning details")
        for detail in details:  # after the text, because they belong to the block that it opened
            answer.details.add(detail)


def _add_reasoning(answer: OpenAnswer, field: str, text: str, out: list[Event]) -> None:
    out.append(ReasoningDelta(answer.block_for(ReasoningDelta, out), text))
    answer.field = field


def add_images(answer: OpenAnswer, images: Any, out: list[Event]) -> None:
    """Add the images that the model made, each as an item of its own."""
    for image in bounded_objects(images):
        answer.places.spend(PLACE, "images")
        answer.close_block(out)
        out.append(NativeItem(answer.next_block(), "chat", "image_url", image))


def add_calls(answer: OpenAnswer, delta: Delta, out: list[Event]) -> None:
    """Add the events of fragments of tool calls."""
    for fragment in bounded_objects(delta.tool_calls):
        _add_fragment(answer, fragment, out)
    if isinstance(delta.function_call, dict):  # the older form, with one call at most
        _add_fragment(answer, {"index": -1, "function": delta.function_call}, out)


def _add_fragment(answer: OpenAnswer, fragment: Mapping[str, Any], out: list[Event]) -> None:
    kind, name, text = parse_fragment(fragment)
    if not (name or text or fragment.get("id")):
        return
    call = answer.calls.find(fragment, name, text)
    if isinstance(extra := fragment.get(EXTRA), dict) and answer.holds_content:
        answer.charge_event("tool calls")
        answer.details.add({"type": CALL_EXTRA, "id": call.id, EXTRA: extra})
    if call.block is None:
        call.kind = kind
        if name:
            _start_call(answer, call, name, out)
    if text:
        _add_input(answer, call, text, out)


def _start_call(answer: OpenAnswer, call: ToolCall, name: str, out: list[Event]) -> None:
    """Add the start of ``call`` and its arguments so far."""
    answer.close_block(out)
    call.name, call.block = name, answer.next_block()
    answer.tools.append(call.block)
    out.append(ToolCallStart(call.block, call.id, name, call.kind))
    out.extend(ToolCallDelta(call.block, piece) for piece in call.pieces)


def start_nameless_calls(answer: OpenAnswer, out: list[Event], *, has_called: bool) -> None:
    """Add the calls whose name never arrived, with an empty name: the client must see that the model called.

    A call with neither a name nor arguments may be a server's empty fragment, unless the answer has no other call
    although it ``has_called`` a tool, according to its end.
    """
    is_only = has_called and not answer.tools
    for call in answer.calls:
        if call.block is None and (is_only or not call.arguments.is_empty):
            _start_call(answer, call, "", out)


def _add_input(answer: OpenAnswer, call: ToolCall, text: str, out: list[Event]) -> None:
    call.arguments.add(text)
    if call.block is None:
        # The byte lane, which holds no content, checks the arguments.
        budget = answer.held if answer.holds_content else answer.places
        budget.spend(VALUE + len(text), "arguments without a name")
        call.pieces.append(text)
    else:
        out.append(ToolCallDelta(call.block, text))


def add_delta(answer: OpenAnswer, choice: Choice, out: list[Event]) -> None:
    """Read all members of a choice's delta: reasoning before text, citations while the text is open, calls last."""
    # A `message` is a whole answer in one event, or repeats the deltas before it.
    delta = choice.delta or (None if answer.blocks else choice.message)
    if delta is None:
        return
    if delta.reasoning_content or delta.reasoning or delta.reasoning_details:
        add_reasoning(answer, delta, out)
    content = delta.content
    if type(content) is str:
        if choice.logprobs and answer.holds_content:
            store_logprobs(answer, choice.logprobs)
            if not content:
                answer.charge_event("log probabilities")
        if content:
            add_text(answer, content, out)
    elif content is not None:
        _add_parts(answer, content, out)
    if delta.audio:
        add_audio(answer, delta.audio, content, out)
    if delta.annotations and answer.holds_content:
        add_citations(answer, delta.annotations, out)
    if delta.refusal or delta.images or delta.tool_calls or delta.function_call:
        _add_after_text(answer, delta, out)


def _add_after_text(answer: OpenAnswer, delta: Delta, out: list[Event]) -> None:
    _add_refusal(answer, delta.refusal, out)
    if delta.images:
        add_images(answer, delta.images, out)
    add_calls(answer, delta, out)


def _add_refusal(answer: OpenAnswer, text: Any, out: list[Event]) -> None:
    if text and isinstance(text, str):
        out.append(RefusalDelta(answer.block_for(RefusalDelta, out), text))


def _add_parts(answer: OpenAnswer, content: Any, out: list[Event]) -> None:
    """Add the events of typed content (Mistral, Databricks: tidyverse/ellmer#822); other parts are ignored."""
    for part in bounded_objects([content] if isinstance(content, dict) else content):
        match part.get("type"):
            case "thinking":
                if text := _joined_text(part.get("thinking")):
                    _add_reasoning(answer, TYPED_FIELD, text, out)
            case "reasoning":
                if text := _joined_text(part.get("summary")):
                    _add_reasoning(answer, "", text, out)
            case "image_url":
                add_images(answer, [part], out)
            case "refusal":
                _add_refusal(answer, part.get("refusal"), out)
            case _:  # "text", or another word for it
                if text := as_string(part.get("text")):
                    add_text(answer, text, out)
