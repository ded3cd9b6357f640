"""The client of MCP's own SDK through the gateway, to a server of that SDK."""

import contextlib
import gc
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from mcp import MCPError
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.server.mcpserver import Context, MCPServer

from tests.support.features import needs_feature, rows_of
from tests.support.gateway_thread import mock_thread
from tests.support.harness import PATIENCE
from tests.support.in_process import InProcess, gateway
from tests.support.mcp_people import Browser, sign_in, signed_in_client
from tests.support.no_tls import NO_TLS
from tests.support.path_proxy import path_proxy

# The SDK's client leaves generators of responses to the garbage collector, which trio reports.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

KEY = "ann-key-0123456789-0123456789"
TOKEN = "server-token-0123456789"
OTHER = {"model": "openai/m-1", "price": "free", "access_key": "k", "base_url": "http://127.0.0.1:9/v1"}


@pytest.fixture(autouse=True)
def collect_garbage() -> Iterator[None]:
    """Collect what the SDK left here, and not during another test, which it would fail."""
    yield
    gc.collect()


tools = MCPServer("tools", version="7")
seen: list[dict[str, str]] = []
"""The headers of each request that the server received."""


@tools.tool()
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@tools.tool()
async def grow(context: Context[Any]) -> str:
    """Report progress, and offer another tool."""
    for step in range(3):
        await context.report_progress(step, 3)
    await context.notify_tools_changed()
    return "grown"


@tools.tool()
def delete_all() -> str:
    """Do what no client may."""
    raise AssertionError("the gateway passed a call that it must refuse")


@tools.resource("notes://today")
def today() -> str:
    return "Grüezi 😀"


@tools.prompt()
def greet(name: str) -> str:
    return f"Greet {name}."


@contextlib.asynccontextmanager
async def serving(
    sessions: bool = False,
    root: Callable[[str], Mapping[str, Any]] = lambda url: {},
    **more: Any,
) -> AsyncIterator[InProcess]:
    """Run the SDK's server, and a gateway before it. ``root`` returns more keys of the gateway at a URL."""
    app: Any = tools.streamable_http_app()
    seen.clear()

    async def record_headers(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            seen.append({name.decode(): value.decode() for name, value in scope["headers"]})
        await app(scope, receive, send)

    config = Config()
    config.bind, config.accesslog, config.errorlog = ["127.0.0.1:0"], None, None
    async with trio.open_nursery() as nursery:
        (url,) = await nursery.start(lambda task_status: serve(record_headers, config, task_status=task_status))
        own = {"name": "tools", "base_url": f"{url}/mcp", "sessions": sessions, "only": ["add", "grow"],
               "price_per_call": 0.001, "access_key": TOKEN}  # fmt: skip
        keys = [{"name": "ann", "key": KEY, "mcp": ["tools"], **more}]
        content = {"version": "v0.4.0", "model_providers": [OTHER], "mcp_servers": [own], "client_keys": keys}
        async with gateway(content) as served:
            served.reload({**content, **root(served.url)})
            yield served
        nursery.cancel_scope.cancel()


@contextlib.asynccontextmanager
async def connect(served: InProcess, mode: str = "auto", key: str = KEY) -> AsyncIterator[Client]:
    headers = {"authorization": f"Bearer {key}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=PATIENCE, verify=NO_TLS, trust_env=False) as http,
        Client(streamable_http_client(f"{served.url}/mcp/tools", http_client=http), mode=mode) as client,
    ):
        yield client


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_sdks_client_uses_the_sdks_server(mode):
    progress: list[float] = []

    async def note(done: float, total: float | None, message: str | None) -> None:
        progress.append(done)

    with trio.fail_after(PATIENCE):
        async with serving(sessions=mode == "legacy") as served, connect(served, mode) as client:
            assert (client.server_info.name, client.server_info.version) == ("tools", "7")
            assert (client.protocol_version >= "2026") is (mode == "auto")
            assert {one.name for one in (await client.list_tools()).tools} == {"add", "grow", "delete_all"}
            result = await client.call_tool("add", {"a": 2, "b": 40})
            assert (result.is_error, result.structured_content) == (False, {"result": 42})
            assert (await client.call_tool("grow", progress_callback=note)).content[0].text == "grown"
            assert progress == [0, 1, 2]
            assert (await client.read_resource("notes://today")).contents[0].text == "Grüezi 😀"
            prompt = await client.get_prompt("greet", {"name": "Ann"})
            assert prompt.messages[0].content.text == "Greet Ann."
    assert {one["authorization"] for one in seen} == {f"Bearer {TOKEN}"}
    assert KEY not in json.dumps(seen)
    assert any("mcp-session-id" in one for one in seen) is (mode == "legacy")


async def test_refusals_are_errors_of_the_sdk():
    with trio.fail_after(PATIENCE):
        async with serving() as served, connect(served) as client:
            with pytest.raises(MCPError, match="delete_all") as refused:
                await client.call_tool("delete_all")
            assert refused.value.error.code == -32000
            assert (await client.call_tool("add", {"a": 1, "b": 1})).structured_content == {"result": 2}


async def test_a_subscription_receives_events_until_the_client_leaves():
    with trio.fail_after(PATIENCE):
        async with (
            serving() as served,
            connect(served) as client,
            client.listen(tools_list_changed=True) as changes,
        ):
            await client.call_tool("grow")
            async for change in changes:
                assert "tools" in type(change).__name__.lower()
                break


@needs_feature("people")
@pytest.mark.parametrize("place", ["own host", "stripped", "kept"])
async def test_the_sdks_client_finds_the_issuer_and_signs_in(place):
    """Without the metadata, or with those of another URL, clients did not sign in (BerriAI/litellm#31296, #36803)."""
    with (
        trio.fail_after(PATIENCE),
        mock_thread() as issuer,
        path_proxy(0, "/teams/llm", strips=place == "stripped") as proxy,
    ):
        rule = {"when": {"groups": "ml"}, "mcp": ["tools"]}

        def people(url: str) -> dict[str, Any]:
            external = {} if place == "own host" else {"public_url": proxy.url}
            base = external.get("public_url", url)
            own = {"name": "id", "issuer": issuer.url, "audience": [f"{base}/mcp/tools"], "admit": [rule]}
            return {"issuers": [own], **external}

        async with serving(root=people) as served:
            proxy.upstream = urlsplit(served.url).port or 0
            base = served.url if place == "own host" else proxy.url
            browser = Browser("ada")
            async with signed_in_client(f"{base}/mcp/tools", browser) as client:
                assert (await client.call_tool("add", {"a": 2, "b": 40})).structured_content == {"result": 42}
            assert browser.requested["resource"] == f"{base}/mcp/tools"
            other = (await sign_in(issuer.url, "ada", resource="http://127.0.0.1/mcp/others"))["access_token"]
            wrong = await served.post("/mcp/tools", json={}, headers={"authorization": f"Bearer {other}"})
            assert wrong.status_code == 401
            challenge = wrong.headers["www-authenticate"]
            metadata = f"{base}/.well-known/oauth-protected-resource/mcp/tools"
            assert challenge == f'Bearer error="invalid_token", resource_metadata="{metadata}"'


@pytest.mark.parametrize("has_issuers", [*rows_of("people", True), False])
async def test_without_a_credential_well_known_paths_are_open_and_the_unknown_missing(has_issuers):
    """A 401 ended the discovery of clients."""
    issuer = {"name": "id", "issuer": "https://id.example", "audience": ["mcp"], "admit": [{"when": {"groups": "ml"}}]}
    async with serving(root=lambda url: {"issuers": [issuer]} if has_issuers else {}) as served:
        start = "/.well-known/oauth-protected-resource"
        found = await served.get(f"{start}/mcp/any")
        assert found.status_code == (200 if has_issuers else 404)
        if has_issuers:
            assert found.json() == {
                "resource": f"{served.url}/mcp/any",
                "authorization_servers": ["https://id.example"],
                "bearer_methods_supported": ["header"],
            }
        for path in (start, f"{start}/mcp", f"{start}/mcp/a/b", "/.well-known/openid-configuration", "/.well-known/x/y",
                     "/.well-known/oauth-authorization-server"):  # fmt: skip
            assert (await served.get(path)).status_code == 404, path
        refused = await served.post("/mcp/any", json={})
        assert refused.status_code == 401
        expected = f'Bearer resource_metadata="{served.url}{start}/mcp/any"' if has_issuers else "Bearer"
        assert refused.headers["www-authenticate"] == expected
