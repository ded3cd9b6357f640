"""The provider and the clients of a measurement.

They use asyncio protocols and prepared bytes, so that they cost little and share no code with the gateway. A separately
sent event contains its sending time, by the clock that all processes share.
"""

import argparse
import asyncio
import json
import random
import re
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\n"
LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
STREAM = re.compile(rb'"stream": *true')
SENT = re.compile(rb"at=(\d+\.\d+)")
ZEROS = "0" * 17
TEXT = "word"
LAST = b"\r\n0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(delta: dict[str, Any], finish: str | None = None) -> bytes:
    """Return one event of a Chat stream, as a separate chunk."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return chunk(b"data: " + json.dumps(head).encode() + b"\n\n")


def whole(size: int) -> bytes:
    """Return a whole answer with ``size`` characters of text."""
    message = {"role": "assistant", "content": TEXT.ljust(size, "x")}
    usage = {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    body = json.dumps({"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice],
                       "usage": usage}).encode()  # fmt: skip
    return HEAD % b"application/json" + b"content-length: %d\r\n\r\n" % len(body) + body


def is_whole(message: bytearray) -> bool:
    """Return whether a request or an answer is complete. Nothing may follow it."""
    body = message.find(b"\r\n\r\n") + 4
    if body < 4:
        return False
    length = LENGTH.search(message, 0, body)
    return len(message) - body >= int(length[1]) if length else message.endswith(LAST)


class Answers:
    """The provider's answers: whole, or ``events`` events of ``size`` characters, ``gap`` seconds apart."""

    def __init__(self, events: int, gap: float, size: int) -> None:
        self.events, self.gap, self.whole = events, gap, whole(size)
        self.head = HEAD % b"text/event-stream" + b"transfer-encoding: chunked\r\n\r\n"
        self.head += event({"role": "assistant", "content": ""})
        self.word = event({"content": TEXT.ljust(size, "x")})
        self.dated = event({"content": f"at={ZEROS}".ljust(size, "x")}).replace(ZEROS.encode(), b"%017.6f")
        self.end = event({}, "stop") + chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"


class Provider(asyncio.Protocol):
    """One connection of the provider."""

    transport: asyncio.Transport

    def __init__(self, answers: Answers) -> None:
        self.answers, self.asked, self.room = answers, bytearray(), asyncio.Event()
        self.room.set()
        self.streaming: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def pause_writing(self) -> None:
        self.room.clear()

    def resume_writing(self) -> None:
        self.room.set()

    def data_received(self, data: bytes) -> None:
        self.asked += data
        if is_whole(self.asked):
            if not STREAM.search(self.asked):
                self.transport.write(self.answers.whole)
            else:
                self.streaming = asyncio.create_task(self.send_events() if self.answers.gap else self.at_once())
            self.asked.clear()

    async def at_once(self) -> None:
        self.transport.write(self.answers.head)
        for _ in range(self.answers.events):
            self.transport.write(self.answers.word)
            await self.room.wait()
        self.transport.write(self.answers.end)

    async def send_events(self) -> None:
        """Send the events at their times.

        The second comes at a random time within the gap, so that streams do not stay synchronised.
        """
        due = time.monotonic() + self.answers.gap * (random.random() - 1)
        self.transport.write(self.answers.head)
        for _ in range(self.answers.events):
            self.transport.write(self.answers.dated % time.monotonic())
            due += self.answers.gap
            await asyncio.sleep(due - time.monotonic())
        self.transport.write(self.answers.end)

    def connection_lost(self, error: Exception | None) -> None:
        self.room.set()
        if self.streaming:
            self.streaming.cancel()


async def provide(port: int, answers: Answers) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Provider(answers), "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


class Asked(NamedTuple):
    """A request of the clients. Only a complete answer contains the mark."""

    port: int
    request: bytes
    mark: bytes


class Client(asyncio.Protocol):
    """A client that sends request after request on one connection."""

    transport: asyncio.Transport

    def __init__(self, asked: Asked, until: float, done: list[float]) -> None:
        self.asked, self.until, self.done = asked, until, done
        self.heard, self.begun, self.over = bytearray(), 0.0, asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.ask()

    def ask(self) -> None:
        self.heard.clear()
        self.begun = time.monotonic()
        self.transport.write(self.asked.request)

    def data_received(self, data: bytes) -> None:
        self.heard += data
        if not is_whole(self.heard):
            return
        if b" 200 " not in self.heard[:20] or self.asked.mark not in self.heard:
            sys.exit(f"a wrong answer: {bytes(self.heard[:1000])!r}")
        now = time.monotonic()
        self.done.append(now - self.begun)
        if now < self.until:
            self.ask()
        else:
            self.over.set()
            self.transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.over.is_set():
            sys.exit(f"a connection ended within an answer: {bytes(self.heard[:1000])!r}")


class Listener(asyncio.Protocol):
    """A client that reads one stream to its end. ``late`` collects the delay of each event in seconds."""

    def __init__(self, asked: Asked, late: list[float], begun: Callable[[], None]) -> None:
        self.asked, self.late, self.begun, self.heard = asked, late, begun, False
        self.rest = b""  # an incomplete line

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(self.asked.request)

    def data_received(self, data: bytes) -> None:
        now = time.monotonic()
        lines, end, self.rest = (self.rest + data).rpartition(b"\n")
        if lines.startswith(b"HTTP/1.1 ") and b" 200 " not in lines[:20]:
            sys.exit(f"a wrong answer: {lines[:1000]!r}")
        sent = SENT.findall(lines + end)
        self.late += [now - float(at) for at in sent]
        if not self.heard and sent:
            self.heard = True
            self.begun()

    def connection_lost(self, error: Exception | None) -> None:
        sys.exit("a stream ended")


async def load(asked: Asked, clients: int, seconds: float) -> None:
    """Print the number of answers, and their latency in seconds."""
    loop, done = asyncio.get_running_loop(), list[float]()
    begun = time.monotonic()
    opening = [
        loop.create_connection(lambda: Client(asked, begun + seconds, done), "127.0.0.1", asked.port)
        for _ in range(clients)
    ]
    for _, client in await asyncio.gather(*opening):
        await client.over.wait()
    took = time.monotonic() - begun
    done.sort()
    told = {"done": len(done), "p50": done[len(done) // 2], "p99": done[len(done) * 99 // 100]}
    print(json.dumps({**told, "seconds": took}))


async def crowd(asked: Asked, streams: int, seconds: float, rounds: int) -> None:
    """Begin all streams simultaneously, and print the lateness of events until all have begun, then for each round
    of ``seconds``. The streams stay open until standard input ends."""
    loop, late, all_began = asyncio.get_running_loop(), list[float](), asyncio.Event()
    left = streams

    def one_began() -> None:
        nonlocal left
        left -= 1
        if not left:
            all_began.set()

    def tell(since: float) -> float:
        now = time.monotonic()
        print(json.dumps({"seconds": now - since, "late": late}), flush=True)
        late.clear()
        return time.monotonic()

    since = time.monotonic()
    opening = [
        loop.create_connection(lambda: Listener(asked, late, one_began), "127.0.0.1", asked.port)
        for _ in range(streams)
    ]
    await asyncio.gather(*opening)
    await all_began.wait()
    since = tell(since)
    for _ in range(rounds):
        await asyncio.sleep(seconds)
        while not late:  # noqa: ASYNC110  # a busy machine may pause for longer than a round
            await asyncio.sleep(seconds)
        since = tell(since)
    sys.stdin.read()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("role", choices=["provide", "load", "crowd"])
    parser.add_argument("port", type=int)
    parser.add_argument("--events", type=int, default=100)
    parser.add_argument("--gap", type=float, default=0)
    parser.add_argument("--size", type=int, default=4)
    parser.add_argument("--path", default="")
    parser.add_argument("--body", default="")
    parser.add_argument("--mark", default="")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--rounds", type=int, default=1)
    given = parser.parse_args()
    head = f"POST {given.path} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\nauthorization: Bearer x\r\n"
    body = given.body.encode()
    asked = Asked(given.port, f"{head}content-length: {len(body)}\r\n\r\n".encode() + body, given.mark.encode())
    match given.role:
        case "provide":
            asyncio.run(provide(given.port, Answers(given.events, given.gap, given.size)))
        case "load":
            asyncio.run(load(asked, given.clients, given.seconds))
        case "crowd":
            asyncio.run(crowd(asked, given.clients, given.seconds, given.rounds))


if __name__ == "__main__":
    main()
