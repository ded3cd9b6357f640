"""Closes with codes that were registered after RFC 6455, in the bytes of their frames."""

import pytest
from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection, Event, TextMessage

from gateway.websockets.frames import BAD_GATEWAY, RegisteredCodes
from tests.support.each_row import each_row


def server_close(code: int, reason: bytes = b"") -> bytes:
    """Return a close frame of a server."""
    return bytes((0x88, 2 + len(reason))) + code.to_bytes(2) + reason


def client_close(code: int, reason: bytes = b"") -> bytes:
    """Return a close frame of a client."""
    mask, payload = b"\x01\x02\x03\x04", code.to_bytes(2) + reason
    hidden = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
    return bytes((0x88, 0x80 | len(payload))) + mask + hidden


def read(kind: ConnectionType, data: bytes, size: int) -> list[Event]:
    codes = RegisteredCodes()
    connection, found = Connection(kind, [codes]), []
    for at in range(0, len(data), size):
        connection.receive_data(data[at : at + size])
        found += [codes.original_of(one) if isinstance(one, CloseConnection) else one for one in connection.events()]
    return found


@each_row("size", [1, 3, 1000])
@each_row("code", [1000, 1012, 1013, BAD_GATEWAY, 3000])
def test_a_close_is_read_with_the_code_that_it_has(code, size):
    for kind, write in ((ConnectionType.CLIENT, server_close), (ConnectionType.SERVER, client_close)):
        assert read(kind, write(code, b"why"), size) == [CloseConnection(code, "why")]
        (bare,) = read(kind, write(code), size)
        assert isinstance(bare, CloseConnection)
        assert (int(bare.code), bare.reason or "") == (code, "")


@pytest.mark.parametrize("size", [1, 1000])
def test_messages_that_begin_with_the_bytes_of_a_code_stay_unchanged(size):
    text = BAD_GATEWAY.to_bytes(2)
    data = b"\x82\x02" + text + b"\x89\x02" + text + server_close(1000)
    message, *_, close = read(ConnectionType.CLIENT, data, 1000 if size > 1 else 4)
    assert getattr(message, "data", None) == text
    assert close == CloseConnection(1000, "")
    hello = read(ConnectionType.CLIENT, b"\x81\x02hi", size)
    assert "".join(one.data for one in hello if isinstance(one, TextMessage)) == "hi"


def test_an_unregistered_close_code_is_the_senders_mistake():
    for code in (1004, 1015, 1016, 2999):
        (found,) = read(ConnectionType.CLIENT, server_close(code), 1000)
        assert isinstance(found, CloseConnection)
        assert int(found.code) == 1002


def test_a_close_with_that_code_is_answered_with_it():
    codes = RegisteredCodes()
    connection = Connection(ConnectionType.SERVER, [codes])
    connection.receive_data(client_close(BAD_GATEWAY, b"why"))
    (close,) = connection.events()
    assert isinstance(close, CloseConnection)
    assert connection.send(codes.original_of(close).response()) == server_close(BAD_GATEWAY, b"why")
