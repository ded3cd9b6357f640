"""Tests of broken responses, byte by byte: if a provider fails before its first content, the next target answers, and
the log has the attempt's reason. ``test_reasons.py`` has the errors that the stand-in provider can send."""

import json
from collections.abc import Iterator
from typing import Any

import attrs
import pytest

from tests.support.each_row import each_row
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import Gateway, config, provider
from tests.support.upstreams import JSON, PATHS, STREAM, Raw, Script, Seen, Upstream, render, serve_upstream

HTML = (("content-type", "text/html; charset=utf-8"),)


def whole(value: Any, status: int = 200) -> Raw:
    return Raw(status, JSON, (json.dumps(value).encode(),))


def stream(*events: bytes, end: Any = "chunked") -> Raw:
    return Raw(200, STREAM, events, end)


def sse(value: Any, name: str = "") -> bytes:
    return (f"event: {name}\n" if name else "").encode() + b"data: " + json.dumps(value).encode() + b"\n\n"


@attrs.frozen
class Case:
    """A response of a provider of ``api``, and the reason that the gateway logs for it."""

    api: str
    raw: Raw
    reason: str


GROQ = {"error": {  # tashfeenahmed/freellmapi#168, anomalyco/opencode#1018
    "message": "Failed to call a function. Please adjust your prompt. See 'failed_generation' for more details.",
    "type": "invalid_request_error", "code": "tool_use_failed", "failed_generation": "<function=f{", "status_code": 400,
}}  # fmt: skip
ROUTER = {"error": {"message": "Provider returned error", "code": 400}}  # MoonshotAI/kimi-code#3686
MESSAGE = {"type": "message", "id": "msg_1", "role": "assistant", "model": "m", "content": [], "stop_reason": None,
           "usage": {"input_tokens": 9, "output_tokens": 1}}  # fmt: skip
RESPONSE = {"id": "resp_1", "object": "response", "created_at": 1, "model": "m", "status": "in_progress", "output": []}
OVERLOADED = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
LIMITED = [{"error": {"code": 429, "message": "m", "status": "RESOURCE_EXHAUSTED"}}]
ROLE = sse({"id": "x", "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]})


def response(name: str, **members: Any) -> bytes:
    return sse({"type": name, "response": RESPONSE | members}, name)


def without_message(reason: str) -> Raw:
    return whole({"choices": [{"index": 0, "finish_reason": reason, "message": None}]})


def last_chunk(reason: str) -> bytes:
    return sse({"id": "x", "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})


def failure_members(code: str) -> dict[str, Any]:
    return {"status": "failed", "error": {"code": code, "message": "m"}}


CASES = {
    "null": Case("chat", whole(None), "bad_answer"),
    "an empty array": Case("chat", whole([]), "bad_answer"),
    "an empty object": Case("chat", whole({}), "bad_answer"),
    "half an object": Case("chat", Raw(200, JSON, (b'{"choices": [{"mess',)), "bad_answer"),
    "no choices": Case("chat", whole({"object": "chat.completion", "choices": []}), "bad_answer"),
    "an empty body": Case("chat", Raw(200, JSON), "bad_answer"),
    "a page": Case("messages", Raw(200, HTML, (b"<!doctype html><title>Sign in</title>",)), "bad_answer"),
    "no message": Case("messages", whole({"ok": True}), "bad_answer"),
    "no response": Case("responses", whole({"ok": True}), "bad_answer"),
    "a redirect": Case("chat", Raw(302, (("location", "/login"),)), "bad_answer"),
    "a page with 502": Case("chat", Raw(502, HTML, (b"<h1>502 Bad Gateway</h1>",)), "server_error"),
    "an array in a 200": Case("chat", whole(LIMITED), "rate_limited"),
    "an array with 429": Case("chat", whole(LIMITED, 429), "rate_limited"),
    "an array in a stream": Case("chat", stream(sse(LIMITED)), "rate_limited"),
    "nothing but done": Case("chat", stream(b"data: [DONE]\n\n"), "bad_answer"),
    "nothing but a comment": Case("chat", stream(b": OPENROUTER PROCESSING\n\n"), "bad_answer"),
    "nothing but a role": Case("chat", stream(ROLE), "bad_answer"),
    "garbage in a stream": Case("chat", stream(ROLE, b"data: {oops\n\n"), "bad_answer"),
    "a stream of no bytes": Case("messages", stream(), "bad_answer"),
    "an event behind a role": Case("chat", stream(ROLE, sse({"error": {"code": 503, "message": "m"}})), "overloaded"),
    "an event behind a start": Case(
        "messages",
        stream(sse({"type": "message_start", "message": MESSAGE}, "message_start"), sse({"type": "ping"}, "ping"),
               sse(OVERLOADED, "error")),
        "overloaded",
    ),
    "a failed response in a stream": Case(
        "responses",
        stream(response("response.created"), response("response.failed", **failure_members("server_error"))),
        "server_error",
    ),
    "a used-up quota in a stream": Case(
        "responses",
        stream(response("response.created"),
               response("response.failed", **failure_members("insufficient_quota"))),
        "quota",
    ),
    "a failed response": Case("responses", whole(RESPONSE | failure_members("server_error")), "server_error"),
    "an end without an answer": Case("chat", without_message("error"), "server_error"),
    "an abort": Case("chat", without_message("abort"), "server_error"),
    "a lack of resources in a stream": Case(
        "chat", stream(ROLE, last_chunk("insufficient_system_resource"), b"data: [DONE]\n\n"), "overloaded"
    ),
    "a network error in a stream": Case("chat", stream(ROLE, last_chunk("network_error")), "server_error"),
    "an unknown word for nothing": Case("chat", without_message("something_new"), "bad_answer"),
    "an abort of a message": Case("messages", whole(MESSAGE | {"stop_reason": "abort"}), "server_error"),
    "a malformed call": Case("chat", without_message("function_call_filter: MALFORMED_FUNCTION_CALL"), "bad_answer"),
    "a call that Groq rejects": Case("chat", whole(GROQ, 400), "bad_answer"),
    "a call that Groq rejects in a stream": Case("chat", stream(ROLE, sse(GROQ, "error")), "bad_answer"),
    "a router's error": Case("chat", whole(ROUTER, 400), "server_error"),
    "a router's error in a 200": Case("chat", whole(ROUTER), "server_error"),
    "a router's error in a stream": Case("chat", stream(ROLE, sse(ROUTER)), "server_error"),
    "a cut before content": Case("messages", stream(sse(OVERLOADED, "error")[:20], end="cut"), "connection"),
    "a reset before content": Case("chat", stream(ROLE, end="reset"), "connection"),
    "a cut body": Case("responses", Raw(200, JSON, (b'{"object": "resp',), "cut"), "connection"),
    "no gzip": Case("chat", Raw(200, (*JSON, ("content-encoding", "gzip")), (b"oops",)), "bad_answer"),
}  # fmt: skip


OTHERS = [(name, [*PATHS][number % len(PATHS)]) for number, name in enumerate(CASES)]
CLIENTS = [*dict.fromkeys([*((name, CASES[name].api) for name in CASES), *OTHERS])]
"""Each case with a client of its own API, and with a client of another API in rotation."""


class Broken(Upstream):
    """A provider that sends the case with the requested model's name; other models work."""

    def answer(self, seen: Seen) -> Raw:
        model = seen.json["model"]
        api = next(api for api, path in PATHS.items() if seen.path.endswith(path))
        return CASES[model].raw if model in CASES else render(Script(text="fine"), api, seen.json)


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    """Return a gateway with a route for each case and client; each target has its own account."""
    entries, aliases = [], {}
    with serve_upstream(Broken) as upstream:
        for name, client in CLIENTS:
            case = CASES[name]
            route = f"{name}, {client}"
            url, more = f"{upstream.url}/{len(aliases)}/v1", {"provider_interface": "openai"}
            for model, key in ((name, "bad"), ("good", "good")):
                entries.append(provider(f"up/{model}", url, [case.api], key, name=f"{key} {route}", **more))
            aliases[route] = {"targets": [f"bad {route}", f"good {route}"]}
        with gateway_thread(config(entries, model_aliases=aliases)) as process:
            yield process
            assert "Traceback" not in "\n".join(process.log)


def test_programs_of_groq_get_its_own_error_about_a_call():
    """They read the model's words from it (pydantic/pydantic-ai#2774); clients of other APIs get a 502."""
    route = {"targets": ["groq"], "retries": {"attempts": 4}}
    with serve_upstream(Broken) as upstream:
        entry = provider("up/a call that Groq rejects", f"{upstream.url}/v1", ["chat"], name="groq")
        with gateway_thread(config([entry], model_aliases={"r": route})) as process:
            for model, client in (("r", "chat"), ("groq", "chat"), ("groq", "messages")):
                body = {"model": model, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 9}
                reply = process.request("POST", PATHS[client], body)
                assert reply.headers["x-trigate-tried"].count("groq=bad_answer") == (2 if model == "r" else 1)
                assert reply.status == (400 if client == "chat" else 502)
                assert client != "chat" or reply.json == GROQ


@each_row("name, client", CLIENTS)
def test_the_next_target_answers(gateway: Gateway, name: str, client: str):
    """Gateways took half of these for answers (BerriAI/litellm#24462), or failed in one API (maximhq/bifrost#5395,
    BerriAI/litellm#28599)."""
    case = CASES[name]
    asks = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 9}
    talk = {"input": "hi"} if client in ("responses", "interactions") else asks
    route = f"{name}, {client}"
    asked = {"model": route, **talk, "stream": case.raw.headers == STREAM}
    reply = gateway.request("POST", PATHS[client], asked)
    assert reply.status == 200
    assert b"fi" in reply.body
    assert reply.headers["x-trigate-tried"] == f"bad {route}={case.reason}, good {route}=ok"
