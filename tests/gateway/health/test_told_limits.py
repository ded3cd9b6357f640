"""What providers tell of their limits is used before they refuse (openai/codex#32341)."""

from typing import Any

import pytest

from gateway.health.health import MOST_TOLD, ToldLimits
from tests.support.in_process import CountingProvider, gateway, providers

APIS = ("chat", "messages", "responses")
NOTHING_LEFT = (("x-ratelimit-remaining-requests", "0"), ("x-ratelimit-reset-requests", "30s"))
OF_ANTHROPIC = (
    ("anthropic-ratelimit-tokens-remaining", "0"), ("anthropic-ratelimit-tokens-reset", "2999-01-01T00:00:00Z"),
)  # fmt: skip
USED_UP = (("x-codex-primary-used-percent", "100"), ("x-codex-primary-reset-after-seconds", "60"))


def config(*places: CountingProvider, **when: Any) -> dict[str, Any]:
    names = [chr(ord("a") + number) for number in range(len(places))]
    return {
        "version": "v0.4.0",
        "model_providers": [
            {"model": f"vllm/{name}", "name": name, "base_url": f"{at.url}/v1", "access_key": "k", "speaks": list(APIS)}
            for name, at in zip(names, places, strict=True)
        ],
        "model_aliases": {"r": {"targets": ["a", *({"target": name, **when} for name in names[1:])]}},
    }


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("told", [NOTHING_LEFT, OF_ANTHROPIC, USED_UP], ids=lambda told: told[0][0])
async def test_a_place_that_has_nothing_left_is_passed_over(told, stream):
    async with providers(2) as (first, second), gateway(config(first, second)) as running:
        first.told = told
        for _ in range(3):
            assert (await running.ask("r", stream=stream)).status_code == 200
        assert (first.take_count(), second.take_count()) == (1, 2)
        assert (await running.ask("a")).status_code == 200, "its own name goes there all the same"


async def test_it_is_asked_again_when_its_time_is_over():
    async with providers(2) as (first, second), gateway(config(first, second)) as running:
        first.told = NOTHING_LEFT
        await running.ask("r")
        running.clock.now += 29
        await running.ask("r")
        first.told = ()
        running.clock.now += 2
        await running.ask("r")
        assert (first.take_count(), second.take_count()) == (2, 1)


async def test_where_no_other_place_is_left_it_is_asked():
    # What is told is the time until a limit is full, which is later than the time from which one more fits.
    async with providers(2) as (first, second), gateway(config(first, second)) as running:
        first.told = second.told = NOTHING_LEFT
        statuses = [(await running.ask("r")).status_code for _ in range(4)]
        assert statuses == [200] * 4
        assert (first.take_count(), second.take_count()) == (3, 1)
        second.told, second.fails = (), 500
        running.clock.now += 31
        await running.ask("r")
        assert (await running.ask("r")).status_code == 200, "the other fails, and this one would have answered"


async def test_a_place_that_such_a_limit_does_not_lead_to_is_not_asked_for_it():
    # A short limit costs no money: ColeMurray/background-agents#1532
    async with providers(2) as (first, second), gateway(config(first, second, when=["quota"])) as running:
        first.told = NOTHING_LEFT
        assert [(await running.ask("r")).status_code for _ in range(2)] == [200, 200]
        assert second.take_count() == 0
        first.told = USED_UP
        assert [(await running.ask("r")).status_code for _ in range(2)] == [200, 200]
        assert second.take_count() == 1


def test_only_so_many_places_are_remembered():
    told = ToldLimits(lambda: 0.0)
    for number in range(MOST_TOLD + 10):
        told.heard(number.to_bytes(4), ("rate_limited", 5.0))
    assert len(told.places) == MOST_TOLD
    assert told.outage((0).to_bytes(4)) is None
    assert told.outage((MOST_TOLD).to_bytes(4)) is not None
    told.heard((MOST_TOLD).to_bytes(4), None)
    assert told.outage((MOST_TOLD).to_bytes(4)) is None
