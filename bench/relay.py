"""The bare relay of a measurement: connects clients to the provider and copies bytes, on trio, without reading them.

    python bench/relay.py PORT PROVIDER

A gateway on trio makes the same waits and system calls for each event, so its events cannot cost less.
"""

import sys

import trio


async def copy(source: trio.SocketStream, target: trio.SocketStream) -> None:
    async for data in source:
        await target.send_all(data)
    await target.send_eof()


async def relay(client: trio.SocketStream, provider: int) -> None:
    """Relay one connection until either side closes it."""
    try:
        upstream = await trio.open_tcp_stream("127.0.0.1", provider)
        async with client, upstream, trio.open_nursery() as nursery:
            nursery.start_soon(copy, client, upstream)
            await copy(upstream, client)
            nursery.cancel_scope.cancel()
    except* (OSError, trio.BrokenResourceError):
        pass


async def main(port: int, provider: int) -> None:
    await trio.serve_tcp(lambda client: relay(client, provider), port, host="127.0.0.1")


if __name__ == "__main__":
    trio.run(main, *map(int, sys.argv[1:]))
