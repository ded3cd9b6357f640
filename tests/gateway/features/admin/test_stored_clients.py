"""Clients of the state storage next to those of the file: which may be stored, and the effects of a changed file."""

import hashlib
from typing import Any

import pytest

from gateway.access.authentication import Authenticator
from gateway.config_files.loading import Config, ConfigError, from_mapping
from gateway.config_reports.changes import changes
from gateway.features.admin.stored_clients import new_client, read_item, stored_clients
from streams.errors import GatewayError
from tests.support.each_row import each_row

KEY = "sk-trigate-of-the-test"
ACCEPTED = {"keys": [{"sha256": hashlib.sha256(KEY.encode()).hexdigest()}]}
SHOWN = (("authorization", f"Bearer {KEY}"),)


def config(*models: str, **more: Any) -> Config:
    return from_mapping(
        {
            "version": "v0.4.0",
            "stored_keys": True,
            "state_storage": {"type": "sqlite", "path": "/tmp/nowhere.sqlite"},
            "model_providers": [{"model": f"openai/{model}", "access_key": "k"} for model in models or ("a", "b")],
            **more,
        }
    )


def beside(file: Config, **item: Any) -> Config:
    return stored_clients([read_item("ci", {**ACCEPTED, **item})], file).beside(file)


@pytest.mark.parametrize("storage", [None, {"type": "memory"}, {"type": "none"}])
def test_stored_keys_need_a_place_that_all_processes_see(storage):
    with pytest.raises(ConfigError, match=r"stored_keys: keys cannot be stored: state_storage is "):
        config(state_storage=storage)


def test_before_the_keys_are_read_no_key_is_rejected_as_wrong():
    with pytest.raises(GatewayError) as refused:
        Authenticator(config()).authenticate(SHOWN)
    assert refused.value.info.status == 503
    filed = Authenticator(config(client_keys=[{"name": "boss", "key": KEY}]))
    assert filed.authenticate(SHOWN) == "boss"


def test_a_stored_client_expires_at_its_end():
    late = beside(config(), until="2020-01-01")
    with pytest.raises(GatewayError, match="expired on"):
        Authenticator(late).authenticate(SHOWN)


def test_a_client_with_a_budget_of_money_needs_prices_of_its_models():
    with pytest.raises(ConfigError, match=r"openai/a has no price, but client_keys\.ci has a budget of 20 usd/day"):
        new_client(read_item("ci", {**ACCEPTED, "budgets": ["20 usd/day"]}), config())


@each_row(
    ("filed", "stored", "says"),
    [
        ({"name": "ci", "key": "another-key-0123456789"}, ACCEPTED, "which has precedence"),
        ({"name": "robot", "certificate": "CN=robot"}, {"certificate": "CN=robot"}, "robot has the same one"),
    ],
)
def test_for_the_same_name_or_certificate_the_file_has_precedence(filed, stored, says):
    found = stored_clients([read_item("ci", stored)], config(client_keys=[filed]))
    assert found.clients == ()
    assert says in found.refused["ci"]


def test_a_key_keeps_its_remaining_models_if_some_are_removed():
    narrowed = beside(config("a"), models=["a", "b"])
    assert narrowed.client_keys[0].models == ("a",)
    found = stored_clients([read_item("ci", {**ACCEPTED, "models": ["b"]})], config("a"))
    assert found.clients == ()
    assert "'b' is not a configured model" in found.refused["ci"]


def test_a_key_whose_group_was_removed_is_refused():
    item = read_item("ci", {**ACCEPTED, "group": "team"})
    assert stored_clients([item], config(client_groups=[{"name": "team"}])).clients
    assert "no group" in stored_clients([item], config()).refused["ci"]


def test_a_new_read_replaces_stored_clients_and_not_those_of_the_file():
    file = config(client_keys=[{"name": "boss", "key": "another-key-0123456789"}])
    once = stored_clients([read_item("ci", ACCEPTED)], file).beside(file)
    again = stored_clients([read_item("cd", ACCEPTED)], once).beside(once)
    assert [client.name for client in again.client_keys] == ["boss", "cd"]
    assert stored_clients([], again).beside(again).client_keys == file.client_keys


def test_a_reload_logs_whether_stored_keys_are_accepted():
    said = [str(change) for change in changes(config(stored_keys=False), config())]
    assert said == [
        "~ client_keys: a key is now required",
        "~ stored_keys: clients in the state storage are now accepted",
    ]
