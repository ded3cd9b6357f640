"""Tests of listeners in real processes: certificates, Unix sockets, and addresses that other machines can reach."""

import contextlib
import http.client
import signal
import socket
import ssl
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.certificates import LOOPBACK, Authority
from tests.support.command_line import Started, invoke, run, running_command
from tests.support.each_row import each_row
from tests.support.features import needs_feature, rows_of
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import Wire, eventually, free_port, request
from tests.support.websocket_client import Client, handshake

PROVIDER = {"model": "openai/m", "access_key": "k", "base_url": "http://127.0.0.1:9"}


def write(folder: Path, *listeners: dict[str, Any], **more: Any) -> Path:
    path = folder / "trigate.yaml"
    path.write_text(
        yaml.safe_dump({"version": "v0.3.0", "listeners": list(listeners), "model_providers": [PROVIDER], **more})
    )
    return path


@contextlib.contextmanager
def asking(port: int, context: ssl.SSLContext) -> Iterator[http.client.HTTPSConnection]:
    with contextlib.closing(http.client.HTTPSConnection("localhost", port, context=context, timeout=10)) as connection:
        connection.connect()
        yield connection


def serial(connection: http.client.HTTPSConnection) -> Any:
    return connection.sock.getpeercert()["serialNumber"]


def status(connection: http.client.HTTPConnection, path: str = "/healthz") -> int:
    connection.request("GET", path)
    answer = connection.getresponse()
    answer.read()
    return answer.status


def wait_for_log(process: Started, text: str) -> None:
    eventually(lambda: any(text in line for line in process.log), what=text)


@pytest.mark.process
@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.soak), 2])
def test_a_reload_applies_a_renewed_certificate_but_no_invalid_one(tmp_path, workers):
    authority, port, plain = Authority(tmp_path), free_port(), free_port()
    pair = authority.pair("localhost", *LOOPBACK)
    tls = {"certificate": str(pair.certificate), "key": str(pair.key)}
    write(tmp_path, {"port": plain}, {"name": "secure", "port": port, "tls": tls})
    context = authority.client()
    with running_command("serve", "--workers", str(workers), cwd=tmp_path) as process:
        assert f"https://127.0.0.1:{port}" in process.banner
        with asking(port, context) as old:
            first = serial(old)
            assert status(old) == 200
            good, other = pair.certificate.read_bytes(), authority.pair("other")
            pair.certificate.write_bytes(other.certificate.read_bytes())
            process.process.send_signal(signal.SIGHUP)
            wait_for_log(process, "the key does not belong to the certificate")
            with asking(port, context) as same:
                assert serial(same) == first
            pair.certificate.write_bytes(good)
            authority.pair("localhost", *LOOPBACK)
            process.process.send_signal(signal.SIGHUP)
            for _ in range(4):

                def has_new_certificate() -> bool:
                    with asking(port, context) as new:
                        return bool(serial(new) != first)

                eventually(has_new_certificate, what="the new certificate")
            assert status(old) == 200
        assert process.stop() == 0


@pytest.mark.process
def test_a_unix_socket_exists_while_the_gateway_runs(tmp_path):
    path = tmp_path / "gw.sock"
    write(tmp_path, {"port": free_port()}, {"name": "local", "socket": str(path), "mode": "0660"})
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    with running_command("serve", "--workers", "2", cwd=tmp_path) as process:
        assert f"unix:{path}" in process.banner
        assert path.stat().st_mode & 0o777 == 0o660
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            client.sendall(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            assert client.recv(65536).startswith(b"HTTP/1.1 200 ")
        second = invoke("serve", cwd=tmp_path)
        assert second.returncode == 1
        assert "another process is listening there" in second.stderr
        assert path.exists()
        assert process.stop() == 0
    assert not path.exists()


@pytest.mark.process
@pytest.mark.parametrize("args", [[], pytest.param(["--host", "0.0.0.0"], marks=pytest.mark.soak)], ids=" ".join)
def test_without_keys_serve_refuses_other_machines_and_lists_remedies(tmp_path, args):
    address = "127.0.0.1" if "--host" in args else "0.0.0.0"
    write(tmp_path, {"address": address, "port": free_port()})
    found = run("serve", *args, cwd=tmp_path)
    assert found.returncode == 1
    assert found.stdout == ""
    (line,) = found.stderr.splitlines()
    for words in ("0.0.0.0:", "client_keys", "tls.client_ca", "127.0.0.1", "open: true", "--open"):
        assert words in line
    if not args:
        for options in ((), ("--no-env",)):
            checked = invoke("check", *options, cwd=tmp_path)
            assert (checked.returncode, checked.stderr) == (1, found.stderr)
        assert invoke("check", "--open", cwd=tmp_path).returncode == 0


@pytest.mark.process
@pytest.mark.parametrize("how", [pytest.param("--open", marks=pytest.mark.soak), "client_ca"])
def test_serve_listens_for_other_machines_if_clients_authenticate(tmp_path, how):
    authority, port = Authority(tmp_path), free_port()
    pair = authority.pair("localhost", *LOOPBACK)
    tls = {"certificate": str(pair.certificate), "key": str(pair.key), "client_ca": str(authority.root)}
    listener: dict[str, Any] = {"name": "wide", "address": "0.0.0.0", "port": port}
    listener |= {"tls": tls} if how == "client_ca" else {}
    write(tmp_path, {"port": free_port()}, listener)
    with running_command("serve", *(["--open"] if how == "--open" else []), cwd=tmp_path) as process:
        assert f":{port} (and all other addresses" in process.banner


@pytest.mark.process
def test_a_reload_does_not_open_the_gateway_to_other_machines(tmp_path):
    listener = {"address": "0.0.0.0", "port": free_port()}
    write(tmp_path, listener, client_keys=[{"name": "a", "key": "k" * 20}])
    with running_command("serve", cwd=tmp_path) as process:
        write(tmp_path, listener)
        process.process.send_signal(signal.SIGHUP)
        wait_for_log(process, "not reloaded")
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", listener["port"], timeout=10)) as client:
            assert status(client, "/nowhere") == 401


def test_check_reads_certificates_and_warns_before_they_expire(tmp_path):
    authority = Authority(tmp_path)
    soon, other = authority.pair("soon", days=3), authority.pair("other")
    for key, code, words in ((soon.key, 0, "expires on"), (other.key, 1, "does not belong to the certificate")):
        write(tmp_path, {"tls": {"certificate": str(soon.certificate), "key": str(key)}})
        found = invoke("check", cwd=tmp_path)
        assert found.returncode == code
        assert words in found.stderr
    assert invoke("check", "--no-env", cwd=tmp_path).returncode == 0


SERVED = {
    "/v1/responses/resp_1": "models", **dict(rows_of("admin", ("/admin/keys", "admin"), ("/me", "models"))),
    **dict(rows_of("model_lists", ("/v1/models", "models"))),
    **dict(rows_of("live_view", ("/ui", "pages"))), **dict(rows_of("metrics", ("/metrics", "metrics"))),
    "/healthz": "", "/nowhere": "",
}  # fmt: skip
"""The use of each path; every listener serves a path without a use."""
USES = (["models"], ["admin", "metrics"], ["pages"])


@pytest.fixture(scope="module")
def ports() -> Iterator[list[int]]:
    """Run a gateway with a listener for each of ``USES`` and one for some networks, and return the ports."""
    listeners = [{"name": "-".join(uses), "port": free_port(), "serves": uses} for uses in USES]
    listeners.append({"name": "near", "port": free_port(), "allow": ["10.0.0.0/8", "2001:db8::/32"]})
    settings = {"version": "v0.4.0", "listeners": listeners, "model_providers": [PROVIDER]}
    with gateway_thread({**settings, "trusted_proxies": ["127.0.0.1"]}) as gateway:
        yield [gateway.port, *(one["port"] for one in listeners[1:])]


@each_row(("at", "path"), product(range(len(USES)), SERVED))
def test_a_listener_serves_only_the_uses_in_its_list(ports, at, path):
    reply = request(f"http://127.0.0.1:{ports[at]}", "GET", path)
    is_refused = b"serves only" in reply.body
    assert is_refused is (SERVED[path] not in (*USES[at], "") and not (path == "/me" and at == 1))
    assert reply.status == 404 or not is_refused


@needs_feature("responses_websocket")
@each_row("path", ["/v1/responses", "/responses/", "//v1/responses/"])
def test_a_listener_without_models_refuses_websockets(ports, path):
    Client.connect(ports[0]).wire.close()
    with contextlib.closing(Wire.connect(ports[1])) as wire:
        wire.send(handshake(path))
        assert wire.read_until(b"\r\n").startswith(b"HTTP/1.1 404 ")


@each_row(
    ("forwarded", "is_allowed"),
    [("10.1.2.3", True), ("2001:db8::1", True), ("::ffff:10.9.9.9", True), ("192.0.2.1", False), (None, False),
     ("10.1.2.3, 192.0.2.1", False), ("not-an-address", False)],
)  # fmt: skip
def test_a_listener_accepts_only_the_networks_that_it_allows(ports, forwarded, is_allowed):
    headers = {"x-forwarded-for": forwarded} if forwarded else {}
    for path in ("/v1/models", "/healthz", "/nowhere"):
        reply = request(f"http://127.0.0.1:{ports[-1]}", "GET", path, None, headers)
        assert (reply.status == 403, b"accepts no requests from" in reply.body) == (not is_allowed,) * 2
