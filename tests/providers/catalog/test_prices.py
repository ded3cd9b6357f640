import sys
from datetime import UTC, datetime

import attrs
from hypothesis import given
from hypothesis import strategies as st

from providers.catalog.prices import (
    FREE,
    NANOS,
    SUBSCRIPTION,
    Cost,
    Price,
    Validity,
    computed_cost,
    cost_of,
    grade_at,
    grade_rank,
    has_tier_price,
    price_of,
    read_price,
    total_cost,
    worst_grade,
    write_premium,
)
from streams.events import Usage, UsageStep
from tests.support.cases import case
from tests.support.each_row import each_row

SONNET = read_price({"input": 3, "cached": 0.3, "cache_write": 3.75, "cache_write_1h": 6, "output": 15}, "config")
LONG = read_price(
    {
        "input": 2, "cached": 0.2, "cache_write": 2.5, "output": 10,
        "above": {272_000: {"input": 4, "cached": 0.4, "cache_write": 5, "output": 15}},
        "tiers": {
            "priority": {"input": 4, "output": 20},
            "flex": {"input": 1, "output": 5, "above": {272_000: {"input": 2, "output": 8}}},
        },
        "tools": {"web_search": 0.01},
    },
    "config",
)  # fmt: skip


def dollars(cost: Cost) -> float:
    return cost.nanos / NANOS


def test_each_token_is_counted_once():
    # BerriAI/litellm#9812: that gateway reported 0.091311
    usage = Usage(input=3, cache_write=12_304, cache_read=0, output=550)
    assert cost_of(SONNET, usage) == Cost(54_399_000, "exact")


def test_the_whole_prompt_decides_on_the_long_price_of_all_kinds():
    for usage, nanos in [
        (Usage(input=272_000), 544_000_000),
        (Usage(input=272_001), 1_088_004_000),
        (Usage(input=1, cache_read=200_000, cache_write=71_999), 2_000 + 40_000_000 + 179_997_500),
        (Usage(input=2, cache_read=200_000, cache_write=71_999), 8_000 + 80_000_000 + 359_995_000),
        (Usage(input=272_001, output=1_000), 1_088_004_000 + 15_000_000),
    ]:
        with case((usage, nanos)):
            # Helicone/helicone#5766, junhoyeo/tokscale#862
            assert cost_of(LONG, usage).nanos == nanos


def test_requests_are_not_added_up_to_a_long_prompt():
    # VRSEN/agency-swarm#742
    step = UsageStep("message", None, Usage(input=200_000, output=10))
    whole = Usage(input=400_000, output=20, steps=(step, step))
    assert cost_of(LONG, whole).nanos == 2 * cost_of(LONG, step.usage).nanos == 2 * 400_100_000


def test_turns_between_calls_of_server_tools_are_not_added_up_to_a_long_prompt():
    """If the provider does not list the turns, their lengths are unknown: the mean is an estimate."""
    fee = ("web_search", 2)
    priced = attrs.evolve(LONG, fees=(("web_search", 0),))
    assert cost_of(priced, Usage(input=600_000, calls=(fee,))) == Cost(1_200_000_000, "estimated")
    assert cost_of(priced, Usage(input=900_000, calls=(fee,))) == Cost(3_600_000_000, "estimated")
    assert cost_of(priced, Usage(input=272_000, calls=(fee,))) == Cost(544_000_000, "exact")


def test_writes_to_a_cache_cost_by_their_lifetime():
    for usage, nanos in [
        (Usage(cache_write=1_000_000), 3_750_000_000),
        (Usage(cache_write=1_000_000, cache_write_5m=1_000_000, cache_write_1h=0), 3_750_000_000),
        (Usage(cache_write=1_000_000, cache_write_5m=0, cache_write_1h=1_000_000), 6_000_000_000),
        (Usage(cache_write=1_000_000, cache_write_5m=400_000, cache_write_1h=600_000), 1_500_000_000 + 3_600_000_000),
    ]:
        with case((usage, nanos)):
            # BerriAI/litellm#18988
            assert cost_of(SONNET, usage) == Cost(nanos, "exact")


def test_writes_for_an_hour_have_a_price_in_each_tier_of_length():
    price = price_of("anthropic", "claude-haiku-5-5")
    assert price is not None
    usage = Usage(cache_write=100_000, cache_write_1h=100_000)
    longer = attrs.evolve(usage, cache_write=100_001, cache_write_1h=100_001)
    assert [dollars(cost_of(price, one)) for one in (usage, longer)] == [0.02, 0.100001]


def test_messages_write_for_a_quarter_more_and_for_an_hour_at_twice_the_input():
    price = read_price({"input": 3, "output": 15, "above": {"200000": {"input": 6}}}, "config").with_cache_writes
    five, hour = Usage(cache_write=1000, cache_write_5m=1000), Usage(cache_write=1000, cache_write_1h=1000)
    assert [cost_of(price, usage).nanos for usage in (five, hour)] == [3_750_000, 6_000_000]
    assert cost_of(price, Usage(input=200_000, cache_write=1000)).nanos == 1_200_000_000 + 7_500_000


def test_writes_of_other_providers_have_the_configured_price_or_that_of_input():
    usage = Usage(cache_write=1000, cache_write_1h=1000)
    plain = read_price({"input": 2, "output": 8}, "config")
    assert cost_of(plain, usage) == Cost(2_000_000, "exact")
    assert cost_of(read_price({"input": 2, "output": 8, "cache_write": 2.5}, "config"), usage).nanos == 2_500_000


def test_the_provider_reports_the_tier():
    for tier, nanos in [
        (None, 2_000_000), ("default", 2_000_000), ("standard", 2_000_000), ("on_demand", 2_000_000),
        ("priority", 4_000_000), ("PRIORITY", 4_000_000), ("flex", 1_000_000),
    ]:  # fmt: skip
        with case((tier, nanos)):
            # BerriAI/litellm#33772
            assert cost_of(LONG, Usage(input=1000, tier=tier)) == Cost(nanos, "exact")


def test_a_tier_sets_its_own_price_of_long_prompts():
    assert cost_of(LONG, Usage(input=300_000, tier="priority")).nanos == 1_200_000_000
    assert cost_of(LONG, Usage(input=300_000, output=1, tier="flex")).nanos == 600_008_000


def test_a_tier_without_a_price_is_an_estimate():
    assert cost_of(LONG, Usage(input=1000, tier="scale")) == Cost(2_000_000, "estimated")


def test_answers_in_the_united_states_cost_a_tenth_more():
    """They cost the usual price elsewhere (BerriAI/litellm#38369, anthropics/claude-code#60641)."""
    listed = price_of("anthropic", "claude-opus-5")
    assert listed is not None
    usage = Usage(input=1000, cache_read=1000, cache_write=2000, cache_write_1h=1000, output=1000)
    calls = (("web_search", 1),)  # whose fee does not depend on the place
    for tier, usual in [("us", None), ("fast us", "fast"), ("batch us", "batch")]:
        with case(tier):
            tokens = cost_of(listed, attrs.evolve(usage, tier=usual)).nanos
            assert cost_of(listed, attrs.evolve(usage, tier=tier, calls=calls)) == Cost(
                tokens * 11 // 10 + 10_000_000, "exact"
            )
            assert has_tier_price(listed, tier)
    long = read_price({"input": 1, "output": 2, "above": {"1000": {"input": 2, "output": 4}}}, "catalogue")
    assert cost_of(long, Usage(input=2000, tier="us")).nanos == 4_400_000
    assert cost_of(long, Usage(input=10, tier="priority us")) == Cost(11_000, "estimated")
    configured = read_price({"input": 1, "output": 2, "tiers": {"us": {"input": 3}}}, "config")
    assert cost_of(configured, Usage(input=10, tier="us")) == Cost(30_000, "exact")
    negotiated = read_price({"input": 1, "output": 2}, "config")  # perhaps for this place
    assert cost_of(negotiated, Usage(input=10, tier="us")) == Cost(10_000, "estimated")


def test_calls_of_server_tools_have_fees():
    # BerriAI/litellm#18599
    assert cost_of(LONG, Usage(calls=(("web_search", 3),))) == Cost(30_000_000, "exact")
    assert cost_of(LONG, Usage(calls=(("web_fetch", 3),))) == Cost(0, "exact")
    assert cost_of(LONG, Usage(input=1, calls=(("sorcery", 1),))) == Cost(2_000, "at_least")


def test_reasoning_is_output_and_counted_once():
    # Piebald-AI/splitrail#239, BerriAI/litellm#10667
    assert cost_of(SONNET, Usage(output=1000, reasoning=900)) == cost_of(SONNET, Usage(output=1000))


def test_a_cost_stated_by_the_provider_applies_unless_a_price_is_configured():
    # BerriAI/litellm#39441, #27588
    listed = attrs.evolve(SONNET, origin="catalogue")
    usage = Usage(input=1000, reported_nanos=7)
    assert cost_of(listed, usage) == cost_of(None, usage) == Cost(7, "exact")
    assert cost_of(listed, usage).computed == 3_000_000
    assert cost_of(None, usage).computed is None
    assert computed_cost(listed, usage) == cost_of(SONNET, usage) == Cost(3_000_000, "exact")


def test_without_a_price_the_cost_is_at_least_nothing():
    assert cost_of(None, Usage(input=1000)) == Cost(0, "at_least")


def test_free_is_a_price():
    usage = Usage(input=10**9, output=10**9, tier="priority", calls=(("web_search", 9),), reported_nanos=5)
    assert cost_of(FREE, usage) == cost_of(FREE.with_cache_writes, usage) == Cost(0, "exact")


def test_estimated_tokens_make_an_estimate():
    assert cost_of(SONNET, Usage(input=1), estimated=True) == Cost(3_000, "estimated")
    assert cost_of(LONG, Usage(calls=(("sorcery", 1),)), estimated=True).grade == "at_least"


def test_a_kind_that_the_list_has_no_price_for_is_an_estimate():
    listed = read_price({"input": 2, "output": 8}, "catalogue")
    assert cost_of(listed, Usage(input=1, output=1)).grade == "exact"
    assert cost_of(listed, Usage(cache_read=1000)) == Cost(2_000_000, "estimated")
    assert cost_of(listed, Usage(cache_write=1000)) == Cost(2_000_000, "estimated")


def test_steps_are_priced_at_the_model_that_took_them():
    price = price_of("anthropic", "claude-sonnet-4-6")
    usage = Usage(
        output=9,
        steps=(
            UsageStep("message", "claude-sonnet-4-6-20260217", Usage(input=1000)),
            UsageStep("advisor_message", "claude-opus-5-5", Usage(input=1000, output=100)),
            UsageStep("compaction", None, Usage(output=1000)),
        ),
    )
    assert cost_of(price, usage) == Cost(3_000_000 + 4_000_000 + 2_000_000 + 15_000_000, "exact")
    unknown = attrs.evolve(usage, steps=(UsageStep("advisor_message", "claude-none", Usage(input=1000)),))
    assert cost_of(price, unknown) == Cost(3_000_000, "estimated")


def test_a_price_schedule_applies_by_the_clock():
    base = Price(1, 1)
    day, later = Price(2, 2), Price(3, 3)
    scheduled = attrs.evolve(base, schedule=((Validity(start=3600, end=7200), day), (Validity(since=10**9), later)))
    nanos = [cost_of(scheduled, Usage(input=10**6), at=at).nanos for at in (3599, 3600, 7199, 7200, 10**9)]
    assert nanos == [1, 2, 2, 1, 3]


def test_a_schedule_may_cross_midnight():
    night = Validity(start=23 * 3600, end=3600)
    assert [night.includes(hour * 3600) for hour in (22, 23, 24, 25, 47)] == [False, True, True, False, True]


def test_prices_of_the_list_that_change_by_the_hour_and_by_the_day():
    deepseek, argon = price_of("deepseek", "deepseek-v4-flash"), price_of("gemini", "gemini-4-argon")
    at = [datetime(2026, 11, 22, hour, tzinfo=UTC).timestamp() for hour in (0, 2, 5, 7)]
    assert [cost_of(deepseek, Usage(input=1000), at=one).nanos for one in at] == [150_000, 300_000, 150_000, 300_000]
    days = [datetime(2026, month, day, tzinfo=UTC).timestamp() for month, day in ((11, 30), (12, 1))]
    before, after = (cost_of(argon, Usage(input=1000), at=one).nanos for one in days)
    assert before != after


@each_row(
    "nanos, text", [(54_399_000, "0.054399"), (0, "0"), (1, "0.000000001"), (10 * NANOS, "10"), (1_500_000_000, "1.5")]
)
def test_dollars_are_plain_decimals(nanos, text):
    assert Cost(nanos, "exact").dollars == text


def test_a_sum_has_the_computed_and_the_stated_cost():
    stated, counted = Cost(7, "exact", 9), Cost(5, "estimated")
    assert total_cost([stated, counted]) == Cost(12, "estimated")
    assert total_cost([stated, counted]).computed == 14
    assert total_cost([counted, counted]).computed is None


def test_grades_from_best_to_worst():
    assert worst_grade([]) == "exact"
    assert worst_grade(["exact", "estimated"]) == "estimated"
    assert worst_grade(["at_least", "exact", "estimated"]) == "at_least"


counts = st.integers(0, 10**9)
rates = st.integers(0, 10**12)
usages = st.builds(
    lambda input, read, five, hour, output: Usage(input, read, five + hour, five, hour, output),
    counts, counts, counts, counts, counts,
)  # fmt: skip
prices = st.builds(Price, rates, rates, st.none() | rates, st.none() | rates, st.none() | rates)


def sum_of(one: Usage, other: Usage) -> Usage:
    names = ("input", "cache_read", "cache_write", "cache_write_5m", "cache_write_1h", "output")
    return Usage(**{name: getattr(one, name) + getattr(other, name) for name in names})


@given(prices, usages, usages)
def test_cost_is_additive_except_for_rounding_and_monotonic(price: Price, one: Usage, other: Usage):
    both = cost_of(price, sum_of(one, other)).nanos
    apart = cost_of(price, one).nanos + cost_of(price, other).nanos
    assert type(both) is int
    assert both <= apart <= both + 1
    assert both >= cost_of(price, one).nanos


def test_a_name_of_megabytes_is_not_remembered():
    # A client that may ask for any model of a provider would fill the memory with names.
    name = "gpt-5" * 1000
    before = sys.getrefcount(name)
    assert price_of("openai", name) is None
    assert sys.getrefcount(name) == before


def test_the_cost_of_a_subscription_has_its_own_grade():
    usage = Usage(input=10, output=5, calls=(("sorcery", 1),), reported_nanos=7)
    assert cost_of(SUBSCRIPTION, usage, estimated=True) == Cost(0, "subscription")
    assert total_cost([Cost(0, "subscription"), Cost(0, "subscription")]).grade == "subscription"
    assert total_cost([Cost(0, "subscription"), Cost(3, "exact")]) == Cost(3, "exact")
    assert total_cost([Cost(0, "subscription"), Cost(3, "at_least")]) == Cost(3, "at_least")


@each_row("grade", ["subscription", "exact", "estimated", "at_least"])
def test_the_ledger_gets_a_grade_back_by_its_rank(grade):
    assert grade_at(grade_rank(grade)) == grade


WRITTEN = Usage(input=10, cache_read=50, cache_write=900, cache_write_1h=300, output=5)
PREMIUMS = (
    Price(1_000, 5_000, cached=100, cache_write=1_250, cache_write_1h=2_000),
    Price(1_000, 5_000, cache_write=1_250),
    Price(1_000, 5_000),
    Price(1_000, 5_000, cache_write=900),
    Price(1_000, 5_000, above=((900, Price(3_000, 9_000, cache_write=4_000)),)),
    Price(1_000, 5_000, tiers=(("priority", Price(2_000, 9_000, cache_write=3_000)),)),
    Price(1_000, 5_000, schedule=((Validity(), Price(7_000, 9_000, cache_write=8_000)),)),
)


@each_row("tier", [None, "priority"])
@each_row("price", PREMIUMS)
def test_the_premium_of_cache_writes_is_their_cost_less_that_of_input(price: Price, tier: str | None):
    """Each token costs whole nano-dollars, so that no cost is rounded."""
    price = _in_nanos(price)
    usage = attrs.evolve(WRITTEN, tier=tier)
    plain = attrs.evolve(usage, input=usage.input + usage.cache_write, cache_write=0, cache_write_1h=None)
    paid = computed_cost(price, usage, at=1.0).nanos - computed_cost(price, plain, at=1.0).nanos
    assert write_premium(price, usage, at=1.0) == max(paid, 0)


def _in_nanos(price: Price) -> Price:
    kinds = {name: getattr(price, name) for name in ("input", "output", "cached", "cache_write", "cache_write_1h")}
    nested = {
        name: tuple((key, _in_nanos(other)) for key, other in getattr(price, name))
        for name in ("above", "tiers", "schedule")
    }
    return attrs.evolve(price, **{name: one and one * 1_000_000 for name, one in kinds.items()}, **nested)
