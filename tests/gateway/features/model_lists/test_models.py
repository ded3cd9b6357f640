"""``GET /v1/models`` and Gemini's path, in the form of each API's clients, with the known facts of each model."""

from typing import Any

import anthropic.types
import pytest

from gateway.http.paths import METHODS
from tests.support.in_process import InProcess, gateway

ENTRIES = [
    {"model": "openai/gpt-5", "name": "five", "access_key": "k", "default": True},
    {"model": "anthropic/claude-sonnet-5-5", "name": "sonnet", "access_key": "k", "speaks": ["messages"]},
    {"model": "vllm/own", "name": "own", "base_url": "http://gpu"},
    {
        "model": "vllm/tuned", "name": "tuned", "base_url": "http://gpu",
        "quirks": {"context_window": 32768, "max_output": 4096, "can": ["tools", "images"]},
    },
]  # fmt: skip
CONFIG: dict[str, Any] = {
    "version": "v0.4.0", "model_providers": ENTRIES, "model_aliases": {"best": {"targets": ["sonnet", "five"]}},
}  # fmt: skip
ANTHROPIC = {"anthropic-version": "2023-06-01"}


async def got(running: InProcess, path: str, **headers: str) -> tuple[int, Any]:
    answer = await running.send("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    return answer.status_code, answer.json()


async def test_lists_for_openai_clients_have_members_of_other_servers():
    # tashfeenahmed/freellmapi#309, cline/cline#13564
    async with gateway(CONFIG) as running:
        _, listed = await got(running, "/v1/models")
        rows = {row["id"]: row for row in listed["data"]}
        assert list(rows) == ["five", "sonnet", "own", "tuned", "best"]
        five = rows["five"]
        assert {five[key] for key in ("context_length", "context_window", "max_model_len")} == {400_000}
        assert (five["max_input_tokens"], five["max_completion_tokens"]) == (272_000, 128_000)
        assert five["architecture"]["input_modalities"] == ["text", "image", "file"]
        assert five["supported_parameters"] == ["tools", "structured_outputs", "reasoning"]
        assert set(rows["own"]) == {"id", "object", "created", "owned_by", "type", "endpoints"}, (
            "what is not known is not said"
        )
        assert (rows["tuned"]["context_length"], rows["tuned"]["max_completion_tokens"]) == (32768, 4096)
        assert rows["best"]["context_length"] == 400_000, "what every target of it takes"
        assert await got(running, "/v1/models/five") == (200, five)


async def test_codex_gets_an_empty_catalogue_and_keeps_its_own_instructions():
    # An entry without `base_instructions` loses all, and with them it replaces Codex' own (openai/codex#37122).
    async with gateway(CONFIG) as running:
        _, listed = await got(running, "/v1/models?client_version=0.169.0")
        assert listed["models"] == []


async def test_anthropic_clients_read_windows_and_capabilities():
    async with gateway(CONFIG) as running:
        _, listed = await got(running, "/v1/models", **ANTHROPIC)
        models = {row["id"]: anthropic.types.ModelInfo.model_validate(row, strict=False) for row in listed["data"]}
        assert (listed["has_more"], listed["first_id"], listed["last_id"]) == (False, "five", "best")
        sonnet, own = models["sonnet"], models["own"]
        assert (sonnet.max_input_tokens, sonnet.max_tokens, sonnet.line) == (1_000_000, 128_000, None)
        assert (own.max_input_tokens, own.max_tokens, own.capabilities) == (None, None, None)
        capabilities = sonnet.capabilities
        assert capabilities.thinking.types.adaptive.supported
        assert not capabilities.thinking.types.enabled.supported
        assert capabilities.thinking.types.between_tools.supported
        assert capabilities.effort.max.supported
        assert capabilities.pdf_input.supported
        five = models["five"].capabilities
        assert five.image_input.supported
        assert five.effort.high.supported
        assert not five.server_tools.supported
        assert not five.effort.max.supported
        assert models["five"].max_input_tokens == 272_000, "the room of the longest answer is not the prompt's"
        status, row = await got(running, "/v1/models/claude-sonnet-5-5", **ANTHROPIC)
        assert (status, row["line"], row["max_input_tokens"]) == (200, "sonnet", 1_000_000)


async def test_anthropic_clients_get_pages_on_request():
    async with gateway(CONFIG) as running:
        _, first = await got(running, "/v1/models?limit=2", **ANTHROPIC)
        assert ([row["id"] for row in first["data"]], first["has_more"]) == (["five", "sonnet"], True)
        _, rest = await got(running, f"/v1/models?limit=9&after_id={first['last_id']}", **ANTHROPIC)
        assert ([row["id"] for row in rest["data"]], rest["has_more"]) == (["own", "tuned", "best"], False)
        _, back = await got(running, "/v1/models?limit=1&before_id=own", **ANTHROPIC)
        assert ([row["id"] for row in back["data"]], back["has_more"]) == (["sonnet"], True)
        for query in ("limit=0", "limit=x", "after_id=nobody"):
            status, failed = await got(running, f"/v1/models?{query}", **ANTHROPIC)
            assert (status, failed["error"]["type"]) == (400, "invalid_request_error"), query


@pytest.mark.parametrize(("path", "headers"), [("/v1beta/models", {}), ("/v1/models", {"x-goog-api-key": "k"})])
async def test_gemini_clients_get_their_own_list_in_pages(path, headers):
    async with gateway(CONFIG) as running:
        _, listed = await got(running, path, **headers)
        rows = {row["name"]: row for row in listed["models"]}
        assert list(rows) == ["models/five", "models/sonnet", "models/own", "models/tuned", "models/best"]
        assert "nextPageToken" not in listed
        sonnet = rows["models/sonnet"]
        assert (sonnet["inputTokenLimit"], sonnet["outputTokenLimit"]) == (1_000_000, 128_000)
        assert sonnet["supportedGenerationMethods"] == list(METHODS)
        assert sonnet["thinking"]
        assert "inputTokenLimit" not in rows["models/own"]
        _, page = await got(running, f"{path}?pageSize=4", **headers)
        _, rest = await got(running, f"{path}?pageSize=4&pageToken={page['nextPageToken']}", **headers)
        assert [row["name"] for row in page["models"] + rest["models"]] == list(rows)
        assert "nextPageToken" not in rest
        assert (await got(running, f"{path}?pageToken=nobody", **headers))[0] == 400
        assert await got(running, f"{path}/sonnet", **headers) == (200, sonnet)
        status, failed = await got(running, f"{path}/unheard-of", **headers)
        assert (status, failed["error"]["status"]) == (404, "NOT_FOUND")


async def test_each_key_sees_its_own_models_in_every_shape():
    keys = [{"name": "some", "key": "sk-gw-some-0123456789", "models": ["own"]}]
    async with gateway({**CONFIG, "client_keys": keys}) as running:
        authorization = "Bearer sk-gw-some-0123456789"
        for path, headers, member in (
            ("/v1/models", {}, "data"), ("/v1/models", ANTHROPIC, "data"), ("/v1beta/models", {}, "models"),
        ):  # fmt: skip
            status, listed = await got(running, path, authorization=authorization, **headers)
            assert (status, len(listed[member])) == (200, 1), path
            assert (await got(running, path, **headers))[0] == 401
            other = await got(running, f"{path}/five", authorization=authorization, **headers)
            assert other[0] in (403, 404), path


TYPED: dict[str, Any] = {
    "version": "v0.4.0",
    "model_providers": [
        {"model": "openai/gpt-5", "access_key": "k"},
        {"model": "openai/text-embedding-3-small", "access_key": "k"},
        {"model": "anthropic/claude-sonnet-5-5", "access_key": "k"},
        {"model": "cohere/rerank-v3.5", "access_key": "k"},
        {"model": "vllm/words", "name": "words", "type": "embedding", "base_url": "http://gpu"},
        {"model": "vllm/text-embedding-3-small", "name": "twin", "base_url": "http://gpu"},
        {"model": "mistral/codestral-latest", "access_key": "k"},
        {"model": "anthropic/no-embedding", "access_key": "k"},
        {"model": "openai/*", "access_key": "k", "name": "all"},
    ],
    "model_aliases": {"vectors": {"targets": ["openai/text-embedding-3-small", "twin"]}},
}


async def test_each_model_lists_its_type_and_endpoints():
    """Pickers showed embedding models as chat models (Vigil-SOC/vigil#433, anomalyco/models.dev#572)."""
    chat = ["/v1/chat/completions", "/v1/messages", "/v1/responses"]
    async with gateway(TYPED) as running:
        _, listed = await got(running, "/v1/models")
        rows = {row["id"]: (row["type"], row["endpoints"]) for row in listed["data"]}
        assert rows["openai/gpt-5"] == ("chat", [*chat, "/v1/completions", "/v1/fim/completions"])
        assert rows["anthropic/claude-sonnet-5-5"] == ("chat", chat)
        assert rows["mistral/codestral-latest"] == ("chat", [*chat, "/v1/fim/completions"])
        assert rows["openai/text-embedding-3-small"] == ("embedding", ["/v1/embeddings"])
        assert rows["cohere/rerank-v3.5"] == ("rerank", ["/v1/rerank"])
        assert rows["words"] == ("embedding", ["/v1/embeddings", "/v1/pooling"])
        assert rows["vectors"] == ("embedding", ["/v1/embeddings", "/v1/pooling"])
        assert rows["anthropic/no-embedding"] == ("embedding", [])
        for kind in ("chat", "embedding", "rerank", "image"):
            _, some = await got(running, f"/v1/models?type={kind}")
            assert [row["id"] for row in some["data"]] == [id for id, (found, _) in rows.items() if found == kind]
        status, refused = await got(running, "/v1/models?type=pictures")
        assert (status, refused["error"]["param"]) == (400, "type")


async def test_gemini_clients_read_which_models_embed():
    async with gateway(TYPED) as running:
        _, listed = await got(running, "/v1beta/models?pageSize=1000")
        methods = {row["name"]: row["supportedGenerationMethods"] for row in listed["models"]}
        assert methods["models/openai/text-embedding-3-small"] == ["embedContent", "batchEmbedContents"]
        assert methods["models/openai/gpt-5"] == list(METHODS)
        assert methods["models/anthropic/no-embedding"] == methods["models/cohere/rerank-v3.5"] == []
