"""The messages between the processes of one load."""

import msgspec
import pytest
import trio
import trio.testing

from loadtest.crew.channel import MessageChannel, PeerGone
from loadtest.crew.messages import (
    SHORT,
    Begin,
    ClockQuestion,
    Halt,
    Introduction,
    NotAMessage,
    Order,
    PacketSplitter,
    Prepare,
    SentFile,
    packet,
)

MESSAGES = (
    ClockQuestion(3),
    Prepare({"a": (1.5, None)}, "b", "sk-1", 1, 4, "records", True, [SentFile("f", "", b"\x00")]),
    Begin(12.25),
    Halt("Ctrl-C"),
)


def test_messages_arrive_however_they_are_cut():
    data = b"".join(map(packet, MESSAGES))
    for size in (1, 3, 7, len(data)):
        splitter = PacketSplitter()
        found = [one for at in range(0, len(data), size) for one in splitter.feed(data[at : at + size])]
        assert [msgspec.msgpack.decode(one, type=Order) for one in found] == [
            msgspec.msgpack.decode(packet(message)[4:], type=Order) for message in MESSAGES
        ], size
        assert splitter.rest == b""


def test_another_protocol_is_known_by_its_first_bytes():
    """A browser can be made to post to a port of this machine."""
    for said in (b"POST / HTTP/1.1\r\n", b"\x16\x03\x01\x02\x00\x01", packet(Halt("a" * SHORT))):
        with pytest.raises(NotAMessage):
            PacketSplitter(SHORT).feed(said)


async def test_messages_between_two_ends():
    near, far = trio.testing.memory_stream_pair()
    here: MessageChannel = MessageChannel(near, near, Order)
    there: MessageChannel = MessageChannel(far, far, Order)
    for message in MESSAGES:
        await here.send(message)
    assert await there.receive() == MESSAGES[0]
    assert there.unread == b"".join(map(packet, MESSAGES[1:]))
    await here.send(Introduction("1", "c", b"", b""))
    await here.aclose()
    for _ in MESSAGES[1:]:
        await there.receive()
    with pytest.raises(NotAMessage):
        await there.receive()
    with pytest.raises(PeerGone):
        await there.receive()
    with pytest.raises(PeerGone):
        await here.send(Halt(""))
