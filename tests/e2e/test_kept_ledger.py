"""The kept ledger of real processes: each exchange once, its cost as in the log, whatever ended it."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import trio

from gateway.kept_ledger.table import SQLITE, LedgerSum, LedgerTable
from gateway.stores.sqlite import SqliteDatabase
from tests.support.harness import Gateway, config, free_port, provider, running
from tests.support.upstreams import Raw, Script, Seen, Tokens, Upstream, served

BROKEN = Raw(500, (("content-type", "application/json"),), (b'{"error": {"message": "broken"}}',))


class Provider(Upstream):
    """Fails every third request; each answer has tokens of its own."""

    def take(self, seen: Seen) -> Script | Raw:
        self.seen.append(seen)
        number = len(self.seen)
        return BROKEN if number % 3 == 0 else Script("Hello", tokens=Tokens(prompt=100 + number, output=number))


@pytest.fixture
def upstream() -> Iterator[Provider]:
    with served(Provider) as running:
        yield running


def ask(gateway: Gateway, number: int) -> int:
    body: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]}
    return gateway.request("POST", "/v1/chat/completions", {**body, "stream": number % 2 == 0}).status


def settings(file: Any, upstream: Provider, port: int) -> dict[str, Any]:
    storage = {"type": "sqlite", "path": str(file)}
    return config([provider("openai/gpt-4o-mini", upstream.url, ["chat"])], port, state_storage=storage)


def kept(file: Any) -> LedgerSum:
    async def read() -> LedgerSum:
        table = LedgerTable(SqliteDatabase(file), SQLITE)
        ((found,),) = await table.sums((), [(0, 2**62)])
        await table.aclose()
        return found

    return trio.run(read)


def nanos_in_the_log(log: list[str]) -> list[int]:
    lines = (json.loads(line) for line in log if '"event":"exchange"' in line)
    return [round(line.get("cost_usd", 0) * 10**9) for line in lines]


@pytest.mark.parametrize("arguments", [(), ("--workers", "2")], ids=["one process", "two workers"])
def test_a_process_that_is_stopped_has_kept_each_exchange_once(tmp_path, upstream, arguments):
    """A ledger that has 14 of 50: BerriAI/litellm#27639."""
    port, file = free_port(), tmp_path / "state.sqlite"
    with running(settings(file, upstream, port), port, *arguments) as gateway:
        with ThreadPoolExecutor(8) as clients:
            statuses = list(clients.map(lambda number: ask(gateway, number), range(40)))
        log = gateway.log
    costs = nanos_in_the_log(log)
    found = kept(file)
    assert len(costs) == found.requests == 40
    assert found.failed == sum(status >= 500 for status in statuses) > 0
    assert found.nanos == sum(costs) > 0
