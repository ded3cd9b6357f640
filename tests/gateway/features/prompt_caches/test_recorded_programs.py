"""Conversations of real programs: ten turns without a break have no cause, and a planted break has its own."""

import json
from typing import Any

import attrs
import pytest

from gateway.features.prompt_caches.differences import first_difference
from tests.support.cache_turns import CacheTurns
from tests.support.cached_prompts import read, row_of
from tests.support.recorded_requests import Request, requests
from tests.support.recorded_turns import (
    HISTORY,
    answer_positions,
    conversations,
    program_names,
    ten_turns,
    without_marks,
)


@pytest.mark.parametrize("program", program_names())
def test_ten_turns_of_a_program_have_no_cause(program: str):
    request = conversations()[program]
    turns = CacheTurns(request.api, attrs.evolve(row_of(request.api), minimum=None))
    bodies = list(ten_turns(request.api, request.body))
    has_marks = "cache_control" in json.dumps(request.body) or not turns.row.needs_marks
    for number, body in enumerate(bodies):
        turns.send(body)
        if has_marks:
            assert turns.verdict.missed == 0
        # A program without marks is the cause itself, where the provider needs them.
        assert turns.causes == ([] if has_marks or not number else ["marks"])
        if number:
            before = turns.sent[-2].read.prompt
            assert first_difference(before, turns.prompt) is None
            assert turns.prompt.prefix(before.end) == before.prefix(before.end)


@pytest.mark.parametrize("program", program_names())
def test_a_break_in_the_turns_of_a_program_is_found(program: str):
    request = conversations()[program]
    turns = CacheTurns(
        request.api, attrs.evolve(row_of(request.api), minimum=None, needs_marks=False, boundaries="ends")
    )
    bodies = list(ten_turns(request.api, request.body))
    for number, body in enumerate(bodies[1:]):
        history, text = body[HISTORY[request.api]], f"The time is 9:0{number}."
        history[answer_positions(request.api, body)[0] - 1] = {
            "role": "user",
            "content": text + " More of the text." * 1000,
        }
        turns.send(body, 0 if number else None)
        if number:
            assert turns.causes == ["history"]
            assert turns.at.endswith("(changed)")


def test_a_program_that_is_recorded_twice_repeats_its_prefix():
    """Each recorded turn begins with the one before, as its program sent it."""
    compared = 0
    earlier: dict[str, Request] = {}
    for request in requests():
        if "/" not in request.key or request.own:
            continue
        program = request.key.partition("/")[0]
        before, earlier[program] = earlier.get(program), request
        if before is None or before.api != request.api or not _is_next_turn(before, request):
            continue
        compared += 1
        first, second = read(request.api, before.body), read(request.api, request.body)
        assert first_difference(first, second) is None, request.key
    if not earlier:
        pytest.skip("the recorded requests of programs are not available")
    assert compared > 20


def _is_next_turn(before: Request, request: Request) -> bool:
    """Return whether a request continues the one before: equal tools, and the same text of the user."""
    items = [one.body.get(HISTORY[one.api]) for one in (before, request)]
    if not all(isinstance(one, list) for one in items) or len(items[1]) <= len(items[0]):
        return False
    texts = [_texts(one[: len(items[0])]) for one in items]
    return texts[0] == texts[1] and before.body.get("tools") == request.body.get("tools")


def _texts(value: Any) -> str:
    return json.dumps(without_marks(value))
