"""Gateways whose clocks differ: periods follow the clock of the store that counts, so no limit has two periods."""

import time

import pytest

from gateway.allowances.allowances import Allowances
from gateway.config_files.loading import from_mapping
from gateway.counters.counter import SumCounter
from gateway.counters.memory import LocalCounters
from gateway.counters.redis import RedisCounters
from gateway.counters.remote import RemoteCounters
from tests.support import redis
from tests.support.counters import claim
from tests.support.harness import START_SECONDS

HOURS = (-30, -3, 0, 3, 30)
MOST = 100

pytestmark = [pytest.mark.server, *redis.LEFT_OPEN]


@pytest.fixture
def kind(request):
    """Return the kind of the store of ``store``."""
    return request.param


def settings(*budgets):
    """Return a configuration whose client has ``budgets``."""
    return from_mapping({
        "version": "v0.4.0",
        "model_providers": [{"model": "openai/gpt-4o", "access_key": "k"}],
        "client_keys": [{"name": "alice", "key": "key-of-alice-0123456789", "budgets": list(budgets)}],
    })  # fmt: skip


async def spend(allowances, amount):
    """Spend ``amount`` of all budgets of the client, and return whether they allow it."""
    found = [one.counter(allowances.now(), None) for one in allowances.of_client("alice")]
    assert all(isinstance(one, SumCounter) for one in found)
    taken = claim(*((one, amount) for one in found))
    if await allowances.counters.reserve([taken]):
        return False
    allowances.counters.settle(taken, [amount] * len(found))
    return True


@pytest.mark.parametrize("period", ["hour", "day", "1h"])
@pytest.mark.parametrize("kind", ["redis", "postgres"], indirect=True)
async def test_gateways_with_other_clocks_spend_one_budget(store, nursery, period):
    config, spent = settings(f"{MOST} tokens/{period}"), 0
    for hours in HOURS:
        counters = RemoteCounters(store, limit=START_SECONDS, wall=lambda hours=hours: time.time() + hours * 3600.0)
        nursery.start_soon(counters.run)
        allowances = Allowances(config, counters)
        assert not await counters.reserve([claim()]), "it has joined"
        for _ in range(MOST // 10):
            spent += 10 * await spend(allowances, 10)
        await counters.finish()
        assert spent <= MOST, hours
    assert spent == MOST


def test_counters_of_a_process_use_its_clock():
    assert Allowances(settings("1 usd/day"), LocalCounters(now=lambda: 1e9)).now() == 1e9


@pytest.mark.parametrize("kind", ["redis"], indirect=True)
async def test_a_started_gateway_has_the_time_of_the_store(store, nursery):
    counters = RemoteCounters(store, wall=lambda: 1e9)
    nursery.start_soon(counters.run)
    await counters.read_clock()
    assert abs(counters.now() - time.time()) < 60
    await counters.finish()


async def test_a_gateway_without_its_store_starts_by_its_own_clock(nursery):
    counters = RemoteCounters(RedisCounters("redis://127.0.0.1:9"), wall=lambda: 1e9)
    nursery.start_soon(counters.run)
    await counters.read_clock()
    assert counters.is_away
    assert abs(counters.now() - 1e9) < 60
    nursery.cancel_scope.cancel()
