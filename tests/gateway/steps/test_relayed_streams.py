"""Steps on responses of endpoints that are cached, held for long, or left by their client."""

import contextlib
import types
from typing import Any, Final

import httpx2
import trio
import trio.testing

from tests.support import word_steps
from tests.support.endpoint_provider import (
    EndpointProvider,
    ReceivedRequest,
    ScriptedAnswer,
    endpoint_provider,
    events,
    json_answer,
    settings,
)
from tests.support.in_process import InProcess, gateway
from tests.support.settled_lines import SettledLines

ANSWER: Final = "it is falcon-77 today"
BODY: Final = {"model": "cached", "prompt": "a", "max_tokens": 4}
PIECES: Final = tuple(
    b'data: {"id":"c","object":"text_completion","choices":[{"index":0,"text":"%b","finish_reason":%b}]}\n\n' % one
    for one in ((b"it is fal", b"null"), (b"con-77", b"null"), (b" today", b'"stop"'))
)
DONE: Final = b"data: [DONE]\n\n"


def step(**more: Any) -> dict[str, Any]:
    return {"use": "tests.support.word_steps:words", "name": "words", "at": ["response"], **more}


def answer_with(text: str) -> Any:
    choice = {"index": 0, "text": text, "finish_reason": "stop", "logprobs": None}
    usage = {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6}
    return lambda asked: json_answer({"id": "c", "object": "text_completion", "choices": [choice], "usage": usage})


@contextlib.asynccontextmanager
async def gateway_with_cache(answering: Any, *steps: dict[str, Any], **more: Any):
    word_steps.seen.clear()
    async with endpoint_provider(answering) as provider:
        entry = {"model": "openai/m-1", "name": "m", "access_key": "k", "base_url": f"{provider.url}/v1"}
        aliases = {"cached": {"target": "m", "cache": {"ttl": "1h"}}}
        async with gateway({**settings(entry), "steps": list(steps), "model_aliases": aliases, **more}) as served:
            yield served, provider


async def complete(served: InProcess, **headers: str) -> httpx2.Response:
    return await served.post("/v1/completions", json={**BODY, "temperature": 0}, headers=headers)


async def test_a_masked_or_refused_response_is_not_cached():
    for action, status in (("mask", 200), ("refuse", 400)):
        async with gateway_with_cache(answer_with(ANSWER), step(action=action)) as (served, provider):
            for number in (1, 2):
                found = await complete(served)
                assert found.status_code == status
                assert b"falcon" not in found.content
                assert len(provider.asked) == number


async def test_steps_run_on_each_cached_response():
    async with gateway_with_cache(answer_with("fine"), step()) as (served, provider):
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
        gateway_with_cache(answer, step(**{"for": "on_request"})) as (served, provider),
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(lambda: send("checked", **{"x-trigate-steps": "words"}))
        await provider.begun.wait()
        nursery.start_soon(send, "unchecked")
        await trio.testing.wait_all_tasks_blocked(0.05)
        waiting.set()
    assert (found["checked"].status_code, found["unchecked"].status_code) == (400, 200), found["unchecked"].text
    assert found["unchecked"].json()["choices"][0]["text"] == ANSWER


@contextlib.asynccontextmanager
async def _stream(served: InProcess):
    body = {"model": "m", "prompt": "a", "stream": True}
    async with (
        httpx2.AsyncClient(base_url=served.url, verify=False, trust_env=False, timeout=20) as client,
        client.stream("POST", "/v1/completions", json=body) as response,
    ):
        yield response


def _make_provider_wait(provider: EndpointProvider) -> trio.Event:
    """Let ``provider`` wait before each piece of its answers until the event is set."""
    provider.go = trio.Event()
    return provider.go


async def test_a_held_stream_is_kept_alive_and_a_late_refusal_is_its_last_event():
    async with gateway_with_cache(lambda asked: events(*PIECES, DONE), step(), keep_alive="1s") as (served, provider):
        go = _make_provider_wait(provider)
        async with _stream(served) as response:
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


async def test_a_providers_comment_passes_while_a_stream_is_held():
    answer = events(PIECES[2], b": busy\n\n" * 2, DONE)
    async with gateway_with_cache(lambda asked: answer, step()) as (served, provider):
        turns = trio.Semaphore(2)
        provider.go = types.SimpleNamespace(wait=turns.acquire)
        async with _stream(served) as response:
            received = response.aiter_bytes()
            with trio.fail_after(5):
                assert await anext(received) == b": ping\n\n"
            turns.release()
            assert b"".join([piece async for piece in received]) == PIECES[2] + DONE


async def test_a_client_that_leaves_closes_the_provider_and_its_check():
    async with gateway_with_cache(lambda asked: events(*PIECES, DONE), step()) as (served, provider):
        lines = SettledLines(served)
        _make_provider_wait(provider)
        with trio.move_on_after(0.5):
            async with _stream(served):
                raise AssertionError("it has no content")
        with trio.fail_after(5):
            await provider.left_now.wait()
        (line,) = await lines.next()
        assert line["ended"] == "client_disconnected"


async def test_an_answer_beyond_the_limit_is_unchecked():
    limits = {"limits": {"answer": "1MiB"}}
    long = answer_with("x" * 2**21)
    async with gateway_with_cache(long, step(), **limits) as (served, _):
        found = await complete(served)
        assert (found.status_code, found.json()["error"]["code"]) == (503, "step_unavailable")
        assert "too_long" in found.text
    async with gateway_with_cache(long, step(unchecked="pass"), **limits) as (served, _):
        found = await complete(served)
        assert (found.status_code, len(found.json()["choices"][0]["text"])) == (200, 2**21)


async def test_sound_has_no_text_for_a_step():
    sound = ScriptedAnswer((b"first", b"second"), headers=(("content-type", "audio/mpeg"),))
    both = step(at=["request", "response"])
    async with gateway_with_cache(lambda asked: sound, both) as (served, _):
        async with (
            httpx2.AsyncClient(base_url=served.url, verify=False, trust_env=False, timeout=20) as client,
            client.stream("POST", "/v1/audio/speech", json={"model": "m", "input": "a", "voice": "b"}) as response,
        ):
            received = b""
            async for piece in response.aiter_bytes():
                received += piece
        assert (response.status_code, received) == (200, b"firstsecond")
        assert [one.at for one in word_steps.seen] == ["request"]
