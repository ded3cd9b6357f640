"""A provider of all six APIs and some endpoints in the test's process, whose models behave as a test selects."""

import contextlib
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import trio
import trio.testing

from tests.support.bare_provider import read_request, response
from tests.support.harness import refusing_port
from tests.support.upstreams import EVENT_STREAM, PATHS, STREAMS, Script, Tokens, render

TOKENS: Final = Tokens(prompt=111, cache_read=40, output=17)
EMPTY: Final = Script(tokens=Tokens(prompt=111, cache_read=40, output=0))
USAGE: Final = {"prompt_tokens": 111, "completion_tokens": 17, "total_tokens": 128}
DRAWN: Final = {
    "input_tokens": 111, "output_tokens": 17, "total_tokens": 128,
    "input_tokens_details": {"text_tokens": 111, "image_tokens": 0},
}  # fmt: skip


def _json(**members: Any) -> tuple[bytes, str]:
    return json.dumps(members).encode(), "application/json"


ENDPOINTS: Final[Mapping[str, tuple[bytes, str]]] = {
    "/embeddings": _json(
        object="list", model="up", data=[{"object": "embedding", "index": 0, "embedding": [0.25, 0.5]}],
        usage={"prompt_tokens": 111, "total_tokens": 111},
    ),
    "/v1/completions": _json(
        id="cmpl-1", object="text_completion", created=1, model="up", usage=USAGE,
        choices=[{"index": 0, "text": "one two three", "finish_reason": "stop", "logprobs": None}],
    ),
    "/moderations": _json(id="modr-1", model="up", results=[{"flagged": False, "categories": {}}]),
    "/images/generations": _json(created=1, data=[{"b64_json": "AAAA"}], usage=DRAWN),
    "/audio/speech": (b"RIFF of one two three", "audio/wav"),
    "/audio/transcriptions": _json(text="one two three", usage={"type": "tokens", **DRAWN}),
}  # fmt: skip
"""Good responses by the end of the path: the body and its content type."""

_MODEL_PATH: Final = re.compile(r".*/models?/(.+?)(?::(?:streamG|g)enerateContent|/converse(?:-stream)?)$")
_HEAD: Final = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ntransfer-encoding: chunked\r\n\r\n"
_REFUSALS: Final = {"busy": 503, "wrong": 400, "spent": 402}


class PlayedProvider:
    """A provider. ``acts`` maps models to behaviours, ``well`` by default:

    ``well`` answers; ``silent`` reads until the gateway closes; ``late`` answers once ``released`` is set; ``busy``
    returns 503, ``wrong`` 400, ``spent`` 402; ``empty`` answers without words; ``cut`` closes within the response,
    ``cut early`` after its head; ``stall`` waits there until the gateway closes; ``no answer`` closes without a
    response. A behaviour that ends in `` once`` applies once. ``asked`` counts requests by model, ``open`` the
    connections with a request, ``stalls`` those that wait. With ``names_itself``, each model answers with its name,
    so that answers differ. With ``pauses``, each event of a stream waits until all tasks wait.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.acts: dict[str, str] = {}
        self.names_itself = True
        self.pauses = False
        self.asked: Counter[str] = Counter()
        self.bodies: list[dict[str, Any]] = []
        self.open = 0
        self.stalls = 0
        self.listening = trio.CancelScope()
        self.refuses = trio.Event()
        self.released = trio.Event()
        self._streams: set[trio.SocketStream] = set()

    def break_connections(self) -> None:
        """Close all connections, also in the middle of an answer."""
        for stream in self._streams:
            stream.socket.close()

    def text(self, model: str) -> str:
        """Return the words of ``model``."""
        return f"one two three from {model}" if self.names_itself else "one two three"

    async def stop(self) -> None:
        """Refuse connections from now on, and keep the port."""
        self.listening.cancel()
        await self.refuses.wait()

    def reset(self, **acts: str) -> None:
        """Forget all requests, and play ``acts`` from now on."""
        self.acts, self.released, self.stalls = acts, trio.Event(), 0
        self.asked.clear()
        self.bodies.clear()

    async def serve(self, stream: trio.SocketStream) -> None:
        self._streams.add(stream)
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async with stream:
                while request := await read_request(stream):
                    self.open += 1
                    try:
                        if not await self._answer_request(stream, request[0].partition("?")[0], request[2]):
                            return
                    finally:
                        self.open -= 1
        self._streams.discard(stream)

    async def _answer_request(self, stream: trio.SocketStream, path: str, body: bytes) -> bool:
        """Answer a request. Return whether the connection can be reused."""
        request = _request_members(body)
        answer = next((answer for end, answer in ENDPOINTS.items() if path.endswith(end)), None)
        api = next((api for api, known in PATHS.items() if path.endswith(known.removeprefix("/v1"))), None)
        if (found := _MODEL_PATH.match(path)) is not None:
            api = "converse" if "/converse" in path else "gemini"
            request |= {"model": found[1], "stream": "tream" in path.rpartition(found[1])[2]}
        assert api is not None or answer is not None, f"no such path: {path}"
        model = request["model"]
        self.asked[model] += 1
        self.bodies.append(request)
        act = self.acts.get(model, "well")
        if act.endswith(" once"):
            del self.acts[model]
            act = act.removesuffix(" once")
        if act == "silent":
            await stream.receive_some()
            return False
        if act == "late":
            await self.released.wait()
        if (status := _REFUSALS.get(act)) is not None:
            error = json.dumps({"type": "error", "error": {"type": "api_error", "message": "not now"}}).encode()
            await stream.send_all(response(status, error))
            return True
        if act == "no answer":
            return False
        if answer is not None:
            return await self._send_pieces(stream, response(200, *answer), act)
        assert api is not None
        return await self._answer(stream, api, request, act)

    async def _send_pieces(self, stream: trio.SocketStream, whole: bytes, act: str) -> bool:
        head = whole.index(b"\r\n\r\n") + 4
        await stream.send_all(whole[: {"cut": -20, "stall": -20, "cut early": head}.get(act, len(whole))])
        return await self._finish(stream, act)

    async def _answer(self, stream: trio.SocketStream, api: str, request: dict[str, Any], act: str) -> bool:
        script = EMPTY if act == "empty" else Script(text=self.text(request["model"]), tokens=TOKENS)
        if not request.get("stream"):
            return await self._send_pieces(stream, response(200, render(script, api, request).pieces[0]), act)
        events = list(STREAMS[api](script, request))
        kept = {"cut": -3, "stall": -3, "cut early": 0}.get(act, len(events))
        kind = EVENT_STREAM if api == "converse" else "text/event-stream"
        await stream.send_all(_HEAD % kind.encode())
        for event in events[:kept]:
            if self.pauses:
                await trio.testing.wait_all_tasks_blocked()
            await stream.send_all(b"%x\r\n%b\r\n" % (len(event), event))
        if act not in ("cut", "stall", "cut early"):
            await stream.send_all(b"0\r\n\r\n")
        return await self._finish(stream, act)

    async def _finish(self, stream: trio.SocketStream, act: str) -> bool:
        if act == "stall":
            self.stalls += 1
            await stream.receive_some()
        return act not in ("cut", "stall", "cut early")


def _request_members(body: bytes) -> dict[str, Any]:
    """Return the members of a JSON request, or only the model of a form."""
    if body.startswith(b"{"):
        return dict(json.loads(body))
    found = re.search(rb'name="model"\r\n(?:[^\r\n]+\r\n)*\r\n([^\r\n]+)', body)
    assert found is not None, "a form names its model"
    return {"model": found[1].decode()}


@contextlib.asynccontextmanager
async def played_provider() -> AsyncIterator[PlayedProvider]:
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        provider = PlayedProvider(listener.socket.getsockname()[1])

        async def serve(task_status: trio.TaskStatus[object]) -> None:  # noqa: ASYNC128  # serve_listeners calls it
            with provider.listening:
                await trio.serve_listeners(provider.serve, [listener], handler_nursery=nursery, task_status=task_status)
            with refusing_port(provider.port):
                provider.refuses.set()
                await trio.sleep_forever()

        await nursery.start(serve)
        yield provider
        nursery.cancel_scope.cancel()


def entry(provider: PlayedProvider, api: str, name: str, **more: Any) -> dict[str, Any]:
    """Return an entry of ``model_providers`` for ``provider`` and the model ``name`` in ``api``."""
    row = {"gemini": "gemini", "converse": "amazon_bedrock", "interactions": "gemini"}.get(api, "vllm")
    base = f"{provider.url}/v1" if row == "vllm" else provider.url
    return {
        "model": f"{row}/{name}", "name": name, "base_url": base, "access_key": f"sk-{name}-0123456789",
        "speaks": [api], **more,
    }  # fmt: skip
