"""The live view: running exchanges, the ends of the last ones, and both sides of a stream.

A row is made from a record when a viewer needs it, not when something happens. Streams only pass their transcript,
which stores references to the bytes, and the viewers that opened them."""

import itertools
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import attrs
import trio

from gateway.features.live_view.charts import STEP, STEPS, Sums, Timeline, current_step
from gateway.features.live_view.ended import RECENT, EndedExchange, Line
from gateway.features.live_view.prompts import MOST as MOST_PROMPTS
from gateway.features.live_view.prompts import KeptPrompt
from gateway.features.live_view.transcripts import MOST as MOST_TRANSCRIPTS
from gateway.features.live_view.transcripts import Passage, Transcript
from gateway.http.headers import first_paths
from gateway.http.redaction import Secrets, redact, redact_answer
from gateway.ledger.bill import CHARACTERS_PER_TOKEN
from gateway.ledger.ledger import MOST_TRIED
from gateway.ledger.record import ArrivedRequest, Record
from gateway.request.client_request import ClientRequest
from gateway.seams.observe import ExchangeObserver
from gateway.seams.observed_stream import PublicStream
from gateway.seams.observers import observers_of
from gateway.seams.running import Ports
from gateway.shared.owned_entries import OwnedEntries
from providers.framings import text_of
from providers.neutral.hints import explain_path
from streams.events import Event

if TYPE_CHECKING:
    from gateway.seams.observe import ViewerTexts

FRESH: Final = 0.25
"""Seconds for which viewers share the same rows."""
MOST_ROWS: Final = 2000
"""Running exchanges that one viewer sees, the oldest ones."""
QUEUED: Final = 256
"""Events of an opened stream that wait for its viewer; more are dropped and counted."""
SHOWN: Final = 8 * 1024
"""Bytes of an event that are shown."""
NAME: Final = 120
"""Characters of a name chosen by a client that are shown."""

_RATE_OVER: Final = 3.0
"""The time constant in seconds of a stream's mean rate. A slow stream sends nothing between most measurements."""

SLICE: Final = 50
"""Rows that are made without a pause."""

Row: TypeAlias = tuple[Any, ...]
"""Values in the order of ``COLUMNS``, followed by the start of the exchange."""

COLUMNS: Final = (
    "n", "id", "phase", "client", "api", "model", "target", "lane", "stream", "attempts", "first_byte_ms", "tokens",
    "rate", "dropped", "tried", "project",
)  # fmt: skip


class LiveExchange(ExchangeObserver):
    """A running exchange. ``number`` identifies it; request ids do not, because clients may repeat them."""

    def __init__(self, live_view: "LiveView", number: int, record: Record) -> None:
        self.number = number
        self.record = record
        self.stream: PublicStream | None = None
        self.transcript: Transcript | None = None
        self.prompt: KeptPrompt | None = None
        self.is_charted = False  # its first byte is on the charts
        self.characters = 0  # of text, at the last update
        self.measured = 0.0  # seconds
        self.mean = 0.0  # tokens per second, which ``rate`` approaches over time
        self.rate = 0.0
        self.row: Row = ()
        self._live_view = live_view

    @property
    def keeps_texts(self) -> bool:  # type: ignore[override]
        return self._live_view.keeps_prompts

    def note_request(self, client_request: ClientRequest, body: bytes | None, *, is_turn: bool) -> None:
        if body is not None:
            self._live_view.store_prompt(self, body)

    def note_stream(self, stream: PublicStream) -> None:
        if self.record.endpoint is None:
            self._live_view.show_stream(self, stream)

    def note_public_events(self, events: Mapping[int, Sequence[Event]]) -> None:
        self._live_view.hide_stream(self)

    def note_end(self, record: Record, line: Mapping[str, Any]) -> None:
        self._live_view.end(self, line)


@attrs.frozen(repr=False)
class FoundExchange:
    """The request id of an exchange, and its client."""

    id: str
    client: str | None


@attrs.frozen(eq=False, repr=False)
class LiveEvent:
    """Bytes that passed at the same time.

    ``at`` is seconds since the start of the exchange. ``lost`` is the number of events that were dropped before this
    one because the viewer was slow, ``left_out`` the number of bytes that were dropped for lack of room."""

    at: float
    received: str
    sent: str
    note: str
    lost: int
    left_out: int
    sizes: tuple[int, int]


class Subscription:
    """One viewer's subscription to a stream.

    ``before`` has passed already. ``events`` is a bounded channel that drops and counts excess events, and ends with
    the stream; then ``line`` is its log line. ``prompt`` is the body of the request, ``None`` if it was not stored.
    ``texts`` are those at the difference that broke its prompt's cache, ``None`` if they are switched off."""

    def __init__(
        self,
        began: float,
        secrets: Secrets,
        transcript: Transcript | None,
        prompt: KeptPrompt | None = None,
        texts: "ViewerTexts | None" = None,
    ) -> None:
        self._began = began
        self._secrets = secrets
        self._sender, self.events = trio.open_memory_channel[LiveEvent](QUEUED)
        self.lost_count = 0
        """The number of events dropped since the last received one."""
        self.kept = "not kept" if transcript is None else "let go" if transcript.cleared else "kept"
        self.before = iter(()) if transcript is None else self._events_of(transcript, transcript.passages())
        self.line: Mapping[str, Any] | None = None
        self.prompt = None if prompt is None or not prompt.body else redact(prompt.body, secrets)
        self.prompt_bytes = 0 if prompt is None else prompt.size
        self.texts = texts

    def _events_of(self, transcript: Transcript, passages: Iterator[Passage]) -> Iterator[LiveEvent]:
        at = self._began
        for at, received, sent in passages:
            left_out = 0 if received or sent else transcript.left_out
            yield self._make_event(at, received, sent, left_out=left_out)
        if transcript.over and transcript.note:
            yield self._make_event(at, b"", b"", transcript.note)

    def observe(self, received: bytes, sent: bytes, note: str = "") -> None:
        try:
            self._sender.send_nowait(self._make_event(time.perf_counter(), received, sent, note, lost=self.lost_count))
        except trio.WouldBlock:
            self.lost_count += 1
        else:
            self.lost_count = 0

    def _make_event(
        self, at: float, received: bytes, sent: bytes, note: str = "", *, lost: int = 0, left_out: int = 0
    ) -> LiveEvent:
        received, sent = text_of(received), text_of(sent)
        shown = (self._redact_and_cut(received), self._redact_and_cut(sent), self._redact_and_cut(note.encode()))
        return LiveEvent(at - self._began, *shown, lost, left_out, (len(received), len(sent)))

    def close(self, line: Mapping[str, Any] | None = None) -> None:
        self.line = line
        self._sender.close()

    def _redact_and_cut(self, data: bytes) -> str:
        """Return an event as text without credentials, cut to ``SHOWN`` bytes. A cut credential would not be found."""
        read = redact(data, self._secrets)[: 2 * SHOWN]  # other spellings take longer to find
        return redact_answer(read, self._secrets)[:SHOWN].decode("utf-8", "replace")


# The board


class LiveView:
    """Everything that viewers can see of this process, whose parts are in ``ports``. Used from the trio thread only."""

    ports: Ports
    gateway_for: Callable[[str | None], str | None] = staticmethod(lambda client: None)
    """The name of this gateway for viewers limited to ``client``, ``None`` if it has no storage with others."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._open: dict[int, LiveExchange] = {}
        self._subscriptions: dict[int, list[Subscription]] = {}
        self._recent: OwnedEntries[str | None, int, EndedExchange] = OwnedEntries(RECENT, on_drop=EndedExchange.drop)
        self._ended = 0
        self.sums = Sums()
        self._timeline = Timeline()
        self._timeline_by_client: dict[str, Timeline] = {}
        self._refreshed = -FRESH
        self._transcripts: OwnedEntries[str | None, Transcript, Transcript] = OwnedEntries(
            MOST_TRANSCRIPTS, on_drop=Transcript.clear
        )
        self._prompts: OwnedEntries[str | None, KeptPrompt, KeptPrompt] = OwnedEntries(
            MOST_PROMPTS, on_drop=KeptPrompt.clear
        )
        self._keeps, self.keeps_prompts = True, False

    # Exchanges

    def observe(self, record: Record, arrived: ArrivedRequest | None = None) -> LiveExchange:
        """Show the exchange of ``record``."""
        watched = LiveExchange(self, next(self._numbers), record)
        self._open[watched.number] = watched
        self._timeline.add_start(current_step())
        return watched

    def end(self, watched: LiveExchange, line: Mapping[str, Any]) -> None:
        """Move an ended exchange to the last ones."""
        record = watched.record
        del self._open[watched.number]
        self._ended += 1
        self._remember(watched, {"n": watched.number, "order": self._ended, **line})
        self.sums.add(line, self._ended)
        now = current_step()
        timelines = self._timelines(record)
        self._chart_first_byte(watched, timelines, now)
        for timeline in timelines:
            timeline.add_end(line["ended"], now)
        if record.client is not None:
            self._timeline_by_client[record.client].add_start(now)  # its client was unknown when it started
        for subscription in self._subscriptions.pop(watched.number, ()):
            subscription.close(line)

    def _remember(self, watched: LiveExchange, line: Line) -> None:
        if "dropped" in line:
            line = {**line, "dropped": ", ".join(map(explain_path, line["dropped"].split(",")))}
        sides: dict[str, Any] = {}
        if watched.stream is not None and watched.transcript is not None:
            watched.transcript.source = watched.stream.source
            watched.transcript.close()
            sides = {"transcript": watched.transcript, "secrets": watched.stream.secrets}
        texts = observers_of(watched.record).viewer_texts()
        past = EndedExchange(line, watched.record.began, prompt=watched.prompt, texts=texts, **sides)
        self._recent.put(past.client, watched.number, past)

    def _chart_first_byte(self, one: LiveExchange, timelines: Iterable[Timeline], now: int) -> None:
        """Add the exchange's time to the first byte to its ``timelines``, once, as soon as it is known. ``now`` is the
        current step."""
        if one.record.first_byte is None or one.is_charted:
            return
        one.is_charted = True
        for timeline in timelines:
            timeline.add_first_byte(one.record.began, one.record.first_byte, now)

    def _timelines(self, record: Record) -> list[Timeline]:
        if record.client is None:
            return [self._timeline]
        return [self._timeline, self._timeline_by_client.setdefault(record.client, Timeline())]

    def keep(self, wanted: bool, prompts: bool = False) -> None:
        """Store both sides of streams from now on if ``wanted``, and with ``prompts`` the bodies of requests; otherwise
        drop the stored ones."""
        self._keeps, self.keeps_prompts = wanted, prompts
        if not prompts:
            self._prompts.clear()
        if not wanted:
            holders: tuple[EndedExchange | LiveExchange, ...] = (*self._recent, *self._open.values())
            for transcript in filter(None, (one.transcript for one in holders)):
                transcript.forget()

    def store_prompt(self, watched: LiveExchange, body: bytes) -> None:
        """Store the ``body`` of a request if the operator enabled prompts."""
        if self.keeps_prompts and body:  # entries of no size would never make room
            watched.prompt = prompt = KeptPrompt(body)
            self._prompts.put(watched.record.client, prompt, prompt, len(prompt.body))

    def show_stream(self, watched: LiveExchange, stream: PublicStream) -> None:
        """Note that the exchange streams."""
        watched.stream = stream
        if self._keeps:
            watched.transcript = Transcript(self._transcripts, watched.record.client)
            stream.listen(watched.transcript)

    def hide_stream(self, watched: LiveExchange) -> None:
        """Show nothing of the stream, because its client gets values that are not public."""
        if watched.transcript is not None:
            watched.transcript.forget()
            watched.transcript = None

    # Viewers. ``client`` limits them to its exchanges, ``None`` to nothing.

    @property
    def in_flight(self) -> int:
        """The number of running exchanges of all clients."""
        return len(self._open)

    def rows(self, client: str | None) -> list[Row]:
        """Return a row for each running exchange as of the last update, the oldest first.

        An unchanged row is the same object as before."""
        found = [one for one in self._open.values() if client in (None, one.record.client)]
        for one in found:
            one.row = one.row or _row(one)  # it started since
        return [one.row for one in found]

    def recent(self, client: str | None, since: int = 0) -> list[Line]:
        """Return the lines of the last ended exchanges in order, from after number ``since`` on."""
        lines = (past.line for past in self._recent)
        found = [line for line in lines if line["order"] > since and client in (None, line.get("client"))]
        return sorted(found, key=itemgetter("order"))

    def timeline(self, client: str | None) -> Timeline:
        return self._timeline if client is None else self._timeline_by_client.get(client) or Timeline()

    def find(self, number: int, client: str | None) -> FoundExchange | None:
        """Return a running or ended exchange that ``client`` may see."""
        if (running := self._open.get(number)) is not None:
            found = FoundExchange(running.record.id, running.record.client)
        elif (past := self._recent.find(number)) is not None:
            found = FoundExchange(past.line["request_id"], past.client)
        else:
            return None
        return found if client in (None, found.client) else None

    def subscribe(self, number: int, client: str | None) -> tuple[Subscription, Callable[[], None]] | None:
        """Return a subscription to a stream and the function that ends it, or ``None`` if the stream is unknown.

        A subscription to an ended stream receives its rest immediately; one to an exchange without a stream only
        receives the end."""
        watched = self._open.get(number)
        if watched is None or client not in (None, watched.record.client):
            return self._subscribe_to_ended(number, client)
        if watched.stream is None:
            return None
        stream = watched.stream
        if watched.transcript is not None:
            watched.transcript.source = stream.source
        shown = observers_of(watched.record).viewer_texts()
        subscription = Subscription(watched.record.began, stream.secrets(), watched.transcript, watched.prompt, shown)
        stream.listen(subscription, by_event=True)
        self._subscriptions.setdefault(number, []).append(subscription)

        def unsubscribe() -> None:
            stream.unlisten(subscription)
            subscription.close()
            if subscription in (subscriptions := self._subscriptions.get(number, [])):
                subscriptions.remove(subscription)
                if not subscriptions:
                    del self._subscriptions[number]

        return subscription, unsubscribe

    def _subscribe_to_ended(self, number: int, client: str | None) -> tuple[Subscription, Callable[[], None]] | None:
        past = self._recent.find(number)
        if past is None or client not in (None, past.line.get("client")):
            return None
        subscription = Subscription(past.began, past.secrets(), past.transcript, past.prompt, past.texts)
        subscription.close(past.line)
        return subscription, subscription.close

    async def refresh(self) -> None:
        """Update the rows if they are older than ``FRESH``, with pauses for the streams."""
        now = time.perf_counter()
        if now < self._refreshed + FRESH:
            return
        seconds, self._refreshed, step = now - self._refreshed, now, current_step()
        for i, one in enumerate(tuple(self._open.values()), 1):
            _measure(one, seconds)
            self._chart_first_byte(one, self._timelines(one.record), step)
            row = _row(one)
            if row != one.row:
                one.row = row
            if i % SLICE == 0:
                await trio.lowlevel.checkpoint()


def _measure(one: LiveExchange, seconds: float) -> None:
    """Update the rate of a stream. A new stream's rate is the mean of the measured time only."""
    if one.stream is None:
        return
    characters = one.stream.progress.characters
    if one.row and seconds > 0:  # otherwise the start is unknown
        newest = (characters - one.characters) / CHARACTERS_PER_TOKEN / seconds
        one.mean += (newest - one.mean) * -math.expm1(-seconds / _RATE_OVER)
        one.measured += seconds
        one.rate = one.mean / -math.expm1(-one.measured / _RATE_OVER)
        one.rate = one.rate if one.rate >= 0.05 else 0.0
    one.characters = characters


def _row(one: LiveExchange) -> Row:
    record = one.record
    progress = None if one.stream is None else one.stream.progress
    counted = progress.usage.output if progress is not None and progress.usage is not None else 0
    return (
        one.number, record.id, phase(one), record.client, record.api,
        record.requested_model and record.requested_model[:NAME],
        record.target and record.target[:NAME], record.lane, record.stream, record.attempts,
        None if record.first_byte is None else round(record.first_byte * 1000, 1),
        max(counted, -(-one.characters // CHARACTERS_PER_TOKEN)), round(one.rate, 1),
        tuple(map(explain_path, first_paths(record.dropped))),
        [f"{tried.target[:NAME]}={tried.reason}" for tried in record.bill.attempt_records[-MOST_TRIED:]],
        record.project, record.began,
    )  # fmt: skip


def phase(one: LiveExchange) -> str:
    """Return the phase of an exchange.

    ``reading`` the request, ``waiting`` for the provider's first content, ``streaming``, delayed by a ``slow client``,
    or ``ending``."""
    record, stream = one.record, one.stream
    if not record.attempts and stream is None:  # a stream may wait for its slot
        return "reading" if record.status is None else "ending"
    if stream is None:
        return "waiting" if record.status is None else "ending"
    progress = stream.progress
    if progress.over:
        return "ending"
    if stream.is_blocked:
        return "slow client"
    return "streaming" if progress.committed else "waiting"


# Data for a viewer


class View:
    """One viewer's news: first everything, then the changes. A slow viewer gets fewer updates, never larger ones than
    everything."""

    def __init__(self, live_view: LiveView, client: str | None) -> None:
        self._live_view = live_view
        self._client = client
        self._last: dict[int, Row] = {}
        self._count = 0
        self._order = 0  # of the last ended exchange that was sent
        self._step = 0  # the last one that was sent

    def first(self) -> dict[str, Any]:
        """Return everything."""
        rows = self._rows()
        self._last = {row[0]: row for row in rows}
        return {
            **self._common(), "gateway": self._live_view.gateway_for(self._client),
            "client": self._client, "step": STEP, "steps": STEPS,
            "columns": (*COLUMNS, "age", "began"), "streams": [_with_age(row) for row in rows], **self._ended_since(),
        }  # fmt: skip

    def next(self) -> dict[str, Any]:
        """Return the changes since the last call."""
        rows = self._rows()
        last, self._last = self._last, {row[0]: row for row in rows}
        return {
            **self._common(),
            "new": [_with_age(row) for row in rows if row[0] not in last],
            "changed": list(_changed_values(last, rows)),
            "gone": [number for number in last if number not in self._last],
            **self._ended_since(),
        }

    def _rows(self) -> list[Row]:
        rows = self._live_view.rows(self._client)
        self._count = len(rows)
        return rows[:MOST_ROWS]

    def _common(self) -> dict[str, Any]:
        return {"process": os.getpid(), "in_flight": self._count, "now": current_step()}

    def _ended_since(self) -> dict[str, Any]:
        """Return the exchanges that ended since the last update, and the steps of the charts that may have changed."""
        recent = self._live_view.recent(self._client, self._order)
        tokens = self._live_view.sums.rows(self._client, self._order)
        points = self._live_view.timeline(self._client).points(self._step)
        self._order = recent[-1]["order"] if recent else self._order
        self._step = points[-1][0] if points else self._step
        return {"recent": recent, "points": points, "tokens": tokens}


def _with_age(row: Row) -> Row:
    """Return ``row`` with the age of its exchange, from which the page continues to count: its clock may differ.

    The row also keeps the start, which orders the rows of all workers, because they share this machine's clock."""
    return (*row[:-1], round(time.perf_counter() - row[-1], 2), row[-1])


def _changed_values(last: Mapping[int, Row], rows: list[Row]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the number of each changed row, with its new values by column."""
    for row in rows:
        before = last.get(row[0])
        if before is not None and before is not row:
            yield row[0], {name: new for name, old, new in zip(COLUMNS, before, row, strict=False) if new != old}
