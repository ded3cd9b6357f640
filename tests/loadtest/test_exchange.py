"""One exchange with a scripted server, on real sockets."""

import contextlib
import gc
import warnings
from functools import partial

import pytest
import trio

from loadtest.exchange.content import read_answer
from loadtest.exchange.exchange import TimedExchange, end_marks_of, settle
from loadtest.masking import SecretWords
from loadtest.wire.connecting import ServerAddress
from loadtest.wire.connection import Connections
from providers.apis import CODECS
from tests.support.load_servers import HEAD, answer, chunk, events, load, serving

REQUEST = b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}"
TIMEOUT = 3


@contextlib.asynccontextmanager
async def target_at(url: str):
    connections = Connections(await ServerAddress.resolve(url))
    yield connections
    connections.close()


def new_exchange(api: str = "chat", *, stream: bool = True) -> TimedExchange:
    return TimedExchange(api, stream, trio.current_time())


async def run_one(target: Connections, request: bytes = REQUEST, **kind) -> TimedExchange:
    """Run one exchange to its end, and read the content of the response."""
    exchange = new_exchange(**kind)
    await exchange.run(target, request, TIMEOUT)
    exchange.apply_content(read_answer(exchange.record.api, exchange.body, streamed=exchange.record.streamed))
    return exchange


ENDS = {
    "chat": b"data: [DONE]\n\n",
    "messages": b'event: message_stop\ndata: {"type":"message_stop"}\n\n',
    "responses": b'data: {"type":"response.completed","response":{"usage":{"output_tokens":3}}}\n\n',
}


@pytest.mark.parametrize("api", ENDS)
async def test_the_end_event_of_the_api_ends_an_answer_whose_body_is_left_open(api):
    """Some servers never send the last chunk; every SDK stops reading at the API's own end."""

    async def serve(stream, head):
        end = ENDS[api]
        await stream.send_all(HEAD + chunk(b'data: {"type":"x"}\n\n' + end[:9]) + chunk(end[9:]))
        await trio.sleep_forever()

    async with serving(serve) as url, target_at(url) as target:
        exchange = await run_one(target, api=api)
        assert exchange.complete
        assert exchange.record.end_event - exchange.record.began < 0.15
        assert target.take_idle() is None


async def test_text_that_looks_like_an_end_event_does_not_end_the_answer():
    async def serve(stream, head):
        await answer(stream, "[DONE]", '"error"', pause=0.15)

    async with serving(serve) as url, target_at(url) as target:
        exchange = await run_one(target)
    assert exchange.complete
    assert len(exchange.record.contents) == 2
    assert 0.1 < exchange.record.contents[1] - exchange.record.contents[0] < 0.5


def test_the_search_for_an_end_event_covers_every_end_of_an_api():
    for api, codec in CODECS.items():
        words = codec.wire.words
        for name in words.ends:
            assert any(mark in name.encode() for mark in end_marks_of(api)), (api, name)


async def test_an_event_that_is_too_large_ends_the_answer():
    async def serve(stream, head):
        await stream.send_all(HEAD + chunk(events("one")[1]))
        with contextlib.suppress(trio.BrokenResourceError):
            for _ in range(20):
                await stream.send_all(chunk(b"x" * 2**20))
            await stream.send_all(chunk(b"\n\n" + events("two")[1]))
            await trio.sleep_forever()

    async with serving(serve) as url, target_at(url) as target:
        exchange = await run_one(target)
    record = settle(exchange, None, SecretWords.from_values(()))
    assert (record.problem.kind, record.problem.phase) == ("too large", "stream")


@pytest.mark.soak
async def test_an_event_of_maximum_size_without_its_end_has_no_content():
    whole = TimedExchange("chat", True, 0.0)
    whole.take_head(200, {}, 0.0)
    large = b'data: {"choices":[{"delta":{"content":"%b"}}]}\n\n' % (b"x" * 2**24)
    whole.take_content(large[:-1], 1.0)
    whole.take_content(large[-1:], 2.0)
    whole.apply_content(read_answer("chat", whole.body, streamed=True))  # in one piece, it is an event
    assert whole.record.contents == []


async def test_an_endless_answer_is_bounded_in_memory(monkeypatch):
    """Data after the end of the response is dropped too."""
    monkeypatch.setattr("loadtest.exchange.exchange.MAX_ANSWER", 2**23)
    for stream, piece in ((False, b"x" * 2**20), (True, b": " + b"x" * (2**20 - 4) + b"\n\n")):
        exchange = TimedExchange("chat", stream, 0.0)
        exchange.take_head(200, {}, 0.0)
        for at in range(10):
            exchange.take_content(piece, float(at))
        assert len(exchange.body) == 2**23, stream
        assert exchange.record.ended == 8.0


# Reused connections


def drop_every_second_request(when: str):
    """Respond to one request per connection, then close it before or after the next request arrives (``when``)."""
    served: list[str] = []

    async def serve(stream, head):
        served.append("request")
        if served.count("request") % 2 or when == "before":
            await answer(stream, "one")
            return when != "before"
        await trio.sleep(0.3)
        return False

    return serve, served


async def test_a_request_that_the_server_read_and_dropped_is_not_sent_again():
    """The server may have processed it (RFC 9110, section 9.2.2), and the delay is the server's."""
    serve, served = drop_every_second_request("after")
    async with serving(serve) as url, target_at(url) as target:
        assert (await run_one(target)).complete
        exchange = await run_one(target)
    assert (exchange.record.problem.kind, exchange.record.problem.phase) == ("closed", "first byte")
    assert not exchange.record.resent
    assert len(served) == 2


async def test_a_request_on_a_closed_connection_is_resent_once_and_reported():
    peers = []

    async def serve(stream, head):
        peers.append(stream)
        await answer(stream, "one")

    async with serving(serve) as url, target_at(url) as target:
        assert (await run_one(target)).complete
        peers[0].socket.close()  # no other task runs between here and the sending of the request
        exchange = await run_one(target)
    assert exchange.record.resent
    assert exchange.complete
    assert len(peers) == 2


async def test_an_idle_connection_that_the_server_closed_is_skipped():
    serve, served = drop_every_second_request("before")
    async with serving(serve) as url, target_at(url) as target:
        for _ in range(3):
            exchange = await run_one(target)
            assert exchange.complete
            with trio.fail_after(30):
                while (kept := target.take_idle()) is not None:
                    target.release(kept)
                    await trio.lowlevel.checkpoint()
            assert not exchange.record.resent
            assert exchange.record.connected is not None
    assert len(served) == 3


# Responses without an answer


async def test_a_stream_with_only_a_done_event_is_an_error():
    """Some servers end failed responses so (infiniflow/ragflow#19498). The error shows the stream's text."""

    async def serve(stream, head):
        await stream.send_all(HEAD + chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")

    async with serving(serve) as url:
        run = await load(url, rate=10, seconds=0.1)
    assert [(row.kind, row.phase) for row in run.tally.failures] == [("no stream", "first token")]
    assert run.tally.failures[0].example == "the HTTP response ended normally, but without an answer: data: [DONE]"


async def test_the_time_to_the_first_byte_excludes_interim_responses():
    async def serve(stream, head):
        await stream.send_all(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        await trio.sleep(0.2)
        await answer(stream, "one")

    async with serving(serve) as url, target_at(url) as target:
        exchange = await run_one(target)
    assert exchange.record.first_byte - exchange.record.began > 0.19


async def test_a_refusal_during_the_upload_ends_the_request():
    async def serve(stream, head):
        raise AssertionError("it never gets the body")

    async def refuse(stream):
        await stream.receive_some(100)
        await stream.send_all(b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\n{}")
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, refuse, 0, host="127.0.0.1"))
        async with target_at(f"http://127.0.0.1:{listener.socket.getsockname()[1]}") as target:
            exchange = await run_one(target, b"POST / HTTP/1.1\r\ncontent-length: 30000000\r\n\r\n" + bytes(30_000_000))
        nursery.cancel_scope.cancel()
    assert exchange.record.problem.kind == "status 413"
    assert exchange.record.ended - exchange.record.began < 2


@pytest.mark.parametrize("fault", ["refused", "cut", "timeout", "none"])
async def test_an_exchange_leaves_no_reference_cycles(fault):
    """A full garbage collection would delay every stream, so the load tester disables it during a run."""

    async def serve(stream, head):
        if fault == "timeout":
            await trio.sleep_forever()
        await stream.send_all(HEAD + (b"zz" if fault == "cut" else chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"))

    async def left_by(number: int) -> int:
        for _ in range(number):
            exchange = new_exchange()
            await exchange.run(target, REQUEST, 0.05)
        del exchange
        return gc.collect()

    async with (
        serving(serve) as url,
        target_at("http://127.0.0.1:1" if fault == "refused" else url) as target,
    ):
        with warnings.catch_warnings(action="ignore"):
            gc.collect()  # the garbage of earlier tests
        gc.disable()
        gc.freeze()  # otherwise each collection scans all modules
        try:
            few, many = await left_by(1), await left_by(11)
        finally:
            gc.enable()
    assert many <= few
