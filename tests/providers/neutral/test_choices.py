"""Answers with several choices are split with bounded work and memory, whatever a provider sends."""

import json
from typing import Any

import pytest

from providers.neutral.bounds import AnswerTooLarge
from providers.neutral.choices import MEMBERS, MOST_SPLIT, split_choices, split_other_choices

PADDING = "y" * 100_000


def answer(api: str, choices: int, **more: Any) -> bytes:
    return json.dumps({"id": "c", MEMBERS[api]: [{"index": at} for at in range(choices)], **more}).encode()


def split_body(api: str, data: bytes) -> list[bytes]:
    return list(split_other_choices(data, api))


def split_event(api: str, data: bytes) -> list[bytes]:
    return list(split_choices(api, data).values())


@pytest.mark.parametrize("api", MEMBERS)
@pytest.mark.parametrize("split", [split_body, split_event])
def test_more_choices_than_an_api_allows_are_refused(api, split):
    assert len(split(api, answer(api, MOST_SPLIT))) in (MOST_SPLIT, MOST_SPLIT - 1)
    with pytest.raises(AnswerTooLarge, match="choices"):
        split(api, answer(api, MOST_SPLIT + 1))


@pytest.mark.parametrize("api", MEMBERS)
@pytest.mark.parametrize("split", [split_body, split_event])
def test_large_members_are_not_copied_for_each_choice(api, split):
    data = answer(api, MOST_SPLIT, padding=PADDING)
    assert sum(map(len, split(api, data))) < 2 * len(data)


def test_small_members_belong_to_each_choice_but_the_usage_to_the_first():
    data = json.dumps({"id": "c", "more": 1, "usage": {}, "choices": [{"index": 0}, {"index": 1}]}).encode()
    first, second = map(json.loads, split_choices("chat", data).values())
    assert first == {"id": "c", "more": 1, "usage": {}, "choices": [{"index": 0}]}
    assert second == {"id": "c", "more": 1, "choices": [{"index": 0}]}


def test_an_error_next_to_large_members_reaches_a_reader_without_the_first_choice():
    data = json.dumps({"id": "c", "error": {"message": PADDING}, "choices": [{"index": 2}, {"index": 1}]}).encode()
    assert "error" in json.loads(split_choices("chat", data)[2])
