"""The texts of a response: runs of adjacent blocks of one kind, which steps check and mask.

A run keeps the text that was not released, and some released text before it. Positions count the characters of the run
from its beginning, before any masks."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, Self

import attrs

from gateway.features.steps.joined_texts import JoinedPassage
from gateway.features.steps.json_texts import document_edits, document_text
from gateway.features.steps.masks import Placeholders, Span, merge_spans
from gateway.features.steps.response_texts import TEXTS, FoundString, SearchBudget, item_strings
from gateway.features.steps.tables import DETAILS_API
from providers.neutral.choices import MEMBERS, SPLIT_REFUSALS
from providers.neutral.seal import seals_text
from streams.events import (
    AnswerEnd,
    AnswerStart,
    Api,
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
    Usage,
)
from trigate.steps import Part, Passage

TEXT_TYPES: Final = frozenset(TEXTS)
WITH_ITEMS: Final = frozenset((AnswerEnd, Citation, NativeItem, ReasoningState))
"""Events that may have an item of many values."""

SIZE_OF_VALUE: Final = 64
"""Bytes of memory for one value of an item, and bytes of JSON that take as long."""

UNREAD: Final = "unknown members"
"""The kind of an item with passages of a provider's event that its reader does not report."""


class Run:
    """A text of a response that grows while it is read: the text of adjacent blocks of one ``part``.

    ``released`` is the position up to which the client may have it. ``is_complete``: no text follows."""

    def __init__(self, part: Part, path: str, tool: str | None = None) -> None:
        self.part = part
        self.path = path
        self.tool = tool
        self.spans: list[Span] = []
        """The masks in the kept text, in order."""
        self.released = 0
        self.emitted = 0
        """The position up to which the events of the text were passed on."""
        self.checked = 0
        """The position up to which the text was checked."""
        self.is_checked = False
        """True once it was checked as one."""
        self.is_complete = False
        self.length = 0
        self.start = 0
        """The position of the first character that is kept."""
        self.is_masked = False
        """True if anything was masked."""
        self.is_in_item = False
        """True for a string of an item, whose event has it."""
        self.seams: list[int] = []
        """The positions at which a block ends and the next begins."""
        self._parts: list[str] = []

    @classmethod
    def of(cls, part: Part, path: str, text: str, tool: str | None = None) -> Self:
        """Return the complete run of ``text``."""
        run = cls(part, path, tool)
        run.add(text)
        run.is_complete = run.is_in_item = True
        return run

    def add(self, text: str) -> None:
        """Add ``text`` at the end."""
        self._parts.append(text)
        self.length += len(text)

    @property
    def text(self) -> str:
        """The kept text."""
        if len(self._parts) > 1:
            self._parts = ["".join(self._parts)]
        return self._parts[0] if self._parts else ""

    def forget_before(self, position: int) -> None:
        """Forget the text before ``position`` that was passed on."""
        position = min(position, self.emitted)
        if position - self.start > 4096:
            self._parts = [self.text[position - self.start :]]
            self.start = position
            if self.spans:
                del self.spans[: bisect_right(self.spans, position, key=_end)]

    def pass_on(self, text: str) -> None:
        """Add ``text``, which was checked and passed on."""
        self.add(text)
        self.checked = self.released = self.emitted = self.length

    def take_back(self) -> None:
        """Remove the text that was not passed on."""
        self._parts = [self.text[: self.emitted - self.start]]
        self.checked = self.released = self.length = self.emitted

    def passage(self, start: int, end: int | None = None) -> Passage:
        """Return the text from position ``start`` to ``end`` as a passage; JSON arguments without their escapes."""
        text = self.text[start - self.start : None if end is None else end - self.start]
        if self.is_document:
            text = document_text(text)
        elif self.seams and (seams := self.seams_between(start, start + len(text))):
            return JoinedPassage(self.part, self.path, text, self.tool, max(0, self.released - start), seams=seams)
        return Passage(self.part, self.path, text, self.tool, max(0, self.released - start))

    def seams_between(self, start: int, end: int) -> tuple[int, ...]:
        """Return the seams in the text from position ``start`` to ``end``, as positions in it."""
        first, last = bisect_right(self.seams, start), bisect_left(self.seams, end)
        return tuple([seam - start for seam in self.seams[first:last]])

    def mask(self, spans: Sequence[Span], base: int) -> None:
        """Mask ``spans`` of a passage that begins at position ``base``; released text stays unchanged."""
        moved = [Span(one.start + base, one.end + base, one.label, one.replacement) for one in spans]
        moved = merge_spans(one for one in moved if one.end > self.released)
        if moved:
            at = bisect_right(self.spans, moved[0].start, key=_end)
            while len(self.spans) > at:
                moved.append(self.spans.pop())
            self.spans.extend(merge_spans(moved))
            self.is_masked = True

    def forget_masks(self) -> None:
        """Forget the masks in text that is not released yet, because a step judges it anew."""
        self.is_masked = self.is_masked and self.released > 0
        self.spans = [span for span in self.spans if span.start < self.released]

    @property
    def is_document(self) -> bool:
        """Whether the text is JSON arguments of a call. They are checked as one, once they are complete."""
        if self.part != "tool_calls":
            return False
        return self.text.lstrip()[:1] in ("{", "[")

    def mask_arguments(self, spans: Sequence[Span], placeholders: Placeholders) -> None:
        """Mask ``spans`` of the passage with the complete arguments, which stay JSON.

        Raises ``KeyMasked`` for a mask in the name of a member."""
        text = document_text(self.text)
        edits = [(one.start, one.end, placeholders.text_for(one, text[one.start : one.end])) for one in spans]
        changes = document_edits(self.text, edits)
        self.spans = [Span(start, end, "", replacement) for start, end, replacement in sorted(changes)]
        self.is_masked = bool(self.spans)

    def release(self, position: int) -> None:
        """Let the client have the text up to ``position``, but no part of a masked span without the rest of it."""
        if self.spans and (at := bisect_left(self.spans, position, key=_start)) and position < self.spans[at - 1].end:
            position = self.spans[at - 1].start
        self.released = max(self.released, position)

    def cut(self, start: int, end: int, placeholders: Placeholders) -> str:
        """Return the client's text for the released characters from ``start`` to ``end``: the replacement of a masked
        span is at its beginning."""
        first = bisect_right(self.spans, start, key=_end)
        spans = self.spans[first : bisect_left(self.spans, end, first, key=_start)]
        if not spans:
            return self.text[start - self.start : end - self.start]
        out, at = [], start
        for span in spans:
            out.append(self.text[at - self.start : max(at, span.start) - self.start])
            if span.start >= start:
                value = self.text[span.start - self.start : span.end - self.start]
                out.append(placeholders.text_for(span, value))
            at = min(end, max(at, span.end))
        return "".join([*out, self.text[at - self.start : end - self.start]])


def _start(span: Span) -> int:
    return span.start


def _end(span: Span) -> int:
    return span.end


@attrs.define(eq=False, repr=False)
class HeldEvent:
    """An event that waits. A text event covers the characters of ``run`` from ``start`` to ``end``; any other waits for
    the position ``end``. ``texts`` are the passages of an item's strings, such as ``ItemText``, each with a ``run`` and
    its ``end`` in it. ``size`` is that of the event besides text of ``run``."""

    event: Event
    run: Run | None = None
    start: int = 0
    end: int = 0
    texts: Sequence[Any] = ()
    size: int = 0

    def masked_event(self, placeholders: Placeholders) -> Event | None:
        """Return the event with the masks of its ``texts``, ``None`` if it has no meaning with them.

        Raises ``KeyMasked`` for a mask that the event cannot express."""
        match self.event:
            case Citation():
                return None
            case NativeItem(item=item):
                return attrs.evolve(self.event, item=with_masked_texts(item, self.texts, placeholders))
            case AnswerEnd(details=details, stop_sequence=stop_sequence):
                both = with_masked_texts((details, stop_sequence), self.texts, placeholders)
                return attrs.evolve(self.event, details=both[0], stop_sequence=both[1])
        return self.event


@attrs.define(eq=False, repr=False)
class ItemText:
    """A string in an item that only its own API knows, or the name of a member: a run of its own, complete immediately,
    or that of an equal string. ``keys`` lead to the string, or to the object that has the member."""

    run: Run
    keys: tuple[str | int, ...] = ()
    is_value: bool = True

    @property
    def end(self) -> int:
        return self.run.length

    @classmethod
    def of(cls, passage: Passage) -> "ItemText":
        """Return the text of ``passage``. The client may already have a part of it."""
        run = Run.of(passage.part, passage.path, passage.text)
        run.released = passage.released_length
        return cls(run)


def item_texts(
    api: str,
    part: Part,
    path: str,
    item: Any,
    runs: dict[str, Run],
    known: str = "",
    searches: SearchBudget | None = None,
) -> tuple[ItemText, ...]:
    """Return the strings in an ``item`` of ``api``, except ids, seals and text that ``known`` contains.

    ``runs`` are those of earlier strings by text: equal strings have one run, and this function adds the others.
    ``searches`` limits the searches in ``known``, after which its text is returned as well."""
    found: Iterable[FoundString] = item_strings(api, item)
    if known and searches is not None:
        found = _without_known(found, known, searches)
    texts = []
    for one in found:
        if (run := runs.get(one.text)) is None:
            run = runs[one.text] = Run.of(part, f"{path}.{one.path}", one.text)
        texts.append(ItemText(run, one.keys, one.is_value))
    return tuple(texts)


def _without_known(found: Iterable[FoundString], known: str, searches: SearchBudget) -> Iterator[FoundString]:
    """Yield the strings that ``known`` does not contain. It usually contains them one after the other."""
    at = 0
    for one in found:
        searches.grow(len(one.text))
        begin = -1
        if searches.left > 0:
            if (begin := known.find(one.text, at)) < 0:
                begin = known.find(one.text)
            searches.left -= begin - at if begin >= at else len(known)
        if begin < 0:
            yield one
        else:
            at = begin + len(one.text)


def size_of(event: Event) -> int:
    """Return the size of an event in bytes, without the text of a run: the characters of its strings, and
    ``SIZE_OF_VALUE`` for each value. Ten times as fast as ``item_texts``."""
    kind, size = type(event), 0
    waiting: list[Any]
    if kind in TEXT_TYPES:
        waiting = [getattr(event, "logprobs", None)]
    else:
        waiting = [getattr(event, field.name) for field in attrs.fields(kind)]  # type: ignore[arg-type]
    while waiting:
        value = waiting.pop()
        size += SIZE_OF_VALUE
        if isinstance(value, str | bytes):
            size += len(value)
        elif isinstance(value, dict):
            size += sum(map(len, value))
            waiting += value.values()
        elif isinstance(value, list | tuple):
            waiting += value
    return size


def with_masked_texts(item: Any, texts: Sequence[ItemText], placeholders: Placeholders) -> Any:
    """Return a copy of ``item`` whose strings and names have their masks."""
    masked = {one: one.run.cut(0, one.run.length, placeholders) for one in texts if one.run.is_masked}
    if not masked:
        return item
    values = {one.keys: text for one, text in masked.items() if one.is_value}
    names = {(one.keys, one.run.text): text for one, text in masked.items() if not one.is_value}

    def copy(value: Any, keys: tuple[str | int, ...]) -> Any:
        if keys in values:
            return values[keys]
        if isinstance(value, dict):
            return {names.get((keys, key), key): copy(one, (*keys, key)) for key, one in value.items()}
        if isinstance(value, list | tuple):
            return [copy(one, (*keys, index)) for index, one in enumerate(value)]
        return value

    return copy(item, ())


_WITHOUT_TEXT: Final = frozenset((AnswerStart, BlockEnd, Usage))
"""Events without text, which end no text of a complete response."""


class RunBuilder:
    """Sorts the events of one response into runs.

    Adjacent blocks of one part are one run. Clients of an ``api`` with choices join all text of one, so it continues
    after reasoning and calls, too.
    ``ended`` are the runs that have ended since it was cleared."""

    def __init__(self, prefix: str = "", api: Api | None = None) -> None:
        self.ended: list[Run] = []
        self._prefix = prefix
        self._api = api
        self._lasting = frozenset(("assistant", "refusal") if api in MEMBERS else ())
        self._refusal = "refusal" if api in SPLIT_REFUSALS else "assistant"
        self._open: dict[str, Run] = {}  # runs of text and reasoning that may continue in the next block
        self._calls: dict[int, Run] = {}
        self._blocks: dict[int, Run] = {}
        self._searches = SearchBudget()
        self._state_texts: dict[str, Run] = {}  # of the last item that a reader reports as reasoning, too

    def add(self, event: Event) -> tuple[HeldEvent, list[Run]]:
        """Return ``event`` with its run, and the new runs."""
        match event:
            case TextDelta():
                return self._add_text(event, "assistant")
            case RefusalDelta():
                return self._add_text(event, "assistant", self._refusal)
            case ReasoningDelta():
                return self._add_text(event, "reasoning")
            case ToolCallStart():
                self._interrupt()
                run = self._calls[event.block] = Run("tool_calls", self._path(event.block), event.name)
                return HeldEvent(event, run), [run]
            case ToolCallDelta():
                call = self._calls[event.block]
                start = call.length
                call.add(event.text)
                return HeldEvent(event, call, start, call.length), []
            case ReasoningState():
                return self._add_reasoning_state(event)
            case Citation():
                texts, runs = self._item_texts(event, f"{self._path(event.block)}.citations")
                cited = self._open.get("assistant")
                end = 0 if cited is None else cited.length
                return HeldEvent(event, cited, end, end, texts), runs
            case NativeItem(kind=kind, item=passages) if kind == UNREAD:
                texts = tuple(ItemText.of(passage) for passage in passages)
                return HeldEvent(event, texts=texts), [one.run for one in texts]
            case NativeItem():
                self._interrupt()
                texts, runs = self._item_texts(event, self._path(event.block))
                self._state_texts = {}
                return HeldEvent(event, texts=texts), runs
            case BlockEnd():
                return self._end_block(event), []
            case AnswerEnd():
                return self._end_answer(event)
            case _:
                return HeldEvent(event), []

    def is_sealed(self, event: ReasoningState) -> bool:
        """Return whether the client gets a signature, a seal or an item, which fits only unchanged reasoning."""
        return seals_text(event, self._api)

    def continue_text(self, event: Event) -> Run | None:
        """Add the text of ``event`` to its run, and return it, if the event only continues the text of its block, as
        nearly every event does."""
        if type(event) is not TextDelta or (run := self.text_run(event.block)) is None:
            return None
        run.add(event.text)
        return run

    def text_run(self, block: int) -> Run | None:
        """Return the run that text of ``block`` only continues, ``None`` if there is none."""
        run = self._blocks.get(block)
        return run if run is not None and len(self._open) == 1 and self._open.get("assistant") is run else None

    def complete_runs(self, events: Iterable[Event]) -> list[Run]:
        """Return the runs of a complete response."""
        found: list[Run] = []
        for event in events:
            if type(event) in _WITHOUT_TEXT or self.continue_text(event) is not None:
                continue
            if type(event) is not AnswerEnd or event.details is not None or event.stop_sequence:
                found += self.add(event)[1]
        return found

    def end_run(self, run: Run) -> None:
        """Mark ``run`` as complete."""
        if not run.is_complete:
            run.is_complete = True
            self.ended.append(run)

    def complete(self) -> None:
        """End the runs that could continue in the next block."""
        for run in self._open.values():
            self.end_run(run)
        self._open.clear()

    def _interrupt(self, kind: str | None = None) -> None:
        """End the runs of other kinds than ``kind``, except text that may continue later."""
        for other in [one for one in self._open if one != kind and one not in self._lasting]:
            self.end_run(self._open.pop(other))

    def _path(self, block: int) -> str:
        return f"{self._prefix}content[{block}]"

    def _run_of(self, part: Part, block: int, kind: str) -> tuple[Run, list[Run]]:
        """Return the run of ``kind`` that a block of ``part`` continues or begins, and the new runs."""
        new: list[Run] = []
        if kind not in self._open or len(self._open) > 1:
            self._interrupt(kind)
        if (run := self._open.get(kind)) is None:
            run = self._open[kind] = Run(part, self._path(block))
            new.append(run)
        elif run.length and self._blocks.get(block) is not run:
            run.seams.append(run.length)
        self._blocks[block] = run
        return run, new

    def _add_text(
        self, event: TextDelta | RefusalDelta | ReasoningDelta, part: Part, kind: str | None = None
    ) -> tuple[HeldEvent, list[Run]]:
        run, new = self._run_of(part, event.block, kind or part)
        start = run.length
        run.add(event.text)
        return HeldEvent(event, run, start, run.length), new

    def _add_reasoning_state(self, event: ReasoningState) -> tuple[HeldEvent, list[Run]]:
        run, new = self._run_of("reasoning", event.block, "reasoning")
        path, self._state_texts = self._path(event.block), {}
        # An item such as Gemini's code is reasoning for its provider only. A ``NativeItem`` follows.
        part: Part = "other" if isinstance(event.item, dict) and "native" in event.item else "reasoning"
        texts = item_texts(event.api, part, path, event.item, self._state_texts, run.text, self._searches)
        return HeldEvent(event, run, run.length, run.length, texts), [*new, *self._state_texts.values()]

    def _item_texts(self, event: Citation | NativeItem, path: str) -> tuple[Sequence[ItemText], list[Run]]:
        """Return the texts of an item, and their new runs."""
        runs = dict(self._state_texts)
        known = len(runs)
        texts = item_texts(event.api, "other", path, event.item, runs)
        return texts, list(runs.values())[known:]

    def _end_answer(self, event: AnswerEnd) -> tuple[HeldEvent, list[Run]]:
        """End all runs. The keys of the end's texts lead into a pair of its details and its stop sequence."""
        self.complete()
        for call in self._calls.values():
            self.end_run(call)
        self._calls.clear()
        texts = () if event.details is None else item_texts(DETAILS_API, "other", "stop_details", event.details, {})
        for one in texts:
            one.keys = (0, *one.keys)
        if event.stop_sequence:
            texts = (*texts, ItemText(Run.of("other", "stop_sequence", event.stop_sequence), (1,)))
        return HeldEvent(event, texts=texts), list(dict.fromkeys(one.run for one in texts))

    def _end_block(self, event: BlockEnd) -> HeldEvent:
        if (call := self._calls.pop(event.block, None)) is not None:
            self.end_run(call)
            return HeldEvent(event, call, call.length, call.length)
        run = self._blocks.pop(event.block, None)
        end = 0 if run is None else run.length
        return HeldEvent(event, run, end, end)
