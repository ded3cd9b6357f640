"""Measures the CPU time that explaining misses of prompt caches adds to a request.

    python bench/prompt_caches.py                          # four sizes, two lanes; about two minutes
    python bench/prompt_caches.py --sizes 400 --rounds 20
    python bench/prompt_caches.py --sizes 400 --events 100  # answers of an agent: each event arrives alone

Two gateways run simultaneously, one with ``prompt_cache: false``, and receive the same conversations in turns. Each
request repeats a history of Messages and adds a turn, as agents do. In the byte lane the provider speaks Messages, in
the hub lane Chat. A figure is the median of the CPU time of a request; the ratio is the median over rounds.
"""

import argparse
import contextlib
import json
import random
import re
import socket
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from peer import HEAD, chunk
from side_by_side import Round, Server, gateway, measure, post, provider, read_message, whole_answer

COUNT: Final = re.compile(rb'"max_(?:completion_)?tokens": ?(\d+)')
CONFIG: Final = """
version: v0.3.0
listeners: [{type: model, name: m, port: {port}}]
model_providers:
  - {model: anthropic/claude-sonnet-4-6, access_key: sk-bench, base_url: "http://127.0.0.1:{provider}"}
  - {model: openai/gpt-5.2, access_key: sk-bench, base_url: "http://127.0.0.1:{provider}", speaks: [chat]}
"""
EXPLAINING: Final = {"on": "prompt_cache: {memory: 32MiB}\n", "off": "prompt_cache: false\n"}
LANES: Final = {"byte": "anthropic/claude-sonnet-4-6", "hub": "openai/gpt-5.2"}
TURNS: Final = 8
"""The requests of a conversation in one round, after the first one."""
GAP: Final = 0.005
"""Seconds between two events of a stream."""
WORDS: Final = "the file reads a list of paths and writes each result to its own line of the report".split()  # noqa: SIM905  # a sentence


class Case(NamedTuple):
    """A lane and the kilobytes of a history."""

    lane: str
    size: int


class Figure(NamedTuple):
    """The medians of the CPU milliseconds of a request with and without explanations, and the ratios of rounds."""

    case: Case
    on: float
    off: float
    ratios: Sequence[float]

    def row(self) -> list[str]:
        low, middle, high = statistics.quantiles(self.ratios, n=4, method="inclusive")
        cells = [self.case.lane, f"{self.case.size} kB", f"{self.on:.2f}", f"{self.off:.2f}"]
        return [*cells, f"{middle:.3f}", f"{low:.3f} to {high:.3f}"]


# Requests


def words(source: random.Random, count: int) -> str:
    return " ".join(source.choices(WORDS, k=count)) + ".\n"


def conversation(model: str, size: int, turns: int, events: int) -> list[bytes]:
    """Return the requests of ``turns`` turns, the first with a history of ``size`` kB.

    Their answers have ``events`` events; 0 requests complete answers."""
    source = random.Random()
    tools = [
        {
            "name": f"tool_{number}",
            "description": words(source, 200),
            "input_schema": {"type": "object", "properties": {"path": {"type": "string", "description": "A path"}}},
        }
        for number in range(16)
    ]
    system = [
        {"type": "text", "text": "You are an agent."},
        {"type": "text", "text": words(source, 2_000), "cache_control": {"type": "ephemeral"}},
    ]
    messages = [user([{"type": "text", "text": words(source, 40)}])]
    found: list[bytes] = []
    length = 0
    while len(found) < turns:
        if length >= size * 1000:
            marked = [*messages[:-1], user([{**messages[-1]["content"][0], "cache_control": {"type": "ephemeral"}}])]
            body = {"model": model, "max_tokens": events or 1000, "system": system, "tools": tools, "messages": marked}
            body |= {"stream": True} if events else {}
            found.append(json.dumps(body, separators=(",", ":")).encode())
        turn = next_turn(source, len(messages))
        messages += turn
        length += len(json.dumps(turn))
    return found


def user(content: list[dict[str, Any]]) -> dict[str, Any]:
    return {"role": "user", "content": content}


def next_turn(source: random.Random, number: int) -> list[dict[str, Any]]:
    """Return an answer with a tool call, and the result of the call."""
    call = {"type": "tool_use", "id": f"toolu_{number:024}", "name": "tool_1", "input": {"path": f"/src/{number}.py"}}
    answer = {"role": "assistant", "content": [{"type": "text", "text": words(source, 20)}, call]}
    result = {"type": "tool_result", "tool_use_id": call["id"], "content": words(source, source.randrange(50, 600))}
    return [answer, user([result])]


# The provider


def serve(connection: socket.socket) -> None:
    """Answer each request. The cache serves the prompt of the request before."""
    before = 0
    with connection:
        while (request := read_message(connection)) is not None:
            tokens = len(request) // 4
            read = before if before < tokens else 0
            before = tokens
            time.sleep(len(request) / 2e7 + 0.005)  # a model takes longer, and a prompt is read meanwhile
            if b'"stream":true' not in request:
                connection.sendall(answer_to(request, tokens, read))
                continue
            head, *events = stream_to(request, tokens, read)
            connection.sendall(head)
            for event in events:
                time.sleep(GAP)
                connection.sendall(event)


def answer_to(request: bytes, tokens: int, read: int) -> bytes:
    body: dict[str, Any]
    if b"/v1/messages" in request[:200]:
        usage = {"input_tokens": 1, "cache_read_input_tokens": read, "cache_creation_input_tokens": tokens - read}
        body = {
            "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn",
            "content": [{"type": "text", "text": "Done."}], "usage": {**usage, "output_tokens": 3},
        }  # fmt: skip
    else:
        usage = {"prompt_tokens": tokens, "completion_tokens": 3, "total_tokens": tokens + 3}
        message = {"role": "assistant", "content": "Done."}
        body = {
            "id": "c", "object": "chat.completion", "created": 1, "model": "m",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {**usage, "prompt_tokens_details": {"cached_tokens": read}},
        }  # fmt: skip
    return whole_answer(body)


def stream_to(request: bytes, tokens: int, read: int) -> Iterator[bytes]:
    """Yield the head of a streamed answer, then its events."""
    count = int(COUNT.search(request)[1])  # type: ignore[index]  # every request has it
    yield HEAD % b"text/event-stream" + b"transfer-encoding: chunked\r\n\r\n"
    for value in (messages_events if b"/v1/messages" in request[:200] else chat_events)(count, tokens, read):
        name = f"event: {value['type']}\n" if "type" in value else ""
        yield chunk(f"{name}data: {json.dumps(value)}\n\n".encode())
    yield (b"" if b"/v1/messages" in request[:200] else chunk(b"data: [DONE]\n\n")) + b"0\r\n\r\n"


def messages_events(count: int, tokens: int, read: int) -> Iterator[dict[str, Any]]:
    usage = {"input_tokens": 1, "cache_read_input_tokens": read, "cache_creation_input_tokens": tokens - read}
    message: dict[str, Any] = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": []}
    yield {"type": "message_start", "message": {**message, "usage": {**usage, "output_tokens": 1}}}
    yield {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    for _ in range(count):
        yield {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "word "}}
    yield {"type": "content_block_stop", "index": 0}
    yield {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": count}}
    yield {"type": "message_stop"}


def chat_events(count: int, tokens: int, read: int) -> Iterator[dict[str, Any]]:
    base = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    for text in ("", *["word "] * count):
        yield {**base, "choices": [{"index": 0, "delta": {"role": "assistant", "content": text}}]}
    yield {**base, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    usage = {"prompt_tokens": tokens, "completion_tokens": count, "total_tokens": tokens + count}
    yield {**base, "choices": [], "usage": {**usage, "prompt_tokens_details": {"cached_tokens": read}}}


# Measurement


def measured(case: Case, servers: Mapping[str, Server], rounds: int, events: int) -> Figure:
    """Return the figure of ``case`` for gateways with and without explanations."""

    def next_round() -> Round:
        first, *others = conversation(LANES[case.lane], case.size, TURNS + 1, events)
        return Round([first], others)

    def send(name: str, request: bytes) -> None:
        response = post(servers[name].client, "/v1/messages", request)
        if name == "off" and b"x-trigate-prompt-cache" in response:
            sys.exit("the gateway explains prompts with `prompt_cache: false`")

    times = measure(servers, rounds, next_round, send)
    ratios = [one / other for one, other in zip(times["on"], times["off"], strict=True)]
    return Figure(case, statistics.median(times["on"]), statistics.median(times["off"]), ratios)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="10,100,400,4000", help="kB of history, with commas between them")
    parser.add_argument("--lanes", default=",".join(LANES), help="byte, hub or both")
    parser.add_argument("--events", type=int, default=0, help="of streamed answers; 0 requests complete ones")
    parser.add_argument("--rounds", type=int, default=12, help="conversations for each row")
    given = parser.parse_args()
    if sys.platform != "linux":
        sys.exit("It reads the clocks of processes: run it on Linux.")
    print("| lane | history | CPU ms | without | ratio | middle half |\n|---|---|---|---|---|---|", flush=True)
    with provider(serve) as port, contextlib.ExitStack() as stack:
        config = CONFIG.replace("{provider}", str(port))
        servers = {name: stack.enter_context(gateway(config + setting)) for name, setting in EXPLAINING.items()}
        for lane in given.lanes.split(","):
            for size in map(int, given.sizes.split(",")):
                figure = measured(Case(lane, size), servers, given.rounds, given.events)
                print("| " + " | ".join(figure.row()) + " |", flush=True)


if __name__ == "__main__":
    main()
