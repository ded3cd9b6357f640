"""Tokens of issuers with a complete gateway: forgeries, tokens of clusters and CI services, rotation and outages."""

import http.client
import itertools
import json
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import LOOPBACK, Authority
from tests.support.each_row import each_row
from tests.support.features import has_feature
from tests.support.forged_tokens import FIRST, FORGED, PUBLISHED
from tests.support.harness import Gateway, Reply, config, eventually, free_port, running
from tests.support.metrics_page import numbers
from tests.support.oidc import open_provider
from tests.support.people import PeopleSetup, bearer, body_of, issuer, people_gateway
from tests.support.signed_tokens import signing_key
from tests.support.token_forms import FORMS, TokenForm

pytestmark = pytest.mark.slow

CHAT = "/v1/chat/completions"
KEY = "key-of-the-file-0123456789"
_ADDRESSES = itertools.cycle(f"127.9.{a}.{b}" for a in range(250) for b in range(1, 250))


def ask_from_elsewhere(port: int, token: str) -> tuple[int, bytes]:
    """Send a request with ``token`` from a new address, because few wrong keys per address are verified."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30, source_address=(next(_ADDRESSES), 0))
    try:
        headers = {"authorization": f"Bearer {token}".encode("latin-1"), "content-type": "application/json"}
        connection.request("POST", CHAT, json.dumps(body_of("chat")), headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def fits_a_header(token: str) -> bool:
    return len(token) < 50_000 and all(32 <= ord(char) < 256 for char in token) and token == token.strip()


@pytest.fixture
def setup() -> Iterator[PeopleSetup]:
    with people_gateway(client_keys=[{"name": "ann", "key": KEY}]) as found:
        yield found


# Forged tokens


def test_no_forged_token_is_accepted_or_causes_an_error(setup: PeopleSetup):
    setup.identity.keys = list(PUBLISHED)
    assert setup.ask("chat", setup.token()).status == 200
    sent = [(one, token) for one in FORGED if fits_a_header(token := one.make(setup.identity.issuer))]
    assert len(sent) > 230
    wrong = {}
    for forged, token in sent:
        status, body = ask_from_elsewhere(setup.gateway.port, token)
        if status != 401 or token.encode("latin-1") in body:
            wrong[forged.name] = status, body[:200]
    assert wrong == {}
    log = "\n".join(setup.gateway.log)
    assert not any(token in log for _, token in sent if len(token) > 40)
    assert "Traceback" not in log
    assert {one.path for one in setup.identity.seen} == {"/.well-known/openid-configuration", "/jwks"}
    assert setup.identity.count("/jwks") <= 3


def test_forged_tokens_of_one_address_are_limited_and_harm_no_other_sender(setup: PeopleSetup):
    expired = setup.token(exp=int(time.time()) - 3600)
    assert {setup.ask("chat", expired).status for _ in range(40)} == {401}, "an old program is no attacker"
    forged = [setup.identity.token(signing_key("attacker"), {"kid": "first"}, n=n) for n in range(40)]
    statuses = [setup.ask("chat", token).status for token in forged]
    assert statuses == [401] * 30 + [429] * 10
    assert setup.ask("chat", setup.token()).status == 200, "others may share the address"


# Kinds of issuers


def test_a_token_that_expires_during_a_response_does_not_cut_it(monkeypatch: pytest.MonkeyPatch):
    with open_provider() as identity, people_gateway([issuer(identity, clock_skew="0s")]) as setup:
        real, arrived, answers = setup.upstream.take, threading.Event(), threading.Event()

        def answer_later(seen: Any) -> Any:
            arrived.set()
            assert answers.wait(30)
            return real(seen)

        monkeypatch.setattr(type(setup.upstream), "take", lambda upstream, seen: answer_later(seen))
        end = int(time.time()) + 2
        token = identity.token(sub="00u1", groups=["ml"], exp=end)
        replies: list[Reply] = []
        request = threading.Thread(target=lambda: replies.append(setup.ask("messages", token, stream=True)))
        request.start()
        assert arrived.wait(10)
        eventually(lambda: time.time() > end, what="the end of the token")
        assert setup.ask("chat", token).status == 401
        answers.set()
        request.join()
        assert replies[0].status == 200
        assert b"message_stop" in replies[0].body


@pytest.fixture(scope="module")
def of_all_forms(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PeopleSetup]:
    file = tmp_path_factory.mktemp("keys") / "keys.json"
    file.write_text(json.dumps({"keys": [FIRST.jwk()]}))
    with people_gateway([form.settings(str(file)) for form in FORMS]) as found:
        yield found


@each_row("form", FORMS, ids=lambda form: form.name)
def test_a_token_of_each_known_issuer_is_a_client(of_all_forms: PeopleSetup, form: TokenForm):
    reply = of_all_forms.ask("messages", None, headers={"x-api-key": form.token()})
    assert reply.status == 200, reply.body
    assert of_all_forms.client_of(reply) == form.client


@each_row("form", FORMS, ids=lambda form: form.name)
def test_a_token_that_no_rule_admits_is_refused_by_name(of_all_forms: PeopleSetup, form: TokenForm):
    """For example, it is from a pull request of a fork, or from another namespace."""
    reply = of_all_forms.ask("chat", form.token(**form.other))
    assert reply.status == 403, reply.body
    message = reply.json["error"]["message"]
    assert form.name in message
    for claim, value in form.other.items():
        assert not isinstance(value, str) or value not in message, claim


def test_a_cluster_protects_its_keys_by_a_certificate_and_a_token(tmp_path: Path):
    """Kubernetes without anonymous discovery; the address of the key set is another one than the issuer's."""
    authority, pods_token = Authority(tmp_path), tmp_path / "token"
    pods_token.write_text("first")
    with open_provider(tls=authority.pair("kubernetes", *LOOPBACK), key_set_token="first") as cluster:
        cluster.configuration["jwks_uri"] = cluster.issuer.replace("127.0.0.1", "localhost") + "/jwks"
        fetch = {"ca": str(authority.root), "token": {"file": str(pods_token)}}
        rule = {"when": {"/kubernetes.io/namespace": "research"}}
        settings = issuer(cluster, "cluster", fetch=fetch, admit=[rule])
        with people_gateway([settings]) as setup:
            pod = {"sub": "system:serviceaccount:research:batch", "kubernetes.io": {"namespace": "research"}}
            assert setup.ask("chat", cluster.token(**pod)).status == 200
            pods_token.write_text("second")
            cluster.key_set_token = "second"
            cluster.rotate()
            assert setup.ask("chat", cluster.token(**pod)).status == 200


# Rotation and outages


def test_an_outage_of_the_issuer_is_shown_and_stops_no_one(setup: PeopleSetup):
    token = setup.token()
    assert setup.ask("chat", token).status == 200
    setup.identity.go_down()
    assert setup.ask("chat", setup.token(sub="00u2")).status == 200
    refused = setup.ask("chat", setup.identity.token(signing_key("new"), {"kid": "new"}))
    assert refused.status == 401
    (state,) = setup.gateway.request("GET", "/readyz?verbose", headers=bearer(KEY)).json["issuers"]
    assert (state["issuer"], state["keys"]) == ("okta", 1)
    assert "the issuer's connection broke" in state["error"]
    if has_feature("metrics"):
        stale = lambda: numbers(setup.gateway, **bearer(KEY))("trigate_issuer_stale_seconds", issuer="okta")  # noqa: E731
        eventually(lambda: stale() > 0, what="a stale key set")
    assert setup.ask("chat", token).status == 200
    assert len([line for line in setup.gateway.log if "cannot fetch the issuer's keys" in line]) == 1


# Workers and reloads


def status_with(gateway: Gateway, token: str) -> int:
    """Return the status of a request with ``token`` for no path: 404 if the token is good."""
    return gateway.request("GET", "/nowhere", headers=bearer(token)).status


@pytest.mark.process
def test_a_reload_adds_and_removes_issuers(tmp_path: Path):
    file, port = tmp_path / "trigate.yaml", free_port()
    with open_provider() as identity, open_provider() as other:
        first, second = (issuer(one, name, admit=[{"when": {}}]) for one, name in ((identity, "a"), (other, "b")))

        def write(*issuers: Mapping[str, Any]) -> None:
            models = [{"model": "openai/gpt-4o", "access_key": "k"}]
            found = config(models, port, client_keys=[{"name": "ann", "key": KEY}])
            file.write_text(json.dumps({**found, "issuers": list(issuers)} if issuers else found))

        write()
        with running(file, port) as gateway:

            def reload(*issuers: Mapping[str, Any]) -> None:
                write(*issuers)
                before = reloads()
                assert gateway.pid is not None
                os.kill(gateway.pid, signal.SIGHUP)
                eventually(lambda: reloads() > before, what="the reload")

            def reloads() -> int:
                return sum("the configuration was reloaded" in line for line in gateway.log)

            assert status_with(gateway, identity.token(sub="1")) == 401
            reload(first)
            assert status_with(gateway, identity.token(sub="1")) == 404
            reload(first, second)
            assert status_with(gateway, other.token(sub="1")) == 404
            assert identity.count("/jwks") == 1
            reload(second)
            assert status_with(gateway, identity.token(sub="1")) == 401
            assert status_with(gateway, other.token(sub="1")) == 404
            reload()
            assert status_with(gateway, other.token(sub="1")) == 401
            assert status_with(gateway, KEY) == 404


def test_an_issuer_that_is_down_does_not_delay_the_start(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("gateway.features.people.key_sets.FIRST_RETRY", 0.2)
    with open_provider() as identity:
        identity.go_down()
        settings = [issuer(identity)]
        with people_gateway(settings, client_keys=[{"name": "ann", "key": KEY}]) as setup:
            assert setup.gateway.request("GET", "/readyz").status == 200
            assert setup.ask("chat", KEY).status == 200
            token = identity.token(sub="00u1", groups=["ml"])
            refused = setup.ask("chat", token)
            assert refused.status == 503
            assert int(refused.headers["retry-after"]) > 0
            assert b"the issuer okta" in refused.body
            identity.faults.clear()
            eventually(lambda: setup.ask("chat", token).status == 200, what="the keys of the issuer")
