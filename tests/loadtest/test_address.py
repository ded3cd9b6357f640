"""The addresses of servers, and the errors of connections that fail."""

import errno
import os

import pytest

from loadtest.wire.connecting import ServerAddress, WireError, connect_error
from tests.support.cases import case


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
