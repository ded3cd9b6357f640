"""The soak: a real gateway between clients that leave, stall and pipeline and a provider that dies, stalls and errs.

    python tests/soak.py --seconds 60 --streams 200 --concurrent 1000 --kills 10

Reports the events, then checks for leftovers: file descriptors, connections to the provider and memory return to their
initial values. Each request has at most one ledger line, each answered one exactly one. No failed answer looks complete
and no good one broken. Then the load continues while workers are killed, and finally the gateway receives a SIGTERM.
"""

import argparse
import contextlib
import json
import os
import random
import resource
import signal
import socket
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import trio

sys.path.insert(0, str(Path(__file__).parents[1]))  # if run as a command

from gateway.serving.lifecycle import CUT_AFTER
from tests.support.harness import Gateway, config, free_port, provider, running
from tests.support.processes import is_running, peers, resident, stop, workers
from tests.support.traffic import GAP, MODELS, PATIENCE, PATIENT, Clients, Provider, Tally
from tests.support.upstreams import PATHS

SILENCE = 1.0  # seconds of the provider's silence that the gateway tolerates here, at least
STARTS = 125  # paced streams started per second
MEMORY = 32  # MiB by which the gateway may grow
DRAIN = 0.5
MARGIN = 4.0  # seconds that a busy machine may add to an end; the supervisor kills its workers a second later


def settings(upstream: socket.socket, port: int, silence: float = SILENCE) -> dict[str, object]:
    url = f"http://127.0.0.1:{upstream.getsockname()[1]}"
    vendors = {"chat": "openai", "messages": "anthropic"}
    entries = [provider(f"{vendors[api]}/{model}", url, [api]) for model, api in MODELS.items()]
    patience = {"idle": "60s", "first_byte": "60s"}
    entries += [provider(f"{vendors[api]}/{name}", url, [api], timeouts=patience) for name, api in PATIENT.items()]
    limits = {"idle": f"{silence:g}s", "first_byte": f"{silence:g}s"}
    return config(entries, port, timeouts=limits, drain=DRAIN)


# Resources of the gateway


def fds(gateway: Gateway) -> int:
    return len(os.listdir(f"/proc/{gateway.pid}/fd"))


def cpu(gateway: Gateway) -> float:
    """Return the CPU seconds so far."""
    fields = Path(f"/proc/{gateway.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def at_rest(gateway: Gateway) -> int:
    """Return the permanent file descriptors. The connection of the readiness check may still be closing."""
    seen = []
    for _ in range(20):
        seen.append(fds(gateway))
        await trio.sleep(0.01)
    return min(seen)


async def quiet(gateway: Gateway, provider: Provider, baseline: int) -> bool:
    """Wait until the gateway only has its initial descriptors and idle connections to the provider."""
    with trio.move_on_after(PATIENCE):
        while fds(gateway) != baseline + provider.connections:  # noqa: ASYNC110  # of another process
            await trio.sleep(0.05)
    return fds(gateway) == baseline + provider.connections


@attrs.define
class Soak:
    """A load of ``streams`` mixed clients for ``seconds``, then ``concurrent`` paced streams for ``hold`` seconds."""

    seconds: float
    streams: int
    concurrent: int
    hold: float = 5.0
    seed: int = 1
    say: Callable[[str], object] = print
    provider: Provider = attrs.field(factory=Provider)

    def run(self) -> Tally:
        """Run the soak. Raises ``AssertionError`` for leftovers and violations."""
        more_files()
        upstream = socket.create_server(("127.0.0.1", 0), backlog=4096)
        port = free_port()
        with self._stopping_at_once(), running(settings(upstream, port), port) as gateway:
            tally = trio.run(self._soak, gateway, upstream)
        self.say(check_ledger(gateway, tally))
        return tally

    @contextlib.contextmanager
    def _stopping_at_once(self) -> Iterator[None]:
        """Check that the gateway stops quickly: with tasks left, it would wait for the end of its drain."""
        yield
        took = time.monotonic() - self._over
        assert took < 3, f"with nothing in flight the gateway took {took:.1f} s to stop"

    _over: float = 0.0

    async def _soak(self, gateway: Gateway, upstream: socket.socket) -> Tally:
        clients = Clients(gateway.port, random.Random(self.seed))
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(upstream))
        baseline = await at_rest(gateway)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, self.provider.serve, [listener])
            if self.seconds:
                await self._load_mixed(gateway, clients, baseline)
            if self.concurrent:
                await self._load_streams(gateway, clients, baseline)
            nursery.cancel_scope.cancel()
        self._over = time.monotonic()
        return clients.tally

    async def _load_mixed(self, gateway: Gateway, clients: Clients, baseline: int) -> None:
        await self._crowd(clients, min(2.0, self.seconds / 2))  # creates all permanent resources
        assert await quiet(gateway, self.provider, baseline), self._describe_leaks(gateway, baseline)
        before, busy = resident(gateway.pid), cpu(gateway)
        await self._crowd(clients, self.seconds)
        calm = await quiet(gateway, self.provider, baseline)
        tally, grown = clients.tally, resident(gateway.pid) - before
        self.say(f"{len(tally.sent)} requests by {sum(tally.clients.values())} clients, {self.streams} at once")
        self.say(f"clients: {dict(tally.clients)}\nprovider: {dict(self.provider.played)}")
        self.say(f"answers: {dict(sorted(tally.answers.items()))}")
        self.say(
            f"file descriptors {baseline} -> {fds(gateway)} with {self.provider.connections} pooled connections; "
            f"memory {before:.0f} -> {before + grown:.0f} MiB; {cpu(gateway) - busy:.1f} s of CPU"
        )
        assert calm, self._describe_leaks(gateway, baseline)
        assert grown < MEMORY, f"the gateway has grown by {grown:.0f} MiB"

    def _describe_leaks(self, gateway: Gateway, baseline: int) -> str:
        pooled = self.provider.connections
        return f"{fds(gateway)} file descriptors, {baseline} at first, and {pooled} connections to the provider"

    async def _crowd(self, clients: Clients, seconds: float) -> None:
        until = trio.current_time() + seconds
        async with trio.open_nursery() as nursery:
            for _ in range(self.streams):
                nursery.start_soon(clients.run_clients, until)

    async def _load_streams(self, gateway: Gateway, clients: Clients, baseline: int) -> None:
        events = self.provider.events = round((self.hold + self.concurrent / STARTS) / GAP)
        before, busy, most = resident(gateway.pid), cpu(gateway), 0.0

        async def watch() -> None:
            nonlocal most
            while True:
                most = max(most, resident(gateway.pid))
                await trio.sleep(0.25)

        async with trio.open_nursery() as watching:
            watching.start_soon(watch)
            async with trio.open_nursery() as nursery:
                for n in range(self.concurrent):
                    nursery.start_soon(clients.read_slowly, list(PATHS)[n % 3], list(MODELS)[n % 2], events)
                    await trio.sleep(1 / STARTS)
            watching.cancel_scope.cancel()
        late = sorted(clients.tally.late)
        self.say(
            f"{self.concurrent} paced streams, {len(late)} events: late by {1000 * statistics.median(late):.1f} ms in "
            f"the median, {1000 * late[int(0.99 * len(late))]:.1f} at p99, {1000 * late[-1]:.1f} at most; "
            f"{1024 * (most - before) / self.concurrent:.0f} KiB a stream, "
            f"{1e6 * (cpu(gateway) - busy) / len(late):.0f} µs of CPU an event"
        )
        assert await quiet(gateway, self.provider, baseline), self._describe_leaks(gateway, baseline)


@attrs.define
class Signals:
    """A load of ``streams`` mixed clients while one of the ``workers`` is killed, ``kills`` times.

    Then one SIGTERM, with clients that do not read and providers that stall.
    """

    workers: int
    streams: int
    kills: int = 0
    pause: float = 1.0  # seconds of work before a kill, and before the end
    seed: int = 1
    say: Callable[[str], object] = print
    provider: Provider = attrs.field(factory=Provider)
    _killed: set[int] = attrs.field(factory=set, init=False)
    _crew: set[int] = attrs.field(factory=set, init=False)  # at the end
    _dice: random.Random = attrs.field(init=False, default=attrs.Factory(lambda self: random.Random(self.seed), True))

    def run(self) -> Tally:
        """Run the test. Raises ``AssertionError`` for leftovers and violations."""
        more_files()
        upstream = socket.create_server(("127.0.0.1", 0), backlog=4096)
        port = free_port()
        # Starting processes use CPU, so the provider in this one may send later than its stalls last.
        with running(settings(upstream, port, 5 * SILENCE), port, "--workers", str(self.workers)) as gateway:
            try:
                tally = trio.run(self._soak, gateway, upstream)
                left = [pid for pid in self._crew if is_running(pid)]
                assert not left, f"the gateway has ended, its workers {left} have not"
            finally:  # survivors would keep the log open, and its reader waiting
                for pid in filter(is_running, self._crew | workers(gateway.pid)):
                    os.kill(pid, signal.SIGKILL)
        self.say(check_ledger(gateway, tally))
        assert sum("ended with status -9" in line for line in gateway.log) == self.kills
        return tally

    async def _soak(self, gateway: Gateway, upstream: socket.socket) -> Tally:
        clients = Clients(gateway.port, self._dice)
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(upstream))
        async with trio.open_nursery() as serving:
            serving.start_soon(trio.serve_listeners, self.provider.serve, [listener])
            async with trio.open_nursery() as nursery:
                for _ in range(self.streams):
                    nursery.start_soon(clients.run_clients, float("inf"))
                for _ in range(self.kills):
                    await self._work(gateway)
                    self._kill_one(gateway, clients)
                await self._work(gateway)
                await self._end(gateway, clients, nursery)
            with trio.move_on_after(PATIENCE):
                while self.provider.connections:  # noqa: ASYNC110  # of another process
                    await trio.sleep(0.02)
            assert not self.provider.connections, f"{self.provider.connections} connections to the provider are open"
            serving.cancel_scope.cancel()
        tally = clients.tally
        self.say(f"clients: {dict(tally.clients)}\nanswers: {dict(sorted(tally.answers.items()))}")
        return tally

    async def _work(self, gateway: Gateway) -> None:
        """Wait until every worker has clients, and for the pause."""
        with trio.fail_after(PATIENCE):
            while not all(self._at_work(gateway)):  # noqa: ASYNC110  # of other processes
                await trio.sleep(0.05)
        await trio.sleep(self.pause)

    def _at_work(self, gateway: Gateway) -> list[bool]:
        """Return, for each worker, whether it has clients."""
        alive = crew(gateway) - self._killed
        return [bool(peers(pid, gateway.port)) for pid in alive] + [False] * (self.workers - len(alive))

    def _kill_one(self, gateway: Gateway, clients: Clients) -> None:
        victim = self._dice.choice(sorted(crew(gateway)))
        at = time.monotonic()
        stop(victim)
        clients.tally.kills.append((at, peers(victim, gateway.port)))
        os.kill(victim, signal.SIGKILL)
        self._killed.add(victim)

    async def _end(self, gateway: Gateway, clients: Clients, nursery: trio.Nursery) -> None:
        """Send SIGTERM while clients wait or do not read, and wait for the end of the gateway."""
        over = await self._gather(clients, nursery)
        self._crew |= crew(gateway)
        clients.stopping = True
        begun = time.monotonic()
        os.kill(gateway.pid, signal.SIGTERM)
        limit = DRAIN + CUT_AFTER + MARGIN
        while is_running(gateway.pid):
            assert time.monotonic() - begun < limit, f"the gateway is still there after {limit} s"
            await trio.sleep(0.02)
        took = time.monotonic() - begun
        over.set()
        self.say(
            f"{self.kills} kills among {self.workers} worker(s); the end came {took:.2f} s after SIGTERM, "
            f"with a drain of {DRAIN} s and {CUT_AFTER} s for those who do not read"
        )

    async def _gather(self, clients: Clients, nursery: trio.Nursery) -> trio.Event:
        """Start clients that must be interrupted, and wait until their requests are at the provider.

        They end with the event.
        """
        over, count = trio.Event(), 0
        for api in PATHS:
            for model in PATIENT:
                for act, streamed in (("wait", True), ("wait", False), ("wait-early", True)):
                    nursery.start_soon(clients.waiting, act, api, model, streamed)
                nursery.start_soon(clients.stall_answer, api, model, over)
                count += 4
        with trio.fail_after(PATIENCE):
            while sum(self.provider.played[act] for act in ("wait", "wait-early", "flood")) < count:  # noqa: ASYNC110
                await trio.sleep(0.02)
        return over


def crew(gateway: Gateway) -> set[int]:
    """Return the serving processes."""
    return workers(gateway.pid) or {gateway.pid}


def check_ledger(gateway: Gateway, tally: Tally) -> str:
    """Check the ledger after the gateway has ended, and return a summary."""
    lines = Counter(json.loads(line)["request_id"] for line in gateway.log if line.startswith('{"event":"exchange"'))
    twice = [name for name, count in lines.items() if count > 1]
    without = [name for name in {*tally.answered, *tally.stalled} - lines.keys() if not tally.was_lost(name)]
    assert not twice, f"more than one line for {twice[:5]}"
    assert not without, f"no line for {sorted(without)[:5]}"
    assert not tally.wrong, "\n".join(tally.wrong[:10])
    assert "Traceback" not in "\n".join(gateway.log)
    return f"ledger: {sum(lines.values())} lines for {len(tally.sent)} requests, {len(tally.answered)} answered"


def more_files() -> None:
    """Raise the limit of open files, which the gateway inherits."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60, help="of mixed streams (60)")
    parser.add_argument("--streams", type=int, default=200, help="mixed clients at once (200)")
    parser.add_argument("--concurrent", type=int, default=0, help="paced streams afterwards (0)")
    parser.add_argument("--kills", type=int, default=0, help="of workers, by SIGKILL, afterwards (0)")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    Soak(asked.seconds, asked.streams, asked.concurrent, seed=asked.seed).run()
    Signals(1, asked.streams, seed=asked.seed).run()
    Signals(2, asked.streams, asked.kills, seed=asked.seed).run()
    print("nothing is left")


if __name__ == "__main__":
    main()
