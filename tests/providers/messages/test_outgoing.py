"""The writer of tools, reasoning, formats and settings for a Messages provider."""

import json

import attrs

from providers.neutral.request import (
    Format,
    Parameter,
    Reasoning,
    ReasoningPart,
    Tool,
    ToolCallPart,
    ToolChoice,
    ToolResultPart,
)
from providers.neutral.seal import Seal
from tests.support.cases import case
from tests.support.each_row import each_row
from tests.support.messages_requests import OURS, THOUGHT, assistant, chat, controls, user, write


@each_row(
    ("choice", "written"),
    [
        (None, {"type": "auto", "disable_parallel_tool_use": True}),
        (ToolChoice("required"), {"type": "any", "disable_parallel_tool_use": True}),
        (ToolChoice("none"), {"type": "none"}),
    ],
)
def test_parallel_tool_calls_is_part_of_the_tool_choice(choice, written):
    parallel = Parameter(False, "parallel_tool_calls")
    body, _ = write(chat(tools=(Tool("f"),), tool_choice=choice, parallel_tools=parallel))
    assert body.get("tool_choice") == written


def test_marks_of_other_apis_are_not_written_into_tools():
    """A deferred tool waits for a search that only its own provider makes (router-for-me/CLIProxyAPI#1725)."""
    tool = Tool("f", schema={"type": "object"}, strict=False, at="tools[0]", marks={"defer_loading": True, "async": 1})
    body, dropped = write(chat(tools=(tool,)))
    assert body["tools"] == [{"name": "f", "input_schema": {"type": "object"}}]
    assert dropped == ("tools[].defer_loading", "tools[].async")


# Reasoning, formats and settings


def test_effort_becomes_a_budget_below_max_tokens():
    """`budget_tokens` must be smaller than `max_tokens` (tontinton/maki#331, maximhq/bifrost#1479)."""
    for effort, budget in [
        ("minimal", 2048), ("low", 2048), ("medium", 8192), ("high", 16384), ("xhigh", 32768), ("max", 32768),
        (None, 16384),
    ]:  # fmt: skip
        with case((effort, budget)):
            call = chat(reasoning=Reasoning(effort=effort), parameters=controls(max_tokens=1000))
            body, _ = write(call, default_max_tokens=64000)
            assert body["thinking"] == {"type": "enabled", "budget_tokens": budget}
            assert body["max_tokens"] == budget + 1000


def test_a_budget_is_smaller_than_max_tokens_within_the_models_maximum():
    """The provider also rejects a `max_tokens` above the model's maximum with 400 (maximhq/bifrost#1479)."""
    for budget, limit, most, written in [
        (8192, 1000, 64000, (8192, 9192)),
        (8192, 20000, 64000, (8192, 20000)),
        (32768, 4000, 32000, (28000, 32000)),
        (32768, 32000, 32000, (16000, 32000)),
        (60000, 60000, 64000, (32000, 64000)),
        (2048, 100, 512, (1948, 2048)),
    ]:
        with case((budget, limit, most, written)):
            call = chat(reasoning=Reasoning(budget=budget, at="thinking"), parameters=controls(max_tokens=limit))
            body, dropped = write(call, default_max_tokens=most)
            assert (body["thinking"]["budget_tokens"], body["max_tokens"]) == written
            assert dropped == (("thinking",) if written[0] < budget else ())


@each_row("reasoning", [Reasoning("disabled", "none"), Reasoning("disabled")])
def test_thinking_is_disabled_explicitly_for_models_that_think_by_default(reasoning):
    """Sonnet 5 thinks by default (recorded)."""
    body, dropped = write(chat(reasoning=reasoning), adaptive_thinking=True)
    assert body["thinking"] == {"type": "disabled"}
    assert ("output_config" in body, dropped) == (False, ())


def test_a_forced_tool_keeps_the_effort_of_an_adaptive_model():
    """Only thinking and force exclude each other (pydantic/pydantic-ai#6957)."""
    call = chat(tools=(Tool("f"),), tool_choice=ToolChoice("tool", "f"), reasoning=Reasoning(effort="low", at="effort"))
    body, dropped = write(call, adaptive_thinking=True)
    assert (body["thinking"], body["output_config"]) == ({"type": "disabled"}, {"effort": "low"})
    assert (body["tool_choice"], dropped) == ({"type": "tool", "name": "f"}, ("effort",))


ALWAYS = {"adaptive_thinking": True, "efforts": ("low", "high"), "thinking_off": "lowest_effort"}


def test_a_model_that_always_thinks_gets_its_lowest_effort():
    """(platform.claude.com, migration guide of Claude Opus 5.5)"""
    body, dropped = write(chat(reasoning=Reasoning("disabled", "none", at="reasoning_effort")), **ALWAYS)
    assert (body.get("thinking"), body["output_config"]) == (None, {"effort": "low"})
    assert dropped == ("reasoning_effort",)
    between = write(chat(reasoning=Reasoning("disabled")), adaptive_thinking=True, thinking_off="between_tools")
    assert (between[0]["thinking"], between[1]) == ({"type": "between_tools"}, ())


def test_a_model_that_may_not_be_forced_chooses_itself_and_that_is_named():
    """(vercel/ai#21364, can1357/oh-my-pi#12939)"""
    for choice in (ToolChoice("required", at="tool_choice"), ToolChoice("tool", "f", at="tool_choice")):
        call = chat(tools=(Tool("f"),), tool_choice=choice, reasoning=Reasoning(effort="high"))
        body, dropped = write(call, **ALWAYS, forced_tools=False)
        assert (body["tool_choice"], dropped) == ({"type": "auto"}, ("tool_choice",))
        assert (body["thinking"], body["output_config"]) == ({"type": "adaptive"}, {"effort": "high"})


def test_a_model_that_always_thinks_continues_where_a_tool_is_forced():
    call = chat(tools=(Tool("f"),), tool_choice=ToolChoice("tool", "f"), reasoning=Reasoning(effort="high"))
    body, dropped = write(call, **ALWAYS)
    assert (body["thinking"], body["tool_choice"]) == ({"type": "adaptive"}, {"type": "tool", "name": "f"})
    assert dropped == ()


def test_a_level_without_a_budget_is_listed():
    body, dropped = write(chat(reasoning=Reasoning(effort="unheard", at="reasoning_effort")))
    assert (body["thinking"]["type"], dropped) == ("enabled", ("reasoning_effort",))


def test_a_budget_is_never_below_the_least():
    assert write(chat(reasoning=Reasoning(budget=500)))[0]["thinking"]["budget_tokens"] == 1024


def test_a_forced_tool_turns_thinking_off():
    """ "Thinking may not be enabled when tool_choice forces tool use" (pydantic/pydantic-ai#6957)."""
    call = chat(tools=(Tool("f"),), tool_choice=ToolChoice("required"), reasoning=Reasoning(effort="high", at="effort"))
    body, dropped = write(call)
    assert "thinking" not in body
    assert body["tool_choice"] == {"type": "any"}
    assert dropped == ("effort",)


def test_a_tool_loop_whose_thoughts_are_lost_continues_without_thinking():
    turns = [user("go"), assistant(ToolCallPart("a", "f", "{}")), user(ToolResultPart("a", ()))]
    body, dropped = write(chat(*turns, reasoning=Reasoning(effort="high", at="reasoning_effort")))
    assert "thinking" not in body
    assert dropped == ("reasoning_effort",)
    kept = assistant(ReasoningPart("hm", Seal(OURS, "messages", THOUGHT)), *turns[1].parts)
    body, dropped = write(chat(turns[0], kept, turns[2], reasoning=Reasoning(effort="high")))
    assert "thinking" in body


def test_sampling_is_left_out_for_the_version_that_refuses_it():
    """Even at its default (API migration page of Anthropic)."""
    body, dropped = write(chat(parameters=controls(temperature=0.5)), anthropic_version="2026-10-21")
    assert "temperature" not in body
    assert dropped == ("temperature",)


def test_a_temperature_above_one_becomes_one():
    """(juspay/neurolink#1706)"""
    body, dropped = write(chat(parameters=controls(temperature=1.7)))
    assert (body["temperature"], dropped) == (1, ("temperature",))


def test_a_schema_becomes_native_structured_output_next_to_the_users_tools():
    """No invented tool is forced, and thinking stays on (BerriAI/litellm#8883, vercel/ai#7220)."""
    schema = {
        "type": "object",
        "properties": {"a": {"type": "object"}},
        "$defs": {"b": {"anyOf": [{"type": "object"}]}},
    }
    call = chat(
        tools=(Tool("f"),), format=Format("json_schema", "out", schema, True), reasoning=Reasoning(effort="low")
    )
    body, dropped = write(call, adaptive_thinking=True)
    closed = {"type": "object", "additionalProperties": False}
    assert body["output_config"] == {
        "effort": "low",
        "format": {"type": "json_schema", "schema": closed | {
            "properties": {"a": closed}, "$defs": {"b": {"anyOf": [closed]}}}},
    }  # fmt: skip
    assert len(body["tools"]) == 1
    assert body["thinking"] == {"type": "adaptive"}
    assert dropped == ()


def test_json_mode_becomes_an_instruction():
    """The Messages API does not enforce it, which the gateway reports (BerriAI/litellm#28899)."""
    system = attrs.evolve(user("Be brief."), role="system")
    call = chat(system, user("hello"), format=Format("json_object", at="response_format"))
    body, dropped = write(call)
    assert body["system"] == "Be brief.", "the prefix of all requests"
    said, hint = body["messages"][0]["content"]
    assert said["text"] == "hello"
    assert hint["text"].startswith("<system>\nAnswer with a single JSON object")
    assert dropped == ("response_format",)


OPEN = {"type": "object"}


def test_an_object_of_any_members_is_not_closed_unless_its_schema_is_strict():
    """The API requires closed objects, but a closed one could only be empty. A strict schema requests exactly that."""
    for schema in [
        OPEN,
        {"type": "object", "properties": {"meta": OPEN}},
        {"type": "object", "properties": {"type": {"anyOf": [{"type": "null"}, OPEN]}}},
        {"type": "array", "items": {"type": "object", "properties": {}}},
        {"type": "object", "additionalProperties": {"type": "string"}},
    ]:
        with case(schema):
            format = Format("json_schema", "out", schema, at="response_format")
            body, dropped = write(chat(format=format))
            assert json.dumps(schema, separators=(",", ":")) in body["messages"][-1]["content"][-1]["text"]
            assert ("output_config" in body, dropped) == (False, ("response_format",))
            body, dropped = write(chat(format=attrs.evolve(format, strict=True)))
            assert (body["output_config"]["format"]["type"], dropped) == ("json_schema", ())


def test_the_description_of_a_format_is_carried_in_its_schema():
    format = Format("json_schema", "out", {"type": "object"}, True, description="A person.")
    written = write(chat(format=format))[0]["output_config"]["format"]
    assert written == {"type": "json_schema", "schema": {
        "description": "A person.", "type": "object", "additionalProperties": False}}  # fmt: skip


def test_stop_strings_of_white_space_are_left_out():
    """White space alone is a 400 (API reference of Anthropic)."""
    body, dropped = write(chat(parameters=controls(stop=["\n", "###"])))
    assert (body["stop_sequences"], dropped) == (["###"], ("stop",))
    assert "stop_sequences" not in write(chat(parameters=controls(stop=["\n"])))[0]


@each_row("value", ["bob@a.example", "+49 170 1234567"])
def test_an_identifying_user_id_is_not_sent(value):
    """Addresses and numbers are no pseudonyms (BerriAI/litellm#10106)."""
    body, dropped = write(chat(parameters=controls(user=value)))
    assert ("metadata" in body, dropped) == (False, ("user",))


@each_row("name", ["user", "safety_identifier"])
def test_a_pseudonym_is_the_user_id(name):
    assert write(chat(parameters=controls(**{name: "u_7f"})))[0]["metadata"] == {"user_id": "u_7f"}


def test_max_tokens_is_the_clients_limit_or_the_models():
    """Messages wants one; a low one of ours would cut answers (anomalyco/opencode#37964, maximhq/bifrost#6457)."""
    assert write(chat(parameters=controls(max_tokens=7)), default_max_tokens=64000)[0]["max_tokens"] == 7
    assert write(chat(), default_max_tokens=64000)[0]["max_tokens"] == 64000
    assert write(chat(parameters=controls(max_tokens=0)))[0]["max_tokens"] == 0


def test_warming_the_cache_is_never_a_paid_answer():
    """Both APIs have a setting for it (decolua/9router#560, anomalyco/opencode#37964)."""
    body, dropped = write(chat(parameters=controls(prompt_cache_options={"prewarm": True}), reasoning=Reasoning()))
    assert (body["max_tokens"], "thinking" in body, dropped) == (0, False, ())
    assert write(chat(parameters=controls(prompt_cache_options={"mode": "implicit"})))[1] == ("prompt_cache_options",)
