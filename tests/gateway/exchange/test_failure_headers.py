"""The headers of a provider's error reach the client of every API, lane and endpoint as those of a good response do.

Claude Code and Codex read from them when a subscription's limit resets, and the SDKs back off by them
(api7/aisix#144, BerriAI/litellm#14924)."""

import base64
import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from typing import Any

import httpx2
import pytest

from streams.events import APIS, STATUS
from tests.support import wire_clients
from tests.support.cases import case
from tests.support.each_row import each_row
from tests.support.endpoint_provider import (
    EndpointProvider,
    ReceivedRequest,
    ScriptedAnswer,
    endpoint_provider,
    json_answer,
    settings,
)
from tests.support.features import members_of, rows_of
from tests.support.in_process import InProcess, gateway
from tests.support.relayed_requests import ASKED, body_of
from tests.support.wire_clients import path_of

LIMITS = {
    "retry-after": "17000",
    "x-should-retry": "true",
    "anthropic-ratelimit-unified-reset": "1790000000",
    "anthropic-ratelimit-requests-remaining": "0",
    "x-ratelimit-reset-tokens": "6m0s",
}
"""The headers that clients of every API receive."""
OF_ONE_API = {
    "x-codex-primary-reset-after-seconds": "17000",
    "openai-processing-ms": "12",
    "ratelimit-reset": "60",
    "cf-ray": "9a-FRA",
}
"""The headers that only clients of the provider's own API receive."""
KEY = "sk-key-of-the-provider-0123456789"
HIDDEN = {
    "set-cookie": "a=b",
    "www-authenticate": "Bearer",
    "authorization": f"Bearer {KEY}",
    "x-api-key": KEY,
    "proxy-authenticate": "Basic",
    "keep-alive": "timeout=5",
    "openai-organization": "operator",
    "anthropic-organization-id": "operator",
    "server": "nginx",
    "location": "https://example.com/",
    "x-made-up": "1",
    "connection": "x-ratelimit-hop",
    "x-ratelimit-hop": "1",
}
"""The headers that no client receives."""
STATUSES = (400, 404, 408, 413, 422, 429, 500, 502, 503, 529)
VENDORS = {
    "chat": "openai/m", "messages": "anthropic/m", "responses": "openai/m", "gemini": "gemini/m",
    "converse": "bedrock/m", "interactions": "gemini/m",
}  # fmt: skip


def entry(url: str, api: str, name: str | None = None, **more: Any) -> dict[str, Any]:
    base = url if api in ("gemini", "converse", "messages", "interactions") else f"{url}/v1"
    speaks = {"speaks": [api]}
    return {
        "model": VENDORS[api], "name": name or f"on-{api}", "access_key": KEY, "base_url": base, **speaks, **more
    }  # fmt: skip


def request_to(api: str, model: str, *, stream: bool = False) -> tuple[str, dict[str, Any]]:
    return path_of(api, model, stream=stream), wire_clients.body_of(api, model, stream=stream)


def refusal(status: int, *headers: tuple[str, str]) -> ScriptedAnswer:
    body = {"type": "error", "error": {"type": "api_error", "message": "no", "status": "NO"}, "message": "no"}
    return json_answer(body, status, *LIMITS.items(), *OF_ONE_API.items(), *HIDDEN.items(), *headers)


@contextlib.asynccontextmanager
async def serve_apis(answering: Any, **entries: Any) -> AsyncIterator[tuple[InProcess, EndpointProvider]]:
    """Run a gateway with one provider that speaks every API, available as ``on-API`` for each; ``entries`` are keys of
    every entry."""
    async with endpoint_provider(answering) as provider:
        config = settings(*(entry(provider.url, api, **entries) for api in APIS))
        async with gateway(config) as served:
            yield served, provider


@contextlib.asynccontextmanager
async def serve_two_targets(answering: Any) -> AsyncIterator[InProcess]:
    """Run a gateway whose route ``r`` has the targets a and b."""
    async with endpoint_provider(answering) as provider:
        own = {"access_key": "k", "base_url": f"{provider.url}/v1"}
        entries = [{"model": f"vllm/{name}", "name": name, **own} for name in ("a", "b")]
        async with gateway(settings(*entries, model_aliases={"r": {"targets": ["a", "b"]}})) as served:
            yield served


async def post(served: InProcess, path: str, body: Any, headers: dict[str, str] | None = None) -> httpx2.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await served.post(path, content=content, headers={"content-type": "application/json", **(headers or {})})


def hidden_among(names: Iterable[str]) -> set[str]:
    """Return the provider's headers that a client should not get, without those that any server writes."""
    return {name for name in names if name in HIDDEN} - {"connection", "keep-alive", "server"}


def assert_sent(reply: httpx2.Response, *, byte_lane: bool) -> None:
    """Assert that the client has every header that is meant for it exactly once, and no other."""
    names = [name.lower() for name, _ in reply.headers.multi_items()]
    for name, value in (LIMITS | OF_ONE_API if byte_lane else LIMITS).items():
        assert reply.headers.get(name) == value, name
    assert {name for name in names if names.count(name) > 1} == set()
    assert hidden_among(names) == set()
    assert "operator" not in str(reply.headers)
    assert KEY not in f"{reply.headers}{reply.text}"
    if not byte_lane:
        assert not set(OF_ONE_API) & set(names)


ANSWERS = list(itertools.product(STATUSES, (False, True)))
"""Statuses, each of a whole response and of a stream."""


def answers_of_pairs() -> Iterator[Any]:
    """Yield each pair of APIs with an eighth of the answers, by turns, and for the soak with all."""
    for (at, client), (place, provider) in itertools.product(enumerate(APIS), repeat=2):
        yield pytest.param(client, provider, ANSWERS[(at + 2 * place) % 8 :: 8], id=f"{client}-{provider}")
        yield pytest.param(client, provider, ANSWERS, id=f"{client}-{provider}-each", marks=pytest.mark.soak)


@pytest.mark.parametrize(("client_api", "provider_api", "answers"), list(answers_of_pairs()))
async def test_every_api_and_status_in_both_lanes_whole_and_streamed(
    client_api: str, provider_api: str, answers: Sequence[tuple[int, bool]]
):
    status = 0
    async with serve_apis(lambda asked: refusal(status)) as (served, _):
        for status, stream in answers:
            with case((status, stream)):
                reply = await post(served, *request_to(client_api, f"on-{provider_api}", stream=stream))
                assert reply.status_code >= 400
                assert reply.headers["x-trigate-lane"] == ("byte" if client_api == provider_api else "hub")
                assert_sent(reply, byte_lane=client_api == provider_api)


@pytest.mark.parametrize("status", [401, 403])
async def test_the_gateways_own_credential_is_no_trouble_of_the_clients(status: int):
    """The client gets a 502 of the gateway itself, which has none of the provider's limits."""
    async with serve_apis(lambda asked: refusal(status)) as (served, _):
        for api in APIS:
            with case(api):
                reply = await post(served, *request_to(api, f"on-{api}"))
                assert reply.status_code == 502
                assert reply.headers["x-should-retry"] == "false"
                assert not (set(LIMITS) | set(OF_ONE_API)) - {"x-should-retry"} & set(reply.headers)


@each_row("status", [401, 403, 429])
async def test_a_clients_own_credential_and_its_account(status: int):
    """With a passed-through subscription, only its owner may learn the account."""
    async with endpoint_provider(lambda asked: refusal(status)) as provider:
        own = entry(provider.url, "messages", passthrough_auth=True)
        del own["access_key"]
        async with gateway(settings(own)) as served:
            path, body = request_to("messages", "on-messages")
            reply = await post(served, path, body, {"authorization": "Bearer sk-ant-oat01-x"})
    assert reply.status_code == status
    assert reply.headers["anthropic-ratelimit-unified-reset"] == "1790000000"
    assert reply.headers["anthropic-organization-id"] == "operator"


async def test_the_credential_is_cut_out_of_headers_that_pass():
    spelled = base64.b64encode(b"x").decode()
    repeated = (("openai-version", f"key {KEY}"), ("x-ratelimit-of", f"{KEY}-{spelled}"))
    async with serve_apis(lambda asked: refusal(429, *repeated)) as (served, _):
        for client in ("chat", "messages"):
            with case(client):
                reply = await post(served, *request_to(client, "on-chat"))
                assert KEY not in str(reply.headers)
                assert reply.headers["x-ratelimit-of"].endswith(spelled)


async def test_every_endpoint_that_is_no_conversation():
    status = 0
    async with endpoint_provider(lambda asked: refusal(status)) as provider:
        never_out = {"circuit": {"failures": 10**6, "error_rate": "100%"}}
        config = settings({"model": "trigate/m", "access_key": KEY, "base_url": f"{provider.url}/v1"}, **never_out)
        async with gateway(config) as served:
            for (endpoint, path), status in itertools.product(ASKED, (400, 429, 500)):
                kind, body = body_of(endpoint, "trigate/m")
                if path.endswith("/embed"):
                    body = json.dumps({"model": "trigate/m", "texts": ["x"], "input_type": "search_query"}).encode()
                with case((path, status)):
                    reply = await post(served, path, body, kind)
                    assert reply.status_code == status
                    assert_sent(reply, byte_lane=reply.headers["x-trigate-lane"] == "byte")


OTHER_PATHS = (
    ("GET", "/v1/responses/resp_1"),
    ("POST", "/v1/responses/compact"),
    *rows_of("pass_through", ("GET", "/on-responses/v1/things")),
    *rows_of("files", ("GET", "/v1/files/file_1?provider=on-responses")),
)


async def test_every_other_path_that_sends_a_request_to_a_provider():
    passed = members_of("pass_through", passthrough=True)
    async with serve_apis(lambda asked: refusal(429), **passed) as (served, provider):
        for method, path in OTHER_PATHS:
            with case((method, path)):
                content = json.dumps({"model": "on-responses", "input": "Hi"}) if method == "POST" else None
                reply = await served.send(method, path, content=content, headers={"content-type": "application/json"})
                assert reply.status_code == 429
                assert_sent(reply, byte_lane=True)
    assert len(provider.asked) == len(OTHER_PATHS)


FIRST, SECOND = ("x-ratelimit-limit-requests", "1"), ("x-ratelimit-limit-tokens", "2")


@each_row(
    ("first", "second", "status", "of_first"),
    [(429, 429, 429, False), (500, 400, 400, False), (503, 429, 503, True), (400, None, 400, True)],
    every=2,
)
@each_row("stream", [False, True])
async def test_headers_belong_to_the_failure_that_the_client_sees(
    first: int, second: int, status: int, of_first: bool, stream: bool
):
    def answering(asked: ReceivedRequest) -> ScriptedAnswer:
        body = {"error": {"message": "no"}}
        if asked.json["model"] == "a":
            return json_answer(body, first, FIRST, ("retry-after", "90"))
        return json_answer(body, second, SECOND, ("retry-after", "60"))

    async with serve_two_targets(answering) as served:
        reply = await post(served, *request_to("chat", "r", stream=stream))
    assert reply.status_code == status, reply.text
    found = {name for name in (FIRST[0], SECOND[0]) if name in reply.headers}
    assert found == {FIRST[0] if of_first else SECOND[0]}


@each_row("first", [429, 503])
async def test_the_wait_is_that_of_the_target_that_may_answer_first(first: int):
    """A client of a target that is overloaded for a moment must not wait for the hour of another one."""

    def answering(asked: ReceivedRequest) -> ScriptedAnswer:
        body = {"error": {"message": "no"}}
        if asked.json["model"] == "a":
            return json_answer(body, first, ("retry-after", "3600"))
        return json_answer(body, 503)

    async with serve_two_targets(answering) as served:
        reply = await post(served, *request_to("chat", "r"))
    assert (reply.status_code, reply.headers["retry-after"]) == (503, "1")


async def test_a_response_after_a_fallback_has_only_its_own_headers():
    def answering(asked: ReceivedRequest) -> ScriptedAnswer:
        if asked.json["model"] == "a":
            return json_answer({"error": {"message": "no"}}, 429, FIRST)
        choice = {"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}
        return json_answer({"id": "x", "object": "chat.completion", "model": "b", "choices": [choice]}, 200, SECOND)

    async with serve_two_targets(answering) as served:
        reply = await post(served, *request_to("chat", "r"))
    assert reply.status_code == 200
    assert SECOND[0] in reply.headers
    assert FIRST[0] not in reply.headers


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("client_api", APIS)
async def test_an_error_with_status_200_has_the_headers_of_its_response(client_api: str, stream: bool):
    """Anthropic opens an overloaded stream with status 200 (anthropics/anthropic-sdk-python#688)."""
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    limits = {name: value for name, value in LIMITS.items() if name.partition("-")[0] in ("anthropic", "x")}

    def answering(asked: ReceivedRequest) -> ScriptedAnswer:
        if not stream:
            return json_answer(error, 200, *limits.items(), *HIDDEN.items())
        head = (("content-type", "text/event-stream"), *limits.items(), *HIDDEN.items())
        return ScriptedAnswer((f"event: error\ndata: {json.dumps(error)}\n\n".encode(),), headers=head)

    async with serve_apis(answering) as (served, _):
        reply = await post(served, *request_to(client_api, "on-messages", stream=stream))
    assert reply.status_code in (STATUS["overloaded"], 529)
    assert {name: reply.headers.get(name) for name in limits} == limits
    assert hidden_among(reply.headers) == set()


async def test_bedrock_names_its_own_exception_with_its_own_body():
    """A client of Converse sees ``ModelNotReadyException``, and once."""
    status, own = 429, ("x-amzn-errortype", "ModelNotReadyException:http://internal.amazon.com/")
    async with serve_apis(lambda asked: json_answer({"message": "not yet"}, status, own)) as (served, _):
        reply = await post(served, *request_to("converse", "on-converse"))
        assert reply.headers.get_list("x-amzn-errortype") == [own[1]]
        assert reply.json() == {"message": "not yet"}
        reply = await post(served, *request_to("chat", "on-converse"))
        assert "x-amzn-errortype" not in reply.headers
        status = 403
        reply = await post(served, *request_to("converse", "on-converse"))
        assert reply.headers.get_list("x-amzn-errortype") == ["InternalServerException"]


async def test_a_wait_of_a_week_arrives_and_one_of_a_year_does_not():
    """A subscription's weekly limit resets days ahead; an absurd wait is a provider's mistake."""
    wait = ""
    async with serve_apis(lambda asked: json_answer({"error": {"message": "m"}}, 429, ("retry-after", wait))) as (
        served,
        _,
    ):
        for wait, sent in (("604800", "604800"), ("99999999", str(31 * 86400))):
            for api in APIS:
                with case((api, wait)):
                    reply = await post(served, *request_to(api, "on-chat"))
                    assert reply.headers["retry-after"] == sent
