"""Tests of ``on_disconnect: finish``: after a disconnect, the gateway reads the provider's answer to its end for the
ledger, within its limits. The tests read the expected results from ``docs/streams.md``."""

import contextlib
import select
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs
import pytest

from gateway.serving.lifecycle import CUT_AFTER
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import Gateway, Listening, eventually
from tests.support.raw_call import (
    END,
    SSE,
    SUCCESS,
    TOKENS,
    Call,
    answer_stream,
    call,
    check_log,
    chunks,
    line,
    lines,
    settings,
    whole_answer,
)
from tests.support.streams_page import Cell, cell_rows, cells, shows

HOWS = ("FIN", "RST")
FINISH = {"on_disconnect": "finish"}
DRAIN = 0.3


@contextlib.contextmanager
def finishing(by_hand: Listening, entry: Mapping[str, Any], **more: Any) -> Iterator[Gateway]:
    with gateway_thread(settings(by_hand, entry={**FINISH, **entry}, limits={"answer": "100kB"}, **more)) as own:
        yield own
    check_log(own)


@pytest.fixture(scope="module")
def gateway(by_hand) -> Iterator[Gateway]:
    with finishing(by_hand, {}) as process:
        yield process


# The page's rows


@attrs.frozen
class Play:
    """The bytes that the provider sends before and after the client's disconnect; ``None`` is a reset."""

    before: Callable[[Cell], bytes]
    after: Callable[[Cell], bytes] | None


def half(cell: Cell) -> bytes:
    return answer_stream(cell.model_api).half if cell.stream else whole_answer(cell.model_api)[:-20]


def second_half(cell: Cell) -> bytes:
    return chunks(*answer_stream(cell.model_api).rest) + END if cell.stream else whole_answer(cell.model_api)[-20:]


def whole(cell: Cell) -> bytes:
    return answer_stream(cell.model_api).whole if cell.stream else whole_answer(cell.model_api)


PLAYS = {
    "disconnects before the provider's first byte, with `finish`": Play(lambda _: b"", whole),
    "disconnects during the answer, with `finish`": Play(half, second_half),
    "disconnects with `finish`, and the provider breaks off": Play(half, None),
}


def begin(gateway: Gateway, by_hand: Listening, stack: contextlib.ExitStack, cell: Cell, before: bytes) -> Call:
    one = stack.enter_context(call(gateway, by_hand, cell))
    one.up.send(before)
    if cell.stream and before:
        one.client.read_until(b"one t")
    return one


@pytest.fixture(scope="module")
def lines_of(gateway, by_hand) -> Mapping[tuple[str, str, str], Mapping[str, Any]]:
    """Return the log line of each exchange without its client; all run together, because the tests wait for silence."""
    with contextlib.ExitStack() as stack:
        calls = {}
        for what, play in PLAYS.items():
            for cell, how in cell_rows(what, how=HOWS):
                one = begin(gateway, by_hand, stack, cell, play.before(cell))
                one.leave(how)
                calls[what, cell.id, how] = one
        # During this time, the gateway would have closed the connections.
        assert select.select([one.up.sock for one in calls.values()], [], [], 0.3)[0] == []
        assert [found for one in calls.values() for found in lines(gateway, one.id)] == []
        for (what, _, _), one in calls.items():
            after = PLAYS[what].after
            one.up.reset() if after is None else one.up.send(after(one.cell))
        return {key: one.check_line() for key, one in calls.items()}


@shows("disconnects during the answer, with `finish`", how=HOWS)
def test_an_answer_is_read_to_its_end(lines_of, cell, how):
    found = lines_of["disconnects during the answer, with `finish`", cell.id, how]
    assert (found["input_tokens"], found["output_tokens"], found["usage_complete"]) == (TOKENS.prompt, 17, True)
    assert found["reason"]


@shows("disconnects before the provider's first byte, with `finish`", how=HOWS)
def test_an_answer_is_read_after_a_disconnect_before_its_first_byte(lines_of, cell, how):
    found = lines_of["disconnects before the provider's first byte, with `finish`", cell.id, how]
    assert (found["input_tokens"], found["output_tokens"], found["usage_complete"]) == (TOKENS.prompt, 17, True)


@shows("disconnects with `finish`, and the provider breaks off", how=HOWS)
def test_a_provider_failure_during_a_disconnect_is_recorded_too(lines_of, cell, how):
    found = lines_of["disconnects with `finish`, and the provider breaks off", cell.id, how]
    assert found["usage_complete"] is False
    if cell.stream:
        assert 0 < found["output_tokens"] < 17


@pytest.fixture(scope="module")
def endless(by_hand) -> Iterator[Mapping[tuple[str, str], Call]]:
    """Yield calls whose clients have disconnected, and whose providers stay silent."""
    with finishing(by_hand, {"timeouts": {"total": "5s"}}) as own, contextlib.ExitStack() as stack:
        calls = {}
        for cell, how in cell_rows("disconnects with `finish`, and the answer exceeds its time limit", how=HOWS):
            calls[cell.id, how] = begin(own, by_hand, stack, cell, half(cell))
            calls[cell.id, how].leave(how)  # immediately: the limit counts from the request
        yield calls


@shows("disconnects with `finish`, and the answer exceeds its time limit", how=HOWS)
def test_the_total_limit_ends_an_answer_without_its_client(endless, cell, how):
    one = endless[cell.id, how]
    assert cell.sees == "closed by the gateway"
    one.up.closed_after(time.perf_counter())
    found = one.check_line()
    assert found["usage_complete"] is False
    if cell.stream:  # only the part that arrived counts
        assert found["usage_estimated"] is True
        assert 0 < found["output_tokens"] < 17


@pytest.fixture(scope="module")
def ends_of_drain(by_hand) -> Iterator[Mapping[tuple[str, str], tuple[Call, float]]]:
    """Yield calls without their clients at the end of the drain, with the seconds until their providers' disconnect."""
    with finishing(by_hand, {}, drain=f"{DRAIN}s") as own, contextlib.ExitStack() as stack:
        calls = []
        for cell, how in cell_rows("an answer continues without its client (`finish`)", how=HOWS):
            calls.append((how, begin(own, by_hand, stack, cell, half(cell))))
            calls[-1][1].leave(how)
        assert select.select([one.up.sock for _, one in calls], [], [], 0.3)[0] == []
        begun = time.perf_counter()
        own.stop()
        yield {(one.cell.id, how): (one, one.up.closed_after(begun)) for how, one in calls}
        eventually(own.has_ended, what="the exit")


@shows("an answer continues without its client (`finish`)", how=HOWS)
def test_the_drain_ends_an_answer_without_its_client(ends_of_drain, cell, how):
    one, seconds = ends_of_drain[cell.id, how]
    assert cell.sees == "closed by the gateway"
    assert 0.8 * DRAIN < seconds < DRAIN + CUT_AFTER
    one.check_line()


# Cases that are not in the table

ANY = cells("disconnects during the answer, with `finish`")
STREAMS = [cell for cell in ANY if cell.stream]
each = pytest.mark.parametrize("cell", STREAMS, ids=lambda cell: cell.id)


def test_answers_end_after_disconnects_before_the_first_content(gateway, by_hand):
    with contextlib.ExitStack() as stack:
        calls = [stack.enter_context(call(gateway, by_hand, cell)) for cell in STREAMS]
        for one in calls:
            one.up.send(SSE + chunks(*answer_stream(one.cell.model_api).opening))
            one.leave("FIN")
        assert select.select([one.up.sock for one in calls], [], [], 0.3)[0] == []
        for one in calls:
            speech = answer_stream(one.cell.model_api)
            one.up.send(chunks(speech.first, *speech.rest) + END)
            assert one.check_line()["output_tokens"] == 17


@each
def test_a_disconnected_client_that_read_nothing_delays_no_answer(gateway, by_hand, cell):
    """The bytes that wait for the client must not delay the provider."""
    with call(gateway, by_hand, cell) as one:
        speech = answer_stream(cell.model_api)
        one.up.send(SSE + chunks(*speech.opening))
        one.leave("RST")
        one.up.send(chunks(*[speech.first] * 300, *speech.rest) + END)
        assert one.check_line()["output_tokens"] == 17


@each
def test_an_endless_answer_ends_at_the_limit_of_answers(gateway, by_hand, cell):
    with call(gateway, by_hand, cell) as one:
        speech = answer_stream(cell.model_api)
        one.up.send(speech.half)
        one.client.read_until(b"one t")
        one.leave("FIN")
        with pytest.raises(OSError, match=r"reset|Broken pipe"):
            one.up.send(chunks(speech.first) * 100_000)
        one.check_line()


@each
def test_a_client_that_stays_sees_no_difference(gateway, by_hand, cell):
    with call(gateway, by_hand, cell) as one:
        one.up.send(answer_stream(cell.model_api).whole)
        answer = one.client.read_until(b"\r\n0\r\n\r\n")
        found = line(gateway, one.id)
    assert SUCCESS[cell.api] in answer
    assert (found["ended"], found["status"], found["output_tokens"]) == ("complete", 200, 17)


@each
def test_a_client_that_stays_gets_the_failure(gateway, by_hand, cell):
    with call(gateway, by_hand, cell) as one:
        one.up.send(b"HTTP/1.1 429 Too Many\r\nretry-after: 7\r\ncontent-length: 2\r\n\r\n{}")
        assert b"retry-after: 7" in one.client.read_until(b"\r\n\r\n")
        found = line(gateway, one.id)
    assert (found["ended"], found["status"]) == ("upstream_error", 429)
