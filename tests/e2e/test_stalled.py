"""Tests of clients that do not read: they only stop their own provider, if they stay, disconnect or are cut. The tests
read the expected results from ``docs/streams.md``."""

import contextlib
import socket
import time
from collections.abc import Iterator, Mapping

import attrs
import pytest

from tests.support.gateway_thread import gateway_thread
from tests.support.harness import Gateway, Late, Listening, Wire, retried_when_late
from tests.support.raw_call import (
    END,
    FLOOD,
    H2,
    LIMIT,
    SUCCESS,
    Call,
    answer_stream,
    call,
    check_log,
    connect_with_small_buffer,
    fill_buffers,
    lines,
    new_id,
    settings,
)
from tests.support.streams_page import Cell, cell_rows, cells, shows

WRITE_TIMEOUT = 1.0
HOWS = ("FIN", "RST")
LEAVES = "disconnects without reading, all buffers full"
HALF_CLOSES = "closes its sending side, all buffers full"
STALLS = "reads nothing for the write timeout (30 s)"
SHUTS_WINDOW = "keeps its HTTP/2 window closed for the write timeout (30 s)"


def begin(gateway: Gateway, by_hand: Listening, stack: contextlib.ExitStack, cell: Cell) -> Call:
    one = stack.enter_context(call(gateway, by_hand, cell, connect_with_small_buffer))
    one.up.send(answer_stream(cell.model_api).half)
    one.client.read_until(b"one t")
    return one


# Before the write timeout


@attrs.frozen
class Full:
    """Streams with full buffers, because their clients do not read; ``sent`` has the bytes that each provider sent."""

    gateway: Gateway
    by_hand: Listening
    calls: dict[tuple[str, str], Call]
    sent: Mapping[str, int]

    @contextlib.contextmanager
    def take(self, cell: Cell, how: str) -> Iterator[Call]:
        """Yield the call for a test, or a new call for its next attempt."""
        with contextlib.ExitStack() as stack:
            one = self.calls.pop((cell.id, how), None)
            if one is None:
                one = begin(self.gateway, self.by_hand, stack, cell)
                fill_buffers([one])
            yield one


@pytest.fixture(scope="module")
def full(by_hand) -> Iterator[Full]:
    ways = [
        *cell_rows(LEAVES, how=HOWS),
        *((cell, "half") for cell in cells(HALF_CLOSES)),
        *((cell, "stays") for cell in cells("does not read")),
    ]
    with gateway_thread(settings(by_hand)) as process:
        with contextlib.ExitStack() as stack:
            calls = {(cell.id, how): begin(process, by_hand, stack, cell) for cell, how in ways}
            yield Full(process, by_hand, calls, fill_buffers(list(calls.values())))
        check_log(process)


@shows("does not read")
@retried_when_late
def test_a_client_that_does_not_read_stops_only_its_own_provider(full, cell):
    one = full.calls[cell.id, "stays"]
    assert cell.sees == "its writes block"
    assert 0 < full.sent[one.id] < FLOOD
    assert cell.ledger == "no line yet"
    assert lines(one.gateway, one.id) == []
    begun = time.perf_counter()
    with call(one.gateway, full.by_hand, cell) as other:
        other.up.send(answer_stream(cell.model_api).whole)
        assert SUCCESS[cell.api] in other.client.read_until(b"\r\n0\r\n\r\n")
    if (took := time.perf_counter() - begun) > 0.5:
        raise Late(f"it took {took:.3f} s")


@shows("disconnects without reading, all buffers full", how=HOWS)
@retried_when_late
def test_a_disconnect_with_full_buffers_ends_the_call(full, cell, how):
    with full.take(cell, how) as one:
        one.check_cut(one.leave(how))


# At the write timeout


Window = tuple[H2, int, Call]


def shut_window(gateway: Gateway, by_hand: Listening, stack: contextlib.ExitStack, cell: Cell) -> Window:
    """Start a call whose HTTP/2 client never enlarges its window; its socket has space for the window's bytes."""
    client = H2(stack.enter_context(Wire.connect(gateway.port)))
    id = new_id()
    stream = client.ask(cell, id)
    one = Call(gateway, cell, id, client.wire, stack.enter_context(by_hand.accept()))
    one.up.read_request()
    one.up.send(answer_stream(cell.model_api).half)
    client.until(stream, b"one t")
    return client, stream, one


@pytest.fixture(scope="module")
def unread_calls(by_hand) -> Iterator[Mapping[tuple[str, str], Call | Window]]:
    """Yield calls of clients that stopped reading; all rows run together, because each takes seconds."""
    patience = {"write_timeout": f"{WRITE_TIMEOUT}s", "drain": "0s"}
    with gateway_thread(settings(by_hand, **patience)) as gateway, contextlib.ExitStack() as stack:
        calls = {(what, c.id): begin(gateway, by_hand, stack, c) for what in (STALLS, HALF_CLOSES) for c in cells(what)}
        windows = {(SHUTS_WINDOW, c.id): shut_window(gateway, by_hand, stack, c) for c in cells(SHUTS_WINDOW)}
        fill_buffers([*calls.values(), *(one for _, _, one in windows.values())])
        for (what, _), one in calls.items():
            if what == HALF_CLOSES:
                with contextlib.suppress(OSError):  # on a slow machine, the gateway has already cut it
                    one.client.sock.shutdown(socket.SHUT_WR)
        yield {**calls, **windows}
    check_log(gateway)


@shows("closes its sending side, all buffers full")
@retried_when_late
def test_a_half_closed_client_does_not_read(full, unread_calls, cell):
    assert cell.sees == "closed by the gateway"
    with full.take(cell, "half") as one:
        left = time.perf_counter()
        one.client.sock.shutdown(socket.SHUT_WR)
        one.up.closes_within(LIMIT, left)
    one = unread_calls[HALF_CLOSES, cell.id]  # this gateway has a short write timeout
    one.check_line()
    check_no_end(one)


@shows("reads nothing for the write timeout (30 s)")
def test_a_client_that_reads_nothing_is_cut(unread_calls, cell):
    one = unread_calls[STALLS, cell.id]
    assert cell.sees == "closed by the gateway"
    one.up.closed_after(time.perf_counter())
    assert one.check_line()["duration_ms"] > WRITE_TIMEOUT * 1000
    check_no_end(one)


def check_no_end(one: Call) -> None:
    assert one.cell.gets == "a closed connection, without the end of its answer"
    answer = one.client.read_to_end()
    assert not answer.endswith(END)
    assert SUCCESS[one.cell.api] not in answer


@shows("keeps its HTTP/2 window closed for the write timeout (30 s)")
def test_an_http2_client_with_a_closed_window_is_disconnected(unread_calls, cell):
    client, stream, one = unread_calls[SHUTS_WINDOW, cell.id]
    assert cell.sees == "closed by the gateway"
    one.up.closed_after(time.perf_counter())
    assert one.check_line()["duration_ms"] > WRITE_TIMEOUT * 1000
    assert cell.gets == "a reset of that stream"
    client.until_reset(stream)
