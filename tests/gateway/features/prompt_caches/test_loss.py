"""The price of missed tokens."""

import attrs

from gateway.features.prompt_caches.interface import CacheVerdict, CauseShare
from gateway.features.prompt_caches.verdicts import loss
from providers.catalog.prices import SUBSCRIPTION, read_price
from streams.events import Usage
from tests.support.each_row import each_row

_CLAUDE = read_price({"input": 3, "output": 15, "cached": 0.3, "cache_write": 3.75, "cache_write_1h": 6}, "catalogue")


def _verdict(missed: int, *names: str, grade: str = "exact") -> CacheVerdict:
    shares = tuple(CauseShare(name, None, missed // len(names)) for name in names)
    return CacheVerdict(could=51_200, read=51_200 - missed, missed=missed, causes=shares, grade=grade)


def test_missed_tokens_cost_their_writing_less_the_cached_price():
    usage = Usage(input=30, cache_read=1920, cache_write=49_310, cache_write_5m=49_310, cache_write_1h=0, output=212)
    found = loss(_verdict(49_280, "system"), usage, _CLAUDE)
    assert (found.dollars, found.grade) == (("0.170016000",), "exact")
    assert found.nanos == 170_016_000


def test_written_tokens_are_the_missed_ones_first_then_the_other_input():
    usage = Usage(input=10_000, cache_write=6000, cache_write_5m=2000, cache_write_1h=4000)
    found = loss(_verdict(8000, "history"), usage, _CLAUDE)
    assert found.nanos == (4000 * 5700 + 2000 * 3450 + 2000 * 2700)


@each_row("name", ["compacted", "small", "early", "unknown"])
def test_causes_without_a_loss(name: str):
    found = loss(_verdict(10_000, name), Usage(input=20_000), _CLAUDE)
    assert (found.nanos, found.dollars) == (0, ("0.000000000",))


def test_two_causes_share_the_loss_by_their_tokens():
    found = loss(_verdict(10_000, "history", "early"), Usage(input=20_000), _CLAUDE)
    assert found.shares == (13_500_000, 0)
    assert found.nanos == 13_500_000


def test_a_prompt_above_a_threshold_has_the_price_of_long_prompts():
    price = read_price(
        {"input": 3, "output": 15, "cached": 0.3, "above": {"200000": {"input": 6, "cached": 0.6}}}, "config"
    )
    found = loss(_verdict(10_000, "tools"), Usage(input=240_000, cache_read=20_000), price)
    assert found.nanos == 10_000 * 5400


def test_the_grade_is_the_worst_one():
    estimated = loss(_verdict(10_000, "tools", grade="estimated"), Usage(input=20_000), _CLAUDE)
    uncached = loss(_verdict(10_000, "tools"), Usage(input=20_000), attrs.evolve(_CLAUDE, cached=None))
    assert estimated is not None
    assert (estimated.grade, uncached.grade, uncached.nanos) == ("estimated", "estimated", 0)


def test_without_a_price_there_is_no_loss():
    assert loss(_verdict(10_000, "tools"), Usage(input=20_000), None) is None
    assert loss(_verdict(10_000, "tools"), Usage(input=20_000), SUBSCRIPTION) is None
