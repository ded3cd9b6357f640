"""Every row of the catalogue through the gateway: the URL, the provider API and the key header for each client API."""

import itertools
import json
import re
from typing import Any
from urllib.parse import urlsplit

import pytest

from gateway.config_files.loading import from_mapping
from gateway.routing.router import Router
from providers.catalog.provider import Provider
from providers.catalog.providers import CATALOG
from tests.support.bare_provider import response
from tests.support.in_process import CountingProvider, gateway, providers
from tests.support.upstreams import Script, render

APIS = ("chat", "messages", "responses")
KEY = "sk-of-this-row"
SAID = {"region": "eu-west-1", "project": "acme", "location": "global"}

# The ends of a provider's URLs, with the API there and the header with the key.
CHAT, RESPONSES = ("/chat/completions", "authorization"), ("/responses", "authorization")
GENERATE = ":generateContent"
MESSAGES, BEARER_MESSAGES = ("/messages", "x-api-key"), ("/messages", "authorization")


def chat(prefix: str) -> tuple[Any, ...]:
    """Return the URLs of a provider that has only Chat."""
    return ((prefix, *CHAT),) * 3


def two_apis(prefix: str, messages: str, end: tuple[str, str] = BEARER_MESSAGES) -> tuple[Any, ...]:
    """Return the URLs of a provider with Chat, and with Messages at ``messages``."""
    return (prefix, *CHAT), (messages, *end), (prefix, *CHAT)


def three_apis(prefix: str, messages="", end: tuple[str, str] = BEARER_MESSAGES, at: str = "") -> tuple[Any, ...]:
    return (prefix, *CHAT), (messages or prefix, *end), (at or prefix, *RESPONSES)


BEDROCK = "https://bedrock-runtime.eu-west-1.amazonaws.com/openai/v1"
VERTEX = "https://aiplatform.googleapis.com/v1/projects/acme/locations/global"
CLAUDE_THERE = "https://bedrock-mantle.eu-west-1.api.aws/anthropic/v1"

# A model of each row, with the URLs for Chat, Messages and Responses clients.
SENT: dict[str, tuple[Any, ...]] = {
    "openai/gpt-4o": (
        ("https://api.openai.com/v1", *CHAT), ("https://api.openai.com/v1", *CHAT),
        ("https://api.openai.com/v1", *RESPONSES),
    ),
    "anthropic/claude-opus-5-5": two_apis(
        "https://api.anthropic.com/v1", "https://api.anthropic.com/v1", MESSAGES
    ),
    "gemini/gemini-3.8-flash": (
        ("https://generativelanguage.googleapis.com/v1beta/openai", *CHAT),
        *((("https://generativelanguage.googleapis.com/v1beta", "/models/gemini-3.8-flash", "x-goog-api-key"),) * 2),
    ),
    "mistral/m": chat("https://api.mistral.ai/v1"),
    "deepseek/deepseek-v4-pro": two_apis(
        "https://api.deepseek.com/v1", "https://api.deepseek.com/anthropic/v1", MESSAGES
    ),
    "xai/grok-4.7": (
        ("https://api.x.ai/v1", *CHAT), ("https://api.x.ai/v1", *CHAT), ("https://api.x.ai/v1", *RESPONSES),
    ),
    "moonshotai/kimi-k3": three_apis("https://api.moonshot.ai/v1", "https://api.moonshot.ai/anthropic/v1"),
    "zhipu/glm-5.3": two_apis(
        "https://open.bigmodel.cn/api/paas/v4", "https://open.bigmodel.cn/api/anthropic/v1"
    ),
    "zai/glm-5.3": two_apis("https://api.z.ai/api/paas/v4", "https://api.z.ai/api/anthropic/v1"),
    "qwen/qwen3.8-max": three_apis(
        "https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
        "https://dashscope-intl.aliyuncs.com/apps/anthropic/v1", MESSAGES,
        "https://dashscope-intl.aliyuncs.com/api/v2/apps/protocols/compatible-mode/v1",
    ),
    "xiaomi/mimo-v2.5": two_apis("https://api.xiaomimimo.com/v1", "https://api.xiaomimimo.com/anthropic/v1"),
    "minimax/MiniMax-M3": three_apis("https://api.minimax.io/v1", "https://api.minimax.io/anthropic/v1"),
    "stepfun/step-3.7-flash": two_apis("https://api.stepfun.com/v1", "https://api.stepfun.com/v1"),
    "cohere/command-a-03-2025": chat("https://api.cohere.ai/compatibility/v1"),
    "perplexity/sonar": (
        ("https://api.perplexity.ai", *CHAT), ("https://api.perplexity.ai", *CHAT),
        ("https://api.perplexity.ai/v1", *RESPONSES),
    ),
    "chatgpt/gpt-6-sol": (("https://chatgpt.com/backend-api/codex", *RESPONSES),) * 3,
    "jina/jina-embeddings-v4": chat("https://api.jina.ai/v1"),
    "voyage/voyage-4": chat("https://api.voyageai.com/v1"),
    "meta/muse-1": chat("https://yours.example/v1"),
    "groq/m": chat("https://api.groq.com/openai/v1"),
    "together_ai/m": chat("https://api.together.xyz/v1"),
    "fireworks/accounts/fireworks/models/kimi-k2p5": two_apis(
        "https://api.fireworks.ai/inference/v1", "https://api.fireworks.ai/inference/v1"
    ),
    "cerebras/m": chat("https://api.cerebras.ai/v1"),
    "nvidia/m": chat("https://integrate.api.nvidia.com/v1"),
    "huggingface/org/m": chat("https://router.huggingface.co/v1"),
    "github/openai/gpt-4.1": chat("https://models.github.ai/inference"),
    "databricks/databricks-meta-llama-3-3-70b-instruct": chat("https://yours.example/serving-endpoints"),
    "databricks/databricks-claude-sonnet-4-5": (
        ("https://yours.example/serving-endpoints/anthropic/v1", *BEARER_MESSAGES),
    ) * 3,
    "snowflake/llama3.1-70b": chat("https://yours.example/api/v2/cortex/v1"),
    "snowflake/claude-sonnet-4-5": (("https://yours.example/api/v2/cortex/v1", *BEARER_MESSAGES),) * 3,
    "cloudflare/@cf/openai/gpt-oss-120b": three_apis("https://api.cloudflare.com/client/v4/accounts/ACCOUNT/ai/v1"),
    "vercel/openai/gpt-4o": three_apis("https://ai-gateway.vercel.sh/v1", end=MESSAGES),
    "openrouter/openai/gpt-4o": three_apis("https://openrouter.ai/api/v1"),
    "deepinfra/m": chat("https://api.deepinfra.com/v1/openai"),
    "edenai/m": chat("https://api.edenai.run/v3"),
    "digitalocean/m": chat("https://inference.do-ai.run/v1"),
    "plano/m": chat("https://archfc.katanemo.dev/v1"),
    "astraflow/m": chat("https://yours.example/v1"),
    "astraflow_cn/m": chat("https://yours.example/v1"),
    "azure_openai/gpt-4o": (
        ("https://yours.example/openai/deployments/gpt-4o",
         "/chat/completions?api-version=2025-01-01-preview", "api-key"),
    ) * 3,
    "foundry/gpt-4o": (
        ("https://yours.example/openai/v1", "/chat/completions", "api-key"),
        ("https://yours.example/openai/v1", "/chat/completions", "api-key"),
        ("https://yours.example/openai/v1", "/responses", "api-key"),
    ),
    "foundry/claude-opus-5-5": (("https://yours.example/anthropic/v1", *MESSAGES),) * 3,
    "amazon_bedrock/openai.gpt-oss-120b-1:0": (
        (BEDROCK, *CHAT), (BEDROCK, *CHAT), (BEDROCK, *RESPONSES),
    ),
    "amazon_bedrock/global.anthropic.claude-opus-5-5": ((CLAUDE_THERE, *BEARER_MESSAGES),) * 3,
    "bedrock_invoke/eu.anthropic.claude-opus-4-5-20251101-v1:0": (
        ("https://bedrock-runtime.eu-west-1.amazonaws.com/model",
         "/eu.anthropic.claude-opus-4-5-20251101-v1:0", "authorization"),
    ) * 3,
    "vertex/meta/llama-4-maverick-17b-128e-instruct-maas": chat(f"{VERTEX}/endpoints/openapi"),
    "vertex/claude-opus-4-5@20251101": (
        (f"{VERTEX}/publishers/anthropic/models", "/claude-opus-4-5@20251101", "authorization"),
    ) * 3,
    "vertex/gemini-3.8-flash": ((f"{VERTEX}/publishers/google/models", "/gemini-3.8-flash", "authorization"),) * 3,
    "vertex/gemini-omni-flash-preview": (
        (VERTEX.replace("/v1/", "/v1beta1/"), "/interactions", "authorization"),
    ) * 3,
    "ollama/m": three_apis("http://localhost:11434/v1"),
    "lm_studio/m": three_apis("http://localhost:1234/v1"),
    "llama_cpp/m": two_apis("http://localhost:8080/v1", "http://localhost:8080/v1"),
    "vllm/m": three_apis("http://localhost:8000/v1"),
    "sglang/m": two_apis("http://localhost:30000/v1", "http://localhost:30000/v1"),
    "nim/m": three_apis("http://localhost:8000/v1"),
    "litellm/m": three_apis("http://localhost:4000/v1"),
    "trigate/m": three_apis("http://localhost:12000/v1"),
    "tei/m": chat("http://localhost:8080/v1"),
}  # fmt: skip


def row_of(model: str) -> Provider:
    return CATALOG[model.partition("/")[0]]


def entry(model: str) -> dict[str, Any]:
    """Return the shortest entry for a model: it has only the settings that its provider's row requires."""
    row = row_of(model)
    own = row.address if "/client/" in row.address else SENT[model][0][0].partition("/openai/v1")[0]
    address = {} if row.base_url else {"base_url": own if "/client/" in own else origin_of(own)}
    return {"model": model, "access_key": KEY, **address, **{name: SAID[name] for name in row.missing_settings(None)}}


def origin_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def config(entries: list[dict[str, Any]]) -> dict[str, Any]:
    return {"version": "v0.4.0", "model_providers": entries}


@pytest.mark.slow
def test_each_row_has_the_documented_urls():
    assert {model.partition("/")[0] for model in SENT} == set(CATALOG), "each row has a model here"
    router = Router(from_mapping(config([entry(model) for model in SENT])))
    for model, expected in SENT.items():
        for client, (prefix, end, header) in zip(APIS, expected, strict=True):
            target = router.resolve(model, client)
            assert target.url == prefix + end, (model, client)
            assert [name for name, _ in target.headers(None)] == [header], (model, client)


ENDS = {"/chat/completions": "chat", ":generateContent": "gemini", "/converse": "converse"}


class AnyProvider(CountingProvider):
    """A provider that has all APIs at any path: it takes the API from the path's end."""

    def _answer(self, path: str, body: bytes) -> bytes:
        api = next((api for end, api in ENDS.items() if end in path), path.rpartition("/")[2])
        raw = render(Script(text=f"Hello from {api}."), api, {"model": "m", **json.loads(body)})
        return response(200, b"".join(raw.pieces), dict(raw.headers)["content-type"])


@pytest.mark.slow
@pytest.mark.parametrize("part", [0, *(pytest.param(part, marks=pytest.mark.soak) for part in (1, 2))])
async def test_each_row_works_through_the_gateway(part):
    async with providers(1) as (place,):
        place.__class__ = AnyProvider
        entries = [{**entry(model), "name": model, "base_url": stand_in_url(model, place.url)} for model in SENT]
        async with gateway(config(entries)) as running:
            for number, (model, expected) in itertools.islice(enumerate(SENT.items()), part, None, 3):
                if expected[0][0] == CLAUDE_THERE or row_of(model).hosting:
                    continue  # its host is not from a base_url; hostings have their own tests
                client = APIS[number % len(APIS)]  # by turns, because the test above resolves all of them
                prefix, end, header = expected[number % len(APIS)]
                answer = await running.ask(model, client)
                path = urlsplit(prefix).path + end + (GENERATE if end.startswith("/models/") else "")
                assert (answer.status_code, place.asked) == (200, [path]), (model, client, answer.text)
                (head,) = place.heads
                assert re.search(rf"\r\n{header}: \S*\s?{KEY}\r\n".encode(), head), (model, client)
                assert "Hello from" in answer.text, (model, client)
                place.asked.clear()
                place.heads.clear()


def stand_in_url(model: str, url: str) -> str:
    """Return the base URL of the stand-in for ``model``'s provider: without a path, unless its row's URL has one."""
    return url + urlsplit(row_of(model).address).path if "/client/" in row_of(model).address else url


async def test_an_unknown_provider_works_with_only_its_configuration():
    async with providers(1) as (place,):
        place.__class__ = AnyProvider
        acme = {"base_url": f"{place.url}/api", "speaks": list(APIS), "auth": {"messages": "x-acme-key"}}
        alone = {"model": "acme/m", "access_key": KEY}
        async with gateway({**config([alone]), "providers": {"acme": acme}}) as running:
            for api, end, header in (
                ("chat", *CHAT),
                ("messages", "/messages", "x-acme-key"),
                ("responses", *RESPONSES),
            ):
                answer = await running.ask("acme/m", api)
                assert (answer.status_code, place.asked.pop()) == (200, f"/api{end}"), api
                assert f"\r\n{header}: ".encode() in place.heads.pop()
                assert f"Hello from {api}." in answer.text


async def test_an_unknown_provider_may_have_the_api_of_gemini_or_bedrock():
    for spoken, path, header in (
        ("gemini", "/v1beta/models/m:generateContent", f"x-goog-api-key: {KEY}"),
        ("converse", "/model/m/converse", f"authorization: Bearer {KEY}"),
    ):
        async with providers(1) as (place,):
            place.__class__ = AnyProvider
            content = config([{"model": "acme/m", "access_key": KEY}])
            own = {"acme": {"base_url": place.url, "speaks": [spoken]}}
            async with gateway({**content, "providers": own}) as running:
                for api in APIS:
                    answer = await running.ask("acme/m", api)
                    assert (answer.status_code, place.asked.pop()) == (200, path), (spoken, api, answer.text)
                    assert header.encode() in place.heads.pop(), (spoken, api)
                    assert f"Hello from {spoken}." in answer.text, (spoken, api)
