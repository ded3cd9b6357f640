"""Event streams of endpoints besides conversations flow as far as the ``hold`` of their steps allows."""

import contextlib
import json
import random
from typing import Any, Final

import httpx2
import pytest
import trio
import trio.testing

from tests.support import word_steps
from tests.support.each_row import each_row
from tests.support.endpoint_provider import EndpointProvider, ScriptedAnswer, endpoint_provider, events, settings
from tests.support.in_process import InProcess, gateway
from tests.support.settled_lines import SettledLines

TEXT: Final = "the first words are fine, then it is falcon-77 today, and the last words are fine again"
DONE: Final = b"data: [DONE]\n\n"
REGEX: Final = {"use": "regex", "name": "words", "at": ["response"], "with": {"patterns": {"word": "falcon-[0-9]+"}}}
KEY: Final = {"signing_key": "c2lnbmluZy1rZXktZm9yLXRlc3RzLTAxMjM0NTY3ODk="}
FORM: Final = {"files": {"file": ("a.wav", b"RIFF", "audio/wav")}, "data": {"model": "m-1", "stream": "true"}}


def code(**more: Any) -> dict[str, Any]:
    return {"use": "tests.support.word_steps:words", "name": "words", "at": ["response"], **more}


HOLDS: Final[dict[str, dict[str, Any]]] = {
    "whole": code(action="mask"),
    "window": code(action="mask", hold=12),
    "tail": {**REGEX, "action": "mask"},
}


def sse(value: Any) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def completion(text: str, index: int = 0) -> bytes:
    choice = {"index": index, "text": text, "finish_reason": None, "logprobs": {"tokens": [text]}}
    return sse({"id": "c", "object": "text_completion", "choices": [choice]})


def fill_delta(text: str) -> bytes:
    return sse({"id": "c", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": text}}]})


def transcript_delta(text: str) -> bytes:
    return sse({"type": "transcript.text.delta", "delta": text, "logprobs": [{"token": text, "logprob": -1}]})


ENDPOINTS: Final = {
    "completions": ("/v1/completions", completion, (DONE,)),
    "fim": ("/v1/fim/completions", fill_delta, (DONE,)),
    "transcriptions": (
        "/v1/audio/transcriptions",
        transcript_delta,
        (sse({"type": "transcript.text.done", "text": TEXT}),),
    ),
}


@contextlib.asynccontextmanager
async def gateway_with(answer: ScriptedAnswer, *steps: dict[str, Any], **more: Any):
    word_steps.seen.clear()
    async with endpoint_provider(lambda asked: answer) as provider:
        entries = [
            {"model": model, "access_key": "k", "base_url": f"{provider.url}/v1"}
            for model in ("openai/m-1", "mistral/m-2")
        ]
        async with gateway({**settings(*entries), "steps": list(steps), **more}) as served:
            yield served, provider


@contextlib.asynccontextmanager
async def streaming(served: InProcess, path: str = "/v1/completions", prompt: str = "a"):
    model = "m-2" if "fim" in path else "m-1"
    sent = FORM if "audio" in path else {"json": {"model": model, "prompt": prompt, "stream": True}}
    async with (
        httpx2.AsyncClient(base_url=served.url, verify=False, trust_env=False, timeout=20) as client,
        client.stream("POST", path, **sent) as response,
    ):
        yield response


async def read_all(served: InProcess, path: str = "/v1/completions", prompt: str = "a") -> tuple[int, bytes]:
    async with streaming(served, path, prompt) as response:
        return response.status_code, await response.aread()


def texts_in(stream: bytes) -> list[str]:
    """Return the text of each event, without events that repeat all of it."""
    found = []
    for line in stream.split(b"\n"):
        if line.startswith(b"data: {"):
            value = json.loads(line[6:])
            choices = value.get("choices", ())
            found += [one.get("text", one.get("delta", {}).get("content", "")) for one in choices] or [
                value.get("delta", "")
            ]
    return found


def split(text: str, seed: int) -> list[str]:
    source, found = random.Random(seed), []
    while text:
        size = source.choice((1, 2, 3, 7, 20, len(text)))
        found.append(text[:size])
        text = text[size:]
    return found


@pytest.mark.sample(5, by="turns")
@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("hold", HOLDS)
async def test_every_split_of_a_stream_gives_the_same_masked_text(endpoint, hold):
    """https://github.com/elizaOS/eliza/issues/15348"""
    path, write, ends = ENDPOINTS[endpoint]
    texts, masked = set(), "the first words are fine, then it is [WORD_"
    for seed in range(5):
        answer = events(*map(write, split(TEXT, seed)), *ends)
        async with gateway_with(answer, HOLDS[hold], **KEY) as (served, _):
            status, body = await read_all(served, path)
        assert status == 200, body
        assert b"alcon" not in body
        assert b"77" not in body
        assert body.endswith(DONE) is (DONE in ends)
        texts.add("".join(texts_in(body)))
        if endpoint == "transcriptions":
            assert f'"text":"{masked}' in body.decode().replace('": "', '":"')
    (text,) = texts
    assert text.startswith(masked)
    assert text.endswith("] today, and the last words are fine again")


async def let_provider_send(provider: EndpointProvider, count: int, done: trio.Event) -> None:
    """Let the provider send its next ``count`` pieces, one at a time, and set ``done``."""
    await provider.begun.wait()
    for _ in range(count):
        await trio.testing.wait_all_tasks_blocked(0.02)
        provider.go.set()
        provider.go = trio.Event()
    await trio.testing.wait_all_tasks_blocked(0.02)
    done.set()


class Reading:
    """The pieces of a stream that have arrived."""

    def __init__(self, response: httpx2.Response) -> None:
        self.received = b""
        self._pieces = response.aiter_bytes()

    async def read_rest(self) -> bytes:
        with trio.fail_after(10):
            async for piece in self._pieces:
                self.received += piece
        return self.received

    async def until(self, count: int) -> None:
        """Read until ``count`` characters of text have arrived."""
        with trio.fail_after(10):
            while len("".join(texts_in(self.received))) < count:
                self.received += await anext(self._pieces)


@each_row("endpoint", ENDPOINTS, every=3)
@each_row(("hold", "behind"), [("window", 30), ("tail", 15)])
async def test_text_flows_while_the_provider_still_works(endpoint, hold, behind):
    path, write, ends = ENDPOINTS[endpoint]
    words = [f"{word} " for word in TEXT.split()]
    async with gateway_with(events(*map(write, words), *ends), HOLDS[hold]) as (served, provider):
        provider.go = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(let_provider_send, provider, 8, begun := trio.Event())
            async with streaming(served, path) as response:
                await begun.wait()
                reading, sent = Reading(response), len("".join(words[:8]))
                await reading.until(sent - behind)
                for word in words[8:]:
                    await let_provider_send(provider, 1, trio.Event())
                    sent += len(word)
                    await reading.until(sent - behind)
                provider.go.set()
                assert b"alcon" not in await reading.read_rest()


async def test_a_step_that_holds_nothing_cuts_the_stream():
    answer = events(completion("it is "), completion("falcon-77 "), *[completion("more ") for _ in range(400)], DONE)
    async with gateway_with(answer, code(action="refuse", hold="nothing")) as (served, provider):
        provider.go = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(let_provider_send, provider, 1, begun := trio.Event())
            async with streaming(served) as response:
                await begun.wait()
                reading = Reading(response)
                await reading.until(6)
                provider.go.set()
                body = await reading.read_rest()
        assert response.status_code == 200
        assert body.count(b"content_filter") == 1
        assert b"[DONE]" not in body


async def test_the_end_of_a_refused_answer_does_not_pass_a_step_that_holds_nothing():
    """Some servers state the end in the event of the last word."""
    last = completion("falcon-77").replace(b'"finish_reason": null', b'"finish_reason": "stop"')
    answer = events(completion("it is "), last, DONE)
    async with gateway_with(answer, code(action="refuse", hold="nothing")) as (served, _):
        status, body = await read_all(served)
    assert (status, body.count(b"content_filter")) == (200, 1)
    assert b'"stop"' not in body
    good = last.replace(b"falcon-77", b"!")
    async with gateway_with(events(completion("fine"), good, DONE), code(hold="nothing")) as (served, _):
        assert await read_all(served) == (200, completion("fine") + good + DONE)


@pytest.mark.sample(2)
@pytest.mark.parametrize("hold", ["window", "tail"])
async def test_a_refusal_after_the_first_text_is_the_last_event(hold):
    texts = ("a first text ", "that is fine. ", "and it goes on ", "it is falcon-77 and ", "b")
    answer = events(*map(completion, texts), DONE)
    async with gateway_with(answer, {**HOLDS[hold], "action": "refuse"}) as (served, provider):
        provider.go = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(let_provider_send, provider, 3, begun := trio.Event())
            async with streaming(served) as response:
                await begun.wait()
                reading = Reading(response)
                await reading.until(13)
                await let_provider_send(provider, 1, trio.Event())
                body = await reading.read_rest()
        with trio.fail_after(5):
            await provider.left_now.wait()
    assert b"alcon" not in body
    assert body.count(b"content_filter") == 1
    assert b"[DONE]" not in body


@each_row("seed", range(4))
async def test_values_return_in_a_stream_however_it_is_split(seed):
    """https://github.com/BerriAI/litellm/issues/31950"""
    step = {**REGEX, "at": ["request"], "action": "mask", "restore": True}
    async with gateway_with(events(DONE), step, **KEY) as (served, provider):
        await read_all(served, prompt="about falcon-12")
        sent = provider.asked[0].json["prompt"]
    answer = events(*map(completion, split(f"you said: {sent} and [WORD_0123456789]", seed)), DONE)
    async with gateway_with(answer, step, **KEY) as (served, _):
        status, body = await read_all(served, prompt="about falcon-12")
    assert status == 200
    assert "".join(texts_in(body)) == "you said: about falcon-12 and [WORD_0123456789]"


async def test_comments_and_ids_of_events_do_not_pass():
    answer = events(b": falcon-77\n\n", b"id: falcon-77\nevent: falcon-77\n" + completion("fine"), DONE)
    async with gateway_with(answer, code()) as (served, _):
        status, body = await read_all(served)
    assert (status, body) == (200, completion("fine") + DONE)


async def test_text_that_is_held_beyond_the_limit_is_unchecked():
    pieces = [completion("x" * 2**16) for _ in range(40)]
    limits = {"limits": {"answer": "1MiB"}}
    async with gateway_with(events(*pieces, DONE), code(), **limits) as (served, _):
        status, body = await read_all(served)
        assert (status, json.loads(body)["error"]["code"]) == (503, "step_unavailable")
    async with gateway_with(events(*pieces, DONE), code(unchecked="pass"), **limits) as (served, _):
        assert await read_all(served) == (200, b"".join(pieces) + DONE)


@pytest.mark.sample(2, by="turns")
@pytest.mark.parametrize("path", ["/v1/completions", "/v1/chat/completions"])
async def test_a_step_that_reports_holds_no_more_of_a_stream_than_an_answer_may_have(path):
    write = completion if path == "/v1/completions" else fill_delta
    end = sse({"id": "c", "choices": [{"index": 0, "delta": {}, "text": "", "finish_reason": "stop"}]})
    pieces = [write("x" * 2**16) for _ in range(40)]
    async with gateway_with(events(*pieces, end, DONE), code(action="report"), limits={"answer": "1MiB"}) as (
        served,
        _,
    ):
        lines = SettledLines(served)
        body = {"model": "m-1", "prompt": "a", "messages": [{"role": "user", "content": "a"}], "stream": True}
        found = await served.post(path, json=body if "chat" in path else {**body, "messages": None})
        assert (found.status_code, found.content.count(pieces[0])) == (200, 40)
        (line,) = await lines.next()
        (report,) = [one for one in line["steps"] if one["at"] == "response"]
        assert (report["outcome"], report["failure"]) == ("reported", "too_long")
        assert not any(check.at == "response" for check in word_steps.seen)
