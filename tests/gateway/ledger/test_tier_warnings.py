"""A warning for a service tier without a price: the response states the tier that was billed (openai-python 3.54,
``service_tier``)."""

import pytest

from gateway.ledger.bill import AttemptRecord, Bill
from gateway.ledger.ledger import LONGEST_TIER, MOST_TIERS, Ledger
from gateway.ledger.record import Record
from providers.catalog.prices import FREE, Price
from streams.events import Usage

PRICE = Price(input=1000, output=2000, tiers=(("fast", Price(input=2000, output=4000)),))


def settle(ledger: Ledger, tier: str | None, price: Price | None = PRICE, target: str = "openai/gpt") -> Record:
    attempt = AttemptRecord(target, "openai", "chat", "byte", price=price, committed=True, reason="ok")
    bill = Bill(usage=Usage(10, output=5, tier=tier), is_complete=True, attempt_records=(attempt,))
    record = Record("req_1", "chat", attempts=1, bill=bill)
    ledger.settle(record, disconnected=False)
    return record


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.name == "trigate.ledger"]


def test_a_tier_without_a_price_is_reported_once_for_each_target(caplog):
    ledger = Ledger()
    for target in ("openai/gpt", "openai/gpt", "azure/gpt"):
        settle(ledger, "ultrafast", target=target)
    found = warnings(caplog)
    assert [one.partition(":")[0] for one in found] == ["openai/gpt", "azure/gpt"]
    assert all("price.tiers.ultrafast" in one for one in found)


@pytest.mark.parametrize("tier", [None, "", "default", "auto", "standard", "fast", "batch"])
def test_tiers_with_a_price_are_not_reported(caplog, tier):
    settle(Ledger(), tier)
    assert not warnings(caplog)


@pytest.mark.parametrize("price", [None, FREE], ids=["no price", "free"])
def test_models_without_a_price_or_without_a_cost_are_not_reported(caplog, price):
    settle(Ledger(), "ultrafast", price)
    assert not warnings(caplog)


def test_a_provider_cannot_fill_the_log_with_tiers(caplog):
    ledger = Ledger()
    for number in range(MOST_TIERS + 20):
        settle(ledger, f"{number}-" + "x" * 1000)
    found = warnings(caplog)
    assert len(found) == MOST_TIERS
    assert max(map(len, found)) < 200 + 2 * LONGEST_TIER
