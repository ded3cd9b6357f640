"""Tests of web pages that send requests to a gateway without keys: every route except the probes refuses them."""

import contextlib
import fcntl
import json
import mmap
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.access.refused_keys import MOST
from gateway.logs.audit import LINES_PER_ADDRESS
from tests.support.command_line import invoke
from tests.support.each_row import each_row
from tests.support.features import rows_of
from tests.support.gateway_thread import gateway_thread, serve_module
from tests.support.harness import Gateway, Wire, config, eventually, free_port, provider, running
from tests.support.own_log import flush_audit
from tests.support.upstreams import PATHS, Upstream

EVIL = "https://evil.example"


@serve_module
def gateway(upstream):
    return config([provider("openai/up", upstream.url, list(PATHS))], trusted_proxies=["127.0.0.1"])


SIMPLE = (
    *(("POST", path) for path in PATHS.values()), ("POST", "/v1/conversations"),
    ("POST", "/v1/responses/resp_of_the_provider/cancel"), ("POST", "/v1/conversations/conv_1/items"),
    ("GET", "/v1/responses/resp_of_the_provider"),
    *rows_of("model_lists", ("GET", "/v1/models"), ("GET", "/v1//models")), *rows_of("metrics", ("GET", "/metrics")),
)  # fmt: skip


@each_row(("method", "path"), SIMPLE)
def test_forms_images_and_rebound_names_reach_no_route(gateway, upstream, method, path):
    before = len(upstream.seen)
    for headers in (
        {"origin": EVIL, "content-type": "text/plain"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"},
        {"host": "rebound.example:12000", "origin": "http://rebound.example:12000", "sec-fetch-site": "same-origin"},
    ):
        reply = gateway.request(method, path, {} if method == "POST" else None, headers)
        assert reply.status == 403
        assert reply.json["error"]["message"]
        assert not [name for name in reply.headers if name.startswith("access-control-")]
    assert len(upstream.seen) == before
    assert gateway.request("GET", "/readyz?verbose").status == 200


def test_the_line_of_an_exchange_has_the_clients_address(gateway):
    for forwarded, address in ((None, "127.0.0.1"), ("6.6.6.6, 198.51.100.7", "198.51.100.7")):
        headers = {"x-request-id": f"of-{address}", **({"x-forwarded-for": forwarded} if forwarded else {})}
        gateway.request("POST", "/v1/chat/completions", {}, headers)
        lines = eventually(lambda id=f"of-{address}": [text for text in list(gateway.log) if id in text])
        assert json.loads(lines[0])["address"] == address


# Keys and the audit


KEY = "key-of-the-client-0815"
VIEWS = rows_of("live_view", "/ui/events")


@contextlib.contextmanager
def run_with_keys(tmp_path: Path, upstream: Upstream, serve: Callable[..., Any], *args: str) -> Iterator[Gateway]:
    """Run a gateway with a client's key, a key for the live view, an audit, and its configuration in a file."""
    port = free_port()
    settings = config(
        [provider("openai/up", upstream.url, list(PATHS))], port, audit=str(tmp_path / "audit.log"), ui_key=f"{KEY}-ui",
        client_keys=[{"name": "alice", "key": KEY}],
    )  # fmt: skip
    (tmp_path / "trigate.yaml").write_text(yaml.safe_dump(settings))
    with serve(tmp_path / "trigate.yaml", port, *args) as process:
        yield process
    assert "Traceback" not in "\n".join(process.log)


def visit(gateway: Gateway, page: str) -> None:
    with Wire.connect(gateway.port) as viewer:
        viewer.send(f"GET {page} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}-ui\r\n\r\n".encode())
        viewer.read_until(b"event: all")


def audit_lines(path: Path, event: str) -> list[dict[str, Any]]:
    flush_audit()
    return [line for text in path.read_text().splitlines() if (line := json.loads(text))["event"] == event]


@pytest.mark.process
@pytest.mark.parametrize(
    "args", [pytest.param((), marks=pytest.mark.soak), ("--workers", "2")], ids=["alone", "workers"]
)
def test_the_audit_has_start_stop_reloads_keys_and_visits(tmp_path, upstream, args):
    path, before = tmp_path / "audit.log", tmp_path / "audit.log.1"
    with run_with_keys(tmp_path, upstream, running, *args) as gateway:
        assert path.stat().st_mode & 0o777 == 0o600
        for page in VIEWS:
            visit(gateway, page)
        file = tmp_path / "trigate.yaml"
        settings = yaml.safe_load(file.read_text())
        settings["client_keys"] = [{"name": "alice", "key": f"{KEY}-new"}, {"name": "carol", "key": f"{KEY}-carol"}]
        eventually(lambda: len(audit_lines(path, "ui_opened")) == len(VIEWS), what="the visits")
        path.rename(before)
        file.write_text(yaml.safe_dump(settings))
        os.kill(gateway.pid, signal.SIGHUP)
        eventually(lambda: path.exists() and audit_lines(path, "keys_changed"), what="the reload")
        file.write_text("version: [")
        os.kill(gateway.pid, signal.SIGHUP)
        eventually(lambda: audit_lines(path, "reload_refused"), what="the refusal")
    assert [line["clients"] for line in audit_lines(before, "started")] == [["alice"]]
    visits = [(line["by"], line["address"]) for line in audit_lines(before, "ui_opened")]
    assert visits == [("ui_key", "127.0.0.1") for _ in VIEWS]
    changed = audit_lines(path, "keys_changed")
    assert [(line["added"], line["changed"], "removed" in line) for line in changed] == [(["carol"], ["alice"], False)]
    assert [len(audit_lines(path, event)) for event in ("reloaded", "reload_refused", "stopped")] == [1, 1, 1]
    assert KEY not in path.read_text() + before.read_text()


@pytest.mark.process
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can shrink a pipe")
def test_requests_do_not_wait_for_the_reader_of_the_audit(tmp_path, upstream):
    path = tmp_path / "audit.log"
    os.mkfifo(path)
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as reader:
        fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, mmap.PAGESIZE)  # about 20 lines
        with run_with_keys(tmp_path, upstream, running) as gateway:
            for page in VIEWS * 50:
                visit(gateway, page)
            os.set_blocking(reader.fileno(), True)
            lines = [reader.readline() for _ in ("started", *VIEWS * 50)]
        lines += reader.readlines()
    assert [json.loads(line)["event"] for line in lines] == ["started", *["ui_opened" for _ in VIEWS * 50], "stopped"]


def test_an_audit_that_cannot_be_written_is_reported_at_the_start(tmp_path, upstream):
    settings = config([provider("openai/up", upstream.url, ["chat"])], 1, audit=str(tmp_path / "nowhere/audit.log"))
    (tmp_path / "trigate.yaml").write_text(yaml.safe_dump(settings))
    done = invoke("serve", str(tmp_path / "trigate.yaml"))
    assert done.returncode == 1
    assert "nowhere/audit.log: No such file or directory: give a writable file" in done.stderr


def test_guessed_keys_get_429_but_a_valid_key_from_there_works(tmp_path, upstream):
    path = tmp_path / "audit.log"
    asked = [("POST", "/v1/messages"), ("GET", "/nowhere"), *(("GET", page) for page in VIEWS)]
    with run_with_keys(tmp_path, upstream, gateway_thread) as gateway:
        for number in range(MOST):
            guess = {"authorization": f"Bearer guess-{number}"}
            assert gateway.request(*asked[number % len(asked)], None, guess).status == 401
        for one in asked:
            reply = gateway.request(*one, None, {"authorization": "Bearer guess-again"})
            assert reply.status == 429
            assert 1 <= int(reply.headers["retry-after"]) <= 60
            assert reply.headers["connection"] == "close"
        assert gateway.request("GET", "/nowhere", None, {"x-api-key": KEY}).status == 404
    refused = audit_lines(path, "key_refused")
    assert len([line for line in refused if "more" not in line]) == LINES_PER_ADDRESS
    assert {line["address"] for line in refused} == {"127.0.0.1"}
    assert sum(line.get("more", 1) for line in refused) == MOST + len(asked)
    assert len(audit_lines(path, "keys_guessed")) == len(asked)
    assert "guess-" not in path.read_text()
