"""Legacy completions and fill-in-the-middle over real sockets.

The gateway forwards them unchanged (envoyproxy/ai-gateway#1231). lm-eval scores with ``echo`` and ``logprobs``
(ggml-org/llama.cpp#27174), and editors fill in code with ``suffix`` or with Mistral's own path."""

import json
from collections.abc import Callable
from typing import Any

import httpx2

from tests.support.endpoint_provider import (
    ReceivedRequest,
    ScriptedAnswer,
    before,
    endpoint_provider,
    events,
    json_answer,
    settings,
)
from tests.support.in_process import InProcess, gateway
from tests.support.settled_lines import SettledLines

USAGE = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}


def chunk(index: int, text: str = "", finish: str | None = None, **more: Any) -> bytes:
    choice = {"index": index, "text": text, "logprobs": None, "finish_reason": finish}
    return _data({"id": "c", "object": "text_completion", "choices": [choice], **more})


def _data(value: Any) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


COUNTS = _data({"id": "c", "object": "text_completion", "choices": [], "usage": USAGE})
DONE = b"data: [DONE]\n\n"


async def ask(served: InProcess, path: str = "/v1/completions", **body: Any) -> httpx2.Response:
    return await served.post(path, json={"model": "m-1", **body})


async def test_log_probabilities_for_lm_eval_pass_in_both_directions():
    logprobs = {"tokens": ["a", " b"], "token_logprobs": [None, -1.25], "top_logprobs": [None, {" b": -1.25}],
                "text_offset": [0, 1]}  # fmt: skip
    choice = {"index": 0, "text": "a b", "finish_reason": "length", "logprobs": logprobs}
    scored = {"id": "c", "object": "text_completion", "choices": [choice], "usage": USAGE}
    body = {"prompt": [[64, 293], [64]], "echo": True, "logprobs": 5, "max_tokens": 0, "temperature": 0, "seed": 1234}
    async with before(lambda asked: json_answer(scored)) as (served, provider):
        lines = SettledLines(served)
        found = await ask(served, **body)
        assert found.json() == scored
        assert provider.asked[0].json == {"model": "m-1", **body}
        (line,) = await lines.next(1)
        assert (line["input_tokens"], line["output_tokens"], line["endpoint"]) == (9, 4, "completions")


async def test_six_choices_interleave_and_a_missing_end_is_a_failure():
    pieces = [chunk(index, "x", "stop") for index in (3, 0, 5, 1, 4, 2)]
    body = {"prompt": ["a", "b", "c"], "n": 2, "stream": True}
    for sent, whole in (([*pieces, COUNTS, DONE], True), (pieces, True), (pieces[:5], False), (pieces[1:], False)):
        async with before(lambda asked, sent=sent: events(*sent)) as (served, provider):
            lines = SettledLines(served)
            found = await ask(served, **body)
            assert provider.asked[0].json["stream_options"] == {"include_usage": True}
            assert COUNTS not in found.content  # only the gateway requested the counts
            (line,) = await lines.next(1)
            if whole:
                assert found.content == b"".join(sent).replace(COUNTS, b"")
                assert line["ended"] == "complete"
                told = (
                    (9, 4, None) if COUNTS in sent else (1, 2, True)
                )  # an estimate without counts: about four characters each
                assert (line["input_tokens"], line["output_tokens"], line.get("usage_estimated")) == told
            else:
                *passed, last = found.content.removesuffix(b"\n\n").split(b"\n\n")
                assert passed == [piece.removesuffix(b"\n\n") for piece in sent]
                assert "early" in json.loads(last.removeprefix(b"data: "))["error"]["message"]
                assert (line["ended"], line["output_tokens"], line["usage_estimated"]) == ("upstream_error", 2, True)


async def test_without_counts_of_the_provider_each_token_id_counts_as_one():
    async with before(lambda asked: events(chunk(0, "abcd", "stop"), DONE)) as (served, _):
        lines = SettledLines(served)
        await ask(served, prompt=[[100_000 + number for number in range(50)], [1, 2]], stream=True)
        (line,) = await lines.next()
        assert (line["input_tokens"], line["output_tokens"], line["usage_estimated"]) == (52, 1, True)


async def test_token_counts_stay_if_the_client_has_requested_them():
    sent = [chunk(0, "x", "stop"), COUNTS, DONE]
    async with before(lambda asked: events(*sent)) as (served, provider):
        found = await ask(served, prompt="p", stream=True, stream_options={"include_usage": True})
        assert found.content == b"".join(sent)
        assert found.headers.get("x-trigate-adapted") is None
    async with before(lambda asked: events(*sent), entry={"usage": "as_asked"}) as (served, provider):
        found = await ask(served, prompt="p", stream=True)
        assert "stream_options" not in provider.asked[0].json
        assert found.content == b"".join(sent)


def _mistral(asked: ReceivedRequest) -> ScriptedAnswer:
    """Return an answer of Mistral's path, which has the format of Chat."""
    body = asked.json
    assert (asked.path, body["model"], body["suffix"]) == ("/v1/fim/completions", "codestral-latest", "return x")
    head = {"id": "f", "object": "chat.completion", "model": "codestral-latest", "created": 1}
    if not body.get("stream"):
        message = {"role": "assistant", "content": "x = 1"}
        return json_answer(
            {**head, "choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": USAGE}
        )
    said = [{"index": 0, "delta": {"content": "x ="}, "finish_reason": None},
            {"index": 0, "delta": {"content": " 1"}, "finish_reason": "stop"}]  # fmt: skip
    return events(_data({**head, "choices": said[:1]}), _data({**head, "choices": said[1:], "usage": USAGE}), DONE)


def _suffix_provider(path: str) -> Callable[[ReceivedRequest], ScriptedAnswer]:
    """Return a provider whose completions accept a ``suffix``."""

    def answer(asked: ReceivedRequest) -> ScriptedAnswer:
        body = asked.json
        assert (asked.path, body["suffix"]) == (path, "return x")
        assert "random_seed" not in body
        if body.get("stream"):
            return events(chunk(0, "x ="), chunk(0, " 1", "stop"), COUNTS, DONE)
        return json_answer({"id": "f", "object": "text_completion", "model": "m", "usage": USAGE,
                     "choices": [{"index": 0, "text": "x = 1", "finish_reason": "stop"}]})  # fmt: skip

    return answer


async def test_the_middle_is_filled_in_through_each_shape():
    """Both kinds of clients send requests to Mistral, OpenAI and DeepSeek."""
    servers = (
        ("mistral/codestral-latest", _mistral),
        ("openai/m", _suffix_provider("/v1/completions")),
        ("deepseek/m", _suffix_provider("/beta/completions")),
    )
    for model, answer in servers:
        async with endpoint_provider(answer) as provider, gateway(
            settings({"model": model, "access_key": "k", "base_url": provider.url, "name": "code"})
        ) as served:  # fmt: skip
            lines = SettledLines(served)
            for path in ("/v1/completions", "/v1/fim/completions"):
                for stream in (False, True):
                    found = await ask(served, path, model="code", prompt="x", suffix="return x", stream=stream)
                    case = (model, path, stream, found.text)
                    assert found.status_code == 200, case
                    assert _middle(found, stream=stream, fim=path.startswith("/v1/fim")) == "x = 1", case
            for line in await lines.next(4):
                assert (line["input_tokens"], line["output_tokens"], line["usage_complete"]) == (9, 4, True), line


def _middle(found: httpx2.Response, *, stream: bool, fim: bool) -> str:
    """Return the text of an answer, as a client of the shape reads it."""
    if not stream:
        (choice,) = found.json()["choices"]
        return choice["message"]["content"] if fim else choice["text"]
    assert found.content.endswith(DONE)
    chunks = [json.loads(raw.removeprefix(b"data: ")) for raw in found.content.split(b"\n\n")[:-2]]
    choices = [choice for one in chunks for choice in one["choices"]]
    assert choices[-1]["finish_reason"] == "stop"
    assert any(one.get("usage") for one in chunks) == fim  # Mistral's clients get the counts without a request
    return "".join(choice["delta"]["content"] if fim else choice["text"] for choice in choices)


async def test_a_suffix_is_never_dropped():
    """Without its suffix, the code would be wrong for no visible reason (togethercomputer/together-python#109)."""
    async with before(lambda asked: json_answer({}), model="vllm/m-1") as (served, provider):
        found = await ask(served, prompt="p", suffix="s")
        assert found.status_code == 400
        assert found.json()["error"]["code"] == "unsupported_endpoint"
        assert provider.asked == []
        assert (await ask(served, prompt="p", suffix=None)).status_code != 400
        assert [asked.path for asked in provider.asked] == ["/v1/completions"]


async def test_completion_options_that_mistral_lacks_are_a_400():
    async with before(lambda asked: json_answer({}), model="mistral/m-1") as (served, provider):
        for more, param in (({"prompt": ["a"]}, "prompt"), ({"n": 3}, "n"), ({"logprobs": 0}, "logprobs")):
            found = await ask(served, **{"prompt": "p", "suffix": "s", **more})
            assert (found.status_code, found.json()["error"]["param"]) == (400, param)
        assert provider.asked == []


async def test_a_cut_in_the_middle_of_a_translated_stream_is_reported():
    head = {"id": "f", "object": "chat.completion.chunk"}
    cut = _data({**head, "choices": [{"index": 0, "delta": {"content": "x"}, "finish_reason": None}]})
    async with before(lambda asked: events(cut), model="mistral/m-1") as (served, _):
        found = await ask(served, prompt="p", suffix="s", stream=True)
        assert b'"text":"x"' in found.content
        assert "early" in json.loads(found.content.rpartition(b"data: ")[2])["error"]["message"]
        assert DONE not in found.content


async def test_another_target_fills_in_the_middle_if_the_first_one_is_down():
    def answer(asked: ReceivedRequest) -> ScriptedAnswer:
        return (
            json_answer({"message": "down"}, 503)
            if asked.path == "/v1/fim/completions"
            else _suffix_provider("/v1/completions")(asked)
        )

    async with endpoint_provider(answer) as provider:
        entries = [{"model": f"{maker}/m", "name": maker, "access_key": "k", "base_url": provider.url}
                   for maker in ("mistral", "vllm", "openai")]  # fmt: skip
        route = {"code": {"targets": ["mistral", "vllm", "openai"]}}
        async with gateway(settings(*entries, model_aliases=route)) as served:
            for stream in (False, True):
                found = await ask(served, model="code", prompt="x", suffix="return x", stream=stream)
                assert _middle(found, stream=stream, fim=False) == "x = 1"
                assert found.headers["x-trigate-target"] == "openai/m", "vLLM takes no suffix"
