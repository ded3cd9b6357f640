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
from tests.support.features import needs_feature
from tests.support.harness import (
    PATIENCE,
    START_SECONDS,
    Gateway,
    config,
    eventually,
    provider,
    running,
    with_ports,
)
from tests.support.oidc import OidcProvider, open_provider
from tests.support.people import MODEL, PATHS, Answering, bearer, body_of, issuer
from tests.support.processes import peers, stop, workers
from tests.support.upstreams import Upstream, serve_upstream

pytestmark = pytest.mark.process


@attrs.frozen
class Crew:
    """A gateway of several workers with the file that it reads."""

    gateway: Gateway
    identity: OidcProvider
    upstream: Upstream
    file: Path
    port: int

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
        entries = [provider("openai/gpt-4o", f"{upstream.url}/v1", name=MODEL)]
        issuers = {} if rules is None else {"issuers": [issuer(identity, admit=rules)]}
        content = config(entries, client_keys=[{"name": "ann", "key": "key-of-ann-0123456789"}], **issuers, **more)
        settings, port = with_ports(content)
        file = folder / "trigate.yaml"
        file.write_text(yaml.safe_dump(settings))
        file.chmod(0o600)
        with running(file, port, *args) as gateway:
            yield Crew(gateway, identity, upstream, file, port)


def check_every_worker(crew: Crew, token: str, status: int) -> None:
    """Check that each worker soon responds with ``status``, and continues to."""
    for pid in crew_of(crew):
        with contextlib.closing(connect_to(crew, pid)) as connection:
            eventually(lambda: ask_on(connection, token) == status, what=f"a {status} of every worker")
            assert ask_on(connection, token) == status


def crew_of(crew: Crew) -> set[int]:
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


def ask_on(connection: http.client.HTTPConnection, token: str) -> int:
    body = json.dumps(body_of("chat", MODEL, max_tokens=7))
    headers = {"content-type": "application/json", **bearer(token)}
    connection.request("POST", PATHS["chat"], body, headers)
    response = connection.getresponse()
    response.read()
    return response.status


@needs_feature("live_view")
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


@pytest.mark.soak
def test_an_issuer_added_with_a_store_is_followed(tmp_path):
    storage = {"type": "sqlite", "path": str(tmp_path / "state.sqlite")}
    rules = [{"when": {"groups": "ml"}}]
    with open_crew(tmp_path, None, "--workers", "2", state_storage=storage) as crew:
        token = crew.token()
        check_every_worker(crew, token, 401)
        crew.reload(issuers=[issuer(crew.identity, admit=rules)])
        check_every_worker(crew, token, 200)
