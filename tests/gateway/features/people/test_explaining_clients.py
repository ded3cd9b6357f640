"""``trigate explain --key``: the limits of a client in the state storage, and of a person by its rule."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.commands.explaining import explain
from tests.support.command_line import Finished, invoke
from tests.support.people_gateway import people_gateway
from tests.support.quick_yaml import dump_yaml

PRICED = {"model": "openai/gpt-4o", "access_key": "k", "base_url": "http://127.0.0.1:9", "price": "free"}
Run = Callable[..., Finished]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Return a function that runs a command with a configuration with stored keys, changed by ``more``."""

    def run_command(*args: str, **more: Any) -> Finished:
        file = tmp_path / "trigate.yaml"
        settings = {
            "version": "v0.4.0", "stored_keys": True, "model_providers": [PRICED],
            "state_storage": {"type": "sqlite", "path": str(tmp_path / "state.sqlite")},
            "client_groups": [{"name": "search", "budgets": ["9 usd/day"]}],
            "client_keys": [{"name": "boss", "key": "key-of-the-boss-0123456789"}], **more,
        }  # fmt: skip
        file.write_text(dump_yaml(settings))
        return invoke(*args, "--config", str(file))

    return run_command


def words_of(found: Finished, status: int) -> str:
    assert found.returncode == status, found.stderr
    return " ".join((found.stdout if status == 0 else found.stderr).split())


def test_the_limits_of_a_stored_client_are_shown(run):
    assert run("keys", "add", "ci", "--group", "search", "--budget", "5 usd/day").returncode == 0
    shown = words_of(run("explain", "gpt-4o", "--key", "ci"), 0)
    assert "client_keys.ci: 5 usd/day" in shown
    assert "client_groups.search: 9 usd/day" in shown
    assert "client_keys.ci" not in words_of(run("explain", "gpt-4o", "--key", "boss"), 0)


def test_a_stored_client_that_gateways_refuse_is_not_explained(run):
    assert run("keys", "add", "ci", "--group", "search").returncode == 0
    refused = words_of(run("explain", "gpt-4o", "--key", "ci", client_groups=[]), 2)
    assert "gateways refuse the stored client ci: group: there is no group 'search'" in refused


@pytest.mark.parametrize(
    ("rights", "says"),
    [
        ({"models": ["small"]}, "the key 'ci' may not use the model 'both'"),
        ({"group": "few"}, "the key 'ci' may not use the model 'both'"),
        ({"models": []}, "the key 'ci' may not use the model 'both'"),
        ({"role": "admin"}, "the key 'ci' has the role admin and no `models`, so it may use no model"),
        ({"until": "2020-01-01"}, "--key: the access of the client ci has expired"),
        ({"only": ["small"]}, None),
    ],
)
def test_the_rights_of_the_client_apply(run, rights, says):
    more = {
        "model_providers": [{**PRICED, "name": name} for name in ("big", "small")],
        "model_aliases": {"both": {"targets": ["big", "small"]}},
        "client_groups": [{"name": "few", "models": ["big"]}],
        "client_keys": [{"name": "ci", "key": "key-of-the-ci-client-0123456789", **rights}],
    }
    found = run("explain", "both", "--key", "ci", **more)
    if says is not None:
        assert words_of(found, 2).startswith(says)
        assert "has these models" not in found.stderr
    else:
        assert "small" in words_of(found, 0)
        assert "big" not in found.stdout
        assert "the key 'ci' may not use any target of 'big'" in words_of(
            run("explain", "big", "--key", "ci", **more), 2
        )


def test_an_unknown_name_gets_the_nearest_stored_one(run, tmp_path):
    assert "it has boss" in words_of(run("explain", "gpt-4o", "--key", "ci"), 2)
    assert not (tmp_path / "state.sqlite").exists()
    assert run("keys", "add", "ci-tests").returncode == 0
    assert "did you mean ci-tests?" in words_of(run("explain", "gpt-4o", "--key", "ci-test"), 2)
    assert "it has boss" in words_of(run("explain", "gpt-4o", "--key", "ci-tests", stored_keys=False), 2)


def test_a_storage_that_cannot_be_read_is_reported(run, tmp_path):
    (tmp_path / "state.sqlite").write_bytes(b"no database" * 1000)
    assert "the stored clients are unknown" in words_of(run("explain", "gpt-4o", "--key", "ci"), 2)


def test_a_person_has_the_limits_of_its_rule(tmp_path, capsys):
    with people_gateway(tmp_path, providers=(PRICED,)) as gateway:
        gateway.sign_in("ada")
        file = tmp_path / "trigate.yaml"
        file.write_text(dump_yaml(dict(gateway.settings)))

        def output_of(key, status):
            assert explain("gpt-4o", "chat", file, False, key=key) == status
            found = capsys.readouterr()
            assert "Traceback" not in found.err
            return found.out if status == 0 else found.err

        assert "client_keys.okta:00u1: 20 usd/day" in output_of("okta:00u1", 0)
        assert "trigate people list" in output_of("okta:stranger", 2)
        assert "has no client key 'entra:00u1'" in output_of("entra:00u1", 2)
        assert invoke("people", "block", "okta:00u1", "--config", str(file)).returncode == 0
        assert "--key: the access of okta:00u1 is blocked, so its requests get 401" in output_of("okta:00u1", 2)
        assert invoke("people", "unblock", "okta:00u1", "--config", str(file)).returncode == 0
        assert "client_keys.okta:00u1: 20 usd/day" in output_of("okta:00u1", 0)


def test_one_rule_needs_no_storage(tmp_path, capsys):
    rule = {"when": {}, "budgets": ["3 usd/day"]}
    issuer = {"name": "ci", "issuer": "https://ci.example", "audience": ["trigate"], "admit": [rule]}
    settings = {"version": "v0.4.0", "model_providers": [PRICED], "issuers": [issuer]}
    file = tmp_path / "trigate.yaml"
    file.write_text(dump_yaml(settings))
    assert explain("gpt-4o", "chat", file, False, key="ci:acme/app") == 0
    assert "client_keys.ci:acme/app: 3 usd/day" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["trigate.yaml"]
