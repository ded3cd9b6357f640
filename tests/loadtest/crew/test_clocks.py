"""One instant on the clocks of several processes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.crew.clocks import (
    ClockOffset,
    ClockReading,
    NotTogether,
    check_doubts,
    check_spread,
    spread,
    spread_note,
)

WAYS = st.lists(st.tuples(st.floats(0, 2), st.floats(0, 2)), min_size=1, max_size=8)


@given(WAYS, st.floats(-1e6, 1e6))
def test_an_offset_is_right_to_within_its_doubt(ways, ahead):
    """However unlike the two ways are."""
    readings = [ClockReading(t, t + there + ahead, t + there + back) for t, (there, back) in enumerate(ways)]
    offset = ClockOffset.of(readings)
    assert abs(offset.seconds - ahead) <= offset.doubt + 1e-6
    assert offset.doubt == pytest.approx(min(there + back for there, back in ways) / 2, abs=1e-9)
    assert offset.ours(offset.theirs(12.5)) == pytest.approx(12.5)


def test_how_far_apart_they_began():
    """11 to 14 s apart was seen and not told: gridgain/yardstick#4."""
    for begun, apart, note in (
        ({"a": 1.0}, 0.0, False),
        ({"a": 1.0, "b": 1.049}, 0.049, False),
        ({"a": 1.0, "b": 1.06, "c": 0.99}, 0.07, True),
    ):
        assert spread(begun.values()) == pytest.approx(apart)
        check_spread(begun)
        assert bool(spread_note(spread(begun.values()))) is note, begun
    assert "70 ms apart" in str(spread_note(0.07))
    with pytest.raises(NotTogether, match=r"c began 1\.2 s after the first"):
        check_spread({"a": 1.0, "b": 1.1, "c": 2.2})


def test_a_worker_too_far_away_to_begin_with_the_others_is_refused():
    check_doubts({"near": ClockOffset(5.0, 0.2)})
    with pytest.raises(NotTogether, match="far answers after 2"):
        check_doubts({"near": ClockOffset(5.0, 0.2), "far": ClockOffset(0.0, 1.2)})
