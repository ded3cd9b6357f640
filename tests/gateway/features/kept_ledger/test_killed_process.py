"""The kept ledger of real processes: it has each exchange once, with the cost in the log, however a process ended."""

import json
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trio

from gateway.features.kept_ledger.table import LedgerSum, LedgerTable
from gateway.stores.sqlite import SqliteDatabase
from tests.support.command_line import invoke
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import Gateway, config, eventually, exchanges, free_port, provider, running
from tests.support.upstreams import JSON, Raw, Script, Seen, Tokens, Upstream, serve_upstream

BROKEN = Raw(500, JSON, (b'{"error": {"message": "broken"}}',))


BEN = "b" * 32
ASKED: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]}
KEY = {"authorization": "Bearer " + "k" * 32}


class Provider(Upstream):
    """A provider that fails every third request; the number of tokens differs for each answer."""

    def take(self, seen: Seen) -> Script | Raw:
        self.seen.append(seen)
        number = len(self.seen)
        return BROKEN if number % 3 == 0 else Script("Hello", tokens=Tokens(prompt=100 + number, output=number))


@pytest.fixture
def upstream() -> Iterator[Provider]:
    with serve_upstream(Provider) as running:
        yield running


def ask(gateway: Gateway, number: int, **more: Any) -> int:
    body = {**ASKED, "stream": number % 2 == 0, **more}
    return gateway.request("POST", "/v1/chat/completions", body, KEY).status


def settings(file: Any, upstream: Provider, port: int) -> dict[str, Any]:
    storage = {"type": "sqlite", "path": str(file)}
    return config([provider("openai/gpt-4o-mini", upstream.url, ["chat"])], port, state_storage=storage)


def sums(file: Any, *by: Any) -> list[LedgerSum]:
    async def read() -> list[LedgerSum]:
        table = LedgerTable(SqliteDatabase(file))
        (found,) = await table.sums(by, [(0, 2**62)])
        await table.database.aclose()
        return found

    return trio.run(read)


def nanos_in_the_log(log: list[str]) -> list[int]:
    return [round(line.get("cost_usd", 0) * 10**9) for line in exchanges(log)]


def tokens_in_the_log(log: list[str]) -> int:
    return sum(line.get("input_tokens", 0) + line.get("output_tokens", 0) for line in exchanges(log))


def refusal(gateway: Gateway) -> str:
    """Return the error message for a request with a long answer: it includes the used amount."""
    reply = gateway.request("POST", "/v1/chat/completions", {**ASKED, "max_tokens": 4096}, KEY)
    assert reply.status == 402, reply.body
    return str(reply.json["error"]["message"])


def send_requests(gateway: Gateway) -> list[int]:
    """Send forty requests, wait until all have a line in the log, and return their statuses."""
    with ThreadPoolExecutor(8) as clients:
        statuses = list(clients.map(lambda number: ask(gateway, number, max_tokens=20), range(40)))
    eventually(lambda: len(exchanges(gateway.log)) == 40, what="a line for each request")
    return statuses


@pytest.mark.process
def test_workers_that_are_stopped_have_kept_each_exchange_once(tmp_path, upstream):
    """A ledger that had 14 of 50 requests: BerriAI/litellm#27639."""
    port, file = free_port(), tmp_path / "state.sqlite"
    with running(settings(file, upstream, port), port, "--workers", "2") as gateway:
        statuses = send_requests(gateway)
    (found,) = sums(file)
    assert found.requests == 40
    assert found.failed == sum(status >= 500 for status in statuses) > 0
    assert found.nanos == sum(nanos_in_the_log(gateway.log)) > 0


def test_a_budget_keeps_its_spent_amount_after_a_restart(tmp_path, upstream):
    """A restart that restored old counters: BerriAI/litellm#30684."""
    port, file = free_port(), tmp_path / "state.sqlite"
    given = settings(file, upstream, port)
    given["client_keys"] = [
        {"name": "alice", "key": "k" * 32, "budgets": ["6000 tokens/day", "9 usd/month"]}, {"name": "ben", "key": BEN},
    ]  # fmt: skip
    with gateway_thread(given, port) as gateway:
        send_requests(gateway)
        spent = tokens_in_the_log(gateway.log)
        before = refusal(gateway)
    assert f"{spent:,} tokens of 6,000 tokens used" in before
    with gateway_thread(given, port) as gateway:
        assert refusal(gateway) == before
        assert 200 in [ask(gateway, number, max_tokens=20) for number in range(2)]
        assert refusal(gateway) != before
        headers = {"authorization": f"Bearer {BEN}", "x-trigate-run": "nightly"}
        assert gateway.request("POST", "/v1/chat/completions", ASKED, headers).status in (200, 500)
    assert [one.by for one in sums(file, "run") if one.by[0]] == [("ben/nightly",)], "runs are known without a budget"


HOUR = timedelta(hours=1)


def lose_lines(file: Path, log: list[str], silent: int) -> list[str]:
    """Make the ledger in ``file`` that of a process which was killed an hour ago before it stored its last lines, and
    which could store nothing in the ``silent`` seconds before its first request.

    Return the lines of its ``log``, as a container's log has them, and one of a process that is still running."""
    running_line = next(text for text in log if text.startswith('{"event":"exchange"')).replace("req_", "req_new_")
    shifted = [running_line.replace(json.loads(running_line)["at"], f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}")]
    for line in (json.loads(text) for text in log if text.startswith("{")):
        line["at"] = (datetime.fromisoformat(line["at"]) - HOUR).isoformat().replace("+00:00", "Z")
        shifted.append(f"2026-11-29T00:00:00 stderr F {json.dumps(line, separators=(',', ':'))}")
    with closing(sqlite3.connect(file)) as database, database:
        for table in ("ledger", "ledger_ids"):
            database.execute(f"UPDATE {table} SET began = began - ?", (int(HOUR.total_seconds() * 1e6),))
        (first,) = database.execute("SELECT MIN(began) FROM ledger").fetchone()
        database.execute("DELETE FROM ledger WHERE line % 3 = 0")
        columns = "began, line, attempt, request, ended, status, estimated, delivered, last, level"
        zeros = "0, 0, '', 'mark', 0, 0, 0"
        database.execute(
            f"INSERT INTO ledger ({columns}, input, cache_read, cache_write, output, nanos)"
            f" VALUES (?, {zeros}, ?, 4, 0, 0, 0, 0, 0)",
            (first - silent * 10**6, first - silent * 10**6),
        )
    start = datetime.fromtimestamp(first / 1e6 - silent - 1, UTC).isoformat()
    return [json.dumps({"event": "log", "at": start, "message": "it serves"}, separators=(",", ":")), *shifted]


@pytest.mark.parametrize("silent", [10, 1200])
def test_lines_that_a_killed_process_has_only_logged_are_added_once(tmp_path, upstream, silent):
    """After an outage of the database for more than a minute, the command closed the gap without the later lines."""
    port, file = free_port(), tmp_path / "state.sqlite"
    given = settings(file, upstream, port)
    with gateway_thread(given, port) as gateway:
        send_requests(gateway)
        log = list(gateway.log)
    (before,) = sums(file)
    by_target = sums(file, "target")
    lines = lose_lines(file, log, silent)
    (lost,) = sums(file)
    assert lost.requests < before.requests == 40
    (tmp_path / "trigate.yaml").write_text(json.dumps(given))
    logs = {"late": lines[1:], "whole": lines, "again": lines}
    for name, texts in logs.items():
        (tmp_path / f"{name}.log").write_text("\n".join(texts))
    for name, code, words in (
        ("none", 1, "No such file"), ("late", 3, "the gap stays"), ("whole", 0, "added 0 requests"),
        ("again", 0, "no gaps"),
    ):  # fmt: skip
        assert ("≥" in invoke("costs", cwd=tmp_path).stdout) is (name != "again")
        added = invoke("ledger", "add", f"{name}.log", cwd=tmp_path)
        assert (added.returncode, words in added.stderr) == (code, True), added.stderr
    (after,) = sums(file)
    assert (after.requests, after.failed, after.usage, after.nanos) == (
        before.requests, before.failed, before.usage, before.nanos,
    )  # fmt: skip
    assert {one.by: one.nanos for one in sums(file, "target")} == {one.by: one.nanos for one in by_target}
