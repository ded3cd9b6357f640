"""The way from HTTP/1.1 to a websocket, over real sockets."""

import contextlib

import pytest

from tests.support.asgi_app import eventually, serving

UPGRADE = (
    b"GET /whole HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
    b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


async def test_a_handshake_that_is_not_valid_ends_its_connection():
    async with serving(keep_alive=60) as server, server.connect() as client:
        await client.send(b"GET /whole HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
        answer = await client.rest()
        assert answer.startswith(b"HTTP/1.1 400")
        assert b"connection: close" in answer.lower()
        await eventually(lambda: not server.lifecycle.connections)


@pytest.mark.parametrize("pause", [False, True])
async def test_bytes_right_behind_a_websocket_upgrade_are_refused(pause, caplog):
    async with serving() as server:
        for _ in range(20):
            async with server.connect() as client:
                await client.send(UPGRADE if pause else UPGRADE + b"too early")
                if pause:
                    await client.until(b"\r\n\r\n")
                    with contextlib.suppress(OSError):  # the server may have closed by now
                        await client.send(b"too early")
                await client.rest()
        await eventually(lambda: not server.lifecycle.connections)
        assert "Traceback" not in caplog.text
