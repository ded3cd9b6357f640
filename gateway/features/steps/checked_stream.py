"""The check of a stream while it is read.

A stream whose steps can change it is released as events, which the client's lane writes. Otherwise the provider's own
events are released unchanged once the steps have released their text."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Final

import attrs
import trio

from gateway.features.steps.chain import LATER, Chain, PlainText
from gateway.features.steps.gate import END_REASON, Gate, ShownChoices
from gateway.features.steps.holding import EVENTS_OF_TURN
from gateway.features.steps.response_steps import ResponseSteps
from gateway.features.steps.runner import in_turns
from gateway.features.steps.runs import TEXT_TYPES
from gateway.features.steps.transforms import StepTransform
from gateway.features.steps.verdicts import RefusedByStep
from gateway.http.offload import offload
from gateway.seams.open_response import OpenedResponse
from gateway.streaming.lane import read_whole, too_large
from gateway.streaming.released import frame_of, frame_of_choices, frame_of_text
from providers.apis import CODECS
from providers.neutral.choices import MEMBERS, OTHER_CHOICE, ChoiceReaders
from streams.errors import GatewayError
from streams.events import AnswerEnd, ErrorInfo, Event, TextDelta, Usage
from streams.framing import FramingError
from streams.sse import DONE

_NO_DATA: Final = ("", b"")

_NOTHING: Final[Mapping[int, Sequence[Event]]] = {}

COUNTED: Final = 64 * 1024
"""Bytes that are held beyond which they are counted."""


class CheckedStream(StepTransform):
    """A provider's stream whose text its steps release: a ``StreamTransform``.

    It releases the provider's own events, or released events if ``checks`` translate. It is over once the client has
    the end of all choices, or the events of a step that ends the answer. ``usage`` is the usage that the
    provider reported, ``characters`` the number of characters that it sent, whatever was released."""

    def __init__(self, checks: ResponseSteps, opened: OpenedResponse) -> None:
        super().__init__()
        self.may_cut = checks.may_cut
        self.may_wait = checks.may_wait
        self.usage: Usage | None = None
        self.characters = 0
        self._checks = checks
        self._opened = opened
        self._codec = CODECS[opened.api]
        self._api = self._codec.api
        self._framing = opened.framing or self._codec.wire.framing
        self._translates = checks.translates or opened.framing is None
        """True if it releases events for the lane."""
        self._splitter = self._framing.splitter(opened.event_limit)
        self._has_choices = opened.choices > 1
        make_reader = partial(self._codec.reader, opened.answer_limit)
        self._readers = ChoiceReaders(self._api, make_reader, checks_first=self._has_choices and self._translates)
        self._chains: dict[int, Chain] = {}
        self._plain: PlainText | None = None
        """The text of the stream while no step can find anything in it."""
        self.reader = self._gate = Gate(checks.holds_whole)
        self._failure: ErrorInfo | None = None
        """The failure in the event that is being read."""
        self._shown = ShownChoices()
        self._ended: set[int] = set()  # the choices whose answer has ended
        self._released_ends: set[int] = set()  # the choices whose end the steps have released
        self._counted_ends = 0  # of choices, in the events that steps have seen
        self._is_at_end = False
        self._size = 0  # of the provider's bytes so far
        self._next_count = min(COUNTED, opened.answer_limit)  # the size at which to count held bytes
        self._most_held = COUNTED
        self._holds_whole = checks.holds_whole
        self._awaits_verdict = checks.session.awaits_verdict
        self._find_choice = OTHER_CHOICE.search if self._api in MEMBERS else None

    async def feed(self, data: bytes) -> bytes:
        self._size += len(data)
        try:
            raws = self._splitter.feed(data)
            if not data:
                for chain in self._chains.values():
                    await chain.feed(())  # raises the refusal that cut the stream
            released = await self._release(raws)
        except RefusedByStep as refused:
            return self._stop_events(refused)
        except FramingError as error:
            raise GatewayError("upstream", str(error), reason="bad_answer") from None
        if self._shown.is_over:
            self._note_end()
        return released

    async def end(self) -> bytes:
        rest = self._splitter.close()
        whole, released = self._framing.complete(rest), b""
        try:
            if whole:
                released = await self._release([whole])
            released += await self._end(b"" if whole or rest.strip() else rest)
        except RefusedByStep as refused:
            return released + self._stop_events(refused)
        self._note_end()
        return released

    def _stop_events(self, refused: RefusedByStep) -> bytes:
        """Return the events with which the step ends the answer. Raises ``refused`` if it has none."""
        usage = self._opened.note_refusal() or self.usage
        if refused.stop_text is None:
            raise refused
        self.is_over = True
        stopped = self._shown.stop_events(refused.stop_text, usage)
        for choice, events in stopped.items():
            self._checks.keep_events(choice, events)
        return frame_of_choices(stopped)

    def _note_end(self) -> None:
        self.is_over = True
        self.is_clean = not any(chain.has_masked for chain in self._chains.values())

    async def _count_held(self) -> bytes:
        """Count everything that is held, and return the bytes that this releases.

        Beyond the limit of an answer it is content that the steps cannot check. Raises ``GatewayError`` if one refuses
        that, or if no step can release it."""
        limit, released = self._opened.answer_limit, b""
        if self._size > limit:
            for chain in self._chains.values():
                chain.drop_watchers()
        while (held := self._held_size) > limit:
            bypassed = [chain.bypass() for chain in self._chains.values()]
            if not any(bypassed):
                raise GatewayError.of(too_large(limit))
            self._holds_whole = self._gate.holds_whole = False
            released += await self._take({choice: await chain.feed(()) for choice, chain in self._chains.items()})
        if held >= self._most_held:
            self._most_held = await self._opened.count_held(held)
        following = self._size + max(1, min(self._most_held, limit) - held)
        self._next_count = min(following, limit) if self._size < limit else following
        return released

    @property
    def _held_size(self) -> int:
        """The size of everything that is held, in bytes. The provider's own events are in the stages, too."""
        if self._translates and self._has_choices and self._holds_whole:
            return 0 if self._shown.is_over else self._size  # a choice that has ended waits for the others
        return max(self._gate.held_size, sum(chain.held_size for chain in self._chains.values()))

    async def _release(self, raws: Sequence[bytes]) -> bytes:
        """Return the released bytes after some events of the provider. Their texts are checked together."""
        out, framing = [], self._framing
        together: dict[int, list[Event]] = {}
        for raw in raws:
            parsed, reported = framing.parse(raw), None
            if parsed is None:
                by_choice = _NOTHING
            elif self._ended and len(self._ended) == len(self._readers) and parsed[1] != DONE:
                continue  # the client would join it with the answer that has ended
            else:
                if (read := self._read(raw, *parsed)) is None:
                    continue
                by_choice, reported = read, read.get(0, ())
                checks_bytes = self._failure is None and not self._translates
                if checks_bytes and (unread := await self._checks.unread_texts(self._api, parsed[1], by_choice)):
                    by_choice = {**by_choice, 0: [*unread, *reported]}
                    await trio.lowlevel.checkpoint()  # an event may have a thousand
                if self._plain is not None:
                    together[0] = self._leave_plain(self._plain)
                if self._failure is not None:
                    if together:  # a failure discards held text, but not earlier releases
                        out.append(await self._feed(together))
                        together = {}
                    by_choice = await self._check_failure(self._failure, parsed[1])
                    reported = _with_failure(reported, by_choice[0][0])
            self._hold_bytes(raw, parsed, by_choice, reported)
            self._failure = None
            for choice, events in by_choice.items():
                if choice in together:
                    together[choice] += events
                else:
                    together[choice] = list(events)
        if (plain := self._plain) is not None and (released := self._release_plain(plain, together)) is not None:
            return released
        out.append(await self._feed(together))
        self._plain = self._enter_plain(together)
        return b"".join(out)

    def _hold_bytes(
        self,
        raw: bytes,
        parsed: tuple[str, bytes] | None,
        by_choice: Mapping[int, Sequence[Event]],
        reported: Sequence[Event] | None,
    ) -> None:
        """Hold the provider's own event if the client gets these."""
        if self._translates:
            return
        clean = self._framing.without_remarks(raw, *(parsed or _NO_DATA))
        if clean is not raw and self._framing.parse(clean) is None:
            reported = None
        is_end = self._checks.may_cut and parsed is not None and END_REASON.search(parsed[1]) is not None
        self._gate.add(clean, by_choice, reported, has_failed=self._failure is not None, is_end=is_end)

    def _enter_plain(self, fed: Mapping[int, Sequence[Event]]) -> PlainText | None:
        """Return the text after the events ``fed`` if the steps need not see the next event."""
        if len(self._chains) != 1 or self._awaits_verdict or self._has_choices or not (events := fed.get(0)):
            return None
        last = events[-1]
        return self._chains[0].take_back(last.block) if type(last) is TextDelta and 0 in self._chains else None

    def _release_plain(self, plain: PlainText, together: dict[int, list[Event]]) -> bytes | None:
        """Return the released bytes of the plain text. If the steps must see it, add it to ``together`` and return
        ``None``."""
        if self._size > self._next_count or (text := plain.release()) is None:
            together[0] = self._leave_plain(plain)
            return None
        if plain.passed_length > LATER:
            self._chain(0).pass_on(plain)
        if not self._translates:
            return self._gate.release_text(len(text))
        if not text:
            return b""
        self._shown.note_text(plain.block)
        return frame_of_text(plain.block, text)

    def _leave_plain(self, plain: PlainText) -> list[Event]:
        """Return the held text as the events that the steps see next, after the text that the client has."""
        self._plain = None
        self._chain(0).pass_on(plain)
        self.characters -= len(plain.held)  # which are counted again
        return [TextDelta(plain.block, plain.held)] if plain.held else []

    async def _check_failure(self, failure: ErrorInfo, data: bytes) -> Mapping[int, Sequence[Event]]:
        """Return the events of a failure. Raises ``GatewayError`` if the client may not get its bytes."""
        checked = await self._checks.check_failure(failure, b"" if self._translates else data)
        if checked is not failure and not self._translates:
            raise GatewayError.of(checked)
        return {0: [checked]}

    async def _end(self, rest: bytes) -> bytes:
        self._is_at_end = True
        by_choice = self._readers.close()
        if self._plain is not None:
            by_choice[0] = [*self._leave_plain(self._plain), *by_choice.get(0, ())]
        errors = [event for events in by_choice.values() for event in events if isinstance(event, ErrorInfo)]
        if errors:
            # The client does not get the held events, which may be those that state the failure.
            failure = attrs.evolve(errors[0], native=False) if self._gate.is_holding else errors[0]
            by_choice[0] = _with_failure(by_choice.get(0, ()), failure)
        if not self._translates:
            self._gate.add(rest, by_choice, None, has_failed=bool(errors))
        released = await self._feed(by_choice)
        self._gate.end = by_choice.get(0, ())
        return released

    async def _feed(self, by_choice: Mapping[int, Sequence[Event]]) -> bytes:
        released: dict[int, list[Event]] = {}
        change = self._opened.change
        for choice in by_choice:  # all before the first refusal
            self.characters += self._count(by_choice[choice])
        for choice, events in by_choice.items():
            chain = self._chain(choice)
            released[choice] = await chain.feed(events if change is None else [change(one) for one in events])
        taken = await self._take(released)
        return taken + await self._count_held() if self._size > self._next_count else taken

    async def _take(self, released: Mapping[int, list[Event]]) -> bytes:
        """Return the client's bytes for the ``released`` events of each choice."""
        if self._awaits_verdict and any(released.values()):
            await self._checks.session.await_verdict()
            self._awaits_verdict = False
        if self._translates:
            if self._has_choices:
                ready = self._shown.take_ready(released, self._chains, holds_whole=self._holds_whole)
                return frame_of_choices(ready)
            return await self._frames_of(released.get(0, []))
        if self._gate.holds_whole and (self._is_at_end or self._has_verdict(released)):
            self._gate.holds_whole = False
        return self._gate.release(released)

    def _has_verdict(self, released: Mapping[int, Sequence[Event]]) -> bool:
        """Return whether the steps have released the whole response, or its failure."""
        kinds = {choice: set(map(type, events)) for choice, events in released.items()}
        self._released_ends.update(choice for choice, found in kinds.items() if AnswerEnd in found)
        return any(ErrorInfo in found for found in kinds.values()) or len(self._released_ends) == len(self._chains)

    async def _frames_of(self, events: Sequence[Event]) -> bytes:
        """Return the frames of released ``events``, each with those of one turn of the event loop."""
        frames = []
        async for part in in_turns(events, EVENTS_OF_TURN):
            self._shown.note_released(0, part)
            frames.append(frame_of(part))
        return b"".join(frames)

    def _read(self, raw: bytes, name: str, data: bytes) -> Mapping[int, Sequence[Event]] | None:
        """Return the events of one event of the provider by choice, and note the first failure.

        If it only has more plain text, hold that, and return ``None``."""
        plain = self._plain
        if plain is None or (self._find_choice is not None and self._find_choice(data) is not None):
            return self._read_choices(name, data)
        events = self._readers[0].read_event(name, data)
        if len(events) != 1 or type(event := events[0]) is not TextDelta:
            self._note_ends(0, events)
            return {0: events}
        if event.block != plain.block or event.logprobs is not None or event.phase is not None:
            return {0: events}
        size = len(event.text)
        if not self._translates:
            if self._framing.without_remarks(raw, name, data) is not raw:
                return {0: events}
            if (unread := self._checks.unread) is not None and not unread.has_text_alone(data, event):
                return {0: events}
            self._gate.add_text(raw, size, events)
        plain.held += event.text
        self.characters += size
        return None

    def _read_choices(self, name: str, data: bytes) -> Mapping[int, Sequence[Event]]:
        """Return the events of one event of the provider by choice, and note the first failure."""
        found = self._readers.read_event(name, data)
        for choice, events in found.items():
            self._note_ends(choice, events)
        return found

    def _note_ends(self, choice: int, events: Sequence[Event]) -> None:
        """Note the end of ``choice`` and the first failure."""
        for event in events:
            kind = type(event)
            if kind is AnswerEnd:
                self._ended.add(choice)
            elif kind is ErrorInfo and self._failure is None:
                self._failure = event  # type: ignore[assignment]

    @property
    def has_ended(self) -> bool:
        """True once the answers of all choices have ended, and ``usage`` is final."""
        return self._counted_ends >= max(1, len(self._readers))

    def _chain(self, choice: int) -> Chain:
        if choice not in self._chains:
            self._chains[choice] = self._checks.chain(self._opened.cut, choice)
        return self._chains[choice]

    def unsent_usage(self) -> Usage | None:
        """Return the usage that the provider has reported so far, although its events may not be released."""
        usages = (reader.unsent_usage() for reader in self._readers.values())
        return next((usage for usage in usages if usage is not None), self.usage)

    def has_finished(self) -> bool:
        """Return whether the response is complete if nothing follows."""
        for reader in self._readers.values():  # called for each piece
            if not reader.has_finished():
                return False
        return bool(self._readers)

    def _count(self, events: Iterable[Event]) -> int:
        """Return the number of characters of text in ``events``, and note the usage and the ends that they report."""
        found = 0
        for event in events:
            if type(event) in TEXT_TYPES:
                found += len(event.text)  # type: ignore[union-attr]
            elif type(event) is Usage:
                self.usage = event
            elif type(event) is AnswerEnd:
                self._counted_ends += 1
        return found


def _with_failure(events: Sequence[Event], failure: Event) -> list[Event]:
    """Return ``events`` of the first choice, which end with ``failure`` of any choice."""
    return [*(event for event in events if not isinstance(event, AnswerEnd | ErrorInfo)), failure]


class CheckedBody(CheckedStream):
    """A complete response of a conversation whose client requested a stream: one with all events at its end."""

    has_changed = True

    def __init__(self, checks: ResponseSteps, opened: OpenedResponse) -> None:
        super().__init__(checks, opened)
        self._body = bytearray()

    async def feed(self, data: bytes) -> bytes:
        self._body += data
        if len(self._body) > self._opened.answer_limit:
            raise GatewayError.of(too_large(self._opened.answer_limit))
        if len(self._body) > self._most_held:
            self._most_held = await self._opened.count_held(len(self._body))
        return b""

    async def end(self) -> bytes:
        body = bytes(self._body)
        events = await offload(len(body), read_whole, self._codec, body)
        try:
            released = await self._feed({0: events})
        except RefusedByStep as refused:
            return self._stop_events(refused)
        self._note_end()
        return released

    def unsent_usage(self) -> Usage | None:
        return self.usage
