"""Response bodies from a channel."""

import pytest
import trio

from gateway.http.response import MAX_WRITE, ChannelBody, Truncated


async def test_one_write_takes_everything_in_the_queue():
    send, receive = trio.open_memory_channel[bytes](10)
    body = ChannelBody(receive)
    for part in (b"a", b"b", b"c"):
        await send.send(part)
    async with body as parts:
        assert await anext(parts) == b"abc"
        await send.send(b"d")
        send.close()
        assert [part async for part in parts] == [b"d"]


async def test_a_write_is_bounded():
    send, receive = trio.open_memory_channel[bytes](10)
    for _ in range(10):
        await send.send(b"x" * (MAX_WRITE // 4))
    send.close()
    assert [len(part) async for part in ChannelBody(receive)] == [MAX_WRITE, MAX_WRITE, MAX_WRITE // 2]


async def test_a_truncated_body_returns_queued_bytes_and_then_raises():
    send, receive = trio.open_memory_channel[bytes](10)
    body = ChannelBody(receive)
    await send.send(b"a")
    body.cut()
    send.close()
    assert await anext(body) == b"a"
    with pytest.raises(Truncated):
        await anext(body)


async def test_the_producer_is_notified_when_the_body_is_closed():
    send, receive = trio.open_memory_channel[bytes](0)
    async with ChannelBody(receive):
        pass
    with pytest.raises(trio.BrokenResourceError):
        await send.send(b"a")
