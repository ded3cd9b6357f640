"""Listening sockets."""

import errno
import socket

import pytest

from gateway.serving.listeners import BindFailed, bind


def test_a_taken_port_says_so():
    with bind("127.0.0.1", 0) as sock:
        port = sock.getsockname()[1]
        with pytest.raises(BindFailed, match=rf"cannot listen on 127\.0\.0\.1:{port}.*another process listens there"):
            bind("127.0.0.1", port)


@pytest.mark.parametrize(("host", "why"), [("192.0.2.1", "no such address"), ("no-such-host.invalid", "spelling")])
def test_an_address_that_is_not_ours_says_so(host, why):
    with pytest.raises(BindFailed, match=why):
        bind(host, 0)


def test_accepted_connections_inherit_what_keeps_them_alive_and_cuts_them():
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
