"""The soak in small: what `tests/soak.py` does for minutes, for seconds."""

from soak import Soak


def test_mixed_streams_leave_nothing_behind():
    said: list[str] = []
    tally = Soak(seconds=3, streams=40, concurrent=0, say=said.append).run()
    assert len(tally.answered) > 100, said
    assert {"complete", "leave", "leave_by_reset", "read_no_more", "pipeline"} == set(tally.clients)


def test_two_hundred_paced_streams_at_once_are_all_complete():
    said: list[str] = []
    tally = Soak(seconds=0, streams=0, concurrent=200, hold=2, say=said.append).run()
    assert len(tally.answered) == 200
    late = sorted(tally.late)
    assert late[len(late) // 2] < 0.1, said  # p99 says more about a shared machine
