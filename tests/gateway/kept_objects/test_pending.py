"""The cost of running batches is known to all processes that share a record, also after a restart, and expires."""

import pytest

from gateway.allowances.budgets import BatchReserves
from gateway.kept_objects.inventory import PENDING_BATCHES, Inventory, KeptObject
from gateway.kept_objects.pending import MAX_AGE_SECONDS, PendingBatch, PendingBatches
from gateway.stores.errors import Unavailable
from tests.support.set_clock import SetClock

ALICE, AGENTS, BILLED_BATCHES = ("client_keys", "alice"), ("client_groups", "agents"), ("model_providers", "paid")


def of(inventory: Inventory | None, clock: SetClock | None = None) -> tuple[PendingBatches, BatchReserves]:
    batch_reserves = BatchReserves()
    batch_reserves.is_wanted = True
    return PendingBatches(inventory, batch_reserves, clock or SetClock()), batch_reserves


async def test_a_pending_batch_is_reserved_until_it_is_removed(inventory):
    pending, batch_reserves = of(inventory)
    for number in range(6):  # more than one read returns
        await pending.add("a", f"b{number}", PendingBatch((ALICE, AGENTS), 100, 7))
    await pending.add("b", "b1", PendingBatch((AGENTS, BILLED_BATCHES), 1000, 1))
    assert [batch_reserves.of(one, "usd") for one in (ALICE, AGENTS, BILLED_BATCHES)] == [600, 1600, 1000]
    assert [batch_reserves.of(one, "tokens") for one in (ALICE, AGENTS, BILLED_BATCHES)] == [42, 43, 1]
    other, seen = of(inventory)  # another process, or the next one
    assert seen.of(AGENTS, "usd") == 0
    await other.read()
    assert seen.of(AGENTS, "usd") == 1600
    await other.remove("a", "b1")
    await other.remove("a", "b1")
    await other.remove("a", "never made")
    assert (seen.of(ALICE, "usd"), seen.of(AGENTS, "usd"), seen.of(BILLED_BATCHES, "usd")) == (500, 1500, 1000)
    await pending.read()
    assert batch_reserves.of(ALICE, "usd") == 500


async def test_reservations_of_old_batches_expire(inventory):
    clock = SetClock()
    pending, batch_reserves = of(inventory, clock)
    await pending.add("a", "b", PendingBatch((ALICE,), 100, 7))
    clock.now += MAX_AGE_SECONDS - 1
    await pending.read()
    assert batch_reserves.of(ALICE, "usd") == 100
    clock.now += 1
    await pending.read()
    assert batch_reserves.of(ALICE, "usd") == 0
    clock.now = 1000.0  # it is deleted, and not only ignored
    await pending.read()
    assert batch_reserves.of(ALICE, "usd") == 0


async def test_a_row_of_another_version_keeps_none_of_the_others_from_being_read(inventory):
    pending, batch_reserves = of(inventory)
    for id, body in (("a", b"[]"), ("b", b'{"usd": 1}'), ("c", b"")):
        await inventory.put(KeptObject("set aside", PENDING_BATCHES, id, body, 1e12))
    await pending.add("a", "b", PendingBatch((ALICE,), 100, 7))
    assert batch_reserves.of(ALICE, "usd") == 100


class Away:
    page_size = 1

    async def read_some(self, *asked: object) -> object:
        raise Unavailable("away")

    put = remove = read_some


async def test_an_unavailable_record_is_reported_once_and_known_values_stay(caplog):
    pending, batch_reserves = of(Away())  # type: ignore[arg-type]
    batch_reserves.replace({ALICE: (5, 0)})
    for _ in range(3):
        await pending.read()
    await pending.add("a", "b", PendingBatch((ALICE,), 100, 7))
    assert batch_reserves.of(ALICE, "usd") == 5
    assert [one.getMessage() for one in caplog.records] == ["the amounts reserved for batches are unknown: away"]


@pytest.mark.parametrize("wanted", [True, False])
async def test_pending_batches_are_not_read_without_budgets(wanted):
    pending, batch_reserves = of(Away() if not wanted else None)  # type: ignore[arg-type]
    batch_reserves.is_wanted = wanted
    await pending.read()
    assert batch_reserves.version == 0
