"""Tests of errors in the client's own API, with the right status, and without secrets or tracebacks.

``test_faults.py`` has the failures of providers.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support import apis
from tests.support.apis import OLDER
from tests.support.each_row import each_row
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import Gateway, Reply, Wire, complaint, config, post, provider, refusing_port
from tests.support.upstreams import JSON, PATHS, Raw, Script, Upstream

MODELS = {"chat": "good-chat", "messages": "good-messages", "responses": "good-responses"}
PATIENT = {"connect": "30s", "first_byte": "30s"}  # name servers may take their time
SECRET = "sk-verysecret"


def settings(upstream: Upstream, refusing: int) -> dict[str, Any]:
    vendors = {"chat": "openai", "messages": "anthropic", "responses": "openai"}
    of_all = [
        provider(f"{vendors[api]}/{model}", upstream.url, [api], key=f"{SECRET}-{api}") for api, model in MODELS.items()
    ]
    bad = [
        provider("openai/refused", f"http://127.0.0.1:{refusing}", ["chat"], key=f"{SECRET}-refused"),
        provider("openai/nowhere", "http://nowhere.invalid", ["chat"], key=f"{SECRET}-nowhere", timeouts=PATIENT),
    ]
    mute = provider("openai/mute", upstream.url, ["chat"], timeouts={"first_byte": "0.3s"})
    return config([*of_all, *bad, mute], model_aliases={"fast": {"target": "good-chat"}})


@pytest.fixture(scope="module")
def gateway(upstream) -> Iterator[Gateway]:
    with refusing_port() as refusing, gateway_thread(settings(upstream, refusing)) as process:
        yield process
        text = "\n".join(process.log)
        assert "Traceback" not in text, text[-3000:]
        assert SECRET not in text


@pytest.fixture(params=OLDER, ids=[f"{api}_client" for api in OLDER])
def api(request) -> str:
    return request.param


def body(api: str, model: str = "good-chat", **more: Any) -> dict[str, Any]:
    return apis.question(api, model, **more)


def ask(gateway: Gateway, api: str, sent: Any, **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    reply = gateway.request("POST", PATHS[api], sent, named)
    assert SECRET not in f"{reply.headers}{reply.body!r}"
    assert b"Traceback" not in reply.body
    return reply


def test_an_invalid_nested_part_is_reported_with_its_path(gateway, api):
    to = "good-messages" if api != "messages" else "good-chat"
    place = "input" if api == "responses" else "messages"
    sent = {**body(api, to), place: [{"role": "user", "content": "hi"}, {"role": "user", "content": [7]}]}
    assert f"{place}[1].content[0]" in complaint(api, ask(gateway, api, sent), 400)["message"]


@each_row(
    ("encoding", "says"),
    [
        ("utf-16", "the request body is not UTF-8 (byte 0): send it as UTF-8"),
        ("utf-32", "the request body is not UTF-8 (byte 0): send it as UTF-8"),
        ("latin-1", "the request body is not UTF-8 (byte "),
        ("utf-16-le", "the request body is not UTF-8 (byte "),
        ("utf-8-sig", "the request body begins with a byte order mark: send UTF-8 without one"),
    ],
)
def test_a_body_in_another_encoding_returns_400_with_the_reason(gateway, upstream, api, encoding, says):
    """Editors and shells of Windows write such files, and clients send them without decoding."""
    upstream.script()
    text = json.dumps(body(api) | {"metadata": {"name": "Zoë"}}, ensure_ascii=False)
    assert says in complaint(api, ask(gateway, api, text.encode(encoding)), 400)["message"]
    assert upstream.seen == []


@each_row("path", ["/v1/conversations", "/v1/embeddings", "/v1/responses/input_tokens"])
def test_a_byte_order_mark_returns_400_with_the_reason(gateway, path):
    reply = gateway.request("POST", path, b'\xef\xbb\xbf{"model": "good-chat", "input": "hi"}')
    assert "begins with a byte order mark" in complaint("chat", reply, 400)["message"]


def test_a_body_above_the_limit_returns_413_before_it_is_sent(gateway, api):
    with Wire.connect(gateway.port) as client:
        client.send(post(PATHS[api], b"", {"content-length": str(100 * 2**20)}) + b'{"model":')
        answer = client.read_until(b"}")
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert (b'"request_too_large"' if api == "messages" else b'"invalid_request_error"') in answer


@pytest.mark.parametrize("api", ["chat", "messages"])  # GET on Responses is its WebSocket form
def test_the_wrong_method_returns_405(gateway, api):
    reply = gateway.request("GET", PATHS[api])
    complaint(api, reply, 405)
    assert "POST" in reply.headers["allow"]


@pytest.mark.parametrize("model", list(MODELS.values()))
def test_an_overloaded_provider_is_529_for_messages_clients_and_503_for_others(gateway, upstream, api, model):
    text = b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}'
    upstream.script(Raw(529, (*JSON, ("retry-after", "3")), (text,)))
    reply = ask(gateway, api, body(api, model))
    complaint(api, reply, 529 if api == "messages" else 503, passed=MODELS[api] == model)
    assert reply.headers["retry-after"] == "3"


EMPTY = b'{"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}}'
PLAN = (
    b'{"error": {"message": "The usage limit has been reached", "type": "usage_limit_reached", "resets_in_seconds": 9}}'
)
BUSY = b'{"error": {"message": "Rate limit reached", "code": "rate_limit_exceeded"}}'


@pytest.fixture
def accounts(upstream) -> Iterator[Gateway]:
    """Return a gateway with two accounts of its own, because they are unavailable for minutes after such an error."""
    entries = [provider(f"openai/{name}", upstream.url, ["chat"], key=f"{SECRET}-{name}") for name in ("one", "two")]
    with gateway_thread(config(entries, retries={"attempts": 2})) as process:
        yield process


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("models", ["one", "one,two"], ids=["one target", "two targets"])
def test_no_client_retries_for_an_account_without_credit(accounts, upstream, api, models, stream):
    """Because of ``retry-after: 1``, Claude Code and Codex repeated such a request for minutes."""
    upstream.script(*[Raw(429, JSON, (EMPTY,))] * 2)
    reply = ask(accounts, api, body(api, "one", stream=stream), x_trigate_models=models)
    assert "You exceeded your current quota" in complaint(api, reply, 429, passed=True)["message"]
    assert reply.headers.get("x-should-retry") == "false"
    assert "retry-after" not in reply.headers


@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize(("other", "wait"), [(PLAN, "9"), (BUSY, "1")], ids=["plan", "busy"])
def test_a_client_waits_for_the_target_that_has_credit(accounts, upstream, api, other, wait, is_first):
    answers = (EMPTY, other) if is_first else (other, EMPTY)
    upstream.script(*[Raw(429, JSON, (answer,)) for answer in answers])
    reply = ask(accounts, api, body(api, "one"), x_trigate_models="one,two")
    assert (reply.status, reply.headers["retry-after"]) == (429, wait)
    assert "x-should-retry" not in reply.headers


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("model", ["refused", "nowhere"])
def test_an_unreachable_provider_returns_502(gateway, api, model, stream):
    error = complaint(api, ask(gateway, api, body(api, model, stream=stream)), 502)
    assert "127.0.0.1" not in error["message"]
    assert "Errno" not in error["message"]


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_a_silent_provider_returns_504(gateway, upstream, api, stream):
    upstream.script(Raw(end="hang"))
    complaint(api, ask(gateway, api, body(api, "mute", stream=stream)), 504)


@pytest.mark.parametrize("upstream_api", OLDER)
def test_answers_have_the_gateways_headers(gateway, upstream, api, upstream_api):
    model = MODELS[upstream_api]
    upstream.script(Script(text="ok"))
    reply = ask(gateway, api, body(api, model), x_request_id="mine-123")
    vendor = "anthropic" if upstream_api == "messages" else "openai"
    assert reply.headers["x-request-id"] == "mine-123"
    assert ("request-id" in reply.headers) is (api == "messages")
    assert reply.headers["x-trigate-lane"] == ("byte" if api == upstream_api else "hub")
    assert reply.headers["x-trigate-target"] == f"{vendor}/{model}"
    assert reply.headers["x-trigate-model"] == model
    assert reply.headers["x-trigate-attempts"] == "1"
    assert reply.headers["x-trigate-upstream-request-id"] == "req_up1"


@pytest.mark.parametrize("given", ["x" * 129, "caf\u00e9", ""])
def test_a_request_id_that_is_too_long_or_not_ascii_is_replaced(gateway, upstream, api, given):
    upstream.script(Script(text="ok"))
    found = ask(gateway, api, body(api), x_request_id=given).headers["x-request-id"]
    assert found != given
    assert re.fullmatch(r"[!-~]{8,128}", found)


def test_dropped_members_are_reported(gateway, upstream, api):
    to = "good-messages" if api == "responses" else "good-responses"
    more = {"chat": {"seed": 7}, "messages": {"top_k": 4}, "responses": {"truncation": "auto"}}[api]
    odd = {"future": 1, "a\r\nx-evil: 1": 2, "ünï": 3}
    upstream.script(Script(text="ok"))
    reply = ask(gateway, api, body(api, to, **more, **odd))
    assert reply.status == 200
    dropped = reply.headers["x-trigate-dropped"].split(",")
    assert {*more, "future"} <= set(dropped)
    assert "x-evil" not in reply.headers
    assert not set(more) & set(upstream.seen[0].json)


@pytest.mark.parametrize(
    ("api", "model", "more", "param"),
    [
        ("chat", "good-messages", {"n": 2}, "n"),
        ("chat", "good-responses", {"n": 2}, "n"),
        ("responses", "good-chat", {"previous_response_id": "resp_1"}, "previous_response_id"),
        ("responses", "good-chat", {"prompt": {"id": "p"}}, "prompt"),
    ],
)
def test_a_member_that_must_not_be_dropped_returns_400(gateway, upstream, api, model, more, param):
    upstream.script()
    assert complaint(api, ask(gateway, api, body(api, model, **more)), 400)["param"] == param
    assert upstream.seen == []


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_the_root_returns_200(gateway, method):
    assert gateway.request(method, "/").status == 200
