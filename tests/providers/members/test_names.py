"""Names of request members, and errors for unknown ones."""

import pytest

from configfile.wording import Wrong
from providers.members.names import INNER, KNOWN, checked_value, read_member
from providers.neutral.parameters import ROWS
from streams.events import APIS
from tests.support.cases import case
from tests.support.each_row import each_row
from tests.support.repository import ROOT
from tests.support.sdk_fields import PARAMS, type_hints, typed_dicts


def paths(text: str, wire: str) -> list[str]:
    return [".".join(path).replace(".[]", "[]") for path in read_member(text, "drop").paths_in(wire)]


def test_a_name_has_a_path_in_each_api_that_has_the_member():
    for name, chat, messages, responses, gemini, converse, interactions in [
        ("temperature", "temperature", "temperature", "temperature", "generationConfig.temperature",
         "inferenceConfig.temperature", "generation_config.temperature"),
        ("max_tokens", "max_completion_tokens", "max_tokens", "max_output_tokens", "generationConfig.maxOutputTokens",
         "inferenceConfig.maxTokens", "generation_config.max_output_tokens"),
        ("stop", "stop", "stop_sequences", "", "generationConfig.stopSequences", "inferenceConfig.stopSequences",
         "generation_config.stop_sequences"),
        ("reasoning_effort", "reasoning_effort", "output_config.effort", "reasoning.effort",
         "generationConfig.thinkingConfig.thinkingLevel", "outputConfig.effort", "generation_config.thinking_level"),
        ("store", "store", "", "store", "", "", "store"),
        ("verbosity", "verbosity", "", "text.verbosity", "", "", ""),
        ("user", "user", "metadata.user_id", "user", "", "", ""),
        ("metadata.team", "metadata.team", "", "metadata.team", "", "", ""),
        ("responses.text.verbosity", "", "", "text.verbosity", "", "", ""),
        ("other.min_p", *["min_p"] * 6),
    ]:  # fmt: skip
        with case((name, chat, messages, responses, gemini, converse, interactions)):
            expected = {
                "chat": chat, "messages": messages, "responses": responses, "gemini": gemini, "converse": converse,
                "interactions": interactions,
            }  # fmt: skip
            assert {wire: next(iter(paths(name, wire)), "") for wire in APIS} == expected


def test_a_members_older_names_and_both_spellings_count():
    assert paths("max_tokens", "chat") == ["max_completion_tokens", "max_tokens"]
    assert "generation_config.max_output_tokens" in paths("max_tokens", "gemini")
    assert "generationConfig.max_output_tokens" in paths("max_tokens", "gemini")
    assert paths("gemini.safetySettings", "gemini") == ["safetySettings", "safety_settings"]
    assert paths("max_tokens", "completions") == ["max_tokens"]
    assert paths("temperature", "embeddings") == []
    assert paths("embeddings.dimensions", "embeddings") == ["dimensions"]


def test_members_of_tools_are_found_in_each_form_of_a_tool():
    assert paths("tools[].strict", "chat") == [
        "tools[].strict", "tools[].function.strict", "tools[].custom.strict", "functions[].strict",
    ]  # fmt: skip
    assert paths("tools[].description", "converse")[0] == "toolConfig.tools[].toolSpec.description"
    assert paths("tools", "converse") == ["toolConfig", "additionalModelRequestFields.tools"]


def test_an_unknown_name_is_a_mistake_with_a_suggestion():
    for text, suggestion in [
        ("temprature", "temperature"),
        ("max_completion_tokens", "chat.max_completion_tokens"),
        ("maxOutputTokens", None),
        ("thinking.type", "messages.thinking.type"),
        ("text.verbosity", "responses.text.verbosity"),
        ("responses.txt.verbosity", "responses.text.verbosity"),
        ("gemini.safetySetings", "gemini.safetySettings"),
        ("responses.text.verbosty", "responses.text.verbosity"),
        (
            "gemini.generation_config.thinkingConfg.thinkingLevel",
            "gemini.generation_config.thinkingConfig.thinkingLevel",
        ),
        ("messages.thinking.quite_different", None),
        ("quite_different", None),
    ]:
        with case((text, suggestion)):
            with pytest.raises(Wrong) as raised:
                read_member(text, "set")
            assert raised.value.suggestion == suggestion
            assert suggestion or f"other.{text.removeprefix('messages.')}" in raised.value.expected


def test_the_model_the_stream_and_the_conversation_belong_to_the_client():
    for use in ["default", "set", "max", "drop"]:
        for text in [
            "model", "stream", "messages", "input", "system", "instructions", "chat.model", "responses.input",
            "other.model", "gemini.contents", "gemini.system_instruction", "converse.messages",
            "responses.previous_response_id", "responses.conversation", "completions.prompt", "embeddings.input",
            "messages.messages[].content",
        ]:  # fmt: skip
            with case((use, text)), pytest.raises(Wrong, match="cannot be changed"):
                read_member(text, use)


@each_row("text", ["tools", "tools[].strict", "chat.functions", "converse.toolConfig.tools", "other.tools"])
def test_tools_can_only_be_dropped_or_lose_members(text):
    with pytest.raises(Wrong, match="tools cannot be set"):
        read_member(text, "set")
    assert read_member(text, "drop")


def test_invalid_names():
    for text in ["", "a..b", "temperature.", "a b", "responses", "other", "files.purpose", "[]"]:
        with case(text), pytest.raises(Wrong):
            read_member(text, "set")


def test_a_neutral_value_has_its_members_type():
    for name, value in [
        ("temperature", "warm"), ("temperature", True), ("max_tokens", "9"), ("max_tokens", 1.5), ("store", "no"),
        ("metadata", "x"), ("seed", True), ("user", 7),
    ]:  # fmt: skip
        with case((name, value)):
            with pytest.raises(Wrong):
                checked_value(read_member(name, "set"), value)
            assert checked_value(read_member("other.x", "set"), value) == value


def test_a_single_stop_string_is_a_list():
    assert checked_value(read_member("stop", "set"), "END") == ["END"]


@each_row("api", PARAMS)
def test_every_member_of_the_official_sdks_is_known(api):
    """An operator would otherwise have to write a known member as ``other``."""
    told = set(PARAMS[api].__annotations__) - {"betas", "user_profile_id", "workspace_id", "stream", "modelId"}
    conversation = {
        "messages", "model", "system", "thread", "compaction", "input", "instructions", "prompt",
        "conversation", "previous_response_id", "contents", "systemInstruction", "continuationToken",
        "system_instruction", "previous_interaction_id", "continuation_token",
    }  # fmt: skip
    assert told - conversation - set(KNOWN[api]) == set()


@each_row("api", PARAMS)
def test_every_member_of_an_object_in_the_official_sdks_is_known(api):
    for name, kind in type_hints(PARAMS[api]).items():
        told = {inner for one in typed_dicts(kind) for inner in type_hints(one)}
        assert told - set(INNER[api].get(name, told)) == set(), name


def test_members_of_open_objects_and_known_ones_are_taken():
    for text in [
        "chat.metadata.team", "converse.promptVariables.x.text", "chat.reasoning.max_tokens",
        "gemini.generationConfig.top_k", "messages.thinking.budget_tokens",
    ]:  # fmt: skip
        with case(text):
            assert read_member(text, "set").shown == text.partition(".")[2]


def test_the_page_lists_every_neutral_name():
    page = (ROOT / "docs/request-members.md").read_text()
    own = {"conversation", "previous_response_id", "prompt", "guardrail", "prompt_variables", "sealed_summary"}
    names = {row.name for row in ROWS} - own | {"reasoning_effort", "thinking_budget", "tools"}
    assert [name for name in names if f"`{name}`" not in page] == []
    for name in names:
        assert read_member(name, "drop").neutral == name
