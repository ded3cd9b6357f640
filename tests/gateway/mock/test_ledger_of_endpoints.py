"""Each request on each path is one line in the ledger, with its usage and its cost: the gateway in front of the
stand-in (BerriAI/litellm#36914, #35358)."""

from typing import Any

import httpx2
import trio

from tests.support.cases import case
from tests.support.features import needs_feature
from tests.support.gateway_thread import mock_thread
from tests.support.harness import PATIENCE
from tests.support.in_process import gateway

KEY = "ann-key-0123456789-0123456789"
SOUND = {"file": ("a.wav", b"RIFF" + b"\0" * 31_996)}

# A request, and the prompt tokens, units, cost in dollars and grade of the cost in its line.
ASKED: list[tuple[str, dict[str, Any], int, dict[str, int], float | None, str | None]] = [
    ("embeddings", {"json": {"model": "text-embedding-3-small", "input": "a" * 4000}}, 1000, {}, 0.00002, "exact"),
    ("embeddings", {"json": {"model": "ge", "input": "a" * 4000}}, 1000, {}, 0.00015, "estimated"),
    ("embeddings", {"json": {"model": "je", "input": "a"}}, 1, {}, None, None),
    ("rerank", {"json": {"model": "rr", "query": "a", "documents": ["b"]}}, 2, {"search": 1}, 0.002, "exact"),
    ("audio/speech", {"json": {"model": "tts-1", "input": "Hi", "voice": "x"}}, 0, {"character": 2}, 3e-05, "exact"),
    ("audio/transcriptions", {"data": {"model": "whisper-1"}, "files": SOUND}, 0, {"second": 2}, 0.0002, "exact"),
    ("images/generations", {"json": {"model": "gpt-image-1", "prompt": "abcd"}}, 1, {"image": 1}, 0.004005, "exact"),
    ("images/edits", {"data": {"model": "flux"}, "files": {"image": b"x"}}, 1, {"image": 1}, 0.04, "exact"),
    ("completions", {"json": {"model": "davinci-002", "prompt": "abcd"}}, 1, {}, 2.2e-05, "exact"),
    ("moderations", {"json": {"model": "omni-moderation-latest", "input": "x"}}, 0, {}, 0.0, "exact"),
]  # fmt: skip


def entry(model: str, url: str, **more: Any) -> dict[str, Any]:
    return {"model": model, "access_key": "k", "base_url": url, **more}


@needs_feature("other_endpoints")
async def test_each_request_is_a_line_with_its_units_and_its_cost(caplog, exchanges):
    with trio.fail_after(4 * PATIENCE):
        with mock_thread() as mock:
            url = mock.url
            entries = [
                entry("openai/*", url),
                entry("cohere/rerank-v4.0", url, name="rr", price={"per": {"search": 0.002}}),
                entry("jina/jina-embeddings-v4", url, name="je"),
                entry("gemini/gemini-embedding-001", url, name="ge"),
                entry("acme/flux", url, name="flux", price={"per": {"image": 0.04}}),
            ]
            keys = [{"name": "ann", "key": KEY}]
            config = {"version": "v0.4.0", "model_providers": entries, "client_keys": keys}
            async with (
                gateway(config) as running,
                httpx2.AsyncClient(verify=False, trust_env=False, timeout=30) as client,
            ):
                for path, sent, tokens, units, cost, grade in ASKED:
                    with case(f"{path} {sent.get('json') or sent['data']}"):
                        caplog.clear()
                        head = {"authorization": f"Bearer {KEY}"}
                        answer = await client.post(f"{running.url}/v1/{path}", headers=head, **sent)
                        assert answer.status_code == 200, answer.text
                        (line,) = await exchanges.wait_for(1)
                        assert (line["client"], line["ended"]) == ("ann", "complete")
                        assert (line["input_tokens"], line.get("units", {})) == (tokens, units)
                        assert (line.get("cost_usd"), line.get("cost_grade")) == (cost, grade)
