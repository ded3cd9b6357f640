"""Paths without a route: a 404 with advice, in the format of the API that the path resembles."""

from typing import Any

import pytest

from tests.support.cases import case
from tests.support.endpoint_provider import before, json_answer
from tests.support.features import has_feature, needs_feature


def openai_shape(body: Any) -> bool:
    return body["error"]["code"] == "unknown_path"


def anthropic_shape(body: Any) -> bool:
    return body["type"] == "error" and body["error"]["type"] == "not_found_error"


def gemini_shape(body: Any) -> bool:
    return body["error"]["code"] == 404 and body["error"]["status"] == "NOT_FOUND"


def message_shape(body: Any) -> bool:
    return isinstance(body["message"], str)


async def test_it_has_the_shape_of_the_api_that_it_looks_like():
    """SDKs fail on anything but JSON in their own shape (diegosouzapw/OmniRoute#6405)."""
    cases = (
        ("/v1/embeddingz", {}, openai_shape), ("/v1/fine_tuning/jobs", {}, openai_shape),
        ("/nothing", {}, openai_shape),
        ("/v1/messages/x/y/z", {"anthropic-version": "2023-06-01"}, anthropic_shape),
        ("/v1/skills", {"anthropic-version": "2023-06-01"}, anthropic_shape),
        ("/v1beta/tunedModels", {}, gemini_shape), ("/upload/v9/x", {}, gemini_shape),
        ("/v1beta/corpora/m:query", {}, gemini_shape), ("/v2/summarize", {}, message_shape),
        ("/model/m/apply-guardrail", {}, message_shape),
    )  # fmt: skip
    async with before(lambda asked: json_answer({})) as (served, provider):
        for path, headers, fits in cases:
            for method in ("GET", "POST", "DELETE"):
                with case(f"{method} {path}"):
                    found = await served.send(method, path, headers=headers)
                    assert found.status_code == 404
                    assert found.headers["content-type"] == "application/json"
                    assert fits(found.json())
                    assert path.rpartition("/")[2] in found.text
        near = (await served.post("/v1/completion", json={})).json()["error"]["message"]
        assert near == "there is no POST /v1/completion; did you mean /v1/completions?"
        far = (await served.post("/v1/nothing/like/it", json={})).json()["error"]["message"]
        assert "conversations are at /v1/chat/completions, /v1/messages, /v1/responses" in far
        no_base = (await served.post("/chat/completion", json={})).json()["error"]["message"]
        assert "did you mean /v1/chat/completions? The base URL is" in no_base
        assert max(len(near), len(far), len(no_base)) < 240, "two lines of a terminal, and a bit"
        assert provider.heads == []
        page = (await served.get("/metrics")).text if has_feature("metrics") else ""
        lines = [one for one in page.splitlines() if one.startswith("trigate_exchanges_total{")]
        assert all('api="none"' in one for one in lines)


@needs_feature("model_lists")
@pytest.mark.parametrize("cors", [False, pytest.param(True, marks=pytest.mark.soak)])
async def test_a_method_of_an_unserved_model_is_a_404(cors):
    """Gemini's clients ask for the methods of a model by POST; the model's own path is another one."""
    more = {"cors": ["https://page.example"]} if cors else {}
    async with before(lambda asked: json_answer({}), "gemini/gemini-x", **more) as (served, provider):
        for root in ("/v1beta", "/v1", "/v1beta/v1beta"):
            for method in ("predict", "predictLongRunning", "batchGenerateContent", "asyncBatchEmbedContent"):
                for name in ("gemini-x", "nobodys", "a/b", "llama3:8b"):
                    path = f"{root}/models/{name}:{method}"
                    with case(f"POST {path}"):
                        found = await served.post(path, json={})
                        assert found.status_code == 404
                        assert gemini_shape(found.json())
                        assert f":{method}" in found.text
                        assert ":generateContent, :streamGenerateContent" in found.text
                        assert "allow" not in found.headers
            for method in ("generateContent", "streamGenerateContent", "countTokens", "embedContent"):
                for verb in ("GET", "PUT", "DELETE"):
                    with case(f"{verb} {root} {method}"):
                        found = await served.send(verb, f"{root}/models/gemini-x:{method}")
                        assert (found.status_code, found.headers["allow"]) == (405, "POST")
            for path in ("gemini-x", "llama3:8b"):
                found = await served.post(f"{root}/models/{path}", json={})
                assert (found.status_code, found.headers["allow"]) == (405, "GET, HEAD")
        assert (await served.send("GET", "/v1beta/models/nobodys")).status_code == 404
        assert (await served.send("GET", "/v1beta/models/gemini-x")).status_code == 200
        assert provider.heads == []
