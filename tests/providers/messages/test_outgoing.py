"""The writer of tools, reasoning, formats and settings for a Messages provider."""

import json

import attrs

from providers.neutral.request import (
    Format,
    Reasoning,
    Tool,
    ToolChoice,
)
from tests.support.cases import case
from tests.support.each_row import each_row
from tests.support.messages_requests import chat, controls, write

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
    """A `max_tokens` beyond what the model can say is a 400 as well (maximhq/bifrost#1479)."""
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


def test_a_level_without_a_budget_is_listed():
    body, dropped = write(chat(reasoning=Reasoning(effort="unheard", at="reasoning_effort")))
    assert (body["thinking"]["type"], dropped) == ("enabled", ("reasoning_effort",))


def test_a_forced_tool_turns_thinking_off():
    """ "Thinking may not be enabled when tool_choice forces tool use" (pydantic/pydantic-ai#6957)."""
    call = chat(tools=(Tool("f"),), tool_choice=ToolChoice("required"), reasoning=Reasoning(effort="high", at="effort"))
    body, dropped = write(call)
    assert "thinking" not in body
    assert body["tool_choice"] == {"type": "any"}
    assert dropped == ("effort",)


def test_a_temperature_above_one_becomes_one():
    """(juspay/neurolink#1706)"""
    body, dropped = write(chat(parameters=controls(temperature=1.7)))
    assert (body["temperature"], dropped) == (1, ("temperature",))


OPEN = {"type": "object"}


def test_an_object_of_any_members_is_not_closed_unless_its_schema_is_strict():
    """Closed, as the API wants every object, it could only be empty. A strict schema says nothing else."""
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


def test_max_tokens_is_the_clients_limit_or_the_models():
    """Messages wants one; a low one of ours would cut answers (anomalyco/opencode#37964, maximhq/bifrost#6457)."""
    assert write(chat(parameters=controls(max_tokens=7)), default_max_tokens=64000)[0]["max_tokens"] == 7
    assert write(chat(), default_max_tokens=64000)[0]["max_tokens"] == 64000
    assert write(chat(parameters=controls(max_tokens=0)))[0]["max_tokens"] == 0


def test_warming_the_cache_is_never_a_paid_answer():
    """Both APIs can say it (decolua/9router#560, anomalyco/opencode#37964)."""
    body, dropped = write(chat(parameters=controls(prompt_cache_options={"prewarm": True}), reasoning=Reasoning()))
    assert (body["max_tokens"], "thinking" in body, dropped) == (0, False, ())
    assert write(chat(parameters=controls(prompt_cache_options={"mode": "implicit"})))[1] == ("prompt_cache_options",)
