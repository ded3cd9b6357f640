"""Tests of names with several targets through a real gateway: the requests of each target, and the client's answer."""

import contextlib
import json
import re
import socket
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.support.apis import OLDER, question
from tests.support.covering import covering_rows
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import Gateway, Reply, config, eventually, exchanges, provider
from tests.support.upstreams import JSON, PATHS, STREAM, Raw, Script, Upstream, render, serve_upstream

SILENT = Raw(end="hang")
WELL = Script(text="!")


def refusal(status: int, *headers: tuple[str, str], code: str = "server_error", message: str = "later") -> Raw:
    error = {"error": {"message": message, "type": code, "code": code}}
    return Raw(status, (*JSON, *headers), (json.dumps(error).encode(),))


DOWN, OVERLOADED = refusal(500), refusal(503)


@pytest.fixture(scope="module")
def providers() -> Iterator[Mapping[str, Upstream]]:
    with contextlib.ExitStack() as stack:
        yield {name: stack.enter_context(serve_upstream(Upstream)) for name in ("a", "b", "c")}


@pytest.fixture(scope="module")
def gateway(providers) -> Iterator[Gateway]:
    with serving(providers) as process:
        yield process


@pytest.fixture(scope="module")
def pinging(providers) -> Iterator[Gateway]:
    with serving(providers, keep_alive="100ms") as process:
        yield process


@contextlib.contextmanager
def serving(providers: Mapping[str, Upstream], **more: Any) -> Iterator[Gateway]:
    def entry(name: str, at: str, speaks: Any = OLDER, **more: Any) -> dict[str, Any]:
        return provider(f"made-{name}/up", providers[at].url, speaks, key=f"sk-{name}-0123456789", name=name, **more)

    opens_soon = {"failures": 2, "cooldown": "30s", "longest": "30s"}
    entries = [
        entry("a", "a"),
        entry("b", "b"),
        entry("c", "c"),
        entry("alone", "a", retries={"attempts": 1}),
        entry("stubborn", "a", retries={"attempts": 3, "budget": "100%"}),
        entry("as-responses", "a", ["responses"]),
        entry("as-chat", "b", ["chat"]),
        entry("limited", "c"),
        entry("long-a", "a"),
        entry("long-b", "b"),
        *(entry(f"left-{when}", "a", retries={"attempts": 3}) for when in ("head", "wait", "content")),
        *(entry(name, "a", circuit=opens_soon) for name in ("blocked-cut", "blocked-chunked")),
        entry("failing-a", "a", retries={"attempts": 1, "budget": "100%"}, circuit=opens_soon),
    ]
    aliases: dict[str, Any] = {
        "best": {"targets": ["a", "b", "c"]},
        "two": {"targets": ["a", "b"]},
        "grouped": {"targets": [["a", "b"], "c"], "sticky": False},
        "patient": {"targets": ["a", "b"], "first_content": "300ms"},
        "hedged": {"targets": ["a", "b"], "hedge": {"after": "200ms", "at_most": "100%"}},
        "reserved": {"targets": ["a", {"target": "b", "when": ["quota"]}, "c"]},
        "long": {"targets": ["long-a", {"target": "long-b", "when": ["context_too_long"]}]},
        "crossing": {"targets": ["as-responses", "as-chat"]},
        **{f"{name}-or-b": {"targets": [name, "b"]} for name in ("blocked-cut", "blocked-chunked")},
        "failing": {"targets": ["failing-a", "b"]},
    }
    settings = config(
        entries,
        model_aliases=aliases,
        retries={"attempts": 4, "budget": "100%", "wait": "2s", "deadline": "10s"},
        circuit={"failures": 1000, "error_rate": "100%", "cooldown": "1ms", "longest": "1ms"},
        **more,
    )
    with gateway_thread({**settings, "version": "v0.4.0"}) as process:
        yield process


@pytest.fixture(params=OLDER, ids=[f"{api}_client" for api in OLDER])
def api(request) -> str:
    return request.param


@pytest.fixture(params=[False, True], ids=["whole", "streamed"])
def stream(request) -> bool:
    return request.param


def ask(gateway: Gateway, api: str, model: str, stream: bool = False, **more: Any) -> Reply:
    return gateway.request("POST", PATHS[api], question(api, model, stream=stream, **more))


def script(providers: Mapping[str, Upstream], **answers: Any) -> None:
    for name, upstream in providers.items():
        found = answers.get(name, ())
        upstream.script(*(found if isinstance(found, tuple) else (found,)))


@pytest.fixture(autouse=True)
def reset_targets(gateway, providers) -> None:
    """Let each target succeed twice: then later failures open no circuit, and retries stay within the retry budget even
    if the tests are fast."""
    script(providers, a=(WELL,) * 2, b=(WELL,) * 2, c=(WELL,) * 2)
    for name in "abcabc":
        assert ask(gateway, "chat", name).status == 200


def request_counts(providers: Mapping[str, Upstream]) -> dict[str, int]:
    return {name: len(upstream.seen) for name, upstream in providers.items() if upstream.seen}


def first_events(api: str, *, count: int) -> Raw:
    """Return a stream that breaks off after ``count`` events."""
    raw = render(WELL, api, {"stream": True, "model": "up"})
    return Raw(200, STREAM, raw.pieces[:count], "cut")


# Fallback


@pytest.mark.parametrize(
    ("api", "stream", "failing"), covering_rows(OLDER, (False, True), ("status", "nothing", "cut", "reset"))
)
def test_the_next_target_answers_the_same_request(gateway, providers, api, stream, failing):
    # agentgateway/agentgateway#1081, kgateway-dev/kgateway#13216, BerriAI/litellm#28216
    raw = {
        "status": OVERLOADED,
        "nothing": Raw(200, STREAM if stream else JSON, (), "close"),
        "cut": first_events(api, count=1) if stream else Raw(200, JSON, (b'{"id": "a', ), "cut"),
        "reset": Raw(200, STREAM if stream else JSON, (), "reset"),
    }[failing]  # fmt: skip
    script(providers, a=raw, b=WELL)
    reply = ask(gateway, api, "two", stream)
    assert (reply.status, request_counts(providers)) == (200, {"a": 1, "b": 1})
    assert b"!" in reply.body
    assert reply.headers["x-trigate-attempts"] == "2"
    assert re.fullmatch(r"a=\w+, b=ok", reply.headers["x-trigate-tried"])
    assert reply.headers["x-trigate-target"].endswith("/up")


def test_the_client_receives_no_part_of_a_failed_attempt(pinging, providers, api):
    """The attempt's part is missing even if keep-alives have opened the response in the meantime."""
    gateway = pinging
    lost = first_events(api, count=1)
    script(providers, a=Raw(200, STREAM, (*lost.pieces, b": still here\n\n"), "hang"), b=WELL)
    reply = ask(gateway, api, "patient", stream=True)
    alone = ask_alone(gateway, providers, api)
    assert events(reply.body) == events(alone.body)


def ask_alone(gateway: Gateway, providers: Mapping[str, Upstream], api: str) -> Reply:
    script(providers, b=WELL)
    return ask(gateway, api, "b", stream=True)


def events(data: bytes) -> list[str]:
    """Return the types and members of the events, without ids and times."""
    found = []
    for line in data.decode().splitlines():
        if line.startswith("data: {"):
            value = json.loads(line[6:])
            found.append(f"{value.get('type')} {sorted(value)} {[bool(c['delta']) for c in value.get('choices', ())]}")
    return found


def test_each_attempt_is_made_for_its_own_target(gateway, providers, api, stream):
    # BerriAI/litellm#41385: a Responses body went to a server that only knew Chat
    script(providers, a=OVERLOADED, b=WELL)
    reply = ask(gateway, api, "crossing", stream)
    assert (reply.status, b"!" in reply.body) == (200, True)
    assert (b"[DONE]" in reply.body) == (stream and api == "chat")
    assert [seen.path for seen in providers["a"].seen] == ["/v1/responses"]
    (seen,) = providers["b"].seen
    assert seen.path == "/v1/chat/completions"
    assert "messages" in seen.json
    assert "input" not in seen.json
    credentials = [value for name, value in seen.headers if name in ("authorization", "x-api-key")]
    assert credentials == ["Bearer sk-as-chat-0123456789"]


def test_strict_mode_skips_a_target_that_would_lose_a_part(gateway, providers):
    script(providers, b=WELL)
    asked = question("chat", "crossing", logit_bias={"1": 1})
    reply = gateway.request("POST", PATHS["chat"], asked, {"x-trigate-strict": "1"})
    assert (reply.status, request_counts(providers)) == (200, {"b": 1})
    assert "x-trigate-dropped" not in reply.headers


def test_a_too_long_prompt_falls_back_only_where_the_route_lists_that_reason(gateway, providers, api, stream):
    words = "This model's maximum context length is 10 tokens. However, your messages resulted in 20 tokens."
    overflow = refusal(400, code="context_length_exceeded", message=words)
    script(providers, a=overflow, b=WELL)
    assert ask(gateway, api, "long", stream).status == 200
    script(providers, a=overflow)
    reply = ask(gateway, api, "two", stream)
    assert (reply.status, request_counts(providers)) == (400, {"a": 1})


# Attempts


def test_a_silent_target_times_out_while_another_is_available(gateway, providers, api):
    # BerriAI/litellm#40404
    script(providers, a=SILENT, b=WELL)
    reply = ask(gateway, api, "patient", stream=True)
    assert (reply.status, request_counts(providers)) == (200, {"a": 1, "b": 1})
    assert reply.headers["x-trigate-tried"] == "a=timeout, b=ok"


@pytest.mark.parametrize("when", ["head", "wait", "content"])
def test_a_disconnect_ends_all_attempts(gateway, providers, when):
    # BerriAI/litellm#41223
    silent = {
        "head": SILENT,
        "wait": refusal(429, ("retry-after", "1.5"), code="rate_limit_exceeded"),
        "content": Raw(200, STREAM, (b": here\n\n",), "hang"),
    }[when]
    script(providers, a=(silent, silent))
    data = json.dumps(question("chat", f"left-{when}", stream=when == "content")).encode()

    def mine() -> list[dict[str, Any]]:
        return [line for line in exchanges(gateway.log) if line["model"] == f"left-{when}"]

    with socket.create_connection(("127.0.0.1", gateway.port)) as client:
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {len(data)}\r\n"
        client.sendall(head.encode() + b"content-type: application/json\r\n\r\n" + data)
        eventually(lambda: bool(providers["a"].seen))
        time.sleep(0.05)  # during the gateway's wait
    (line,) = eventually(mine)
    assert (line["ended"], line["attempts"], len(providers["a"].seen)) == ("client_disconnected", 1, 1)
    assert [one["reason"] for one in line["tried"]] == ["rate_limited" if when == "wait" else "client_left"]


def test_an_abandoned_wait_does_not_count_as_an_attempt(gateway, providers):
    later = refusal(500, ("retry-after", "1.5"))
    script(providers, a=(later, DOWN), b=refusal(500, ("retry-after", "2")))
    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(ask, gateway, "chat", "failing")
        eventually(lambda: request_counts(providers) == {"a": 1, "b": 1})
        ask(gateway, "chat", "failing-a")  # fails too, so the target is unavailable for longer than a request may wait
    reply = waiting.result()
    assert (reply.status, request_counts(providers)) == (500, {"a": 2, "b": 1})
    tried = "failing-a=server_error, b=server_error"
    assert (reply.headers["x-trigate-tried"], reply.headers["x-trigate-attempts"]) == (tried, "2")
    assert f"(tried: {tried.replace('=', ': ')})" in reply.json["error"]["message"]
    (line,) = eventually(lambda: [line for line in exchanges(gateway.log) if line["model"] == "failing"])
    assert (line["attempts"], len(line["tried"])) == (2, 2)


# Started streams


def test_no_fallback_follows_the_first_content(gateway, providers, api):
    # Portkey-AI/gateway#1797, BerriAI/litellm#27967
    raw = render(WELL, api, {"stream": True, "model": "up"})
    begun = next(i for i, piece in enumerate(raw.pieces) if b'"!"' in piece) + 1
    script(providers, a=Raw(200, STREAM, raw.pieces[:begun], "cut"), b=WELL)
    reply = ask(gateway, api, "two", stream=True)
    assert (reply.status, request_counts(providers)) == (200, {"a": 1})
    assert reply.headers["x-trigate-tried"] == "a=ok"
    eventually(lambda: exchanges(gateway.log)[-1].get("error") is not None)
    assert exchanges(gateway.log)[-1]["tried"][0]["reason"] == "connection"


@pytest.mark.parametrize("end", ["cut", "chunked"])
def test_failures_after_the_first_content_make_a_target_unavailable(gateway, providers, end):
    # BerriAI/litellm#34836
    raw = render(WELL, "chat", {"stream": True, "model": "up"})
    begun = next(i for i, piece in enumerate(raw.pieces) if b'"!"' in piece) + 1
    broken = Raw(200, STREAM, raw.pieces[:begun], end)
    script(providers, a=(broken, broken), b=WELL)
    for _ in range(2):
        ask(gateway, "chat", f"blocked-{end}-or-b", stream=True)
    reply = ask(gateway, "chat", f"blocked-{end}-or-b", stream=True)
    assert reply.headers["x-trigate-tried"] == "b=ok"


# Hedging


def test_the_first_content_wins(gateway, providers, api, stream):
    # hugalafutro/model-hotel#259
    script(providers, a=SILENT, b=WELL)
    more = {"store": False} if api == "responses" else {}
    reply = ask(gateway, api, "hedged", stream, **more)
    assert (reply.status, request_counts(providers)) == (200, {"a": 1, "b": 1})
    assert b"!" in reply.body
    assert reply.headers["x-trigate-tried"] == "a=hedge_lost, b=ok"
    eventually(lambda: "tried" in exchanges(gateway.log)[-1])
    lost, won = exchanges(gateway.log)[-1]["tried"]
    assert (lost["usage"], won["cause"]) == ("unknown", "hedge")
    assert lost["input_tokens"] > 0


def test_a_request_with_side_effects_is_not_hedged(gateway, providers):
    # anthony-chaudhary/fak#8975, praxis-proxy/praxis#924
    script(providers, a=Raw(200, STREAM, (b": \n\n",), "hang"), b=WELL)
    asked = question("responses", "hedged", stream=True, store=False, tools=[{"type": "web_search"}])
    gateway.request("POST", "/v1/responses", asked, {"x-trigate-deadline": "600ms"})
    assert request_counts(providers) == {"a": 1}
