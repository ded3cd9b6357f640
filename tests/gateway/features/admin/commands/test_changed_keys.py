"""``trigate keys set``, ``import``, ``add --sha256`` and ``--by``: permissions change, and the client's key stays."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from gateway.config_files.loading import Config, load
from gateway.features.admin.followed_keys import FollowedKeys
from gateway.features.admin.storage import key_store_of
from gateway.open_store import open_keeping_database
from tests.support.cases import case
from tests.support.command_line import Finished
from tests.support.features import needs_feature
from tests.support.finished_commands import good, reason_of
from tests.support.quick_yaml import dump_yaml

Keys = Callable[..., Finished]
OWN = "a-key-that-the-client-has-already"
DIGEST = hashlib.sha256(OWN.encode()).hexdigest()


ENTRY = {"access_key": "k", "price": {"input": 1, "output": 2}}
SETTINGS = {
    "model_providers": [{"model": "openai/gpt-4o", **ENTRY}, {"model": "openai/gpt-5", **ENTRY}],
    "client_groups": [{"name": "search", "models": ["gpt-4o", "gpt-5"]}],
    "client_keys": [{"name": "boss", "sha256": "b" * 64}],
}


def row(keys: Keys, name: str) -> Any:
    return next(one for one in json.loads(good(keys("list", "--json"))) if one["name"] == name)


def clients(folder: Path) -> dict[str, Any]:
    """Return the clients that a gateway would have if it started now."""
    config = load(folder / "c.yaml", {})

    async def read() -> Config:
        async with open_keeping_database(config) as database:
            return await FollowedKeys(key_store_of(database)).read(config)

    return {client.name: client for client in trio.run(read).client_keys}


def test_each_option_replaces_its_setting_and_all_others_stay(keys, tmp_path):
    given = ("--group", "search", "--budget", "20 usd/day", "--ratelimit", "requests=60/m", "--limit", "in_flight=8")
    good(keys("add", "ci", *given, "--until", "2099-01-31"))
    before = clients(tmp_path)["ci"]
    changed = keys("set", "ci", "--budget", "5 usd/day", "--budget", "50 usd/month", "--models", "gpt-5")
    assert good(changed) == ""
    assert "budgets 5 usd/day, 50 usd/month" in changed.stderr
    after = clients(tmp_path)["ci"]
    assert after.keys == before.keys
    assert [budget.text for budget in after.budgets] == ["5 usd/day", "50 usd/month"]
    assert after.models == ("gpt-5",)
    assert (after.group, after.ratelimits, after.limits, after.until) == (
        before.group, before.ratelimits, before.limits, before.until,
    )  # fmt: skip


OPTIONS = [
    (("--group", "search"), "group", "search"),
    (("--models", "gpt-4o", "--models", "gpt-5"), "models", ["gpt-4o", "gpt-5"]),
    (("--only", "openai/*"), "only", ["openai/*"]),
    (("--until", "2098-01-31"), "until", "2098-02-01T00:00:00Z"),
    (("--ratelimit", "requests=5/m"), "ratelimits", {"requests": "5/m"}),
    (("--limit", "in_flight=3"), "limits", {"in_flight": 3}),
    (("--budget", "1 usd/day"), "budgets", ["1 usd/day"]),
]


def test_every_setting_can_be_set_and_removed(keys):
    good(keys("add", "ci"))
    nothing = row(keys, "ci")
    for args, name, expected in OPTIONS:
        with case(name):
            changed = json.loads(good(keys("set", "ci", *args, "--json")))
            assert changed[name] == expected
    assert {name: row(keys, "ci")[name] for _, name, _ in OPTIONS} == {name: value for _, name, value in OPTIONS}
    for _, name, _ in OPTIONS:
        with case(name):
            good(keys("set", "ci", "--without", name))
    assert row(keys, "ci") == nothing


@needs_feature("live_view")
def test_a_limit_of_a_feature_is_shown_next_to_the_others(keys):
    good(keys("add", "ci", "--limit", "in_flight=3", "--limit", "viewers=2"))
    assert row(keys, "ci")["limits"] == {"in_flight": 3, "viewers": 2}


INVALID = [
    (("ci",), "nothing to change"),
    (("ci", "--budget", "1 usd/day", "--without", "budgets"), "budgets is both set and removed by --without"),
    (("ci", "--models", "gpt-9"), "gpt-9"),
    (("ci", "--group", "nobody"), "nobody"),
    (("ci", "--budget", "lots"), "lots"),
    (("ci", "--until", "2001-01-01"), "would expire in the past"),
    (("ci", "--without", "until"), "has these settings already"),
    (("nobody", "--for", "1d"), "there is no stored client nobody"),
    (("boss", "--for", "1d"), "change it there, and reload"),
    (("ci", "--by", "a\nb", "--for", "1d"), "--by is not valid"),
]


def test_an_invalid_keys_set_is_refused_and_changes_nothing(keys):
    good(keys("add", "ci"))
    before = row(keys, "ci")
    for args, says in INVALID:
        with case(args):
            assert says in reason_of(keys("set", *args))
    assert row(keys, "ci") == before


def test_a_client_keeps_a_key_that_it_has(keys):
    done = keys("add", "old", "--sha256", DIGEST.upper(), "--models", "gpt-4o", "--json")
    assert json.loads(good(done))["name"] == "old"
    assert "sk-trigate-" not in done.stdout + done.stderr
    assert "other and old have the same key" in reason_of(keys("add", "other", "--sha256", DIGEST))
    assert "boss" in reason_of(keys("add", "other", "--sha256", "b" * 64))
    assert "sha256" in reason_of(keys("add", "other", "--sha256", "nothing-of-that-kind"))
    rotated = keys("rotate", "old", "--keep-old", "0")
    assert good(rotated).startswith("sk-trigate-")
    assert len(row(keys, "old")["keys"]) == 1


def test_imported_keys_rotate_in_the_storage(keys, tmp_path):
    """``trigate import`` writes such a file."""
    file = tmp_path / "imported.yaml"
    items = [
        {"name": "alice", "sha256": DIGEST, "models": ["gpt-4o"], "group": "search", "budgets": ["50 usd/month"],
         "until": "2099-01-31T00:00:00Z"},
        {"name": "bob", "key": "a-literal-key-of-bob-0123456789"},
        {"name": "carol", "keys": [{"sha256": "c" * 64, "until": "2098-01-31"}, {"sha256": "d" * 64}]},
    ]  # fmt: skip
    file.write_text(dump_yaml({"client_keys": items}))
    done = keys("import", str(file), "--by", "the move from LiteLLM")
    assert "Stored 3 clients" in (good(done) or done.stderr)
    found = clients(tmp_path)
    assert found["alice"].keys[0].digest.hex() == DIGEST
    assert [budget.text for budget in found["alice"].budgets] == ["50 usd/month"]
    assert found["bob"].keys[0].digest == hashlib.sha256(b"a-literal-key-of-bob-0123456789").digest()
    assert [key.until is None for key in found["carol"].keys] == [False, True]
    assert "a-literal-key-of-bob" not in (tmp_path / "state.sqlite").read_bytes().decode("latin-1")
    new = good(keys("rotate", "alice", "--keep-old", "1h")).strip()
    assert hashlib.sha256(new.encode()).digest() in {key.digest for key in clients(tmp_path)["alice"].keys}
    again = keys("import", str(file))
    assert "Stored 0 clients" in again.stderr
    assert "they are stored already: alice, bob, carol" in " ".join(again.stderr.split())
    assert len(clients(tmp_path)["alice"].keys) == 2


def test_clients_in_the_file_have_precedence_until_removed(keys, tmp_path):
    done = keys("import", str(tmp_path / "c.yaml"), client_keys=[{"name": "boss", "sha256": "b" * 64}])
    assert "still lists boss, and the file has precedence" in " ".join(done.stderr.split())
    assert row(keys, "boss")["from"] == "file"
    assert "remove it from the file first" in reason_of(keys("rotate", "boss"))
    assert good(keys("rotate", "boss", client_keys=[{"name": "x", "sha256": "e" * 64}])).startswith("sk-trigate-")


BAD_FILES = [
    ("[", "as YAML: "),
    ("client_keys: &all [{name: a, key: *all}]", "as YAML: "),
    ("client_keys: []", "has no client_keys"),
    ("client_keys: [{key: abc}]", "`client_keys[0]` has no name"),
    ("client_keys: [{name: a, sha256: zz}]", "sha256"),
    ("client_keys: [{name: good, sha256: '" + "1" * 64 + "'}, {name: a}]", "neither key nor sha256"),
    ("client_keys: [{name: a, sha256: '" + "1" * 64 + "', models: [gpt-9]}]", "gpt-9"),
    ("client_keys: [{name: a, sha256: '" + "b" * 64 + "'}]", "a and boss have the same key"),
    ("client_keys: [{name: a, sha256: '" + "1" * 64 + "'}, {name: c, sha256: '" + "1" * 64 + "'}]", "the same key"),
]


def test_a_file_with_an_invalid_client_stores_no_client(keys, tmp_path):
    file = tmp_path / "in.yaml"
    for content, says in BAD_FILES:
        file.write_text(content)
        with case(content):
            assert says in reason_of(keys("import", str(file)))
    assert [one["name"] for one in json.loads(good(keys("list", "--json")))] == ["boss"]


@pytest.mark.parametrize("key", ["$A_KEY", {"file": "/run/a"}])
def test_keys_in_variables_and_files_are_not_copied(keys, tmp_path, key):
    """The master key of an imported proxy is in a variable."""
    file = tmp_path / "in.yaml"
    items = [{"name": "master", "key": key}, {"name": "alice", "sha256": DIGEST}]
    file.write_text(dump_yaml({"client_keys": items}))
    assert "replace it by `sha256`" in reason_of(keys("import", str(file), "master"))
    done = keys("import", str(file))
    assert good(done) == ""
    told = " ".join(done.stderr.split())
    assert "Stored 1 client;" in told
    assert "Skipped, because their keys are in variables or files: master." in told
    assert [one["name"] for one in json.loads(good(keys("list", "--json")))] == ["boss", "alice"]


def test_only_the_listed_clients_are_imported(keys, tmp_path):
    file = tmp_path / "in.yaml"
    file.write_text(dump_yaml({"client_keys": [{"name": n, "sha256": n * 64} for n in ("1", "2", "3")]}))
    good(keys("import", str(file), "1", "3"))
    assert [one["name"] for one in json.loads(good(keys("list", "--json")))] == ["boss", "1", "3"]
    assert "no client with the name 9" in reason_of(keys("import", str(file), "9"))
