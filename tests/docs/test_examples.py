"""The configurations of ``docs/examples`` load, and mean what they show."""

import re

from gateway.config.attempts import Hedge, Retries
from gateway.config.settings import Config
from gateway.config_files.loading import load
from gateway.config_reports.warnings import warnings_of
from tests.support.each_row import each_row
from tests.support.features import has_feature, needs_feature
from tests.support.repository import ROOT

FILES = [
    path for path in sorted((ROOT / "docs/examples").glob("*.yaml"))
    if has_feature("client_routing") or "client_routing" not in path.read_text()
]  # fmt: skip


def example(name: str) -> Config:
    path = ROOT / f"docs/examples/{name}.yaml"
    variables = re.findall(r"\$([A-Z_]+)", path.read_text())
    values = {variable: f"sk-of-{variable.lower().replace('_', '-')}-0123456789" for variable in variables}
    return load(path, {**values, "VALKEY_URL": "rediss://:secret@valkey.example:6379/0"})


def order(config: Config, name: str) -> list[list[str]]:
    return [[target.target for target in group] for group in config.routes[name].groups]


@each_row("path", FILES, ids=lambda path: path.stem)
def test_all_of_an_example_has_an_effect(path):
    config = example(path.stem)
    assert config.ineffective == ()
    others = [text for text in warnings_of(config) if "earlier spending is forgotten" not in text]
    assert all(": longer prompts skip " in text for text in others), others


def test_a_subscription_spends_money_only_when_it_is_used_up():
    config = example("subscription")
    assert order(config, "sonnet") == [["plan"], ["paid"], ["small"]]
    assert config.routes["sonnet"].groups[1][0].when == {"quota", "overloaded"}


def test_a_team_has_groups_that_share_their_models():
    config = example("team")
    assert order(config, "best") == [["claude-opus-4-7"], ["gpt-5"]]
    assert config.aliases == {"cheap": "gpt-5-mini"}
    groups = {key.name: key.group for key in config.client_keys}
    assert {name: group.models for name, group in groups.items()} == {
        "alice": ("best", "cheap"), "ben": ("best", "cheap"), "nightly": ("best",),
    }  # fmt: skip


def test_a_pool_has_the_cloud_behind_it():
    config = example("pool")
    assert order(config, "qwen") == [["gpu-1", "gpu-2"], ["cloud"], ["long"]]
    assert config.routes["qwen"].first_content == 10
    assert [entry.probe for entry in config.entries] == ["/health", "/health", None, None]


@needs_feature("client_routing")
def test_regions_have_a_wall():
    config = example("regions")
    assert order(config, "gpt-5") == [["eu-azure-1", "eu-azure-2"], ["us-openai"], ["us-anthropic"]]
    assert [target.weight for target in config.routes["gpt-5"].groups[0]] == [3, 1]
    assert config.routes["gpt-5"].hedge == Hedge("p95", 0.02)
    assert config.retries == Retries(attempts=5, deadline=120, budget=0.1)
    assert [key.walls for key in config.client_keys] == [(("eu-*",),), ()]
