"""More requests than allowed connections to providers: the responses, the ledger, the metrics, and the effect of a
reload. The gateway is in this process, so that a wait for a place can be short."""

import contextlib
import json
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import attrs
import pytest
import trio

from gateway.config_files.loading import Config, from_mapping
from gateway.exchange.service import Service
from gateway.open_service import open_service, service_of_clients, use_clients
from gateway.processes.binding import bind
from gateway.reload import ReloadableApp
from gateway.serving.lifecycle import Lifecycle
from gateway.serving.worker import serve
from gateway.upstream.client import Upstream
from tests.support.asgi_app import eventually
from tests.support.features import has_feature
from tests.support.harness import PATIENCE, Reply, Wire, complaint, config, post, provider, request
from tests.support.metrics_page import Numbers, chunk, metrics_of, page_of
from tests.support.raw_call import SSE
from tests.support.upstreams import PATHS

APIS = ("chat", "messages", "responses")
DONE = b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"


@attrs.frozen
class Running:
    port: int
    service: Service
    served: ReloadableApp
    lines: Callable[[], list[dict[str, Any]]]

    async def ask(self, api: str, stream: bool = False) -> Reply:
        own = {"input": "hi"} if api == "responses" else {"messages": [{"role": "user", "content": "hi"}]}
        body = {"model": "by-hand", "stream": stream, "max_tokens": 50, **own}
        return await trio.to_thread.run_sync(request, f"http://127.0.0.1:{self.port}", "POST", PATHS[api], body)

    def numbers(self) -> Numbers:
        return Numbers(page_of(metrics_of(self.service)))


@pytest.fixture
def configured(by_hand) -> Callable[[int], Config]:
    def configured(most: int) -> Config:
        entries = [provider("openai/by-hand", by_hand.url, ["chat"])]
        return from_mapping(config(entries, 12000, limits={"upstream_connections": most}))

    return configured


@pytest.fixture
def gateway(configured, caplog) -> Callable[..., contextlib.AbstractAsyncContextManager[Running]]:
    caplog.set_level(logging.INFO, "trigate")

    def lines() -> list[dict[str, Any]]:
        return [json.loads(record.message) for record in caplog.records if record.message.startswith('{"event"')]

    @contextlib.asynccontextmanager
    async def start(most: int, patience: float | None = None) -> AsyncIterator[Running]:
        lifecycle, ready, held = Lifecycle(), trio.Event(), configured(most)
        service = open_service(held, lifecycle, None, False, readable=False)
        if patience is not None:
            upstream = Upstream(max_connections=most, pool_timeout=patience, trust_env=False)
            opened = attrs.evolve(service, upstream=upstream)
            service = service_of_clients(held, opened)  # its features use these connections, too
            use_clients(held, service, opened)
        served, sock = ReloadableApp(held, service), bind("127.0.0.1", 0)
        running = Running(sock.getsockname()[1], service, served, lines)
        with trio.fail_after(2 * PATIENCE):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(
                    lambda: serve(served, [sock], state=lifecycle, ready=ready.set, signals=False, drain=0.1)
                )
                await ready.wait()
                yield running
                lifecycle.stop()

    return start


@contextlib.contextmanager
def stream(running: Running) -> Any:
    """Connect a client that has sent a request for a stream."""
    with Wire.connect(running.port) as client:
        client.send(
            post(PATHS["chat"], {"model": "by-hand", "stream": True, "messages": [{"role": "user", "content": "hi"}]})
        )
        yield client


def begin_answer(by_hand: Any) -> Wire:
    """Accept the provider's next connection, begin the answer, and return the provider's end."""
    up: Wire = by_hand.accept()
    up.read_request()
    up.send(SSE + chunk("one"))
    return up


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
async def test_a_request_beyond_the_connection_limit_is_a_503_that_blames_no_provider(gateway, by_hand, streamed):
    async with gateway(1, patience=0.05) as running:
        with stream(running) as client, await trio.to_thread.run_sync(begin_answer, by_hand) as up:
            for api in APIS:
                reply = await running.ask(api, streamed)
                error = complaint(api, reply, 503)
                assert "limits.upstream_connections" in error["message"]
                assert reply.headers["retry-after"] == "1"
                assert reply.headers["x-trigate-attempts"] == "0"
            up.send(DONE)
            await trio.to_thread.run_sync(client.read_until, b"[DONE]")
        await eventually(lambda: len(running.lines()) == 4)
        now = running.numbers() if has_feature("metrics") else None
    refused = running.lines()[:3]
    assert {(line["status"], line["ended"], line["error"], line["attempts"]) for line in refused} == {
        (503, "refused", "overloaded", 0)
    }
    assert not [line for line in refused if "usage_complete" in line]
    if now is not None:
        assert now("trigate_exchanges_total", ended="refused", status="5xx") == 3
        assert now("trigate_upstream_attempts_total", provider="openai") == 1
        assert now("trigate_upstream_errors_total") == 0


async def test_one_that_waits_is_seen_to_wait_and_served_once_there_is_a_place(gateway, by_hand):
    async with gateway(1) as running:
        with stream(running), await trio.to_thread.run_sync(begin_answer, by_hand) as up, stream(running) as second:
            await eventually(lambda: running.service.upstream.stats().queued)
            if has_feature("live_view"):
                await eventually(lambda: sorted(phases(running)) == ["streaming", "waiting"])
            up.send(DONE)
            await trio.to_thread.run_sync(up.read_request)
            up.send(SSE + chunk("two") + DONE)
            await trio.to_thread.run_sync(second.read_until, b"[DONE]")
        await eventually(lambda: len(running.lines()) == 2)
    assert [(line["ended"], line["attempts"]) for line in running.lines()] == [("complete", 1)] * 2


def phases(running: Running) -> list[str]:
    """Return the phases of the streams in the live view."""
    from gateway.features.live_view.live import COLUMNS, View  # which may be deleted
    from gateway.features.live_view.opening import RunningLiveView

    opened = running.service.opened.features["live_view"]
    assert isinstance(opened, RunningLiveView)
    return [row[COLUMNS.index("phase")] for row in View(opened.live_view, None).first()["streams"]]


async def test_a_client_that_leaves_while_it_waits_has_cost_nothing(gateway, by_hand):
    async with gateway(1) as running:
        with stream(running), await trio.to_thread.run_sync(begin_answer, by_hand) as up:
            with stream(running):
                await eventually(lambda: running.service.upstream.stats().queued)
            await eventually(lambda: running.lines())
            assert running.service.upstream.stats().queued == 0
            up.send(DONE)
            await eventually(lambda: len(running.lines()) == 2)
    left = running.lines()[0]
    assert (left["ended"], left["status"], left["attempts"]) == ("client_disconnected", 499, 0)


async def test_a_reload_takes_another_bound_over_immediately(gateway, configured, by_hand):
    async with gateway(1) as running:
        with stream(running), await trio.to_thread.run_sync(begin_answer, by_hand) as up, stream(running):
            await eventually(lambda: running.service.upstream.stats().queued)
            (change,) = running.served.change(configured(0))
            assert str(change) == "~ limits.upstream_connections 1 → 0"
            with await trio.to_thread.run_sync(begin_answer, by_hand) as other:
                assert running.service.upstream.stats().active == 2
                for peer in (up, other):
                    peer.send(DONE)
                await eventually(lambda: len(running.lines()) == 2)
    assert {line["ended"] for line in running.lines()} == {"complete"}
