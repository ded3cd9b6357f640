"""Budgets as allowances: their counters by period and run, and the refusal once one is exhausted."""

import random
from datetime import datetime

import attrs

from gateway.allowances.allowance import Holder
from gateway.allowances.budgets import BatchReserves, BudgetAllowance, budget_allowances
from gateway.allowances.levels import allowance_level
from gateway.allowances.refusals import LimitError, exhausted_error, refusal_error
from gateway.config.amounts import read_budget
from gateway.counters.counter import Claim, Debit, Shortage, SumCounter
from gateway.counters.memory import LocalCounters
from tests.support.each_row import each_row

ALICE = Holder("client_keys", "alice")
USD = 10**9


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


NOON = at("2026-11-21T12:00+01:00")
DAY = 86_400.0


def budget(text: str, holder: Holder = ALICE, zone: str = "Europe/Berlin") -> BudgetAllowance:
    (found,) = budget_allowances(holder, [read_budget(text)], zone)
    return found


def counter(text: str, moment: float = NOON, run: str | None = None, holder: Holder = ALICE) -> SumCounter:
    found = budget(text, holder).counter(moment, run)
    assert found is not None
    return found


def test_a_request_belongs_to_the_period_in_which_it_began():
    one = budget("20 usd/day")
    today, later = one.counter(NOON, None), one.counter(NOON + 3600, None)
    tomorrow = one.counter(NOON + 86400, None)
    assert today is later
    assert tomorrow is not None
    assert tomorrow != today
    assert one.counter(NOON, None) == today  # one that began before midnight, and reserves once more after it


def test_the_counter_of_a_slice_depends_on_no_earlier_request():
    """In any order, the counters are those of a process that has just started."""
    one = budget("20 usd/30d")
    for days in (0, 1, 2, 3, 1, 2, 40, 41, 39):
        assert one.counter(NOON + days * DAY, None) == counter("20 usd/30d", NOON + days * DAY), days


def test_a_raised_budget_keeps_its_usage():
    assert counter("20 usd/day").key == counter("30 usd/day").key
    assert counter("30 usd/day").most == 30 * USD


def test_budgets_have_counters_of_their_own():
    texts = ["20 usd/day", "20M tokens/day", "20 usd/week", "20 usd/24h", "20 usd/hour", "20 usd/12h", "20 usd/month"]
    keys = {counter(text).key for text in texts}
    keys |= {counter("5 usd/run", run="a").key, counter("5 usd/run", run="b").key}
    keys |= {counter("20 usd/day", holder=Holder(kind, "alice")).key for kind in ("client_groups", "model_providers")}
    assert len(keys) == len(texts) + 4
    assert all(len(key) == 16 for key in keys)


def test_a_budget_for_runs_does_not_concern_other_requests():
    assert budget("5 usd/run").counter(NOON, None) is None


def test_sums_set_aside_cannot_be_spent_until_released():
    batch_reserves = BatchReserves()
    day, tokens, run = budget_allowances(
        ALICE, [read_budget(one) for one in ("20 usd/day", "500 tokens/30d", "5 usd/run")], "UTC", batch_reserves
    )
    for sums, left in (
        ({}, (20 * USD, 500, 5 * USD)),
        ({("client_keys", "alice"): (7 * USD, 100), ("client_keys", "bob"): (USD, 1)}, (13 * USD, 400, 5 * USD)),
        ({("client_keys", "alice"): (70 * USD, 600)}, (0, 0, 5 * USD)),
        ({}, (20 * USD, 500, 5 * USD)),
    ):
        batch_reserves.replace(sums)
        found = [one.counter(NOON, "r") for one in (day, tokens, run)]
        assert tuple(one.most for one in found if one is not None) == left
        assert len({one.key for one in found if one is not None}) == 3


def test_a_budgets_state_and_refusal_include_its_reservations():
    batch_reserves = BatchReserves()
    (day,) = budget_allowances(ALICE, [read_budget("20 usd/day")], "UTC", batch_reserves)
    batch_reserves.replace({("client_keys", "alice"): (15 * USD, 0)})
    counters = LocalCounters()
    found = allowance_level(day, counters, NOON)
    assert (found.used, found.held, found.most) == (0, 15 * USD, 20 * USD)
    counter = day.counter(NOON, None)
    assert counter is not None
    short = counters.shortage_for(Debit(counter, 6 * USD))
    assert short is not None
    refused = exhausted_error([(day, short)])
    assert "0 usd of 20 usd used, 15 usd reserved for running batches, and this request may need 6 usd" in (
        refused.message
    )


def test_a_run_lasts_a_day_from_its_last_request():
    first, second = counter("5 usd/run", NOON, "a"), counter("5 usd/run", NOON + 3600, "a")
    assert first.key == second.key
    assert (first.until, second.until) == (NOON + 86400, NOON + 3600 + 86400)
    assert first.chosen_by is not None


async def spend(counters: LocalCounters, one: SumCounter, amount: int, id: str) -> bool:
    """Reserve and settle ``amount``, and return whether there was room for it."""
    claim = Claim(id, (Debit(one, amount),))
    if await counters.reserve([claim]):
        return False
    counters.settle(claim, [amount])
    return True


async def test_usage_leaves_a_rolling_period_when_it_is_old_enough():
    # A monthly budget as a refilling rate is never reached, or never usable: agentgateway/website#962.
    counters, one = LocalCounters(), budget("10 usd/30d")
    begin, day = NOON, 86400.0

    async def ask(days: float, amount: int, id: str) -> bool:
        found = one.counter(begin + days * day, None)
        assert found is not None
        return await spend(counters, found, amount, id)

    assert await ask(0, 6 * USD, "a")
    assert await ask(10, 4 * USD, "b")
    assert not await ask(10, 1, "c")
    assert not await ask(29.9, 1, "d")
    assert await ask(31.1, 6 * USD, "e")
    assert not await ask(31.1, 1, "f")
    assert await ask(42, 4 * USD, "g")


async def test_a_rolling_budget_promises_the_first_moment_at_which_the_request_passes():
    """The wait lasted to the end of the current slice, at which often nothing leaves the period."""
    draw = random.Random(7)
    for number in range(60):
        counters, one = LocalCounters(), budget("100 usd/30d")
        now = NOON + 100 * DAY
        for i in range(draw.randrange(1, 6)):
            found = one.counter(now - draw.uniform(0, 30) * DAY, None)
            assert found is not None
            await spend(counters, found, draw.randrange(1, 60) * USD, f"{number}-{i}")
        current = one.counter(now, None)
        assert current is not None
        need = draw.choice((1, USD, 30 * USD, 100 * USD))
        short = counters.shortage_for(Debit(current, need))
        if short is None:
            continue
        error = exhausted_error([(one, attrs.evolve(short, earlier=await counters.earlier_sums(current)))])
        assert isinstance(error, LimitError)
        (at,) = error.available_at
        assert at is not None
        before, then = one.counter(at - 1, None), one.counter(at, None)
        assert before is not None
        assert then is not None
        assert counters.shortage_for(Debit(before, need)) is not None
        assert counters.shortage_for(Debit(then, need)) is None
        assert error.message.endswith(f"from {one.local_time(at)} on.")


async def test_a_rolling_budget_that_a_request_exceeds_promises_its_next_refill():
    counters, one = LocalCounters(), budget("100 usd/30d")
    old, now = one.counter(NOON - 9.5 * DAY, None), one.counter(NOON, None)
    assert old is not None
    assert now is not None
    await spend(counters, old, USD, "a")
    short = counters.shortage_for(Debit(now, 101 * USD))
    assert short is not None
    found = exhausted_error([(one, attrs.evolve(short, earlier=await counters.earlier_sums(now)))])
    assert isinstance(found, LimitError)
    assert found.available_at == (old.until - 3600,)


async def test_a_run_name_can_be_used_again_after_its_run_ended():
    now = NOON
    counters, one = LocalCounters(now=lambda: now), budget("5 usd/run")

    async def ask(moment: float, amount: int, id: str) -> bool:
        nonlocal now
        now = moment
        found = one.counter(moment, "alice/a")
        assert found is not None
        return await spend(counters, found, amount, id)

    assert await ask(NOON, 3 * USD, "a")
    assert await ask(NOON + 20 * 3600, 2 * USD, "b")
    assert not await ask(NOON + 30 * 3600, 1, "c")  # its last request was ten hours ago
    assert await ask(NOON + 50 * 3600, 5 * USD, "d")


def shortage(one: BudgetAllowance, used: int, need: int, held: int = 0, run: str | None = None) -> Shortage:
    found = one.counter(NOON, run)
    assert found is not None
    return Shortage(Debit(found, need), None, used, held)


def test_the_refusal_of_a_raised_budget_has_both_amounts():
    one = attrs.evolve(budget("20 usd/day"), present_amount=lambda: 40 * USD)
    error = exhausted_error([(one, shortage(one, 39 * USD, 2 * USD))])
    assert "alice may spend 20 usd/day (raised to 40 usd): 39 usd of 40 usd used, and" in error.message
    error = exhausted_error([(one, shortage(one, 40 * USD, 2 * USD))])
    assert "alice may spend 20 usd/day (raised to 40 usd): exhausted (40 usd of 40 usd)" in error.message


@each_row(
    ("text", "used", "run", "said"),
    [
        ("20 usd/day", 20 * USD, None, "exhausted (20 usd of 20 usd). It resets at 2026-11-22T00:00+01:00."),
        ("5M tokens/month", 5_000_000, None, "exhausted (5,000,000 tokens of 5,000,000 tokens). It resets at "
         "2026-12-01T00:00+01:00."),
        ("5 usd/run", 5 * USD, "alice/a", "exhausted (5 usd of 5 usd). A run ends 24 hours after its last request; "
         "a new run has its own budget."),
        ("5 usd/30d", 5 * USD, None, "It refills as earlier spending leaves the period, from "
         "2026-11-22T01:00+01:00 on."),
    ],
)  # fmt: skip
def test_the_refusal_of_each_period_reports_the_reset(text, used, run, said):
    one = budget(text)
    error = exhausted_error([(one, shortage(one, used, 1, run=run))])
    assert error.message.endswith(said)


def test_a_fully_reserved_budget_is_not_exhausted():
    one = budget("20 usd/day")
    short = [(one, shortage(one, 5 * USD, 2 * USD, held=14 * USD))]
    assert exhausted_error(short) is None
    error = refusal_error(short)
    assert error.status == 429
    assert error.message.endswith(
        "client key alice: 20 usd/day; running requests have reserved the rest. Try again in 1s."
    )
    assert dict(error.headers) == {"retry-after": "1", "x-trigate-limit": "client_keys.alice.budgets"}


def test_a_refusal_reports_that_the_store_is_unavailable():
    one = budget("20 usd/day")
    error = refusal_error([(one, attrs.evolve(shortage(one, 5 * USD, 2 * USD), wait=1.0, cause="store_away"))])
    assert error.message == (
        "The gateway cannot reach the store of its counters, and rejects requests with limits until it can: "
        "client key alice: 20 usd/day. Try again in 1s."
    )
