"""Short runs of `tests/soak.py`: seconds instead of minutes. One of these tests also runs without the mark ``soak``, so
that the traffic of the soak stays correct."""

import pytest

from tests.soak import WHOLE, Soak

pytestmark = pytest.mark.process


@pytest.mark.soak
def test_mixed_streams_leave_no_resources_open():
    soak = Soak(streams=40)
    soak.run_mixed(seconds=1)
    assert len(soak.outcomes) > 50
    assert {one.model for one in soak.outcomes} > {*WHOLE}


@pytest.mark.soak
def test_a_hundred_simultaneous_paced_streams_are_complete():
    soak = Soak(streams=0)
    assert soak.run_paced(concurrent=100, pace=0.1) < 0.1
    assert [one.line["end"] for one in soak.outcomes] == ["whole"] * 100


def test_a_signal_during_work_leaves_no_resources_open():
    soak = Soak(streams=10, apis=["responses"])
    soak.run_signals(1, pause=0.3)
    assert {"whole", "error", "cancelled"} <= {one.line["end"] for one in soak.outcomes}


@pytest.mark.soak
def test_a_killed_worker_only_loses_its_own_streams():
    soak = Soak(streams=20)
    soak.run_signals(2, kills=1, pause=0.3)
    lost = [one for one in soak.outcomes if one.is_wrong and soak.was_lost(one)]
    assert 0 < len(lost) < len(soak.outcomes)
