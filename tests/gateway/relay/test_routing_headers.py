"""The routing headers of a client at paths without a conversation: its deadline, budget, targets and fallback."""

from typing import Any

import trio

from tests.support import wire_clients
from tests.support.cases import case
from tests.support.each_row import each_row
from tests.support.endpoint_provider import (
    ReceivedRequest,
    ScriptedAnswer,
    before,
    endpoint_provider,
    json_answer,
    settings,
)
from tests.support.features import members_of, needs_feature, rows_of
from tests.support.harness import PATIENCE
from tests.support.in_process import gateway
from tests.support.relayed_requests import ASKED, body_of

MODEL = "trigate/m-1"


async def never(asked: ReceivedRequest) -> ScriptedAnswer:
    await trio.sleep_forever()
    raise AssertionError


@each_row(
    ("headers", "status", "named"),
    [
        ({"x-trigate-deadline": "50ms"}, 504, None),
        ({"x-trigate-budget": "0.000000001 usd"}, 402, "x-trigate-budget"),
        ({"x-trigate-budget": "5 yen"}, 400, "x-trigate-budget"),
        ({"x-trigate-models": "missing"}, 400, "x-trigate-models"),
    ],
)
async def test_a_client_limits_a_request_to_another_endpoint(headers: dict[str, str], status: int, named: str | None):
    """A client that sets a budget or a deadline must not believe in vain that it applies."""
    entry = {"price": {"input": 1, "output": 1, "per": {"image": 1, "second": 1, "character": 1, "search": 1}}}
    async with before(never, MODEL, entry) as (served, provider):
        for endpoint, path in ASKED:
            with case(path):
                own, content = body_of(endpoint, MODEL)
                reply = await served.post(path, headers={**own, **headers}, content=content)
                assert reply.status_code == status, reply.text
                assert status == 504 or not provider.asked
                assert named is None or named in reply.text
                provider.asked.clear()


async def test_the_configured_deadline_limits_a_request_to_another_endpoint():
    async with before(never, MODEL, retries={"deadline": "50ms"}) as (served, _):
        for endpoint, path in ASKED:
            with case(path):
                headers, content = body_of(endpoint, MODEL)
                with trio.fail_after(PATIENCE):
                    reply = await served.post(path, headers=headers, content=content)
                assert reply.status_code == 504, reply.text


@each_row(
    ("method", "path", "body"),
    [
        ("GET", "/v1/responses/resp_1", None),
        *rows_of("pass_through", ("GET", "/mine/jobs", None), ("POST", "/mine/jobs", {"model": "m-1"})),
        *rows_of(
            "mcp", ("POST", "/mcp/tools", {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "x"}})
        ),
    ],
)
async def test_a_single_request_to_a_provider_ends_at_the_clients_deadline(method: str, path: str, body: object):
    async with endpoint_provider(never) as provider:
        servers = members_of("mcp", mcp_servers=[{"name": "tools", "base_url": f"{provider.url}/mcp"}])
        at = {"access_key": "k", "base_url": f"{provider.url}/v1", **members_of("pass_through", passthrough=True)}
        mine, films = {"model": "openai/m-1", "name": "mine", **at}, {"model": "litellm/m-1", "name": "films", **at}
        headers = {"x-trigate-deadline": "50ms", "x-trigate-provider": "mine"}
        async with gateway(settings({**mine, "speaks": ["responses"]}, films, **servers)) as served:
            with trio.fail_after(PATIENCE):
                reply = await served.send(method, path, json=body, headers=headers)
            assert reply.status_code == 504, reply.text


@needs_feature("files")
@each_row(("path", "body"), [("/v1/vector_stores", {"name": "x"}), ("/v1/videos", {"model": "m-1", "prompt": "x"})])
async def test_a_clients_deadline_limits_reading_a_stored_object_and_not_creating_it(path: str, body: object):
    """The provider may have created it, and its id would be unknown."""
    limited = {"x-trigate-deadline": "50ms"}

    async def answering(asked: ReceivedRequest) -> ScriptedAnswer:
        if asked.method == "GET":
            return await never(asked)
        return json_answer({"id": "vs_1"} if "vector" in path else {"id": "video_1", "object": "video"})

    async with before(answering, "litellm/m-1") as (served, provider), trio.open_nursery() as nursery:
        made: list[Any] = []

        async def create() -> None:
            made.append(await served.post(path, json=body, headers=limited))

        for again in (False, True):
            if again:
                provider.go, provider.begun = trio.Event(), trio.Event()
                nursery.start_soon(create)
                await provider.begun.wait()
            else:
                await create()
            with trio.fail_after(PATIENCE):
                place = f"{path}/{made[0].json()['id']}"
                assert (await served.send("GET", place, headers=limited)).status_code == 504
        provider.go.set()
    assert [one.status_code for one in made] == [200, 200]


async def test_a_client_chooses_the_targets_of_an_embedding():
    def answering(asked: ReceivedRequest) -> ScriptedAnswer:
        if asked.headers["authorization"] == "Bearer key-first":
            return json_answer({"error": {"message": "not now"}}, 503)
        return json_answer(
            {"object": "list", "data": [{"index": 0, "embedding": [0.5]}], "model": "m", "usage": {"prompt_tokens": 1}}
        )

    async with endpoint_provider(answering) as provider:
        entries = [
            {"model": "openai/m-1", "name": name, "access_key": f"key-{name}", "base_url": f"{provider.url}/v1"}
            for name in ("first", "second")
        ]
        aliases = {"r": {"targets": ["first", "second"]}}
        async with gateway(settings(*entries, model_aliases=aliases)) as served:

            async def list_attempts(**headers: str) -> str:
                named = {f"x-trigate-{name}": value for name, value in headers.items()}
                reply = await served.post("/v1/embeddings", json={"model": "r", "input": "x"}, headers=named)
                return reply.headers["x-trigate-tried"]

            assert await list_attempts() == "first=overloaded, second=ok"
            assert await list_attempts(models="second") == "second=ok"
            assert await list_attempts(fallback="off") == "first=overloaded"


@each_row(("api", "path"), [("messages", "/v1/messages/count_tokens"), ("responses", "/v1/responses/compact")])
async def test_a_count_or_compaction_by_the_provider_ends_at_the_clients_deadline(api: str, path: str):
    async with before(never, "openai/m-1", {"speaks": [api]}) as (served, _):
        sent = wire_clients.body_of(api, "m-1", stream=False)
        with trio.fail_after(5):
            reply = await served.post(path, json=sent, headers={"x-trigate-deadline": "50ms"})
        assert reply.status_code == 504


@each_row(
    ("path", "limit", "status"),
    [
        ("/v1/images/generations", {}, 200),
        ("/v1/images/generations", {"retries": {"deadline": "4m"}}, 503),
        ("/v1/audio/speech", {}, 503),
    ],
)
async def test_an_endpoint_that_may_take_minutes_has_a_longer_default_deadline(path: str, limit: Any, status: int):
    """Names with several targets failed after five minutes, although such an image or transcript is usual."""
    ahead = 0.0

    def answering(asked: ReceivedRequest) -> ScriptedAnswer:
        nonlocal ahead
        if asked.headers["authorization"] == "Bearer key-first":
            ahead = 400.0
            return json_answer({"error": {"message": "not now"}}, 503)
        return json_answer({"created": 1, "data": [{"b64_json": "aGk="}]})

    async with endpoint_provider(answering) as provider:
        entries = [
            {"model": "openai/m-1", "name": name, "access_key": f"key-{name}", "base_url": f"{provider.url}/v1"}
            for name in ("first", "second")
        ]
        names = {"r": {"targets": ["first", "second"]}}
        async with gateway(settings(*entries, model_aliases=names, **limit)) as served:
            served.service.health.clock = lambda: trio.current_time() + ahead
            reply = await served.post(path, json={"model": "r", "prompt": "x", "input": "x", "voice": "y"})
            assert reply.status_code == status, reply.text
