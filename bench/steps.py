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
import socket
import statistics
import string
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from peer import HEAD, chunk, event
from side_by_side import Round, Server, gateway, measure, post, provider, read_message, whole_answer

CONFIG: Final = """
version: v0.3.0
listeners: [{type: model, name: m, port: {port}}]
model_providers: [{model: mistral/m, access_key: sk-bench, base_url: "http://127.0.0.1:{provider}"}]
state_storage: {type: none}
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
WARMING: Final = 6
"""Requests before each measurement, because the gateways displace each other's data from the caches of the CPU."""
MEBIBYTE: Final = 2**20


# Requests and streams


def serve(connection: socket.socket) -> None:
    small, stream = small_answer(), streamed_answer()
    with connection:
        while (request := read_message(connection)) is not None:
            connection.sendall(stream if b'"stream": true' in request else small)


def small_answer() -> bytes:
    message = {"role": "assistant", "content": "The market opens at 9."}
    return whole_answer({
        "id": "c", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
    })  # fmt: skip


def streamed_answer() -> bytes:
    """Return a stream of words and some numbers, in one piece."""
    source, events = random.Random(1), []
    for number in range(EVENTS):
        text = "4111111111111112 " if number % 20 == 19 else source.choice(("market ", "opens ", "at 9, ", "and "))
        events.append(event({"content": text}))
    head = HEAD % b"text/event-stream" + b"transfer-encoding: chunked\r\n\r\n"
    return b"".join((head, *events, event({}, "stop"), chunk(b"data: [DONE]\n\n"), b"0\r\n\r\n"))


def print_requests(rounds: int) -> None:
    print("| steps | small request, ms | ratio | stream, ms | ratio |\n|---|---|---|---|---|", flush=True)
    with provider(serve) as port, contextlib.ExitStack() as stack:
        servers: dict[str, Server] = {}

        def send(name: str, request: bytes) -> None:
            post(servers[name].client, "/v1/chat/completions", request)

        for name, steps in STEPS.items():
            config = CONFIG.replace("{provider}", str(port)).replace("{steps}", steps)
            servers[name] = stack.enter_context(gateway(config))
            send(name, request_for(stream=False))  # a connection without a request would be closed
        found = []
        for stream, count in ((False, 30), (True, 10)):
            request = request_for(stream=stream)
            requests = Round([request] * WARMING, [request] * count)
            found.append(measure(servers, rounds, lambda requests=requests: requests, send))  # type: ignore[misc]
    for name in STEPS:
        cells = [name]
        for times in found:
            ratio = statistics.median(one / other for one, other in zip(times[name], times["none"], strict=True))
            cells += [f"{statistics.median(times[name]):.2f}", f"{ratio:.2f}"]
        print("| " + " | ".join(cells) + " |", flush=True)


def request_for(*, stream: bool) -> bytes:
    messages = [{"role": "user", "content": "When does it open?"}]
    return json.dumps({"model": "mistral/m", "stream": stream, "messages": messages}).encode()


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
        for number, one in self._events:
            if (mark := self._marks.get(number)) is not None:
                mark()
            return one
        raise StopAsyncIteration


def load_event_steps(rows: Sequence[dict[str, Any]]) -> Sequence[Any]:
    from gateway.config_files.loading import from_mapping
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
