"""Loads of endpoints that are no conversation, and of Responses over a WebSocket."""

from functools import partial

import msgspec
import pytest
import trio

from configfile.document import ConfigError
from gateway.commands.load_plan import only_model
from loadtest.exchange.judging import ReceivedAnswer, judge_answer
from loadtest.plan.load_endpoints import LOAD_ENDPOINTS
from loadtest.plan.load_request import LoadRequest
from loadtest.requests.bodies import api_of, request_url
from loadtest.requests.mix import silent_wav
from providers.apis import CODECS
from providers.neutral.codec import Reply
from providers.neutral.seal import Issuer
from streams.events import AnswerEnd, AnswerStart, BlockEnd, TextDelta, Usage
from tests.support.cases import case
from tests.support.load_servers import chunk, load, scenario, serving
from tests.support.websocket_server import websocket_server

USAGE = {"prompt_tokens": 7, "total_tokens": 7}
GOOD = {
    "embeddings": {"object": "list", "data": [{"index": 0, "embedding": [0.5]}], "usage": USAGE},
    "rerank": {"results": [{"index": 0, "relevance_score": 0.5}], "meta": {"tokens": {"input_tokens": 7}}},
    "completions": {"choices": [{"index": 0, "text": "x", "finish_reason": "stop"}], "usage": USAGE},
    "moderations": {"results": [{"flagged": False}]},
    "images": {"data": [{"b64_json": "eA=="}], "usage": {"input_tokens": 7, "output_tokens": 100}},
    "transcriptions": {"text": "hello"},
}
BAD = {
    "embeddings": [b'{"data": []}', b'{"data": [{"index": 3, "embedding": [1]}]}', b"[]", b"", b"<html>"],
    "rerank": [b'{"results": []}', b"null"],
    "completions": [b'{"choices": []}', b"{"],
    "moderations": [b"{}"],
    "images": [b'{"data": {}}'],
    "speech": [b"", b'{"detail": "no such voice"}'],
    "transcriptions": [b"", b'{"text": null}'],
}


async def test_each_endpoint_gets_requests_and_its_answers_are_judged():
    seen = {}

    async def serve(stream, head):
        path = head.split()[1].decode()
        api = next(api for api, endpoint in LOAD_ENDPOINTS.items() if endpoint.path == path)
        seen[api] = head
        body = msgspec.json.encode(GOOD[api]) if api in GOOD else b"RIFFsound"
        await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))

    kinds = [{"model": "m", "api": api, "stream": False} for api in LOAD_ENDPOINTS]
    async with serving(serve) as url:
        run = await load(url, kinds, rate=200, seconds=0.3)
    assert seen.keys() == LOAD_ENDPOINTS.keys()
    assert run.tally.failures == ()
    assert run.tally.counts["whole"] == 60
    assert b"multipart/form-data" in seen["transcriptions"]
    for api in ("embeddings", "rerank", "images"):
        assert run.requests[f"{api} m"].measures["input_tokens"].most == 7, api
    assert run.tally.measures["ttft"].count == 0


def test_an_invalid_endpoint_answer_breaks_a_rule():
    for api, bodies in BAD.items():
        for body in bodies:
            found = judge_answer(ReceivedAnswer(api, False, None, body), strict=False)
            assert found.rule.startswith(f"{api}."), (api, body)
    failed = judge_answer(ReceivedAnswer("embeddings", False, None, b'{"error": {"code": "x"}}'), strict=False)
    assert (failed.outcome, failed.reading.error) == ("failed", "x")


async def test_a_stream_of_a_completion_is_timed_as_any_other():
    events = [
        *({"choices": [{"index": 0, "text": text, "finish_reason": None}]} for text in ("a", "b")),
        {"choices": [{"index": 0, "text": "", "finish_reason": "stop"}]},
    ]

    async def serve(stream, _):
        await stream.send_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        for event in events:
            await stream.send_all(chunk(b"data: %b\n\n" % msgspec.json.encode(event)))
        await stream.send_all(chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")

    async with serving(serve) as url:
        run = await load(f"{url}/v1", [{"model": "m", "api": "completions"}], rate=20, seconds=0.1)
        cut = events.pop()
        short = await load(f"{url}/v1", [{"model": "m", "api": "completions"}], rate=20, seconds=0.1)
    assert cut["choices"]
    assert run.tally.counts["whole"] == 2
    assert (run.tally.measures["ttft"].count, run.tally.measures["gap"].count) == (2, 2)
    assert short.tally.counts["whole"] == 2  # [DONE] says that it is over


def test_endpoints_are_found_by_their_addresses():
    for api, endpoint in LOAD_ENDPOINTS.items():
        whole = f"http://h{endpoint.path}"
        assert api_of(whole) == api, api
        for url in ("http://h", "http://h/v1", whole):
            assert request_url(url, LoadRequest("m", api=api)) == whole, (api, url)
    assert api_of("http://h/v1/chat/completions") == "chat"
    assert request_url("http://h/rerank", LoadRequest("m", api="rerank")) == "http://h/rerank"


def test_features_that_an_endpoint_lacks_are_mistakes():
    for request_, said in [
        ({"api": "embeddings", "turns": 3}, "turns does not work with embeddings"),
        ({"api": "speech", "texts": 2}, "texts does not work with speech"),
        ({"api": "chat", "websocket": True}, "websocket does not work with chat"),
        ({"api": "responses", "websocket": True, "stream": False}, "websocket does not work with whole answers"),
    ]:
        with case((request_, said)):
            with pytest.raises(ConfigError) as caught:
                scenario("http://h", [{"model": "m", **request_}], concurrency=1)
            assert any(said in mistake.found for mistake in caught.value.mistakes)


def test_no_two_sounds_are_alike():
    assert silent_wav(1)[:4] == b"RIFF"
    assert len(silent_wav(1)) == len(silent_wav(2))
    assert silent_wav(1) != silent_wav(2)


# Responses over WebSockets


def whole_response():
    """The events of one good answer, as the codec writes them."""
    call = CODECS["responses"].read_request({"model": "m", "input": "x", "stream": True})
    writer = CODECS["responses"].writer(Reply(call, Issuer("", ""), 1, 1))
    said = (
        AnswerStart("id", "m"),
        TextDelta(0, "one "),
        TextDelta(0, "two"),
        BlockEnd(0),
        Usage(3, 5),
        AnswerEnd("stop"),
    )
    stream = b"".join(writer.send(event) for event in said)
    return [data.decode() for _, data in CODECS["responses"].wire.framing.parse_all(stream)]


WHOLE = whole_response()


async def answered(peer):
    """One answer for each message, until the client is gone."""
    await peer.accept()
    while (asked := await peer.receive()) is not None:
        peer.pongs.append(asked.encode())
        await peer.send(*WHOLE)


async def test_a_websocket_is_kept_for_the_next_request_and_its_events_are_judged():
    async with websocket_server(answered) as server:
        run = await load(server.url, [{"model": "m", "api": "responses", "websocket": True}], concurrency=2, count=6)
    assert run.tally.failures == ()
    assert run.tally.counts["whole"] == 6
    assert len(server.peers) == 2
    assert run.tally.measures["connect"].count == 2
    assert (run.tally.measures["ttft"].count, run.tally.measures["gap"].count) == (6, 6)
    asked = msgspec.json.decode(server.peers[0].pongs[0])
    assert (asked["type"], asked["model"]) == ("response.create", "m")
    assert server.peers[0].target == "/v1/responses"


@pytest.mark.parametrize(
    ("talk", "kind"),
    [
        (lambda peer: peer.refuse(401, {"error": {"message": "no key"}}), "status 401"),
        (lambda peer: refused_with_a_stream(peer), "not http"),
        (lambda peer: said_and_closed(peer), "closed"),
        (lambda peer: failed(peer), "error event: overloaded"),
    ],
    ids=["refused", "no websocket", "closed", "failed"],
)
async def test_a_websocket_that_ends_badly_is_an_error_of_its_kind(talk, kind):
    async with websocket_server(talk) as server:
        run = await load(server.url, [{"model": "m", "api": "responses", "websocket": True}], concurrency=1, count=1)
    assert [failure.kind for failure in run.tally.failures] == [kind]


async def refused_with_a_stream(peer):
    """A whole answer all the same, but none of a WebSocket."""
    body = b"".join(b"data: %b\n\n" % one.encode() for one in WHOLE)
    await peer.stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))


async def said_and_closed(peer):
    await peer.accept()
    await peer.receive()
    await peer.send(*WHOLE[:3])
    await peer.close(1011, "later")


async def failed(peer):
    await peer.accept()
    await peer.receive()
    await peer.send({"type": "error", "code": "overloaded", "message": "later", "sequence_number": 0})
    await peer.rest()


# The model that nobody named


async def listing(body, ask):
    """What ``ask`` makes of a server that lists these models."""

    async def talk(stream):
        async with stream:
            await stream.receive_some()
            await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, talk, 0, host="127.0.0.1"))
        url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}/v1"
        try:
            found = await trio.to_thread.run_sync(ask, url)
        except ConfigError as error:
            found = error
        nursery.cancel_scope.cancel()
    return found


async def test_the_only_model_of_a_server_needs_no_name():
    """docs.vllm.ai and guidellm ask for it at /v1/models, too."""
    one = b'{"data": [{"id": "alone"}]}'
    assert await listing(one, lambda url: only_model(url, "chat", None)) == "alone"
    for body, said in (
        (b'{"data": [{"id": "a"}, {"id": "b\\u202e"}]}', "2 (a, b\\u202e"),
        (b'{"data": [{"id": "\\u001b[2J"}]}', "1 (\\x1b[2J"),
        (b'{"data": [{"id": "%b"}]}' % (b"m" * 300), "1 (mmm"),
        (b'{"data": []}', "no list of models"),
        (b"<html>", "no list of models"),
    ):
        refused = await listing(body, lambda url: only_model(url, "chat", None))
        (mistake,) = refused.mistakes
        assert said in mistake.found, body
        assert "--model MODEL" in mistake.expected
