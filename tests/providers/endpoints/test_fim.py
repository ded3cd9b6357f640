"""Fill-in-the-middle through its two shapes: Mistral's path (the mistralai package) and ``suffix`` in a completion.

A dropped ``suffix`` gives wrong code without an error (togethercomputer/together-python#109,
Alishahryar1/free-claude-code#1163)."""

import json
from typing import Any

import pytest

from providers.endpoints.fim import FimShape, translate_event, translate_whole, write_fim
from providers.neutral.draft import Draft
from streams.errors import GatewayError
from tests.support.cases import case


def _write_body(body: object, target: FimShape) -> tuple[Any, list[tuple[str, bool, str]]]:
    sent, edits = write_fim(Draft.of(json.dumps(body).encode()), target, "m")
    return json.loads(sent), [(edit.path, edit.lost, edit.form) for edit in edits]


def test_a_completion_with_a_suffix_is_sent_to_mistrals_path():
    body = {"model": "a", "prompt": "def f(", "suffix": "return 1", "max_tokens": 9, "seed": 3, "stream": True, "n": 1,
            "echo": False, "user": "u", "logit_bias": {"1": 2}, "frequency_penalty": 0, "stop": ["x"],
            "stream_options": {"include_usage": True}}  # fmt: skip
    assert _write_body(body, "mistral") == (
        {"model": "m", "prompt": "def f(", "suffix": "return 1", "max_tokens": 9, "random_seed": 3, "stream": True,
         "stop": ["x"]},
        [("seed", False, "->random_seed"), ("user", True, ""), ("logit_bias", True, "")],
    )  # fmt: skip


def test_mistrals_request_becomes_a_completion_with_a_suffix():
    body = {"model": "a", "prompt": "p", "suffix": "s", "random_seed": 3, "min_tokens": 2, "metadata": None}
    assert _write_body(body, "openai") == (
        {"model": "m", "prompt": "p", "suffix": "s", "seed": 3},
        [("random_seed", False, "->seed"), ("min_tokens", True, "")],
    )  # fmt: skip
    sent, edits = _write_body({"prompt": "p", "suffix": None, "stream": True}, "openai")
    assert sent == {"model": "m", "prompt": "p", "stream": True, "stream_options": {"include_usage": True}}
    assert edits == []


def test_fim_options_that_change_the_answer_are_refused():
    for more, param in [
        ({"prompt": ["a"]}, "prompt"), ({"prompt": [1]}, "prompt"), ({"n": 2}, "n"), ({"echo": True}, "echo"),
        ({"logprobs": 0}, "logprobs"), ({"best_of": 3}, "best_of"),
    ]:  # fmt: skip
        with case((more, param)):
            with pytest.raises(GatewayError) as raised:
                _write_body({"prompt": "p", "suffix": "s", **more}, "mistral")
            assert (raised.value.info.status, raised.value.info.param) == (400, param)


def test_complete_answers_are_translated_in_both_directions():
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    message = {"role": "assistant", "content": "x: int", "tool_calls": None}
    chat = {"id": "1", "object": "chat.completion", "created": 5, "model": "codestral", "usage": usage,
            "choices": [{"index": 0, "message": message, "finish_reason": "model_length"}]}  # fmt: skip
    text = {**chat, "object": "text_completion",
            "choices": [{"index": 0, "text": "x: int", "logprobs": None, "finish_reason": "length"}]}  # fmt: skip
    assert json.loads(translate_whole(json.dumps(chat).encode(), "openai")) == text
    back = json.loads(translate_whole(json.dumps(text).encode(), "mistral"))
    assert back["choices"] == [{"index": 0, "message": {"role": "assistant", "content": "x: int"},
                                "finish_reason": "length"}]  # fmt: skip
    assert (back["object"], back["usage"], back["id"]) == ("chat.completion", usage, "1")
    for body in (b"[]", b"{}", b"no", b'{"choices": 3}'):
        with pytest.raises(GatewayError):
            translate_whole(body, "openai")


def _events(chunks: list[dict[str, Any]], client: FimShape, *, usage: bool = False) -> list[Any]:
    raw = [json.dumps(chunk).encode() for chunk in chunks] + [b"[DONE]"]
    out = b"".join(translate_event(data, client, usage=usage) for data in raw)
    lines = [line.removeprefix(b"data: ") for line in out.split(b"\n\n") if line]
    assert lines.pop() == b"[DONE]"
    return [json.loads(line) for line in lines]


def test_streams_are_translated_both_ways():
    head = {"id": "1", "object": "chat.completion.chunk", "created": 5, "model": "codestral"}
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    mistral = [
        {**head, "choices": [{"index": 0, "delta": {"role": "assistant", "content": "x"}, "finish_reason": None}]},
        {**head, "choices": [{"index": 0, "delta": {"content": [{"type": "text", "text": ": int"}]},
                              "finish_reason": "stop"}], "usage": usage},
    ]  # fmt: skip
    plain = _events(mistral, "openai")
    assert [chunk["choices"][0]["text"] for chunk in plain] == ["x", ": int"]
    assert [chunk["choices"][0]["finish_reason"] for chunk in plain] == [None, "stop"]
    assert all(chunk["object"] == "text_completion" and "usage" not in chunk for chunk in plain)
    asked = _events(mistral, "openai", usage=True)
    assert asked[:2] == plain
    assert (asked[2]["choices"], asked[2]["usage"]) == ([], usage)
    back = _events(asked, "mistral")
    assert "".join(choice["delta"]["content"] for chunk in back for choice in chunk["choices"]) == "x: int"
    assert {chunk["object"] for chunk in back} == {"chat.completion.chunk"}
    assert back[-1]["usage"] == usage


def test_half_a_surrogate_pair_becomes_the_replacement_character():
    data = rb'{"choices": [{"index": 0, "delta": {"content": "\ud83d"}, "finish_reason": null}]}'
    out = translate_event(data, "openai", usage=False)
    assert json.loads(out.removeprefix(b"data: "))["choices"][0]["text"] == "\N{REPLACEMENT CHARACTER}"
    assert translate_event(b"[" * 10_000, "openai", usage=False) == b""
