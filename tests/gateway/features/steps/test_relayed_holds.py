"""Responses of endpoints besides conversations, which wait until their steps have checked all of them."""

import contextlib
import json
import random
import types
from typing import Any, Final

import httpx2
import pytest
import trio
import trio.testing

from tests.support import word_steps
from tests.support.each_row import each_row
from tests.support.endpoint_provider import (
    EndpointProvider,
    ReceivedRequest,
    ScriptedAnswer,
    events,
    json_answer,
)
from tests.support.features import members_of, needs_feature
from tests.support.in_process import InProcess
from tests.support.settled_lines import SettledLines
from tests.support.word_gateway import gateway_with_steps, step

pytestmark = needs_feature("other_endpoints")

TEXT: Final = "the first words are fine, then it is falcon-77 today, and the last words are fine again"
DONE: Final = b"data: [DONE]\n\n"
REGEX: Final = {"use": "regex", "name": "words", "at": ["response"], "with": {"patterns": {"word": "falcon-[0-9]+"}}}
KEY: Final = {"signing_key": "c2lnbmluZy1rZXktZm9yLXRlc3RzLTAxMjM0NTY3ODk="}
FORM: Final = {"files": {"file": ("a.wav", b"RIFF", "audio/wav")}, "data": {"model": "m-1", "stream": "true"}}


def code(**more: Any) -> dict[str, Any]:
    return step(**{"at": ["response"], **more})


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


def gateway_with(answer: Any, *steps: dict[str, Any], **more: Any) -> Any:
    """Return a gateway with ``steps`` and a name with a response cache."""
    aliases = {"cached": {"target": "m-1", **members_of("answer_cache", cache={"ttl": "1h"})}}
    return gateway_with_steps(answer, *steps, model_aliases=aliases, **more)


@contextlib.asynccontextmanager
async def streaming(served: InProcess, path: str = "/v1/completions", prompt: str = "a"):
    sent = FORM if "audio" in path else {"json": {"model": "m-1", "prompt": prompt, "stream": True}}
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


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("hold", HOLDS)
async def test_every_split_of_a_stream_gives_the_same_masked_text(endpoint, hold):
    """https://github.com/elizaOS/eliza/issues/15348"""
    path, write, ends = ENDPOINTS[endpoint]
    texts, masked = set(), "the first words are fine, then it is [WORD_"
    for seed in range(5):
        answer = events(*map(write, split(TEXT, seed)), *ends)
        vendor = "mistral" if endpoint == "fim" else "openai"
        async with gateway_with(answer, HOLDS[hold], model=f"{vendor}/m-1", **KEY) as (served, _):
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


@each_row("seed", range(4))
async def test_values_are_restored_in_a_stream_however_it_is_split(seed):
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


LONG: Final = [completion("x" * 2**16) for _ in range(40)]


@each_row("answer", [events(*LONG, DONE), json_answer({"choices": [{"text": "x" * 2**21}]})])
async def test_text_that_is_held_beyond_the_limit_is_unchecked(answer):
    limits = {"limits": {"answer": "1MiB"}}
    async with gateway_with(answer, code(), **limits) as (served, _):
        status, body = await read_all(served)
        assert (status, json.loads(body)["error"]["code"]) == (503, "step_unavailable")
        assert b"too_long" in body
    async with gateway_with(answer, code(unchecked="pass"), **limits) as (served, _):
        assert await read_all(served) == (200, b"".join(answer.pieces))


async def test_a_body_beyond_the_limit_waits_for_the_steps_that_run_during_the_work_of_the_provider():
    step = {"use": "tests.support.word_steps:late_words", "at": ["during"]}
    async with gateway_with(answer_with("x" * 2**21), step, limits={"answer": "1MiB"}) as (served, _):
        for prompt, status in (("falcon-12", 400), ("fine", 200)):
            found = await served.post("/v1/completions", json={"model": "m-1", "prompt": prompt})
            assert (found.status_code, b"xxx" in found.content) == (status, status == 200)


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


# Responses from the cache, with long checks, or to clients that leave

ANSWER: Final = "it is falcon-77 today"
CUT: Final = events(*map(completion, ("it is fal", "con-77", " today")), DONE)


def answer_with(text: str) -> Any:
    choice = {"index": 0, "text": text, "finish_reason": "stop", "logprobs": None}
    usage = {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6}
    return lambda asked: json_answer({"id": "c", "object": "text_completion", "choices": [choice], "usage": usage})


def wait_before_pieces(provider: EndpointProvider) -> trio.Event:
    """Let ``provider`` wait before each piece of its answers until the event is set."""
    provider.go = trio.Event()
    return provider.go


async def complete(served: InProcess, **headers: str) -> httpx2.Response:
    return await served.post(
        "/v1/completions", json={"model": "cached", "prompt": "a", "max_tokens": 4, "temperature": 0}, headers=headers
    )


async def test_a_masked_or_refused_response_is_not_cached():
    for action, status in (("mask", 200), ("refuse", 400)):
        async with gateway_with(answer_with(ANSWER), code(action=action)) as (served, provider):
            for number in (1, 2):
                found = await complete(served)
                assert found.status_code == status
                assert b"falcon" not in found.content
                assert len(provider.asked) == number


@needs_feature("answer_cache")
async def test_steps_run_on_each_cached_response():
    async with gateway_with(answer_with("fine"), code()) as (served, provider):
        first = await complete(served)
        await trio.testing.wait_all_tasks_blocked()
        second = await complete(served)
        assert (second.status_code, second.json()["choices"]) == (200, first.json()["choices"])
        assert second.headers["x-trigate-cache"] == "hit"
        assert [check.at for check in word_steps.seen] == ["response", "response"]
        assert len(provider.asked) == 1


async def test_a_refusal_does_not_concern_another_request_for_the_same_response():
    waiting = trio.Event()

    async def answer(asked: ReceivedRequest) -> ScriptedAnswer:
        if len(provider.asked) == 1:
            await waiting.wait()
        return answer_with(ANSWER)(asked)  # type: ignore[no-any-return]

    found: dict[str, httpx2.Response] = {}

    async def send(name: str, **headers: str) -> None:
        found[name] = await complete(served, **headers)

    async with (
        gateway_with(answer, code(**{"for": "on_request"})) as (served, provider),
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(lambda: send("checked", **{"x-trigate-steps": "words"}))
        await provider.begun.wait()
        nursery.start_soon(send, "unchecked")
        await trio.testing.wait_all_tasks_blocked(0.05)
        waiting.set()
    assert (found["checked"].status_code, found["unchecked"].status_code) == (400, 200), found["unchecked"].text
    assert found["unchecked"].json()["choices"][0]["text"] == ANSWER


async def test_a_held_stream_is_kept_alive_and_a_late_refusal_is_its_last_event():
    async with gateway_with(CUT, code(), keep_alive="1s") as (served, provider):
        go = wait_before_pieces(provider)
        async with streaming(served) as response:
            received = b""
            async for piece in response.aiter_bytes():
                received += piece
                go.set()
        assert response.status_code == 200
        assert received.startswith(b": ")
        assert b"falcon" not in received
        assert b"it is" not in received
        assert received.count(b"content_filter") == 1
        assert b"[DONE]" not in received


@each_row("step", [code(action="report"), {**REGEX, "at": ["request"], "action": "mask", "restore": True}])
async def test_a_stream_that_no_step_holds_flows(step):
    """A step that restores values has none to restore in a response to a request without masks."""
    async with gateway_with(events(completion("fine"), DONE), step) as (served, provider):
        turns = trio.Semaphore(1)
        provider.go = types.SimpleNamespace(wait=turns.acquire)
        async with streaming(served) as response:
            received = response.aiter_bytes()
            with trio.fail_after(5):
                assert await anext(received) == completion("fine")
            turns.release()
            assert b"".join([piece async for piece in received]) == DONE


async def test_a_client_that_leaves_closes_the_provider_and_its_check():
    async with gateway_with(CUT, code()) as (
        served,
        provider,
    ):
        lines = SettledLines(served)
        wait_before_pieces(provider)
        async with trio.open_nursery() as nursery:

            async def wait_for_content() -> None:
                async with streaming(served):
                    raise AssertionError("it has no content")

            nursery.start_soon(wait_for_content)
            await provider.begun.wait()
            await trio.testing.wait_all_tasks_blocked(0.05)
            nursery.cancel_scope.cancel()
        with trio.fail_after(5):
            await provider.left_now.wait()
        (line,) = await lines.next()
        assert line["ended"] == "client_disconnected"


async def test_steps_do_not_check_audio():
    sound = ScriptedAnswer((b"first", b"second"), headers=(("content-type", "audio/mpeg"),))
    async with gateway_with(sound, code(at=["request", "response"])) as (served, _):
        found = await served.post("/v1/audio/speech", json={"model": "m-1", "input": "a", "voice": "b"})
        assert (found.status_code, found.content) == (200, b"firstsecond")
        assert [one.at for one in word_steps.seen] == ["request"]
