"""Addresses of servers, and the turns that connections take among them."""

import errno
import os
import socket
from collections import Counter

import pytest
import trio

from loadtest.wire.address import AddressRotation, ServerAddress, look_up
from loadtest.wire.answers import WireError, connect_error
from loadtest.wire.connections import ConnectionRules, Connections
from tests.support.cases import case

V4 = [(int(socket.AF_INET), (f"10.0.0.{number}", 80)) for number in range(1, 4)]
V6 = [(int(socket.AF_INET6), ("::1", 80, 0, 0))]


def test_connections_take_turns_among_the_addresses_of_a_name():
    turns = AddressRotation((*V4, *V6))
    tried = [list(turns) for _ in range(300)]
    assert Counter(first[0] for first in tried) == dict.fromkeys(V4, 100)
    assert all(len(set(order)) == 4 and order[-1] == V6[0] for order in tried)  # the others stay as a way out


def test_turns_continue_where_they_were_unless_the_addresses_have_changed():
    turns = AddressRotation(tuple(V4))
    next(iter(turns))
    turns.renew(tuple(V4))
    assert next(iter(turns)) == V4[1]
    turns.renew((V4[2],))
    assert list(turns) == [V4[2]]
    turns.renew(())
    assert list(turns) == []


class Names(trio.abc.HostnameResolver):
    """A name server that gives one address after the other."""

    def __init__(self, *addresses: tuple[str, int]) -> None:
        self._addresses = list(addresses)
        self.asked = 0

    async def getaddrinfo(self, host, port, family=0, type=0, proto=0, flags=0):
        self.asked += 1
        address = self._addresses[min(self.asked, len(self._addresses)) - 1]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address)]

    async def getnameinfo(self, sockaddr, flags):
        raise NotImplementedError


async def test_the_name_is_looked_up_again_when_its_time_is_over(autojump_clock):
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        names = Names(one.getsockname(), two.getsockname())
        trio.socket.set_custom_hostname_resolver(names)
        address = await ServerAddress.resolve("http://models.test")
        for rules, asked, peer in ((ConnectionRules(), 1, one), (ConnectionRules(dns_ttl=30), 2, two)):
            connections = Connections(address, None, rules)
            await trio.sleep(31)
            transports = [await connections.new_transport() for _ in range(2)]
            assert names.asked == asked
            assert transports[0].peer == peer.getsockname(), rules
            for transport in transports:
                transport.close()


def test_a_failed_connection_reports_the_cause():
    for number, fault in [
        (errno.ECONNREFUSED, "refused"),
        (errno.EADDRNOTAVAIL, "no port"),
        (errno.EMFILE, "too many files"),
        (errno.ENETUNREACH, "unreachable"),
    ]:
        with case((number, fault)):
            error = connect_error(OSError(number, os.strerror(number)))
            assert error.fault == fault
            assert error.detail


async def test_a_name_without_an_address_is_reported():
    with pytest.raises(WireError) as caught:
        await look_up("no..name", 80)
    assert caught.value.fault == "dns"
    assert connect_error(None).fault == "unreachable"
