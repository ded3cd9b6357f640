"""Tests of features from other packages, which the configuration lists."""

import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest

from configfile import keys
from gateway.app import create_app
from gateway.config_files.loading import ConfigError, from_mapping, load
from gateway.features.known import other_feature
from tests.support.apis import question
from tests.support.command_line import invoke
from tests.support.each_row import each_row
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import ROOT, config, provider
from tests.support.quick_yaml import dump_yaml
from tests.support.scripts import Script

pytestmark = pytest.mark.process  # one fixture installs a package

EXAMPLE = ROOT / "docs" / "examples" / "budget-header"
PLAIN = {"version": "v0.4.0", "model_providers": [{"model": "openai/m", "access_key": "k"}]}
MISTAKES = {
    "absent:FEATURE": "cannot be imported: ModuleNotFoundError",
    "budget_header:absent": "cannot be imported: AttributeError",
    "budget_header:BudgetHeader": "is no `trigate.features.Feature`",
    "newer:FEATURE": "it is written for contract 2, and this version has contract 1",
    "others:STEPS": "another feature has the name steps",
    "others:LEVEL": "its key log_level exists already",
    "budget_header": "expected a module and a name in it",
}

OTHERS = """
from attrs import frozen
from trigate.features import Config, Feature, Keys, Running, setting

@frozen
class Level:
    log_level: str = setting("A key of the gateway.", "info")

def fail(config, ports, before):
    raise ValueError(f"no use of {config.entries[0].key}")

STEPS = Feature("steps", contract=1)
LEVEL = Feature("level", keys=(Keys(Config, Level),), contract=1)
FAILS = Feature("fails", "others:fail", contract=1)
ABSENT = Feature("absent", "others:absent", contract=1)
"""


@pytest.fixture(scope="module")
def example_folder(tmp_path_factory):
    """Install the example, and return the folder from which the gateway imports it."""
    folder = tmp_path_factory.mktemp("installed")
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    copy = folder / "source"
    copy.mkdir()
    for name in ("pyproject.toml", "budget_header.py"):
        (copy / name).write_text((EXAMPLE / name).read_text())
    subprocess.run([*command, "--target", str(folder / "site"), str(copy)], check=True)
    (folder / "site" / "newer.py").write_text(
        "from trigate.features import Feature\nFEATURE = Feature('newer', contract=2)\n"
    )
    (folder / "site" / "others.py").write_text(OTHERS)
    sys.path.insert(0, str(folder / "site"))
    with mock.patch.dict(keys._PARTS):  # removes the keys again for the other tests of this process
        yield folder / "site"
    keys._keys_of.cache_clear()
    keys._parts_of.cache_clear()
    sys.path.remove(str(folder / "site"))
    other_feature.cache_clear()


def test_the_example_adds_a_header_with_the_budgets_of_a_request(example_folder, upstream):
    content = config(
        [provider("openai/m", upstream.url, price={"input": 1, "output": 1})],
        client_keys=[{"name": "team", "key": "key-of-the-team-01", "budgets": ["5 usd/day", "9 usd/30d"]}],
        features=["budget_header:FEATURE"],
        budget_header="x-my-budgets",
    )
    with gateway_thread(content) as gateway:
        headers = {"authorization": "Bearer key-of-the-team-01"}
        for more in ({}, {"stream": True}):
            upstream.script(Script("Hi"))
            reply = gateway.request("POST", "/v1/chat/completions", question("chat", "m", **more), headers)
            assert (reply.status, reply.headers["x-my-budgets"]) == (200, "5 usd/day, 9 usd/30d")


def test_the_example_is_short():
    assert len((EXAMPLE / "budget_header.py").read_text().splitlines()) <= 60


@each_row("name", MISTAKES)
def test_an_entry_that_is_not_a_feature_is_a_mistake(example_folder, name):
    with pytest.raises(ConfigError) as caught:
        from_mapping({**PLAIN, "features": [name]})
    assert [one.path for one in caught.value.mistakes] == ["features[0]"]
    assert MISTAKES[name] in str(caught.value)


def test_two_features_with_the_same_name_are_a_mistake(example_folder):
    with pytest.raises(ConfigError, match="another feature has the name fails"):
        from_mapping({**PLAIN, "features": ["others:FAILS", "others:FAILS"]})


@pytest.mark.parametrize(("name", "reason"), [("FAILS", "ValueError: no use of"), ("ABSENT", "AttributeError")])
def test_a_feature_that_cannot_open_is_a_mistake_in_the_file(example_folder, name, reason):
    entry = {"model": "openai/m", "access_key": "sk-of-the-provider-0123"}
    config = from_mapping({**PLAIN, "model_providers": [entry], "features": [f"others:{name}"]})
    with pytest.raises(ConfigError, match=f"the feature {name.lower()} could not be opened: {reason}") as caught:
        create_app(config, readable=False)
    assert "sk-of-the-provider-0123" not in str(caught.value)


def test_a_config_that_was_only_found_loads_no_code(example_folder, tmp_path: Path):
    (tmp_path / "side_effect.py").write_text("raise SystemExit('imported')")
    content = {**PLAIN, "features": ["side_effect:FEATURE"]}
    (file := tmp_path / "trigate.yaml").write_text(dump_yaml(content))
    sys.path.insert(0, str(tmp_path))
    try:
        with pytest.raises(ConfigError, match="it loads code"):
            load(file, {}, trust="found")
    finally:
        sys.path.remove(str(tmp_path))
    found = invoke("check", cwd=tmp_path)
    assert (found.returncode, "it loads code" in found.stdout + found.stderr) == (1, True)
