"""Presidio's analyzer as a step, on a real socket: its API, and every malformed result.

The API: https://github.com/microsoft/presidio/blob/main/presidio-analyzer/app.py"""

from functools import partial
from typing import Any, Final

import pytest

from gateway.features.steps.runner import StepFailed, run_step
from tests.support.check_services import analyzer
from tests.support.each_row import each_row
from tests.support.step_files import service_step
from trigate.steps import Check, Passage

PEOPLE: Final = analyzer({"PERSON": "Ann Lee", "DATE_TIME": "today"})
presidio_step: Final = partial(service_step, "presidio")


def check(*texts: str) -> Check:
    passages = (Passage("user", f"messages[{i}].content", text) for i, text in enumerate(texts))
    return Check("request", tuple(passages), client="app")


@each_row(
    ("more", "settings", "expected"),
    [
        ("", "", {"language": "en"}),
        ("", ", language: de, score: 0.35", {"language": "de", "score_threshold": 0.35}),
        (", action: {PERSON: mask}", "", {"language": "en", "entities": ["PERSON"]}),
    ],
)
async def test_the_request_has_the_documented_members(tmp_path, guard, more, settings, expected):
    guard.use(PEOPLE)
    async with presidio_step(tmp_path, guard.url + "/", more, settings) as step:
        await run_step(step, check("I am Ann Lee", "", "today"))
    (seen,) = guard.seen
    assert (seen.method, seen.path) == ("POST", "/analyze")
    assert seen.json == {"text": ["I am Ann Lee", "today"], **expected}


async def test_positions_count_characters(tmp_path, guard):
    guard.use(PEOPLE)
    async with presidio_step(tmp_path, guard.url) as step:
        found = await run_step(step, check("nothing", "🦅🦅 Ann Lee, today"))
    assert [(one.label, one.passage.path, one.start, one.end) for one in found] == [
        ("PERSON", "messages[1].content", 3, 10),
        ("DATE_TIME", "messages[1].content", 12, 17),
    ]
    assert [step.action_for(one.label) for one in found] == ["mask", "mask"]


async def test_a_label_without_an_action_is_refused(tmp_path, guard):
    guard.use(lambda _: [[{"entity_type": "PERSON", "start": 5, "end": 12, "score": 0.85}]])
    async with presidio_step(tmp_path, guard.url, ", action: {US_SSN: mask}") as step:
        (found,) = await run_step(step, check("I am Ann Lee"))
        assert step.action_for(found.label) == "refuse"


async def test_clean_texts_are_not_sent_again(tmp_path, guard):
    guard.use(PEOPLE)
    async with presidio_step(tmp_path, guard.url) as step:
        await run_step(step, check("clean", "I am Ann Lee"))
        await run_step(step, check("clean", "I am Ann Lee", "new"))
    assert [one["text"] for one in guard.requests] == [["clean", "I am Ann Lee"], ["I am Ann Lee", "new"]]


@each_row("position", [10, 8_999, 9_995, 9_999, 17_995, 25_000])
async def test_a_name_at_the_border_of_two_pieces_is_found_whole(tmp_path, guard, position):
    guard.use(PEOPLE)
    text = "a" * position + " Ann Lee " + "b" * (25_000 - position)
    async with presidio_step(tmp_path, guard.url) as step:
        found = await run_step(step, check(text))
    assert {(one.start, one.end) for one in found} == {(position + 1, position + 8)}
    assert max(len(one) for one in guard.requests[0]["text"]) == 10_000


RESULT: Final = {"entity_type": "PERSON", "start": 0, "end": 2, "score": 0.9}

MALFORMED: Final[dict[str, Any]] = {
    "an object": {"error": "No language provided"},
    "results of one text": [RESULT],
    "too many lists": [[], []],
    "no list": [],
    "null for a text": [None],
    "no position": [[{"entity_type": "PERSON"}]],
    "a text as position": [[{**RESULT, "start": "0"}]],
    "a boolean as position": [[{**RESULT, "start": True}]],
    "an end after the text": [[{**RESULT, "end": 99}]],
    "a negative start": [[{**RESULT, "start": -1}]],
    "an end before the start": [[{**RESULT, "start": 3}]],
    "no entity": [[{**RESULT, "entity_type": None}]],
    "a result that is a text": [["PERSON"]],
}


@each_row("case", MALFORMED, every=3)
async def test_malformed_results_are_failures(tmp_path, guard, case):
    guard.use(lambda _: MALFORMED[case])
    async with presidio_step(tmp_path, guard.url) as step:
        with pytest.raises(StepFailed) as caught:
            await run_step(step, check(f"a text that was never clean, {case}"))
    assert caught.value.reason == "malformed"
