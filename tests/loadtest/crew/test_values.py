"""Frozen values as data."""

import math
from pathlib import Path

import attrs
import msgspec
import pytest

from configfile.document import Document
from loadtest.crew.values import NoValue, packed, unpacked
from loadtest.plan.arrivals import RateStep
from loadtest.plan.load_request import LoadRequest
from loadtest.plan.scenario_file import build

RATE = "loadtest.plan.arrivals:RateStep"


def through(value):
    """As another process has it."""
    return unpacked(msgspec.msgpack.decode(msgspec.msgpack.encode(packed(value))))


def test_values_arrive_as_they_are():
    for value in (
        None, True, 3, 2.5, math.inf, "é", b"\x00\xff", (), (1, (2, "3")), [1, [2]], {}, {"": 1, "of": [2]}, {1: "a"},
        Path("a/b"), RateStep(5, 10, to=20), LoadRequest("m", extra={"": {"a": (1,)}}),
    ):  # fmt: skip
        found = through(value)
        assert (type(found), found) == (type(value), value)


def test_a_whole_scenario_arrives_with_its_headers():
    plan = build(
        Document(
            "s.yml",
            {
                "targets": {"a": "http://127.0.0.1:1", "b": "http://127.0.0.1:2/v1?key=secret"},
                "requests": [
                    {"model": "m", "prompt": [5, 10], "extra": {"a": [1, {"b": None}]}, "cancel": {"share": "10%"}},
                    {"model": "n", "api": "messages", "slow": {"share": 1, "rate": "4kB"}},
                ],
                "steps": [{"rate": 5, "seconds": 1}, {"rate": 5, "to": 9, "seconds": 2}],
                "headers": {"authorization": "Bearer abc"},
                "fail_if": ["ttft.p95>500ms"],
            },
        ),
        {},
    )
    assert through(plan) == plan


def test_what_is_no_plain_value_is_not_sent():
    for value in (print, object(), re_like := iter(()), attrs.make_class("Other", ["a"])(1)):
        with pytest.raises(NoValue):
            packed(value)
    assert re_like is not None


def test_nothing_but_our_own_values_is_made_of_what_another_process_says():
    for kind in (
        "os:system", "subprocess:Popen", "loadtest.crew.children:child", "loadtest.crew.nothing:A",
        "loadtest.plan.arrivals:nothing", "configfile.document:Document", "x", 3,
    ):  # fmt: skip
        with pytest.raises(NoValue):
            unpacked({"": kind, "of": []})
    for data in ({"": RATE}, {"": RATE, "rate": 1, "seconds": 1, "other": 1}, {"": "()"}, {"a": 1}):
        with pytest.raises(NoValue):
            unpacked(data)
    assert unpacked({"": RATE, "rate": 1.0, "seconds": 2.0}) == RateStep(1.0, 2.0)
