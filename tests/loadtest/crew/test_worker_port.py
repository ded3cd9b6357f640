"""The port on which another machine's load test gets processes of this one."""

import contextlib
from collections.abc import AsyncIterator
from functools import partial

import pytest
import trio

import gateway
from loadtest.crew.channel import MessageChannel
from loadtest.crew.children import child
from loadtest.crew.handshake import Commander
from loadtest.crew.members import NoCrew, crew
from loadtest.crew.messages import Begin, Challenge, Halt, Introduction, Order, SentAway, Welcome
from loadtest.crew.worker_port import STRANGERS, WorkerPort

SECRET = "a secret of some length"


@contextlib.asynccontextmanager
async def listening(
    secret: str | None = None, version: str = gateway.__version__
) -> AsyncIterator[tuple[str, trio.MemoryReceiveChannel]]:
    """A port whose processes say what they are told; its address, and what it tells."""
    tell, told = trio.open_memory_channel[str](100)
    port = WorkerPort(version, secret, tell.send_nowait, ["cat"])
    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, port.serve, 0, host="127.0.0.1"))
        yield f"127.0.0.1:{listener.socket.getsockname()[1]}", told
        nursery.cancel_scope.cancel()


async def echoed(member, order) -> None:
    """What is said to ``cat`` comes back."""
    back: MessageChannel = MessageChannel(member.channel.reader, member.channel.writer, Order)
    await member.order(order)
    assert await back.receive() == order


@pytest.mark.process
async def test_each_connection_has_a_process_of_its_own():
    for secret in (None, SECRET):
        async with listening(secret) as (address, told):
            with trio.fail_after(10):
                async with crew(2, [address], secret) as members:
                    assert [member.name for member in members] == [f"{address} process 1", f"{address} process 2"]
                    await echoed(members[0], Begin(1.5))
                    await echoed(members[1], Halt("x" * 10**4))
                assert [await told.receive(), await told.receive()] == ["at work", "free again"]
                async with crew(1, [address], secret) as members:  # the next may come
                    await echoed(members[0], Begin(1.5))


@pytest.mark.process
async def test_it_works_for_one_at_a_time_and_tells_the_next():
    async with listening() as (address, told), crew(1, [address]):
        with pytest.raises(NoCrew, match=f"{address}: it works for another since .*: one at a time"):
            async with crew(1, [address]):
                pass
        assert await told.receive() == "at work"
        assert (await told.receive()).startswith("sent away: it works for another")


async def test_those_that_do_not_belong_together_are_told_why():
    async with listening(SECRET) as (address, _), listening(None, "0.0") as (other, _):
        for given, secret, why in (
            (address, None, "--secret-env"),
            (address, "another", "the secret is another"),
            (other, None, f"it is trigate 0.0, and this is {gateway.__version__}"),
            (other.replace(":", ":1"), None, "no worker there"),
            ("127.0.0.1:x", None, "no worker there"),
        ):
            with pytest.raises(NoCrew, match=why):
                async with crew(1, [given], secret):
                    pass


async def test_nobody_who_has_not_proved_it_gets_a_process():
    """A program that skips the proof, one that speaks another protocol, one that proves an earlier connection's."""
    async with listening(SECRET) as (address, told):
        host, port = address.split(":")
        for said in ("nothing", "http", "replayed"):
            async with await trio.open_tcp_stream(host, int(port)) as stream:
                channel: MessageChannel = MessageChannel(stream, stream, Challenge | Welcome | SentAway)
                challenge = await channel.receive()
                if said == "http":
                    await stream.send_all(b"POST / HTTP/1.1\r\nhost: a\r\n\r\n")
                    assert await stream.receive_some() == b""
                    continue
                if said == "replayed":
                    earlier = Challenge(challenge.version, b"\0" * 32, True)
                    await channel.send(Commander(challenge.version, "c", SECRET).introduction(earlier))
                else:
                    await channel.send(Introduction(challenge.version, "c", b"\0" * 32, b""))
                assert await channel.receive() == SentAway("the secret is another")
        assert [await told.receive(), await told.receive()] == ["sent away: the secret is another"] * 2


@pytest.mark.process
async def test_those_who_say_nothing_keep_nobody_out(monkeypatch):
    monkeypatch.setattr("loadtest.crew.worker_port.FIRST_WORD", 0.2)
    async with listening(SECRET) as (address, _), contextlib.AsyncExitStack() as stack:
        host, port = address.split(":")
        silent = [
            await stack.enter_async_context(await trio.open_tcp_stream(host, int(port))) for _ in range(3 * STRANGERS)
        ]
        with trio.fail_after(10):
            async with crew(1, [address], SECRET) as (member,):
                await echoed(member, Begin(1.5))
            for stream in silent:  # the first are sent away for the last, those when their time is up
                while await stream.receive_some():
                    continue


@pytest.mark.process
async def test_a_process_that_takes_no_notice_of_its_end_is_killed(monkeypatch):
    monkeypatch.setattr("loadtest.crew.children.PATIENCE", 0.05)
    async with child(["sleep", "1000"]) as process:
        pass
    assert process.returncode == -9
