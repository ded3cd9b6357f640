"""The output that is reserved for a request: the lengths of earlier answers like it."""

import json
import sys
from typing import Any

import pytest

from gateway.allowances.allowances import Allowances
from gateway.allowances.expected import (
    AT_FIRST,
    ENOUGH,
    ExpectedOutputs,
    longest_output,
)
from gateway.allowances.reservation import Payer, Reservation
from gateway.config_files.loading import from_mapping
from gateway.ledger.bill import AttemptRecord, Bill, Booking
from gateway.request.prepared import MAX_ANSWERS, MAX_REQUESTED, RequestedOutput, requested_choices, requested_output
from gateway.routing.router import Router
from providers.apis import CODECS
from providers.neutral.api_members import ANSWER_COUNTS, OUTPUT_LIMITS
from streams.events import Usage
from tests.support.each_row import each_row


def learn_all(outputs: ExpectedOutputs, *answers: int, client: str = "alice", model: str = "openai/m") -> None:
    for output in answers:
        outputs.learn(client, model, output)


def test_only_a_small_client_limit_is_the_estimate():
    # Reserving 32,000 tokens for each refuses what would have cost a tenth: BerriAI/litellm#40002.
    found = [ExpectedOutputs().tokens("alice", "openai/m", most) for most in (1, 4096, 4097, 32_000, None)]
    assert found == [1, 4096, *[AT_FIRST] * 3]


def test_earlier_responses_improve_the_estimate():
    outputs = ExpectedOutputs()
    learn_all(outputs, *range(1, 101))
    assert outputs.tokens("alice", "openai/m") == 95
    assert outputs.tokens("bob", "openai/m") == AT_FIRST
    assert outputs.tokens("alice", "openai/other") == AT_FIRST


def test_recent_responses_determine_the_estimate():
    outputs = ExpectedOutputs()
    learn_all(outputs, *[9000] * 50, *[100] * 100)
    assert outputs.tokens("alice", "openai/m") == 100


def test_a_few_responses_do_not_change_the_estimate():
    outputs = ExpectedOutputs()
    learn_all(outputs, *[10] * (ENOUGH - 1))
    assert outputs.tokens("alice", "openai/m") == AT_FIRST
    learn_all(outputs, 10)
    assert outputs.tokens("alice", "openai/m") == 10


def test_no_more_is_expected_than_is_allowed():
    outputs = ExpectedOutputs()
    learn_all(outputs, *[20_000] * ENOUGH)
    assert outputs.tokens("alice", "openai/m", 5000) == 5000
    assert outputs.tokens("alice", "openai/m") == 20_000


def test_a_bounded_number_of_models_is_remembered():
    outputs = ExpectedOutputs(most=2)
    for model in ("a", "b", "c"):
        learn_all(outputs, *[10] * ENOUGH, model=model)
    assert [outputs.tokens("alice", model) for model in ("a", "b", "c")] == [AT_FIRST, 10, 10]


def test_one_clients_models_do_not_remove_the_estimates_of_another():
    outputs = ExpectedOutputs(most=4)
    learn_all(outputs, *[10] * ENOUGH, client="bob")
    for model in "abcdefgh":
        learn_all(outputs, 20, client="mallory", model=model)
    assert outputs.tokens("bob", "openai/m") == 10


SEARCHES = (("websearch", None),)

BODIES: dict[str, dict[str, Any]] = {
    "chat": {"messages": [{"role": "user", "content": "Hello."}]},
    "messages": {"messages": [{"role": "user", "content": "Hello."}]},
    "responses": {"input": "Hello."},
}


@each_row(
    ("api", "members", "asked"),
    [
        ("chat", {"max_completion_tokens": 100}, RequestedOutput(100)),
        ("chat", {"max_tokens": 100, "n": 3}, RequestedOutput(100, 3)),
        ("messages", {"max_tokens": 32_000}, RequestedOutput(32_000)),
        ("responses", {"max_output_tokens": 7}, RequestedOutput(7)),
        ("responses", {"max_output_tokens": None}, RequestedOutput()),
        ("chat", {"max_tokens": "many", "n": 0}, RequestedOutput()),
        ("chat", {"max_tokens": 1e30}, RequestedOutput(MAX_REQUESTED)),
        ("chat", {"max_tokens": 100_000, "max_completion_tokens": 1}, RequestedOutput(100_000)),
        ("chat", {"max_tokens": -1, "max_completion_tokens": 1}, RequestedOutput()),
        ("chat", {"max_tokens": None, "max_completion_tokens": 1, "n": 8.0}, RequestedOutput(1, 8)),
        ("chat", {"MAX_TOKENS": 9, "max_completion_tokens": 1, "n": "8"}, RequestedOutput(9, 8)),
        ("responses", {"max_tokens": 1}, RequestedOutput()),
        ("gemini", {"max_tokens": 1, "generationConfig": {"maxOutputTokens": 7}}, RequestedOutput(7)),
        (
            "gemini",
            {"generationConfig": {"maxOutputTokens": 7}, "generation_config": {"max_output_tokens": 8}},
            RequestedOutput(8),
        ),
        ("gemini", {"generationConfig": {"candidateCount": 3}}, RequestedOutput(None, 3)),
        ("gemini", {"generationConfig": [1]}, RequestedOutput()),
        ("converse", {"max_tokens": 1, "inferenceConfig": {"maxTokens": 5}}, RequestedOutput(5)),
        (
            "converse",
            {"inferenceConfig": {"maxTokens": 5}, "additionalModelRequestFields": {"max_tokens": 99}},
            RequestedOutput(99),
        ),
        (
            "converse",
            {"inferenceConfig": {"maxTokens": 99}, "additionalModelRequestFields": {"max_tokens": 5}},
            RequestedOutput(99),
        ),
        ("converse", {"additionalModelRequestFields": {"max_tokens": 5}}, RequestedOutput()),
        (
            "converse",
            {
                "inferenceConfig": {"maxTokens": 1},
                "additionalModelRequestFields": {"inferenceConfig": {"maxTokens": 50}},
            },
            RequestedOutput(50),
        ),
        (
            "converse",
            {
                "inferenceConfig": {"maxTokens": 1},
                "additionalModelRequestFields": {"textGenerationConfig": {"maxTokenCount": 60}},
            },
            RequestedOutput(60),
        ),
        ("chat", {"max_tokens": 1, "max_new_tokens": 70}, RequestedOutput(70)),
        ("messages", {"max_tokens": 1, "n_predict": 80}, RequestedOutput(80)),
        ("chat", {"max_tokens": 1, "n_predict": -1}, RequestedOutput()),
        ("chat", {"max_tokens": 1, "options": {"num_predict": 90}}, RequestedOutput(90)),
        ("chat", {"max_tokens": 1, "extra_body": {"max_new_tokens": 95}}, RequestedOutput(95)),
        ("chat", {"max_tokens": 1, "n_cmpl": 7}, RequestedOutput(1, 7)),
        ("chat", {"max_tokens": 1, "num_return_sequences": 9, "n": 2, "best_of": 3}, RequestedOutput(1, 9)),
        ("chat", {"max_new_tokens": 70}, RequestedOutput()),
        ("converse", {"inference_config": {"max_tokens": 5}}, RequestedOutput()),
        ("gemini", {"generation_config": {"maxOutputTokens": 7}}, RequestedOutput(7)),
        ("gemini", {"GenerationConfig": {"maxOutputTokens": 7}}, RequestedOutput()),
        ("interactions", {"generationConfig": {"maxOutputTokens": 7}}, RequestedOutput()),
        ("chat", {"maxTokens": 1}, RequestedOutput()),
        ("chat", {"serviceTier": "flex", "service_tier": "priority"}, RequestedOutput(tier="priority")),
        ("responses", {"maxToolCalls": 1, "tools": [{"type": "web_search"}]}, RequestedOutput(tools=SEARCHES)),
        (
            "responses",
            {"max_tool_calls": 4, "tools": [{"type": "web_search"}]},
            RequestedOutput(tools=(("websearch", 4),)),
        ),
        (
            "messages",
            {"tools": [{"type": "web_search_20250305", "maxUses": 1}]},
            RequestedOutput(tools=(("websearch20250305", None),)),
        ),
        ("chat", {"maxTokens": 9, "max_tokens": 1}, RequestedOutput(9)),
        ("messages", {"MAX_TOKENS": 1}, RequestedOutput()),
        ("responses", {"maxOutputTokens": 1, "N": 3}, RequestedOutput()),
        ("chat", {}, RequestedOutput()),
    ],
)
def test_the_limit_of_each_api_is_read(api, members, asked):
    body = json.dumps({"model": "m", **BODIES.get(api, {}), **members}).encode()
    assert requested_output(api, body) == asked


@each_row("number", ["1e400", "-1e400", "[1e400]", '{"a":1e400}'])
@each_row("api", CODECS)
def test_a_number_that_no_computer_holds_limits_nothing(api, number):
    """RFC 8259, section 6. The provider rejects it; until then the body has only been split into members."""
    for path in (*OUTPUT_LIMITS[api], *ANSWER_COUNTS[api], "service_tier", "max_tool_calls", "plugins"):
        names = path.split(".")
        body = "".join(f'{{"{name}":' for name in names) + number + "}" * len(names)
        assert requested_output(api, body.encode()) == RequestedOutput(), body
        assert requested_choices(api, body.encode()) == 1


def test_a_limit_that_appears_twice_is_none():
    # RFC 8259, section 4: servers differ in which one they use.
    twice = b'{"generationConfig": {"maxOutputTokens": 1, "temperature": 0, "maxOutputTokens": 100000}}'
    assert requested_output("gemini", twice).max_tokens is None


@pytest.mark.parametrize(
    ("model", "most", "tokens"),
    [("openai/gpt-5", 100, 100), ("openai/gpt-5", None, 128_000), ("anthropic/claude-opus-4-1", None, 32_000)],
)
def test_the_longest_output_of_a_target(model, most, tokens):
    speaks = ["messages"] if model.startswith("anthropic") else ["chat"]
    entry = {"model": model, "access_key": "sk-of-somebody-0123456789", "speaks": speaks}
    router = Router(from_mapping({"version": "v0.4.0", "model_providers": [entry]}))
    assert longest_output(router.plan(model, "messages").first, most) == tokens


def test_the_estimate_never_exceeds_what_models_return():
    # A number that others would have to make room for, and that no counter of 64 bits could hold.
    chat = json.dumps({"model": "m", "messages": [], "n": 10**11, "max_tokens": 10**11}).encode()
    asked = requested_output("chat", chat)
    assert asked == RequestedOutput(MAX_REQUESTED, MAX_ANSWERS)


def test_a_name_of_megabytes_is_not_remembered():
    outputs, model = ExpectedOutputs(), "openai/" + "m" * 1000
    before = sys.getrefcount(model)
    learn_all(outputs, *[100] * 20, model=model)
    assert outputs.tokens("alice", model) == 100
    assert sys.getrefcount(model) == before


@pytest.mark.parametrize("batch", [False, True])
def test_batches_do_not_change_the_estimate(batch):
    allowances, usage = Allowances(), Usage(input=1, output=9000)
    for _ in range(ENOUGH):
        bill = Bill(is_complete=True, usage=usage)
        bill.attempt_records = (AttemptRecord("m", "openai", "chat", "byte", committed=True, model="openai/m"),)
        bill.booked = Booking(usage, None) if batch else None
        Reservation(allowances, Payer(None), bill).settle(delivered=True)
    assert allowances.outputs.tokens(None, "openai/m") == (AT_FIRST if batch else 9000)
