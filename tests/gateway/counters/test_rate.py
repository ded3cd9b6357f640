"""Rates: the amounts that pass immediately, the waits for others, and the amounts that are never refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.counters.counter import RateCounter
from gateway.counters.shortages import full_after_debit, seconds_short, unrefilled_units

TICK = 1e-4
"""Seconds: far below any reported wait, far above the error of floating point."""

AMOUNTS = st.integers(1, 5000)
RATES = st.builds(
    lambda amount, seconds, share: RateCounter(b"rate", "rate", amount, seconds, max(1, int(amount * share))),
    AMOUNTS,
    st.sampled_from([1.0, 60.0, 3600.0, 86400.0]),
    st.sampled_from([1.0, 0.5, 1 / 60]),
)


class Bucket:
    """A rate and a clock."""

    def __init__(self, rate: RateCounter) -> None:
        self.rate = rate
        self.now = 1e6
        self.full = 0.0

    def take(self, amount: int) -> float:
        """Take ``amount`` if it is available, and return the seconds to wait otherwise."""
        wait = seconds_short(self.rate, self.full, amount, self.now)
        if not wait:
            self.full = full_after_debit(self.rate, self.full, amount, self.now)
        return wait


@given(RATES, st.lists(st.integers(0, 20_000)))
def test_a_wait_is_exact(rate, amounts):
    bucket = Bucket(rate)
    for amount in amounts:
        if wait := bucket.take(amount):
            bucket.now += wait - TICK
            assert bucket.take(amount), "not earlier than told"
            bucket.now += TICK
            assert not bucket.take(amount), "and not later"


@given(RATES, st.lists(st.tuples(st.floats(0, 100), st.integers(1, 100)), max_size=50))
def test_a_client_below_its_rate_is_never_refused(rate, steps):
    # Locked out at 80 % of a limit for up to five minutes: BerriAI/litellm#18953.
    bucket = Bucket(rate)
    for pause, amount in steps:
        amount = min(amount, rate.burst)
        bucket.now += pause + amount * rate.seconds / rate.amount
        assert not bucket.take(amount)


@given(RATES, st.lists(st.integers(1, 10_000)), st.integers(1, 10_000))
def test_there_is_no_memory_beyond_the_refill(rate, amounts, last):
    used, fresh = Bucket(rate), Bucket(rate)
    for amount in amounts:
        used.now += used.take(amount)
        used.take(amount)
    used.now = fresh.now = max(used.full, used.now)
    assert used.take(last) == fresh.take(last) == 0
    assert used.full == pytest.approx(fresh.full)


@given(RATES, st.lists(st.tuples(st.floats(0, 10), st.integers(1, 3000)), max_size=80))
def test_no_more_passes_than_the_burst_and_the_refill(rate, steps):
    # BerriAI/litellm#5783
    bucket, began, passed = Bucket(rate), 1e6, 0
    largest = 0
    for pause, amount in steps:
        bucket.now += pause
        if not bucket.take(amount):
            passed += amount
            largest = max(largest, amount)
        beyond = max(0, largest - rate.burst)
        assert passed <= rate.burst + beyond + (bucket.now - began) * rate.amount / rate.seconds + 1e-6


@given(RATES, st.integers(1, 10))
def test_one_larger_than_the_burst_passes_when_the_bucket_is_full_and_is_paid_off(rate, times):
    bucket, amount = Bucket(rate), rate.burst * times + 1
    assert not bucket.take(amount)
    assert unrefilled_units(rate, bucket.full, bucket.now) == amount
    assert bucket.take(1) == pytest.approx((amount + 1 - rate.burst) * rate.seconds / rate.amount)
    assert bucket.take(amount) == pytest.approx(amount * rate.seconds / rate.amount)
    bucket.now = bucket.full
    assert unrefilled_units(rate, bucket.full, bucket.now) == 0
    assert not bucket.take(amount)


@given(RATES, st.integers(1, 5000), st.integers(0, 5000))
def test_unused_amounts_are_returned(rate, reserved, used):
    bucket, exact = Bucket(rate), Bucket(rate)
    bucket.take(reserved)
    bucket.full = full_after_debit(rate, bucket.full, used - reserved, bucket.now)
    exact.full = full_after_debit(rate, exact.full, used, exact.now)
    assert max(bucket.full, bucket.now) == pytest.approx(max(exact.full, exact.now))


@given(RATES, st.integers(1, 5000))
def test_late_returns_never_overfill_a_rate(rate, amount):
    bucket = Bucket(rate)
    bucket.take(amount)
    bucket.now += 10 * amount * rate.seconds / rate.amount
    bucket.full = full_after_debit(rate, bucket.full, -amount, bucket.now)
    assert not bucket.take(rate.burst)
    assert bucket.take(1) == pytest.approx(rate.seconds / rate.amount)
