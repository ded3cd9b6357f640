"""The rows of the catalogue and their addresses."""

from urllib.parse import urlsplit

import attrs
import pytest

from providers.auth.signer import API_KEY, BEARER_TOKEN, X_API_KEY, X_GOOG_API_KEY
from providers.catalog.provider import STANDARD_PATHS, region_of, url_for
from providers.catalog.providers import ALIASES, CATALOG, find, generic, maker
from streams.events import APIS
from tests.support.apis import OLDER
from tests.support.cases import case
from tests.support.each_row import each_row


def test_chat_goes_to_the_providers_own_path():
    for provider, base_url, url in [
        ("openai", None, "https://api.openai.com/v1/chat/completions"),
        ("anthropic", None, "https://api.anthropic.com/v1/chat/completions"),
        ("gemini", None, "https://generativelanguage.googleapis.com/v1beta/openai/chat/completions"),
        ("groq", None, "https://api.groq.com/openai/v1/chat/completions"),
        ("mistral", None, "https://api.mistral.ai/v1/chat/completions"),
        ("deepseek", None, "https://api.deepseek.com/v1/chat/completions"),
        ("xai", None, "https://api.x.ai/v1/chat/completions"),
        ("together_ai", None, "https://api.together.xyz/v1/chat/completions"),
        ("moonshotai", None, "https://api.moonshot.ai/v1/chat/completions"),
        ("zhipu", None, "https://open.bigmodel.cn/api/paas/v4/chat/completions"),
        ("plano", None, "https://archfc.katanemo.dev/v1/chat/completions"),
        ("xiaomi", None, "https://api.xiaomimimo.com/v1/chat/completions"),
        ("digitalocean", None, "https://inference.do-ai.run/v1/chat/completions"),
        ("vercel", None, "https://ai-gateway.vercel.sh/v1/chat/completions"),
        ("openrouter", None, "https://openrouter.ai/api/v1/chat/completions"),
        ("edenai", None, "https://api.edenai.run/v3/chat/completions"),
        ("perplexity", None, "https://api.perplexity.ai/chat/completions"),
        ("ollama", "http://localhost:11434", "http://localhost:11434/v1/chat/completions"),
        (
            "qwen",
            "https://dashscope.aliyuncs.com",
            "https://dashscope.aliyuncs.com/compatible-mode/v1/chat/completions",
        ),
        (
            "azure_openai",
            "https://me.openai.azure.com",
            "https://me.openai.azure.com/openai/deployments/m%2F1/chat/completions?api-version=2025-01-01-preview",
        ),
    ]:
        with case((provider, base_url, url)):
            assert url_for(base_url, CATALOG[provider], "chat", "m/1") == url


def test_the_path_of_a_base_url_replaces_the_prefix_and_nothing_else():
    for provider, base_url, url in [
        ("openai", "http://localhost:51001", "http://localhost:51001/v1/chat/completions"),
        ("openai", "http://localhost:51001/", "http://localhost:51001/v1/chat/completions"),
        ("openai", "http://localhost:51002", "http://localhost:51002/v1/chat/completions"),
        ("openai", "http://h:8000/v1", "http://h:8000/v1/chat/completions"),
        ("openai", "http://h:8000/v1/", "http://h:8000/v1/chat/completions"),
        ("groq", "http://h/openai/v1", "http://h/openai/v1/chat/completions"),
        ("zhipu", "https://api.z.ai/api/coding/paas/v4", "https://api.z.ai/api/coding/paas/v4/chat/completions"),
        (
            "azure_openai",
            "https://proxy/azure?api-version=2024-10-21",
            "https://proxy/azure/gpt/chat/completions?api-version=2024-10-21",
        ),
    ]:
        with case((provider, base_url, url)):
            assert url_for(base_url, CATALOG[provider], "chat", "gpt") == url


def test_the_native_apis_have_their_own_paths():
    assert url_for(None, CATALOG["anthropic"], "messages", "m") == "https://api.anthropic.com/v1/messages"
    assert url_for(None, CATALOG["openai"], "responses", "m") == "https://api.openai.com/v1/responses"
    assert url_for(None, CATALOG["chatgpt"], "responses", "m") == "https://chatgpt.com/backend-api/codex/responses"


def test_a_provider_without_an_address_is_not_guessed_at():
    with pytest.raises(LookupError):
        url_for(None, CATALOG["qwen"], "chat", "m")
    with pytest.raises(LookupError):
        url_for("http://h", CATALOG["azure_openai"], "messages", "m")


@each_row("row", CATALOG.values())
def test_a_row_has_a_path_and_a_credential_for_each_api(row):
    assert set(row.speaks) in ({"chat", "messages", "responses"}, set(APIS), set()), "every client is served, or none"
    for upstream in row.speaks.values():
        assert row.paths[upstream].startswith("/")
        assert row.auth[upstream] in (BEARER_TOKEN, X_API_KEY, API_KEY, X_GOOG_API_KEY)
    if row.base_url is not None:
        assert row.base_url.startswith("http://localhost:" if row.local else "https://")
        assert row.base_url.count("/") == 2, "what follows the host belongs into the prefix"
    assert not row.prefix.endswith("/")


def test_the_path_of_a_base_url_determines_its_api():
    for provider, base_url, client, url in [
        ("azure_openai", "https://me.openai.azure.com/openai/v1", "chat", "/openai/v1/chat/completions"),
        ("azure_openai", "https://me.openai.azure.com/openai/v1/", "responses", "/openai/v1/responses"),
        ("azure_openai", "https://me.openai.azure.com/openai/v1/?api-version=preview", "messages",
         "/openai/v1/chat/completions?api-version=preview"),
        ("azure_openai", "https://me.openai.azure.com", "responses",
         "/openai/deployments/m/chat/completions?api-version=2025-01-01-preview"),
        ("amazon_bedrock", "https://bedrock-runtime.eu-west-1.amazonaws.com/openai/v1", "chat",
         "/openai/v1/chat/completions"),
        ("amazon_bedrock", "https://bedrock-mantle.eu-west-1.api.aws/v1", "responses", "/v1/responses"),
        ("amazon_bedrock", "https://bedrock-mantle.eu-west-1.api.aws/anthropic/v1", "messages",
         "/anthropic/v1/messages"),
        ("amazon_bedrock", "https://bedrock-mantle.eu-west-1.api.aws/anthropic/v1", "chat", "/anthropic/v1/messages"),
        ("openai", "https://me.openai.azure.com/openai/v1", "responses", "/openai/v1/responses"),
    ]:  # fmt: skip
        with case((provider, base_url, client, url)):
            row = CATALOG[provider].at_base_url(base_url)
            assert url_for(base_url, row, row.speaks[client], "m").partition(urlsplit(base_url).netloc)[2] == url


@each_row("provider, port", [("ollama", 11434), ("lm_studio", 1234), ("llama_cpp", 8080), ("vllm", 8000)])
def test_local_servers_are_where_they_usually_are(provider, port):
    row = CATALOG[provider]
    assert url_for(None, row, "chat", "m") == f"http://localhost:{port}/v1/chat/completions"
    assert (row.local, row.key_required) == (True, False)
    assert not CATALOG["openai"].local


def test_a_path_in_the_address_selects_the_apis():
    for provider, base_url, spoken in [
        ("deepseek", None, {"chat", "messages"}),
        ("deepseek", "http://proxy", {"chat", "messages"}),
        ("deepseek", "http://proxy/v1", {"chat"}),
        ("deepseek", "http://proxy/anything", {"chat"}),
        ("deepseek", "https://api.deepseek.com/anthropic/v1", {"messages"}),
        ("zhipu", "https://api.z.ai/api/coding/paas/v4", {"chat"}),
        ("zhipu", "https://api.z.ai/api/anthropic/v1", {"messages"}),
        ("gemini", "http://host/v1", {"chat"}),
        ("perplexity", "https://api.perplexity.ai", {"chat", "responses"}),
        ("perplexity", "http://proxy/v1", {"chat"}),
        ("ollama", "http://gpu:11434/v1", {"chat", "messages", "responses"}),
        ("amazon_bedrock", "https://bedrock-mantle.eu-west-1.api.aws/anthropic/v1", {"messages"}),
    ]:
        with case((provider, base_url, spoken)):
            assert set(CATALOG[provider].at_base_url(base_url).speaks.values()) == spoken


def test_boto3s_programs_get_gemini_with_the_thoughts_that_chat_loses():
    row = CATALOG["gemini"]
    assert [row.at_base_url(url).speaks["converse"] for url in (None, "http://host", "http://host/v1")] == [
        "gemini",
        "gemini",
        "chat",
    ]


def test_differences_of_a_model_family_apply_only_to_it():
    row = CATALOG["amazon_bedrock"].with_settings({"region": "eu-west-1"})
    claude, gpt, other = (row.for_model(id) for id in ("eu.anthropic.claude-opus-5-5", "openai.gpt-oss-120b", "nova"))
    assert (set(claude.speaks.values()), set(gpt.speaks.values())) == (
        {"messages", "converse"},
        {"chat", "responses", "converse"},
    )
    assert other.speaks == row.speaks
    at = CATALOG["amazon_bedrock"].at_base_url("https://bedrock-runtime.us-east-1.amazonaws.com")
    assert at.missing_settings("https://bedrock-runtime.us-east-1.amazonaws.com") == ()


def test_an_arn_contains_a_region_but_a_profiles_prefix_does_not():
    row = CATALOG["amazon_bedrock"].with_settings({"region": "us-east-1"})
    arn = "arn:aws:bedrock:eu-central-1:123456789012:application-inference-profile/a1b2"
    assert region_of(arn) == "eu-central-1"
    assert region_of("eu.anthropic.claude-opus-5-5-v1:0") is None
    for model, host in ((arn, "eu-central-1"), ("eu.anthropic.claude-opus-5-5-v1:0", "us-east-1")):
        assert url_for(None, row, "chat", model).startswith(f"https://bedrock-runtime.{host}.amazonaws.com/openai/v1/")
    # (envoyproxy/ai-gateway#1332, crmne/ruby_llm#803, cloudflare/ai#583)
    assert url_for(None, row, "converse", arn).endswith(
        "/model/arn:aws:bedrock:eu-central-1:123456789012:application-inference-profile%2Fa1b2"
    )
    assert url_for("http://h", row, "converse", arn).startswith("http://h/model/arn:aws:bedrock:eu-central-1:")
    assert url_for(None, row, "converse", "eu.amazon.nova-2-lite-v1:0").endswith("/model/eu.amazon.nova-2-lite-v1:0")


def test_no_id_that_a_client_writes_chooses_the_host():
    """A region becomes part of the host that gets the credential (CWE-918): only the name of one does."""
    row = CATALOG["amazon_bedrock"].with_settings({"region": "us-east-1"})
    own = {"bedrock-runtime.us-east-1.amazonaws.com", "bedrock-mantle.us-east-1.api.aws"}
    for region in ("@example.com/", "example.com#", "x?y", "a:b@example.com", "us-east-1\r\n", "a" * 99):
        for rest in ("x", "inference-profile/anthropic.claude", "inference-profile/openai.gpt"):
            model = f"arn:aws:bedrock:{region}:1:{rest}"
            for api in row.paths:
                parts = urlsplit(url_for(None, row.for_model(model), api, model))
                assert parts.netloc in own, (model, api)
                assert parts.query + parts.fragment == "", (model, api)


def test_families_leave_routers_ids_and_local_tags_alone():
    for model in ("gpt-oss-20b", "openai/gpt-6-sol", "gpt-6:free", "gpt4all", "o", "omni"):
        assert not CATALOG["openai"].has(model)
    for model in ("deepseek-r1:70b", "deepseek-ai/DeepSeek-V4"):
        assert maker(model) is None
    assert CATALOG["zhipu"].has("GLM-5.3")
    assert maker("claude-opus-9") is CATALOG["anthropic"]
    assert all(row.has(model) for row in CATALOG.values() if row.families for model in row.models)


def test_the_drop_in_routes_match_the_original():
    assert CATALOG["openai"].speaks == {"chat": "chat", "messages": "chat", "responses": "responses"}
    assert CATALOG["anthropic"].speaks == {"chat": "chat", "messages": "messages", "responses": "chat"}
    assert CATALOG["groq"].speaks == {"chat": "chat", "messages": "chat", "responses": "chat"}
    assert CATALOG["xai"].speaks["responses"] == "responses"
    assert CATALOG["vercel"].speaks == {api: api for api in OLDER}
    assert set(CATALOG["amazon_bedrock"].speaks.values()) == {"converse"}


def test_openai_gets_the_new_names_and_compatible_servers_the_old_ones():
    assert CATALOG["openai"].quirks.max_tokens_field == "max_completion_tokens"
    assert CATALOG["openai"].quirks.developer_role
    for provider in ("deepseek", "mistral", "ollama", "qwen"):
        assert CATALOG[provider].quirks.max_tokens_field == "max_tokens"
        assert not CATALOG[provider].quirks.developer_role


@each_row("alias, provider", ALIASES.items())
def test_aliases_lead_to_a_row_and_hide_no_row(alias, provider):
    assert alias not in CATALOG
    assert find(alias) is CATALOG[provider]


def test_an_unknown_provider_speaks_chat_like_most_servers():
    row = generic("my-vllm")
    assert find("my-vllm") is None
    assert set(row.speaks.values()) == {"chat"}
    assert not row.key_required
    assert url_for("http://h:8000", row, "chat", "org/model") == "http://h:8000/v1/chat/completions"


def test_an_unknown_provider_inherits_an_interface_but_not_its_address():
    row = generic("mine", CATALOG["anthropic"])
    assert (row.id, row.base_url, row.models, row.note) == ("mine", None, (), "")
    assert row.speaks == CATALOG["anthropic"].speaks
    assert row.auth["messages"] == X_API_KEY
    assert row.quirks.max_tokens_field == "max_tokens", "a server that speaks like OpenAI is not OpenAI"
    assert url_for("http://h:8000", row, "messages", "m") == "http://h:8000/v1/messages"


def test_rows_cannot_be_changed():
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        CATALOG["openai"].prefix = "/v2"  # type: ignore[misc]
    with pytest.raises(TypeError):
        CATALOG["openai"].speaks["chat"] = "messages"  # type: ignore[index]
    with pytest.raises(TypeError):
        STANDARD_PATHS["chat"] = "/x"  # type: ignore[index]


def test_models_of_other_endpoints_belong_to_their_makers_too():
    """A RAG program requests `text-embedding-3-small` and `gpt-5`: an entry for all OpenAI models serves both."""
    makers = {
        "openai": (
            "text-embedding-3-small", "whisper-1", "tts-1-hd", "omni-moderation-latest", "dall-e-3", "gpt-image-1",
            "gpt-4o-mini-tts", "gpt-realtime", "davinci-002",
        ),
        "cohere": ("embed-v4.0", "rerank-v4.0", "rerank-multilingual-v3.0"),
        "mistral": ("mistral-embed", "codestral-embed", "mistral-moderation-latest", "voxtral-mini-latest"),
        "gemini": ("gemini-embedding-001",), "voyage": ("voyage-4", "rerank-2.5"), "jina": ("jina-reranker-v3",),
        "qwen": ("text-embedding-v4",),
    }  # fmt: skip
    for id, models in makers.items():
        for model in models:
            found = maker(model)
            assert found is not None, model
            assert found.id == id, model
    assert not CATALOG["openai"].has("whisper-large-v3"), "others serve it, too"
