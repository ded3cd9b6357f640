"""The two ends between which a gateway is measured: a provider and its clients. Sockets and asyncio, nothing else, so
that they cost little and that nothing of the gateway's judges the gateway."""

import argparse
import asyncio
import json
import re
import sys
import time
from typing import Any

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\n"
LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
TEXT = "word"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(delta: dict[str, Any], finish: str | None = None) -> bytes:
    """One event of a Chat stream, as a chunk of its own."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return chunk(b"data: " + json.dumps(head).encode() + b"\n\n")


def whole(size: int) -> bytes:
    """A whole answer with ``size`` characters of text."""
    message = {"role": "assistant", "content": TEXT.ljust(size, "x")}
    usage = {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    body = json.dumps({"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice],
                       "usage": usage}).encode()  # fmt: skip
    return HEAD % b"application/json" + b"content-length: %d\r\n\r\n" % len(body) + body


async def read_request(reader: asyncio.StreamReader) -> bytes:
    """The body of the next request, ``b""`` at the end."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return b""
    found = LENGTH.search(head)
    return await reader.readexactly(int(found[1])) if found else b"{}"


async def provide(port: int, events: int, gap: float, size: int) -> None:
    """A chat provider: ``events`` events of ``size`` characters to a stream, ``gap`` seconds between them."""
    begin, middle = event({"role": "assistant", "content": ""}), event({"content": TEXT.ljust(size, "x")})
    end = event({}, "stop") + chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"
    stream_head, answer = HEAD % b"text/event-stream" + b"transfer-encoding: chunked\r\n\r\n", whole(size)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while body := await read_request(reader):
            if not json.loads(body).get("stream"):
                writer.write(answer)
                continue
            writer.write(stream_head + begin)
            for _ in range(events):
                writer.write(middle)
                await (asyncio.sleep(gap) if gap else writer.drain())
            writer.write(end)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", port, backlog=1024)
    print("ready", flush=True)
    await server.serve_forever()


async def ask(port: int, request: bytes, mark: bytes, until: float, done: list[float]) -> None:
    """One client: request after request on one connection, each answer read to its end and looked through for
    ``mark``, which only a good end has."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**24)
    while time.monotonic() < until:
        begun = time.monotonic()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        found = LENGTH.search(head)
        body = await (reader.readexactly(int(found[1])) if found else reader.readuntil(b"\r\n0\r\n\r\n"))
        if b" 200 " not in head[:20] or mark not in body:
            sys.exit(f"a wrong answer: {(head + body)[:1000]!r}")
        done.append(time.monotonic() - begun)
    writer.close()


async def load(port: int, path: str, body: bytes, mark: bytes, clients: int, seconds: float) -> None:
    head = f"POST {path} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\nauthorization: Bearer x\r\n"
    request = f"{head}content-length: {len(body)}\r\n\r\n".encode() + body
    done: list[float] = []
    until = time.monotonic() + seconds
    await asyncio.gather(*(ask(port, request, mark, until, done) for _ in range(clients)))
    done.sort()
    print(json.dumps({"done": len(done), "p50": done[len(done) // 2], "p99": done[len(done) * 99 // 100]}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("role", choices=["provide", "load"])
    parser.add_argument("port", type=int)
    parser.add_argument("--events", type=int, default=100)
    parser.add_argument("--gap", type=float, default=0)
    parser.add_argument("--size", type=int, default=4)
    parser.add_argument("--path", default="")
    parser.add_argument("--body", default="")
    parser.add_argument("--mark", default="")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=3)
    given = parser.parse_args()
    if given.role == "provide":
        asyncio.run(provide(given.port, given.events, given.gap, given.size))
    else:
        asyncio.run(
            load(given.port, given.path, given.body.encode(), given.mark.encode(), given.clients, given.seconds)
        )


if __name__ == "__main__":
    main()
