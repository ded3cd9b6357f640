"""Limits and budgets in the live view: those that a viewer may see, those first of which most is used."""

from gateway.allowances.allowances import Allowances
from gateway.config.loading import from_mapping
from gateway.counters.counter import Claim, Debit
from gateway.endpoints.health import limit_fields, limits_seen

CONFIG = {
    "version": "v0.3.0",
    "model_providers": [{"model": "openai/gpt-4o", "access_key": "x", "name": "small", "budgets": ["50 usd/day"]}],
    "client_groups": [{"name": "team", "budgets": ["100 usd/month", "5 usd/run"]}],
    "client_keys": [
        {"name": "alice", "key": "alices-key-0123456789", "group": "team", "budgets": ["2k tokens/day"]},
        {"name": "ben", "key": "bens-key-0123456789xyz", "budgets": ["10 usd/day"]},
    ],
}


async def spend(allowances: Allowances, client: str, used: int, held: int) -> None:
    one = allowances.of_client(client)[0]
    counter = one.counter(allowances.now(), None)
    assert counter is not None
    for amount in (used, held):
        claim = Claim(f"{client}{amount}", (Debit(counter, amount),))
        assert not await allowances.counters.reserve([claim])
        if amount == used:
            allowances.counters.settle(claim, [used])


async def test_all_are_told_to_who_may_see_all_and_their_own_to_clients():
    """Who saw a tenth of the bill learned of it from the provider (managoat/fountain#1038)."""
    allowances = Allowances(from_mapping(CONFIG))
    await spend(allowances, "alice", 1200, 400)
    everything = await limits_seen(allowances, None)
    assert limit_fields(everything[0]) == {
        "holder": "client_keys.alice", "limit": "budgets", "text": "2k tokens/day", "measure": "tokens", "used": 1200,
        "held": 400, "most": 2000,
    }  # fmt: skip
    assert sorted(str(one.holder) for one in everything) == [
        "client_groups.team", "client_keys.alice", "client_keys.ben", "model_providers.small",
    ]  # fmt: skip
    own = await limits_seen(allowances, "alice")
    assert [str(one.holder) for one in own] == ["client_keys.alice", "client_groups.team"]
    assert await limits_seen(allowances, "nobody") == []
