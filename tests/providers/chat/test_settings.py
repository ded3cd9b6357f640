"""The writer of a Chat request's tools, formats and settings. Pure values."""

import attrs
import msgspec

from providers.chat import CHAT
from providers.neutral.codec import Recipient
from providers.neutral.request import Format, Reasoning, Request
from providers.responses import RESPONSES
from tests.support.cases import case
from tests.support.chat_wire import OWN, USER, chat_request, encode_request


def test_a_chat_request_reaches_a_chat_provider_unchanged_in_a_sensible_order():
    grammar = {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: /x/"}}
    body = {
        "model": "gpt",
        "messages": [{"role": "user", "content": "hi"}],
        "tools": [{"type": "custom", "custom": {"name": "g", "format": grammar}}, {"type": "browser"}],
        "tool_choice": {"type": "custom", "custom": {"name": "g"}},
        "seed": 4,
    }
    assert CHAT.write_request(CHAT.read_request(body), Recipient("gpt", OWN)).body == msgspec.json.encode(body)


def test_reasoning_is_dropped_and_reported_where_the_server_has_no_effort():
    for reasoning, dropped in [
        (Reasoning(effort="max"), ("thinking", "output_config.effort")),
        (Reasoning(budget=2048), ("thinking",)),
        (Reasoning("disabled"), ("thinking",)),
        (Reasoning("adaptive", "low"), ("thinking", "output_config.effort")),
        (Reasoning("adaptive"), ()),
    ]:
        with case(reasoning):
            call = Request("messages", "m", (USER,), reasoning=attrs.evolve(reasoning, at="thinking"))
            body, lost = encode_request(call, reasoning_effort=False)
            assert ("reasoning_effort" in body, lost) == (False, dropped)


def test_a_format_without_a_name_gets_one():
    call = Request("messages", "m", (USER,), format=Format("json_schema", schema={"type": "object"}))
    assert encode_request(call)[0]["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "output", "schema": {"type": "object"}},
    }


def test_quirks_determine_the_names_and_the_dropped_settings():
    call = attrs.evolve(chat_request(max_tokens=5, stream=True), stream=True)
    assert encode_request(call)[0]["max_completion_tokens"] == 5
    assert encode_request(call, max_tokens_field="max_tokens")[0]["max_tokens"] == 5
    assert "stream_options" not in encode_request(call, stream_usage=False)[0]


def test_spoken_output_is_dropped_and_reported():
    """A translated answer has only text: requests for other output are dropped and reported."""
    call = chat_request(n=1, modalities=["text", "audio"], audio={"voice": "x", "format": "wav"}, stop=[])
    body, dropped = encode_request(call)
    assert body.keys() == {"model", "messages"}
    assert dropped == ("modalities", "audio")
    assert encode_request(chat_request(modalities=["text"])) == encode_request(chat_request())


def test_an_effort_of_messages_is_reported_in_both_its_places():
    call = Request("messages", "m", (USER,), reasoning=Reasoning(effort="max", at="thinking"))
    assert encode_request(call, efforts=("low", "high"))[1] == ("thinking", "output_config.effort")


def test_top_logprobs_without_logprobs_is_dropped():
    assert encode_request(chat_request(top_logprobs=2, logprobs=False)) == (
        encode_request(chat_request())[0],
        ("top_logprobs",),
    )


def test_stop_strings_beyond_four_are_dropped_and_reported():
    """OpenAI's reference: up to four sequences."""
    body, dropped = encode_request(chat_request(stop=list("abcde")))
    assert (body["stop"], dropped) == (list("abcd"), ("stop",))
    assert encode_request(chat_request(stop=list("abcd"))) == (
        {**encode_request(chat_request())[0], "stop": list("abcd")},
        (),
    )


WITH_LOGPROBS = "message.output_text.logprobs"


def test_log_probabilities_of_responses_clients_are_translated():
    """In OpenAI's reference, `include` requests them, and `top_logprobs` sets their number."""
    for fields, expected, dropped in [
        ({"include": [WITH_LOGPROBS], "top_logprobs": 2}, {"logprobs": True, "top_logprobs": 2}, ()),
        ({"include": [WITH_LOGPROBS]}, {"logprobs": True}, ()),
        ({"top_logprobs": 2}, {"logprobs": True, "top_logprobs": 2}, ()),
        ({"include": ["reasoning.encrypted_content"], "top_logprobs": 0}, {}, ()),
        ({"include": [WITH_LOGPROBS, "file_search_call.results"]}, {"logprobs": True}, ("include",)),
    ]:
        with case((fields, expected, dropped)):
            body, lost = encode_request(RESPONSES.read_request({"model": "m", "input": "hi", **fields}))
            assert {name: value for name, value in body.items() if "logprobs" in name} == expected
            assert lost == dropped


CLOSED = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}


def test_a_format_from_an_openai_api_is_strict_only_if_it_is_marked_so():
    own = chat_request(response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": CLOSED}})
    assert "strict" not in encode_request(own)[0]["response_format"]["json_schema"]
    text = {"format": {"type": "json_schema", "name": "n", "schema": CLOSED, "strict": False, "description": "d"}}
    given = encode_request(RESPONSES.read_request({"model": "m", "input": "hi", "text": text}))[0]["response_format"]
    assert given["json_schema"] == {"name": "n", "description": "d", "schema": CLOSED, "strict": False}


def test_members_that_only_responses_has_are_dropped_and_reported():
    body = {
        "model": "m", "input": "hi", "service_tier": "ultrafast", "truncation": "auto", "max_tool_calls": 3,
        "prompt_cache_options": {"ttl": "12h", "comparison_response_id": "resp_1", "mode": "implicit"},
        "reasoning": {"effort": "low", "summary": "auto"},
    }  # fmt: skip
    out, dropped = encode_request(RESPONSES.read_request(body))
    assert out["prompt_cache_options"] == {"mode": "implicit"}
    assert "service_tier" not in out
    assert set(dropped) == {
        "service_tier", "truncation", "max_tool_calls", "prompt_cache_options.ttl", "reasoning.summary",
        "prompt_cache_options.comparison_response_id",
    }  # fmt: skip
