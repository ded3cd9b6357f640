"""Listeners: their settings in the file, and which of them are open to other machines."""

from pathlib import Path
from typing import Any

import pytest

from gateway.config.listening import TlsSettings
from gateway.config_files.loading import Config, ConfigError, from_mapping
from gateway.config_reports.changes import changes
from gateway.config_reports.exposed_listeners import exposed_listeners
from tests.support.each_row import each_row

TLS = {"certificate": "a.pem", "key": "a.key"}


def config(*listeners: dict[str, Any], **more: Any) -> Config:
    providers = [{"model": "openai/m", "access_key": "k"}]
    return from_mapping({"version": "v0.3.0", "listeners": list(listeners), "model_providers": providers, **more})


@each_row(
    ("listener", "open"),
    [({}, False), ({"address": "127.0.0.2"}, False), ({"address": "::1"}, False), ({"address": "localhost"}, False),
     ({"socket": "gw.sock"}, False), ({"address": "0.0.0.0"}, True), ({"address": "::"}, True),
     ({"address": "192.0.2.1"}, True), ({"address": "gw.example"}, True), ({"address": "0.0.0.0", "tls": TLS}, True),
     ({"address": "0.0.0.0", "tls": {**TLS, "client_ca": "ca.pem"}}, False),
     ({"address": "0.0.0.0", "port": 1, "serves": "health"}, False),
     ({"address": "0.0.0.0", "port": 1, "serves": ["models"]}, True)],
)  # fmt: skip
def test_a_listener_without_authentication_counts_as_exposed(listener, open):
    place = {} if listener.get("serves") is None else {"port": 2, "name": "other"}
    listeners = [listener, *([place] if place else [])]
    assert bool(exposed_listeners(config(*listeners))) is open
    assert not exposed_listeners(config(*listeners, open=True))
    assert not exposed_listeners(config(*listeners, client_keys=[{"name": "a", "key": "k" * 20}]))


def test_a_unix_socket_is_private_unless_the_file_sets_a_mode():
    one, other = config({"socket": "a.sock"}, {"name": "b", "socket": "b.sock", "mode": "0666"}).listeners
    assert (one.socket, one.mode, one.place) == (Path("a.sock"), 0o600, "a.sock")
    assert other.mode == 0o666


@each_row(
    ("listener", "said"),
    [({"socket": "a", "port": 1}, "combined with socket"), ({"socket": "a", "address": "::"}, "combined with socket"),
     ({"socket": "a", "tls": TLS}, "combined with socket"), ({"socket": ""}, "the path is empty"),
     ({"socket": "a", "mode": 432}, "in quotes"), ({"socket": "a", "mode": "rw"}, "three octal digits"),
     ({"tls": {"key": "a.key"}}, "certificate"), ({"tls": True}, "mapping"), ({"tls": {**TLS, "ca": "x"}}, "ca"),
     ({"serves": "model"}, "did you mean models"), ({"serves": "admin"}, "no listener serves"),
     ({"serves": ["pages"]}, "no listener serves model requests"),
     ({"serves": ["models", "page"]}, "did you mean pages"), ({"serves": []}, "no listener serves model requests"),
     ({"allow": ["10.0.0.0/33"]}, "expected an address, a network")],
)  # fmt: skip
def test_mistakes_about_listeners_are_reported(listener, said):
    with pytest.raises(ConfigError, match=said):
        config(listener)


def test_two_listeners_in_one_place_are_a_mistake():
    with pytest.raises(ConfigError, match=r"two listeners use .*a\.sock"):
        config({"socket": "a.sock"}, {"name": "b", "socket": "a.sock"})


def test_changed_listener_settings_need_a_restart():
    old, new = config({}), config({"tls": {**TLS, "client_ca": "ca.pem"}, "proxy_protocol": True})
    assert new.listeners[0].tls == TlsSettings(Path("a.pem"), Path("a.key"), Path("ca.pem"))
    (change,) = changes(old, new)
    assert change.restart
    for words in ("a.pem", "a.key", "ca.pem", "behind a proxy"):
        assert words in str(change)
