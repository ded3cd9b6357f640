"""The soak: a real gateway between clients that leave, stall and pipeline and a provider that dies, stalls and errs.

    python tests/soak.py --seconds 60 --streams 200 --concurrent 1000

Reports what happened, then asserts that nothing was left of it: file descriptors, connections to the provider and
memory are back where they were, every request has one ledger line at most and every answered one exactly one, no failed
answer looked complete and no good one broken. What the provider does is asked for in the request's text, so that the
client knows what to expect.
"""

import argparse
import contextlib
import json
import os
import random
import re
import resource
import socket
import statistics
import struct
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import trio

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]  # as a command

from harness import Gateway, config, free_port, post, provider, running  # noqa: E402
from upstreams import PATHS, Script, event, render  # noqa: E402

MODELS = {"on-chat": "chat", "on-messages": "messages"}
SUCCESS = (b"[DONE]", b"message_stop", b'"response.completed"')
TEXT = "one two three " * 50
SILENCE = 1.0  # seconds of the provider's silence that the gateway bears here
GAP = 0.5  # seconds between the events of a paced stream
STARTS = 125  # paced streams that begin in a second
STAMP = re.compile(rb"@(\d+\.\d{6})@")
STAMP_SIZE = 24  # bytes at most
PATIENCE = 30.0
MEMORY = 32  # MiB that the gateway may have grown by

# The provider


class Provider:
    """Does what the request's text says. A paced stream has so many ``events``."""

    def __init__(self) -> None:
        self.events = 0
        self.connections = 0
        self.played: Counter[str] = Counter()

    async def serve(self, stream: trio.SocketStream) -> None:
        self.connections += 1
        try:
            async with stream:
                wire = Wire(stream)
                while (request := await wire.request()) is not None and await self._play(stream, *request):
                    pass
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            self.connections -= 1

    async def _play(self, stream: trio.SocketStream, path: str, body: dict[str, Any]) -> bool:
        """Whether the connection can be used again."""
        api = next(api for api, known in PATHS.items() if known == path)
        act = words(body)
        self.played[act] += 1
        if act == "stall-early":
            await stream.receive_some()
            return False
        if act == "refuse":
            await stream.send_all(b"HTTP/1.1 529 Busy\r\ncontent-length: 0\r\n\r\n")
            return True
        if not body.get("stream"):
            (answer,) = render(Script(text=TEXT), api, {"model": "up"}).pieces
            head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(answer)
            return await self._say(stream, act, [head, answer[:100], answer[100:]], b"")
        pieces = (
            paced(api, self.events)
            if act == "paced"
            else render(Script(text=TEXT), api, {"stream": True, "model": "up"}).pieces
        )
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        return await self._say(stream, act, [head, *pieces], b"0\r\n\r\n")

    async def _say(self, stream: trio.SocketStream, act: str, pieces: list[bytes], end: bytes) -> bool:
        head, *pieces = pieces
        await stream.send_all(head)
        keep = len(pieces) // 2 if act in ("cut", "reset", "stall") else len(pieces)
        for piece in pieces[:keep]:
            if act == "paced" and b"AT" in piece:
                await trio.sleep(GAP)
                piece = piece.replace(b"AT", b"@%.6f@" % time.monotonic())
            elif act == "slow":
                await trio.sleep(random.uniform(0, 0.05))
            await stream.send_all(b"%x\r\n%b\r\n" % (len(piece), piece) if end else piece)
        if act == "stall":
            await stream.receive_some()
        if act == "reset":
            reset(stream.socket)
        if keep < len(pieces):
            return False
        await stream.send_all(end)
        return True


def words(body: dict[str, Any]) -> str:
    """The text of a request's only turn, in whatever API."""
    said = (body.get("input") or body["messages"])[0]["content"]
    return str(said if isinstance(said, str) else said[0]["text"])


def paced(api: str, events: int) -> list[bytes]:
    """A stream of ``events`` pieces of text, each with ``AT`` for the time at which it is sent."""
    first, *rest = render(Script(text="AT"), api, {"stream": True, "model": "up"}).pieces
    at = next(i for i, piece in enumerate(rest) if b"AT" in piece or b'"A"' in piece)
    text = {"chat": chat_piece, "messages": messages_piece}[api]
    after = next(i for i in range(at, len(rest)) if not any(mark in rest[i] for mark in (b'"A"', b'"T"', b"AT")))
    return [first, *rest[:at], *[text()] * events, *rest[after:]]


def chat_piece() -> bytes:
    chunk = {"id": "chatcmpl-up1", "object": "chat.completion.chunk", "created": 1700000000, "model": "up"}
    return b"data: %b\n\n" % json.dumps({**chunk, "choices": [{"index": 0, "delta": {"content": "AT"}}]}).encode()


def messages_piece() -> bytes:
    delta = {"type": "text_delta", "text": "AT"}
    return event("content_block_delta", {"type": "content_block_delta", "index": 0, "delta": delta})


# The wire, from either side


def reset(sock: Any) -> None:
    """Close with an RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


class Cut(Exception):
    """The other side closed inside a message."""


class Wire:
    """HTTP/1.1 messages out of a stream. ``heard`` is called with every read."""

    def __init__(self, stream: trio.SocketStream, heard: Callable[[bytes], object] = lambda _: None) -> None:
        self._stream = stream
        self._heard = heard
        self.buffer = bytearray()

    async def more(self) -> None:
        data = await self._stream.receive_some(65536)
        if not data:
            raise Cut
        self._heard(data)
        self.buffer += data

    async def until(self, mark: bytes) -> bytes:
        while (at := self.buffer.find(mark)) < 0:
            await self.more()
        return self.take(at + len(mark))

    async def exactly(self, size: int) -> bytes:
        while len(self.buffer) < size:
            await self.more()
        return self.take(size)

    def take(self, size: int) -> bytes:
        data = bytes(self.buffer[:size])
        del self.buffer[:size]
        return data

    async def request(self) -> tuple[str, dict[str, Any]] | None:
        """The next request's path and body; ``None`` at the end of the connection."""
        try:
            head = await self.until(b"\r\n\r\n")
            body = await self.exactly(length(head) or 0)
        except Cut:
            return None
        return head.split(b" ")[1].decode(), json.loads(body)

    async def response(self) -> tuple[int, bytes]:
        """The next response's status and body. Raises ``Cut``."""
        head = await self.until(b"\r\n\r\n")
        status = int(head.split(b" ")[1])
        if (size := length(head)) is not None:
            return status, await self.exactly(size)
        parts = []
        while size := int(await self.until(b"\r\n"), 16):
            parts.append((await self.exactly(size + 2))[:-2])
        await self.until(b"\r\n")
        return status, b"".join(parts)


def length(head: bytes) -> int | None:
    return next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), None)


# The clients


@attrs.define
class Tally:
    """What happened. ``wrong`` holds what must not have."""

    clients: Counter[str] = attrs.field(factory=Counter)
    answers: Counter[str] = attrs.field(factory=Counter)
    wrong: list[str] = attrs.field(factory=list)
    sent: set[str] = attrs.field(factory=set)
    answered: set[str] = attrs.field(factory=set)
    late: list[float] = attrs.field(factory=list)


ACTS = {"good": 8, "slow": 3, "cut": 2, "reset": 1, "stall": 1, "stall-early": 1, "refuse": 2}
MANNERS = {"complete": 8, "leave": 4, "leave_by_reset": 4, "read_no_more": 1, "pipeline": 2}


class Clients:
    def __init__(self, port: int, dice: random.Random) -> None:
        self._port = port
        self._dice = dice
        self.tally = Tally()

    def _request(self, act: str, api: str, model: str, stream: bool) -> tuple[str, bytes]:
        name = f"soak-{len(self.tally.sent)}"
        self.tally.sent.add(name)
        turns = [{"role": "user", "content": act}]
        body = {"model": model, "stream": stream, "input" if api == "responses" else "messages": turns}
        body |= {"max_tokens": 100} if api == "messages" else {}
        return name, post(PATHS[api], body, {"x-request-id": name})

    def _draw(self) -> tuple[str, str, str, bool]:
        dice = self._dice
        return drawn(dice, ACTS), dice.choice(list(PATHS)), dice.choice(list(MODELS)), dice.random() < 0.8

    async def mixed(self, until: float) -> None:
        """One client after the other, each on a connection of its own."""
        ways: dict[str, Callable[..., Awaitable[None]]] = {
            "complete": self._complete,
            "leave": self._leave,
            "leave_by_reset": self._leave,
            "read_no_more": self._read_no_more,
            "pipeline": self._pipeline,
        }
        while trio.current_time() < until:
            manner = drawn(self._dice, MANNERS)
            self.tally.clients[manner] += 1
            with trio.fail_after(PATIENCE):
                stream = await trio.open_tcp_stream("127.0.0.1", self._port)
                try:
                    await ways[manner](stream, manner)
                except (Cut, trio.BrokenResourceError):
                    self.tally.answers["connection closed"] += 1
                finally:
                    await trio.aclose_forcefully(stream)

    async def _complete(self, stream: trio.SocketStream, _: str) -> None:
        wire = Wire(stream)
        for _ in range(self._dice.randint(1, 3)):
            asked = self._draw()
            name, data = self._request(*asked)
            await stream.send_all(data)
            self._judge(name, *asked, *await wire.response())

    async def _pipeline(self, stream: trio.SocketStream, _: str) -> None:
        wire = Wire(stream)
        requests = [(asked, *self._request(*asked)) for asked in (self._draw(), self._draw())]
        await stream.send_all(b"".join(data for _, _, data in requests))
        for asked, name, _ in requests:
            self._judge(name, *asked, *await wire.response())

    async def _leave(self, stream: trio.SocketStream, manner: str) -> None:
        _, data = self._request(*self._draw())
        await stream.send_all(data[: self._dice.choice([len(data)] * 5 + [50, len(data) - 1])])
        with trio.move_on_after(self._dice.choice([0, 0.002, 0.01, 0.05, 0.3])):
            await Wire(stream).response()
        if manner == "leave_by_reset":
            reset(stream.socket)

    async def _read_no_more(self, stream: trio.SocketStream, _: str) -> None:
        _, data = self._request(*self._draw())
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await stream.send_all(data)
        await stream.receive_some(100)
        await trio.sleep(0.5)

    def _judge(self, name: str, act: str, api: str, model: str, stream: bool, status: int, body: bytes) -> None:
        """Nothing that failed looks whole, nothing that was whole looks failed."""
        self.tally.answered.add(name)
        self.tally.answers[f"{act} {status}"] += 1
        complete = status == 200 and (any(mark in body for mark in SUCCESS) if stream else b"three" in body)
        should = act in ("good", "slow", "paced") or (not stream and act == "good")
        if complete != should:
            self.tally.wrong.append(f"{name}: {act} {api} {model} stream={stream}: {status} {body[-300:]!r}")

    async def paced(self, api: str, model: str, events: int) -> None:
        """One stream of ``events``, each of which is looked at when it comes."""
        stream = await trio.open_tcp_stream("127.0.0.1", self._port)
        came: dict[bytes, float] = {}  # when an event came, by the time at which it was sent
        tail = b""

        def heard(data: bytes) -> None:
            nonlocal tail
            now, tail = time.monotonic(), tail[-STAMP_SIZE:] + data
            for stamp in STAMP.findall(tail):
                came.setdefault(stamp, now)

        async with stream:
            name, data = self._request("paced", api, model, True)
            await stream.send_all(data)
            with trio.fail_after(PATIENCE + events * GAP):
                status, body = await Wire(stream, heard).response()
        self._judge(name, "paced", api, model, True, status, body)
        if len(came) != events:
            self.tally.wrong.append(f"{name}: {len(came)} of {events} paced events came")
        self.tally.late.extend(now - float(stamp) for stamp, now in came.items())


def drawn(dice: random.Random, weights: dict[str, int]) -> str:
    return dice.choices(list(weights), list(weights.values()))[0]


# What the gateway holds


def fds(gateway: Gateway) -> int:
    return len(os.listdir(f"/proc/{gateway.pid}/fd"))


def rss(gateway: Gateway) -> float:
    """MiB."""
    status = Path(f"/proc/{gateway.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def cpu(gateway: Gateway) -> float:
    """Seconds so far."""
    fields = Path(f"/proc/{gateway.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def at_rest(gateway: Gateway) -> int:
    """The file descriptors that it has for good; it may still be closing the connection that found it ready."""
    seen = []
    for _ in range(20):
        seen.append(fds(gateway))
        await trio.sleep(0.01)
    return min(seen)


async def quiet(gateway: Gateway, provider: Provider, baseline: int) -> bool:
    """Until the gateway's descriptors are the baseline and its connections to the provider, all of which are idle."""
    with trio.move_on_after(PATIENCE):
        while fds(gateway) != baseline + provider.connections:  # noqa: ASYNC110  # of another process
            await trio.sleep(0.05)
    return fds(gateway) == baseline + provider.connections


@attrs.define
class Soak:
    """``streams`` mixed clients at once for ``seconds``, then ``concurrent`` paced streams, all there for ``hold``."""

    seconds: float
    streams: int
    concurrent: int
    hold: float = 5.0
    seed: int = 1
    say: Callable[[str], object] = print
    provider: Provider = attrs.field(factory=Provider)

    def run(self) -> Tally:
        """Raises ``AssertionError`` for whatever is left or was wrong."""
        more_files()
        upstream = socket.create_server(("127.0.0.1", 0), backlog=4096)
        port, url = free_port(), f"http://127.0.0.1:{upstream.getsockname()[1]}"
        vendors = {"chat": "openai", "messages": "anthropic"}
        entries = [provider(f"{vendors[api]}/{model}", url, [api]) for model, api in MODELS.items()]
        limits = {"idle": f"{SILENCE:g}s", "first_byte": f"{SILENCE:g}s"}
        with self._stopping_at_once(), running(config(entries, port, timeouts=limits), port) as gateway:
            tally = trio.run(self._soak, gateway, upstream)
            self._settled(gateway, tally)
        return tally

    @contextlib.contextmanager
    def _stopping_at_once(self) -> Iterator[None]:
        """A gateway that has tasks left goes on until the end of its drain."""
        yield
        took = time.monotonic() - self._over
        assert took < 3, f"with nothing in flight the gateway took {took:.1f} s to stop"

    _over: float = 0.0

    async def _soak(self, gateway: Gateway, upstream: socket.socket) -> Tally:
        clients = Clients(gateway.port, random.Random(self.seed))
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(upstream))
        baseline = await at_rest(gateway)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, self.provider.serve, [listener])
            if self.seconds:
                await self._mixed(gateway, clients, baseline)
            if self.concurrent:
                await self._paced(gateway, clients, baseline)
            nursery.cancel_scope.cancel()
        self._over = time.monotonic()
        return clients.tally

    async def _mixed(self, gateway: Gateway, clients: Clients, baseline: int) -> None:
        await self._crowd(clients, min(2.0, self.seconds / 2))  # what is kept for good is made
        assert await quiet(gateway, self.provider, baseline), self._left(gateway, baseline)
        before, busy = rss(gateway), cpu(gateway)
        await self._crowd(clients, self.seconds)
        calm = await quiet(gateway, self.provider, baseline)
        tally, grown = clients.tally, rss(gateway) - before
        self.say(f"{len(tally.sent)} requests by {sum(tally.clients.values())} clients, {self.streams} at once")
        self.say(f"clients: {dict(tally.clients)}\nprovider: {dict(self.provider.played)}")
        self.say(f"answers: {dict(sorted(tally.answers.items()))}")
        self.say(
            f"file descriptors {baseline} -> {fds(gateway)} with {self.provider.connections} pooled connections; "
            f"memory {before:.0f} -> {before + grown:.0f} MiB; {cpu(gateway) - busy:.1f} s of CPU"
        )
        assert calm, self._left(gateway, baseline)
        assert grown < MEMORY, f"the gateway has grown by {grown:.0f} MiB"

    def _left(self, gateway: Gateway, baseline: int) -> str:
        pooled = self.provider.connections
        return f"{fds(gateway)} file descriptors, {baseline} at first, and {pooled} connections to the provider"

    async def _crowd(self, clients: Clients, seconds: float) -> None:
        until = trio.current_time() + seconds
        async with trio.open_nursery() as nursery:
            for _ in range(self.streams):
                nursery.start_soon(clients.mixed, until)

    async def _paced(self, gateway: Gateway, clients: Clients, baseline: int) -> None:
        events = self.provider.events = round((self.hold + self.concurrent / STARTS) / GAP)
        before, busy, most = rss(gateway), cpu(gateway), 0.0

        async def watch() -> None:
            nonlocal most
            while True:
                most = max(most, rss(gateway))
                await trio.sleep(0.25)

        async with trio.open_nursery() as watching:
            watching.start_soon(watch)
            async with trio.open_nursery() as nursery:
                for n in range(self.concurrent):
                    nursery.start_soon(clients.paced, list(PATHS)[n % 3], list(MODELS)[n % 2], events)
                    await trio.sleep(1 / STARTS)
            watching.cancel_scope.cancel()
        late = sorted(clients.tally.late)
        self.say(
            f"{self.concurrent} paced streams, {len(late)} events: late by {1000 * statistics.median(late):.1f} ms in "
            f"the median, {1000 * late[int(0.99 * len(late))]:.1f} at p99, {1000 * late[-1]:.1f} at most; "
            f"{1024 * (most - before) / self.concurrent:.0f} KiB a stream, "
            f"{1e6 * (cpu(gateway) - busy) / len(late):.0f} µs of CPU an event"
        )
        assert await quiet(gateway, self.provider, baseline), self._left(gateway, baseline)

    def _settled(self, gateway: Gateway, tally: Tally) -> None:
        lines = Counter(json.loads(line)["request_id"] for line in gateway.log if line.startswith("{"))
        twice = [name for name, count in lines.items() if count > 1]
        without = tally.answered - lines.keys()
        self.say(f"ledger: {sum(lines.values())} lines for {len(tally.sent)} requests, {len(tally.answered)} answered")
        assert not twice, f"more than one line for {twice[:5]}"
        assert not without, f"no line for {sorted(without)[:5]}"
        assert not tally.wrong, "\n".join(tally.wrong[:10])
        assert "Traceback" not in "\n".join(gateway.log)


def more_files() -> None:
    """As many open files as this user may have; the gateway inherits it."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60, help="of mixed streams (60)")
    parser.add_argument("--streams", type=int, default=200, help="mixed clients at once (200)")
    parser.add_argument("--concurrent", type=int, default=0, help="paced streams afterwards (0)")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    Soak(asked.seconds, asked.streams, asked.concurrent, seed=asked.seed).run()
    print("nothing is left")


if __name__ == "__main__":
    main()
