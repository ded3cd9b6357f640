"""The names of counters: no two limits share one, whatever owners and runs are called."""

import hashlib
import itertools

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.allowances.allowance import EVERYBODY, Holder
from gateway.allowances.budgets import budget_allowances
from gateway.allowances.rates import RootLimits, rate_allowances
from gateway.config.allowances import Rate, RateLimits, RootLimit
from gateway.config.amounts import read_budget
from gateway.counters.counter import Counter
from tests.support.examples import examples

AT = 1_795_000_000.0
RATE = Rate(5, 60.0, "5/m")
LIMITS = RateLimits(RATE, RATE, RATE, RATE, 3)
BUDGETS = [read_budget(text) for text in ("1 usd/run", "1 tokens/run", "1 usd/day", "1 usd/hour", "1 usd/24h")]

PIECES = (
    "a", "/", ".", " ", "%", "\0", "2:", "run ", "usd/run ", ".budgets ", ".budgets", ".budgets usd/run a", ".tokens ",
    ".tokens 5/m", ".requests 5/m", ".concurrent", "client_keys.", " by ", "=", "day 2026-11-23",
)  # fmt: skip
NAMES = st.lists(st.sampled_from(PIECES), min_size=1, max_size=5).map("".join)


def counters_of(holder: Holder, run: str) -> list[Counter]:
    found = (*rate_allowances(holder, LIMITS), *budget_allowances(holder, BUDGETS, "UTC"))
    return [counter for one in found if (counter := one.counter(AT, run)) is not None]


@settings(max_examples=examples(100), deadline=None)
@given(names=st.lists(NAMES, min_size=2, max_size=3, unique=True), runs=st.lists(NAMES, min_size=2, max_size=2))
def test_no_names_of_owners_and_runs_make_two_counters_meet(names, runs):
    keys: dict[bytes, object] = {}
    for name, kind in itertools.product(names, ("client_keys", "client_groups", "model_providers")):
        for run in runs:
            for number, counter in enumerate(counters_of(Holder(kind, name), run)):
                which = (kind, name, number, run if number in (5, 6) else None)
                assert keys.setdefault(counter.key, which) == which
    for run in runs:
        for number, counter in enumerate(counters_of(EVERYBODY, run)):
            which = ("everybody", number, run if number in (5, 6) else None)
            assert keys.setdefault(counter.key, which) == which


@settings(max_examples=examples(100), deadline=None)
@given(parts=st.lists(st.tuples(NAMES, NAMES, NAMES), min_size=2, max_size=3, unique=True))
def test_no_header_value_meets_the_limit_of_another_header(parts):
    keys = set()
    for model, header, value in parts:
        for fixed in (None, value):
            (one,) = RootLimits([RootLimit(model, header, fixed, RATE)]).of([model], [(header, value)])
            keys.add(one.counter(AT, None).key)
    assert len(keys) == 2 * len(parts)


def test_ordinary_names_keep_their_counters_in_a_shared_store():
    """A monthly budget keeps what has been used of it when the gateway is upgraded."""
    alice = Holder("client_keys", "Alice Smith (ops), gpt-4.1/eu")
    month, run = budget_allowances(alice, [read_budget("20 usd/month"), read_budget("5 usd/run")], "UTC")
    requests, *_, concurrent = rate_allowances(alice, LIMITS)
    texts = {
        "client_keys.Alice Smith (ops), gpt-4.1/eu.budgets usd/month 2026-11": month.counter(AT, None),
        "client_keys.Alice Smith (ops), gpt-4.1/eu.budgets usd/run alice/r": run.counter(AT, "alice/r"),
        "client_keys.Alice Smith (ops), gpt-4.1/eu.requests 5/m": requests.counter(AT, None),
        "client_keys.Alice Smith (ops), gpt-4.1/eu.concurrent": concurrent.counter(AT, None),
    }
    for text, counter in texts.items():
        assert counter.key == hashlib.blake2b(text.encode(), digest_size=16).digest()


def test_rolling_periods_that_differ_by_a_second_have_counters_of_their_own():
    (month,) = budget_allowances(EVERYBODY, [read_budget("1 usd/30d")], "UTC")
    seconds = (1_234_567.0, 1_234_568.0)
    budgets = [attrs.evolve(month.budget, period=attrs.evolve(month.budget.period, seconds=one)) for one in seconds]
    keys = []
    for allowance in budget_allowances(EVERYBODY, budgets, "UTC"):
        found = [one for at in range(3) if (one := allowance.counter(AT + at * 41_152, None)) is not None]
        keys.append({key for one in found for key in (one.key, *one.earlier)})
    assert not keys[0] & keys[1]
