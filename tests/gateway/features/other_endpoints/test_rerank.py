"""Rerank over real sockets: each client's format with each provider's, and the costs."""

import json
from typing import Any

from tests.support.endpoint_provider import (
    ReceivedRequest,
    ScriptedAnswer,
    before,
    endpoint_provider,
    json_answer,
    settings,
)
from tests.support.in_process import gateway
from tests.support.settled_lines import SettledLines

TEXTS = ["a", "b", "c"]
_ITEMS = [{"index": 2, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.25}]
_TEI = [{"index": 0, "score": 0.25}, {"index": 2, "score": 0.9}, {"index": 1, "score": 0.1}]
SERVERS: dict[str, tuple[str, Any]] = {
    "cohere/m": ("/v2/rerank", {"id": "1", "results": _ITEMS, "meta": {"billed_units": {"search_units": 1}}}),
    "jina/m": ("/v1/rerank", {"model": "m", "results": _ITEMS, "usage": {"total_tokens": 7}}),
    "voyage/m": ("/v1/rerank", {"object": "list", "data": _ITEMS, "model": "m", "usage": {"total_tokens": 7}}),
    "vllm/m": ("/v1/rerank", {"id": "1", "model": "m", "results": _ITEMS, "usage": {"total_tokens": 7}}),
    "tei/m": ("/rerank", _TEI),
    "amazon_bedrock/cohere.rerank-v3-5:0": ("/model/cohere.rerank-v3-5:0/invoke", {"results": _ITEMS}),
    "amazon_bedrock/amazon.rerank-v1:0": ("/model/amazon.rerank-v1:0/invoke", {"results": _ITEMS}),
    "deepinfra/m": ("/v1/inference/m", {"scores": [0.25, 0.1, 0.9], "input_tokens": 7}),
}
CLIENTS: dict[str, dict[str, Any]] = {
    "/v2/rerank": {"query": "q", "documents": TEXTS, "top_n": 2},
    "/v1/v2/rerank": {"query": "q", "documents": TEXTS, "top_n": 2},
    "/v1/v1/rerank": {"query": "q", "documents": TEXTS, "top_n": 2, "return_documents": False},
    "/v1/rerank": {"query": "q", "documents": TEXTS, "top_n": 2},
    "/rerank": {"query": "q", "documents": TEXTS, "top_k": 2, "truncation": True},
}


async def test_each_client_gets_the_same_order_from_each_server():
    """Cohere's client appends its path to a base that ends in `/v1` (BerriAI/litellm#8194); Open WebUI posts `{model,
    query, documents, top_n}` to the full URL in its settings (open-webui/open-webui#16228)."""
    for model, (at, answer) in SERVERS.items():
        async with endpoint_provider(lambda asked, answer=answer: json_answer(answer)) as provider, gateway(
            settings({"model": model, "access_key": "k", "base_url": provider.url, "name": "ranks"})
        ) as served:  # fmt: skip
            for path, body in CLIENTS.items():
                found = await served.post(path, json={"model": "ranks", **body})
                case = (model, path, found.text)
                assert found.status_code == 200, case
                results = found.json()["data" if "top_k" in body else "results"]
                assert [(one["index"], one["relevance_score"]) for one in results] == [(2, 0.9), (0, 0.25)], case
                assert provider.asked[-1].path == at, case
                assert b"ranks" not in provider.asked[-1].body, case
                if model.startswith("amazon_bedrock"):
                    members = {"query", "documents", "top_n"} | ({"api_version"} if "cohere" in model else set())
                    assert set(provider.asked[-1].json) == members, case


async def test_an_answer_in_the_clients_format_passes_byte_for_byte():
    raw = b'{"id":"1", "results":[{"index":0,"relevance_score":0.10,"x":1}],"meta":{"api_version":{"version":"2"}}}'
    async with before(lambda asked: ScriptedAnswer((raw,), length=True), model="cohere/m-1") as (served, provider):
        found = await served.post("/v2/rerank", json={"model": "m-1", "query": "q", "documents": TEXTS, "priority": 3})
        assert found.content == raw
        assert provider.asked[0].json["priority"] == 3


async def test_a_ranking_is_billed_by_searches_or_tokens():
    """A price for each search was multiplied by tokens, or was always zero
    (metadist/synaplan#1778, maximhq/bifrost#4239)."""
    searched, told_so = {"per": {"search": 0.002}}, (None, 0.002)
    cases: tuple[tuple[str, dict[str, Any], tuple[int | None, float]], ...] = (
        ("cohere/m", searched, told_so), ("cohere/m", {"input": 1, "output": 1, **searched}, told_so),
        ("jina/m", {"input": 1000, "output": 0}, (7, 0.007)), ("tei/m", searched, told_so),
        ("deepinfra/m", {"input": 1000, "output": 0}, (7, 0.007)), ("voyage/m", searched, (7, 0.002)),
    )  # fmt: skip
    for model, price, (tokens, dollars) in cases:
        answer = SERVERS[model][1]
        async with endpoint_provider(lambda asked, answer=answer: json_answer(answer)) as provider, gateway(
            settings({"model": model, "access_key": "k", "base_url": provider.url, "price": price})
        ) as served:  # fmt: skip
            lines = SettledLines(served)
            await served.post("/v1/rerank", json={"model": model, "query": "q", "documents": TEXTS})
            (line,) = await lines.next(1)
            assert (line["endpoint"], line["input_tokens"] or None, line["cost_usd"]) == ("rerank", tokens, dollars), (
                model
            )


async def test_documents_that_are_objects_reach_cohere_as_texts_and_return_unchanged():
    documents = [{"title": "T", "year": 1}, {"text": "b"}, "c"]
    async with before(lambda asked: json_answer(SERVERS["cohere/m"][1]), model="cohere/m-1") as (served, provider):
        body = {"model": "m-1", "query": "q", "documents": documents, "return_documents": True}
        found = await served.post("/v1/rerank", json=body)
        assert provider.asked[0].json["documents"] == ["title: T\nyear: 1", "b", "c"]
        assert [one["document"] for one in found.json()["results"]] == [{"text": "c"}, documents[0]]
        assert found.headers["x-trigate-adapted"] == "documents[]=text"


async def test_a_ranking_of_other_documents_is_a_bad_answer():
    for answer in ([{"index": 3, "score": 1}], [{"index": 0, "score": 1}] * 2, {"error": "x"}, "text"):
        async with before(lambda asked, answer=answer: json_answer(answer), model="tei/m-1") as (served, _):
            found = await served.post("/v1/rerank", json={"model": "m-1", "query": "q", "documents": TEXTS})
            assert found.status_code == 502, answer
            assert "response" in found.json()["error"]["message"]


async def test_a_request_without_a_model_uses_the_rerank_model():
    """TEI's clients send no model, because a TEI server has only one."""
    async with endpoint_provider(lambda asked: json_answer(_TEI)) as provider:
        chat = {"model": "openai/gpt-5.1", "access_key": "k", "base_url": provider.url, "default": True}
        ranks = {"model": "tei/BAAI/bge-reranker-v2-m3", "base_url": provider.url}
        async with gateway(settings(chat, ranks)) as served:
            found = await served.post("/rerank", json={"query": "q", "texts": TEXTS, "return_text": True})
            assert found.json() == _TEI
            assert json.loads(provider.asked[0].body) == {"query": "q", "texts": TEXTS, "return_text": True}
        async with gateway(settings(chat)) as served:
            found = await served.post("/rerank", json={"query": "q", "texts": TEXTS})
            assert (found.status_code, found.json()["error"]["param"]) == (400, "model")


async def test_another_target_ranks_in_its_own_format_if_the_first_one_is_down():
    """A route may continue with another model, because each ranking is useful alone. No answer mixes two models."""

    def answer(asked: ReceivedRequest) -> ScriptedAnswer:
        return json_answer({"message": "down"}, 503) if asked.path == "/v2/rerank" else json_answer(_TEI)

    async with endpoint_provider(answer) as provider:
        entries = [{"model": "cohere/a", "name": "first", "access_key": "k", "base_url": provider.url},
                   {"model": "tei/b", "name": "next", "base_url": provider.url}]  # fmt: skip
        async with gateway(settings(*entries, model_aliases={"ranks": {"targets": ["first", "next"]}})) as served:
            found = await served.post(
                "/v2/rerank", json={"model": "ranks", "query": "q", "documents": TEXTS, "top_n": 1}
            )
            assert [(one["index"], one["relevance_score"]) for one in found.json()["results"]] == [(2, 0.9)]
            assert [asked.path for asked in provider.asked] == ["/v2/rerank", "/rerank"]
            assert found.headers["x-trigate-target"] == "tei/b"


async def test_strict_mode_refuses_a_loss_that_changes_the_ranking():
    async with before(lambda asked: json_answer(_TEI), model="tei/m-1", strict=True) as (served, provider):
        body = {"model": "m-1", "query": "q", "documents": TEXTS}
        assert (await served.post("/v1/rerank", json=body)).status_code == 200
        found = await served.post("/v1/rerank", json={**body, "max_tokens_per_doc": 9})
        assert (found.status_code, found.json()["error"]["param"]) == (400, "max_tokens_per_doc")
        assert len(provider.asked) == 1
