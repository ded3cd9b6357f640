"""The histogram of the load tester."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.figures.histogram import UNIT, Histogram, bucket_of, highest_value_in

VALUES = st.floats(0, 1e5)
MANY = st.lists(VALUES, min_size=1, max_size=200)


def histogram_of(values) -> Histogram:
    histogram = Histogram()
    histogram.extend(values)
    return histogram


@given(VALUES)
def test_a_bucket_is_as_exact_as_promised(value):
    assert -UNIT <= highest_value_in(bucket_of(value)) - value <= value / 128 + UNIT


@given(st.integers(0, 4000))
def test_buckets_follow_one_another_without_a_gap(bucket):
    assert bucket_of(highest_value_in(bucket)) == bucket
    assert bucket_of(highest_value_in(bucket) + UNIT) == bucket + 1


@given(MANY, st.floats(0, 100))
def test_a_percentile_equals_the_percentile_of_the_sorted_values(values, percent):
    exact = sorted(values)[max(1, math.ceil(len(values) * percent / 100 - 1e-9)) - 1]
    assert histogram_of(values).percentile(percent) == pytest.approx(exact, rel=0.01, abs=2 * UNIT)


@given(MANY)
def test_percentiles_rise_between_the_least_and_the_greatest(values):
    found = [histogram_of(values).percentile(percent) for percent in (0, 10, 50, 90, 99, 99.9, 100)]
    assert found == sorted(found)
    assert found[-1] == pytest.approx(max(values), rel=0, abs=UNIT)
    assert found[0] >= min(values)


def test_percentiles_and_mean_of_an_empty_histogram_are_0():
    assert (Histogram().percentile(99), Histogram().mean) == (0, 0)
