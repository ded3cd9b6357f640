"""One rerank request in each client's and each server's shape: the same order, indices and usage.

The shapes are those of the cohere, voyageai and openai packages and of the documents that ``shapes`` names.
"""

import json
from typing import Any

import pytest

from providers.endpoints.rerank import (
    COHERE,
    COHERE_V1,
    DEEPINFRA,
    JINA,
    SHAPES,
    TEI,
    VOYAGE,
    RerankCosts,
    RerankShape,
    WantedRanking,
    document_text,
    read_costs,
    read_wanted_ranking,
    shape_of_client,
    translate_answer,
    translates_answer,
    write_rerank,
)
from providers.neutral.draft import Draft
from streams.errors import GatewayError
from tests.support.cases import case

TEXTS = ["Carson City", "Saipan", "Washington"]
CLIENTS: dict[str, tuple[RerankShape, dict[str, Any]]] = {
    "cohere": (COHERE, {"model": "a", "query": "q", "documents": TEXTS, "top_n": 2}),
    "jina": (JINA, {"model": "a", "query": "q", "documents": TEXTS, "top_n": 2, "return_documents": True}),
    "voyage": (VOYAGE, {"query": "q", "documents": TEXTS, "model": "a", "top_k": 2, "truncation": True}),
    "tei": (TEI, {"model": "a", "query": "q", "texts": TEXTS, "return_text": True}),
}
_ITEMS = [{"index": 0, "relevance_score": 0.1}, {"index": 2, "relevance_score": 0.9},
          {"index": 1, "relevance_score": 0.5}]  # fmt: skip
ANSWERS: dict[str, Any] = {
    "cohere": {"id": "x", "results": _ITEMS, "meta": {"billed_units": {"search_units": 1.0}}},
    "cohere_v1": {"id": "x", "results": _ITEMS, "meta": {"billed_units": {"search_units": 1.0}}},
    "jina": {"model": "m", "results": _ITEMS, "usage": {"total_tokens": 7}},
    "openai": {"model": "m", "results": _ITEMS, "usage": {"total_tokens": 7}},
    "voyage": {"object": "list", "data": _ITEMS, "usage": {"total_tokens": 7}},
    "tei": [{"index": item["index"], "score": item["relevance_score"]} for item in _ITEMS],
    "amazon": {"results": _ITEMS},
    "cohere_invoke": {"results": _ITEMS},
    "deepinfra": {"scores": [0.1, 0.5, 0.9], "input_tokens": 7, "inference_status": {"cost": 0.0001}},
}
PATHS = {"cohere": "/v2/rerank", "jina": "/v1/rerank", "voyage": "/v1/rerank", "tei": "/rerank"}


def _draft(body: object) -> Draft:
    return Draft.of(json.dumps(body).encode())


def _wanted_by(body: object, shape: RerankShape) -> WantedRanking:
    return read_wanted_ranking(_draft(body), shape)


def _translate_for_client(answer: object, source: RerankShape, wanted: WantedRanking) -> Any:
    return json.loads(translate_answer(json.dumps(answer).encode(), source, wanted, "m", "req_1")[0])


def test_each_client_gets_its_own_shape_from_each_server():
    for client, (shape, body) in CLIENTS.items():
        assert shape_of_client(PATHS[client], body) is shape, client
        for server, target in SHAPES.items():
            wanted = _wanted_by(body, shape)
            sent = json.loads(write_rerank(_draft(body), wanted, target, "m")[0])
            case = f"{client} to {server}"
            assert sent[target.documents] == TEXTS, case
            assert sent[target.query] == (["q"] * 3 if target is DEEPINFRA else "q"), case
            if target.names_model or shape is target:
                assert sent["model"] == "m", case
            answer = _translate_for_client(ANSWERS[server], target, wanted)
            results = answer if shape is TEI else answer["data" if shape is VOYAGE else "results"]
            order = [2, 1, 0] if shape is TEI else [2, 1]
            assert [one["index"] for one in results] == order, case
            assert [one[shape.score] for one in results] == [0.9, 0.5, 0.1][: len(order)], case
            documents = [one.get("text", one.get("document")) for one in results]
            assert documents == _documents(client, order), case


def _documents(client: str, order: list[int]) -> list[Any]:
    texts = [TEXTS[index] for index in order]
    return {"tei": texts, "jina": [{"text": text} for text in texts]}.get(client, [None] * len(order))


def test_a_provider_of_the_clients_shape_gets_its_bytes():
    body = b'{ "query":"q", "model":"a","documents" : ["x", "y"], "top_n":1, "some_new_member": {"b": [1,  2]} }'
    wanted = read_wanted_ranking(Draft.of(body), JINA)
    assert write_rerank(Draft.of(body), wanted, JINA, "a") == (body, ())
    assert not translates_answer(wanted, JINA)
    renamed, _ = write_rerank(Draft.of(body), wanted, JINA, "m")
    assert b'"model":"m"' in renamed
    assert b'{"b": [1,  2]}' in renamed


def test_cohere_gets_texts_and_the_client_its_documents():
    """https://docs.cohere.com/reference/rerank: the second version takes texts alone, and answers without them."""
    documents = [{"text": "plain", "id": 1}, {"title": "T: x", "year": 1999}, "a text"]
    body = {"model": "a", "query": "q", "documents": documents, "return_documents": True, "max_chunks_per_doc": 3}
    wanted = _wanted_by(body, JINA)
    written, edits = write_rerank(_draft(body), wanted, COHERE, "m")
    sent = json.loads(written)
    assert sent["documents"] == ["plain", "title: T: x\nyear: 1999", "a text"]
    assert sent.keys() == {"model", "query", "documents"}
    assert [(edit.path, edit.lost, edit.form) for edit in edits] == [
        ("documents[]", False, "=text"), ("max_chunks_per_doc", True, ""), ("return_documents", False, ""),
    ]  # fmt: skip
    assert translates_answer(wanted, COHERE)
    results = _translate_for_client(ANSWERS["cohere"], COHERE, wanted)["results"]
    assert [one["document"] for one in results] == [{"text": "a text"}, documents[1], documents[0]]


def test_rank_fields_select_the_members_of_an_object_to_rank():
    document = {"text": "t", "title": "a\nb", "tags": ["x"], "empty": ""}
    assert document_text(document) == document_text(document, ["text"]) == "t"
    assert document_text(document, ["title", "text", "none"]) == 'title: "a\\nb"\ntext: t'
    assert document_text({"tags": ["x"], "empty": ""}) == 'tags: ["x"]\nempty: ""'
    body = {"query": "q", "documents": [document], "rank_fields": ["tags"]}
    sent = json.loads(write_rerank(_draft(body), _wanted_by(body, JINA), TEI, "m")[0])
    assert sent == {"query": "q", "texts": ['tags: ["x"]']}
    assert json.loads(write_rerank(_draft(body), _wanted_by(body, JINA), COHERE_V1, "m")[0])["documents"] == [document]


def test_members_that_the_other_shape_lacks_are_reported():
    body = {"model": "a", "query": "q", "documents": TEXTS, "top_n": 1, "max_tokens_per_doc": 9, "truncation": False,
            "user": None}  # fmt: skip
    written, edits = write_rerank(_draft(body), _wanted_by(body, JINA), VOYAGE, "m")
    assert json.loads(written) == {
        "model": "m", "query": "q", "documents": TEXTS, "top_k": 1, "truncation": False,
    }  # fmt: skip
    assert [edit.path for edit in edits if edit.lost] == ["max_tokens_per_doc"]


def test_an_answer_with_wrong_indices_is_invalid():
    for answer, source in [
        ({"results": [{"index": 3, "relevance_score": 1}]}, JINA),
        ({"results": [{"index": -1, "relevance_score": 1}]}, JINA),
        ({"results": [{"index": 0, "relevance_score": 1}, {"index": 0, "relevance_score": 2}]}, JINA),
        ({"results": [{"index": 0, "relevance_score": "high"}]}, JINA),
        ({"results": [{"relevance_score": 1}]}, JINA),
        ({"results": None}, JINA),
        ({"data": []}, JINA),
        ([[0]], TEI),
        ("text", TEI),
        ({"scores": [0.1, 0.2]}, DEEPINFRA),
        ({"scores": [0.1, 0.2, 0.3, 0.4]}, DEEPINFRA),
    ]:
        with case((answer, source)):
            wanted = _wanted_by(CLIENTS["jina"][1], JINA)
            with pytest.raises(GatewayError) as raised:
                translate_answer(json.dumps(answer).encode(), source, wanted, "m", "id")
            assert raised.value.info.status == 502
            assert raised.value.info.reason == "bad_answer"


def test_an_invalid_answer_is_an_error():
    wanted = _wanted_by(CLIENTS["jina"][1], JINA)
    deep = b'{"results": [{"index": 0, "relevance_score": 1, "x": ' + b"[" * 1_000_000 + b"]" * 1_000_000 + b"}]}"
    for body in (b"", b"\xff", b"[" * 10_000, b'{"results": [\xff]}', deep, b"[" + b"{}," * 300_000 + b"{}]"):
        with pytest.raises(GatewayError) as raised:
            translate_answer(body, JINA, wanted, "m", "id")
        assert raised.value.info.status == 502
    told = b'{"results": [{"index": 0, "relevance_score": 1}], "usage": {"total_tokens": 1}, "x": "\xff"}'
    assert b'"index":0' in translate_answer(told, JINA, wanted, "m", "id")[0]


def test_scores_keep_the_providers_digits():
    """Thresholds belong to a model; TEI's list has no envelope (huggingface/text-embeddings-inference#683)."""
    body = b'[{"index":1,"score":-3.14159265358979323846},{"index":0,"score":1e-9}]'
    wanted = _wanted_by({"query": "q", "documents": ["a", "b"]}, JINA)
    answer, costs = translate_answer(body, TEI, wanted, "m", "id")
    assert b'"relevance_score":-3.14159265358979323846' in answer
    assert b'"relevance_score":1e-9' in answer
    assert [one["index"] for one in json.loads(answer)["results"]] == [0, 1]
    assert costs == RerankCosts()


def test_usage_is_read_in_each_rerank_format():
    """Searches are not tokens: 25,000 tokens at a price for each search came to $50
    (metadist/synaplan#1778, maximhq/bifrost#4239)."""
    assert read_costs(ANSWERS["cohere"]) == RerankCosts(searches=1)
    assert read_costs(ANSWERS["jina"]) == read_costs(ANSWERS["voyage"]) == RerankCosts(tokens=7)
    assert read_costs(ANSWERS["tei"]) == read_costs(None) == read_costs({"usage": [], "meta": 3}) == RerankCosts()
    assert read_costs(ANSWERS["deepinfra"]) == RerankCosts(tokens=7, nanos=100_000)
    routed = {"usage": {"search_units": 1, "cost": 0.002, "total_tokens": -1, "prompt_tokens": True}}
    assert read_costs(routed) == RerankCosts(searches=1, nanos=2_000_000)


def test_a_request_that_cannot_be_ranked_is_refused():
    for body, param in [
        ({"query": "q", "documents": "text"}, "documents"),
        ({"query": "q"}, "documents"),
        ({"query": "q", "documents": [], "top_n": "2"}, "top_n"),
        ({"query": "q", "documents": [], "top_n": -1}, "top_n"),
    ]:
        with case((body, param)):
            with pytest.raises(GatewayError) as raised:
                read_wanted_ranking(_draft(body), JINA)
            assert (raised.value.info.status, raised.value.info.param) == (400, param)
