"""Requests for Interactions providers and the losses of each client (section 2.8)."""

import json
from typing import Any

import pytest

from providers.apis import CODECS
from providers.interactions import INTERACTIONS
from providers.neutral.codec import Outgoing, Recipient
from providers.neutral.draft import Draft
from providers.neutral.quirks import Quirks
from streams.errors import GatewayError
from tests.support.cases import case
from tests.support.each_row import each_row
from tests.support.interactions_answers import (
    GOOGLE,
    call_step,
    encode_request,
    result_step,
    text_step,
    thought_step,
    written_body,
)

HI = {"role": "user", "content": "hi"}
TOOL = {"name": "f", "description": "d", "parameters": {"type": "object", "properties": {}, "required": []}}


def from_chat(*messages: Any, **members: Any) -> Outgoing:
    request = CODECS["chat"].read_request({"model": "m", "messages": list(messages) or [HI], **members})
    return encode_request(request)


def body_of(found: Outgoing) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(found.body)
    return body


def test_a_conversation_of_a_chat_client_becomes_steps():
    calls = [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}]
    found = body_of(from_chat(
        {"role": "system", "content": "be kind"}, HI, {"role": "assistant", "content": "so", "tool_calls": calls},
        {"role": "tool", "tool_call_id": "c1", "content": "sunny"}, tools=[{"type": "function", "function": TOOL}],
        tool_choice="required", max_completion_tokens=9, stop=["x"], reasoning_effort="max", stream=True,
    ))  # fmt: skip
    assert found == {
        "model": "g",
        "input": [
            {"type": "user_input", "content": [{"type": "text", "text": "hi"}]}, text_step("so"), call_step(a=1),
            result_step(name="f"),
        ],
        "system_instruction": "be kind",
        "tools": [{"type": "function", "name": "f", "description": "d",
                   "parameters": {"type": "object", "properties": {}}}],
        "generation_config": {
            "max_output_tokens": 9, "stop_sequences": ["x"], "thinking_level": "high", "thinking_summaries": "auto",
            "tool_choice": "any",
        },
        "store": False,
        "stream": True,
    }  # fmt: skip


def test_a_call_without_a_signature_gets_googles_placeholder():
    """earendil-works/pi#2172."""
    calls = [{"id": f"c{i}", "type": "function", "function": {"name": "f", "arguments": "{}"}} for i in (1, 2)]
    turn = {"role": "assistant", "tool_calls": calls}
    request = CODECS["chat"].read_request({"model": "m", "messages": [HI, turn]})
    steps = written_body(request, signed_calls=True)["input"]
    assert [step["type"] for step in steps] == ["user_input", "thought", "function_call", "function_call"]


def test_a_schema_without_a_type_is_that_of_an_object():
    """BerriAI/litellm#19103"""
    tool = {"type": "function", "function": {"name": "f", "parameters": {"$schema": "s", "required": []}}}
    request = CODECS["chat"].read_request({"model": "m", "messages": [HI], "tools": [tool]})
    assert written_body(request)["tools"][0]["parameters"] == {"type": "object", "$schema": "s"}


def test_own_steps_come_back_unchanged_and_in_order():
    """A stateless client sends every step back."""
    steps = [
        {"type": "user_input", "content": [{"type": "text", "text": "hi"}]}, thought_step(),
        {"type": "google_search_call", "id": "s", "arguments": {"queries": ["a"]}, "signature": "c2ln"},
        {"type": "google_search_result", "call_id": "s", "result": [{"title": "t"}], "signature": "c2ln"},
        call_step(a=1), result_step(result={"deg": 3}, name="f"), text_step("warm"),
    ]  # fmt: skip
    request = INTERACTIONS.read_request({"model": "m", "input": steps})
    assert written_body(request, signed_calls=True)["input"] == steps


@each_row(
    ("sent", "at"),
    [
        ([call_step(), {"type": "function_result", "result": "x"}], "input[1].call_id"),
        ([{"type": "user_input", "content": ["a", {"type": "function_result", "call_id": ""}]}],
         "input[0].content[1].call_id"),
        ([{"type": "user_input", "content": {"type": "function_result"}}], "input[0].content.call_id"),
        ({"type": "function_result", "call_id": None}, "input.call_id"),
    ],
)  # fmt: skip
def test_a_result_without_its_call_is_a_400_in_the_byte_lane_too(sent, at):
    """google/adk-python#4381"""
    body = {"model": "m", "input": sent}
    with pytest.raises(GatewayError) as caught:
        INTERACTIONS.adapt(Draft.of(json.dumps(body).encode()), Recipient("g", GOOGLE))
    assert (caught.value.info.status, caught.value.info.param) == (400, at)


def test_results_with_their_calls_keep_their_bytes():
    said = {"type": "user_input", "content": [{"type": "function_result", "call_id": "c1", "result": "x"}, "y"]}
    good = json.dumps({"model": "m", "input": [call_step(), result_step(), said], "news": 1}).encode()
    draft = Draft.of(good)
    INTERACTIONS.adapt(draft, Recipient("g", GOOGLE))
    assert draft.encode() == good


LOST: dict[str, tuple[dict[str, Any], set[str]]] = {
    "chat": (
        {"messages": [HI], "frequency_penalty": 1, "presence_penalty": 1, "logit_bias": {"1": 2}, "logprobs": True,
         "top_logprobs": 2, "user": "u", "metadata": {"a": "b"}, "prediction": {"type": "content", "content": "x"},
         "verbosity": "low", "parallel_tool_calls": False, "store": True, "seed": 1,
         "tools": [{"type": "function", "function": TOOL}]},
        {"frequency_penalty", "presence_penalty", "logit_bias", "logprobs", "top_logprobs", "user", "metadata",
         "prediction", "verbosity", "parallel_tool_calls", "store"},
    ),
    "messages": (
        {"max_tokens": 9, "messages": [{"role": "user", "content": [
            {"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}}]}],
         "top_k": 3, "context_management": {"edits": []}, "mcp_servers": [{"name": "x"}], "metadata": {"user_id": "u"},
         "speed": "fast", "inference_geo": "us", "tools": [{"type": "bash_20250124", "name": "bash"},
                                                           {"type": "web_search_20250305", "name": "web_search"}]},
        {"messages[].content[].cache_control", "top_k", "context_management", "mcp_servers", "metadata.user_id",
         "speed", "inference_geo", "tools[]", "tools[]: bash"},
    ),
    "responses": (
        {"input": "hi", "truncation": "auto", "include": ["file_search_call.results"], "text": {"verbosity": "low"},
         "metadata": {"a": "b"}, "user": "u", "tools": [{"type": "file_search"}, {"type": "web_search"}]},
        {"truncation", "include", "text.verbosity", "metadata", "user", "tools[]", "tools[]: file_search"},
    ),
    "gemini": (
        {"contents": "hi", "generationConfig": {
            "topK": 4, "frequencyPenalty": 1, "presencePenalty": 1, "responseLogprobs": True, "logprobs": 2,
            "mediaResolution": "MEDIA_RESOLUTION_LOW"},
         "safetySettings": [{"category": "c"}], "tools": [{"googleSearch": {}}, {"urlContext": {}}]},
        {"generationConfig.topK", "generationConfig.frequencyPenalty", "generationConfig.presencePenalty",
         "generationConfig.responseLogprobs", "generationConfig.logprobs", "generationConfig.mediaResolution"},
    ),
    "converse": (
        {"messages": [{"role": "user", "content": [{"text": "hi"}, {"cachePoint": {"type": "default"}}]}],
         "additionalModelRequestFields": {"x": 1}, "performanceConfig": {"latency": "optimized"}},
        {"messages[].content[].cache_control", "additionalModelRequestFields.x", "performanceConfig"},
    ),
}  # fmt: skip


@each_row("api", LOST)
def test_what_interactions_cannot_express_is_listed(api):
    """Section 2.8."""
    body, lost = LOST[api]
    found = encode_request(CODECS[api].read_request({"model": "m", **body}))
    assert set(found.dropped) - {"model"} == lost  # Converse has the model in the path


def test_demands_that_must_not_be_lost_are_a_400():
    for api, body in (
        ("chat", {"messages": [HI], "moderation": {"policy": {"input": {"mode": "block"}}}}),
        ("chat", {"messages": [HI], "n": 2}),
        ("responses", {"input": "hi", "previous_response_id": "r"}),
        ("converse", {"messages": [{"role": "user", "content": [{"text": "hi"}]}],
                      "guardrailConfig": {"guardrailIdentifier": "g"}}),
    ):  # fmt: skip
        with case(api), pytest.raises(GatewayError) as caught:
            encode_request(CODECS[api].read_request({"model": "m", **body}))
        assert caught.value.info.status == 400


GEMINI_TOOLS = [
    {"googleSearch": {"searchTypes": {"webSearch": {}, "imageSearch": {}}}},
    {"codeExecution": {}},
    {"computerUse": {"environment": "ENVIRONMENT_BROWSER", "disabledSafetyPolicies": ["COMMUNICATION_TOOL"]}},
    {"googleMaps": {"enableWidget": True}},
    {"fileSearch": {"fileSearchStoreNames": ["a"], "topK": 3}},
]
TOOLS = [
    {"type": "google_search", "search_types": ["web_search", "image_search"]},
    {"type": "code_execution"},
    {"type": "computer_use", "environment": "browser", "disabled_safety_policies": ["communication_tool"]},
    {"type": "google_maps", "enable_widget": True},
    {"type": "file_search", "file_search_store_names": ["a"], "top_k": 3},
]
"""The same tools in the types of the google-genai package, ``GoogleSearch`` and the like."""


def test_tools_of_gemini_map():
    request = CODECS["gemini"].read_request({"contents": "hi", "tools": GEMINI_TOOLS})
    assert written_body(request)["tools"] == TOOLS


def to_gemini(**members):
    request = INTERACTIONS.read_request({"model": "m", "input": "hi", **members})
    found = CODECS["gemini"].write_request(request, Recipient("m", GOOGLE, Quirks()))
    return body_of(found), found.dropped


def test_tools_map_to_gemini():
    body, dropped = to_gemini(tools=TOOLS)
    assert (body["tools"], dropped) == (GEMINI_TOOLS, ())


def test_a_location_belongs_to_the_configuration_of_geminis_tools():
    body, dropped = to_gemini(tools=[{"type": "google_maps", "latitude": 1.5, "longitude": 2}])
    assert body["tools"] == [{"googleMaps": {}}]
    assert body["toolConfig"] == {"retrievalConfig": {"latLng": {"latitude": 1.5, "longitude": 2}}}
    assert dropped == ()


def test_a_search_that_gemini_does_not_have_is_listed():
    body, dropped = to_gemini(tools=[{"type": "google_search", "search_types": ["enterprise_web_search"]}])
    assert (body["tools"], dropped) == ([{"googleSearch": {}}], ("tools[].search_types[]",))


OWN = {
    "model": "m", "input": "hi", "safety_settings": [{"type": "harassment", "threshold": "block_none"}],
    "labels": {"a": "b"}, "cached_content": "cachedContents/1", "service_tier": "priority", "store": True,
    "tools": [{"type": "google_search"}, {"type": "mcp_server", "name": "x"}],
    "generation_config": {"thinking_level": "low", "thinking_summaries": "auto", "seed": 1, "stop_sequences": ["x"]},
}  # fmt: skip


def test_own_members_reach_the_own_api():
    found = encode_request(INTERACTIONS.read_request(OWN))
    assert found.dropped == ()
    body = body_of(found)
    assert {name: body[name] for name in OWN if name not in ("model", "input")} == {
        name: value for name, value in OWN.items() if name not in ("model", "input")
    }


def test_nothing_is_stored_at_the_provider_unless_requested():
    """N22."""
    assert body_of(from_chat())["store"] is False
    assert written_body(INTERACTIONS.read_request({"model": "m", "input": "hi"}))["store"] is False


def test_levels_a_model_lacks_are_lowered():
    for effort, level in (("none", "minimal"), ("max", "xhigh"), ("medium", "medium")):
        request = CODECS["chat"].read_request({"model": "m", "messages": [HI], "reasoning_effort": effort})
        quirks = {"thinking_levels": ("minimal", "low", "medium", "high", "xhigh")}
        assert written_body(request, **quirks)["generation_config"]["thinking_level"] == level


def test_a_level_that_google_does_not_know_is_listed():
    found = from_chat(reasoning_effort="unheard")
    assert ("thinking_level" in body_of(found)["generation_config"], found.dropped) == (False, ("reasoning_effort",))


def test_what_other_apis_cannot_express_of_interactions_is_listed():
    """Section 2.8."""
    for api in [api for api in CODECS if api != "interactions"]:
        with case(api):
            own = OWN if api != "gemini" else {name: value for name, value in OWN.items() if name != "cached_content"}
            found = CODECS[api].write_request(INTERACTIONS.read_request(own), Recipient("m", GOOGLE, Quirks()))
            lost = set(found.dropped)
            if api == "gemini":
                assert lost == {"tools[]", "tools[]: x", "store", "service_tier"}
                body = body_of(found)
                assert {"googleSearch": {}} in body["tools"]
                assert body["safetySettings"] == [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}]
                same = CODECS["gemini"].read_request({"contents": "hi", "safetySettings": body["safetySettings"]})
                assert written_body(same)["safety_settings"] == OWN["safety_settings"]
            else:
                assert {"safety_settings", "labels", "cached_content", "tools[]"} <= lost
            assert ("generation_config.seed" in lost) == (api in ("messages", "responses", "converse"))
            assert ("generation_config.stop_sequences" in lost) == (api == "responses")
