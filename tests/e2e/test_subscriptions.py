"""Tests of programs with a subscription's login and ``passthrough_auth``: the provider gets the login unchanged, and
the gateway counts the requests without a price (BerriAI/litellm#42170, #13380)."""

import json
from collections.abc import Iterator
from typing import Any

import attrs
import pytest

from gateway import OPEN_KEY
from tests.support.features import has_feature, members_of, needs_feature
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import Gateway, config, eventually, provider
from tests.support.upstreams import PATHS, STREAM, Raw, Script, Upstream

LOGIN = "sk-ant-oat01-0123456789abcdef"
API_KEY = "sk-ant-api03-0123456789abcdef"
CHATGPT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ1c2VyIn0.c2ln"
GATEWAY_KEY = "sk-gateway-0123456789abcdef"
BETAS = "claude-code-20250219,oauth-2025-04-20,interleaved-thinking-2025-05-14"
"""The betas of Claude Code 2.1.197 with a login."""

CLAUDE_CODE = {
    "authorization": f"Bearer {LOGIN}", "anthropic-beta": BETAS, "anthropic-version": "2023-06-01", "x-app": "cli",
}  # fmt: skip
CODEX = {"authorization": f"Bearer {CHATGPT}", "chatgpt-account-id": "acc-1", "originator": "codex_exec"}


@attrs.frozen
class Place:
    gateway: Gateway
    upstream: Upstream
    headers: dict[str, str]

    def line(self, count: int) -> dict[str, Any]:
        """Wait for ``count`` lines about exchanges, and return the last one."""

        def lines() -> list[dict[str, Any]]:
            found = [json.loads(one) for one in self.gateway.log if '"event":"exchange"' in one]
            return found if len(found) >= count else []

        return eventually(lines, what="the line")[-1]


@pytest.fixture(params=["open", "with client keys"])
def place(upstream, request, tmp_path) -> Iterator[Place]:
    entries = []
    for model, speaks in (("anthropic/*", "messages"), ("chatgpt/*", "responses")):
        entry = provider(model, f"{upstream.url}/v1", [speaks], passthrough_auth=True, budgets=["1 usd/day"])
        del entry["access_key"]
        entries.append(entry)
    assist = provider("openai/code-assist", upstream.url, name="code-assist", passthrough_auth=True)
    entries.append({**assist, **members_of("pass_through", passthrough=True), "price": "subscription"})
    rights = members_of("pass_through", passthrough=["code-assist"])
    keys = [{"name": "ann", "key": GATEWAY_KEY, **rights}] if request.param != "open" else []
    entries.append(provider("vllm/m", f"{upstream.url}/v1", ["messages"], name="paid"))
    aliases = {"both": {"targets": ["anthropic/claude-sonnet-4-5", "paid"]}}
    more = {"client_keys": keys} if keys else {}
    with gateway_thread(config(entries, model_aliases=aliases, **more)) as process:
        yield Place(process, upstream, {"x-trigate-key": GATEWAY_KEY} if keys else {})


def body_of(model: str, stream: bool = False) -> dict[str, Any]:
    messages = [{"role": "user", "content": "hi"}]
    return {"model": model, "max_tokens": 9, "stream": stream, "messages": messages}


@pytest.mark.parametrize("stream", [False, True])
def test_the_login_of_claude_code_passes_unchanged_with_its_betas(place, stream):
    place.upstream.script(Script(text="ok"))
    body = body_of("claude-sonnet-4-5", stream)
    answer = place.gateway.request("POST", "/v1/messages?beta=true", body, {**CLAUDE_CODE, **place.headers})
    assert answer.status == 200
    (seen,) = place.upstream.seen
    assert seen.header("authorization") == f"Bearer {LOGIN}"
    assert seen.header("x-api-key") is None
    assert seen.header("anthropic-beta") == BETAS
    assert (seen.path, seen.query) == ("/v1/messages", "beta=true")
    assert GATEWAY_KEY not in str(seen.headers)
    line = place.line(1)
    assert (line["lane"], line["cost_grade"]) == ("byte", "subscription")
    assert "cost_usd" not in line
    assert (line["input_tokens"], line["output_tokens"]) == (11, 7)
    if not stream:
        assert answer.headers["x-trigate-cost-grade"] == "subscription"
        assert "x-trigate-cost" not in answer.headers
    assert LOGIN not in "".join(place.gateway.log)


def test_the_login_is_a_bearer_in_all_requests_of_claude_code(place):
    place.upstream.script(Script(text="ok"))
    shown = {**CLAUDE_CODE, **place.headers}
    counted = {"model": "claude-sonnet-4-5", "messages": [{"role": "user", "content": "hi"}]}
    place.gateway.request("POST", "/v1/messages/count_tokens?beta=true", counted, shown)
    asked_for = 1
    if has_feature("files") and not place.headers:  # with client keys, the gateway itself lists the client's files
        place.gateway.request("GET", "/v1/files", None, shown)
        asked_for = 2
    assert len(place.upstream.seen) == asked_for
    for seen in place.upstream.seen:
        assert seen.header("authorization") == f"Bearer {LOGIN}", seen.path
        assert seen.header("x-api-key") is None


def test_a_login_in_a_request_of_another_api_is_a_bearer_too(place):
    place.upstream.script(Script(text="ok"))
    shown = {"authorization": f"Bearer {LOGIN}", **place.headers}
    assert place.gateway.request("POST", PATHS["chat"], body_of("claude-sonnet-4-5"), shown).status == 200
    (seen,) = place.upstream.seen
    assert (seen.header("authorization"), seen.header("x-api-key")) == (f"Bearer {LOGIN}", None)
    assert place.line(1)["cost_grade"] == "subscription"


@pytest.mark.parametrize(
    ("shown", "model"),
    [
        ({"authorization": f"Bearer {LOGIN}"}, "claude-sonnet-4-5"),
        ({}, "m"),
        ({"authorization": f"Bearer {OPEN_KEY}"}, "m"),
        ({"x-api-key": OPEN_KEY}, "m"),
    ],
)
def test_only_clients_with_a_login_use_the_plan_of_a_name_with_several_targets(place, shown, model):
    """``connect`` gives programs the key "any" if the gateway needs none."""
    place.upstream.script(Script(text="ok"))
    assert place.gateway.request("POST", "/v1/messages", body_of("both"), {**shown, **place.headers}).status == 200
    assert [seen.json["model"] for seen in place.upstream.seen] == [model]


@pytest.mark.parametrize("shown", [{"x-api-key": API_KEY}, {"authorization": f"Bearer {API_KEY}"}])
def test_a_key_of_the_api_is_priced_and_keeps_its_header(place, shown):
    place.upstream.script(Script(text="ok"))
    assert (
        place.gateway.request("POST", "/v1/messages", body_of("claude-sonnet-4-5"), {**shown, **place.headers}).status
        == 200
    )
    (seen,) = place.upstream.seen
    assert {name: seen.header(name) for name in ("x-api-key", "authorization")} == {
        "x-api-key": None, "authorization": None, **shown
    }  # fmt: skip
    line = place.line(1)
    assert (line["cost_grade"], line["cost_usd"] > 0) == ("exact", True)


@pytest.mark.parametrize("stream", [False, True])
def test_the_chatgpt_login_of_codex_passes_with_its_account(place, stream):
    place.upstream.script(Script(text="ok"))
    body = {"model": "gpt-5-codex", "stream": stream, "store": False, "input": "hi"}
    assert place.gateway.request("POST", "/v1/responses", body, {**CODEX, **place.headers}).status == 200
    (seen,) = place.upstream.seen
    assert seen.header("authorization") == f"Bearer {CHATGPT}"
    assert seen.header("chatgpt-account-id") == "acc-1"
    line = place.line(1)
    assert line["cost_grade"] == "subscription"
    assert "cost_usd" not in line


@needs_feature("pass_through")
def test_the_google_login_of_gemini_cli_passes_below_an_entry(place):
    """Paths and headers are those of Gemini CLI 0.61 with ``CODE_ASSIST_ENDPOINT``."""
    chunk = {"response": {"candidates": [], "usageMetadata": {"promptTokenCount": 11, "candidatesTokenCount": 7}}}
    answer = f"data: {json.dumps(chunk)}\n\n".encode()
    place.upstream.script(Raw(200, STREAM, (answer,)))
    body = {"model": "gemini-2.5-pro", "project": "p", "request": {"contents": []}}
    shown = {"authorization": "Bearer ya29.login", **place.headers}
    path = "/code-assist/v1internal:streamGenerateContent?alt=sse"
    reply = place.gateway.request("POST", path, body, shown)
    assert (reply.status, reply.body) == (200, answer)
    (seen,) = place.upstream.seen
    assert (seen.path, seen.query) == ("/v1internal:streamGenerateContent", "alt=sse")
    assert seen.header("authorization") == "Bearer ya29.login"
    assert json.loads(seen.body) == body
    assert place.line(1)["cost_grade"] == "subscription"


@needs_feature("metrics")
def test_a_subscription_spends_no_dollars_and_has_its_own_metric(place):
    place.upstream.script(*[Script(text="ok")] * 3)
    for _ in range(3):
        shown = {**CLAUDE_CODE, **place.headers}
        assert place.gateway.request("POST", "/v1/messages", body_of("claude-opus-4-1"), shown).status == 200
    place.line(3)
    page = place.gateway.request("GET", "/metrics", None, place.headers).body.decode()
    (counted,) = [line for line in page.splitlines() if line.startswith("trigate_subscription_total{")]
    assert counted.endswith(" 3.0")
    assert not [line for line in page.splitlines() if line.startswith("trigate_cost_dollars_total{")]
    assert not [line for line in page.splitlines() if line.startswith("trigate_unpriced_total{")]
    used = [line for line in page.splitlines() if line.startswith("trigate_budget_used_ratio{")]
    assert {line.rpartition(" ")[2] for line in used} == {"0.0"}
