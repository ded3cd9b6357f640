"""People in front of several workers, and under a configuration that changes."""

import contextlib
import http.client
import json
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest
import yaml

from tests.support.command_line import invoke
from tests.support.harness import (
    PATIENCE,
    START_SECONDS,
    Gateway,
    Reply,
    config,
    eventually,
    exchanges,
    provider,
    running,
    with_ports,
)
from tests.support.oidc import OidcProvider, open_provider
from tests.support.people import MODEL, OTHER_MODEL, PATHS, Answering, bearer, body_of, issuer
from tests.support.people_gateway import issuer_settings, people_settings
from tests.support.processes import peers, stop, workers
from tests.support.upstreams import Upstream, serve_upstream

pytestmark = pytest.mark.process

PRICE = {"input": 0, "output": 100_000}
"""An answer of 7 tokens costs 70 cents."""
ANN = "key-of-ann-0123456789"


@attrs.frozen
class Crew:
    """A gateway of several workers with the file that it reads."""

    gateway: Gateway
    identity: OidcProvider
    upstream: Upstream
    file: Path
    port: int

    def ask(self, token: str, model: str = MODEL, api: str = "chat", **more: Any) -> Reply:
        """Send a short request on a connection of its own, which any worker may accept."""
        return self.gateway.request("POST", PATHS[api].format(model=model), body_of(api, model, **more), bearer(token))

    def token(self, **claims: Any) -> str:
        return self.identity.token(**{"sub": "00u1", "groups": ["ml"], **claims})

    def reload(self, **changed: Any) -> None:
        """Reload the file with other rules and root keys, ``None`` for none."""
        content = {**yaml.safe_load(self.file.read_text()), **changed}
        self.file.write_text(yaml.safe_dump({name: value for name, value in content.items() if value is not None}))
        assert self.gateway.pid is not None
        before = self._reloads()
        os.kill(self.gateway.pid, signal.SIGHUP)
        eventually(lambda: self._reloads() > before, START_SECONDS, "the reload")

    def _reloads(self) -> int:
        return sum("configuration was reloaded" in line for line in self.gateway.log)


@contextlib.contextmanager
def open_crew(folder: Path, rules: Sequence[Mapping[str, Any]] | None, *args: str, **more: Any) -> Iterator[Crew]:
    """Run a gateway with ``rules``; without an issuer for ``None``."""
    with open_provider() as identity, serve_upstream(Answering) as upstream:
        entries = [
            provider(f"openai/{id}", f"{upstream.url}/v1", name=name, price=PRICE)
            for id, name in (("gpt-4o", MODEL), ("gpt-4o-mini", OTHER_MODEL))
        ]
        keys = [{"name": "ann", "key": ANN}]
        issuers = {} if rules is None else {"issuers": [issuer(identity, admit=rules)]}
        content = config(entries, client_keys=keys, **issuers, **more)
        settings, port = with_ports(content)
        file = folder / "trigate.yaml"
        file.write_text(yaml.safe_dump(settings))
        file.chmod(0o600)
        with running(file, port, *args) as gateway:
            yield Crew(gateway, identity, upstream, file, port)


def statuses(crew: Crew, token: str, number: int, **more: Any) -> list[int]:
    return [crew.ask(token, max_tokens=7, **more).status for _ in range(number)]


def check_every_worker(crew: Crew, token: str, status: int, **more: Any) -> None:
    """Check that each worker soon responds with ``status``, and continues to."""
    for pid in crew_of(crew) or {crew.gateway.pid}:
        with contextlib.closing(connect_to(crew, pid)) as connection:
            eventually(lambda: ask_on(connection, token, **more) == status, what=f"a {status} of every worker")
            assert ask_on(connection, token, **more) == status


def crew_of(crew: Crew) -> set[int]:
    """Return the workers, none if the gateway is one process."""
    assert crew.gateway.pid is not None
    return workers(crew.gateway.pid)


def connect_to(crew: Crew, pid: int) -> http.client.HTTPConnection:
    """Return a connection to one worker: the others are stopped until it has accepted."""
    connection = http.client.HTTPConnection("127.0.0.1", crew.port, timeout=PATIENCE)
    others = crew_of(crew) - {pid}
    try:
        for other in others:
            stop(other)
        connection.connect()
        eventually(lambda: connection.sock.getsockname()[1] in peers(pid, crew.port), what="the connection")
    finally:
        for other in others:
            os.kill(other, signal.SIGCONT)
    return connection


def ask_on(connection: http.client.HTTPConnection, token: str, model: str = MODEL) -> int:
    body = json.dumps(body_of("chat", model, max_tokens=7))
    headers = {"content-type": "application/json", **bearer(token)}
    connection.request("POST", PATHS["chat"].format(model=model), body, headers)
    response = connection.getresponse()
    response.read()
    return response.status


def clients_served(crew: Crew) -> set[str | None]:
    return {line.get("client") for line in exchanges(crew.gateway.log) if line["status"] == 200}


def test_workers_share_the_budget_and_the_rate_of_a_person(tmp_path):
    rules = [{"when": {"groups": "ml"}, "budgets": ["7 usd/day"]}, {"when": {}, "ratelimits": {"requests": "5/h"}}]
    with open_crew(tmp_path, rules, "--workers", "2") as crew:
        assert sorted(statuses(crew, crew.token(), 14)) == [200] * 10 + [402] * 4
        assert sorted(statuses(crew, crew.token(sub="00u2"), 12)) == [200] * 10 + [402] * 2
        assert statuses(crew, crew.token(sub="00u3", groups=[]), 3) == [200, 429, 429]
        eventually(lambda: clients_served(crew) == {"okta:00u1", "okta:00u2", "okta:00u3"}, what="the last log line")


@pytest.mark.soak
@pytest.mark.parametrize("workers", [pytest.param("1", marks=pytest.mark.soak), "2"])
def test_a_changed_rule_applies_to_the_next_request_of_each_person(tmp_path, workers):
    with open_crew(tmp_path, [{"when": {"groups": "ml"}}], "--workers", workers) as crew:
        token = crew.token()
        check_every_worker(crew, token, 200)
        crew.reload(issuers=[issuer(crew.identity, admit=[{"when": {"groups": "ml"}, "models": [OTHER_MODEL]}])])
        check_every_worker(crew, token, 403)
        check_every_worker(crew, token, 200, model=OTHER_MODEL)
        crew.reload(issuers=[issuer(crew.identity, admit=[{"when": {"groups": "others"}}])])
        check_every_worker(crew, token, 403, model=OTHER_MODEL)
        crew.reload(issuers=None)
        check_every_worker(crew, token, 401)
        check_every_worker(crew, ANN, 200)
        crew.reload(issuers=[issuer(crew.identity, admit=[{"when": {"groups": "ml"}}])])
        check_every_worker(crew, token, 200)


@pytest.mark.parametrize("change", [pytest.param("rule", marks=pytest.mark.soak), "block"])
def test_the_live_views_of_an_admin_end_in_each_worker_with_its_rights(tmp_path, change):
    storage = {"type": "sqlite", "path": str(tmp_path / "state.sqlite")}
    rules = [{"when": {"groups": "platform"}, "role": "admin"}]
    with open_crew(tmp_path, rules, "--workers", "2", state_storage=storage) as crew, contextlib.ExitStack() as stack:
        headers = bearer(crew.token(groups=["platform"]))
        views = []
        for pid in crew_of(crew):
            connection = stack.enter_context(contextlib.closing(connect_to(crew, pid)))
            connection.request("GET", "/ui/events", headers=headers)
            views.append(connection.getresponse())
            assert views[-1].readline() == b"event: all\n"
        if change == "rule":
            crew.reload(issuers=[issuer(crew.identity, admit=[{"when": {"groups": "platform"}}])])
        else:
            assert invoke("people", "block", "okta:00u1", "--config", str(crew.file)).returncode == 0
        until = time.monotonic() + PATIENCE
        for view in views:
            while view.readline():
                assert time.monotonic() < until, "the view is still open"


def test_a_changed_budget_keeps_what_a_person_spent(tmp_path):
    def rules(amount: str) -> list[dict[str, Any]]:
        return [{"when": {"groups": "ml"}, "budgets": [amount]}]

    with open_crew(tmp_path, rules("7 usd/day"), "--workers", "2") as crew:
        token = crew.token()
        assert sorted(statuses(crew, token, 12)) == [200] * 10 + [402] * 2
        crew.reload(issuers=[issuer(crew.identity, admit=rules("10.5 usd/day"))])
        accepted = 0

        def has_spent_all() -> bool:
            nonlocal accepted
            accepted += (found := statuses(crew, token, 4)).count(200)
            return accepted >= 5 and found == [402] * 4

        eventually(has_spent_all, what="five more requests")
        assert accepted == 5


@pytest.mark.soak
def test_an_issuer_added_with_a_store_is_followed(tmp_path):
    storage = {"type": "sqlite", "path": str(tmp_path / "state.sqlite")}
    rules = [{"when": {"groups": "ml"}}]
    with open_crew(tmp_path, None, "--workers", "2", state_storage=storage) as crew:
        token = crew.token()
        check_every_worker(crew, token, 401)
        crew.reload(issuers=[issuer(crew.identity, admit=rules)])
        check_every_worker(crew, token, 200)


@pytest.mark.soak
def test_workers_count_the_codes_of_an_address_together(tmp_path):
    with open_provider() as identity:
        content = people_settings(0, tmp_path, issuer_settings(identity))
        settings, port = with_ports({**content, "public_url": "http://127.0.0.1:9"})
        with running(settings, port, "--workers", "2") as gateway:
            found = [gateway.request("POST", "/oauth/device_authorization", None, {}).status for _ in range(40)]
    assert found == [200] * 30 + [429] * 10
