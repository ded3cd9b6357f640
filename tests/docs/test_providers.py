"""The page of providers: its table matches the catalogue, and each example loads and sends requests to its address."""

import re

import yaml

from gateway.config_files.loading import from_mapping
from gateway.routing.router import Router
from tests.pages.providers import PAGE, page
from tests.support.apis import OLDER
from tests.support.each_row import each_row

# The address of each example for Chat, Messages and Responses clients.
REQUESTED = {
    "openai/gpt-5-mini": (
        "https://api.openai.com/v1/chat/completions", *("https://api.openai.com/v1/responses",) * 2,
    ),
    "groq/*": ("https://api.groq.com/openai/v1/chat/completions",) * 3,
    "gpu/Qwen/Qwen3.8-27B": ("/v1/chat/completions", "/v1/messages", "/v1/chat/completions"),
    "ollama/*": ("/v1/chat/completions", "/v1/messages", "/v1/responses"),
    "azure_openai/gpt-6.1-sol": ("/openai/v1/chat/completions", "/openai/v1/responses", "/openai/v1/responses"),
    "azure_openai/gpt-4o": ("/openai/deployments/gpt-4o/chat/completions?api-version=2025-01-01-preview",) * 3,
    "foundry/claude-opus-5-5": ("/anthropic/v1/messages",) * 3,
    "amazon_bedrock/openai.gpt-6.1-sol": (
        "https://bedrock-runtime.us-east-1.amazonaws.com/openai/v1/chat/completions",
        *("https://bedrock-runtime.us-east-1.amazonaws.com/openai/v1/responses",) * 2,
    ),
    "amazon_bedrock/eu.anthropic.claude-opus-5-5": (
        "https://bedrock-mantle.eu-west-1.api.aws/anthropic/v1/messages",
    ) * 3,
    "amazon_bedrock/us.amazon.nova-2-lite-v1:0": (
        "https://bedrock-runtime.us-east-1.amazonaws.com/model/us.amazon.nova-2-lite-v1:0",
    ) * 3,
    "amazon_bedrock/qwen.qwen3-coder-480b": ("/v1/chat/completions", "/v1/chat/completions", "/v1/responses"),
    "bedrock_invoke/anthropic.claude-opus-5-5": (
        "https://bedrock-runtime.us-east-1.amazonaws.com/model/anthropic.claude-opus-5-5",
    ) * 3,
    "vertex/claude-opus-4-5@20251101": (
        "https://aiplatform.googleapis.com/v1/projects/PROJECT/locations/global/publishers/anthropic/models/"
        "claude-opus-4-5@20251101",
    ) * 3,
    "vertex/gemini-3.8-flash": (
        "https://europe-west1-aiplatform.googleapis.com/v1/projects/PROJECT/locations/europe-west1/publishers/google"
        "/models/gemini-3.8-flash",
    ) * 3,
}  # fmt: skip
EXAMPLES = [
    entry
    for block in re.findall(r"^```yaml\n(.*?)^```", PAGE.read_text(), re.M | re.S)
    for entry in yaml.safe_load(block)["model_providers"]
]


def test_the_table_matches_the_catalogue():
    assert PAGE.read_text() == page(PAGE.read_text()), "run: python -m tests.pages.providers"


def test_every_example_is_tested():
    assert [entry["model"] for entry in EXAMPLES] == list(REQUESTED)


@each_row("entry", EXAMPLES, ids=lambda entry: entry["model"])
def test_an_example_sends_requests_to_its_address(entry):
    config = from_mapping({"version": "v0.4.0", "model_providers": [entry]})
    assert (config.warnings, config.notes) == ((), ())
    name = entry["model"].replace("*", "m")
    targets = [Router(config).resolve(name, api) for api in OLDER]
    base = entry.get("base_url", "http://localhost:11434")
    host = re.match("https?://[^/]+", base)[0]
    assert [target.url.removeprefix(host) for target in targets] == list(REQUESTED[entry["model"]])
    assert {target.model for target in targets} == {name.partition("/")[2]}
