"""The usage that a provider has reported counts, even if the client leaves, or the provider breaks off, before the end
of the stream.

An estimate has no hidden thoughts, so a client that leaves after the last word would get them for free."""

import json
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import pytest
import trio

from tests.support.asgi_app import Client, eventually
from tests.support.bare_provider import head, listening, read_request
from tests.support.each_row import each_row
from tests.support.features import needs_feature, rows_of
from tests.support.in_process import InProcess, gateway
from tests.support.settled import lines

KEY = "sk-client-of-the-gateway-1"
PRICE: Final = {"input": 10, "output": 100}
WORDS: Final = 5
THOUGHTS: Final = 5000
PROMPT: Final = 7000
END: Final = "the last word"
STEPS: Final = [{"use": "pii", "at": ["request", "response"], "action": "report"}]


def data(event: dict[str, Any], name: str = "") -> bytes:
    return (f"event: {name}\n" if name else "").encode() + f"data: {json.dumps(event)}\n\n".encode()


def chat(*, is_continuous: bool) -> Sequence[bytes]:
    """Return a stream with the usage in each event, as of xAI and vLLM, or in the last one before ``[DONE]``."""
    counts = {"prompt_tokens": PROMPT, "completion_tokens": THOUGHTS + WORDS, "total_tokens": PROMPT + THOUGHTS + WORDS}
    usage = {"usage": {**counts, "completion_tokens_details": {"reasoning_tokens": THOUGHTS}}}
    texts = [{"id": "c", "choices": [{"index": 0, "delta": {"content": text}}]} for text in (*"four", END)]
    if is_continuous:
        return [data({**one, **usage}) for one in texts]
    finish = {"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    return [*map(data, texts), data(finish), data({"id": "c", "choices": [], **usage})]


def messages() -> Sequence[bytes]:
    """Return a stream to the event before ``message_stop``."""
    message = {"id": "m", "type": "message", "role": "assistant", "model": "m", "content": []}
    events = [
        {"type": "message_start", "message": {**message, "usage": {"input_tokens": PROMPT, "output_tokens": 1}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": t}} for t in "four"),
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": END}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": THOUGHTS + WORDS}},
    ]
    return [data(event, str(event["type"])) for event in events]


def gemini() -> Sequence[bytes]:
    """Return a stream whose thoughts are counted after its first event."""
    usage = {"promptTokenCount": PROMPT, "candidatesTokenCount": WORDS, "totalTokenCount": PROMPT + WORDS}
    texts = [{"candidates": [{"index": 0, "content": {"role": "model", "parts": [{"text": t}]}}]} for t in ("a", END)]
    return [
        data({**texts[0], "usageMetadata": usage}),
        data({**texts[1], "usageMetadata": {**usage, "thoughtsTokenCount": THOUGHTS}}),
    ]


def thinking(api: str) -> Sequence[bytes]:
    """Return the start of a stream that counts hidden thoughts, and has no content yet."""
    if api == "messages":
        return messages()[:1]
    if api == "gemini":
        usage = {"promptTokenCount": PROMPT, "thoughtsTokenCount": THOUGHTS, "totalTokenCount": PROMPT + THOUGHTS}
        return [data({"candidates": [{"index": 0, "content": {"role": "model", "parts": []}}], "usageMetadata": usage})]
    counts = {"prompt_tokens": PROMPT, "completion_tokens": THOUGHTS, "total_tokens": PROMPT + THOUGHTS}
    return [data({"id": "c", "choices": [{"index": 0, "delta": {"role": "assistant"}}], "usage": counts})]


STREAMS: Final = {
    "chat": chat(is_continuous=False),
    "each": chat(is_continuous=True),
    "messages": messages(),
    "gemini": gemini(),
}
APIS: Final = {"chat": "chat", "each": "chat", "messages": "messages", "gemini": "gemini"}


async def serve(sent: trio.Event, stream: trio.SocketStream) -> None:
    """Send a stream without its last event, set ``sent``, and wait for the end of the connection."""
    request = await read_request(stream)
    assert request is not None
    path, _, body = request
    name = path.split("/")[1]
    if name == "gemini" and "chat/completions" in path:  # Google has a Chat endpoint, too
        name = "chat"
    events = thinking(APIS[name]) if b"think" in body else STREAMS[name]
    await stream.send_all(head(200, ("content-type", "text/event-stream")) + b"".join(events))
    sent.set()
    await stream.receive_some()


def settings(url: str, steps: Sequence[dict[str, Any]] = ()) -> dict[str, Any]:
    entries = [
        {"model": f"openai/{name}", "base_url": f"{url}/{name}/v1", "speaks": [api]} if api != "gemini" else
        {"model": "gemini/gemini", "base_url": f"{url}/gemini"}
        for name, api in APIS.items()
    ]  # fmt: skip
    whole = [{**entry, "access_key": "k", "price": PRICE} for entry in entries]
    keys = [{"name": "one", "key": KEY}]
    return {
        "version": "v0.3.0",
        "model_providers": whole,
        "client_keys": keys,
        **({"steps": list(steps)} if steps else {}),
    }


def passing(url: str) -> dict[str, Any]:
    """Return settings with pass-through."""
    whole = settings(url)
    entries = [{**entry, "passthrough": True} for entry in whole["model_providers"]]
    for name, entry in zip(APIS, entries, strict=True):
        entry["name"] = f"my-{name}"
    keys = [{**key, "passthrough": [entry["name"] for entry in entries]} for key in whole["client_keys"]]
    return {**whole, "model_providers": entries, "client_keys": keys}


async def ask(served: InProcess, path: str, body: dict[str, Any]) -> Client:
    """Return a client that has sent a request with ``body``."""
    client, content = Client(trio.socket.socket()), json.dumps(body)
    await client.sock.connect(("127.0.0.1", int(served.url.rpartition(":")[2])))
    fields = f"host: x\r\nauthorization: Bearer {KEY}\r\ncontent-length: {len(content)}"
    await client.send(f"POST {path} HTTP/1.1\r\n{fields}\r\n\r\n{content}")
    return client


async def leave(served: InProcess, path: str, body: dict[str, Any], sent: trio.Event, after: str = "") -> None:
    """Leave when the provider has ``sent`` everything, and ``after`` has arrived."""
    client = await ask(served, path, body)
    await sent.wait()
    if after:
        await client.until(after.encode())
    await trio.testing.wait_all_tasks_blocked(0.01)  # the rest has arrived
    client.leave("rst")


async def line_of(
    made: Callable[[str], dict[str, Any]], path: str, provider: str, text: str = "hi", after: str = ""
) -> Any:
    """Return the line of a client that leaves the stream of its request."""
    body = {"model": provider, "max_tokens": 9000, "stream": True, "messages": [{"role": "user", "content": text}]}
    sent = trio.Event()
    async with listening(partial(serve, sent)) as url, gateway(made(url)) as served:
        with lines(served) as settled:
            await leave(served, path, body, sent, after)
            await eventually(lambda: bool(settled))
    (line,) = settled
    return line


def check_reported(line: dict[str, Any]) -> None:
    assert line["ended"] == "client_disconnected"
    assert (line["input_tokens"], line["output_tokens"]) == (PROMPT, THOUGHTS + WORDS)
    assert line["cost_usd"] == pytest.approx((PROMPT * 10 + (THOUGHTS + WORDS) * 100) / 10**6)


@each_row("path", ["/v1/chat/completions", "/v1/messages"])
@each_row("provider", STREAMS, every=2)
@each_row("steps", [[], *rows_of("steps", STEPS)])
async def test_a_client_that_leaves_after_the_last_word_is_charged_for_the_reported_usage(path, provider, steps):
    check_reported(await line_of(partial(settings, steps=steps), path, provider, after=END))


@each_row("provider", ["each", "messages", "gemini"])
@each_row("steps", [[], *rows_of("steps", STEPS)])
async def test_a_client_that_leaves_during_hidden_thoughts_is_charged_for_them(provider, steps):
    """No content has gone to the client, so the attempt is not committed."""
    line = await line_of(partial(settings, steps=steps), "/v1/messages", provider, "think")
    output = 1 if provider == "messages" else THOUGHTS
    (attempt,) = line["tried"]
    assert (attempt["reason"], attempt["input_tokens"], attempt["output_tokens"]) == ("client_left", PROMPT, output)
    assert line["cost_usd"] == pytest.approx((PROMPT * 10 + output * 100) / 10**6)
    assert line["cost_grade"] == "estimated"  # the counts were not final


async def break_off(stream: trio.SocketStream) -> None:
    """Send the start of a stream that counts hidden thoughts, and close the connection within its body."""
    request = await read_request(stream)
    assert request is not None
    fields = ("content-type", "text/event-stream"), ("content-length", "99999")
    await stream.send_all(head(200, *fields) + b"".join(thinking(APIS[request[0].split("/")[1]])))


@each_row("provider", ["each", "messages"])
@each_row("steps", [[], *rows_of("steps", STEPS)])
async def test_the_cost_of_a_provider_that_breaks_off_during_hidden_thoughts_is_estimated(provider, steps):
    body = {"model": provider, "max_tokens": 9000, "stream": True, "messages": [{"role": "user", "content": "think"}]}
    path = "/v1/messages" if provider == "messages" else "/v1/chat/completions"
    async with listening(break_off) as url, gateway(settings(url, steps)) as served:
        with lines(served) as settled:
            client = await ask(served, path, body)
            await eventually(lambda: bool(settled))
            client.leave("rst")
    (line,) = settled
    assert {attempt["reason"] for attempt in line["tried"]} == {"connection"}
    output = 1 if provider == "messages" else THOUGHTS
    assert line["cost_usd"] == pytest.approx(len(line["tried"]) * (PROMPT * 10 + output * 100) / 10**6)
    assert line["cost_grade"] == "estimated"  # the counts were not final


@needs_feature("pass_through")
@each_row("provider", STREAMS)
async def test_pass_through_is_charged_for_the_reported_usage(provider):
    path = {"chat": "chat/completions", "messages": "messages", "gemini": "models/gemini:streamGenerateContent"}
    check_reported(await line_of(passing, f"/my-{provider}/{path[APIS[provider]]}?alt=sse", provider, after=END))
