"""Keys that are created while the gateway runs. The tests use the real gateway and the real command, once with SQLite
and two workers, and once with PostgreSQL and two gateways."""

import contextlib
import itertools
import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import yaml
from click.testing import CliRunner

from gateway.__main__ import main
from tests.support.features import needs_feature
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import Gateway, config, eventually, free_port, provider, running
from tests.support.websocket_client import Client

pytestmark = pytest.mark.process

BOSS = "sk-gw-boss-0123456789abcdef"


@attrs.frozen
class Place:
    """Gateways with ``processes`` processes in total over one storage, and the configuration file of all."""

    gateways: tuple[Gateway, ...]
    file: Path
    processes: int = 1

    def keys(self, *args: str, status: int = 0) -> str:
        """Run ``trigate keys`` and return its standard output, or its error output if it is expected to fail."""
        done = CliRunner().invoke(main, ["keys", *args, "--config", str(self.file)])
        assert done.exit_code == status, done.output
        return done.stdout.strip() if status == 0 else done.stderr

    def change(self, *args: str) -> str:
        """Run ``trigate keys``, and wait until every process has logged the change."""
        logged = len(self.audit_lines())
        printed = self.keys(*args)
        eventually(lambda: len(self.audit_lines()) == logged + self.processes, what="the change in all processes")
        return printed

    def all_follow(self, name: str) -> bool:
        """Add a client, and return whether every process logs it. A process that has yet to start reads the change
        then and logs nothing."""
        logged = len(self.audit_lines())
        self.keys("add", name)
        with contextlib.suppress(AssertionError):
            eventually(lambda: len(self.audit_lines()) == logged + self.processes, 2)
        return len(self.audit_lines()) == logged + self.processes

    def audit_lines(self) -> list[Any]:
        """Return the log lines about changed keys."""
        log = [line for gateway in self.gateways for line in gateway.log if line.startswith("{")]
        return [line for line in map(json.loads, log) if line["event"] == "keys_changed"]

    def lets_in(self, key: str) -> bool:
        """Return whether every gateway admits ``key``. After too many wrong keys a gateway returns 429."""
        found = [status_of(gateway, key) for gateway in self.gateways for _ in range(2)]
        assert set(found) == {404} or set(found) <= {401, 429}
        return found[0] == 404


def status_of(gateway: Gateway, key: str) -> int:
    """Return the status of a request with ``key`` to an unknown path: 404 if the key is good."""
    return gateway.request("GET", "/nowhere", headers={"authorization": f"Bearer {key}"}).status


def settings(upstream: Any, port: int, storage: dict[str, Any], **more: Any) -> dict[str, Any]:
    return config(
        [provider("openai/up", upstream.url, ["chat", "responses"]), provider("openai/other", upstream.url, ["chat"])],
        port, state_storage=storage, stored_keys=True, **more,
    )  # fmt: skip


@contextlib.contextmanager
def places(
    file: Path, upstream: Any, storage: dict[str, Any], workers: int, gateways: int, awaited: str = "/readyz"
) -> Iterator[Place]:
    with contextlib.ExitStack() as stack:
        found = []
        for _ in range(gateways):
            port = free_port()
            said = settings(upstream, port, storage, client_keys=[{"name": "boss", "key": BOSS}], audit="stderr")
            file.write_text(yaml.safe_dump(said))
            found.append(stack.enter_context(running(said, port, "--workers", str(workers), awaited=awaited)))
        yield Place(tuple(found), file, workers * gateways)


@pytest.fixture(scope="module", params=[pytest.param("sqlite", marks=pytest.mark.soak), "postgres"])
def place(request, tmp_path_factory, upstream, storage) -> Iterator[Place]:
    file = tmp_path_factory.mktemp("keys") / "c.yaml"
    kind = request.param
    with places(file, upstream, storage(kind), *((2, 1) if kind == "sqlite" else (1, 2))) as found:
        numbers = itertools.count()
        eventually(lambda: found.all_follow(f"first-{next(numbers)}"), what="every process follows the keys")
        yield found


def test_a_key_works_within_a_second_and_fails_a_second_after_revocation(place):
    """BerriAI/litellm#20256, #1477: cached keys still worked after they were deleted."""
    key = place.change("add", "ci", "--models", "up")
    assert re.fullmatch(r"sk-trigate-[A-Za-z0-9]{43}", key)
    other = {"model": "other", "messages": [{"role": "user", "content": "Hello"}]}
    assert place.gateways[0].request("POST", "/v1/chat/completions", other, {"x-api-key": key}).status == 403
    assert place.lets_in(key)
    place.change("revoke", "ci")
    assert not place.lets_in(key)
    assert place.lets_in(BOSS)


@needs_feature("responses_websocket")
def test_a_websocket_continues_while_others_get_keys_and_ends_when_its_own_is_revoked(place):
    key = place.change("add", "listener")
    with Client.connect(place.gateways[0].port, headers={"authorization": f"Bearer {key}"}) as client:
        place.change("add", "newcomer")
        assert client.ask("nothing-like-it")[-1]["type"] == "error"
        place.change("revoke", "listener")
        assert client.read_close_code() == 1001


@pytest.mark.parametrize("place", ["postgres"], indirect=True)
def test_known_keys_still_work_while_the_storage_is_unavailable(place, request, tmp_path, upstream):
    storage = yaml.safe_load(place.file.read_text())["state_storage"]
    server = request.getfixturevalue("database_server")
    key = place.change("add", "faithful")
    server.stop()
    try:
        log = place.gateways[0].log
        said = eventually(lambda: [line for line in log if "stored keys cannot be read" in line], 20)
        assert "is unreachable: connection" in said[0], "the log has the driver's reason"
        assert place.lets_in(key)
        assert "is unreachable" in place.keys("revoke", "faithful", status=1)
        with places(tmp_path / "d.yaml", upstream, storage, 1, 1, awaited="/healthz") as late:
            (gateway,) = late.gateways
            assert status_of(gateway, key) == 503, "nobody knows yet whether it is good"
            assert status_of(gateway, BOSS) == 404
            unready = gateway.request("GET", "/readyz")
            assert (unready.status, unready.json) == (503, {"status": "starting", "missing": "stored_keys"})
            server.start()
            eventually(lambda: gateway.request("GET", "/readyz").status == 200, 20)
            assert status_of(gateway, key) == 404, "ready means that stored keys work"
            server.stop()
            eventually(lambda: any("stored keys cannot be read; the last" in line for line in gateway.log), 20)
            assert gateway.request("GET", "/readyz").status == 200, "a process that has read the keys stays ready"
            server.start()
    finally:
        if server.process is None:
            server.start()
    eventually(lambda: all("can be read again" in "".join(gateway.log) for gateway in place.gateways), 20)
    place.change("revoke", "faithful")
    assert not place.lets_in(key)


def test_stored_keys_are_required_and_survive_reload_and_restart(tmp_path, upstream, storage):
    port, file = free_port(), tmp_path / "c.yaml"
    said = settings(upstream, port, storage("sqlite"), audit="stderr")
    file.write_text(yaml.safe_dump(said))
    with running(file, port) as gateway:
        place = Place((gateway,), file)
        assert not place.lets_in("sk-any")
        key = place.change("add", "lasting")
        file.write_text(yaml.safe_dump({**said, "strict": True}))
        os.kill(gateway.pid, signal.SIGHUP)
        eventually(lambda: any("was reloaded" in line for line in gateway.log))
        assert place.lets_in(key)
        said_of_all = "every stored key can read the usage of all clients"
        eventually(lambda: sum(said_of_all in line for line in gateway.log) == 2, what="the warning of the start")
        assert not any("client_keys: lasting" in line for line in gateway.log), "warnings are about the file"
    with gateway_thread(file, port) as gateway:
        assert Place((gateway,), file).lets_in(key)
