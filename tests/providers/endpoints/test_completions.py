"""Legacy completions: interleaved choices of several prompts, each with its own end
(https://platform.openai.com/docs/api-reference/completions; the openai package's types)."""

import json
from collections.abc import Sequence

import pytest

from providers.endpoints.completions import (
    CompletionReader,
    count_token_ids,
    expected_choices,
    prompt_texts,
)
from providers.neutral.draft import Draft
from streams.errors import GatewayError
from streams.events import Usage
from tests.support.cases import case
from tests.support.each_row import each_row

DONE = b"[DONE]"


def _chunk(index: int, text: str = "", finish: str | None = None, **more: object) -> bytes:
    choice = {"index": index, "text": text, "logprobs": None, "finish_reason": finish}
    return json.dumps({"id": "c", "object": "text_completion", "choices": [choice], **more}).encode()


def _failure(events: Sequence[bytes], expected: int) -> str | None:
    """Return the message of the failure at the end of ``events``."""
    reader = CompletionReader(expected)
    try:
        for event in events:
            reader.read_event("", event)
        reader.close(streamed=True)
    except GatewayError as error:
        return error.info.message
    return None


def test_choices_are_counted_for_each_prompt():
    for prompt, n, expected in [
        ("text", None, 1),
        (["a", "b", "c"], 2, 6),
        ([1, 2, 3], 1, 1),
        ([[1, 2], [3]], 2.0, 4),
        ([], None, 1),
        ("text", "two", 1),
    ]:
        with case((prompt, n, expected)):
            assert expected_choices(Draft.of(json.dumps({"prompt": prompt, "n": n}).encode())) == expected


def test_prompts_are_counted_by_their_ids_or_texts():
    assert [count_token_ids(prompt) for prompt in ("ab", [1, 2], [[1], [2, 3]], ["a"], None)] == [0, 2, 3, 0, 0]
    assert [list(prompt_texts(prompt)) for prompt in ("ab", ["a", "b"], [1], None)] == [["ab"], ["a", "b"], [], []]


def test_a_stream_is_whole_when_each_of_six_choices_has_its_end():
    whole = [_chunk(index, "x") for index in (0, 5, 2)]
    whole += [_chunk(index, "y", "stop") for index in (3, 0, 5, 1, 4)]
    last = _chunk(2, "z", "length")
    assert _failure([*whole, last], 6) is None
    assert _failure([*whole, last, DONE], 6) is None
    assert _failure(whole, 6) == "the provider ended the stream early"
    assert _failure([*whole, DONE], 6) == "the provider ended the stream early"  # choice 2 is half there


def test_servers_that_ignore_n_or_say_no_reason_end_well():
    assert _failure([_chunk(0, "a"), _chunk(0, "", "stop"), DONE], 3) is None
    assert _failure([_chunk(0, "a"), DONE], 1) is None
    assert _failure([DONE], 1) is not None
    assert _failure([], 1) is not None


def test_an_error_in_the_stream_is_its_end():
    begun = _chunk(0, "a")
    for event in (
        b'{"error": {"message": "out of memory", "type": "server_error"}}',
        b'{"choices": [{"index": 0, "text": "", "error": {"message": "out of memory", "code": 502}}]}',
        b'{"object": "error", "message": "out of memory"}',
    ):
        assert "out of memory" in (_failure([begun, event], 1) or ""), event
    for event in (b'{"choices": [', b'{"choices": 3}', b"[]", b'"text"'):
        assert _failure([begun, event], 1), event


def test_usage_is_read_from_the_last_event_or_the_whole_answer():
    reader = CompletionReader(1)
    reader.read_event("", _chunk(0, "a", "stop", usage=None))
    reader.read_event("", b'{"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13, '
                     b'"prompt_tokens_details": {"cached_tokens": 5}}}')  # fmt: skip
    assert reader.usage == Usage(input=4, cache_read=5, output=4)
    whole = CompletionReader(1)
    whole.read_whole({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": None, "total_tokens": 8}})
    assert whole.usage == Usage(input=3, output=5)
    whole.close(streamed=False)


@each_row("value", [[], "text", {"error": {"message": "no such model"}}])
def test_an_invalid_whole_answer_is_a_failure(value: object):
    with pytest.raises(GatewayError):
        CompletionReader(1).read_whole(value)


def test_missing_counts_are_estimated():
    """The provider charges the tokens of an interrupted stream (BerriAI/litellm#33736)."""
    reader = CompletionReader(2, prompt_tokens=7)
    assert reader.usage is None
    for index, text in ((0, "abcd"), (1, "ef"), (0, "")):
        reader.read_event("", _chunk(index, text))
    assert reader.usage == Usage(input=7, output=2)
    assert reader.usage.estimated
    for odd in (b"{}", b'{"prompt_tokens": null}', b'{"completion_tokens": "2"}', b'{"prompt_tokens": -1}'):
        reader.read_event("", b'{"choices": [], "usage": %b}' % odd)
        assert reader.usage == Usage(input=7, output=2), odd
    reader.read_event("", b'{"choices": [{"index": 0, "delta": {"content": "ghijk"}}]}')
    assert reader.usage == Usage(input=7, output=3)
    whole = CompletionReader(2, prompt_tokens=7)
    whole.read_whole({"choices": [{"text": "abcdefgh"}, {"message": {"content": "x"}}, None, {"text": 3}]})
    assert whole.usage == Usage(input=7, output=3)


def test_half_a_character_breaks_no_stream():
    """Programs that cut text by UTF-16 units send it (openclaw/openclaw#110642)."""
    halves = [rb'{"choices": [{"index": 0, "text": "\ud83d"}]}', rb'{"choices": [{"index": 0, "text": "\ude00"}]}']
    assert _failure([*halves, _chunk(0, "", "stop"), DONE], 1) is None
