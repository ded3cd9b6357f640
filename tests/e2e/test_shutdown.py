"""Tests of running calls when the process ends. They read the expected results from ``docs/streams.md``: for each cell,
a raw client calls a provider that the test controls.

The gateway drains in a thread of the test; only the test of a second signal needs a process."""

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence

import attrs
import pytest

from gateway.serving.lifecycle import CUT_AFTER
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import Gateway, Listening, Reply, Wire, complaint, eventually, post, running
from tests.support.raw_call import (
    END,
    SUCCESS,
    Call,
    answer_stream,
    call,
    check_log,
    chunks,
    connect_with_small_buffer,
    fill_buffers,
    line,
    new_id,
    request_body,
    settings,
    whole_answer,
)
from tests.support.streams_page import cells, shows
from tests.support.upstreams import PATHS

DRAIN = 0.5
ERRORS = {
    "chat": b'data: {"error"',
    "messages": b"event: error\n",
    "responses": b"event: response.failed\n",
}
FINISHED = "an answer ends during the drain"
IN_STREAM = "a stream has started when the drain ends"
WAITING = "no response has started when the drain ends"
STALLED = "a client does not read when the drain ends"
SENDING = "a client is still sending its request when the drain ends"
SECOND = "a second signal arrives"
UNCLOSED = (FINISHED, SENDING)  # the provider's connection stays open, or does not exist


@attrs.frozen
class End:
    """The results of one call after the signal, at both ends."""

    call: Call
    answer: bytes
    closed: float | None  # seconds from the signal until trigate closed the provider's connection


Ends = Mapping[tuple[str, str], End]


def begin(gateway: Gateway, by_hand: Listening, stack: contextlib.ExitStack, what: str) -> Iterator[Call]:
    """Yield a call for each cell of a row, in its state before the signal."""
    for cell in cells(what):
        if what == SENDING:
            id = new_id()
            client = stack.enter_context(Wire.connect(gateway.port))
            client.send(post(PATHS[cell.api], request_body(cell), {"x-request-id": id})[:-5])
            yield Call(gateway, cell, id, client, client)
            continue
        one = stack.enter_context(
            call(gateway, by_hand, cell, connect_with_small_buffer if what == STALLED else Wire.connect)
        )
        if what != WAITING and cell.stream:
            one.up.send(answer_stream(cell.model_api).half)
            one.client.read_until(b"one t")
        yield one


def finish(one: Call) -> None:
    speech = answer_stream(one.cell.model_api)
    one.up.send(chunks(*speech.rest) + END if one.cell.stream else whole_answer(one.cell.model_api))


def play(gateway: Gateway, by_hand: Listening, whats: Sequence[str], signals: int) -> Ends:
    with contextlib.ExitStack() as stack:
        calls = {(what, one.cell.id): one for what in whats for one in begin(gateway, by_hand, stack, what)}
        fill_buffers([one for (what, _), one in calls.items() if what == STALLED])
        begun = time.perf_counter()
        gateway.stop()
        if signals == 2:
            eventually(lambda: any("draining" in text for text in list(gateway.log)), what="the signal")
            gateway.stop()
        for (what, _), one in calls.items():
            if what == FINISHED:
                finish(one)
        closed = {key: one.up.closed_after(begun) for key, one in calls.items() if key[0] not in UNCLOSED}
        eventually(gateway.has_ended, what="the exit")  # a client that reads earlier would not be stalled
        return {key: End(one, one.client.read_to_end(), closed.get(key)) for key, one in calls.items()}


@pytest.fixture(scope="module")
def ends_within_drain(by_hand) -> Ends:
    """Return the ends of calls in a drain of 25 seconds, which ends after the last answer."""
    with gateway_thread(settings(by_hand)) as own:
        ends = play(own, by_hand, (FINISHED,), 1)
    check_log(own)
    return ends


@pytest.fixture(scope="module")
def ends_of_drain(by_hand) -> Ends:
    with gateway_thread(settings(by_hand, drain=f"{DRAIN}s")) as own:
        ends = play(own, by_hand, (IN_STREAM, WAITING, STALLED, SENDING), 1)
    check_log(own)
    return ends


@pytest.fixture(scope="module")
def ends_by_second_signal(by_hand) -> Ends:
    with (
        pytest.raises(AssertionError, match="left with status 143"),
        running(settings(by_hand)) as own,
    ):
        ends = play(own, by_hand, (SECOND,), 2)
    check_log(own)
    return ends


def reply(answer: bytes) -> Reply:
    """Return an answer without its chunked encoding; it is ``cut`` if its end is missing."""
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *fields = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (field.partition(": ") for field in fields)}
    if headers.get("transfer-encoding") != "chunked":
        return Reply(int(status.split()[1]), headers, body, cut=len(body) < int(headers["content-length"]))
    parts = []
    while body and body[:1] != b"0":
        size, _, body = body.partition(b"\r\n")
        length = int(size, 16)
        parts.append(body[:length])
        body = body[length + 2 :]
    return Reply(int(status.split()[1]), headers, b"".join(parts), cut=body != END)


def check_error_event(found: End) -> None:
    cell, got = found.call.cell, reply(found.answer)
    assert (got.status, got.cut) == (200, False)
    assert cell.gets == "the events so far, then an error"
    assert got.body.count(ERRORS[cell.api]) == 1
    assert b"one t" in got.body
    assert SUCCESS[cell.api] not in got.body
    assert b"shutting down" in got.body


@shows("an answer ends during the drain")
def test_an_answer_may_end_within_the_drain(ends_within_drain, cell):
    found = ends_within_drain[FINISHED, cell.id]
    got = reply(found.answer)
    assert (cell.gets, got.status, got.cut) == ("the whole answer", 200, False)
    assert b"ree" in got.body
    assert SUCCESS[cell.api] in got.body or not cell.stream
    assert found.call.check_line()["usage_complete"] is True


@shows("a stream has started when the drain ends")
def test_the_end_of_the_drain_is_one_error_event(ends_of_drain, cell):
    found = ends_of_drain[IN_STREAM, cell.id]
    check_error_event(found)
    assert cell.sees == "closed by the gateway"
    assert 0.8 * DRAIN < found.closed < DRAIN + CUT_AFTER
    assert found.call.check_line()["usage_estimated"] is True


@shows("no response has started when the drain ends")
def test_the_end_of_the_drain_is_a_status_before_the_answer(ends_of_drain, cell):
    found = ends_of_drain[WAITING, cell.id]
    got = reply(found.answer)
    assert cell.gets == f"status {got.status}, `retry-after: {got.headers['retry-after']}`"
    complaint(cell.api, got, 503)
    assert cell.sees == "closed by the gateway"
    assert 0.8 * DRAIN < found.closed < DRAIN + CUT_AFTER
    found.call.check_line()


@shows("a client does not read when the drain ends")
def test_a_client_that_does_not_read_is_cut_after_the_drain(ends_of_drain, cell):
    found = ends_of_drain[STALLED, cell.id]
    assert cell.gets == "a closed connection, without the end of its answer"
    assert not found.answer.endswith(END)
    assert SUCCESS[cell.api] not in found.answer
    assert cell.sees == "closed by the gateway"
    assert 0.8 * DRAIN < found.closed < DRAIN + CUT_AFTER
    found.call.check_line()


@shows("a client is still sending its request when the drain ends")
def test_a_request_that_is_still_being_sent_is_cut_after_the_drain(ends_of_drain, cell):
    found = ends_of_drain[SENDING, cell.id]
    assert (cell.gets, found.answer) == ("a closed connection", b"")
    cell.check_line(line(found.call.gateway, found.call.id))


@pytest.mark.process
@shows("a second signal arrives")
def test_a_second_signal_ends_every_answer_immediately(ends_by_second_signal, cell):
    found = ends_by_second_signal[SECOND, cell.id]
    assert cell.gets == "a closed connection, without the end of its answer"
    assert not found.answer.endswith(END)
    assert SUCCESS[cell.api] not in found.answer
    assert cell.sees == "closed by the gateway"
    assert found.closed is not None, "long before the drain of 25 s"
    found.call.check_line()
