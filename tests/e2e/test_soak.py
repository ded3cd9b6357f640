"""Short runs of `tests/soak.py`: seconds instead of minutes. One of these tests also runs without the mark ``soak``, so
that the traffic of the soak stays correct."""

import pytest

from tests.soak import Signals, Soak
from tests.support.traffic import MANNERS

pytestmark = pytest.mark.process


@pytest.mark.soak
def test_mixed_streams_leave_no_resources_open():
    said: list[str] = []
    tally = Soak(seconds=1, streams=40, concurrent=0, say=said.append).run()
    assert len(tally.answered) > 50, said
    assert set(MANNERS) == set(tally.clients)


@pytest.mark.soak
def test_a_hundred_simultaneous_paced_streams_are_complete():
    said: list[str] = []
    tally = Soak(seconds=0, streams=0, concurrent=100, hold=0.5, say=said.append).run()
    assert len(tally.answered) == 100
    late = sorted(tally.late)
    assert late[len(late) // 2] < 0.1, said  # p99 would measure the load of a shared machine


def test_a_signal_during_work_leaves_no_resources_open():
    tally = Signals(workers=1, streams=20, pause=0.3, say=lambda _: None).run()
    assert tally.answered
    assert tally.stalled


@pytest.mark.soak
def test_a_killed_worker_only_loses_its_own_streams():
    tally = Signals(workers=2, streams=20, kills=1, pause=0.3, say=lambda _: None).run()
    lost = [name for name in tally.sent if tally.was_lost(name)]
    assert 0 < len(lost) < len(tally.sent)
