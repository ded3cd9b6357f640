"""The texts of a response: runs of adjacent blocks of one kind, which steps check and mask.

A run keeps the text that was not released, and some released text before it. Positions count the characters of the run
from its beginning, before any masks."""

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

import attrs

from gateway.steps.masks import Placeholders, Span, merge_spans, replace_spans
from gateway.steps.response_texts import item_strings
from gateway.steps.tables import DETAILS_API
from streams.events import (
    AnswerEnd,
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
)
from trigate.steps import Part, Passage

TextEvent: TypeAlias = TextDelta | RefusalDelta | ReasoningDelta | ToolCallDelta
TEXTS: Final = (TextDelta, RefusalDelta, ReasoningDelta, ToolCallDelta)

UNREAD: Final = "unknown members"
"""The kind of an item with passages of a provider's event that its reader does not report."""


class Run:
    """The text of adjacent blocks of one ``part``.

    ``released`` is the position up to which the client may have it. ``is_complete``: no text follows."""

    def __init__(self, part: Part, path: str, tool: str | None = None) -> None:
        self.part = part
        self.path = path
        self.tool = tool
        self.spans: list[Span] = []
        self.released = 0
        self.checked = 0
        """The position up to which the text was checked."""
        self.is_complete = False
        self.length = 0
        self._kept_from = 0
        self._parts: list[str] = []

    def add(self, text: str) -> None:
        """Add ``text`` at the end."""
        self._parts.append(text)
        self.length += len(text)

    @property
    def start(self) -> int:
        """The position of the first character that is kept."""
        return self._kept_from

    @property
    def text(self) -> str:
        """The kept text."""
        if len(self._parts) > 1:
            self._parts = ["".join(self._parts)]
        return self._parts[0] if self._parts else ""

    def forget_before(self, position: int) -> None:
        """Forget the text before ``position``."""
        if position - self._kept_from > 4096:
            self._parts = [self.text[position - self._kept_from :]]
            self._kept_from = position

    def passage(self, start: int, end: int | None = None) -> Passage:
        """Return the text from position ``start`` to ``end`` as a passage."""
        text = self.text[start - self._kept_from : None if end is None else end - self._kept_from]
        return Passage(self.part, self.path, text, self.tool, max(0, self.released - start))

    def mask(self, spans: Sequence[Span], base: int) -> None:
        """Mask ``spans`` of a passage that begins at position ``base``; released text stays unchanged."""
        moved = [Span(one.start + base, one.end + base, one.label, one.replacement) for one in spans]
        self.spans = merge_spans([*self.spans, *(one for one in moved if one.end > self.released)])

    def release(self, position: int) -> None:
        """Let the client have the text up to ``position``, but no part of a masked span without the rest of it."""
        for span in self.spans:
            if span.start < position < span.end:
                position = span.start
        self.released = max(self.released, position)

    def cut(self, start: int, end: int, placeholders: Placeholders) -> str:
        """Return the client's text for the released characters from ``start`` to ``end``: the replacement of a masked
        span is at its beginning."""
        spans = [one for one in self.spans if one.start < end and one.end > start]
        if not spans:
            return self.text[start - self._kept_from : end - self._kept_from]
        out, at = [], start
        for span in spans:
            out.append(self.text[at - self._kept_from : max(at, span.start) - self._kept_from])
            if span.start >= start:
                value = self.text[span.start - self._kept_from : span.end - self._kept_from]
                out.append(placeholders.text_for(span, value))
            at = min(end, max(at, span.end))
        return "".join([*out, self.text[at - self._kept_from : end - self._kept_from]])


@attrs.define(eq=False, repr=False)
class Held:
    """An event that waits. A text event covers the characters of ``run`` from ``start`` to ``end``; any other waits for
    the position ``end``. ``texts`` are the passages of an item's strings."""

    event: Event
    run: Run | None = None
    start: int = 0
    end: int = 0
    texts: "tuple[ItemText, ...]" = ()


class ItemText:
    """A string in an item that only its own API knows: a run of its own, complete immediately."""

    def __init__(self, part: Part, path: str, text: str, keys: tuple[str | int, ...]) -> None:
        self.run = Run(part, path)
        self.run.add(text)
        self.run.is_complete = True
        self.keys = keys

    @classmethod
    def of(cls, passage: Passage) -> "ItemText":
        """Return the text of ``passage``. The client may already have a part of it."""
        text = cls(passage.part, passage.path, passage.text, ())
        text.run.released = passage.released_length
        return text


def item_texts(api: str, part: Part, path: str, item: Any, known: str = "") -> tuple[ItemText, ...]:
    """Return the strings in an ``item`` of ``api``, except ids, seals and text that ``known`` contains."""
    found = [one for one in item_strings(api, item) if not known or one.text not in known]
    return tuple(ItemText(part, f"{path}.{one.path}", one.text, one.keys) for one in found)


def with_masked_texts(item: Any, texts: Sequence[ItemText], placeholders: Placeholders) -> Any:
    """Return a copy of ``item`` whose strings have their masks."""
    changed = {one.keys: replace_spans(one.run.text, one.run.spans, placeholders) for one in texts if one.run.spans}
    if not changed:
        return item

    def copy(value: Any, keys: tuple[str | int, ...]) -> Any:
        if keys in changed:
            return changed[keys]
        if isinstance(value, dict):
            return {key: copy(one, (*keys, key)) for key, one in value.items()}
        if isinstance(value, list):
            return [copy(one, (*keys, index)) for index, one in enumerate(value)]
        return value

    return copy(item, ())


class RunBuilder:
    """Sorts the events of one response into runs."""

    def __init__(self, prefix: str = "") -> None:
        self._prefix = prefix
        self._current: Run | None = None  # of text or reasoning, which may continue in the next block
        self._calls: dict[int, Run] = {}
        self._blocks: dict[int, Run] = {}

    def add(self, event: Event, completed: Callable[[Run], object]) -> tuple[Held, list[Run]]:
        """Return ``event`` with its run, and the new runs. ``completed`` is called for each run that it ends."""
        match event:
            case TextDelta() | RefusalDelta():
                return self._add_text(event, "assistant", completed)
            case ReasoningDelta():
                return self._add_text(event, "reasoning", completed)
            case ToolCallStart():
                self.complete(completed)
                run = self._calls[event.block] = Run("tool_calls", self._path(event.block), event.name)
                return Held(event, run), [run]
            case ToolCallDelta():
                call = self._calls[event.block]
                start = call.length
                call.add(event.text)
                return Held(event, call, start, call.length), []
            case ReasoningState():
                return self._add_reasoning_state(event, completed)
            case Citation():
                texts = item_texts(event.api, "other", f"{self._path(event.block)}.citations", event.item)
                end = 0 if self._current is None else self._current.length
                return Held(event, self._current, end, end, texts), [one.run for one in texts]
            case NativeItem(kind=kind, item=passages) if kind == UNREAD:
                texts = tuple(ItemText.of(passage) for passage in passages)
                return Held(event, texts=texts), [one.run for one in texts]
            case NativeItem():
                self.complete(completed)
                texts = item_texts(event.api, "other", self._path(event.block), event.item)
                return Held(event, texts=texts), [one.run for one in texts]
            case BlockEnd():
                return self._end_block(event, completed), []
            case AnswerEnd():
                self.complete(completed)
                for call in self._calls.values():
                    _complete(call, completed)
                self._calls.clear()
                texts = item_texts(DETAILS_API, "other", "stop_details", event.details)
                return Held(event, texts=texts), [one.run for one in texts]
            case _:
                return Held(event), []

    def complete(self, completed: Callable[[Run], object]) -> None:
        """End the run that could continue in the next block."""
        if self._current is not None:
            _complete(self._current, completed)
            self._current = None

    def _path(self, block: int) -> str:
        return f"{self._prefix}content[{block}]"

    def _add_text(
        self, event: TextDelta | RefusalDelta | ReasoningDelta, part: Part, completed: Callable[[Run], object]
    ) -> tuple[Held, list[Run]]:
        new: list[Run] = []
        if self._current is None or self._current.part != part:
            self.complete(completed)
            self._current = Run(part, self._path(event.block))
            new.append(self._current)
        run = self._blocks[event.block] = self._current
        start = run.length
        run.add(event.text)
        return Held(event, run, start, run.length), new

    def _add_reasoning_state(self, event: ReasoningState, completed: Callable[[Run], object]) -> tuple[Held, list[Run]]:
        if self._current is None or self._current.part != "reasoning":
            self.complete(completed)
            self._current = Run("reasoning", self._path(event.block))
        run = self._blocks[event.block] = self._current
        texts = item_texts(event.api, "reasoning", self._path(event.block), event.item, run.text)
        return Held(event, run, run.length, run.length, texts), [run, *(one.run for one in texts)]

    def _end_block(self, event: BlockEnd, completed: Callable[[Run], object]) -> Held:
        if (call := self._calls.pop(event.block, None)) is not None:
            _complete(call, completed)
            return Held(event, call, call.length, call.length)
        run = self._blocks.pop(event.block, None)
        end = 0 if run is None else run.length
        return Held(event, run, end, end)


def _complete(run: Run, completed: Callable[[Run], object]) -> None:
    if not run.is_complete:
        run.is_complete = True
        completed(run)
