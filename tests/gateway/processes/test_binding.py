"""Listening sockets."""

import errno
import os
import socket

import pytest
import trio

from gateway.processes.binding import BindFailed, bind, bind_unix, unlink_at_end
from tests.support.asgi_app import Client, eventually, serving


def test_a_taken_port_is_reported():
    with bind("127.0.0.1", 0) as sock:
        port = sock.getsockname()[1]
        owner = rf"another process is listening there \(.+, process {os.getpid()}\)"
        with pytest.raises(BindFailed, match=rf"cannot listen on 127\.0\.0\.1:{port}.*{owner}"):
            bind("127.0.0.1", port)


@pytest.mark.parametrize(
    ("host", "why"), [("192.0.2.1", "not have that address"), ("no-such-host.invalid", "spelling")]
)
def test_an_address_that_is_not_ours_is_reported(host, why):
    with pytest.raises(BindFailed, match=why):
        bind(host, 0)


def test_accepted_connections_inherit_keep_alives_and_timeouts():
    with (
        bind("127.0.0.1", 0, write_timeout=7) as sock,
        socket.create_connection(sock.getsockname()),
        sock.accept()[0] as conn,
    ):
        assert conn.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert conn.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            assert conn.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 7000


def test_the_ipv6_wildcard_takes_ipv4_too():
    try:
        sock = bind("::", 0)
    except BindFailed as error:
        if isinstance(error.__cause__, OSError) and error.__cause__.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
            pytest.skip("this machine has no IPv6")
        raise
    with sock, socket.create_connection(("127.0.0.1", sock.getsockname()[1])):
        assert sock.family == socket.AF_INET6


# Unix sockets


def test_a_unix_socket_file_has_the_configured_mode(tmp_path):
    for mode in (0o600, 0o660, 0o666):
        path = tmp_path / f"{mode:o}.sock"
        with bind_unix(path, mode):
            assert path.stat().st_mode & 0o777 == mode


def test_an_abandoned_socket_is_taken_over(tmp_path):
    path = tmp_path / "gw.sock"
    bind_unix(path, 0o600).close()
    assert path.exists()
    with bind_unix(path, 0o600), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_a_socket_in_use_is_not_replaced(tmp_path):
    path = tmp_path / "gw.sock"
    with bind_unix(path, 0o600), socket.socket(socket.AF_UNIX) as client:
        with pytest.raises(BindFailed, match="another process is listening"):
            bind_unix(path, 0o600)
        client.connect(str(path))


@pytest.mark.parametrize("kind", ["file", "link", "directory"])
def test_a_path_that_is_no_socket_is_not_replaced(tmp_path, kind):
    path, target = tmp_path / "gw.sock", tmp_path / "precious"
    target.write_text("precious")
    {"file": lambda: path.write_text("x"), "link": lambda: path.symlink_to(target), "directory": path.mkdir}[kind]()
    with pytest.raises(BindFailed, match="it is not a socket"):
        bind_unix(path, 0o600)
    assert path.exists()
    assert target.read_text() == "precious"


@pytest.mark.parametrize(("name", "why"), [("no/such/gw.sock", "create its directory"), ("x" * 200, "100 characters")])
def test_a_unix_socket_that_cannot_be_made_is_reported(tmp_path, name, why):
    with pytest.raises(BindFailed, match=why):
        bind_unix(tmp_path / name, 0o600)


def test_the_file_goes_in_the_end_unless_it_is_anothers_by_then(tmp_path):
    path = tmp_path / "gw.sock"
    with bind_unix(path, 0o600) as sock, unlink_at_end(sock):
        pass
    assert not path.exists()
    with bind_unix(path, 0o600) as sock, unlink_at_end(sock):
        path.rename(tmp_path / "old.sock")
        path.write_text("another's")
    assert path.exists()


async def test_a_client_on_a_unix_socket_is_served_and_has_no_address(tmp_path):
    path = tmp_path / "gw.sock"
    async with serving(sock=bind_unix(path, 0o600)) as server:
        with trio.socket.socket(socket.AF_UNIX) as sock:
            await sock.connect(str(path))
            client = Client(sock)
            for _ in range(2):
                await client.get("/whole")
                await client.until(b"whole")
            assert server.witness.clients == [None, None]
            await client.get("/stream")
            await client.until(b"first;")
        await eventually(lambda: server.witness.closed == [False, False, True] and not server.lifecycle.connections)


async def test_a_client_on_a_unix_socket_that_takes_nothing_is_cut(tmp_path):
    """TCP_USER_TIMEOUT closes other connections in this way."""
    async with serving(sock=bind_unix(tmp_path / "gw.sock", 0o600), write_timeout=0.2) as server:
        with trio.socket.socket(socket.AF_UNIX) as sock:
            await sock.connect(str(tmp_path / "gw.sock"))
            await Client(sock).get("/flood")
            await eventually(lambda: server.witness.closed == [True] and not server.lifecycle.connections)
