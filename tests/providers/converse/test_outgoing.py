"""Requests of all clients for Bedrock's Converse."""

import json

import attrs

from providers.apis import CODECS
from providers.neutral.request import (
    Format,
    ImagePart,
    MediaSource,
    NativePart,
    NativeTool,
    Reasoning,
    ReasoningPart,
    RefusalPart,
    Request,
    TextPart,
    Tool,
    ToolCallPart,
    ToolChoice,
    ToolResultPart,
)
from tests.support.cases import case
from tests.support.converse_requests import (
    ADAPTIVE,
    CLAUDE,
    LLAMA,
    NOVA,
    NOVA2,
    PIXEL,
    WEATHER,
    assistant,
    chat,
    controls,
    messages,
    outgoing,
    system,
    user,
    write,
)
from tests.support.each_row import each_row

CALL = ToolCallPart("call_1", "get_weather", '{"city": "Oslo"}', at="messages[1]")
RESULT = ToolResultPart("call_1", (TextPart("rain"),), at="messages[2]")
SIGNED = {"reasoningText": {"text": "hm", "signature": "c2ln"}}


# Tools


def test_strict_tools_reach_models_that_support_them():
    strict = attrs.evolve(WEATHER, strict=True)
    body, dropped = write(chat(tools=(strict,)))
    assert body["toolConfig"]["tools"][0]["toolSpec"]["strict"] is True
    assert dropped == ()
    body, dropped = write(chat(tools=(strict,)), LLAMA)
    assert "strict" not in body["toolConfig"]["tools"][0]["toolSpec"]
    assert dropped == ("tools[].strict",)


def test_tools_are_forced_where_the_family_can_be():
    for choice, model, written, dropped in [
        (ToolChoice("tool", "get_weather", at="tool_choice"), NOVA, {"tool": {"name": "get_weather"}}, ()),
        (ToolChoice("tool", "get_weather", at="tool_choice"), "mistral.mistral-large-2402-v1:0", {"any": {}}, ()),
        (ToolChoice("required", at="tool_choice"), LLAMA, None, ("tool_choice",)),
        (ToolChoice("required", at="tool_choice"), "us.anthropic.claude-opus-5-5", None, ("tool_choice",)),
    ]:
        with case((choice, model, written, dropped)):
            body, lost = write(chat(tools=(WEATHER, Tool("g")), tool_choice=choice), model)
            assert body["toolConfig"].get("toolChoice") == written
            assert lost == dropped
            if model.startswith("mistral"):
                assert [tool["toolSpec"]["name"] for tool in body["toolConfig"]["tools"]] == ["get_weather"]


def test_tool_choice_none_omits_the_tools():
    """Converse has no such choice (boto/boto3#4687): if the history has calls, the tools stay, and this is reported."""
    none = ToolChoice("none", at="tool_choice")
    body, dropped = write(chat(tools=(WEATHER,), tool_choice=none))
    assert ("toolConfig" in body, dropped) == (False, ())
    turns = (user("Weather?"), assistant(CALL), user(RESULT))
    body, dropped = write(chat(*turns, tools=(WEATHER,), tool_choice=none))
    assert [tool["toolSpec"]["name"] for tool in body["toolConfig"]["tools"]] == ["get_weather"]
    assert "toolChoice" not in body["toolConfig"]
    assert dropped == ("tool_choice",)


# Turns


def test_instructions_alone_become_a_user_message():
    body, _ = write(chat(system("Say hi.")))
    assert body == {"messages": [{"role": "user", "content": [{"text": "Say hi."}]}]}


def test_no_text_is_blank_and_no_content_empty():
    """A space as a stand-in was refused in the end (NousResearch/hermes-agent#63983, archestra-ai/archestra#4220)."""
    turns = messages(user("a", " \n"), assistant("", " "), user("b"), assistant(RefusalPart(" ")), user("\t"))
    assert turns == [{"role": "user", "content": [{"text": "a"}, {"text": "b"}]}]
    (turn,) = messages(user(" "))
    assert turn["content"][0]["text"].strip()


def test_results_of_a_turn_come_first_in_the_next():
    second = ToolCallPart("call_2", "get_weather", "{}")
    turns = messages(
        user("a"), assistant(CALL, second), user(RESULT), user("and?"), user(ToolResultPart("call_2", ()))
    )  # fmt: skip
    assert [block.get("toolResult", {}).get("toolUseId") for block in turns[2]["content"]] == ["call_1", "call_2", None]


@each_row("model", [CLAUDE, LLAMA])
def test_a_result_is_never_empty_least_of_all_an_error(model):
    """METR/hawk#1245."""
    for parts in ((), (TextPart(""),), (TextPart(" \n"),)):
        for is_error in (False, True):
            result = ToolResultPart("call_1", parts, is_error)
            written = messages(user("a"), assistant(CALL), user(result), model=model)[2]["content"][0]["toolResult"]
            assert written["content"][0]["text"].strip()
            assert written.get("status") == ("error" if is_error and model == CLAUDE else None)


# Reasoning


def test_reasoning_is_requested_in_the_format_of_the_family():
    for reasoning, model, more, config in [
        (Reasoning(budget=4000), CLAUDE, {"thinking": {"type": "enabled", "budget_tokens": 4000}}, None),
        (Reasoning(effort="low"), CLAUDE, {"thinking": {"type": "enabled", "budget_tokens": 2048}}, None),
        (Reasoning(effort="high"), ADAPTIVE, {"thinking": {"type": "adaptive"}}, {"effort": "high"}),
        (Reasoning("adaptive"), ADAPTIVE, {"thinking": {"type": "adaptive"}}, None),
        (Reasoning("disabled"), ADAPTIVE, {"thinking": {"type": "disabled"}}, None),
        (Reasoning("disabled"), CLAUDE, None, None),
        (Reasoning(effort="low"), NOVA2, {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "low"}}, None),
        (Reasoning(effort="none"), NOVA2, None, None),
        (Reasoning(effort="high"), "qwen.qwen3-32b-v1:0", {"reasoning_config": "high"}, None),
        (Reasoning(effort="medium"), "openai.gpt-oss-120b-1:0", {"reasoning_effort": "medium"}, None),
    ]:
        with case((reasoning, model, more, config)):
            body, dropped = write(chat(reasoning=attrs.evolve(reasoning, at="reasoning")), model)
            assert body.get("additionalModelRequestFields") == more
            assert body.get("outputConfig") == config
            assert dropped == ()


def test_reasoning_settings_without_a_counterpart_are_reported():
    for model in (LLAMA, NOVA):
        body, dropped = write(chat(reasoning=Reasoning(effort="high", at="reasoning_effort")), model)
        assert "additionalModelRequestFields" not in body
        assert dropped == ("reasoning_effort",)


def test_a_budget_is_part_of_the_limit():
    body, dropped = write(chat(reasoning=Reasoning(budget=5000, at="r"), parameters=controls(max_tokens=1000)))
    assert body["inferenceConfig"]["maxTokens"] == 6000
    assert body["additionalModelRequestFields"]["thinking"]["budget_tokens"] == 5000
    assert dropped == ()


def test_a_limit_that_must_hold_the_reasoning_too_is_reported():
    thinking = chat(reasoning=Reasoning(effort="low", at="reasoning_effort"), parameters=controls(max_tokens=100))
    assert outgoing(thinking).adapted == ("max_tokens=2148",)
    assert outgoing(chat(parameters=controls(max_tokens=100))).adapted == ()
    for reasoning in (Reasoning(effort="low"), Reasoning(budget=2000)):
        room = chat(reasoning=reasoning, parameters=controls(max_tokens=9000))
        assert outgoing(room).adapted == ()


@each_row("model", [CLAUDE, "anthropic.claude-opus-4-1-20250805-v1:0", "anthropic.claude-sonnet-4-20250514-v1:0"])
def test_an_effort_alone_does_not_enable_thinking(model):
    """``output_config.effort`` without ``thinking`` is legal, and the older models think only on request
    (https://platform.claude.com/docs/en/build-with-claude/effort)."""
    asked = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 100, "temperature": 0.5}
    for effort in ("low", "high", "max"):
        request = CODECS["messages"].read_request({**asked, "model": "m", "output_config": {"effort": effort}})
        written = outgoing(request, model)
        body = json.loads(written.body)
        assert body["inferenceConfig"] == {"maxTokens": 100, "temperature": 0.5}
        assert not {"additionalModelRequestFields", "outputConfig"} & set(body)
        assert (written.dropped, written.adapted) == (("output_config.effort",), ())
    request = CODECS["messages"].read_request({**asked, "model": "m", "output_config": {"effort": "high"}})
    assert json.loads(outgoing(request, ADAPTIVE).body)["outputConfig"] == {"effort": "high"}


def test_a_forced_tool_call_turns_thinking_off():
    fields = {"tools": (WEATHER,), "tool_choice": ToolChoice("required"), "reasoning": Reasoning(budget=2000, at="r")}
    body, dropped = write(chat(**fields))
    assert body["toolConfig"]["toolChoice"] == {"any": {}}
    assert "additionalModelRequestFields" not in body
    assert dropped == ("r",)


def test_novas_highest_effort_has_no_token_limit():
    fields = {"reasoning": Reasoning(effort="high"), "parameters": controls(max_tokens=10, temperature=0.5)}
    body, dropped = write(chat(**fields), NOVA2)
    assert "inferenceConfig" not in body
    assert set(dropped) == {"max_tokens", "temperature"}


# Formats and settings


def test_a_schema_is_json_in_a_string():
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    asked = Format("json_schema", "city", schema, True, "A city", at="response_format")
    body, dropped = write(chat(format=asked))
    written = body["outputConfig"]["textFormat"]
    assert written["type"] == "json_schema"
    inner = written["structure"]["jsonSchema"]
    assert (inner["name"], inner["description"]) == ("city", "A city")
    assert json.loads(inner["schema"]) == {**schema, "description": "A city", "additionalProperties": False}
    assert dropped == ()


def test_settings_are_sent_in_the_members_of_the_models_family():
    asked = controls(max_tokens=100, temperature=0.5, top_k=5, stop=["END", " "], seed=1)
    body, dropped = write(chat(parameters=asked))
    assert body["inferenceConfig"] == {"maxTokens": 100, "temperature": 0.5, "stopSequences": ["END"]}
    assert body["additionalModelRequestFields"] == {"top_k": 5}
    assert body["additionalModelResponseFieldPaths"] == ["/stop_sequence"]
    assert set(dropped) == {"stop", "seed"}
    body, dropped = write(chat(parameters=asked), NOVA)
    assert body["additionalModelRequestFields"] == {"inferenceConfig": {"topK": 5}}
    body, dropped = write(chat(parameters=asked), LLAMA)
    assert "additionalModelRequestFields" not in body
    assert set(dropped) == {"stop", "seed", "top_k"}


def test_settings_are_limited_to_their_ranges():
    body, dropped = write(chat(parameters=controls(max_tokens=0, temperature=1.7)), NOVA)
    assert body["inferenceConfig"] == {"maxTokens": 1, "temperature": 1}
    assert set(dropped) == {"max_tokens", "temperature"}
    body, dropped = write(chat(parameters=controls(temperature=0.5, top_p=0.5)))
    assert body["inferenceConfig"] == {"temperature": 0.5}
    assert dropped == ("top_p",)


def test_the_service_tier_in_the_words_that_are_the_same():
    assert write(chat(parameters=controls(service_tier="flex")))[0]["serviceTier"] == {"type": "flex"}
    assert write(chat(parameters=controls(service_tier="scale")))[1] == ("service_tier",)
    assert write(chat(parameters=controls(service_tier="auto"))) == write(chat())


def test_bedrock_members_pass_only_from_the_clients_body():
    """Programs of other APIs send guardrails and the like with ``extra_body``; the gateway adds none itself."""
    own = {
        "guardrailConfig": {"guardrailIdentifier": "abc", "guardrailVersion": "1"},
        "performanceConfig": {"latency": "optimized"},
        "requestMetadata": {"team": "a"},
        "additionalModelRequestFields": {"top_k": 9, "anthropic_beta": ["x"]},
    }
    request = chat(source={**own, "model": "m"}, dropped=(*own, "seed"), parameters=controls(top_k=5))
    body, dropped = write(request)
    assert {name: body[name] for name in own} == own
    assert dropped == ("seed",)


# Blocks that only Converse has


def test_converse_clients_get_their_own_blocks_back():
    cited = [{"title": "a"}]
    call = {"toolUse": {"toolUseId": "t", "name": "nova_code_interpreter", "input": {}, "type": "server_tool_use"}}
    result = {"toolResult": {"toolUseId": "t", "content": [{"json": {}}], "type": "nova_code_interpreter_result"}}
    turns = (
        user("a", NativePart("converse", "guardContent", {"guardContent": {"text": {"text": "x"}}})),
        assistant(
            ReasoningPart("hm", native=SIGNED),
            NativePart("converse", "toolUse", call),
            NativePart("converse", "toolResult", result),
            TextPart("So.", marks={"citations": cited}),
        ),
        user("b"),
    )
    tool = NativeTool("converse", "systemTool", {"systemTool": {"name": "nova_code_interpreter"}})
    body, dropped = write(Request("converse", "m", turns, tools=(tool,)))
    assert body["messages"][1]["content"] == [
        {"reasoningContent": SIGNED}, call, result,
        {"citationsContent": {"content": [{"text": "So."}], "citations": cited}},
    ]  # fmt: skip
    assert body["toolConfig"]["tools"] == [tool.item]
    assert dropped == ()


def test_blocks_of_other_apis_are_dropped_and_reported():
    native = NativePart("messages", "server_tool_use", {"type": "server_tool_use"}, "messages[1].content[0]")
    image = ImagePart(MediaSource("base64", PIXEL), at="messages[1].images[0]")
    body, dropped = write(chat(user("a"), assistant(native, image, "b")))
    assert body["messages"][1]["content"] == [{"text": "b"}]
    assert dropped == ("messages[].content[]", "messages[].images[]")
