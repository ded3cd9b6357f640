"""Responses of other endpoints that have arrived as a whole: they are complete, even if their bodies do not end."""

import contextlib
import json
from functools import partial
from typing import Any, Final

import attrs
import httpx2
import pytest
import trio

from tests.support.bare_provider import head, listening, read_request
from tests.support.each_row import each_row
from tests.support.features import needs_feature
from tests.support.in_process import InProcess, gateway
from tests.support.multipart import KIND, multipart, part
from tests.support.settled_lines import SettledLines

pytestmark = [needs_feature("other_endpoints"), needs_feature("mcp")]

JSON: Final = "application/json"
FORM: Final = multipart([part("model", b"m"), part("stream", b"true"), part("file", b"RIFF" + bytes(999), "a.wav")])
WHOLE_FORM: Final = multipart([part("model", b"m"), part("file", b"RIFF" + bytes(999), "a.wav")])
DONE: Final = b"data: [DONE]\n\n"


def event(**members: Any) -> bytes:
    return f"data: {json.dumps(members)}\n\n".encode()


@attrs.frozen
class Streamed:
    """A request to ``path``, and the stream in response to it, whose ``last`` event is its end."""

    path: str
    body: dict[str, Any] | bytes
    first: bytes
    last: bytes
    kind: str = "text/event-stream"

    async def send(self, served: InProcess) -> Any:
        is_form = isinstance(self.body, bytes)
        content = self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()
        return await served.post(self.path, content=content, headers={"content-type": KIND if is_form else JSON})


CALL: Final = {"jsonrpc": "2.0", "id": "\u00e9", "method": "tools/call", "params": {"name": "f"}}
TEXT: Final = event(choices=[{"index": 0, "text": "x", "finish_reason": None}])
STREAMS: Final = {
    "speech": Streamed(
        "/v1/audio/speech", {"model": "m", "input": "x", "voice": "alloy", "stream_format": "sse"},
        event(type="speech.audio.delta", audio="AAAA"), event(type="speech.audio.done"),
    ),
    "transcript": Streamed(
        "/v1/audio/transcriptions", FORM,
        event(type="transcript.text.delta", delta="Hi"), event(type="transcript.text.done", text="Hi"),
    ),
    "transcript, vLLM": Streamed("/v1/audio/transcriptions", FORM, event(choices=[{"delta": {"content": "x"}}]), DONE),
    "completion": Streamed("/v1/completions", {"model": "m", "prompt": "x", "stream": True}, TEXT, DONE),
    "MCP": Streamed(
        "/mcp/tools", CALL,
        event(method="sampling/createMessage", id="\u00e9"), event(jsonrpc="2.0", id="\u00e9", result={}),
    ),
    "MCP, an error": Streamed("/mcp/tools", CALL, event(result={}, id=7), event(id="\u00e9", error={"code": 1})),
}  # fmt: skip
JSON_ANSWERS: Final = {
    "completion": Streamed(
        "/v1/completions", {"model": "m", "prompt": "x"},
        b'{"choices":[{"index":0,"text":"x","finish_reason":"stop"}', b'],"usage":{"prompt_tokens":1}}', JSON,
    ),
    "embedding": Streamed(
        "/v1/embeddings", {"model": "m", "input": "x"},
        b'{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.5]}', b'],"model":"m"}', JSON,
    ),
    "picture": Streamed(
        "/v1/images/generations", {"model": "m", "prompt": "x"},
        b'{"created":1,"data":[{"b64_json":"AAAA"}', b"]}", JSON,
    ),
    "transcript": Streamed("/v1/audio/transcriptions", WHOLE_FORM, b'{"text":"{"', b"}", JSON),
    "rerank": Streamed(
        "/v1/rerank", {"model": "m", "query": "x", "documents": ["x"]},
        b'{"results":[{"index":0,"relevance_score":0.5}', b']}\n', JSON,
    ),
}  # fmt: skip
LONG_ANSWERS: Final = {
    "completion": Streamed(
        "/v1/completions", {"model": "m", "prompt": "x"},
        b'{"choices":[{"index":0,"text":"%b","finish_reason":"stop"}' % (b"x" * 2**20), b']}', JSON,
    ),
    "embedding": Streamed(
        "/v1/embeddings", {"model": "m", "input": "x"},
        b'{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.5%b]}' % (b",0.25" * 250_000), b']}',
        JSON,
    ),
}  # fmt: skip
"""Answers that are too long to be held, so a failure can only cut them."""


async def serve(case: Streamed, pieces: tuple[bytes, ...], breaks: bool, stream: trio.SocketStream) -> None:
    """Send ``pieces``, and close the connection within the body if the stream ``breaks``, otherwise nothing else."""
    assert await read_request(stream) is not None
    with contextlib.suppress(trio.BrokenResourceError):
        await stream.send_all(head(200, ("content-type", case.kind), ("transfer-encoding", "chunked")))
        for piece in pieces:
            await stream.send_all(b"%x\r\n%b\r\n" % (len(piece), piece))
        if not breaks:
            await stream.receive_some()
    await stream.aclose()


async def respond(case: Streamed, *, breaks: bool, whole: bool, **more: Any) -> tuple[Any, dict[str, Any]]:
    """Return the client's response, and the line, of a response with or without its last piece."""
    pieces = (case.first, case.last) if whole else (case.first,)
    async with listening(partial(serve, case, pieces, breaks)) as url:
        entry = {"model": "openai/m", "base_url": f"{url}/v1", "access_key": "k", "endpoints": {"rerank": True}}
        servers = [{"name": "tools", "base_url": f"{url}/mcp", "access_key": "k"}]
        config = {"version": "v0.3.0", "model_providers": [entry], "mcp_servers": servers, **more}
        async with gateway(config) as served:
            lines = SettledLines(served)
            with trio.fail_after(10):
                found = await case.send(served)
                (line,) = await lines.next(1)
            return found, line


@each_row("breaks", [True, False])
@each_row("name", STREAMS)
async def test_a_stream_is_complete_with_its_last_event(name, breaks):
    found, line = await respond(STREAMS[name], breaks=breaks, whole=True)
    assert (found.status_code, found.content) == (200, STREAMS[name].first + STREAMS[name].last)
    assert (line["ended"], line["status"]) == ("complete", 200), line


@needs_feature("answer_cache")
async def test_a_stream_that_is_cached_is_complete_with_its_last_event():
    case = STREAMS["completion"]
    case = attrs.evolve(case, body={"model": "kept", "prompt": "x", "stream": True})
    aliases = {"kept": {"target": "openai/m", "cache": {"ttl": "1h"}}}
    for breaks in (True, False):
        found, line = await respond(case, breaks=breaks, whole=True, model_aliases=aliases)
        assert (found.status_code, found.content, line["ended"]) == (200, case.first + case.last, "complete")
        assert found.headers["x-trigate-cache"] == "miss"


@each_row("name", STREAMS)
async def test_a_stream_without_its_last_event_fails(name):
    for breaks, error in ((True, "upstream"), (False, "timeout")):
        found, line = await respond(STREAMS[name], breaks=breaks, whole=False, timeouts={"idle": "300ms"})
        assert found.status_code == 200
        assert found.content.startswith(STREAMS[name].first)
        assert b'"error"' in found.content.removeprefix(STREAMS[name].first)
        assert (line["ended"], line["error"]) == ("upstream_error", error), line


@each_row("breaks", [True, False])
@each_row("name", JSON_ANSWERS)
async def test_a_json_response_is_complete_with_its_last_brace(name, breaks):
    case = JSON_ANSWERS[name]
    found, line = await respond(case, breaks=breaks, whole=True)
    assert (found.status_code, found.json()) == (200, json.loads(case.first + case.last))
    assert (line["ended"], line["status"]) == ("complete", 200), line
    found, line = await respond(case, breaks=breaks, whole=False, timeouts={"idle": "300ms"})
    assert (found.status_code, line["ended"]) == (502 if breaks else 504, "upstream_error"), found.text


@each_row("breaks", [True, False])
@each_row("stream", [True, False])
async def test_a_completion_with_a_wrong_content_type_is_complete_and_billed(stream, breaks):
    """The provider labels JSON as a stream, or a stream as JSON."""
    body = {"model": "m", "prompt": "x", "stream": stream}
    usage = {"prompt_tokens": 5, "completion_tokens": 7}
    text = event(choices=[{"index": 0, "text": "x", "finish_reason": "stop"}], usage=usage)
    streamed = Streamed("/v1/completions", body, text, DONE, JSON)
    whole = JSON_ANSWERS["completion"]
    last = b'],"usage":%b}' % json.dumps(usage).encode()
    for case, kind in (
        (streamed, "text/event-stream"),
        (attrs.evolve(streamed, kind="text/plain"), "text/event-stream"),
        (attrs.evolve(whole, body=body, last=last, kind="text/event-stream"), JSON),
    ):
        found, line = await respond(case, breaks=breaks, whole=True)
        assert (found.status_code, found.content) == (200, case.first + case.last)
        assert found.headers["content-type"].startswith(kind)
        assert (line["ended"], line["input_tokens"], line["output_tokens"]) == ("complete", 5, 7)


async def test_binary_data_with_any_first_bytes_is_no_stream():
    case = Streamed("/v1/completions", {"model": "m", "prompt": "x"}, b":\0", b"\0", "application/octet-stream")
    with pytest.RaisesGroup(httpx2.RemoteProtocolError, allow_unwrapped=True, flatten_subgroups=True):
        await respond(case, breaks=True, whole=True)  # a stream would have an error event


@each_row("breaks", [True, False])
@each_row("name", LONG_ANSWERS)
async def test_a_long_json_response_is_complete_with_its_last_brace(name, breaks):
    case = LONG_ANSWERS[name]
    found, line = await respond(case, breaks=breaks, whole=True)
    assert (found.status_code, found.content) == (200, case.first + case.last)
    assert (line["ended"], line["status"]) == ("complete", 200), line
    with pytest.RaisesGroup(httpx2.RemoteProtocolError, allow_unwrapped=True, flatten_subgroups=True):
        await respond(case, breaks=breaks, whole=False, timeouts={"idle": "300ms"})


async def test_an_object_may_not_be_the_end_of_a_response_of_unknown_form():
    for breaks, status in ((True, 502), (False, 504)):
        case = Streamed("/mcp/tools", CALL, b'{"id":1}', b'{"id":2}', JSON)
        found, line = await respond(case, breaks=breaks, whole=False, timeouts={"idle": "300ms"})
        assert (found.status_code, line["ended"]) == (status, "upstream_error"), found.text
