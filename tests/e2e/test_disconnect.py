"""When a client disconnects, the gateway immediately closes the provider's connection and logs one line: at every
moment, in both lanes and each API, if the client closes, resets, or shuts its sending side. The tests read the expected
results from ``docs/streams.md``."""

import contextlib
import select
import socket
import time
from collections.abc import Iterator

import pytest

from tests.support.apis import OLDER
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import Gateway, Listening, Wire, eventually, post, retried_when_late
from tests.support.raw_call import (
    H2,
    SSE,
    SUCCESS,
    Call,
    answer_stream,
    call,
    check_log,
    chunks,
    line,
    lines,
    new_id,
    request_body,
    settings,
    whole_answer,
)
from tests.support.streams_page import TRANSLATED, Cell, shows
from tests.support.upstreams import PATHS

CUT = "closed by the gateway"
HOWS = ("FIN", "RST")


@pytest.fixture(scope="module")
def gateway(by_hand) -> Iterator[Gateway]:
    with gateway_thread(settings(by_hand)) as process:
        yield process
    check_log(process)


def has_connection(by_hand: Listening) -> bool:
    """Return whether the gateway has connected to the provider."""
    return bool(select.select([by_hand.sock], [], [], 0)[0])


def settle_another(gateway: Gateway) -> None:
    """Send another request and wait for its log line: by then, the gateway has handled all earlier requests."""
    id = new_id()
    gateway.request("POST", "/v1/nothing", {}, {"x-request-id": id})
    line(gateway, id)


# Before the gateway sends a request


def send_half(gateway: Gateway, data: bytes, how: str) -> None:
    """Send ``data``, the start of a request, and disconnect."""
    with Wire.connect(gateway.port) as client:
        client.send(data)
        settle_another(gateway)  # by then, the gateway has read the data
        client.reset() if how == "RST" else client.close()


@shows("disconnects while sending its headers", how=HOWS)
def test_the_client_leaves_before_its_head_is_whole(gateway, by_hand, cell, how):
    id = new_id()
    head, _, _ = post(PATHS[cell.api], request_body(cell), {"x-request-id": id}).partition(b"\r\n\r\n")
    send_half(gateway, head + b"\r\n", how)
    settle_another(gateway)
    assert lines(gateway, id) == []
    assert not has_connection(by_hand)


@shows("disconnects while sending its body", how=HOWS)
def test_the_client_leaves_before_its_body_is_whole(gateway, by_hand, cell, how):
    id = new_id()
    send_half(gateway, post(PATHS[cell.api], request_body(cell), {"x-request-id": id})[:-5], how)
    found = line(gateway, id)
    cell.check_line(found)
    assert (found["api"], found["attempts"]) == (cell.api, 0)
    assert not has_connection(by_hand)


# Before the answer


@shows("disconnects before the provider's first byte", how=HOWS)
@retried_when_late
def test_the_client_leaves_before_the_providers_first_byte(gateway, by_hand, cell, how):
    with call(gateway, by_hand, cell) as one:
        assert "first_byte_ms" not in one.check_cut(one.leave(how))


@shows("disconnects before the first content", how=HOWS, opened=(False, True))
@retried_when_late
def test_the_client_leaves_before_the_first_content(gateway, by_hand, cell, how, opened):
    with call(gateway, by_hand, cell) as one:
        one.up.send(SSE + (chunks(*answer_stream(cell.model_api).opening) if opened else b""))
        assert "first_byte_ms" not in one.check_cut(one.leave(how))


@shows("disconnects while the gateway resends its request after a dead pooled connection", how=HOWS)
@retried_when_late
def test_the_client_leaves_during_the_second_try(gateway, by_hand, cell, how):
    with call(gateway, by_hand, cell) as first:
        first.up.send(answer_stream(cell.model_api).whole if cell.stream else whole_answer(cell.model_api))
        assert line(gateway, first.id)["ended"] == "complete"
        with Wire.connect(gateway.port) as client:
            id = new_id()
            client.send(post(PATHS[cell.api], request_body(cell), {"x-request-id": id}))
            first.up.read_request()  # on the pooled connection
            first.up.close()
            with by_hand.accept() as again:
                again.read_request()
                second = Call(gateway, cell, id, client, again)
                second.check_cut(second.leave(how))


# During the answer


@contextlib.contextmanager
def mid_stream(gateway: Gateway, by_hand: Listening, cell: Cell) -> Iterator[Call]:
    with call(gateway, by_hand, cell) as one:
        one.up.send(answer_stream(cell.model_api).half)
        one.client.read_until(b"one t")
        yield one


@shows("disconnects between two events of a stream", how=HOWS)
@retried_when_late
def test_the_client_leaves_in_mid_stream(gateway, by_hand, cell, how):
    with mid_stream(gateway, by_hand, cell) as one:
        found = one.check_cut(one.leave(how))
    assert (found["usage_complete"], found["usage_estimated"]) == (False, True)
    assert found["input_tokens"] > 0
    assert found["output_tokens"] > 0


@shows("disconnects in the middle of an event", how=HOWS)
@retried_when_late
def test_the_client_leaves_in_mid_event(gateway, by_hand, cell, how):
    with mid_stream(gateway, by_hand, cell) as one:
        next_event = answer_stream(cell.model_api).rest[0]
        one.up.send(chunks(next_event[: len(next_event) // 2]))
        one.check_cut(one.leave(how))


@retried_when_late
def test_the_client_leaves_while_the_provider_is_talking(gateway, by_hand):
    for cell in (Cell("chat", api, True, "", CUT, "499, client_disconnected") for api in OLDER):
        with mid_stream(gateway, by_hand, cell) as one:
            one.up.send(chunks(*[answer_stream(cell.model_api).first] * 200))
            one.check_cut(one.leave("FIN"))


@shows("disconnects during an answer that is not streamed", how=HOWS)
@retried_when_late
def test_the_client_leaves_in_the_middle_of_a_whole_answer(gateway, by_hand, cell, how):
    with call(gateway, by_hand, cell) as one:
        one.up.send(whole_answer(cell.model_api)[:-20])
        one.check_cut(one.leave(how))


@shows("disconnects after pipelining a second request", how=HOWS)
@retried_when_late
def test_a_pipelined_second_request_does_not_hide_the_disconnect(gateway, by_hand, cell, how):
    with mid_stream(gateway, by_hand, cell) as one:
        id = new_id()
        one.client.send(post(PATHS[cell.api], request_body(cell), {"x-request-id": id}))
        one.check_cut(one.leave(how))
        settle_another(gateway)
        assert lines(gateway, id) == []
        assert not has_connection(by_hand)


@shows("closes its sending side and continues to read (half-closed)")
@retried_when_late
def test_a_client_that_shuts_its_sending_side_has_left(gateway, by_hand, cell):
    with (mid_stream if cell.stream else call)(gateway, by_hand, cell) as one:
        left = time.perf_counter()
        one.client.sock.shutdown(socket.SHUT_WR)
        one.check_cut(left)
        answer = one.client.read_to_end()
    assert cell.gets == "a closed connection, without the end of its answer"
    assert not answer.endswith(b"0\r\n\r\n")
    assert SUCCESS[cell.api] not in answer
    assert bool(answer) == cell.stream


# After the answer


@shows("disconnects after the last event of its answer", how=HOWS)
@retried_when_late
def test_the_client_leaves_after_the_end(gateway, by_hand, cell, how):
    """The gateway does not wait for a provider that keeps its connection open."""
    with call(gateway, by_hand, cell) as one:
        speech = answer_stream(cell.model_api)
        one.up.send(speech.half + chunks(*speech.rest))
        one.client.read_until(SUCCESS[cell.api])
        found = one.check_cut(one.leave(how))
    assert (found["output_tokens"], found["usage_complete"]) == (17, True)


@shows("disconnects before it has read a complete answer", how=HOWS)
def test_the_client_leaves_an_answer_half_read(gateway, by_hand, cell, how):
    with call(gateway, by_hand, cell) as one:
        one.up.send(whole_answer(cell.model_api, "x" * 16 * 2**20))  # more than the sockets' buffers hold
        one.client.read_until(b"xxx")
        one.leave(how)
        assert one.check_line()["output_tokens"] == 17


# HTTP/2


@contextlib.contextmanager
def h2_calls(gateway: Gateway, by_hand: Listening, cell: Cell) -> Iterator[tuple[H2, list[tuple[int, Call]]]]:
    """Start two calls on one HTTP/2 connection; streamed answers have started."""
    with contextlib.ExitStack() as stack:
        client = H2(stack.enter_context(Wire.connect(gateway.port)))
        calls = []
        for _ in range(2):
            id = new_id()
            stream = client.ask(cell, id)
            one = Call(gateway, cell, id, client.wire, stack.enter_context(by_hand.accept()))
            one.up.read_request()
            if cell.stream:
                one.up.send(answer_stream(cell.model_api).half)
                client.until(stream, b"one t")
            calls.append((stream, one))
        yield client, calls


@shows("resets its HTTP/2 stream")
@retried_when_late
def test_a_reset_of_an_http2_stream_ends_only_its_call(gateway, by_hand, cell):
    with h2_calls(gateway, by_hand, cell) as (client, [(stream, one), (other, stays)]):
        left = time.perf_counter()
        client.reset(stream)
        one.check_cut(left)
        speech = answer_stream(cell.model_api)
        stays.up.send(chunks(*speech.rest) + b"0\r\n\r\n" if cell.stream else whole_answer(cell.model_api))
        client.until(other, SUCCESS[cell.api] if cell.stream else b"three")
        assert line(gateway, stays.id)["ended"] == "complete"


@shows("closes its HTTP/2 connection with all its calls", how=HOWS)
@retried_when_late
def test_the_end_of_an_http2_connection_ends_all_its_calls(gateway, by_hand, cell, how):
    with h2_calls(gateway, by_hand, cell) as (_, [(_, one), (_, other)]):
        left = one.leave(how)
        one.check_cut(left)
        other.check_cut(left)


# Clients that stay

STREAMED = [
    Cell(api, up, True, "", CUT, "499, `client_disconnected`") for api in OLDER for up in (api, TRANSLATED[api])
]
streamed = pytest.mark.parametrize("cell", STREAMED, ids=lambda cell: cell.id)


@streamed
@retried_when_late
def test_a_disconnect_does_not_end_other_streams(gateway, by_hand, cell):
    """The gateway does not cut the streams of clients that stay connected."""
    with mid_stream(gateway, by_hand, cell) as stays:
        for how in ("FIN", "RST"):
            with mid_stream(gateway, by_hand, cell) as leaves:
                leaves.check_cut(leaves.leave(how))
        stays.up.send(chunks(*answer_stream(cell.model_api).rest) + b"0\r\n\r\n")
        answer = stays.client.read_until(b"\r\n0\r\n\r\n")
    assert SUCCESS[cell.api] in answer
    assert b"ree" in answer
    assert line(gateway, stays.id)["ended"] == "complete"


def test_the_gateway_works_after_all_disconnects(gateway):
    eventually(lambda: gateway.request("GET", "/readyz").status == 200)
    check_log(gateway)
