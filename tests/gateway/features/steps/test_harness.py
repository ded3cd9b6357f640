"""The harness for tests of steps finds faults of a step, and runs it in every API."""

import re

import pytest

from gateway.features.steps import harness
from trigate.steps import Finding, step
from trigate.steps.testing import run

WORD = re.compile(r"falcon-\d+")
MOST_SPLITS = 16
REQUEST = {"messages": [{"role": "user", "content": "about falcon-12"}]}


def find_words(check):
    return [Finding("word", one, *found.span()) for one in check.passages for found in WORD.finditer(one.text)]


@step(hold=12)
async def find_words_in_window(check):
    return find_words(check)


@pytest.fixture
def _fewer_splits(monkeypatch):
    monkeypatch.setattr(harness, "MOST_SPLITS", MOST_SPLITS)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tested", "seeds"),
    [
        (find_words_in_window, None),
        *(pytest.param(each, 3, marks=pytest.mark.soak) for each in (find_words, find_words_in_window)),
    ],
)
def test_a_step_is_run_in_every_api_and_at_every_split(tested, seeds, monkeypatch):
    """The gate splits at few of the places."""
    if seeds is None:
        monkeypatch.setattr(harness, "MOST_SPLITS", MOST_SPLITS)
        seeds = 1
    found = run(tested, REQUEST, "it is falcon-77 today", seeds=seeds)
    assert [one.text for one in found.request] == ["falcon-12"]
    assert [(one.label, one.part, one.text) for one in found.response] == [("word", "assistant", "falcon-77")]
    assert found.sent is not None
    assert b"[WORD_" in found.sent
    assert re.fullmatch(r"it is \[WORD_[0-9a-f]{10,}\] today", found.released or "")


@pytest.mark.usefixtures("_fewer_splits")
def test_a_refusal_has_no_text():
    found = run(find_words, REQUEST, "falcon-77", action="refuse", seeds=1)
    assert (found.sent, found.released) == (None, None)


@pytest.mark.usefixtures("_fewer_splits")
@pytest.mark.parametrize("hold", [20, *(pytest.param(hold, marks=pytest.mark.soak) for hold in (None, "nothing"))])
def test_a_step_that_only_reports_changes_nothing(hold):
    found = run(find_words, REQUEST, "it is falcon-77 today", action="report", hold=hold, seeds=1)
    assert found.released == "it is falcon-77 today"
    assert [one.text for one in found.response] == ["falcon-77"]


@pytest.mark.usefixtures("_fewer_splits")
@pytest.mark.parametrize("action", ["mask", pytest.param("refuse", marks=pytest.mark.soak)])
def test_a_window_that_cuts_a_value_is_no_fault(action):
    found = run(find_words, REQUEST, "he said falcon-7777 and falcon-8.", action=action, hold=16, seeds=1)
    assert {one.text for one in found.response} == {"falcon-7777", "falcon-8"}
    assert "falcon" not in (found.released or "")


def test_a_mask_without_holding_is_an_error():
    with pytest.raises(ValueError, match="a mask is too late"):
        run(find_words, REQUEST, "falcon-77", hold="nothing")


@pytest.mark.usefixtures("_fewer_splits")
def test_a_step_that_holds_too_little_is_found_out():
    with pytest.raises(AssertionError, match=r"releases|shows"):
        run(step(hold=3)(lambda check: find_words(check)), REQUEST, "it is falcon-77 today", seeds=3)


def test_a_step_that_fails_is_reported():
    def raise_always(check):
        raise ValueError

    with pytest.raises(AssertionError, match="the step failed: error"):
        run(raise_always, REQUEST)


def test_a_request_of_another_api_is_an_error():
    with pytest.raises(ValueError, match="no request of messages"):
        run(find_words, {"input": "hi"}, api="messages")
