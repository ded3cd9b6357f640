"""Measures the cost of a request for Redis and PostgreSQL: round trips, bytes and CPU time.

The first table counts the traffic between one gateway and each server in a proxy. The second one simulates gateways
that only count, until the server is at its limit, and states the requests per second for one core of the server.
``just shared`` or ``python -m tests.shared_parts [--requests 200] [--seconds 5]``
"""

import argparse
import contextlib
import http.client
import json
import multiprocessing
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import attrs
import pytest
import trio

from gateway.counters.counter import Claim, RateCounter, SumCounter
from gateway.counters.postgres import PostgresCounters
from gateway.counters.redis import RedisCounters
from gateway.counters.remote import RemoteCounters
from tests.support import postgres, redis
from tests.support.counters import budget, claim, rate
from tests.support.harness import config, free_port, provider, running
from tests.support.upstreams import Script, fake_upstream

if TYPE_CHECKING:
    from gateway.counters.counter_store import CounterStore

KEY: Final = "tg-alice-0123456789abcdef"
SAID: Final = Script(text="It is what follows from all that was said before. " * 8)  # 400 bytes
LIMITS: Final = {"budgets": ["500 usd/month"], "ratelimits": {"requests": "100k/m"}}
TICKS: Final = os.sysconf("SC_CLK_TCK")
AT_ONCE: Final = 64

CpuSeconds: TypeAlias = Callable[[], float]
"""Returns the CPU time that a server has used."""


@attrs.define
class Counted:
    """The traffic of all connections to a server. A trip is a message of the gateway with a response."""

    sent: int = 0
    received: int = 0
    trips: int = 0

    def copy(self) -> "Counted":
        return attrs.evolve(self)


@contextlib.contextmanager
def counting_proxy(target: Path) -> Iterator[tuple[int, Counted]]:
    """Yield a TCP port that forwards to the Unix socket ``target``, and its traffic."""
    counted = Counted()
    listener = socket.create_server(("127.0.0.1", 0))
    open_sockets: list[socket.socket] = [listener]

    def pass_on(source: socket.socket, sink: socket.socket, from_gateway: bool, last: list[bool]) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if from_gateway:
                    counted.sent += len(data)
                else:
                    counted.received += len(data)
                    counted.trips += last[0]
                last[0] = from_gateway
                sink.sendall(data)
        for one in (source, sink):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.socket(socket.AF_UNIX)
                open_sockets.extend((client, server))
                server.connect(str(target))
                last = [False]
                for source, sink, from_gateway in ((client, server, True), (server, client, False)):
                    threading.Thread(target=pass_on, args=(source, sink, from_gateway, last), daemon=True).start()

    accepting = threading.Thread(target=accept, daemon=True)
    accepting.start()
    try:
        yield listener.getsockname()[1], counted
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        accepting.join()
        for one in open_sockets:
            one.close()


@attrs.frozen
class Server:
    """A running server: its socket, its URL without a proxy, and its URL through a proxy at ``{port}``."""

    name: str
    socket: Path
    direct: str
    url: str
    cpu: CpuSeconds


@contextlib.contextmanager
def servers() -> Iterator[Mapping[str, Server]]:
    bin, initdb = redis.binary(), postgres.binaries()
    if bin is None or initdb is None:
        pytest.skip(f"{redis.MISSING}; {postgres.MISSING}")
    with redis.running_redis(bin) as kv, postgres.running_server(initdb) as sql:
        assert kv.process is not None
        assert sql.process is not None
        pids = kv.process.pid, sql.process.pid
        yield {
            "redis": Server("Redis", kv.socket, kv.url, "redis://127.0.0.1:{port}/0", lambda: cpu_seconds(pids[0])),
            "postgres": Server(
                "PostgreSQL", sql.directory / ".s.PGSQL.5432", sql.url,
                "postgresql://someone@127.0.0.1:{port}/postgres?sslmode=disable", lambda: cpu_seconds(pids[1]),
            ),
        }  # fmt: skip


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process, its children and those of them that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    own = sum(map(int, fields[11:15])) / TICKS
    children = [
        int(child) for file in Path(f"/proc/{pid}/task").glob("*/children") for child in file.read_text().split()
    ]
    return own + sum(cpu_seconds(child) for child in children if Path(f"/proc/{child}").exists())


@attrs.frozen
class Part:
    """One shared part: its server, its settings with the server's URL, and the requests that use it."""

    title: str
    server: str
    settings: Callable[[str], dict[str, Any]]
    path: str = "/v1/chat/completions"
    varies: bool = True


def with_key(**more: Any) -> dict[str, Any]:
    return {"client_keys": [{"name": "alice", "key": KEY, **more}]}


def counters(type: str) -> Callable[[str], dict[str, Any]]:
    return lambda url: with_key(**LIMITS) | {"counters": {"type": type, "url": url}}


def cache(url: str) -> dict[str, Any]:
    return with_key(cache={"ttl": "1h"}) | {"cache": {"type": "redis", "url": url}}


def state(url: str, keep: str | int, **more: Any) -> dict[str, Any]:
    storage = {"type": "postgres", "connection_string": url, "ledger": {"keep": keep}}
    return with_key() | {"state_storage": storage} | more


PARTS: Final = (
    Part("a budget and a rate (`counters`)", "redis", counters("redis")),
    Part("a budget and a rate (`counters`)", "postgres", counters("postgres")),
    Part("a response that is stored in the cache", "redis", cache),
    Part("a response from the cache", "redis", cache, varies=False),
    Part("a line of the kept ledger", "postgres", lambda url: state(url, "400d")),
    Part("a stored response (`store: true`)", "postgres", lambda url: state(url, 0), "/v1/responses"),
    Part("stored keys", "postgres", lambda url: state(url, 0, stored_keys=True)),
)


@attrs.frozen
class Cost:
    """The cost of one request: round trips, bytes to the server and back, and microseconds of the server's CPU.

    Idle traffic is subtracted, and listed per process and minute.
    """

    trips: float
    sent: float
    received: float
    cpu_us: float
    idle_trips: float


def measure(part: Part, server: Server, requests: int, idle: float) -> Cost:
    with fake_upstream() as upstream, counting_proxy(server.socket) as (port, counted):
        gateway_port = free_port()
        entry = provider("openai/m", f"{upstream.url}/v1", ["chat", "responses"], price={"input": 1, "output": 2})
        settings = config([entry], gateway_port, **part.settings(server.url.format(port=port)))
        with running(settings, gateway_port):
            send(part, gateway_port, upstream, 20, "warm-up")
            time.sleep(2)  # lets the effects of the warm-up be written
            quiet = counted.copy()
            time.sleep(idle)
            before, cpu, began = counted.copy(), server.cpu(), time.monotonic()
            send(part, gateway_port, upstream, requests, "measured")
            time.sleep(2)
            took = (time.monotonic() - began) / idle
            idle_of = lambda name: (getattr(before, name) - getattr(quiet, name)) * took  # noqa: E731
            of = lambda name: (getattr(counted, name) - getattr(before, name) - idle_of(name)) / requests  # noqa: E731
            spent = (server.cpu() - cpu) / requests
    return Cost(of("trips"), of("sent"), of("received"), spent * 1e6, (before.trips - quiet.trips) * 60 / idle)


def send(part: Part, port: int, upstream: Any, number: int, word: str) -> None:
    """Send requests one after another on one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    said = "input" if part.path.endswith("responses") else "messages"
    for index in range(number):
        upstream.script(SAID)
        text = f"{word} {index}: what comes next, and why? " * 5 if part.varies else "The same again. " * 12
        prompt = text if said == "input" else [{"role": "user", "content": text}]
        body = json.dumps({"model": "m", said: prompt})
        connection.request("POST", part.path, body, {"authorization": f"Bearer {KEY}"})
        response = connection.getresponse()
        answer = response.read()
        assert response.status == 200, answer
    connection.close()


# The requests per second that a server sustains


def simulate_gateway(type: str, url: str, seconds: float, total: "multiprocessing.Queue[int]") -> None:
    """Reserve and settle for 64 simultaneous clients, as a busy gateway does, and report the number of requests."""
    done = 0

    async def one(counters: RemoteCounters, limits: tuple[SumCounter, RateCounter], until: float) -> None:
        nonlocal done
        while time.monotonic() < until:
            request: Claim = claim((limits[0], 1000), (limits[1], 1))
            if not await counters.reserve([request]):
                counters.settle(request, [700, 1])
                done += 1

    async def run() -> None:
        store: CounterStore = RedisCounters(url) if type == "redis" else PostgresCounters(url)
        counters = RemoteCounters(store, limit=5.0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(counters.run)
            async with trio.open_nursery() as clients:
                for number in range(AT_ONCE):
                    limits = budget(f"budget-{number}", 10**15), rate(f"rate-{number}", 10**6, 60.0)
                    clients.start_soon(one, counters, limits, time.monotonic() + seconds)
            await counters.finish()
            nursery.cancel_scope.cancel()

    trio.run(run)
    total.put(done)


def saturate(type: str, server: Server, gateways: int, seconds: float) -> tuple[float, float]:
    """Return the requests per second of simulated gateways, and the cores that the server used."""
    context = multiprocessing.get_context("spawn")
    total: multiprocessing.Queue[int] = context.Queue()
    processes = [
        context.Process(target=simulate_gateway, args=(type, server.direct, seconds, total)) for _ in range(gateways)
    ]  # fmt: skip
    began, cpu = time.monotonic(), server.cpu()
    for process in processes:
        process.start()
    done = sum(total.get(timeout=seconds + 60) for _ in processes)
    took, spent = time.monotonic() - began, server.cpu() - cpu
    for process in processes:
        process.join()
    return done / took, spent / done


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--gateways", type=int, nargs="+", default=[1, 2, 4])
    options = parser.parse_args()
    with servers() as found:
        print("| one request with … | server | round trips | bytes to it | bytes from it | its CPU | idle, a minute |")
        print("|---|---|---|---|---|---|---|")
        for part in PARTS:
            server = found[part.server]
            cost = measure(part, server, options.requests, options.seconds)
            print(
                f"| {part.title} | {server.name} | {cost.trips:.2f} | {cost.sent:,.0f} | {cost.received:,.0f} | "
                f"{cost.cpu_us:,.0f} µs | {cost.idle_trips:.0f} round trips |",
                flush=True,
            )
        print("\n| simulated gateways | server | requests a second | its CPU for each | of one core |")
        print("|---|---|---|---|---|")
        for type, server in found.items():
            for gateways in options.gateways:
                done, each = saturate(type, server, gateways, options.seconds)
                row = (gateways, server.name, f"{done:,.0f}", f"{each * 1e6:,.0f} µs", f"{1 / each:,.0f} a second")
                print("", *row, sep=" | ", end=" |\n", flush=True)


if __name__ == "__main__":
    main()
