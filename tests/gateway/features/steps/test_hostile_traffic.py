"""No request and no response delays the streams of others while steps check it (CWE-400).

Each turn of the gateway's loop is measured in CPU time, as for routes without steps.
"""

import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest

from tests.support.features import needs_feature
from tests.support.gateway_thread import gateway_thread
from tests.support.growing_streams import STREAMS as GROWING_STREAMS
from tests.support.growing_streams import wire
from tests.support.harness import PATIENCE, config, provider, request
from tests.support.hostile_bodies import HostileAnswer
from tests.support.loop_steps import check_steps
from tests.support.set_answer import SetAnswer, set_answer_provider

KEY: Final = "key-of-mallory-for-tests-0123"
SIGNING_KEY: Final = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
MASKED: Final = {"models": ["masked", "masked-gemini", "masked-messages"]}
STEPS: Final = [
    {"use": "pii", "action": "mask", "restore": True, "for": MASKED},
    {"use": "secrets", "at": ["request", "response"]},
    {"use": "tools", "with": {"allow": ["t*"]}, "action": "mask", "for": MASKED},
    {"use": "regex", "action": "mask", "with": {"patterns": {"project": "falcon-[0-9]+"}}, "for": MASKED},
    {"use": "pii", "name": "newest", "action": "refuse", "latest": True, "for": {"models": ["latest"]}},
]
MODELS: Final = ("masked", "refused")
"""Names with steps that change responses, and with a step that releases the provider's own events."""

CHUNK: Final = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
WHOLE: Final = {**CHUNK, "object": "chat.completion", "choices": [
    {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}
]}  # fmt: skip


@pytest.fixture(scope="module")
def gateway():
    with set_answer_provider() as url:
        entries = [provider(f"openai/{model}", f"{url}/v1", ["chat"]) for model in (*MODELS, "latest")]
        entries += [provider(f"gemini/{model}-gemini", f"{url}/v1beta", ["gemini"]) for model in MODELS]
        entries.append(provider("anthropic/masked-messages", url, ["messages"]))
        keys = [{"name": "mallory", "key": KEY}]
        with gateway_thread(config(entries, client_keys=keys, steps=STEPS, signing_key=SIGNING_KEY)) as served:
            yield served


def send(gateway: Any, model: str, body: dict[str, Any]) -> int:
    return ask(gateway, "/v1/chat/completions", {"model": model, **body})


def ask(gateway: Any, path: str, body: dict[str, Any]) -> int:
    headers = {"authorization": f"Bearer {KEY}"}
    status = request(gateway.url, "POST", path, body, headers, timeout=PATIENCE).status
    assert status in (200, 400, 403, 502)  # several steps bound the texts and values of a request
    return status


def user(content: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content}]}


REQUESTS: Final[dict[str, dict[str, Any]]] = {
    "definitions": {**user("x"), "tools": [
        {"type": "function", "function": {"name": f"t{at}", "parameters": {}}} for at in range(15_000)
    ]},
    "unknown members": {**user("x"), **{f"n{at}": 1 for at in range(40_000)}},
    "short texts": {**user("x"), "stop": [f"x{at}" for at in range(49_000)]},
    "turns": {"messages": [{"role": "user", "content": "a@example.com"}] * 20_000},
    "parts": user([{"type": "text", "text": f"{at}"} for at in range(20_000)]),
    "values to mask": user(" ".join(f"u{at}@example.com" for at in range(19_000))),
    "too many values": user(" ".join(f"u{at}@b.cd" for at in range(150_000))),
    "names like values": {**user("x"), **{f"u{at}@b.cd": 1 for at in range(90_000)}},
    "a long text": user("falcon - " * 1_000_000),
}  # fmt: skip
SLOWEST: Final = ("definitions", "values to mask", "names like values")
"""Requests that take three ways through the steps: their tools, their texts and their own members."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[pytest.mark.soak] * (kind not in SLOWEST)) for kind in REQUESTS]
)
def test_no_request_blocks_the_loop(gateway, kind):
    SetAnswer.answer = HostileAnswer(json.dumps(WHOLE).encode())
    check_steps(gateway, lambda: send(gateway, "masked", REQUESTS[kind]))


@pytest.mark.slow
def test_the_latest_of_many_messages_are_found_without_a_search_for_each(gateway):
    """8,000 messages took 0.24 s of one turn, and 60,000 would take 13 s."""
    SetAnswer.answer = HostileAnswer(json.dumps(WHOLE).encode())
    turns = [{"role": ("user", "assistant")[at % 2], "content": f"x{at}"} for at in range(30_000)]
    check_steps(gateway, lambda: send(gateway, "latest", {"messages": turns}))


def chunk(delta: dict[str, Any], index: int = 0) -> bytes:
    return b"data: %b\n\n" % json.dumps({**CHUNK, "choices": [{"index": index, "delta": delta}]}).encode()


def call(at: int, arguments: str = "{}", **more: str) -> dict[str, Any]:
    return {"tool_calls": [{"index": at, "function": {"arguments": arguments, **more}}]}


def calls() -> Iterator[bytes]:
    for at in range(2_000):
        yield chunk(call(at, name="t"))


def pieces() -> Iterator[bytes]:
    yield chunk(call(0, "", name="t"))
    for _ in range(60_000):
        yield chunk(call(0, "1"))


def choices() -> Iterator[bytes]:
    for at in range(5_000):
        yield chunk({"content": "x"}, at)


def strings_after_text() -> Iterator[bytes]:
    for _ in range(1_000):
        yield chunk({"content": "word " * 200})
    for event in range(20):
        yield chunk({"content": "x", "unknown": [f"{event}-{at}" for at in range(900)]})


def strings_beside_text() -> Iterator[bytes]:
    yield chunk({"content": "word " * 200_000, "unknown": [f"s{at}" for at in range(900)]})


def wide_arguments() -> Iterator[bytes]:
    for at in range(8):
        yield chunk(call(0, "[]," * 300_000, **({} if at else {"name": "t"})))


def words() -> Iterator[bytes]:
    for _ in range(20_000):
        yield chunk({"content": "u@example.com "})


STREAMS: Final[dict[str, Callable[[], Iterator[bytes]]]] = {
    "calls": calls,
    "pieces of a call": pieces,
    "choices": choices,
    "strings after a text": strings_after_text,
    "strings beside a text": strings_beside_text,
    "wide arguments": wide_arguments,
    "values to mask": words,
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "kind"),
    [
        ("masked", "calls"), ("refused", "values to mask"),
        *(pytest.param(*row, marks=pytest.mark.soak) for row in itertools.product(MODELS, STREAMS)),
    ],
)  # fmt: skip
def test_no_stream_blocks_the_loop(gateway, model, kind):
    SetAnswer.answer = HostileAnswer(b"".join(STREAMS[kind]()) + b"data: [DONE]\n\n", "text/event-stream")
    check_steps(gateway, lambda: send(gateway, model, {**user("x"), "stream": True}))


def answer_of(message: dict[str, Any], **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": "hi", **message}, "finish_reason": "stop"}
    return {**WHOLE, "choices": [choice], **more}


RESPONSES: Final[dict[str, Callable[[], dict[str, Any]]]] = {
    "unknown members": lambda: answer_of({}, **{f"n{at}": f"x{at}" for at in range(40_000)}),
    "unknown members of a message": lambda: answer_of({f"n{at}": f"x{at}" for at in range(40_000)}),
    "values to mask": lambda: answer_of({"content": " ".join(f"u{at}@example.com" for at in range(60_000))}),
    "a long text": lambda: answer_of({"content": "falcon - " * 1_000_000}),
    "calls": lambda: answer_of({"tool_calls": [
        {"id": f"c{at}", "type": "function", "function": {"name": "t", "arguments": f'{{"a": "u{at}@example.com"}}'}}
        for at in range(10_000)
    ]}),
    "citations": lambda: answer_of({"annotations": [
        {"type": "url_citation", "url_citation": {"url": f"https://{at}", "title": f"T{at}"}} for at in range(20_000)
    ]}),
    "choices": lambda: {**WHOLE, "choices": [
        {"index": at, "message": {"role": "assistant", "content": f"u{at}@example.com"}, "finish_reason": "stop"}
        for at in range(10_000)
    ]},
}  # fmt: skip


@pytest.mark.soak
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("is_streamed", [False, True])
@pytest.mark.parametrize("kind", RESPONSES)
def test_no_complete_response_blocks_the_loop(gateway, model, is_streamed, kind):
    SetAnswer.answer = HostileAnswer(json.dumps(RESPONSES[kind]()).encode())
    check_steps(gateway, lambda: send(gateway, model, {**user("x"), "stream": is_streamed}))


GROWING: Final = {
    "chat": ("details of many indexes", "details without text", "reasoning", "citations of a text"),
    "gemini": ("signed thoughts",),
}


@pytest.mark.soak
@pytest.mark.parametrize(("api", "kind"), [(api, kind) for api, kinds in GROWING.items() for kind in kinds])
@pytest.mark.parametrize("model", MODELS)
def test_no_kind_of_event_blocks_the_loop(gateway, model, api, kind):
    stream = wire(api, GROWING_STREAMS[api][kind](2_000))
    SetAnswer.answer = HostileAnswer(stream, "text/event-stream")
    if api == "gemini":
        path = f"/v1beta/models/{model}-gemini:streamGenerateContent?alt=sse"
        body = {"contents": [{"role": "user", "parts": [{"text": "x"}]}]}
        check_steps(gateway, lambda: ask(gateway, path, body))
    else:
        check_steps(gateway, lambda: send(gateway, model, {**user("x"), "stream": True}))


# Batches


HI: Final = [{"role": "user", "content": "hi"}]
FILE: Final = {"id": "file-a", "object": "file", "bytes": 1, "created_at": 1, "filename": "a", "purpose": "batch"}
BATCH: Final = {"id": "msgbatch_a", "type": "message_batch", "processing_status": "in_progress"}


def line(at: int) -> bytes:
    request_body = {"model": "masked", "messages": HI}
    return json.dumps(
        {"custom_id": f"c{at}", "method": "POST", "url": "/v1/chat/completions", "body": request_body}
    ).encode()


def upload(data: bytes) -> tuple[str, bytes, str]:
    head = b'--x\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--x\r\n'
    head += b'content-disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n'
    return "/v1/files", head + data + b"\r\n--x--\r\n", "multipart/form-data; boundary=x"


def batch_of_many_requests() -> tuple[str, bytes, str]:
    listed = [
        {"custom_id": f"c{at}", "params": {"model": "masked-messages", "max_tokens": 9, "messages": HI}}
        for at in range(5_000)
    ]
    return "/v1/messages/batches", json.dumps({"requests": listed}).encode(), "application/json"


def file_of_many_lines() -> tuple[str, bytes, str]:
    return upload(b"\n".join(map(line, range(5_000))))


def file_of_blank_lines() -> tuple[str, bytes, str]:
    return upload(line(0) + b"\n" * 1_000_000)


@needs_feature("files")
@pytest.mark.slow
@pytest.mark.parametrize(
    "make",
    [
        batch_of_many_requests,
        *(pytest.param(one, marks=pytest.mark.soak) for one in (file_of_many_lines, file_of_blank_lines)),
    ],
)
def test_no_batch_blocks_the_loop(gateway: Any, make: Callable[[], tuple[str, bytes, str]]) -> None:
    path, body, kind = make()
    SetAnswer.answer = HostileAnswer(json.dumps(FILE if path == "/v1/files" else BATCH).encode())

    def send() -> None:
        reply = gateway.request("POST", path, body, {"content-type": kind, "authorization": f"Bearer {KEY}"})
        assert reply.status == 200, reply.body[:300]

    check_steps(gateway, send)
