"""The processes that make a load, as they are named."""

import pytest

from configfile.document import ConfigError, Document
from configfile.wording import Wrong
from loadtest.plan.scenario_file import build
from loadtest.plan.workforce import cores, processes, workers


def test_processes():
    for said, found in ((1, 1), ("4", 4), (256, 256), ("auto", max(1, cores() - 1))):
        assert processes(said) == found
    for said in (0, -1, 257, "x", True, 1.5, None, "-1", ""):
        with pytest.raises(Wrong):
            processes(said)


def test_workers():
    for said, found in (
        ("a:1,b", ("a:1", "b:7071")),
        (["10.0.0.5:7071", " c.example "], ("10.0.0.5:7071", "c.example:7071")),
        ("[::1]:80,[::2]", ("[::1]:80", "[::2]:7071")),
    ):
        assert workers(said) == found
    for wrong in ("", "a:0", "a:70000", "a:b", "http://a", "a,,b", "a,a", "a,a:7071", [1], 3, {}):
        with pytest.raises(Wrong):
            workers(wrong)


def test_a_scenario_names_them():
    content = {"url": "http://a", "rate": 1, "requests": [{"model": "m"}]}
    plan = build(Document("", {**content, "processes": 3, "workers": ["a:1", "b:1"], "secret_env": "S"}), {})
    assert (plan.processes, plan.workers, plan.secret_env) == (3, ("a:1", "b:1"), "S")
    with pytest.raises(ConfigError) as caught:
        build(Document("", {**content, "processes": 0, "workers": "a:b"}), {})
    assert [mistake.path for mistake in caught.value.mistakes] == ["processes", "workers"]
