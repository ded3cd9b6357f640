"""Tests of access on real sockets: keys, the headers that the provider gets, browsers, and too many connections."""

import contextlib
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.support import apis
from tests.support.apis import OLDER
from tests.support.each_row import each_row
from tests.support.gateway_thread import gateway_thread, serve_module
from tests.support.harness import Gateway, Reply, Wire, config, eventually, free_port, post, provider
from tests.support.upstreams import PATHS, Script

ALICE, BOB = "sk-gw-alice-0123456789", "sk-gw-bob-0123456789"
PAGE = "https://app.example"


@serve_module
def gateway(upstream):
    own = {
        "model": "mistral/own",
        "name": "own",
        "base_url": upstream.url,
        "passthrough_auth": True,
        "speaks": list(OLDER),
    }
    return config(
        [provider("openai/up", upstream.url, OLDER), provider("groq/other", upstream.url, ["chat"]), own],
        model_aliases={"fast": {"target": "up"}},
        client_keys=[{"name": "alice", "key": ALICE}, {"name": "bob", "key": BOB, "models": ["fast"]}],
        cors=[PAGE],
    )


def body(api: str, model: str = "up", **more: Any) -> dict[str, Any]:
    return apis.question(api, model, **more)


def ask(gateway: Gateway, api: str, headers: Mapping[str, str], model: str = "up", **more: Any) -> Reply:
    return gateway.request("POST", PATHS[api], body(api, model, **more), headers)


def line(gateway: Gateway, reply: Reply) -> Mapping[str, Any]:
    id = reply.headers["x-request-id"]
    mine = eventually(lambda: [json.loads(text) for text in list(gateway.log) if id in text], what="the line")
    assert len(mine) == 1
    return mine[0]


TYPES = {401: "authentication_error", 403: "permission_error"}


def refusal_message(api: str, reply: Reply, status: int) -> str:
    """Check a refusal's form in ``api``, and return its message."""
    assert reply.status == status, reply.body
    assert reply.headers["x-should-retry"] == "false"
    error = reply.json["error"]
    if api == "messages":
        assert reply.json["type"] == "error"
        assert reply.json["request_id"] == reply.headers["request-id"] == reply.headers["x-request-id"]
        assert error["type"] == TYPES[status]
    elif status == 401:
        assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", "invalid_api_key", None)
    else:
        assert (error["type"], error["param"]) == ("permission_error", "model")
    return error["message"]


# Keys


@each_row("api", OLDER)
@each_row(
    "headers",
    [
        {"authorization": f"Bearer {ALICE}"},
        {"x-api-key": ALICE},
        {"authorization": f"Bearer {ALICE}", "x-api-key": ALICE},
        {"x-trigate-key": ALICE, "authorization": "Bearer sk-something-else"},
    ],
    ids=["bearer", "x-api-key", "both", "own header"],
)
def test_a_client_key_authenticates_and_is_not_forwarded(gateway, upstream, api, headers):
    upstream.script(Script(text="hello"))
    reply = ask(gateway, api, {**headers, "x-stainless-kept": "yes"})
    assert reply.status == 200, reply.body
    assert line(gateway, reply)["client"] == "alice"
    (seen,) = upstream.seen
    assert seen.header("x-stainless-kept") == "yes"
    credentials = {value for name, value in seen.headers if name in ("authorization", "x-api-key")}
    assert credentials <= {"Bearer sk-upstream", "sk-upstream"}
    assert credentials
    assert ALICE not in repr(seen)
    assert "sk-something-else" not in repr(seen)


@each_row("api", OLDER)
@each_row(
    "headers",
    [
        {},
        {"x-api-key": "sk-wrong"},
        {"authorization": "Bearer sk-wrong"},
        {"authorization": f"Bearer {ALICE}", "x-api-key": BOB},
    ],
    ids=["none", "wrong", "wrong bearer", "two"],
)
def test_a_missing_or_wrong_key_returns_401_in_the_clients_api(gateway, upstream, api, headers):
    upstream.script()
    reply = ask(gateway, api, headers)
    refusal_message(api, reply, 401)
    assert reply.headers["www-authenticate"] == "Bearer"
    said = line(gateway, reply)
    assert (said["status"], said["ended"], said["error"]) == (401, "refused", "authentication")
    assert "client" not in said
    for secret in ("sk-wrong", ALICE, BOB):
        assert secret not in repr(reply)
        assert secret not in "".join(gateway.log)
    assert upstream.seen == []


@each_row(
    ("method", "path"),
    [
        ("GET", "/v1/models"), ("GET", "/v1/models/up"), ("POST", "/v1/messages/count_tokens"),
        ("POST", "/v1/embeddings"),
        ("POST", "/v1/messages/"), ("PUT", "/v1/messages"), ("GET", "/nothing"), ("POST", "//v1/messages"),
    ],
)  # fmt: skip
def test_every_other_route_requires_a_key_too(gateway, method, path):
    assert gateway.request(method, path, {} if method != "GET" else None).status == 401


def test_a_refusal_does_not_wait_for_the_body(gateway):
    with Wire.connect(gateway.port) as client:
        client.send(b"POST /v1/messages HTTP/1.1\r\nhost: g\r\ncontent-length: 1000000\r\n\r\n{")
        assert client.read_until(b"authentication_error").startswith(b"HTTP/1.1 401 ")


# A gateway without keys and pages, with few connections


@contextlib.contextmanager
def run_local_gateway(**more: Any) -> Iterator[Gateway]:
    port = free_port()
    with gateway_thread(alone(port, **more), port) as found:
        yield found


def alone(port: int, **more: Any) -> dict[str, Any]:
    return config([provider("openai/up", "http://127.0.0.1:1", ["chat"])], port, **more)


@pytest.mark.parametrize("given", ["key", "sha256"])
def test_a_key_in_the_wrong_place_is_in_no_line_of_the_log(given):
    """The key is the model's name, the request's id, or in the path, the query or the user agent, valid or not."""
    key, foreign = "key-of-the-team-0815", "sk-somebody-elses-key"
    shown = {"key": key, "sha256": hashlib.sha256(key.encode()).hexdigest()}[given]
    with run_local_gateway(client_keys=[{"name": "team", given: shown}]) as gateway:
        for one in (key, foreign):
            for headers in ({"x-api-key": key}, {}):
                more = {**headers, "x-request-id": one, "user-agent": one}
                gateway.request("POST", f"{PATHS['chat']}?key={one}", {**body("chat"), "model": one}, more)
                gateway.request("POST", f"/v1/{one}?key={one}", {}, more)
                gateway.request("GET", f"/v1/models/{one}", None, more)
        eventually(lambda: sum('"exchange"' in line for line in gateway.log) >= 8, what="their lines")
        said = "\n".join(gateway.log)
    assert "[redacted]" in said
    assert key not in said
    assert foreign not in said


def test_too_many_connections_are_refused_and_browsers_by_default():
    with run_local_gateway(limits={"connections": 3}) as gateway:
        preflight = {"origin": PAGE, "access-control-request-method": "POST"}
        reply = gateway.request("OPTIONS", PATHS["chat"], None, preflight)
        assert reply.status == 405
        assert not [name for name in reply.headers if name.startswith("access-control-")]
        eventually(lambda: gateway.request("GET", "/healthz").status == 200)
        with contextlib.ExitStack() as stack:
            for _ in range(3):
                client = stack.enter_context(Wire.connect(gateway.port))
                eventually(lambda client=client: _is_served(client))
                client.send(post(PATHS["chat"], b"x" * 100)[:-1])  # busy: the gateway would close an idle one
            assert gateway.request("GET", "/healthz").status == 200
            refusal = gateway.request("POST", PATHS["chat"], body("chat"))
            assert (refusal.status, refusal.headers["retry-after"]) == (503, "1")
            assert refusal.headers["connection"] == "close"
            assert "limits.connections" in refusal.json["error"]["message"]
            with Wire.connect(gateway.port) as client:
                client.send(post(PATHS["chat"], b"x" * 200_000))
                assert re.match(rb"HTTP/1.1 503 .*\r\n\r\n{.*}$", client.read_to_end(), re.S)
        eventually(lambda: gateway.request("GET", "/healthz").status == 200)


def _is_served(client: Wire) -> bool:
    client.send(b"GET /healthz HTTP/1.1\r\nhost: g\r\n\r\n")
    return b"200" in client.read_until(b'"ok"}')
