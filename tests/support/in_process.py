"""A whole gateway in the test's process on real sockets, with a settable clock for the health of targets; and
providers that count their requests and fail on command."""

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import attrs
import httpx2
import trio

from gateway.config_files.loading import from_mapping
from gateway.exchange.service import Service
from gateway.health.health import Health
from gateway.http.headers import Headers
from gateway.open_service import open_service, service_of_clients, use_clients
from gateway.processes.binding import bind
from gateway.reload import ReloadableApp
from gateway.serving.lifecycle import Lifecycle
from gateway.serving.worker import serve
from gateway.stores.store import Store
from streams.events import ErrorInfo, FailureReason
from tests.support.bare_provider import head, listening, read_request
from tests.support.harness import PATIENCE
from tests.support.no_tls import NO_TLS
from tests.support.set_clock import SetClock
from tests.support.upstreams import PATHS, STREAMS, Script, render


class CountingProvider:
    """A provider of three APIs.

    ``fails`` is the status of all its answers (``None``: 200). While ``held``, it sends nothing. ``told`` are headers
    of good answers, ``asked`` the paths of all requests, and ``bodies`` their bodies.
    """

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[str] = []
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []
        self.fails: int | None = None
        self.headers: tuple[tuple[str, str], ...] = ()
        self.told: tuple[tuple[str, str], ...] = ()
        self.cuts = False
        self.well = 200
        self.refuses = False
        self._free = trio.Event()
        self._free.set()

    @contextlib.contextmanager
    def hold_answers(self):  # type: ignore[no-untyped-def]
        """Send no answers during the block."""
        self._free = trio.Event()
        try:
            yield
        finally:
            self._free.set()

    def refuse(self) -> None:
        """Close every new connection immediately."""
        self.refuses = True

    def take_count(self) -> int:
        """Return the number of requests since the last call."""
        number = len(self.asked)
        self.asked.clear()
        return number

    async def serve(self, stream: trio.SocketStream) -> None:
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async with stream:
                while not self.refuses and (request := await read_request(stream)):
                    path, sent, body = request
                    self.asked.append(path)
                    self.heads.append(sent)
                    self.bodies.append(body)
                    await self._free.wait()
                    await stream.send_all(self._answer(path, body))
                    if self.cuts:
                        return

    def _answer(self, path: str, body: bytes) -> bytes:
        api = next((api for api, known in PATHS.items() if known == path), None)
        if api is None:
            return _response(self.well, (), b"")
        if self.fails is not None:
            error = {"type": "error", "error": {"type": "api_error", "message": "the provider is not well"}}
            return _response(
                self.fails, (("content-type", "application/json"), *self.headers), json.dumps(error).encode()
            )
        request = json.loads(body)
        if self.cuts:
            whole = b"".join(list(STREAMS[api](Script(text="one two three"), request))[:4])
            return head(200, ("content-type", "text/event-stream"), ("content-length", str(len(whole) + 99))) + whole
        raw = render(Script(text="Hello."), api, request)
        return _response(raw.status, (*raw.headers, *self.told), b"".join(raw.pieces))


def _response(status: int, headers: tuple[tuple[str, str], ...], body: bytes) -> bytes:
    return head(status, *headers, ("content-length", str(len(body)))) + body


@contextlib.asynccontextmanager
async def providers(number: int) -> AsyncIterator[list[CountingProvider]]:
    """Run ``number`` providers until the end of the block."""
    async with contextlib.AsyncExitStack() as stack:
        found = [CountingProvider() for _ in range(number)]
        for one in found:
            one.url = await stack.enter_async_context(listening(one.serve))
        yield found


@attrs.frozen
class InProcess:
    """The gateway at ``url``, and its shared state."""

    url: str
    served: ReloadableApp
    clock: SetClock

    @property
    def service(self) -> Service:
        return self.served.current[1]

    def reload(self, content: dict[str, Any]) -> None:
        self.served.change(from_mapping(content))

    async def get(self, path: str, key: str | None = None) -> httpx2.Response:
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        return await self.send("GET", path, headers=headers)

    async def send(self, method: str, path: str, **sent: Any) -> httpx2.Response:
        """Return the response to a request. ``sent`` are arguments of ``httpx2``."""
        options: dict[str, Any] = {"verify": NO_TLS, "trust_env": False, "timeout": PATIENCE}
        async with httpx2.AsyncClient(base_url=self.url, **options) as client:
            return await client.request(method, path, **sent)

    async def post(self, path: str, **sent: Any) -> httpx2.Response:
        return await self.send("POST", path, **sent)

    async def ask(
        self, model: str, api: str = "chat", *, stream: bool = False, headers: Headers = (), **members: Any
    ) -> httpx2.Response:
        """Return the answer to a short request with additional ``members``."""
        body = {"model": model, "stream": stream, "max_output_tokens" if api == "responses" else "max_tokens": 9}
        body |= {"input": "Hi"} if api == "responses" else {"messages": [{"role": "user", "content": "Hi"}]}
        return await self.post(PATHS[api], json=body | members, headers=list(headers))

    @contextlib.asynccontextmanager
    async def leaving(
        self, model: str, path: str = PATHS["chat"], *, headers: Headers = (), **members: Any
    ) -> AsyncIterator[trio.SocketStream]:
        """Send a request, yield its connection, and disconnect at the end of the block."""
        body = json.dumps({"model": model, "messages": [{"role": "user", "content": "Hi"}], **members}).encode()
        lines = "".join(f"{name}: {value}\r\n" for name, value in (*headers, ("content-length", len(body))))
        stream = await trio.open_tcp_stream("127.0.0.1", int(self.url.rpartition(":")[2]))
        async with stream:
            await stream.send_all(f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{lines}\r\n".encode() + body)
            yield stream

    async def count_tokens(self, model: str, headers: Headers = ()) -> httpx2.Response:
        body = {"model": model, "messages": [{"role": "user", "content": "Hi"}]}
        return await self.post("/v1/messages/count_tokens", json=body, headers=list(headers))

    def fail(self, name: str, reason: FailureReason, wait: float | None = None) -> None:
        """Record a failed request to the target of ``name``."""
        target = self.service.router.resolve(name, "chat")
        attempt = self.service.health.begin(target, None, added=False)
        attempt.mark_failed(ErrorInfo("overloaded", "try later", reason=reason, wait=wait, concerns_all=True))
        attempt.close()


@contextlib.asynccontextmanager
async def gateway(
    content: dict[str, Any], *, real: bool = False, store: Store | None = None, drains: bool = False
) -> AsyncIterator[InProcess]:
    """Serve ``content`` and keep turns in ``store``.

    With ``real``, health uses trio's clock instead of a settable one. With ``drains``, the gateway ends as a process
    does, and closes all resources.
    """
    config, clock = from_mapping(content), SetClock()
    health = Health(trio.current_time if real else clock)
    opened = attrs.evolve(open_service(config, Lifecycle(), store, False), health=health)
    service = service_of_clients(config, opened)  # its features use this health, too
    use_clients(config, service, opened)
    service.health.apply_config(config)
    sock, ready, served = bind("127.0.0.1", 0), trio.Event(), ReloadableApp(config, service)
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: serve(served, [sock], state=service.lifecycle, ready=ready.set, signals=False))
            await ready.wait()
            yield InProcess(f"http://127.0.0.1:{sock.getsockname()[1]}", served, clock)
            if drains:
                service.lifecycle.stop()
            else:
                await service.upstream.aclose()
                nursery.cancel_scope.cancel()
