"""The shares of one plan: of processes, and of machines as parts."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configfile.document import ConfigError, Document
from configfile.wording import Wrong
from loadtest.plan.scenario_file import build_scenario
from loadtest.plan.shares import ALL, PlanShare, available_cores, format_start, parse_part, parse_processes, parse_start


def test_processes():
    for said, found in ((1, 1), ("4", 4), (256, 256), ("auto", max(1, available_cores() - 1))):
        assert parse_processes(said) == found
    for said in (0, -1, 257, "x", True, 1.5, None, "-1", ""):
        with pytest.raises(Wrong):
            parse_processes(said)


def test_parts():
    assert [parse_part(said) for said in ("1/1", "2/5", " 5 / 5 ")] == [ALL, PlanShare(1, 5), PlanShare(4, 5)]
    for wrong in ("", "2", "0/5", "6/5", "1/0", "-1/2", "a/b", "1/99999", "1/2/3"):
        with pytest.raises(Wrong, match=re.escape(repr(wrong))):
            parse_part(wrong)


def test_starts():
    for said in ("2026-11-23T12:00:00Z", "2026-11-23 13:00+01:00", "1795435200", "1795435200.0"):
        assert parse_start(said) == 1795435200
    assert format_start(1795435200) == "2026-11-23T12:00:00Z"
    for wrong in ("", "now", "12:00", "2026-11-23", "2026-11-23T12:00:00", "99", "2026-99-23T12:00:00Z"):
        with pytest.raises(Wrong):
            parse_start(wrong)


@given(st.integers(1, 7), st.integers(1, 4), st.integers(0, 60))
def test_divided_shares_are_all_of_a_plan_once(parts, processes, count):
    shares = [PlanShare(part, parts).divide(index, processes) for part in range(parts) for index in range(processes)]
    assert sorted(number for share in shares for number in range(count) if share.contains(number)) == list(range(count))
    assert sum(share.count(count) for share in shares) == count


def test_a_scenario_names_processes_and_no_other_machines():
    content = {"url": "http://a", "rate": 1, "requests": [{"model": "m"}]}
    assert build_scenario(Document("", {**content, "processes": 3}), {}).processes == 3
    with pytest.raises(ConfigError) as caught:
        build_scenario(Document("", {**content, "processes": 0, "workers": ["a:1"], "secret_env": "S"}), {})
    told = {mistake.path: mistake.expected for mistake in caught.value.mistakes}
    assert told["workers"] == told["secret_env"]
    assert "--part K/N --start-at TIME" in told["workers"]
    assert "a number of processes" in told["processes"]
