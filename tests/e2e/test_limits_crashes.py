"""Tests that kill processes during requests: budgets must agree with the ledger's lines, and all slots become free.

A request that is open when its process is killed leaves no line and no debit, although its provider may bill it. An
ended request leaves both, except between the two. Workers debit their shared memory first, so a kill in between leaves
one debit without a line, and the budget errs on the safe side. A store over a connection gets the debit after the line,
so its debits may be missing, but never exceed the lines. So each test kills once while no request ends, when both are
exactly equal, and once while requests end.
"""

import os
import signal
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from http.client import HTTPException
from pathlib import Path
from typing import Any

import attrs
import pytest
import yaml

from tests.support import redis
from tests.support.command_line import running_command
from tests.support.features import needs_feature
from tests.support.harness import (
    PATIENCE,
    Gateway,
    config,
    eventually,
    exchanges,
    free_port,
    provider,
    request,
    running,
)
from tests.support.metrics_page import numbers
from tests.support.processes import peers, workers
from tests.support.upstreams import Raw, Script, Seen, Tokens, Upstream, render, serve_upstream

pytestmark = [
    pytest.mark.process,
    pytest.mark.soak,
    pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="children are found in Linux's /proc"),
]

KEY = "sk-alice-0123456789abcdef"
BEARER = {"authorization": f"Bearer {KEY}"}
PRICE = {"input": 1.23, "output": 9.87}
AT_ONCE = 64
DOLLAR, TOKENS = 10**9, 10**6
OPEN = 6
"""The number of open streams when a process is killed."""
LEASE = 31
"""Seconds after which a silent gateway counts as dead, plus one."""


@attrs.frozen
class Spent:
    """A cost in nano-dollars and tokens."""

    nanos: int
    tokens: int

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(self.nanos + other.nanos, self.tokens + other.tokens)

    def __le__(self, other: "Spent") -> bool:
        return self.nanos <= other.nanos and self.tokens <= other.tokens


class Metered(Upstream):
    """A provider whose answers have different token counts. The end of each slow answer waits for ``go``, and
    ``waiting`` has one item for each."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.go = threading.Event()
        self.waiting: list[int] = []
        self._one_by_one = threading.Lock()

    def take(self, seen: Seen) -> Raw:
        with self._one_by_one:
            self.seen.append(seen)
            number = len(self.seen)
        script = Script("Hello there", tokens=Tokens(prompt=100 + number, output=number))
        raw = render(script, "chat", seen.json)
        is_slow = seen.json["messages"][0]["content"] == "slow"
        return attrs.evolve(raw, pieces=Slow(raw.pieces, self)) if is_slow else raw

    def dearest(self) -> Spent:
        """Return the cost of the last answer: no answer before it cost more."""
        number = len(self.seen)
        return Spent((100 + number) * 1230 + number * 9870, 100 + 2 * number)


class Slow(tuple[bytes, ...]):
    """The pieces of a stream; the last ones wait for the event ``go`` of ``upstream``."""

    upstream: Metered

    def __new__(cls, pieces: tuple[bytes, ...], upstream: Metered) -> "Slow":
        made = super().__new__(cls, pieces)
        made.upstream = upstream
        return made

    def __iter__(self) -> Iterator[bytes]:
        pieces = list(super().__iter__())
        yield from pieces[:2]
        self.upstream.waiting.append(1)
        self.upstream.go.wait(2 * PATIENCE)
        yield from pieces[2:]


@pytest.fixture
def upstream() -> Iterator[Metered]:
    with serve_upstream(Metered) as metered:
        yield metered
        metered.go.set()


def settings(upstream: Upstream, port: int = 0, **more: Any) -> dict[str, Any]:
    budgets = [f"{DOLLAR // 10**9} usd/month", f"{TOKENS} tokens/month"]
    alice = {"name": "alice", "key": KEY, "ratelimits": {"concurrent": AT_ONCE}, "budgets": budgets}
    entry = provider("openai/gpt-4o", upstream.url, ["chat"], price=PRICE)
    return config([entry], port, client_keys=[alice], **more)


@attrs.frozen
class Client:
    """A client that sends each request on a new connection, and tolerates that connections break."""

    upstream: Metered
    threads: ThreadPoolExecutor

    def ask(self, url: str, id: str, text: str = "hello", *, stream: bool = False) -> int:
        """Send a request, and return the status of its answer, or 0 if the answer is missing or incomplete."""
        body = {"model": "gpt-4o", "messages": [{"role": "user", "content": text}], "max_tokens": 100, "stream": stream}
        try:
            reply = request(url, "POST", "/v1/chat/completions", body, {**BEARER, "x-request-id": id})
        except (OSError, HTTPException):
            return 0
        return 0 if reply.cut else reply.status

    def ask_often(self, urls: list[str], number: int, name: str) -> "list[Future[int]]":
        """Send ``number`` requests; every second one requests a stream."""
        return [
            self.threads.submit(self.ask, urls[one % len(urls)], f"{name}-{one}", stream=one // len(urls) % 2 == 0)
            for one in range(number)
        ]

    def open(self, urls: list[str], name: str) -> "list[Future[int]]":
        """Start streams that do not end before the test sets the provider's ``go``."""
        self.upstream.go.clear()
        self.upstream.waiting.clear()
        opened = [
            self.threads.submit(self.ask, urls[one % len(urls)], f"{name}-{one}", "slow", stream=True)
            for one in range(OPEN)
        ]
        eventually(lambda: len(self.upstream.waiting) == OPEN, what="that all are answered")
        return opened

    def kill_amid(self, asked: "list[Future[int]]", pid: Callable[[], int]) -> None:
        eventually(lambda: sum(one.done() for one in asked) >= 5, what="that some have ended")
        os.kill(pid(), signal.SIGKILL)


@pytest.fixture
def client(upstream) -> Iterator[Client]:
    with ThreadPoolExecutor(24) as threads:
        yield Client(upstream, threads)
        upstream.go.set()


def lines(log: list[str]) -> dict[str, Spent]:
    """Return the cost of each exchange in the log."""
    asked = [one for one in exchanges(log) if one.get("model") == "gpt-4o"]
    made = {one["request_id"]: _line_cost(one) for one in asked}
    assert len(made) == len(asked), "each has one line"
    return made


def _line_cost(line: Mapping[str, Any]) -> Spent:
    return Spent(round(line.get("cost_usd", 0) * DOLLAR), line.get("input_tokens", 0) + line.get("output_tokens", 0))


def total(lines: Mapping[str, Spent]) -> Spent:
    return sum(lines.values(), Spent(0, 0))


@attrs.frozen
class Standing:
    """A client's allowances as the gateway reports them: the used and the reserved part of its budgets, and the number
    of its running requests."""

    used: Spent
    held: Spent
    at_once: int


def standing(gateway: Gateway) -> Standing:
    page = numbers(gateway, **BEARER)

    def of(name: str) -> Spent:
        dollars, tokens = (page(name, holder="alice", budget=f"{one}/month") for one in ("1 usd", "1000000 tokens"))
        return Spent(round(dollars * DOLLAR), round(tokens * TOKENS))

    at_once = round(page("trigate_limit_used_ratio", holder="alice", limit="concurrent") * AT_ONCE)
    return Standing(of("trigate_budget_used_ratio"), of("trigate_budget_held_ratio"), at_once)


def busiest(gateway: Gateway) -> int:
    """Return the worker with the most open requests."""
    return max(workers(gateway.pid), key=lambda pid: len(peers(pid, gateway.port)))


def ledger_costs(file: Path) -> dict[str, Spent]:
    """Return the cost of each exchange in the kept ledger."""
    found = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
    try:
        rows = found.execute(
            "SELECT request, sum(nanos), sum(input + output) FROM ledger WHERE level IS NULL GROUP BY request"
        )
        return {request: Spent(nanos, tokens) for request, nanos, tokens in rows}
    finally:
        found.close()


NOTHING = Spent(0, 0)


@needs_feature("metrics")
def test_killed_workers_keep_their_spending_and_free_their_reservations(upstream, client, tmp_path):
    """Slots stayed occupied, and spending was in no sum (BerriAI/litellm#20256, #27639)."""
    port, file = free_port(), tmp_path / "state.sqlite"
    given = settings(upstream, port, state_storage={"type": "sqlite", "path": str(file)})
    with running(given, port, "--workers", "2") as gateway:
        first = client.ask_often([gateway.url], 12, "first")
        assert {one.result() for one in first} == {200}
        opened = client.open([gateway.url], "open")
        eventually(lambda: len(ledger_costs(file)) == 12, what="that all which has ended is kept")
        before = eventually(lambda: now if (now := standing(gateway)).used == total(lines(gateway.log)) else None)
        assert before.at_once == OPEN
        assert before.held.tokens >= OPEN * 100

        os.kill(victim := busiest(gateway), signal.SIGKILL)
        eventually(lambda: len(workers(gateway.pid) - {victim}) == 2, what="another worker")
        eventually(
            lambda: (broken := sum(one.done() for one in opened)) > 0 and standing(gateway).at_once == OPEN - broken,
            what="that what it held is back",
        )
        assert standing(gateway).used == before.used == total(lines(gateway.log))

        amid = client.ask_often([gateway.url], 24, "amid")
        client.kill_amid(amid, lambda: busiest(gateway))
        upstream.go.set()
        assert {one.result() for one in (*opened, *amid)} <= {0, 200}
        eventually(lambda: (now := standing(gateway)).at_once == 0 and now.held == NOTHING, what="that nothing is held")
        used = standing(gateway).used
    written = lines(gateway.log)
    assert total(written) <= used, "a debit comes before its line"
    assert used <= total(written) + upstream.dearest(), "of one exchange at most"
    found = ledger_costs(file)
    assert found.items() <= written.items()
    lost = {id.partition("-")[0] for id in written.keys() - found.keys()}
    assert lost <= {"open", "amid"}, "but for the last second of the one that was killed"


@needs_feature("metrics")
def test_a_killed_gateway_keeps_its_spending_and_frees_its_reservations(upstream, client, tmp_path):
    """Budgets counted spending that never happened, and two replicas allowed twice the cap (BerriAI/litellm#27639,
    #39390)."""
    ports, file = (free_port(), free_port()), tmp_path / "other.yaml"
    with redis.server_or_skip() as server:
        one, other = (
            settings(upstream, port, counters={"type": "redis", "url": server.url}, listener={"address": "127.0.0.1"})
            for port in ports
        )
        file.write_text(yaml.safe_dump(other))
        with running(one, ports[0]) as gateway, running_command("serve", str(file)) as dying:
            urls = [gateway.url, dying.url]
            first = client.ask_often(urls, 12, "first")
            assert {one.result() for one in first} == {200}

            def all_lines() -> dict[str, Spent]:
                return lines([*gateway.log, *dying.log])

            def latest() -> Standing:
                """Return the gateway's standing after a request made it query the store."""
                assert client.ask(gateway.url, f"seen-{len(upstream.seen)}") == 200
                return standing(gateway)

            opened = client.open(urls, "open")
            eventually(
                lambda: (now := latest()).at_once == OPEN and now.used == total(all_lines()), what="that both are equal"
            )
            known = all_lines()
            amid = client.ask_often(urls, 24, "amid")
            client.kill_amid(amid, lambda: dying.process.pid)
            answers = [one.result() for one in amid]
            assert {one.result() for one in opened[1::2]} == {0}
            assert answers.count(200) >= 12, "the other one is well"
            assert latest().at_once >= OPEN, "it may yet be alive"
            made_older = f"""
                for _, name in ipairs(redis.call('ZRANGE', '{{trigate}}:alive', 0, -1)) do
                    redis.call('ZINCRBY', '{{trigate}}:alive', -{LEASE}, name)
                end
            """
            server.say("EVAL", made_older, "0")
            eventually(lambda: latest().at_once == OPEN // 2, what="that what the dead one held is back")
            upstream.go.set()
            assert {one.result() for one in opened[::2]} == {200}
            eventually(lambda: (now := latest()).at_once == 0 and now.held == NOTHING, what="that nothing is held")
            used = standing(gateway).used
    written, of_the_dead = all_lines(), lines(dying.log)
    untold = total({id: spent for id, spent in of_the_dead.items() if id not in known})
    assert used <= total(written), "a line comes before its debit"
    assert total(written) <= used + untold, "but for what the dead one had not sent"
