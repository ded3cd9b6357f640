"""Members that a provider's endpoint rejects. The gateway sends the request again without them, and remembers them.

Programs write for one model: `quality` for DALL-E 3 (langchain-ai/langchain-community#106, fatihak/InkyPi#158)."""

from typing import Any

from tests.support.each_row import each_row
from tests.support.endpoint_provider import endpoint_provider, json_answer, settings
from tests.support.in_process import gateway

PICTURE = json_answer({"created": 1, "data": [{"b64_json": "aGk="}]})
RANKED = json_answer({"results": [{"index": 0, "relevance_score": 0.5}], "usage": {"total_tokens": 3}})
ROWS: list[tuple[str, str, Any, str, Any]] = [
    ("images/generations", "openai/dall-e-2", {"prompt": "x", "quality": "standard"}, "quality", PICTURE),
    ("moderations", "openai/omni-moderation-latest", {"input": "x", "x_new": 1}, "x_new",
     json_answer({"id": "m", "results": []})),
    ("audio/speech", "openai/tts-1", {"input": "x", "voice": "alloy", "stream_format": "audio"}, "stream_format",
     json_answer({"audio": "aGk="})),
    ("rerank", "jina/reranker", {"query": "q", "documents": ["a"], "return_documents": False}, "return_documents",
     RANKED),
]  # fmt: skip


@each_row(("path", "model", "body", "name", "answer"), ROWS, ids=[row[0] for row in ROWS])
async def test_a_rejected_member_is_omitted(path, model, body, name, answer):
    rejected = {"message": f"Unknown parameter: '{name}'.", "param": name, "code": "unknown_parameter"}

    def reply(asked: Any) -> Any:
        return json_answer({"error": rejected}, 400) if name in asked.json else answer

    async with endpoint_provider(reply) as provider:
        entry = {"model": model, "access_key": "k", "base_url": provider.url}
        async with gateway(settings(entry)) as served:
            for _ in range(2):
                found = await served.post(f"/v1/{path}", json={"model": model, **body})
                assert (found.status_code, found.headers["x-trigate-dropped"]) == (200, name)
        assert [name in asked.json for asked in provider.asked] == [True, False, False]


EMBEDDED = json_answer({"data": [{"index": 0, "embedding": [1.0]}], "usage": {"prompt_tokens": 1, "total_tokens": 1}})
PLAIN: list[tuple[str, str, Any, Any]] = [
    *((path, model, body, answer) for path, model, body, _, answer in ROWS),
    ("embeddings", "openai/text-embedding-3-small", {"input": "x"}, EMBEDDED),
]


@each_row(("path", "model", "body", "answer"), PLAIN, ids=[row[0] for row in PLAIN])
async def test_a_client_s_credential_in_the_body_reaches_no_provider_with_a_key(path, model, body, answer):
    """It would replace the gateway's own (BerriAI/litellm#36794)."""
    async with endpoint_provider(lambda asked: answer) as provider:
        entry = {"model": model, "access_key": "k", "base_url": provider.url}
        async with gateway(settings(entry)) as served:
            found = await served.post(f"/v1/{path}", json={"model": model, **body, "api_key": "another"})
            assert (found.status_code, found.headers["x-trigate-dropped"]) == (200, "api_key")
    assert ["api_key" in asked.json for asked in provider.asked] == [False]
