"""Steps on the other ways in: counts of tokens, compactions, and responses that a provider stores."""

import functools
import re
from typing import Any, Final

import pytest

from providers.responses.compaction import SUMMARY_INTRODUCTION, summary
from tests.support import word_steps
from tests.support.each_row import each_row
from tests.support.endpoint_provider import ReceivedRequest, ScriptedAnswer, json_answer
from tests.support.settled_lines import SettledLines
from tests.support.upstreams import Script, render
from tests.support.word_gateway import gateway_with_steps, step

PROMPT: Final = "about falcon-12 now"
ANSWER: Final = "it is falcon-77 today"
MESSAGE: Final = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": ANSWER}]}
STORED: Final = {"id": "resp_theirs", "object": "response", "status": "completed", "output": [MESSAGE]}


def answer(asked: ReceivedRequest) -> ScriptedAnswer:
    if asked.method == "GET":
        return json_answer(STORED)
    made = render(Script(text=ANSWER), "responses", asked.json)
    return ScriptedAnswer(made.pieces, headers=made.headers)


with_steps = functools.partial(gateway_with_steps, answer)


async def test_a_count_that_the_gateway_estimates_is_checked():
    contents = {"contents": [{"role": "user", "parts": [{"text": PROMPT}]}]}
    for action, status in (("mask", 200), ("refuse", 400)):
        async with with_steps(step(action=action), model="gemini/m-1") as (served, _):
            found = await served.post("/v1beta/models/m-1:countTokens", json={"model": "m-1", **contents})
            assert found.status_code == status, found.text
            assert [one.text for check in word_steps.seen for one in check.passages] == [PROMPT]


COMPACT: Final = "/v1/responses/compact"
COMPACTION: Final = {"type": "compaction", "encrypted_content": "c2VhbA=="}
MEMO: Final = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": ANSWER}]}


def answer_compaction(asked: ReceivedRequest) -> ScriptedAnswer:
    """Answer as a provider that compacts itself, or as a model that writes a summary."""
    if asked.path.endswith("/compact"):
        usage = {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}
        output = [MEMO, COMPACTION]
        return json_answer({"id": "resp_1", "object": "response.compaction", "output": output, "usage": usage})
    spoken = re.search(rb"\[WORD_[0-9a-f]+\]", asked.body)
    text = f"{ANSWER}, not {spoken[0].decode()}" if spoken else ANSWER
    made = render(Script(text=text), "chat", asked.json)
    return ScriptedAnswer(made.pieces, headers=made.headers)


def compacted_text(body: Any) -> Any:
    """Return everything that a client can read in a compaction."""
    first, *_ = body["output"]
    return (
        first["content"][0]["text"] if "content" in first else (summary(first) or "").removeprefix(SUMMARY_INTRODUCTION)
    )


wholes = pytest.mark.parametrize("speaks", ["responses", "chat"])


@wholes
async def test_a_compaction_is_masked_for_its_client(speaks):
    masking = step(action="mask", at=["response"])
    async with gateway_with_steps(answer_compaction, masking, entry={"speaks": [speaks]}) as (served, _):
        found = await served.post(COMPACT, json={"model": "m-1", "input": "hi"})
        assert found.status_code == 200, found.text
        assert re.fullmatch(r"it is \[WORD_[0-9a-f]{10,}\] today", compacted_text(found.json()))
        assert [one.text for check in word_steps.seen for one in check.passages] == [ANSWER]
        assert found.headers["x-trigate-steps"] == "words=masked"


@wholes
async def test_a_refused_compaction_is_a_400_and_is_billed(speaks):
    refusing = step(at=["response"])
    async with gateway_with_steps(answer_compaction, refusing, entry={"speaks": [speaks]}) as (served, provider):
        lines = SettledLines(served)
        found = await served.post(COMPACT, json={"model": "m-1", "input": "hi"})
        assert (found.status_code, found.json()["error"]["code"]) == (400, "content_filter")
        assert found.headers["x-trigate-refused-by"] == "words"
        assert len(provider.asked) == 1
        (line,) = await lines.next()
        assert (line["ended"], line["refused_by"]) == ("refused", "words")
        assert line["input_tokens"] > 0


async def test_the_clients_own_values_return_in_the_summary():
    restoring = step(action="mask", at=["request"], restore=True)
    async with gateway_with_steps(answer_compaction, restoring, entry={"speaks": ["chat"]}) as (served, provider):
        found = await served.post(COMPACT, json={"model": "m-1", "input": PROMPT})
        assert compacted_text(found.json()) == f"{ANSWER}, not falcon-12"
        again = await served.post(COMPACT, json={"model": "m-1", "input": found.json()["output"]})
        assert again.status_code == 200
        assert all(b"falcon" not in asked.body for asked in provider.asked)


@each_row(
    ("path", "model", "body"),
    [
        ("/v1/messages/count_tokens", "anthropic/m-1", {"messages": [{"role": "user", "content": PROMPT}]}),
        ("/v1/responses/input_tokens", "openai/m-1", {"input": PROMPT}),
        (COMPACT, "openai/m-1", {"input": PROMPT}),
    ],
)
async def test_the_error_of_a_provider_has_no_masked_value(path, model, body):
    failed = json_answer({"error": {"message": f"cannot read {ANSWER}", "type": "rate_limit_error"}}, 429)
    entry = {"speaks": ["responses"]} if model.startswith("openai") else {}
    async with gateway_with_steps(failed, step(action="mask", at=["response"]), model=model, entry=entry) as (
        served,
        provider,
    ):
        found = await served.post(path, json={"model": "m-1", **body})
        assert found.status_code == 429, found.text
        assert provider.asked
        assert b"falcon" not in found.content


@pytest.mark.parametrize("path", ["/v1/responses/resp_theirs", "/v1/responses/resp_theirs/input_items"])
async def test_a_response_that_only_a_provider_stores_is_unchecked_content(path):
    async with with_steps(step(), entry={"speaks": ["responses"]}) as (served, provider):
        found = await served.get(path)
        assert (found.status_code, found.json()["error"]["code"]) == (403, "unchecked_content"), found.text
        assert not provider.asked
    for more in ({"unchecked": "pass"}, {"action": "report"}, {"for": {"endpoints": ["chat"]}}):
        async with with_steps(step(**more), entry={"speaks": ["responses"]}) as (served, provider):
            assert (await served.get(path)).status_code == 200, more
            assert len(provider.asked) == 1
