"""An answer that was paid for once adds no tokens to the log or to the metrics when it is fetched again."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.endpoint_provider import ReceivedRequest, ScriptedAnswer, before, events, json_answer
from tests.support.features import has_feature, members_of, rows_of
from tests.support.in_process import InProcess
from tests.support.kept_clients import run, serving
from tests.support.metrics_page import Numbers
from tests.support.settled_lines import SettledLines

PRICE = {"price": {"input": 10, "output": 100}}
USAGE = {"input_tokens": 1000, "output_tokens": 100, "total_tokens": 1100}
TAKEN = 1100
TIMES = 3
RESPONSE = {"id": "resp_1", "object": "response", "status": "completed", "model": "gpt-5", "output": [], "usage": USAGE}


async def tokens(served: InProcess, lines: SettledLines, number: int) -> tuple[int, float]:
    """Return the tokens of the next ``number`` lines of the log, and the tokens in the metrics, if available."""
    found = await lines.next(number)
    logged = sum(line.get("input_tokens", 0) + line.get("output_tokens", 0) for line in found)
    if not has_feature("metrics"):
        return logged, logged
    return logged, Numbers((await served.get("/metrics")).text)("trigate_tokens_total")


def anthropics(provider: Any) -> bytes:
    message = {"id": "m", "type": "message", "role": "assistant", "model": "claude-x", "content": [],
               "stop_reason": "end_turn", "usage": {"input_tokens": 1000, "output_tokens": 100}}  # fmt: skip
    return json.dumps({"custom_id": "a", "result": {"type": "succeeded", "message": message}}).encode() + b"\n"


async def test_results_of_anthropics_batches_count_once():
    async with serving("anthropic", clients=(), entry=PRICE) as served:
        provider, client = served.providers["anthropic"], served.anthropic("none")
        message = {"model": "claude-x", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}

        def steps() -> None:
            batch = client.messages.batches.create(requests=[{"custom_id": "a", "params": message}])  # type: ignore[typeddict-item]
            (id,) = provider.kept
            provider.contents[id] = anthropics(provider)
            provider.kept[id].update(processing_status="ended", results_url=f"{provider.url}/v1/x/y")
            for _ in range(TIMES):
                assert [one.custom_id for one in client.messages.batches.results(batch.id)] == ["a"]

        await run(steps)
        assert await tokens(served.gateway, served.lines, 1 + 2 * TIMES) == (TAKEN, TAKEN)


@pytest.mark.parametrize("says_it", [True, False])
async def test_batches_of_openais_and_their_results_count_once(says_it):
    async with serving("openai", clients=(), entry=PRICE) as served:
        provider, client = served.providers["openai"], served.openai("none")
        body = {"model": "gpt-5", "messages": []}
        line = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": body}
        answer = {"object": "chat.completion", "model": "gpt-5", "choices": [],
                  "usage": {"prompt_tokens": 1000, "completion_tokens": 100}}  # fmt: skip
        result = json.dumps({"custom_id": "a", "response": {"status_code": 200, "body": answer}}).encode()

        def steps() -> None:
            file = client.files.create(file=("b.jsonl", json.dumps(line).encode()), purpose="batch")
            batch = client.batches.create(
                input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
            )
            provider.contents["file-out"], provider.kept["file-out"] = result, {"id": "file-out"}
            usage = {"model": "gpt-5", "usage": USAGE} if says_it else {}
            provider.kept[batch.id].update(status="completed", output_file_id="file-out", **usage)
            for _ in range(TIMES):
                output = client.batches.retrieve(batch.id).output_file_id
                assert client.files.content(str(output)).content == result

        await run(steps)
        assert await tokens(served.gateway, served.lines, 2 + 2 * TIMES) == (TAKEN, TAKEN)


def stream_response(asked: ReceivedRequest) -> ScriptedAnswer:
    return events(b"event: response.completed\ndata: %b\n\n" % json.dumps(
        {"type": "response.completed", "sequence_number": 9, "response": RESPONSE}
    ).encode())  # fmt: skip


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/v1/responses/resp_1", lambda asked: json_answer(RESPONSE)),
        ("/v1/responses/resp_1?stream=true", stream_response),
        *rows_of(
            "pass_through",
            ("/mine/responses/resp_1", lambda asked: json_answer(RESPONSE)),
            ("/mine/responses/resp_1?stream=true", stream_response),
        ),
    ],
)
async def test_responses_that_a_provider_stores_count_only_when_they_are_created(
    path: str, answer: Callable[[ReceivedRequest], ScriptedAnswer]
):
    entry = {"name": "mine", "speaks": ["responses"], **members_of("pass_through", passthrough=True), **PRICE}
    async with before(answer, "openai/gpt-5", entry) as (served, _):
        lines = SettledLines(served)
        for _ in range(TIMES):
            found = await served.send("GET", path)
            assert b"resp_1" in found.content
        assert await tokens(served, lines, TIMES) == (0, 0)
