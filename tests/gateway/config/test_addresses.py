"""The ``base_url`` of an entry as people write it: for Anthropic's SDKs without ``/v1``, or with the path of an API."""

import pytest

from gateway.config_files.loading import Config, ConfigError, from_mapping
from gateway.routing.router import Router
from tests.support.each_row import each_row

ZAI = "https://api.z.ai/api/anthropic"
PROXY = "https://proxy.example"
GOOGLE = "https://generativelanguage.googleapis.com"


def config(**entry: object) -> Config:
    return from_mapping({"version": "v0.4.0", "model_providers": [{"access_key": "k", **entry}]})


def urls(made: Config) -> dict[str, str]:
    """Return the address of requests by the API of their clients, without its host."""
    name = made.entries[0].name
    found = {api: Router(made).resolve(name, api).url for api in ("messages", "chat", "responses")}
    return {api: "/" + url.split("/", 3)[3] for api, url in found.items()}


@each_row(
    ("model", "base_url", "messages"),
    [
        *(("anthropic/glm-5.3", ZAI + end, "/api/anthropic/v1/messages") for end in ("", "/", "/v1", "/v1/")),
        *(("anthropic/glm-5.3", ZAI + end, "/api/anthropic/v1/messages") for end in ("/v1/messages", "/v1/messages/")),
        *(("zai/glm-5.3", ZAI + end, "/api/anthropic/v1/messages") for end in ("", "/v1", "/v1/messages")),
        *(("deepseek/m", "https://api.deepseek.com" + end, "/anthropic/v1/messages") for end in (
            "/anthropic", "/anthropic/v1", "/anthropic/v1/messages"
        )),
        ("moonshotai/m", "https://api.moonshot.ai/anthropic", "/anthropic/v1/messages"),
        ("minimax/m", "https://api.minimaxi.com/anthropic", "/anthropic/v1/messages"),
        ("qwen/m", "https://dashscope.aliyuncs.com/apps/anthropic", "/apps/anthropic/v1/messages"),
        ("foundry/claude-opus-5-5", "https://me.services.ai.azure.com/anthropic", "/anthropic/v1/messages"),
        ("amazon_bedrock/anthropic.claude-x", "https://bedrock-mantle.eu-west-1.api.aws/anthropic",
         "/anthropic/v1/messages"),
        ("anthropic/m", "https://gateway.ai.cloudflare.com/v1/account/name/anthropic",
         "/v1/account/name/anthropic/v1/messages"),
        ("openrouter/m", "https://openrouter.ai/api", "/api/v1/messages"),
        ("openrouter/m", "https://openrouter.ai/api/v1/messages", "/api/v1/messages"),
        ("anthropic/m", PROXY, "/v1/messages"),
        ("anthropic/m", PROXY + "/", "/v1/messages"),
        ("anthropic/m", PROXY + "/v1/messages", "/v1/messages"),
        ("anthropic/m", PROXY + "/messages", "/v1/messages"),
        ("anthropic/m", PROXY + "/v2", "/v2/messages"),
        ("anthropic/m", PROXY + "/team?tier=1", "/team/v1/messages?tier=1"),
    ],
)  # fmt: skip
def test_an_address_for_anthropics_sdks_is_one_for_messages(model, base_url, messages):
    """Anthropic's SDKs add ``/v1/messages`` to ``ANTHROPIC_BASE_URL``; guides of other makers give such addresses."""
    assert urls(config(model=model, base_url=base_url))["messages"] == messages


@each_row("model", ["anthropic/glm-5.3", "zai/glm-5.3"])
@each_row("end", ["", "/v1", "/v1/messages"])
def test_all_clients_are_served_by_messages_where_nothing_else_is(model, end):
    made = config(model=model, base_url=ZAI + end)
    assert set(urls(made).values()) == {"/api/anthropic/v1/messages"}
    assert made.notes == ()


@each_row("end", ["", "/v1", "/v1/messages"])
def test_a_server_of_ones_own_with_anthropics_interface_has_such_addresses_too(end):
    own = {"provider_interface": "anthropic", "base_url": f"{PROXY}/llm{end}"}
    described = from_mapping(
        {"version": "v0.4.0", "providers": {"own": own}, "model_providers": [{"model": "own/m", "access_key": "k"}]}
    )
    for made in (config(model="own/m", **own), described):
        found = urls(made)
        assert (found["messages"], found["chat"]) == ("/llm/v1/messages", "/llm/v1/chat/completions")


def test_an_entry_that_speaks_messages_alone_has_such_an_address():
    assert set(urls(config(model="vllm/m", base_url=PROXY + "/llm", speaks=["messages"])).values()) == {
        "/llm/v1/messages"
    }


@each_row(
    ("model", "base_url", "chat"),
    [
        ("openai/m", PROXY + "/v1/chat/completions", "/v1/chat/completions"),
        ("openai/m", PROXY + "/v1/responses", "/v1/chat/completions"),
        ("own/m", PROXY + "/v1/chat/completions", "/v1/chat/completions"),
        ("zai/m", "https://api.z.ai/api/paas/v4/chat/completions", "/api/paas/v4/chat/completions"),
        ("zai/m", "https://api.z.ai/api/coding/paas/v4", "/api/coding/paas/v4/chat/completions"),
        ("openai/m", PROXY + "/team", "/team/chat/completions"),
        ("vllm/m", PROXY + "/team", "/team/chat/completions"),
    ],
)
def test_chat_is_at_the_path_of_the_address(model, base_url, chat):
    assert urls(config(model=model, base_url=base_url))["chat"] == chat


@pytest.mark.parametrize("end", ["/messages", "/chat/completions", "/responses"])
def test_the_path_of_an_api_in_an_address_is_a_warning(end):
    (warning,) = config(model="vllm/m", base_url=f"{PROXY}/v1{end}").warnings
    assert warning == f"vllm/m: base_url ends with {end}, which the gateway adds: remove that"
    url = "https://me.openai.azure.com/openai/deployments/m/chat/completions?api-version=2025-01-01-preview"
    assert any("remove that" in warning for warning in config(model="azure_openai/m", base_url=url).warnings)


@each_row(
    ("end", "chat"),
    [
        *(
            (f"/openai/deployments{end}?api-version=v", "/openai/deployments/m/chat/completions?api-version=v")
            for end in ("", "/m", "/m/", "/m/chat/completions")
        ),
        *((f"/openai/v1{end}", "/openai/v1/chat/completions") for end in ("", "/", "/chat/completions", "/responses")),
        ("/openai/v1/responses?api-version=preview", "/openai/v1/chat/completions?api-version=preview"),
        ("/openai/responses?api-version=2025-04-01-preview", "/openai/v1/chat/completions"),
        ("/models?api-version=2024-05-01-preview", "/openai/v1/chat/completions"),
        ("/models/chat/completions?api-version=2024-05-01-preview", "/openai/v1/chat/completions"),
        ("/openai/responses/team?api-version=v", "/openai/responses/team/m/chat/completions?api-version=v"),
    ],
)
def test_an_address_of_azures_portal_is_completed(end, chat):
    """https://learn.microsoft.com/azure/ai-foundry/openai/reference: the portal shows whole addresses."""
    assert urls(config(model="azure/m", base_url=f"https://me.openai.azure.com{end}"))["chat"] == chat


@each_row(
    ("model", "base_url", "sent"),
    [
        *(
            ("gemini/gemini-2.5-pro", f"{GOOGLE}/v1beta/models/gemini-2.5-pro:{method}",
             "/v1beta/models/gemini-2.5-pro")
            for method in ("generateContent", "streamGenerateContent?alt=sse")
        ),
        ("vertex/gemini-2.5-pro", "https://us-central1-aiplatform.googleapis.com/v1/projects/p/locations/us-central1"
         "/publishers/google/models/gemini-2.5-pro:streamGenerateContent",
         "/v1/projects/p/locations/us-central1/publishers/google/models/gemini-2.5-pro"),
        *(
            ("bedrock/eu.amazon.nova-lite-v1:0",
             f"https://bedrock-runtime.eu-west-1.amazonaws.com/model/eu.amazon.nova-lite-v1{colon}0/{method}",
             "/model/eu.amazon.nova-lite-v1:0")
            for colon in (":", "%3A") for method in ("converse", "converse-stream", "invoke")
        ),
        *(
            ("cohere/command-a", f"https://api.cohere.com{end}", "/compatibility/v1/chat/completions")
            for end in ("", "/v2/chat", "/v2", "/v1/chat", "/compatibility/v1")
        ),
        *(
            ("databricks/m", f"https://me.cloud.databricks.com{end}", "/serving-endpoints/chat/completions")
            for end in ("", "/serving-endpoints", "/serving-endpoints/m/invocations")
        ),
    ],
)  # fmt: skip
def test_an_address_from_a_providers_own_pages_is_completed(model, base_url, sent):
    """The method of a model follows ``sent``, as it depends on the request."""
    assert urls(config(model=model, base_url=base_url))["chat"] == sent


def test_an_azure_address_of_another_deployment_is_a_mistake():
    address = "https://me.openai.azure.com/openai/deployments/mine/chat/completions?api-version=2025-01-01-preview"
    with pytest.raises(ConfigError, match="the address of mine, not of gpt-4o; write `model: azure/mine`"):
        config(model="azure/gpt-4o", base_url=address)
    assert config(model="azure/*", base_url=address).entries[0].base_url == (
        "https://me.openai.azure.com/openai/deployments?api-version=2025-01-01-preview"
    )


@pytest.mark.parametrize("base_url", [ZAI, ZAI + "/v1", PROXY + "/v1/messages"])
def test_an_address_for_messages_on_an_entry_in_chat_is_a_warning(base_url):
    warnings = config(model="own/m", base_url=base_url).warnings
    assert any("set `speaks: [messages]`" in warning for warning in warnings)
    assert config(model="own/m", base_url=PROXY + "/v1").warnings == ()
    for interface in ({"provider_interface": "anthropic"}, {"speaks": ["messages"]}):
        own = config(model="own/m", base_url=base_url, **interface)
        assert not any("speaks" in warning for warning in own.warnings)
        assert urls(own)["messages"].endswith("/v1/messages")


@each_row("model", ["foundry/claude-opus-5-5", "foundry/gpt-5", "zai/m", "anthropic/m", "deepseek/*"])
def test_a_provider_with_messages_at_such_an_address_is_no_warning(model):
    assert config(model=model, base_url="https://host.example/anthropic").warnings == ()


def test_a_server_with_messages_and_no_version_is_described():
    own = {"own": {"provider_interface": "anthropic", "base_url": PROXY, "paths": {"messages": "/llm/messages"}}}
    entries = [{"model": "own/m", "access_key": "k"}]
    made = from_mapping({"version": "v0.4.0", "providers": own, "model_providers": entries})
    assert urls(made)["messages"] == "/llm/messages"
