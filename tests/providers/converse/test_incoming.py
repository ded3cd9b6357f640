"""The reader of Converse requests: every member of Amazon's service model, and all recorded requests."""

import base64
import json
from typing import Any

import pytest

from providers.converse import CONVERSE
from providers.neutral.hints import losses
from providers.neutral.request import (
    AudioPart,
    FilePart,
    ImagePart,
    MediaSource,
    NativePart,
    Parameter,
    Reasoning,
    ReasoningPart,
    Request,
    TextPart,
    Tool,
    ToolCallPart,
    ToolResultPart,
)
from providers.neutral.seal import Issuer, Seal, seal, seal_in_base64
from streams.errors import GatewayError
from tests.support.converse_recordings import converse_recordings

HI = {"role": "user", "content": [{"text": "hi"}]}
MARK = {"cache_control": {"type": "ephemeral"}}
PIXEL = base64.b64encode(b"\x89PNG").decode()


def read(**members: Any) -> Request:
    return CONVERSE.read_request({"messages": [HI], **members})


def parts(*blocks: Any, role: str = "user") -> tuple[Any, ...]:
    return read(messages=[{"role": role, "content": list(blocks)}]).messages[0].parts


def test_each_kind_of_block_is_read():
    at = "messages[0].content[0]"
    text = base64.b64encode(b"a,b\n").decode()
    pdf = base64.b64encode(b"%PDF").decode()
    cases: list[tuple[Any, Any]] = [
        (
            {"image": {"format": "png", "source": {"bytes": PIXEL}}},
            ImagePart(MediaSource("base64", PIXEL, "image/png"), at=at),
        ),
        (
            {"image": {"format": "png", "source": {"s3Location": {"uri": "s3://b/k.png"}}}},
            ImagePart(MediaSource("url", "s3://b/k.png", "image/png"), at=at),
        ),
        (
            {"document": {"format": "pdf", "name": "report", "source": {"bytes": pdf}, "context": "Q3",
                          "citations": {"enabled": True}}},
            FilePart(MediaSource("base64", pdf, "application/pdf"), "report.pdf", at,
                     {"citations": {"enabled": True}, "context": "Q3"}),
        ),
        (
            {"document": {"format": "csv", "name": "table", "source": {"bytes": text}}},
            FilePart(MediaSource("text", "a,b\n", "text/csv"), "table.csv", at),
        ),
        (
            {"document": {"name": "notes", "source": {"content": [{"text": "a"}, {"text": "b"}]}}},
            FilePart(MediaSource("text", "a\n\nb", "text/plain"), "notes", at),
        ),
        (
            {"video": {"format": "three_gp", "source": {"bytes": PIXEL}}},
            FilePart(MediaSource("base64", PIXEL, "video/3gpp"), "video.three_gp", at),
        ),
        ({"audio": {"format": "wav", "source": {"bytes": PIXEL}}}, AudioPart(PIXEL, "wav", at)),
        (
            {"toolUse": {"toolUseId": "t1", "name": "f", "input": {"a": 1}}},
            ToolCallPart("t1", "f", '{"a":1}', at=at),
        ),
        (
            {"toolUse": {"toolUseId": "t1", "name": "nova_grounding", "input": {}, "type": "server_tool_use"}},
            NativePart("converse", "toolUse", {"toolUse": {
                "toolUseId": "t1", "name": "nova_grounding", "input": {}, "type": "server_tool_use"}}, at + ".toolUse"),
        ),
        (
            {"toolResult": {"toolUseId": "t1", "status": "error", "content": [{"text": "no"}, {"json": {"b": [2]}}]}},
            ToolResultPart("t1", (TextPart("no", at + ".toolResult.content[0]"),
                                  TextPart('{"b":[2]}', at + ".toolResult.content[1]")), True, at=at),
        ),
        (
            {"toolResult": {"toolUseId": "t1", "content": [
                {"searchResult": {"title": "T", "source": "https://e.org", "content": [{"text": "found"}]}}]}},
            ToolResultPart("t1", (TextPart("T\nhttps://e.org\n\nfound", at + ".toolResult.content[0]"),), at=at),
        ),
        (
            {"guardContent": {"text": {"text": "look at this"}}},
            TextPart("look at this", at),
        ),
        (
            {"citationsContent": {"content": [{"text": "a"}, {"text": "b"}]}},
            TextPart("ab", at),
        ),
        (
            {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "c2ln"}}},
            ReasoningPart("hm", native={"reasoningText": {"text": "hm", "signature": "c2ln"}}, at=at),
        ),
        (
            {"reasoningContent": {"redactedContent": "AAAA"}},
            ReasoningPart("", native={"redactedContent": "AAAA"}, at=at),
        ),
        ({"toolAddition": {"tool": {"serverName": "s"}}},
         NativePart("converse", "toolAddition", {"toolAddition": {"tool": {"serverName": "s"}}}, at + ".toolAddition")),
    ]  # fmt: skip
    for block, part in cases:
        assert parts(block) == (part,), block


def test_seals_come_back_in_either_form():
    issuer, item = Issuer("deepseek", "a1"), {"field": "reasoning_content"}
    made = Seal(issuer, "chat", item)
    at = "messages[0].content[0]"
    signed = {"reasoningText": {"text": "hm", "signature": seal(issuer, "chat", item)}}
    assert parts({"reasoningContent": signed}, role="assistant") == (ReasoningPart("hm", made, at=at),)
    hidden = {"redactedContent": seal_in_base64(issuer, "chat", item)}
    assert parts({"reasoningContent": hidden}, role="assistant") == (ReasoningPart("", made, at=at),)
    cut = {"reasoningText": {"text": "hm", "signature": seal(issuer, "chat", item)[:-9]}}
    request = read(messages=[{"role": "assistant", "content": [{"reasoningContent": cut}]}])
    assert (request.messages[0].parts, request.dropped) == ((), ("messages[].content[].reasoningContent",))


def test_cache_points_mark_the_preceding_block():
    request = read(
        system=[{"text": "long"}, {"cachePoint": {"type": "default", "ttl": "1h"}}],
        messages=[
            {"role": "user", "content": [{"text": "hi"}, {"cachePoint": {"type": "default"}}]},
            {
                "role": "assistant",
                "content": [
                    {"reasoningContent": {"reasoningText": {"text": "hm"}}}, {"cachePoint": {"type": "default"}}
                ],
            },
            {"role": "user", "content": [{"cachePoint": {"type": "default"}}, {"text": "again"}]},
        ],
        toolConfig={"tools": [{"toolSpec": {"name": "f", "inputSchema": {"json": {}}}},
                              {"cachePoint": {"type": "default"}}]},
    )  # fmt: skip
    system, user, assistant, _ = request.messages
    assert system.parts[0] == TextPart("long", "system[0]", {"cache_control": {"type": "ephemeral", "ttl": "1h"}})
    assert user.parts[0] == TextPart("hi", "messages[0].content[0]", MARK)
    assert isinstance(assistant.parts[0], ReasoningPart), "none stands behind reasoning"
    assert request.tools == (Tool("f", None, {}, at="toolConfig.tools[0]", marks=MARK),)
    assert request.dropped == ("messages[].content[].cachePoint",)


def test_each_family_of_models_has_its_own_settings_of_thinking():
    at = "additionalModelRequestFields"
    cases: list[tuple[Any, Reasoning]] = [
        (
            {"thinking": {"type": "enabled", "budget_tokens": 4096}},
            Reasoning("enabled", None, 4096, at=f"{at}.thinking"),
        ),
        (
            {"thinking": {"type": "adaptive", "display": "summarized"}, "output_config": {"effort": "high"}},
            Reasoning("adaptive", "high", None, Parameter("auto", f"{at}.thinking.display"), f"{at}.thinking"),
        ),
        ({"thinking": {"type": "disabled"}}, Reasoning("disabled", at=f"{at}.thinking")),
        (
            {"reasoning_config": {"type": "enabled", "budget_tokens": 1024}},
            Reasoning("enabled", None, 1024, at=f"{at}.reasoning_config"),
        ),
        ({"reasoning_config": "high"}, Reasoning("enabled", "high", at=f"{at}.reasoning_config")),
        (
            {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "low"}},
            Reasoning("enabled", "low", at=f"{at}.reasoningConfig"),
        ),
        ({"reasoning_effort": "medium"}, Reasoning("adaptive", "medium", at=f"{at}.reasoning_effort")),
    ]  # fmt: skip
    for fields, wish in cases:
        request = read(additionalModelRequestFields=fields)
        assert (request.reasoning, request.dropped) == (wish, ()), fields
    assert read(outputConfig={"effort": "low"}).reasoning == Reasoning("adaptive", "low", at="outputConfig.effort")


def test_other_settings_of_families_are_read():
    for fields, at in (({"top_k": 5}, "top_k"), ({"inferenceConfig": {"topK": 5}}, "inferenceConfig.topK")):
        request = read(additionalModelRequestFields=fields)
        assert request.parameters == {"top_k": Parameter(5, f"additionalModelRequestFields.{at}")}
    odd = read(additionalModelRequestFields={"song": 1, "anthropic_beta": ["a"], "output_config": {"odd": 1}})
    assert odd.dropped == (
        "additionalModelRequestFields.output_config.odd", "additionalModelRequestFields.song",
        "additionalModelRequestFields.anthropic_beta",
    )  # fmt: skip
    assert losses(odd.dropped) == odd.dropped[:2], "a beta is a hint"


def test_settings_that_only_bedrock_has_are_reported_or_refused():
    request = read(
        requestMetadata={"team": "a"}, performanceConfig={"latency": "optimized"}, serviceTier={"type": "priority"},
        guardrailConfig={"guardrailIdentifier": "g", "guardrailVersion": "1"},
        promptVariables={"city": {"text": "Bern"}},
        additionalModelResponseFieldPaths=["/stop_sequence", "/other"], song={},
    )  # fmt: skip
    assert request.parameters["guardrail"].at == "guardrailConfig"
    assert request.parameters["prompt_variables"].at == "promptVariables"
    assert request.parameters["service_tier"] == Parameter("priority", "serviceTier.type")
    assert request.dropped == (
        "additionalModelResponseFieldPaths[]", "requestMetadata", "performanceConfig", "song",
    )  # fmt: skip
    assert losses(request.dropped) == ("song",)


def test_a_count_request_contains_the_request():
    request = CONVERSE.read_count({"input": {"converse": {"messages": [HI], "system": [{"text": "s"}]}}})
    assert [message.role for message in request.messages] == ["system", "user"]
    assert request.messages[1].at == "input.converse.messages[0]"
    assert json.loads(CONVERSE.write_count_answer(7)) == {"inputTokens": 7}
    for body, param in (({}, "input"), ({"input": {"invokeModel": {"body": ""}}}, "input.converse")):
        with pytest.raises(GatewayError) as refused:
            CONVERSE.read_count(body)
        assert refused.value.info.param == param


LOST = {
    "messages[].content[].citationsContent.citations",
    "messages[].content[].guardContent.text.qualifiers",
    "performanceConfig",
}


def test_all_recorded_requests_are_read_with_hardly_any_losses():
    lost: set[str] = set()
    for recording in converse_recordings():
        request = CONVERSE.read_request(recording.request)
        said = [part for message in request.messages for part in message.parts]
        assert said, recording.name
        lost.update(request.dropped)
    assert lost <= LOST
