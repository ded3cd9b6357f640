"""Measures the CPU time that built-in steps add to a request, a stream and an event, and that hostile texts take.

    python bench/steps.py                          # requests and streams; about a minute
    python bench/steps.py --rounds 80
    python bench/steps.py --events                 # an event of a stream that arrives alone, in each API
    python bench/steps.py --texts                  # a mebibyte of each hostile text, for each kind

Gateways with different steps run simultaneously and get the same requests in turns. A figure is the median of the CPU
time of a request; the ratio to the gateway without steps is the median over rounds.

An event passes the code between the provider's bytes and the client's, without sockets and tasks. Its figures are the
calls of functions and the median of the CPU time.
"""

import argparse
import base64
import contextlib
import json
import random
import re
import socket
import statistics
import string
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from servers import cpu, free_port, on_core, running, wait_for

CONFIG: Final = """
version: v0.3.0
listeners: [{{type: model, name: m, port: {port}}}]
model_providers: [{{model: mistral/m, access_key: sk-bench, base_url: "http://127.0.0.1:{provider}"}}]
state_storage: {{type: none}}
prompt_cache: false
{steps}
"""
STEPS: Final = {
    "none": "",
    "`pii` and `secrets` on requests": "steps: [{use: pii}, {use: secrets}]",
    "`pii` on responses, `action: report`": "steps: [{use: pii, at: [response], action: report}]",
    "`pii` on responses, `action: refuse`": "steps: [{use: pii, at: [response], action: refuse}]",
    "`pii` on responses, `action: mask`": (
        "signing_key: c2lnbmluZy1rZXktZm9yLXRlc3RzLTAxMjM0NTY3ODk=\nsteps: [{use: pii, at: [response], action: mask}]"
    ),
}
EVENTS: Final = 104
LENGTH: Final = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
PAUSE: Final = 0.005
"""Seconds in which a gateway settles its last exchange."""
WARMING: Final = 6
"""Requests before each measurement, because the gateways displace each other's data from the caches of the CPU."""
MEBIBYTE: Final = 2**20


class Server(NamedTuple):
    pid: int
    client: socket.socket


# The provider and the client


def provide(listener: socket.socket) -> None:
    while True:
        with contextlib.suppress(OSError):
            threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()


def serve(connection: socket.socket) -> None:
    small, stream = small_answer(), streamed_answer()
    with connection:
        while (request := read_request(connection)) is not None:
            connection.sendall(stream if b'"stream": true' in request else small)


def small_answer() -> bytes:
    message = {"role": "assistant", "content": "The market opens at 9."}
    body = {
        "id": "c", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
    }  # fmt: skip
    data = json.dumps(body).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(data) + data


def streamed_answer() -> bytes:
    """Return a stream of words and some numbers, in one piece."""
    shared = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    source, events = random.Random(1), []
    for number in range(EVENTS):
        text = "4111111111111112 " if number % 20 == 19 else source.choice(("market ", "opens ", "at 9, ", "and "))
        delta = {"index": 0, "delta": {"content": text}, "finish_reason": None}
        events.append(b"data: " + json.dumps({**shared, "choices": [delta]}).encode() + b"\n\n")
    end = {**shared, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    events += [b"data: " + json.dumps(end).encode() + b"\n\n", b"data: [DONE]\n\n"]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in events)
    return (
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n%b0\r\n\r\n" % chunks
    )


def read_request(connection: socket.socket) -> bytes | None:
    """Return the next request, ``None`` at the end of the connection."""
    data = bytearray()
    while True:
        end = data.find(b"\r\n\r\n")
        length = LENGTH.search(data, 0, max(end, 0))
        if length and len(data) >= end + 4 + int(length[1]):
            return bytes(data)
        if not (chunk := connection.recv(2**16)):
            return None
        data += chunk


def send(client: socket.socket, *, stream: bool) -> None:
    """Send a request, and read the response to its end."""
    body = {"model": "mistral/m", "stream": stream, "messages": [{"role": "user", "content": "When does it open?"}]}
    data = json.dumps(body).encode()
    head = (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    )
    client.sendall(head % len(data) + data)
    found = bytearray()
    while not is_complete(found, stream=stream):
        if not (chunk := client.recv(2**16)):
            sys.exit(f"the gateway failed: {bytes(found[:500])!r}")
        found += chunk
    if not found.startswith(b"HTTP/1.1 200"):
        sys.exit(f"the gateway failed: {bytes(found[:500])!r}")


def is_complete(response: bytearray, *, stream: bool) -> bool:
    """Return whether ``response`` has its end, or is an error."""
    end = response.find(b"\r\n\r\n")
    length = LENGTH.search(response, 0, max(end, 0))
    if length is not None:
        return len(response) >= end + 4 + int(length[1])
    return stream and response.endswith(b"0\r\n\r\n")


# Requests and streams


@contextlib.contextmanager
def gateway(provider: int, steps: str) -> Iterator[Server]:
    """Run a gateway with ``steps``."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        config, log = Path(folder) / "trigate.yaml", Path(folder) / "log"
        config.write_text(CONFIG.format(port=port, provider=provider, steps=steps))
        command = on_core(0, [sys.executable, "-m", "gateway", "serve", str(config), "--workers", "1"])
        with running(command, log) as process:
            wait_for(port, process, log)
            with socket.create_connection(("127.0.0.1", port)) as client:
                yield Server(process.pid, client)


def measure(servers: dict[str, Server], *, stream: bool, requests: int, rounds: int) -> dict[str, list[float]]:
    """Return the CPU milliseconds of a request in each round, by steps."""
    times: dict[str, list[float]] = {name: [] for name in servers}
    for round in range(rounds + 1):
        for name in servers if round % 2 else reversed(servers):
            server = servers[name]
            for _ in range(WARMING):
                send(server.client, stream=stream)
            time.sleep(PAUSE)
            started = cpu(server.pid)
            for _ in range(requests):
                send(server.client, stream=stream)
            time.sleep(PAUSE)
            if round:  # the first one warms up
                times[name].append((cpu(server.pid) - started) / requests * 1000)
    return times


def print_requests(rounds: int) -> None:
    print("| steps | small request, ms | ratio | stream, ms | ratio |\n|---|---|---|---|---|", flush=True)
    with socket.create_server(("127.0.0.1", 0)) as listener, contextlib.ExitStack() as stack:
        threading.Thread(target=provide, args=(listener,), daemon=True).start()
        port = int(listener.getsockname()[1])
        servers = {}
        for name, steps in STEPS.items():
            servers[name] = stack.enter_context(gateway(port, steps))
            send(servers[name].client, stream=False)  # a connection without a request would be closed
        found = [
            measure(servers, stream=stream, requests=requests, rounds=rounds)
            for stream, requests in ((False, 30), (True, 10))
        ]
    for name in STEPS:
        cells = [name]
        for times in found:
            ratio = statistics.median(one / other for one, other in zip(times[name], times["none"], strict=True))
            cells += [f"{statistics.median(times[name]):.2f}", f"{ratio:.2f}"]
        print("| " + " | ".join(cells) + " |", flush=True)


# Events that arrive alone

EVENT_STEPS: Final[dict[str, list[dict[str, Any]]]] = {
    "none": [],
    "`pii`": [{"use": "pii", "at": ["response"], "action": "refuse"}],
    "`pii`, `secrets`, `regex`, `tools`": [
        {"use": "pii", "at": ["response"], "action": "refuse"},
        {"use": "secrets", "at": ["response"]},
        {"use": "regex", "at": ["response"], "with": {"patterns": {"project": "project-[a-z]+"}}},
        {"use": "tools", "at": ["response"], "with": {"deny": ["rm"]}},
    ],
}
APIS: Final = ("chat", "messages", "responses", "gemini", "converse")
FIRST, COUNTED = 60, 400
"""Events before the counted ones of a stream, and these."""


class Reads:
    """A provider's bytes, one event a read. ``begin`` and ``end`` are called around the counted events."""

    def __init__(self, events: Sequence[bytes], begin: Callable[[], object], end: Callable[[], object]) -> None:
        self._events = iter(enumerate(events))
        self._marks = {FIRST: begin, FIRST + COUNTED: end}

    def __aiter__(self) -> "Reads":
        return self

    async def __anext__(self) -> bytes:
        for number, event in self._events:
            if (mark := self._marks.get(number)) is not None:
                mark()
            return event
        raise StopAsyncIteration


def load_event_steps(rows: Sequence[dict[str, Any]]) -> Sequence[Any]:
    from gateway.config.loading import from_mapping
    from gateway.features.steps.loading import load_steps

    if not rows:
        return ()
    head = {"version": "v0.3.0", "model_providers": [{"model": "mistral/m", "access_key": "k"}]}
    return load_steps(from_mapping({**head, "state_storage": {"type": "none"}, "steps": list(rows)})).steps


async def pass_events(
    api: str, steps: Sequence[Any], begin: Callable[[], object], end: Callable[[], object], *, translates: bool
) -> None:
    """Pass a stream of words through ``steps`` and the client's lane, which ``translates`` or forwards the bytes."""
    import trio

    from gateway.exchange.transformed import ProviderWait, transformed_pieces
    from gateway.features.steps.checked_stream import CheckedStream
    from gateway.features.steps.loaded import AnswerSteps, AppliedSteps
    from gateway.features.steps.masks import Placeholders
    from gateway.features.steps.response_steps import ResponseSteps
    from gateway.features.steps.session import StepSession
    from gateway.features.steps.verdicts import StepRecords
    from gateway.seams.open_response import OpenedResponse
    from gateway.streaming.passthrough import Passthrough
    from gateway.streaming.released import ReleasedSource
    from gateway.streaming.translation import Translation
    from providers.apis import CODECS
    from providers.neutral.codec import Reply
    from providers.neutral.seal import Issuer
    from streams.events import AnswerEnd, AnswerStart, BlockEnd, TextDelta, Usage
    from streams.pipe import Watch
    from streams.timeouts import Timeouts
    from trigate.steps import Check

    codec = CODECS[api]
    request = CODECS["chat"].read_request({"model": "m", "messages": [{"role": "user", "content": "Hi"}]})

    def writer() -> Any:
        return codec.writer(Reply(request, Issuer("openai", "bench"), 0))

    words = [TextDelta(0, " word")] * (FIRST + COUNTED + FIRST)
    events = map(writer().send, [AnswerStart("a", "m"), *words, BlockEnd(0), Usage(1), AnswerEnd("stop")])
    reads = Reads([one for one in events if one], begin, end)
    if translates:
        source = ReleasedSource() if steps else codec
        lane: Any = Translation(source, writer(), codec.wire.framing, lambda error: error, MEBIBYTE)
    else:
        lane = Passthrough(codec, lambda error: error, lambda data: data, MEBIBYTE)
    async with trio.open_nursery() as nursery:
        chunks: Any = reads
        if steps:
            session = StepSession(
                AppliedSteps(tuple(steps)), Check("response", (), api=api), Placeholders(b"k" * 32, "c"), StepRecords(),
                nursery.start_soon, lambda: None,
            )  # fmt: skip
            checks = ResponseSteps(session, AnswerSteps(tuple(steps)), restores=False, translates=translates)
            stream = CheckedStream(checks, OpenedResponse(api, codec.wire.framing))
            if not translates:
                lane.use_reader(stream.reader, stream.reader.text_of)
            chunks = transformed_pieces(stream, reads, Watch(Timeouts()), ProviderWait())
        async for chunk in chunks:
            lane.feed(chunk)


def count_event_calls(run: Callable[[Callable[[], object], Callable[[], object]], object]) -> float:
    count = 0

    def profile(frame: Any, what: str, argument: Any) -> None:
        nonlocal count
        count += what in ("call", "c_call")

    run(lambda: sys.setprofile(profile), lambda: sys.setprofile(None))
    return count / COUNTED


def measure_event(run: Callable[[Callable[[], object], Callable[[], object]], object]) -> float:
    """Return the CPU microseconds of an event."""
    times: list[float] = []
    run(lambda: times.append(time.thread_time()), lambda: times.append(time.thread_time()))
    return (times[1] - times[0]) / COUNTED * 1e6


def print_events(rounds: int) -> None:
    import trio

    sets = {name: load_event_steps(rows) for name, rows in EVENT_STEPS.items()}
    heads = [f"{name}: {unit}" for name in sets for unit in ("calls", "µs")]
    print("| API, lane | " + " | ".join(heads) + " |\n|" + "---|" * (len(heads) + 1))
    for api in APIS:
        for translates in (False, True):
            runs = {
                name: lambda begin, end, steps=steps: trio.run(
                    partial(pass_events, api, steps, begin, end, translates=translates)  # noqa: B023
                )
                for name, steps in sets.items()
            }
            times: dict[str, list[float]] = {name: [] for name in runs}
            for _ in range(rounds):
                for name, run in runs.items():
                    times[name].append(measure_event(run))
            cells = []
            for name, run in runs.items():
                cells += [f"{count_event_calls(run):.0f}", f"{statistics.median(times[name]):.1f}"]
            print(f"| {api}, {'hub' if translates else 'byte'} | " + " | ".join(cells) + " |", flush=True)


# Hostile texts


def texts() -> dict[str, str]:
    """Return hostile texts by their description."""
    source = random.Random(1)

    def random_text(alphabet: str) -> str:
        return "".join(source.choices(alphabet, k=MEBIBYTE))

    def repeat(text: str) -> str:
        return (text * (MEBIBYTE // len(text) + 1))[:MEBIBYTE]

    return {
        "prose": repeat("The market opens at 9, and the first visitors get an apple each. "),
        "digits": random_text(string.digits),
        "digits and spaces": random_text(string.digits + " "),
        "printable characters": random_text(string.printable),
        "letters `a` and `b`": random_text("ab"),
        "base64": base64.b64encode(source.randbytes(MEBIBYTE)).decode()[:MEBIBYTE],
        "beginnings of keys": repeat("sk-"),
        "beginnings of account numbers": repeat("DE89 3704 0044 0532 0130 01 "),
        "beginnings of matches": repeat("project-"),
        "invisible characters": repeat("1\u200b"),
        "characters of all scripts": random_text("".join(map(chr, range(0x20, 0xD800)))),
        "e-mail addresses": repeat("a@b.co "),
        "card numbers": repeat("4111 1111 1111 1111 "),
    }


def kinds() -> dict[str, Callable[[Any], Sequence[Any]]]:
    from gateway.features.steps.kinds.pii import PiiSettings, PiiStep
    from gateway.features.steps.kinds.regex import RegexSettings, RegexStep
    from gateway.features.steps.kinds.secrets import SecretsSettings, SecretsStep

    regex = RegexStep(RegexSettings({"project": "(a|aa)+b|project-[a-z]+"}))
    return {"pii": PiiStep(PiiSettings()), "secrets": SecretsStep(SecretsSettings()), "regex": regex}


def print_texts(rounds: int) -> None:
    from gateway.features.steps.runner import UncheckedText
    from trigate.steps import Check, Passage

    found = kinds()
    print("| a mebibyte of | " + " | ".join(f"`{kind}`, ms" for kind in found) + " |\n|" + "---|" * (len(found) + 1))
    for name, text in texts().items():
        check, cells = Check("response", (Passage("assistant", "content", text),)), [name]
        for step in found.values():
            best = float("inf")
            for _ in range(rounds):
                started = time.thread_time()
                with contextlib.suppress(UncheckedText):  # more findings than a check may have
                    step(check)
                best = min(best, time.thread_time() - started)
            cells.append(f"{best * 1000:.0f}")
        print("| " + " | ".join(cells) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, help="measurements for each row: 40, 15 with --events, 3 with --texts")
    parser.add_argument("--events", action="store_true", help="measure an event that arrives alone instead of requests")
    parser.add_argument("--texts", action="store_true", help="measure hostile texts instead of requests")
    given = parser.parse_args()
    if sys.platform != "linux":
        sys.exit("It reads the clocks of processes: run it on Linux.")
    if given.texts:
        print_texts(given.rounds or 3)
    elif given.events:
        print_events(given.rounds or 15)
    else:
        print_requests(given.rounds or 40)


if __name__ == "__main__":
    main()
