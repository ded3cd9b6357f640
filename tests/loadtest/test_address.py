"""Addresses of servers, and the turns that connections take among them."""

import errno
import os
import socket
from collections import Counter

import pytest

from loadtest.wire.address import AddressRotation, ServerAddress
from loadtest.wire.answers import WireError, connect_error
from tests.support.cases import case

V4 = [(int(socket.AF_INET), (f"10.0.0.{number}", 80)) for number in range(1, 4)]
V6 = [(int(socket.AF_INET6), ("::1", 80, 0, 0))]


def test_connections_take_turns_among_the_addresses_of_a_name():
    turns = AddressRotation((*V4, *V6))
    tried = [list(turns) for _ in range(300)]
    assert Counter(first[0] for first in tried) == dict.fromkeys(V4, 100)
    assert all(len(set(order)) == 4 and order[-1] == V6[0] for order in tried)  # the others stay as a way out


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
        await ServerAddress.resolve("http://no..name")
    assert caught.value.fault == "dns"
    assert connect_error(None).fault == "unreachable"
