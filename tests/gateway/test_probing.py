"""Self-hosted servers whose health can be read without cost, on real sockets and a clock that jumps."""

import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from gateway.config_files.loading import from_mapping
from gateway.health.health import Health
from gateway.health.states import LocalStates
from gateway.probing import Prober
from gateway.routing.router import Router
from gateway.upstream.client import Upstream
from streams.events import ErrorInfo
from tests.support.in_process import providers


@pytest.fixture
def mock_clock() -> MockClock:
    """Return a clock that jumps after some idle milliseconds, in which the system delivers pending data."""
    return MockClock(autojump_threshold=0.01)


def config(*urls: str, **more: Any) -> dict[str, Any]:
    entries = [
        {"model": f"vllm/m{number}", "name": f"gpu-{number}", "base_url": f"{url}/v1", "access_key": "k", **more}
        for number, url in enumerate(urls, 1)
    ]
    return {"version": "v0.4.0", "model_providers": entries}


@attrs.frozen
class Probing:
    health: Health
    router: Router

    def is_out(self, name: str = "gpu-1", *, alone: bool = False) -> bool:
        return self.health.outage(self.router.resolve(name, "chat"), None, alone=alone) is not None


@contextlib.asynccontextmanager
async def probing(content: dict[str, Any], workers: int = 1) -> AsyncIterator[Probing]:
    """Run so many workers that probe the targets of ``content``, and yield the first one."""
    read, states = from_mapping(content), LocalStates()
    found = [Health(states=states, workers=workers) for _ in range(workers)]
    async with Upstream(trust_env=False) as upstream, trio.open_nursery() as nursery:
        for health in found:
            health.apply_config(read)
            nursery.start_soon(Prober(health).run, upstream)
        yield Probing(found[0], Router(read))
        nursery.cancel_scope.cancel()


def fail(probes: Probing, name: str, times: int) -> None:
    for _ in range(times):
        attempt = probes.health.begin(probes.router.resolve(name, "chat"), None, added=False)
        attempt.mark_failed(ErrorInfo("overloaded", "try later"))
        attempt.close()


async def test_a_server_that_fails_its_probes_is_out_until_one_succeeds(mock_clock):
    async with providers(1) as (server,), probing(config(server.url, probe="/health")) as probes:
        await trio.sleep(12.5)
        assert server.asked == ["/health"] * 3
        assert not probes.is_out()
        server.well = 503
        await trio.sleep(5)
        assert not probes.is_out()  # a busy server may be late once
        await trio.sleep(5)
        assert probes.is_out()
        assert not probes.is_out(alone=True)
        await trio.sleep(60)
        assert probes.is_out()
        assert probes.health.target_states()[0].reason == "overloaded"
        server.well = 200
        await trio.sleep(5)
        assert not probes.is_out()


async def test_a_silent_or_unreachable_server_is_out(mock_clock):
    async with providers(2) as (silent, gone), probing(config(silent.url, gone.url, probe="/health")) as probes:
        gone.refuse()
        with silent.hold_answers():
            await trio.sleep(13)
            assert [probes.is_out("gpu-1"), probes.is_out("gpu-2")] == [True, True]
            assert [state.reason for state in probes.health.target_states()] == ["timeout", "connection"]


async def test_a_missing_probe_path_does_not_count_and_is_logged_once(mock_clock, caplog):
    caplog.set_level(logging.WARNING, "trigate.health")
    async with providers(1) as (server,), probing(config(server.url, probe="/helth")) as probes:
        server.well = 404
        await trio.sleep(60)
        assert not probes.is_out()
    assert [record.getMessage() for record in caplog.records] == [
        "gpu-1: the probe returns status 404, which does not indicate health: correct `probe`"
    ]


async def test_a_probe_ends_no_outage_that_requests_have_found(mock_clock):
    async with providers(1) as (server,), probing(config(server.url, probe="/health")) as probes:
        fail(probes, "gpu-1", 5)
        await trio.sleep(4.9)
        assert server.asked
        assert probes.is_out()


async def test_workers_take_turns(mock_clock):
    async with providers(1) as (server,), probing(config(server.url, probe="/health"), workers=4):
        await trio.sleep(52)
        assert 10 <= len(server.asked) <= 12


async def test_a_probe_has_the_headers_and_the_key_of_its_entry(mock_clock):
    async with providers(1) as (server,), probing(config(server.url, probe="/health", headers={"x-pool": "a"})):
        await trio.sleep(1)
    assert server.heads[0].split(b"\r\n")[2:] == [b"x-pool: a", b"authorization: Bearer k"]
