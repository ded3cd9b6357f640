"""The live view: its table, the updates for each viewer, and the listeners, which never change a stream."""

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.access.authentication import Authenticator
from gateway.config_files.loading import ConfigError, from_mapping
from gateway.config_reports.changes import changes
from gateway.features.live_view import charts
from gateway.features.live_view import live as watching
from gateway.features.live_view.charts import OTHERS
from gateway.features.live_view.ended import RECENT
from gateway.features.live_view.live import COLUMNS, QUEUED, SHOWN, LiveView, View
from gateway.features.live_view.pages.viewer_events import event_maker
from gateway.features.live_view.transcripts import EACH, PIECE, STEP, Transcript
from gateway.http.redaction import redact
from gateway.ledger.bill import AttemptRecord
from gateway.ledger.ledger import Ledger
from gateway.ledger.record import Record
from gateway.logs.masking import Mask
from gateway.seams.observed_stream import LARGEST, ObservedStream
from gateway.seams.observers import observation_of, observers_of
from gateway.shared.owned_entries import OwnedEntries
from gateway.streaming.lane import Lane
from gateway.streaming.passthrough import Passthrough
from gateway.streaming.translation import Translation, WholeAnswerTranslation
from gateway.viewing.visitors import admit
from providers.apis import CODECS
from providers.framings import text_of
from providers.neutral.codec import Reply
from providers.neutral.seal import Issuer
from streams import event_stream
from streams.errors import GatewayError
from streams.events import Api, ErrorInfo, Usage
from streams.framing import EventTooLarge
from streams.handoff import Handoff
from streams.pipe import Chunk
from tests.support.apis import OLDER
from tests.support.each_row import each_row
from tests.support.examples import examples
from tests.support.harness import config, provider
from tests.support.upstreams import Script, ToolCall, render

KEY = "sk-very-secret-0123"
SCRIPT = Script(text="one two three", calls=(ToolCall("call_1", "f", '{"a": 1}'),), stop="tool_calls")
PAIRS = [(api, client) for api in OLDER for client in OLDER]


def keep_error(failed: ErrorInfo) -> ErrorInfo:
    return failed


def hide(data: bytes) -> bytes:
    return redact(data, (KEY,))


def stream_of(api: Api) -> bytes:
    request = {"stream": True, "model": "up", "stream_options": {"include_usage": True}}
    return b"".join(render(SCRIPT, api, request).pieces)


def reply_for(api: Api) -> Reply:
    asked: dict[str, Any] = {"input": "hi"} if api == "responses" else {"messages": [{"role": "user", "content": "hi"}]}
    body = {"model": "asked", "stream": True, **asked, **({"max_tokens": 9} if api == "messages" else {})}
    return Reply(CODECS[api].read_request(body), Issuer("openai", "account"), 1700000000)


def lane_of(api: Api, client: Api, limit: int = 2**20) -> Lane:
    if api == client:
        return Passthrough(CODECS[api], keep_error, hide, limit)
    return Translation(CODECS[api], CODECS[client].writer(reply_for(client)), CODECS[client].wire, keep_error, limit)


class Heard:
    """A listener that stores everything that it observes."""

    def __init__(self) -> None:
        self.all: list[tuple[bytes, bytes, str]] = []

    def observe(self, came: bytes, went: bytes, note: str = "") -> None:
        self.all.append((came, went, note))

    @property
    def received_bytes(self) -> bytes:
        return b"".join(came for came, _, _ in self.all)

    @property
    def sent_bytes(self) -> bytes:
        return b"".join(went for _, went, _ in self.all)


class HeardStream:
    """A stream that gets its bytes in the same way as in the gateway."""

    def __init__(self, lane: Lane) -> None:
        self.lane = lane
        self.observed = ObservedStream(lane, lambda: (KEY,))

    def feed(self, data: bytes) -> bytes:
        return self.observed.feed(data) if self.observed.listeners else self.lane.feed(data)

    def end(self, error: ErrorInfo | None = None) -> bytes:
        out = self.lane.end(error)
        if self.observed.listeners:
            self.observed.note_end(out, "" if error is None else error.message)
        return out

    def heard_by(self, listener: "Heard") -> "HeardStream":
        self.observed.listen(listener, by_event=True)
        return self


def split(data: bytes, places: Sequence[int]) -> list[bytes]:
    cuts = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[a:b] for a, b in pairwise(cuts)]


def run(lane: Lane | HeardStream, parts: Sequence[bytes]) -> bytes:
    return b"".join([*(lane.feed(part) for part in parts), lane.end()])


def same_ids(data: bytes) -> bytes:
    """Return ``data`` without the values that writers generate, which differ from stream to stream."""
    return re.sub(rb'"(id|item_id|call_id|signature|data|encrypted_content)":"[^"]*"', rb'"\1":""', data)


# Streams of any framing


def test_the_live_view_shows_streams_of_any_framing_as_text():
    frame = event_stream.event_frame("contentBlockDelta", b'{"delta":{"text":"hi"}}')
    assert text_of(frame) == b'event: contentBlockDelta\ndata: {"delta":{"text":"hi"}}\n\n'
    invoked = event_stream.event_frame("chunk", b'{"bytes":"%b"}' % base64.b64encode(b'{"type":"message_stop"}'))
    assert text_of(invoked + frame[:20]) == b'event: message_stop\ndata: {"type":"message_stop"}\n\n: half a frame\n\n'
    assert text_of(b'[{"a":1}') + text_of(b',\r\n{"a":2}') + text_of(b"]") == b'data: {"a":1}\n\ndata: {"a":2}\n\n]'
    for plain in (b"data: {}\r\n\r\n", b": ping\n\n", b"", b'{"error": 1}'):
        assert text_of(plain) == plain


@pytest.mark.parametrize("damaged", [False, True])
def test_a_transcript_of_frames_has_them_one_by_one(damaged):
    frames = [event_stream.event_frame("contentBlockDelta", b'{"delta":{"text":"%d"}}' % n) for n in range(3)]
    transcript = Transcript(OwnedEntries(2**20))
    transcript.source = event_stream.EVENT_STREAM
    data = b"".join(frames)
    whole = data if not damaged else data[:-1] + b"?"
    size = len(frames[0])
    for part in (whole[:7], whole[7 : size + 9], whole[size + 9 : 2 * size + 9], whole[2 * size + 9 :]):
        transcript.observe(part, b"")
    transcript.close()
    found = [came for _, came, _ in transcript.passages() if came]
    assert found[:2] == frames[:2]
    assert b"".join(found) == whole


# Listeners


@pytest.mark.parametrize(("api", "client"), PAIRS)
@settings(max_examples=examples(40))
@given(places=st.lists(st.integers(min_value=0, max_value=10_000), max_size=12), ears=st.integers(0, 12))
async def test_a_stream_with_a_listener_has_the_same_bytes(api, client, places, ears):
    parts = split(stream_of(api), places)
    plain = run(lane_of(api, client), parts)
    delivery = HeardStream(lane_of(api, client))
    heard, out = Heard(), []
    for i, part in enumerate(parts):
        if i == ears % len(parts):
            delivery.heard_by(heard)
        out.append(delivery.feed(part))
    out.append(delivery.end())
    assert same_ids(b"".join(out)) == same_ids(plain)
    assert heard.received_bytes == b"".join(parts[ears % len(parts) :])
    assert b"".join(out).endswith(heard.sent_bytes)


def test_an_event_too_large_for_the_live_view_passes_to_the_client():
    event = b'data: {"choices":[{"index":0,"delta":{"content":"' + b"x" * (LARGEST + 10) + b'"}}]}\n\n'
    heard = Heard()
    tapped = HeardStream(lane_of("chat", "chat", 4 * LARGEST)).heard_by(heard)
    out = b"".join(tapped.feed(event[i : i + 4096]) for i in range(0, len(event), 4096))
    out += tapped.feed(b"data: [DONE]\n\n") + tapped.end()
    assert out.startswith(event)
    assert heard.received_bytes == event + b"data: [DONE]\n\n"


def test_the_limit_of_an_event_stays_that_of_the_lane():
    tapped = HeardStream(lane_of("chat", "chat", 1000)).heard_by(Heard())
    with pytest.raises(EventTooLarge):
        tapped.feed(b"data: " + b"x" * 2000)
    assert b"too large" in tapped.end(ErrorInfo("upstream", "too large"))


def test_a_listener_that_fails_ends_no_stream(caplog):
    class Broken:
        def observe(self, came: bytes, went: bytes, note: str = "") -> None:
            raise RuntimeError("a viewer's mistake")

    tapped = HeardStream(lane_of("chat", "chat")).heard_by(Broken())
    assert run(tapped, [stream_of("chat")]) == stream_of("chat")
    assert tapped.observed.listeners == []
    assert "receives no more of its events" in caplog.text


async def test_a_live_view_listener_continues_if_the_provider_does_not_stream():
    delivery = HeardStream(lane_of("chat", "chat"))
    heard = Heard()
    delivery.heard_by(heard)
    delivery.lane = WholeAnswerTranslation(
        CODECS["chat"], CODECS["chat"].writer(reply_for("chat")), CODECS["chat"].wire, keep_error, 2**20
    )
    delivery.observed.use_lane(delivery.lane)
    body = b"".join(render(SCRIPT, "chat", {"model": "up"}).pieces)
    out = run(delivery, [body])
    assert heard.received_bytes == body
    assert heard.sent_bytes == out
    assert delivery.lane.progress.over


# The table of exchanges


class Stage:
    """A live view of a ledger, whose streams the test starts."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.live_view = LiveView()
        observation_of(self.ledger).hooks += (self.live_view.observe,)
        self.handoffs: list[Handoff[Chunk]] = []

    def begin(self, id: str = "call", client: str | None = None, api: Api = "chat") -> Record:
        record = self.ledger.open(id, api)
        record.client, record.requested_model = client, "model"
        return record

    def stream(self, record: Record, api: Api = "chat") -> HeardStream:
        record.stream, record.attempts, record.target = True, 1, "openai/up"
        stream = HeardStream(lane_of(api, record.api))
        self.handoffs.append(Handoff[Chunk](1))
        stream.observed.follow(self.handoffs[-1])
        observers_of(record).note_stream(stream.observed)
        return stream

    def end(self, record: Record) -> None:
        self.ledger.settle(record, disconnected=not record.bill.is_complete)

    async def look(self, ago: float = 1.0) -> None:
        """Refresh the live view as if the last refresh was ``ago`` seconds ago."""
        self.live_view._refreshed -= ago
        await self.live_view.refresh()

    async def row(self, client: str | None = None) -> dict[str, Any]:
        await self.look()
        (row,) = self.live_view.rows(client)
        return dict(zip(COLUMNS, row, strict=False))


@pytest.fixture
def stage():
    found = Stage()
    yield found
    for handoff in found.handoffs:
        handoff.close()


async def test_an_exchange_passes_its_phases_in_order(stage):
    record = stage.begin()
    assert (await stage.row())["phase"] == "reading"
    delivery = stage.stream(record)
    assert (await stage.row())["phase"] == "waiting"
    data = stream_of("chat")
    delivery.feed(data[: data.index(b"wo")])
    record.mark_answered(200)
    row = await stage.row()
    assert (row["phase"], row["target"], row["stream"]) == ("streaming", "openai/up", True)
    assert row["tokens"] > 0
    chunks = stage.handoffs[0]
    chunks.send_nowait(b"waits")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(chunks.send, b"waits longer")
        await trio.testing.wait_all_tasks_blocked()
        assert (await stage.row())["phase"] == "slow client"
        nursery.cancel_scope.cancel()
    delivery.feed(data)
    assert (await stage.row())["phase"] == "ending"
    stage.end(record)
    assert stage.live_view.rows(None) == []


async def test_a_row_shows_the_results_of_the_attempts_so_far(stage):
    """An operator could not see fallbacks: BerriAI/litellm#25503."""
    record = stage.begin()
    assert (await stage.row())["tried"] == []
    record.bill.attempt_records = (AttemptRecord("vllm-a", "vllm", "chat", "byte", "connection"),)
    assert (await stage.row())["tried"] == ["vllm-a=connection"]
    view = View(stage.live_view, None)
    view.first()
    record.bill.attempt_records = (
        *record.bill.attempt_records,
        AttemptRecord("claude", "anthropic", "messages", "hub", "overloaded"),
    )
    await stage.look()
    assert [change["tried"] for _, change in view.next()["changed"]] == [["vllm-a=connection", "claude=overloaded"]]


def test_a_new_viewer_immediately_sees_streams_that_just_began(stage):
    stage.begin("one")
    View(stage.live_view, None).first()
    stage.begin("two")
    assert [row[1] for row in View(stage.live_view, None).first()["streams"]] == ["one", "two"]


async def test_the_rate_follows_the_text(stage):
    record = stage.begin()
    delivery = stage.stream(record)
    (await stage.row())
    seen = delivery.lane.progress
    seen.characters = 400
    assert (await stage.row())["rate"] > 20
    for _ in range(20):  # no more text arrives
        row = await stage.row()
    assert row["rate"] == 0
    seen.usage = Usage(input=1, output=777)
    assert (await stage.row())["tokens"] == 777


async def test_the_rate_of_a_slow_stream_does_not_jump(stage):
    """The stream sends 40 characters every two seconds, so five tokens per second. Each second has two refreshes."""
    delivery = stage.stream(stage.begin())
    await stage.row()
    rates = []
    for tick in range(40):
        delivery.lane.progress.characters += 40 if tick % 4 == 0 else 0
        await stage.look(0.5)
        rates.append(dict(zip(COLUMNS, stage.live_view.rows(None)[0], strict=False))["rate"])
    assert all(3 < rate < 7.5 for rate in rates[8:]), rates


async def test_updates_contain_only_differences(stage):
    first, second = stage.begin("one"), stage.begin("two")
    view = View(stage.live_view, None)
    everything = view.first()
    assert [row[1] for row in everything["streams"]] == ["one", "two"]
    assert everything["columns"] == (*COLUMNS, "age", "began")
    assert all(len(row) == len(everything["columns"]) and row[-2] >= 0 for row in everything["streams"])
    quiet = view.next()
    assert (quiet["new"], quiet["changed"], quiet["gone"], quiet["recent"]) == ([], [], [], [])

    third = stage.begin("three")
    second.requested_model = "another"
    second.lane = "byte"
    stage.end(first)
    await stage.look()
    news = view.next()
    assert [row[1] for row in news["new"]] == ["three"]
    assert news["changed"] == [(2, {"model": "another", "lane": "byte"})]
    assert news["gone"] == [1]
    assert [(line["request_id"], line["n"]) for line in news["recent"]] == [("one", 1)]
    assert news["in_flight"] == 2
    third.requested_model = None
    await stage.look()
    assert view.next()["changed"] == [(3, {"model": None})]


async def test_a_slow_viewer_gets_only_the_remaining_rows(stage):
    view = View(stage.live_view, None)
    view.first()
    for number in range(RECENT + 50):
        stage.end(stage.begin(f"call-{number}"))
    await stage.look()
    news = view.next()
    assert (news["new"], news["gone"]) == ([], [])
    assert len(news["recent"]) == RECENT
    assert news["recent"][-1]["request_id"] == f"call-{RECENT + 49}"
    assert view.next()["recent"] == []


async def test_more_exchanges_than_are_shown_are_counted(stage, monkeypatch):
    monkeypatch.setattr(watching, "MOST_ROWS", 3)
    records = [stage.begin(f"call-{number}") for number in range(5)]
    view = View(stage.live_view, None)
    everything = view.first()
    assert (len(everything["streams"]), everything["in_flight"]) == (3, 5)
    stage.end(records[0])
    await stage.look()
    news = view.next()
    assert [row[1] for row in news["new"]] == ["call-3"]


async def test_a_client_sees_only_its_own_exchanges(stage):
    mine, other = stage.begin("mine", "me"), stage.begin("other", "them")
    stage.stream(other)
    view = View(stage.live_view, "me")
    assert [row[1] for row in view.first()["streams"]] == ["mine"]
    assert stage.live_view.subscribe(2, "me") is None
    assert stage.live_view.subscribe(2, "them") is not None
    stage.end(other)
    stage.end(mine)
    await stage.look()
    news = view.next()
    assert [line["request_id"] for line in news["recent"]] == ["mine"]
    assert sum(point[4] for point in news["points"]) + sum(point[3] for point in news["points"]) == 1


async def test_a_clients_ended_exchanges_stay_although_another_client_has_many(stage):
    stage.end(stage.begin("mine", "me"))
    for number in range(2 * RECENT):
        stage.end(stage.begin(f"other-{number}", "them"))
    stage.end(stage.begin("last", "me"))
    await stage.look()
    assert [line["request_id"] for line in stage.live_view.recent("me")] == ["mine", "last"]
    all = [line["request_id"] for line in stage.live_view.recent(None)]
    assert len(all) == RECENT
    assert (*all[:2], all[-1]) == ("mine", f"other-{RECENT + 2}", "last"), "in the order of their ends"


def test_the_charts_count_started_exchanges_and_their_ends(stage):
    good, left, failed = stage.begin(), stage.begin(), stage.begin()
    good.bill.is_complete = True
    good.mark_answered(200)
    failed.error = ErrorInfo("upstream", "broken")
    for record in (good, left, failed):
        stage.end(record)
    points = stage.live_view.timeline(None).points()
    assert [sum(point[i] for point in points) for i in (1, 2, 3, 4)] == [3, 1, 1, 1]
    assert any(point[5] is not None for point in points)
    assert stage.live_view.timeline(None).points(since=points[-1][0] + 1) == []


async def test_a_first_byte_is_on_the_chart_when_it_arrives_and_not_when_its_answer_ends(stage):
    record = stage.begin(client="me")
    stage.stream(record)
    record.mark_answered(200)
    for _ in range(2):
        await stage.look()
    ends = stage.live_view.timeline(None).points()
    assert [point[2] + point[3] + point[4] for point in ends] == [0] * len(ends)
    assert firsts(stage, None) == firsts(stage, "me") == 1
    stage.end(record)
    assert firsts(stage, None) == firsts(stage, "me") == 1


def firsts(stage, client: str | None) -> int:
    return sum(len(step.first) for step in stage.live_view.timeline(client)._steps.values())


def test_a_first_byte_that_is_long_past_is_on_no_chart(stage, monkeypatch):
    record = stage.begin()
    record.mark_answered(200)
    later = charts.current_step() + charts.STEPS + 1
    for module in charts, watching:
        monkeypatch.setattr(module, "current_step", lambda: later)
    stage.end(record)
    assert [point[:2] + point[5:] for point in stage.live_view.timeline(None).points()] == [[later, 0, None, None, 0]]


# Open streams


async def test_an_opened_stream_drops_and_reports_text_that_its_viewer_does_not_read(stage):
    delivery = stage.stream(stage.begin())
    tap, off = stage.live_view.subscribe(1, None)
    comments = b": x\n\n" * (QUEUED + 40)
    delivery.feed(comments)
    assert tap.lost_count == 40
    first = await tap.events.receive()
    assert (first.received, first.lost) == (": x\n\n", 0)
    delivery.feed(b": late\n\n")
    assert tap.lost_count == 0
    off()
    told = [one async for one in tap.events]
    assert (told[-1].received, told[-1].lost) == (": late\n\n", 40)


async def test_no_credential_is_shown_not_even_half_of_one(stage):
    delivery = stage.stream(stage.begin())
    tap, off = stage.live_view.subscribe(1, None)
    delivery.feed(b": " + b"x" * (SHOWN - 10) + KEY.encode() + b"\n\n")
    delivery.end(ErrorInfo("upstream", f"refused {KEY}"))
    off()
    passed = [one async for one in tap.events]
    assert KEY[:6] not in "".join(one.received + one.sent + one.note for one in passed)
    assert passed[0].sizes[0] > SHOWN >= len(passed[0].received)
    assert "refused [redacted]" in passed[-1].note


def test_rows_and_lines_show_no_key_that_the_log_hides():
    digest = hashlib.sha256(b"alices-key-0123456789").hexdigest()
    keys = config([provider("groq/*", "http://x")], 1, client_keys=[{"name": "alice", "sha256": digest}])
    mask = Mask()
    mask.apply_config(from_mapping(keys))
    say = event_maker(mask)
    line = {"model": "groq/alices-key-0123456789", "target": "groq/sk-ant-somebodys-0123456789"}
    for name in ("all", "news", "ended"):
        told = say(name, {"recent": [line]})
        assert json.loads(told.partition(b"data: ")[2]) == {
            "recent": [{"model": "groq/[redacted]", "target": "groq/[redacted]"}]
        }
    assert b"sk-learn-is-a-package" in say("passed", [{"came": "sk-learn-is-a-package"}])  # answers stay unchanged


async def test_closing_one_view_of_a_stream_leaves_the_other(stage):
    record = stage.begin()
    delivery = stage.stream(record)
    (one, off_one), (two, off_two) = stage.live_view.subscribe(1, None), stage.live_view.subscribe(1, None)
    off_one()
    delivery.feed(b": ping\n\n")
    stage.end(record)
    assert [passed async for passed in one.events] == []
    assert len([passed async for passed in two.events]) == 1
    off_two()
    assert one not in delivery.observed.listeners


async def test_an_unstreamed_exchange_can_be_opened_only_after_its_end(stage):
    record = stage.begin()
    assert stage.live_view.subscribe(1, None) is None
    assert stage.live_view.subscribe(99, None) is None
    stage.end(record)
    tap, _ = stage.live_view.subscribe(1, None)
    assert (tap.kept, list(tap.before), tap.line["request_id"]) == ("not kept", [], "call")


# Ended streams


def texts_of(tap) -> list[tuple[str, str]]:
    return [(one.received, one.sent) for one in tap.before]


@pytest.mark.parametrize(("api", "client"), PAIRS)
@settings(max_examples=examples(20))
@given(places=st.lists(st.integers(min_value=0, max_value=10_000), max_size=12), opened=st.integers(0, 12))
async def test_both_sides_of_a_stream_can_be_seen_from_its_beginning(api, client, places, opened):
    """A viewer opens the stream while it runs, and again after its end."""
    stage = Stage()
    record = stage.begin(api=client)
    delivery = stage.stream(record, api)
    out, early = [], None
    for i, part in enumerate(parts := split(stream_of(api), places)):
        if i == opened % len(parts):
            early, _ = stage.live_view.subscribe(1, None)
        out.append(delivery.feed(part))
    out.append(delivery.end())
    stage.end(record)
    stage.handoffs[0].close()
    late, _ = stage.live_view.subscribe(1, None)
    went = b"".join(out).decode()
    for tap in (early, late):
        rows = [*texts_of(tap), *[(one.received, one.sent) async for one in tap.events]]
        assert "".join(text for _, text in rows) == went
        assert (tap.line["request_id"], tap.kept) == ("call", "kept")
    assert "".join(text for text, _ in texts_of(stage.live_view.subscribe(1, None)[0])) == stream_of(api).decode()


async def test_an_error_shows_no_credential_in_another_spelling(stage):
    record = stage.begin()
    delivery = stage.stream(record)
    tap, off = stage.live_view.subscribe(1, None)
    spelled = KEY.replace("-", "\\u002d")
    delivery.feed(b'data: {"error": {"message": "wrong key: %b"}}\n\n' % spelled.encode())
    off()
    stage.end(record)
    live = [one async for one in tap.events]
    kept = list(stage.live_view.subscribe(1, None)[0].before)
    for passed in (live, kept):
        text = "".join(one.received + one.sent + one.note for one in passed)
        assert spelled not in text
        assert "wrong key: [redacted]" in text


async def test_a_stream_failure_is_shown_after_its_end_too(stage):
    record = stage.begin()
    delivery = stage.stream(record)
    delivery.feed(stream_of("chat")[:400])
    delivery.end(ErrorInfo("upstream", f"broke, with {KEY}"))
    stage.end(record)
    rows = list(stage.live_view.subscribe(1, None)[0].before)
    assert rows[-1].note == "broke, with [redacted]"
    assert "error" in rows[-2].sent
    assert rows[-2].received
    assert "".join(one.received for one in rows) == stream_of("chat")[:400].decode()  # half an event, too


async def test_kept_text_shows_no_credential(stage):
    """A credential may have arrived in two pieces."""
    record = stage.begin()
    delivery = stage.stream(record)
    said = f": my key is {KEY}, {'x' * SHOWN}\n\n".encode()
    delivery.feed(said[:20])
    tap, off = stage.live_view.subscribe(1, None)
    assert texts_of(tap) == []  # half an event
    off()
    delivery.feed(said[20:])
    stage.end(record)
    text = "".join(came + went for came, went in texts_of(stage.live_view.subscribe(1, None)[0]))
    assert KEY[:6] not in text
    assert text.count("my key is [redacted]") == 2


async def test_the_beginning_and_end_of_a_long_stream_are_kept(stage):
    record = stage.begin()
    delivery = stage.stream(record)
    event = b"id: " + b"x" * 4000 + b"\n\n"
    for _ in range(2 * EACH // len(event)):
        delivery.feed(event)
    delivery.feed(b"id: the last\n\n")
    for tap in (stage.live_view.subscribe(1, None)[0], ended_tap(stage, record)):
        rows = list(tap.before)
        kept = sum(len(one.received.encode()) for one in rows)
        (gap,) = [one for one in rows if one.left_out]
        assert gap.left_out + kept == 2 * EACH // len(event) * len(event) + len(b"id: the last\n\n")
    assert rows[-1].sent == "id: the last\n\n"


def ended_tap(stage, record):
    stage.end(record)
    return stage.live_view.subscribe(1, None)[0]


async def test_the_oldest_texts_are_dropped_and_reported(stage, monkeypatch):
    monkeypatch.setattr(stage.live_view._transcripts, "_most", 14_000)
    for number in range(5):
        record = stage.begin(f"call-{number}")
        stage.stream(record).feed(b": " + bytes([97 + number]) * 3000 + b"\n\n")
        stage.end(record)
    taps = [stage.live_view.subscribe(number, None)[0] for number in range(1, 6)]
    assert [tap.kept for tap in taps] == ["let go", "let go", "kept", "kept", "kept"]
    assert [bool(texts_of(tap)) for tap in taps] == [False, False, True, True, True]
    assert all(tap.line is not None for tap in taps)


async def test_streams_that_left_the_list_are_forgotten(stage):
    for number in range(RECENT + 3):
        record = stage.begin(f"call-{number}")
        stage.stream(record).feed(b": x\n\n")
        stage.end(record)
    assert stage.live_view.subscribe(3, None) is None
    assert stage.live_view.subscribe(4, None) is not None
    assert stage.live_view._transcripts._size == RECENT * (5 + PIECE)


def test_running_streams_of_a_client_leave_room_for_the_streams_of_others():
    """A client with eight long streams once used the whole memory, so an operator saw no streams of other clients."""
    room = OwnedEntries[str | None, Transcript, Transcript](20 * STEP, on_drop=Transcript.clear)
    data = b": 345678\n\n"
    many, one = [Transcript(room, "many") for _ in range(20)], Transcript(room, "one")
    for transcript in (*many * 20, *[one] * 40):
        transcript.observe(data, data)
    assert len(list(one.passages())) == 40
    assert (one.left_out, one.cleared) == (0, False)
    assert [transcript.cleared for transcript in (many[0], many[-1])] == [True, False], "the oldest of that client"
    for transcript in (*many, one):
        transcript.close()
        transcript.forget()
    assert not room


async def test_a_client_opens_only_its_own_ended_streams(stage):
    record = stage.begin(client="them")
    stage.stream(record).feed(b": x\n\n")
    stage.end(record)
    assert stage.live_view.subscribe(1, "me") is None
    assert texts_of(stage.live_view.subscribe(1, "them")[0]) == [(": x\n\n", ": x\n\n")]


async def test_the_live_view_stores_no_texts_if_switched_off(stage):
    early, late = stage.begin(), stage.begin()
    stage.stream(early).feed(b": x\n\n")
    stage.live_view.keep(False)
    delivery = stage.stream(late)
    delivery.feed(b": x\n\n")
    for record in (early, late):
        stage.end(record)
    assert [stage.live_view.subscribe(number, None)[0].kept for number in (1, 2)] == ["let go", "not kept"]
    assert not stage.live_view._transcripts


# Tokens


def end_exchange(stage, client: str | None, target: str, *, input: int = 10, output: int = 5, whole=True) -> None:
    record = stage.begin(client=client)
    record.target, bill = target, record.bill
    bill.usage, bill.is_complete, bill.characters = Usage(input=input, output=output), whole, 400
    stage.end(record)


def test_tokens_are_added_up_by_client_and_model(stage):
    for _ in range(2):
        end_exchange(stage, "me", "openai/a")
    end_exchange(stage, "me", "openai/b", whole=False)
    end_exchange(stage, "them", "openai/a", input=1, output=2)
    stage.end(stage.begin(client="me"))  # a refused request uses no tokens
    assert View(stage.live_view, None).first()["tokens"] == [
        ["me", "openai/a", 2, 20, 0, 10, 0, 0.0, 0, 2, 0],
        ["me", "openai/b", 1, 10, 0, 100, 1, 0.0, 0, 1, 0],
        ["them", "openai/a", 1, 1, 0, 2, 0, 0.0, 0, 1, 0],
    ]
    view = View(stage.live_view, "me")
    assert [row[:2] for row in view.first()["tokens"]] == [["me", "openai/a"], ["me", "openai/b"]]
    assert view.next()["tokens"] == []
    end_exchange(stage, "them", "openai/a")
    end_exchange(stage, "me", "openai/a")
    assert view.next()["tokens"] == [["me", "openai/a", 3, 30, 0, 15, 0, 0.0, 0, 3, 0]]


def test_costs_are_added_up_with_their_accuracy():
    sums = charts.Sums()
    for order, (dollars, grade) in enumerate([(0.25, "exact"), (0.5, "estimated"), (0.125, "at_least")], 1):
        tokens = {"input_tokens": 1, "output_tokens": 1}
        sums.add({"client": "me", "target": "a/b", "cost_usd": dollars, "cost_grade": grade, **tokens}, order)
    sums.add({"client": "me", "target": "a/b", "cost_usd": 1.0, "cost_grade": "exact"}, 4)  # all attempts failed
    sums.add({"client": "me", "target": "a/b", "output_tokens": 2, "cost_grade": "subscription"}, 5)
    assert sums.rows(None) == [["me", "a/b", 5, 3, 0, 5, 0, 1.875, 1, 1, 1]]


def test_models_that_clients_make_up_are_added_up_as_one(stage, monkeypatch):
    monkeypatch.setattr(charts, "MOST_SUMS", 4)
    for number in range(5):
        end_exchange(stage, "me", f"openai/{number}")
    rows = stage.live_view.sums.rows(None)
    assert [(row[1], row[2]) for row in rows] == [("openai/0", 1), ("openai/1", 1), (OTHERS, 3)]


def test_the_models_of_one_client_leave_room_for_those_of_others(stage, monkeypatch):
    """A client may send any model name that matches a wildcard."""
    monkeypatch.setattr(charts, "MOST_SUMS", 6)
    for number in range(20):
        end_exchange(stage, "them", f"openai/{number}")
    for number in range(2):
        end_exchange(stage, "me", f"openai/{number}")
    assert [(row[1], row[2]) for row in stage.live_view.sums.rows("me")] == [("openai/0", 1), ("openai/1", 1)]


# The key of the live view


BARE = {"version": "v0.3.0", "model_providers": [{"model": "openai/gpt-4o"}]}


def test_an_empty_key_is_a_mistake_and_no_key_is_repeated():
    with pytest.raises(ConfigError, match="ui_key: the key is empty"):
        from_mapping({**BARE, "ui_key": ""})
    old, new = (from_mapping({**BARE, "ui_key": key}) for key in ("of-the-operator", "of-another"))
    assert "of-the-operator" not in repr(old)
    assert [str(change) for change in changes(old, new)] == ["~ ui_key changed"]
    assert [str(change) for change in changes(from_mapping(BARE), new)] == ["~ ui_key added"]


# Permitted viewers

AT_HOME = (("host", "localhost:12000"),)
OPEN_DOOR = Authenticator(from_mapping(BARE))
KEYED_DOOR = Authenticator(from_mapping({**BARE, "client_keys": [{"name": "me", "key": "of-the-client"}]}))
UI_KEY = hashlib.sha256(b"of-the-operator").digest()


def basic(password: str) -> tuple[str, str]:
    return "authorization", "Basic " + base64.b64encode(f"anybody:{password}".encode()).decode()


def visible_to(headers, ui_key=None, keys=False):
    """Return the client whose exchanges a visitor sees, or the status of the refusal."""
    try:
        return admit(headers, KEYED_DOOR if keys else OPEN_DOOR, ui_key, keys).client
    except GatewayError as error:
        refused = error.info
    assert "of-the" not in refused.message
    return refused.status


@each_row(
    ("headers", "ui_key", "keys", "seen"),
    [
        ((), UI_KEY, False, 401),
        ((basic("of-the-operator"),), UI_KEY, False, None),
        ((("authorization", "Bearer of-the-operator"),), UI_KEY, False, None),
        ((basic("of-the-client"),), UI_KEY, False, 401),
        ((("authorization", "Basic !!!"),), UI_KEY, False, 401),
        ((("authorization", "Basic \xe9"),), UI_KEY, False, 401),  # no base64, and not even ASCII
        ((), None, True, 401),
        ((basic("of-the-client"),), None, True, "me"),
        ((("x-api-key", "of-the-client"),), None, True, "me"),
        ((basic("of-nobody"),), None, True, 401),
        ((basic("of-the-operator"),), UI_KEY, True, None),
        ((basic("of-the-client"),), UI_KEY, True, "me"),
    ],
)
def test_with_keys_each_viewer_needs_one_and_clients_see_their_own_exchanges(headers, ui_key, keys, seen):
    assert visible_to((*AT_HOME, *headers), ui_key=ui_key, keys=keys) == seen


def test_a_key_may_have_any_letters():
    key = "schlüssel-Ж"
    ui_key = hashlib.sha256(key.encode()).digest()
    on_the_wire = key.encode().decode("latin-1")  # as the server hands over the bytes of a header
    assert visible_to((*AT_HOME, ("authorization", f"Bearer {on_the_wire}")), ui_key=ui_key) is None
    assert visible_to((*AT_HOME, basic(key)), ui_key=ui_key) is None
    assert visible_to((*AT_HOME, basic(key + "x")), ui_key=ui_key) == 401


@pytest.mark.parametrize(("door", "keys"), [(OPEN_DOOR, False), (KEYED_DOOR, True)])
def test_a_browser_is_prompted_for_the_key(door, keys):
    with pytest.raises(GatewayError) as refused:
        admit(AT_HOME, door, UI_KEY, keys)
    assert dict(refused.value.info.headers)["www-authenticate"].startswith("Basic ")
    assert "enter yours, or the ui_key, as the password, with any user name" in refused.value.info.message
