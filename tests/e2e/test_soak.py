"""The load tester's clients leave early, and the provider has every fault: a gateway leaves nothing open, no failed
answer looks complete, and no request has two lines. ``just soak 600`` loads it for ten minutes."""

import os
import signal
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import trio

from loadtest.figures.tally import Tally
from loadtest.plan.plan import Leaving
from tests.support.apis import OLDER
from tests.support.gateway_thread import mock_thread
from tests.support.harness import PATIENCE, Gateway, config, eventually, exchanges, provider, running
from tests.support.load_servers import load
from tests.support.processes import is_running, peers, resident, stop, workers

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks at processes in Linux's /proc"),
]

SECONDS = float(os.environ.get("SOAK_SECONDS", "1"))
GROWTH = 32  # MiB that the gateway may grow after its first load
WELL = ("mock-small", "fault/crlf", "fault/comments", "fault/slow-first-byte-1")
FAULTS = ("fault/cut-after-3", "fault/reset-after-3", "fault/half-an-event", "fault/garbage", "fault/html",
          "fault/error-event", "fault/error-first", "fault/stall", "fault/silent", "fault/529")  # fmt: skip
LOST = {"closed", "reset", "cut", "refused", "unreachable"}
"""The kinds of errors of a connection that ends early or is refused."""


@pytest.fixture(scope="module")
def mock() -> Iterator[Gateway]:
    with mock_thread() as served:
        yield served


def settings(mock: Gateway, **more: Any) -> dict[str, Any]:
    """Return settings with two wildcards for each API of the provider: one accepts silence for a second."""
    hasty = {"timeouts": {"first_byte": "1s", "idle": "1s"}}
    entries = [
        provider(f"{name}-{api}/*", mock.url, [api], provider_interface="openai", **limits)
        for name, limits in (("on", {}), ("hasty", hasty))
        for api in OLDER
    ]
    never = {"failures": 10**6, "error_rate": "100%"}
    return config(entries, circuit=never, state_storage={"type": "none"}, **more)


async def load_all(
    gateway: Gateway,
    models: Sequence[str],
    seconds: float,
    meanwhile: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint,
    **plan: Any,
) -> Mapping[str, list[Tally]]:
    """Load the gateway with clients of each API for each model, in both lanes by turns."""
    found: dict[str, list[Tally]] = {model: [] for model in models}

    async def load_one(api: str, model: str, to: str) -> None:
        name = "hasty" if model in ("fault/stall", "fault/silent") else "on"
        run = await load(gateway.url, model=f"{name}-{to}/{model}", api=api, seconds=seconds, **plan)
        found[model].append(run.tally)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(meanwhile)
        for number, model in enumerate(models):
            for place, api in enumerate(OLDER):
                nursery.start_soon(load_one, api, model, OLDER[(place + number) % len(OLDER)])
    return found


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(PATIENCE):
        while not condition():  # noqa: ASYNC110  # of other processes
            await trio.sleep(0.01)


def check_answers(found: Mapping[str, list[Tally]], excuses: frozenset[str] = frozenset()) -> None:
    """Check that answers look complete if and only if they are; a good one may fail by one of these ``excuses``."""
    for model, tallies in found.items():
        for tally in tallies:
            if model in FAULTS:
                assert tally.counts["whole"] == 0, model
            kinds = {failure.kind.partition(":")[0] for failure in tally.failures}
            assert model in FAULTS or kinds <= excuses, (model, tally.failures)


def check_log(gateway: Gateway) -> None:
    ids = [line["request_id"] for line in exchanges(gateway.log)]
    assert len(ids) == len(set(ids)), "a request has two lines"
    assert "Traceback" not in "\n".join(gateway.log)


def own_files(gateway: Gateway, mock: Gateway) -> int:
    """Return the number of the gateway's descriptors without its pooled connections to the provider."""
    return len(os.listdir(f"/proc/{gateway.pid}/fd")) - len(peers(os.getpid(), mock.port))


@pytest.mark.soak
def test_a_load_of_clients_that_leave_and_of_faults_leaves_nothing_open(mock):
    with running(settings(mock)) as gateway:
        plan = {"concurrency": 2, "leave": Leaving(0.3, seconds=0.05)}
        trio.run(lambda: load_all(gateway, (*WELL, *FAULTS), 1, **plan))  # it opens what stays open
        files, memory = own_files(gateway, mock), resident(gateway.pid)
        found = trio.run(lambda: load_all(gateway, (*WELL, *FAULTS), SECONDS, **plan))
        check_answers(found)
        eventually(lambda: own_files(gateway, mock) <= files, what="the end of all connections")
        assert resident(gateway.pid) < memory + GROWTH
        assert sum(tally.counts["whole"] for model in WELL for tally in found[model]) > 0
    check_log(gateway)


@pytest.mark.soak
def test_a_killed_worker_only_loses_its_own_streams(mock):
    with running(settings(mock), 0, "--workers", "2") as gateway:
        held = 0

        async def kill_one() -> None:
            nonlocal held
            eventually(lambda: len(workers(gateway.pid)) == 2, what="two workers")
            victim = min(workers(gateway.pid))
            await until(lambda: len(peers(victim, gateway.port)) > 2)
            stop(victim)
            held = len(peers(victim, gateway.port))
            os.kill(victim, signal.SIGKILL)

        found = trio.run(lambda: load_all(gateway, ["fault/slow-first-byte-1"], 2 + SECONDS, kill_one, rate=10))
        check_answers(found, frozenset(LOST))
        tallies = found["fault/slow-first-byte-1"]
        assert sum(tally.counts["errors"] for tally in tallies) <= held
        assert sum(tally.counts["whole"] for tally in tallies) > 0
    check_log(gateway)


def test_a_signal_amid_a_load_leaves_nothing_open(mock):
    with running(settings(mock, drain="500ms"), 0, "--workers", "2") as gateway:
        eventually(lambda: len(workers(gateway.pid)) == 2, what="two workers")
        crew = workers(gateway.pid)

        async def stop_gateway() -> None:
            await until(lambda: len(exchanges(gateway.log)) > 2)
            gateway.stop()

        found = trio.run(lambda: load_all(gateway, (*WELL, *FAULTS), 2, stop_gateway, rate=2))
        check_answers(found, frozenset({*LOST, "status 503", "error event"}))
        eventually(gateway.has_ended, what="the exit")
        assert not [pid for pid in crew if is_running(pid)]
        eventually(lambda: peers(os.getpid(), mock.port) <= {0}, what="the end of all but the provider's listener")
    check_log(gateway)
