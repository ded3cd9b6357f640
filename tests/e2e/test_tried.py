"""What an exchange of several attempts leaves behind: one line, with each attempt, whatever API and form."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.apis import question
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import Gateway, config, eventually, exchanges, provider, refusing_port
from tests.support.upstreams import JSON, PATHS, STREAM, Raw, Script

OVERLOADED = Raw(529, JSON,
                 (b'{"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}',))  # fmt: skip
CUT = Raw(200, STREAM, (b": begun\n\n",), "cut")


@pytest.fixture(scope="module")
def gateway(upstream) -> Iterator[Gateway]:
    with refusing_port() as refused:
        entries = [
            provider("vllm/m", f"http://127.0.0.1:{refused}", ["chat"], name="vllm-a"),
            provider("openai/m", f"{upstream.url}/v1", ["chat"], name="gpt"),
            provider("anthropic/m", upstream.url, ["messages"], name="claude"),
        ]
        circuit = {"failures": 1000, "error_rate": "100%"}
        aliases = {"best": {"targets": ["vllm-a", "gpt", "claude"]}}
        with gateway_thread(config(entries, model_aliases=aliases, circuit=circuit)) as process:
            yield process


def ask(gateway: Gateway, api: str, stream: bool, id: str) -> Any:
    return gateway.request("POST", PATHS[api], question(api, "best", "Hello", stream=stream), {"x-request-id": id})


@pytest.mark.sample(5)
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("api", PATHS)
def test_an_exchange_has_one_line_with_each_of_its_attempts(gateway, upstream, api, stream):
    """Fallbacks that no log tells of: BerriAI/litellm#25503, BerriAI/litellm#28241."""
    upstream.script(OVERLOADED, Script(text="ok"))
    id = f"one-line-{api}-{stream}"
    reply = ask(gateway, api, stream, id)
    assert reply.status == 200, reply.body
    assert reply.headers["x-trigate-tried"] == "vllm-a=connection, gpt=overloaded, claude=ok"
    (line,) = eventually(lambda: exchanges(gateway.log, id))
    assert (line["route"], line["attempts"], line["ended"]) == ("best", 3, "complete")
    first, second, third = line["tried"]
    assert (first["target"], first["cause"], first["reason"]) == ("vllm-a", "first", "connection")
    assert "status" not in first
    assert (second["target"], second["cause"], second["status"]) == ("gpt", "fallback", 529)
    assert (third["target"], third["api"], third["reason"]) == ("claude", "messages", "ok")
    assert third["lane"] == ("byte" if api == "messages" else "hub")
    assert 0 <= third["head_ms"] <= third["content_ms"] <= line["duration_ms"]


def test_an_attempt_that_may_be_billed_has_unknown_usage(gateway, upstream):
    """A ledger that calls a cut call nothing: bircex/llmr#48."""
    upstream.script(CUT, Script(text="ok"))
    assert ask(gateway, "chat", True, "may-be-billed").status == 200
    (line,) = eventually(lambda: exchanges(gateway.log, "may-be-billed"))
    cut = line["tried"][1]
    assert (cut["target"], cut["reason"], cut["usage"]) == ("gpt", "connection", "unknown")
    assert cut["input_tokens"] > 0


def test_the_log_line_of_a_failed_route_lists_every_attempt_and_the_wait(gateway, upstream):
    upstream.script(*[OVERLOADED] * 3)
    reply = ask(gateway, "messages", False, "all-failed")
    assert reply.status == 529
    (line,) = eventually(lambda: exchanges(gateway.log, "all-failed"))
    assert [one["reason"] for one in line["tried"][:3]] == ["connection", "overloaded", "overloaded"]
    assert (line["attempts"], line["tried"][3]["cause"]) == (4, "retry")
    assert line["waited_ms"] > 0
