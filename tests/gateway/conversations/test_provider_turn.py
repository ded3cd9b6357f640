"""The recorder of turns that their provider stores: the owner, and the entry that has the turn."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from gateway.conversations.background import BackgroundTurn, NoBackground
from gateway.conversations.local_turn import LocalTurn
from gateway.conversations.provider_turn import ProviderTurn, find_storing_entry
from gateway.conversations.recorder import UNRECORDED
from gateway.conversations.stored_api import StateOptions
from gateway.exchange.body import StreamBody
from gateway.exchange.delivery import Delivery
from gateway.http.request_scope import RequestScope
from gateway.http.response import Response
from gateway.ledger.record import Record
from gateway.stores.memory import MemoryStore
from gateway.streaming.lane import StreamProgress
from gateway.streaming.passthrough import Passthrough
from providers.apis import CODECS
from providers.neutral.codec import Reply
from providers.neutral.seal import Issuer
from providers.responses.output import ResponseTemplate
from streams.errors import GatewayError
from streams.event_log import Resumption
from streams.events import AnswerEnd, AnswerStart, ErrorInfo, Event, TextDelta, Usage
from streams.fold import Answer
from streams.handoff import Handoff
from streams.pipe import PIECES_QUEUED, Chunk
from tests.support.lanes import SCRIPTS, events_of
from tests.support.responses_api import forwarded_data
from tests.support.state_endpoints import LEDGER


async def test_the_owner_of_a_whole_answer_is_found_again():
    store = MemoryStore(60, 2**20)
    turn = ProviderTurn(store, "alice", "openai/m")
    answer = Answer(AnswerStart("resp_1", "m", 1), (), Usage(), AnswerEnd("stop"))
    assert await turn.persist_whole(b"as it came", answer) == b"as it came"
    assert await find_storing_entry(store, "alice", "resp_1") == "openai/m"
    assert await find_storing_entry(store, "bob", "resp_1") is None
    assert await find_storing_entry(store, "alice", "resp_2") is None


async def test_a_failed_answer_in_the_background_is_found_again():
    store = MemoryStore(60, 2**20)
    await ProviderTurn(store, "alice", "openai/m", in_background=True).persist_failure(
        "resp_1", ErrorInfo("upstream", "no")
    )
    assert await find_storing_entry(store, "alice", "resp_1") == "openai/m"


async def test_a_turn_that_is_stored_here_has_no_other_keeper():
    store = MemoryStore(60, 2**20)
    turn = LocalTurn(store, "alice", StateOptions(), None, b'"hi"')
    nodes, _ = await turn.nodes({"id": turn.id, "status": "completed", "output": []}, b"")
    await store.put(nodes)
    assert await find_storing_entry(store, "alice", turn.id) is None


async def test_the_owner_of_a_turn_is_recorded_without_a_keep_alive_in_between(mock_clock):
    """The keep-alive has opened the stream, and the first content arrives while the client waits for more."""
    events = events_of("responses", SCRIPTS["text"])
    first = next(i for i, event in enumerate(events) if b"output_text.delta" in event) + 1
    store, got = MemoryStore(60, 2**20), []
    chunks = Handoff[Chunk](PIECES_QUEUED)
    lane = Passthrough(CODECS["responses"], lambda failed: failed, lambda data: data, 2**20)
    turn = ProviderTurn(store, "alice", "openai/m", in_background=True)
    record = Record("id", "responses")
    body = StreamBody(Delivery(lane, record, 15.0, trio.current_time, turn=turn), chunks, record, turn)

    async def read() -> None:
        async for data in body:
            got.append(data)  # noqa: PERF401  # each as soon as it arrives

    async with trio.open_nursery() as nursery:
        async with trio.open_nursery() as opening:
            opening.start_soon(body.open)
            await wait_all_tasks_blocked()
            mock_clock.jump(15)
        body.set_writer(lambda data: not got.append(data))
        nursery.start_soon(read)
        await wait_all_tasks_blocked()
        assert len(got) == 1  # the keep-alive
        for event in events[:first]:
            assert chunks.offer(event)
        await wait_all_tasks_blocked()
        assert b"".join(got[1:]) == b"".join(events[:first])
        assert await store.get("alice", lane.progress.start.id) is not None
        nursery.cancel_scope.cancel()


# There is no room to record its owner

FULL = MemoryStore(60, 1)
LAST = (
    b"event: response.completed\n"
    b'data: {"type":"response.completed","response":{"id":"resp_1","store":true,"n":1.0}}\n\n'
)
UNSTORED = LAST.replace(b'"store":true', b'"store":false')


def progress_after(*events: Event) -> StreamProgress:
    found = StreamProgress()
    for event in events:
        found.add(event)
    return found


async def test_a_whole_answer_reports_that_it_cannot_be_continued():
    """It was paid for, so the client gets it, and learns that the next request has to have the whole conversation."""
    answer = Answer(AnswerStart("resp_1", "m", 1), (), Usage(), AnswerEnd("stop"))
    for said, told in (
        (b'{"id":"resp_1","store":true,"output":[1.0]}', b'{"id":"resp_1","store":false,"output":[1.0]}'),
        (b'{"id":"resp_1"}', b'{"id":"resp_1","store":false}'),
    ):
        assert await ProviderTurn(FULL, "alice", "openai/m").persist_whole(said, answer) == told


@pytest.mark.parametrize("in_background", [False, True])
async def test_the_last_event_of_a_stream_reports_that_it_cannot_be_continued(in_background):
    turn = ProviderTurn(FULL, "alice", "openai/m", in_background)
    start, delta, end = AnswerStart("resp_1", "m", 1), TextDelta(0, "a"), AnswerEnd("stop")
    assert await forwarded_data(turn, b"begin", progress_after(start)) == b"begin"
    assert await forwarded_data(turn, b"more", progress_after(start, delta)) == b"more"
    data = b"data: {}\n\n" + LAST
    assert await forwarded_data(turn, data, progress_after(start, delta, end)) == b"data: {}\n\n" + UNSTORED
    assert await forwarded_data(turn, b"data: [DONE]\n\n", progress_after(start, delta, end)) == b"data: [DONE]\n\n"


async def test_a_turn_in_the_background_is_noted_at_its_end_where_that_failed_at_its_beginning():
    store = MemoryStore(60, 2**20)
    store.limit_owners(lambda owner: 1)
    turn = ProviderTurn(store, "alice", "openai/m", in_background=True)
    start, delta, end = AnswerStart("resp_1", "m", 1), TextDelta(0, "a"), AnswerEnd("stop")
    assert await forwarded_data(turn, b"more", progress_after(start, delta)) == b"more"
    store.limit_owners(lambda owner: 2**20)
    assert await forwarded_data(turn, LAST, progress_after(start, delta, end)) == LAST
    assert await find_storing_entry(store, "alice", "resp_1") == "openai/m"


# Turns that continue without their client, and their end if the gateway keeps no state


def local(background: bool) -> LocalTurn:
    return LocalTurn(MemoryStore(60, 10_000), "alice", StateOptions(background=background), None, b'"Hi"')


def test_only_a_turn_of_the_gateway_runs_in_its_background_and_on_request():
    asked = local(background=True)
    assert asked.background is asked
    assert local(background=False).background is None
    assert UNRECORDED.background is None
    assert ProviderTurn(MemoryStore(60, 10_000), "alice", "openai/m", in_background=True).background is None


async def test_without_state_no_turn_begins_and_none_is_found():
    async def answer(scope: RequestScope) -> Response:
        raise AssertionError("nothing is to be asked")

    turn, background = local(background=True), NoBackground()
    call = CODECS["responses"].read_request({"model": "m", "input": "Hi"})
    head = ResponseTemplate.of(turn.reply(Reply(call, Issuer("provider", ""), 1_700_000_000))).response
    record = LEDGER.open("background", "responses")
    async with trio.open_nursery() as nursery:
        scope = RequestScope(nursery, "asked")
        with pytest.raises(GatewayError, match="this gateway stores no state") as caught:
            await background.start(BackgroundTurn("alice", scope, turn, head, record, answer))
    assert (caught.value.info.status, caught.value.info.param) == (400, "background")
    assert background.follow("alice", turn.id, Resumption(), 15.0) is None
    assert background.running == 0
