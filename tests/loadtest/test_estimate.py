"""What is said of a load's tokens before it begins."""

import pytest

from loadtest.requests.estimate import TokenEstimate, token_estimate
from tests.support.each_row import each_row
from tests.support.load_servers import scenario


def estimate(*requests, **more):
    return token_estimate(scenario("http://x", list(requests), **more))


def test_a_plan_estimates_its_sessions_and_tokens():
    found = estimate({"model": "m", "prompt": 1000, "output": 100}, rate=10, seconds=60, warmup="5s")
    assert (found.sessions, found.inputs, found.outputs) == (650, pytest.approx(1000, rel=0.1), 100)
    assert str(found).endswith("k input tokens and at most 65 k output tokens")
    mixed = estimate({"model": "m", "output": 100, "weight": 3}, {"model": "n", "output": 500}, rate=10, count=50)
    assert mixed.sessions == 50
    assert mixed.outputs == pytest.approx(200, rel=0.25)


def test_each_turn_repeats_the_earlier_ones():
    one, three = (estimate({"model": "m", "prompt": 100, "output": 50, "turns": n}, rate=1, count=1) for n in (1, 3))
    assert three.outputs == 150
    assert three.inputs == pytest.approx(3 * one.inputs + 3 * (one.inputs + 50))


def test_an_estimate_states_that_the_count_depends_on_the_servers():
    found = estimate({"model": "m", "output": 50}, concurrency=4, seconds=9)
    assert "the number of requests depends on the servers" in str(found)
    assert str(estimate({"model": "m", "output": 50}, concurrency=4, count=100)).endswith(
        " input tokens and at most 5 k output tokens"
    )


@each_row("tokens, told", [(7, "7"), (999, "999"), (1234, "1.2 k"), (12_345, "12 k"), (3_210_000, "3.2 M")])
def test_an_estimate_has_two_figures(tokens, told):
    assert str(TokenEstimate(1, tokens, tokens)) == f"about {told} input tokens and at most {told} output tokens"
