"""Conditions as JUnit's XML, and what the command line makes of conditions."""

import json
from xml.etree import ElementTree

from loadtest.figures.conditions import ConditionVerdict, judge_conditions, parse_condition
from loadtest.reports import report_file
from loadtest.reports.other_files import junit
from tests.support.load_records import record, result

RUN = result(record(), target="gate\x1b[31mway", scenario={"requests": [{"name": "chat m"}]})
TOLD = judge_conditions(map(parse_condition, ["ttft.p95>100ms", "goodput<99%", "cached_tokens.max>0"]), [RUN])


def test_each_condition_is_a_test_case_of_its_run():
    root = ElementTree.fromstring(junit([RUN], TOLD))
    (suite,) = root
    assert (root.get("tests"), suite.get("tests"), suite.get("failures")) == ("3", "3", "2")
    assert suite.get("name") == r"gate\x1b[31mway"
    cases = {case.get("name"): [failure.get("message") for failure in case] for case in suite}
    assert cases == {
        "not ttft.p95>100ms": ["ttft.p95>100ms: it is 200 ms"],
        "not goodput<99%": [],
        "not cached_tokens.max>0": ["cached_tokens.max>0: nothing was measured"],
    }


def test_the_json_has_each_condition_with_value_and_limit():
    """True is good: what k6's summary called true had been crossed (grafana/k6-docs#212)."""
    found = json.loads(report_file.dump([RUN], verdicts=TOLD))["conditions"]
    assert [(one["condition"], one["ok"], one["value"], one["limit"]) for one in found] == [
        ("ttft.p95>100ms", False, 0.2, 0.1),
        ("goodput<99%", True, 100.0, 99.0),
        ("cached_tokens.max>0", False, None, 0.0),
    ]


def test_the_junit_file_lists_a_stop_condition_at_its_run():
    plan = {"requests": [{"name": "chat m"}]}
    runs = [result(record(), target="a", scenario=plan, label=label, stopped=why) for label, why in (("5/s", ""),
            ("10/s", "errors>5%: it is 9 %"))]  # fmt: skip
    told = [
        ConditionVerdict("a", "errors>5%", False, 9.0, 5.0, "9 %"),
        *judge_conditions([parse_condition("whole<1")], runs),
    ]
    suites = ElementTree.fromstring(junit(runs, told))
    assert [(suite.get("name"), [case.get("name") for case in suite]) for suite in suites] == [
        ("a 5/s", ["not whole<1"]),
        ("a 10/s", ["not errors>5%", "not whole<1"]),
    ]
