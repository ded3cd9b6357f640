"""The state for added cache marks: beginnings of prompts, and accounts of what marks cost and save."""

from gateway.features.cache_acts.acting import (
    PAUSE_SECONDS,
    REQUESTS_PER_PERIOD,
    SEEN_SECONDS,
    MarkGuard,
    SeenPrompts,
    saved_by_cache,
)
from providers.catalog.prices import Price
from streams.events import Usage
from tests.support.set_clock import SetClock

WRITTEN = Usage(input=10, cache_write=1000)
READ = Usage(input=10, cache_read=1000)


def test_a_beginning_counts_as_seen_for_an_hour_and_for_its_client_only():
    seen = SeenPrompts(clock := SetClock())
    assert not seen.note("ann", b"a")
    assert not seen.note("ben", b"a")
    assert seen.note("ann", b"a")
    clock.now += SEEN_SECONDS + 1
    assert not seen.note("ann", b"a")


def test_many_beginnings_of_one_client_displace_only_its_own():
    seen = SeenPrompts(SetClock())
    seen.note("ann", b"a")
    seen.note("ben", b"first")
    for number in range(64):
        seen.note("ben", b"%d" % number)
    assert seen.note("ann", b"a")
    assert not seen.note("ben", b"first")


def test_marks_pause_for_an_hour_after_a_period_that_cost_more_than_it_saved():
    guard = MarkGuard(clock := SetClock())
    pauses = [guard.settle("ann", "sonnet", WRITTEN, None) for _ in range(REQUESTS_PER_PERIOD)]
    assert pauses == [False] * (REQUESTS_PER_PERIOD - 1) + [True]
    assert not guard.allows("ann", "sonnet")
    assert guard.allows("ben", "sonnet")
    assert guard.allows("ann", "opus")
    clock.now += PAUSE_SECONDS
    assert guard.allows("ann", "sonnet")


def test_marks_go_on_while_they_pay():
    guard = MarkGuard(SetClock())
    usages = [WRITTEN if number % 3 == 0 else READ for number in range(5 * REQUESTS_PER_PERIOD)]
    assert not any(guard.settle("ann", "sonnet", usage, None) for usage in usages)


def test_accounts_of_clients_seen_longest_ago_start_anew():
    guard = MarkGuard(SetClock())
    for _ in range(REQUESTS_PER_PERIOD - 1):
        guard.settle("ann", "sonnet", WRITTEN, None)
    for number in range(5000):
        guard.settle(f"client {number}", "sonnet", READ, None)
    assert not guard.settle("ann", "sonnet", WRITTEN, None)


def test_savings_follow_the_price():
    price = Price(3 * 10**9, 15 * 10**9, cached=3 * 10**8, cache_write=375 * 10**7, cache_write_1h=6 * 10**9)
    assert saved_by_cache(Usage(cache_read=1000), price) == 1000 * (3_000 - 300)
    assert saved_by_cache(Usage(cache_write=1000, cache_write_5m=1000), price) == -1000 * 750
    assert saved_by_cache(Usage(cache_write=1000, cache_write_1h=1000), price) == -1000 * 3_000
    assert saved_by_cache(Usage(input=5, output=7), price) == 0
