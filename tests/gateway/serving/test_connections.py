"""Connections that fail, or are one too many; over real sockets."""

from gateway.serving import connections
from tests.support.asgi_app import eventually, serving


async def test_a_connection_that_fails_leaves_the_others_alone(monkeypatch, caplog):
    async with serving() as server, server.connect() as streaming:
        await streaming.get("/stream")
        await streaming.until(b"first;")

        def fail(*_) -> None:
            raise RuntimeError("a mistake of ours")

        with monkeypatch.context() as patch:
            patch.setattr(connections, "ConnectionContext", fail)
            async with server.connect() as client:
                assert await client.rest() == b""
        await eventually(lambda: "a mistake of ours" in caplog.text)
        await server.witness.feed.send(b"alive;")
        await streaming.until(b"alive;")
        assert b"whole" in await server.get("/whole")
        await eventually(lambda: len(server.lifecycle.connections) == 1)


async def test_connections_that_are_turned_away_leave_nothing_behind():
    async with serving() as server, server.connect() as client:
        await client.get("/whole")
        await client.until(b"whole")
        server.lifecycle.most_connections = 1
        for _ in range(3):
            assert b"503" in await server.get("/whole")
        assert len(server.lifecycle.connections) == 1
