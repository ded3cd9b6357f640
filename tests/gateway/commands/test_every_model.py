"""``trigate connect opencode``: every model that the gateway serves, with its window and its price."""

import json
from pathlib import Path

from gateway.commands.connect import run as connect
from gateway.commands.connect import undo
from gateway.commands.running_gateways import ConnectOptions
from tests.support.features import needs_feature
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import config, free_port

CONFIG = """\
version: v0.4.0
listeners: [{port: 4100}]
model_providers:
  - {model: openai/gpt-5-mini, access_key: $NOT_SET_HERE, default: true}
  - {model: openai/text-embedding-3-small, access_key: $NOT_SET_HERE}
  - {model: vllm/ours, base_url: "http://gpu:8000/v1", price: free, quirks: {context_window: 32768, max_output: 4096}}
  - {model: vllm/unheard-of, name: new, base_url: "http://gpu:8000/v1"}
  - {model: chatgpt/gpt-5-codex, name: mine, passthrough_auth: true, price: {input: 2, cached: 0.5, output: 8}}
model_aliases:
  fast: {target: ours}
"""


def models(home: Path) -> dict:
    text = (home / ".config/opencode/opencode.json").read_text()
    return json.loads(text)["provider"]["trigate"]["models"]


def test_every_model_for_conversations_has_its_window_and_its_price(home):
    (home / "trigate.yaml").write_text(CONFIG)
    assert connect("opencode", ConnectOptions(write=True)) == 0
    found = models(home)
    assert set(found) == {"openai/gpt-5-mini", "vllm/ours", "new", "mine", "fast"}
    assert found["openai/gpt-5-mini"] == {
        "limit": {"context": 400_000, "output": 128_000}, "cost": {"input": 0.25, "output": 2.0, "cache_read": 0.025}
    }  # fmt: skip
    own = {"limit": {"context": 32_768, "output": 4096}, "cost": {"input": 0.0, "output": 0.0}}
    assert found["vllm/ours"] == found["fast"] == own
    assert found["new"] == {"limit": {"context": 128_000, "output": 32_000}}
    assert found["mine"]["cost"] == {"input": 2.0, "output": 8.0, "cache_read": 0.5}


def test_a_chosen_model_is_listed_with_all_others(home):
    (home / "trigate.yaml").write_text(CONFIG)
    assert connect("opencode", ConnectOptions(write=True, model="mine")) == 0
    text = json.loads((home / ".config/opencode/opencode.json").read_text())
    assert text["model"] == "trigate/mine"
    assert len(models(home)) == 5


def test_additions_to_a_client_models_settings_stay(home):
    (home / "trigate.yaml").write_text(CONFIG)
    file = home / ".config/opencode/opencode.json"
    file.parent.mkdir(parents=True)
    before = {"provider": {"trigate": {"models": {"new": {"name": "New", "limit": {"input": 1000}}}}}}
    file.write_text(json.dumps(before, indent=2))
    assert connect("opencode", ConnectOptions(write=True)) == 0
    limit = {"input": 1000, "context": 128_000, "output": 32_000}
    assert models(home)["new"] == {"name": "New", "limit": limit}
    assert undo("opencode") == 0
    assert json.loads(file.read_text()) == before


@needs_feature("model_lists")
def test_a_running_gateway_reports_its_models(home, upstream):
    entries = [
        {"model": "openai/gpt-5-mini", "access_key": "k", "base_url": upstream.url},
        {"model": "vllm/ours", "base_url": upstream.url, "quirks": {"context_window": 32768, "max_output": 4096}},
    ]
    port = free_port()
    with gateway_thread(config(entries, port), port) as gateway:
        assert connect("opencode", ConnectOptions(write=True, url=gateway.url, model="vllm/ours")) == 0
    found = models(home)
    assert found["openai/gpt-5-mini"]["cost"]["input"] == 0.25
    assert found["vllm/ours"] == {"limit": {"context": 32_768, "output": 4096}}
