"""Lengths in tokens: how they are spelled, and what is drawn of them (guidellm and inference-perf draw alike)."""

import random
from statistics import mean, median, quantiles, stdev

import pytest

from configfile.wording import Wrong
from loadtest.plan.lengths import LognormalLengths, NormalLengths, UniformLengths, read_lengths


def drawn(lengths, number=20_000):
    rng = random.Random(7)
    return [lengths.draw(rng) for _ in range(number)]


def test_every_spelling_is_read():
    cases = {
        1000: UniformLengths(1000, 1000),
        "1000": UniformLengths(1000, 1000),
        "50-2000": UniformLengths(50, 2000),
        "[50, 2000]": UniformLengths(50, 2000),
        "mean=500,stdev=100": NormalLengths(500, 100),
        "mean=500, stdev=100, min=5, max=900": NormalLengths(500, 100, 5, 900),
        "p50=200,p95=2000": LognormalLengths(200, 2000),
    }
    for spelled, lengths in cases.items():
        assert read_lengths(spelled) == lengths, spelled
    assert read_lengths([50, 2000]) == UniformLengths(50, 2000)
    assert read_lengths({"mean": 500, "stdev": 100, "min": 5}) == NormalLengths(500, 100, 5)
    assert read_lengths({"p50": 200, "p95": 2000, "max": 4000}) == LognormalLengths(200, 2000, most=4000)


def test_invalid_lengths_are_reported():
    cases = {
        0: "expected a number of tokens",
        True: "expected a number of tokens",
        "many": "expected a number of tokens",
        "mean=500": "add stdev to mean",
        "p50=500": "add p95 to p50",
        "p50=500,p95=400": "p95 must be p50 or more",
        "mean=500,stdev=1,p95=3": "mean with stdev, or p50 with p95",
        "mean=500,sdev=1": "did you mean stdev?",
        "mean=5,stdev=1,min=9,max=8": "max must be min or more",
        "mean=x,stdev=1": "expected a number of tokens",
        "mean=5,stdev=1,mean=6": "mean appears twice",
    }
    for spelled, said in cases.items():
        with pytest.raises(Wrong) as caught:
            read_lengths(spelled)
        told = caught.value
        whole = f"{told.found}; {told.expected}" + (f"; did you mean {told.suggestion}?" if told.suggestion else "")
        assert said in whole, (spelled, whole)
    for value in ([1, 2, 3], [5, 4], {"least": 4}, [1.5, 2], None, {"mean": 1e9, "stdev": 1}, {}):
        with pytest.raises(Wrong):
            read_lengths(value)


def test_drawn_lengths_follow_their_distribution():
    even = drawn(UniformLengths(50, 150))
    assert (min(even), max(even)) == (50, 150)
    assert mean(even) == pytest.approx(100, rel=0.02)
    normal = drawn(NormalLengths(500, 100))
    assert (mean(normal), stdev(normal)) == (pytest.approx(500, rel=0.02), pytest.approx(100, rel=0.05))
    lognormal = drawn(LognormalLengths(200, 2000))
    assert median(lognormal) == pytest.approx(200, rel=0.05)
    assert quantiles(lognormal, n=20)[-1] == pytest.approx(2000, rel=0.1)


def test_clamped_lengths_have_the_stated_mean():
    for lengths in (NormalLengths(100, 300, 20, 150), LognormalLengths(100, 1000, 50, 400)):
        found = drawn(lengths)
        assert (min(found), max(found)) == (lengths.least, lengths.most)
    for told in (UniformLengths(50, 150), NormalLengths(500, 100), LognormalLengths(200, 600)):
        assert mean(drawn(told)) == pytest.approx(told.mean, rel=0.02), told
    assert min(drawn(NormalLengths(3, 100))) == 1  # a prompt of no token is none


def test_one_seed_draws_the_same_lengths():
    assert drawn(LognormalLengths(200, 2000), 50) == drawn(LognormalLengths(200, 2000), 50)
