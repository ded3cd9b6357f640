"""An event stream of an endpoint besides conversations, released by the stages of its steps.

The provider's events pass unchanged once all their text is released. Strings that continue each other in several
events, such as the text of one choice, are one run."""

import re
from collections import deque
from collections.abc import Sequence
from typing import Any, Final, Self

import attrs

from gateway.access.body_memory import UNCOUNTED
from gateway.features.steps.answer_texts import AnswerTexts
from gateway.features.steps.gate import END_REASON
from gateway.features.steps.json_texts import KeyMasked, NotJson
from gateway.features.steps.masks import PassageEdit, Placeholders
from gateway.features.steps.response_steps import ResponseSteps
from gateway.features.steps.runs import HeldEvent, Run, RunBuilder
from gateway.features.steps.transforms import StepTransform
from gateway.http.offload import offload
from gateway.seams.open_response import OpenedResponse
from gateway.streaming.lane import OPENING_COMMENTS, StreamProgress, too_large
from streams.errors import GatewayError
from streams.events import AnswerEnd, Event, NativeItem
from streams.sse import DONE, SSE, SseEvents
from streams.surrogates import NOT_JSON, any_json
from trigate.steps import Passage

RELAYED: Final = "relayed event"
"""The kind of an item that is a ``RelayedEvent``."""

_CONTINUED: Final = re.compile(r"delta|^choices\[\d+\]\.text$")
"""Paths of text that the next event continues."""

_CHOICE: Final = re.compile(r"^choices\[(\d+)\]")
_END: Final = AnswerEnd("stop")


@attrs.frozen(eq=False, repr=False)
class RelayedEvent:
    """A provider's event: its bytes with its framing, its name, and its texts. ``texts`` is ``None`` for an event that
    is no JSON."""

    raw: bytes
    name: str = ""
    data: bytes = b""
    texts: AnswerTexts | None = None
    passages: Sequence[Passage] = ()

    @classmethod
    def of(cls, endpoint: str, raw: bytes) -> Self:
        read = SSE.parse(raw)
        if read is None or read[1] in (b"", DONE):
            return cls(raw)
        try:
            texts = AnswerTexts.of(endpoint, read[1])
        except NotJson:
            return cls(raw, *read, None, (Passage("other", "", read[1].decode("utf-8", "replace")),))
        return cls(raw, *read, texts, texts.passages)


@attrs.frozen(eq=False, repr=False)
class RelayedPiece:
    """The characters of a run from ``start`` to ``end``, which are ``passage`` in one event."""

    run: Run
    start: int
    end: int
    passage: Passage

    def edits(self, placeholders: Placeholders) -> list[PassageEdit]:
        """Return the masks of the passage. The event in which a masked span begins has its replacement."""
        run, found = self.run, list[PassageEdit]()
        for span in run.spans_between(self.start, self.end):
            text = ""
            if span.start >= self.start:
                text = placeholders.text_for(span, run.text[span.start - run.start : span.end - run.start])
            start, end = max(span.start, self.start) - self.start, min(span.end, self.end) - self.start
            found.append((self.passage, start, end, text))
        return found


@attrs.define(eq=False, repr=False)
class HeldRelayedEvent(HeldEvent):
    """A provider's event that waits, with ``RelayedPiece`` as texts."""

    endpoint: str = ""

    def masked_event(self, placeholders: Placeholders) -> Event | None:
        edits = [edit for piece in self.texts for edit in piece.edits(placeholders)]
        if not edits:
            return self.event
        event = self.event
        assert isinstance(event, NativeItem), "it has text"
        relayed: RelayedEvent = event.item
        if relayed.texts is None:
            raise KeyMasked(edits[0][3])
        raw = SseEvents().event(relayed.name, relayed.texts.replace(edits))
        return attrs.evolve(event, item=RelayedEvent.of(self.endpoint, raw))


class RelayedRunBuilder(RunBuilder):
    """Sorts the texts of an endpoint's events into runs."""

    def __init__(self, endpoint: str) -> None:
        super().__init__()
        self._endpoint = endpoint
        self._continued: dict[str, Run] = {}

    def add(self, event: Event) -> tuple[HeldEvent, list[Run]]:
        if not isinstance(event, NativeItem):
            for continued in self._continued.values():
                self.end_run(continued)
            return HeldEvent(event), []
        relayed: RelayedEvent = event.item
        if not relayed.passages:
            return HeldEvent(event), []
        pieces = [self._make_piece(passage, relayed.data) for passage in relayed.passages]
        held = HeldRelayedEvent(event, texts=pieces, endpoint=self._endpoint)
        return held, [piece.run for piece in pieces if not piece.start]  # the first piece of a run

    def _make_piece(self, passage: Passage, data: bytes) -> RelayedPiece:
        if _CONTINUED.search(passage.path) is None:
            whole = Run.of(passage.part, passage.path, passage.text, passage.tool)
            return RelayedPiece(whole, 0, whole.length, passage)
        key = _key(data, passage.path)
        if (run := self._continued.get(key)) is None:
            run = self._continued[key] = Run(passage.part, key, passage.tool)
        start = run.length
        run.add(passage.text)
        return RelayedPiece(run, start, run.length, passage)


class RelayedStream(StepTransform):
    """The stages of an endpoint's event stream: a ``Transform``. No step sees comments."""

    def __init__(self, checks: ResponseSteps, opened: OpenedResponse) -> None:
        super().__init__()
        self.may_cut = checks.may_cut
        self.may_wait = checks.may_wait
        self._checks = checks
        self._session = checks.session
        self._opened = opened
        self._held = 0
        """Bytes of the events that wait."""
        self._passed = 0
        """Bytes of all events so far."""
        self._counted: float = UNCOUNTED
        self._endpoint = opened.api
        self._api: Any = opened.api
        self._splitter = SSE.splitter(opened.event_limit)
        self._sizes: deque[int] = deque()
        self._waiting = StreamProgress()  # of the keep-alives, which no step sees
        self._last: list[Event] = []
        self._only_reports = not checks.restores and all(step.only_reports for step in checks.steps)
        keep = opened.keep_public if checks.restores else None
        if keep is not None:
            keep(b"")  # the client's bytes are no public view
        keep_events = None if keep is None else lambda events: keep(_bytes_of(events))
        self._chain = checks.chain_of(lambda: RelayedRunBuilder(opened.api), opened.cut, keep_events)
        self._is_too_long = False

    async def feed(self, data: bytes) -> bytes:
        released = await self._release(self._splitter.feed(data))
        return await self._after_verdict(released + await self._count_held())

    async def end(self) -> bytes:
        rest = self._splitter.close()
        whole = SSE.complete(rest) or rest
        released = await self._release([whole] if whole else [])
        released += _bytes_of(await self._chain.feed([_END]))
        released = await self._after_verdict(released + _bytes_of(self._last))
        self.is_clean = not self._chain.has_masked and not self._is_too_long
        return released

    async def _after_verdict(self, released: bytes) -> bytes:
        """Return ``released`` once the steps that run during the provider's work have ended."""
        if released and self._session.awaits_verdict:
            await self._session.await_verdict()
        return released

    async def _count_held(self) -> bytes:
        """Account for the memory of the events that wait for a step, and return the bytes that this releases.

        Beyond the limit, report to each step that it cannot check the response, and release the events. Raises
        ``GatewayError`` if a step refuses that, or if no step can release them."""
        limit, released = self._opened.answer_limit, b""
        if self._passed > limit:
            self._chain.drop_watchers()
        while self._held > limit:
            if not self._chain.bypass():
                raise GatewayError.of(too_large(limit))
            self._is_too_long = True
            released += await self._release([])
        if self._held > self._counted:
            self._counted = await self._opened.count_held(self._held)
        return released

    async def _release(self, raws: Sequence[bytes]) -> bytes:
        if not self._only_reports:
            events = [(raw, SSE.parse(raw)) for raw in raws]
            for raw, event in events:
                if event is None and raw.startswith(b":"):
                    self._waiting.note_keep_alive(OPENING_COMMENTS)
            if self._waiting.take_keep_alive():
                self._opened.pass_keep_alive()
            raws = [SSE.without_remarks(raw, *event) for raw, event in events if event is not None]
        for raw in raws:
            self._passed += len(raw)
            self._held += len(raw)
            self._sizes.append(len(raw))
        read = await offload(sum(map(len, raws)), lambda: [RelayedEvent.of(self._endpoint, raw) for raw in raws])
        released = await self._chain.feed([NativeItem(-1, self._api, RELAYED, event) for event in read])
        passed = []
        for one in released:
            size = self._sizes.popleft()
            if not self._holds_end(one):
                self._held -= size
                passed.append(one)
        return _bytes_of(passed)

    def _holds_end(self, event: Event) -> bool:
        """Hold ``event`` until the verdict if it states that the answer has ended, or follows such an event without
        text of its own. Return whether it is held."""
        assert isinstance(event, NativeItem), "all events before the end are"
        relayed: RelayedEvent = event.item
        is_last = END_REASON.search(relayed.data) or (self._last and not relayed.passages)
        if not self.may_cut or not is_last:
            return False
        self._last.append(event)
        return True


def _bytes_of(events: Sequence[Event]) -> bytes:
    return b"".join([event.item.raw for event in events if isinstance(event, NativeItem)])


def _key(data: bytes, path: str) -> str:
    """Return ``path`` with the index that the provider gives a choice instead of its position."""
    found = _CHOICE.match(path)
    if found is None:
        return path
    try:
        index = any_json(data)["choices"][int(found[1])].get("index", 0)
    except (*NOT_JSON, LookupError, TypeError, AttributeError):
        index = 0
    return f"choices[{index}]{path[found.end() :]}"
