"""Hand-made servers for load tests: on trio, on a real socket, in the test's process."""

import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

import msgspec
import trio

import providers.grammar  # noqa: F401  # otherwise the first verdict loads it during a measurement
from loadtest.exchange.content import AnswerContent
from loadtest.exchange.judging import ReceivedAnswer, judge_answer
from loadtest.figures.result import RunResult
from loadtest.masking import mask_url
from loadtest.plan.plan import LoadPlan
from loadtest.run.running import ActiveRun
from loadtest.wire.connecting import ServerAddress
from streams import sse

Serving = Callable[[trio.abc.Stream, bytes], Awaitable[bool | None]]
"""Answers one request by its head. Returns false to close the connection."""

ServingBodies = Callable[[trio.abc.Stream, bytes, bytes], Awaitable[bool | None]]
"""Answers one request by its head and body."""

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def events(*words: str) -> list[bytes]:
    """Return the events of a good Chat stream of these words."""
    made: list[tuple[dict[str, Any], str | None]] = [({"role": "assistant", "content": ""}, None)]
    made += [({"content": word}, None) for word in words]
    made.append(({}, "stop"))
    same = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    found = [sse.data({**same, "choices": [{"index": 0, "delta": d, "finish_reason": r}]}) for d, r in made]
    usage = {"prompt_tokens": 1, "completion_tokens": len(words), "total_tokens": len(words) + 1}
    return [*found, sse.data({**same, "choices": [], "usage": usage}), b"data: [DONE]\n\n"]


async def answer(stream: trio.abc.Stream, *words: str, pause: float = 0) -> None:
    """Send one good answer, with each event in a separate write."""
    await stream.send_all(HEAD)
    for event in events(*words):
        await trio.sleep(pause)
        await stream.send_all(chunk(event))
    await stream.send_all(b"0\r\n\r\n")


async def quick(stream: trio.abc.Stream, head: bytes) -> None:
    """Answer immediately with three words."""
    await answer(stream, "one", " two", " three")


def serving(serve: Serving, tls: ssl.SSLContext | None = None) -> contextlib.AbstractAsyncContextManager[str]:
    """Serve on a free port until the end of the block, and yield the URL."""
    return serving_bodies(lambda stream, head, _: serve(stream, head), tls)


@contextlib.asynccontextmanager
async def serving_bodies(serve: ServingBodies, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Serve answers that depend on the request's body, on a free port, and yield the URL."""
    handle = partial(_connection, serve)
    async with trio.open_nursery() as nursery:
        if tls is None:
            (listener,) = await nursery.start(partial(trio.serve_tcp, handle, 0, host="127.0.0.1"))
            yield f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        else:
            start = partial(trio.serve_ssl_over_tcp, handle, 0, tls, host="127.0.0.1", https_compatible=True)
            (listener,) = await nursery.start(start)
            yield f"https://127.0.0.1:{listener.transport_listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


async def _connection(serve: ServingBodies, stream: trio.abc.Stream) -> None:
    with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        async with stream:
            held = b""
            while True:
                while b"\r\n\r\n" not in held:
                    data = await stream.receive_some()
                    if not data:
                        return
                    held += data
                head, _, held = held.partition(b"\r\n\r\n")
                lines = head.lower().split(b"\r\n")
                size = next(int(line.split(b":")[1]) for line in lines if line.startswith(b"content-len"))
                while len(held) < size:
                    if not (data := await stream.receive_some()):
                        return
                    held += data
                body, held = held[:size], held[size:]
                if b"application/json" in head:
                    msgspec.json.decode(body)
                if await serve(stream, head, body) is False:
                    return


async def judge(received: ReceivedAnswer) -> AnswerContent:
    """Return the verdict on a received answer. It is computed in this process, which is faster than in another."""
    return judge_answer(received)


def plan_for(url: str, **more: Any) -> LoadPlan:
    return LoadPlan(**{"targets": {"": url}, "model": "m", **more})


async def load(url: str, **more: Any) -> RunResult:
    """Make one run, and return its result."""
    return await (await prepared(plan_for(url, **more))).run()


async def prepared(plan: LoadPlan) -> ActiveRun:
    ((target, url),) = plan.targets.items()
    result = RunResult(target=target, url=mask_url(url), plan=plan.dump())
    return ActiveRun(plan, result, await ServerAddress.resolve(url), "sk-secret", judge)
