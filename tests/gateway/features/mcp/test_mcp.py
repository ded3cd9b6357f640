"""Messages for MCP servers, at ``/mcp/NAME``."""

import contextlib
import json
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import httpx2
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from gateway.features.mcp.json_rpc import error_body
from gateway.features.mcp.messages import MAX_ID, MAX_REFUSED, RpcForms, RpcMessage, decode_value, parse
from gateway.relay.answers import MAX_HELD_JSON
from streams.errors import GatewayError
from streams.events import ErrorInfo
from tests.support.cases import case
from tests.support.each_row import each_row
from tests.support.endpoint_provider import (
    EndpointProvider,
    ReceivedRequest,
    ScriptedAnswer,
    endpoint_provider,
    events,
    json_answer,
)
from tests.support.harness import PATIENCE
from tests.support.in_process import InProcess, gateway
from tests.support.no_tls import NO_TLS
from tests.support.settled_lines import SettledLines

KEY = "ann-key-0123456789-0123456789"
TOKEN = "server-token-0123456789"
HEADERS = {
    "authorization": f"Bearer {KEY}",
    "content-type": "application/json",
    "accept": "application/json, text/event-stream",
    "mcp-protocol-version": "2026-07-28",
}
OTHER = {"model": "openai/m-1", "price": "free", "access_key": "k", "base_url": "http://127.0.0.1:9/v1"}


def call(tool: str, id: Any = 7, **more: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": tool, "arguments": {"a": 1}}, **more}


def ok(asked: Any) -> ScriptedAnswer:
    return json_answer({"jsonrpc": "2.0", "id": 7, "result": {}})


@contextlib.asynccontextmanager
async def serving(
    answering: Any = ok, server: dict[str, Any] | None = None, ann: dict[str, Any] | None = None, **more: Any
) -> AsyncIterator[tuple[InProcess, EndpointProvider]]:
    """Run a gateway with the MCP server ``tools``, which the key of ``ann`` may use."""
    own_key = {"name": "ann", "key": KEY, "mcp": ["tools"], **(ann or {})}
    keys = [{name: value for name, value in own_key.items() if value is not None}, {"name": "bob", "key": KEY + "-bob"}]
    async with endpoint_provider(answering) as provider:
        own = {"name": "tools", "base_url": f"{provider.url}/mcp?v=1", "access_key": TOKEN, **(server or {})}
        config = {"version": "v0.3.0", "model_providers": [OTHER], "mcp_servers": [own], "client_keys": keys, **more}
        async with gateway({key: value for key, value in config.items() if value is not None}) as served:
            yield served, provider


async def send(served: InProcess, message: Any, method: str = "POST", path: str = "tools", **headers: str) -> Any:
    content = message if isinstance(message, bytes) else json.dumps(message).encode()
    more = {name.replace("_", "-"): value for name, value in headers.items()}
    return await served.send(method, f"/mcp/{path}", content=content, headers={**HEADERS, **more})


SPELLINGS = {"plain": TOKEN, "JSON": TOKEN.replace("-", "\\u002d"), "URL": TOKEN.replace("-", "%2D")}


@each_row("spelling", [*SPELLINGS])
@each_row(
    ("status", "kind"),
    [
        (200, "application/json"), (200, "text/event-stream"), (400, "application/json"), (400, "text/plain"),
        (404, "text/event-stream"), (500, "text/html"), (502, ""),
    ],
)  # fmt: skip
async def test_no_error_repeats_the_servers_key(status, kind, spelling):
    error = json.dumps({"jsonrpc": "2.0", "id": 7, "error": {"code": -32000, "message": "invalid token T"}})
    text = {"application/json": error, "text/event-stream": f"event: message\ndata: {error}\n\n"}.get(kind, "bad T")
    written = text.replace("T", SPELLINGS[spelling]).encode()
    pieces = tuple(written[at : at + 7] for at in range(0, len(written), 7))
    headers = (("content-type", kind),) if kind else ()
    async with serving(lambda asked: ScriptedAnswer(pieces, status, headers)) as (served, _):
        found = await send(served, call("f"))
    assert found.status_code == status
    assert found.content == text.replace("T", "[redacted]").encode()


async def test_an_error_too_long_to_read_is_not_passed_on():
    async with serving(lambda asked: ScriptedAnswer((b"x" * MAX_HELD_JSON, TOKEN.encode()), 500)) as (served, _):
        found = await send(served, call("f"))
    assert found.status_code == 502
    assert found.json()["error"]["message"].startswith("the provider's error is longer than 1 MiB")


async def test_body_and_headers_pass_unchanged_and_the_credential_is_the_servers():
    body = b'{ "jsonrpc":"2.0",\t"id" : "a",  "method":"tools/call","params":{"name":"f","_meta":{"\\u0061":1.50}}}'
    answer = b'{"jsonrpc": "2.0",  "id":"a","result":{"x":1.50}}'
    returned = (("content-type", "application/json"), ("mcp-param-z", "1"), ("set-cookie", "a=b"))
    async with serving(lambda asked: ScriptedAnswer((answer,), 200, returned)) as (served, provider):
        encoded = "=?base64?w6k=?="
        found = await send(served, body, mcp_method="tools/call", mcp_name="f", mcp_param_City=encoded, cookie="c=1")
        assert (found.status_code, found.content) == (200, answer)
        assert found.headers["mcp-param-z"] == "1"
        assert "set-cookie" not in found.headers
        (asked,) = provider.asked
        assert (asked.method, asked.path, asked.body) == ("POST", "/mcp?v=1", body)
        expected = {
            "mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call", "mcp-name": "f",
            "mcp-param-city": encoded, "authorization": f"Bearer {TOKEN}", "content-type": HEADERS["content-type"],
            "accept": HEADERS["accept"],
        }  # fmt: skip
        assert {name: asked.headers.get(name) for name in expected} == expected
        assert asked.headers.keys().isdisjoint(("cookie", "mcp-session-id"))


async def test_no_key_of_a_client_reaches_the_server():
    """The key may be in any header."""
    async with serving() as (served, provider):
        for name in ("authorization", "x-api-key", "x-goog-api-key", "x-trigate-key"):
            key = f"Bearer {KEY}" if name == "authorization" else KEY
            more = {"mcp-param-x": KEY, "mcp-session-id": KEY, "mcp-name": f"a{KEY}", "mcp-key": KEY, name: key}
            rest = {key: value for key, value in HEADERS.items() if key != "authorization"}
            body = json.dumps(call("f")).encode()
            found = await served.send("POST", f"/mcp/tools?key={KEY}", content=body, headers={**rest, **more})
            assert found.status_code == 200, name
        assert len(provider.asked) == 4
        assert KEY not in repr(provider.asked)


async def test_no_header_repeats_the_servers_key():
    """Neither of a response nor of an error, in no spelling."""
    spelled = TOKEN.replace("-", "%2D")
    more = (("mcp-session-id", TOKEN), ("mcp-param-x", f"a{spelled}b"), ("etag", f'"{TOKEN}"'), ("mcp-name", "f"))
    for status in (200, 400):
        async with serving(lambda asked, status=status: json_answer({}, status, *more), {"sessions": True}) as served:
            found = await send(served[0], call("f"))
            assert found.status_code == status
            assert found.headers["mcp-name"] == "f"
            assert TOKEN not in repr(found.headers)
            assert spelled not in repr(found.headers)


async def test_only_clients_with_the_server_may_use_it():
    async with serving() as (served, provider):
        found = await send(served, call("f", "q"), authorization=f"Bearer {KEY}-bob")
        assert (found.status_code, found.json()["id"]) == (403, "q")
        assert "mcp" in found.json()["error"]["message"]
        found = await send(served, call("f"), authorization="Bearer wrong")
        assert found.status_code == 401
        found = await send(served, call("f"), path="other")
        assert (found.status_code, found.json()["id"]) == (404, 7)
        assert provider.heads == []


@each_row("method", ["POST", "GET", "DELETE"])
async def test_without_mcp_servers_the_error_is_one_of_json_rpc(method):
    """A client of MCP understands no other; its message is an error of configuration."""
    async with serving(mcp_servers=None, ann={"mcp": None}) as (served, provider):
        found = await send(served, call("f", "q") if method == "POST" else b"", method)
        assert found.status_code == 404
        error = found.json()
        assert (error["jsonrpc"], error["id"]) == ("2.0", "q" if method == "POST" else None)
        assert "mcp_servers" in error["error"]["message"]
        assert (await send(served, call("f"), method, authorization="Bearer wrong")).status_code == 401
        assert provider.heads == []


@each_row(
    ("body", "id"),
    [
        (json.dumps(call("f", "q")).encode(), "q"),
        (json.dumps(call("f", 7, padding="x" * MAX_REFUSED)).encode(), None),
        (b'{"id": 1, "id": 2}', None),
        (b"{", None),
        (b"", None),
    ],
)
async def test_a_refusal_has_the_id_of_a_message_that_has_arrived(body, id):
    """Before a client is admitted, the gateway waits for none of its bytes."""
    async with serving() as (served, provider):
        host, _, port = served.url.removeprefix("http://").partition(":")
        head = f"POST /mcp/tools HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n"
        async with await trio.open_tcp_stream(host, int(port)) as stream:
            await stream.send_all(head.encode() + body)
            answer = b"".join([part async for part in stream])
        assert answer.startswith(b"HTTP/1.1 401 ")
        error = json.loads(answer.partition(b"\r\n\r\n")[2])
        assert (error["id"], error["error"]["code"]) == (id, -32000)
        assert provider.heads == []


async def test_a_group_gives_its_servers_in_addition():
    group = {"client_groups": [{"name": "team", "mcp": ["t*"]}]}
    for own in ({"mcp": None}, {"mcp": ["tools"]}):
        ann = {"group": "team", **own}
        keys = [{"name": "ann", "key": KEY, **{name: value for name, value in ann.items() if value is not None}}]
        async with serving(client_keys=keys, **group) as (served, _):
            assert (await send(served, call("f"))).status_code == 200


async def test_without_client_keys_everyone_may_use_it():
    async with serving(client_keys=None) as (served, _):
        assert (await send(served, call("f"))).status_code == 200


ERRORS = {
    "no JSON": (b"{", 400, -32700, None),
    "another encoding": ('{"id":1}'.encode("utf-16"), 400, -32700, None),
    "a batch": (json.dumps([call("f")]).encode(), 400, -32600, None),
    "two methods": (b'{"id":1,"method":"tools/list","method":"tools/call"}', 400, -32600, None),
    "another case": (b'{"id":1,"method":"tools/list","Method":"tools/call"}', 400, -32600, None),
    "a long s": ('{"id":1,"method":"tools/call","param\u017f":{}}'.encode(), 400, -32600, None),
    "two names": (b'{"id":1,"method":"tools/call","params":{"name":"a","name":"b"}}', 400, -32600, 1),
    "a name in another case": (b'{"id":1,"method":"tools/call","params":{"name":"a","Name":"b"}}', 400, -32600, 1),
    "a name of another type": (b'{"id":1,"method":"tools/call","params":{"name":["a"]}}', 400, -32600, 1),
    "a list of parameters": (b'{"id":1,"method":"tools/call","params":["a"]}', 400, -32600, 1),
    "a method in another case": (b'{"id":1,"method":"Tools/Call","params":{"name":"a"}}', 400, -32600, 1),
    "a method with white space": (b'{"id":1,"method":" tools/call","params":{"name":"a"}}', 400, -32600, 1),
    "a method with much white space": (
        json.dumps({"id": 1, "method": f"{' ' * 200}tools/call"}).encode(),
        400,
        -32600,
        1,
    ),
    "a method with a zero byte": (b'{"id":1,"method":"tools/call\\u0000","params":{"name":"a"}}', 400, -32600, 1),
    "a long id": (json.dumps(call("f", "x" * MAX_ID)).encode(), 400, -32600, None),
}


async def test_a_message_that_servers_may_read_differently_reaches_no_server():
    async with serving() as (served, provider):
        for name, (body, status, code, id) in ERRORS.items():
            with case(name):
                found = await send(served, body)
                assert found.status_code == status
                assert found.json()["error"]["code"] == code
                assert found.json()["id"] == id
        assert provider.heads == []


async def test_the_server_reads_the_encoding_that_the_gateway_has_read():
    """In UTF-7, which Express and the first SDK for TypeScript decode, ``+AHQ-`` is a ``t``."""
    hidden = b'{"id":7,"method":"+AHQ-ools/call","params":{"name":"write"}}'
    kinds = ("utf-7", '"UTF-7"', "a;charset=utf-7", "gbk")
    async with serving(server={"only": ["read_*"], "price_per_call": 0.5}) as (served, provider):
        for kind in kinds:
            await send(served, hidden, content_type=f"application/json; Charset={kind}; a=b")
            assert provider.asked.pop().headers["content-type"] == "application/json; a=b", kind


async def test_other_tools_than_the_permitted_ones_are_refused():
    async with serving(server={"only": ["read_*", "list"]}) as (served, provider):
        for tool in ("read_file", "list"):
            assert (await send(served, call(tool))).status_code == 200
        for tool in ("write", "Read_file", "list ", ""):
            found = await send(served, call(tool))
            assert (found.status_code, found.json()["id"]) == (403, 7), tool
        assert (await send(served, {"id": 1, "method": "tools/call"})).status_code == 403
        assert (await send(served, {"id": 1, "method": "tools/list"})).status_code == 200
        assert len(provider.asked) == 3


async def test_if_tools_are_limited_headers_that_differ_from_the_message_are_refused():
    """The error is that of revision 2026-07-28, "Server Validation"."""
    different = ({"mcp_method": "tools/list"}, {"mcp_name": "read_b"}, {"mcp_name": "=?base64?cmVhZF9i?="},
                 {"mcp_name": "=?base64?%%?="}, {"mcp_name": "read_a, read_b"})  # fmt: skip
    async with serving(server={"only": ["read_*"]}) as (served, provider):
        for headers in different:
            found = await send(served, call("read_a"), **headers)
            assert (found.status_code, found.json()["error"]["code"]) == (400, -32020), headers
            assert found.json()["id"] == 7
        body = json.dumps(call("read_a")).encode()
        twice = [*HEADERS.items(), ("mcp-name", "read_a"), ("mcp-name", "read_b")]
        assert (await served.send("POST", "/mcp/tools", content=body, headers=twice)).status_code == 400
        assert provider.heads == []
        same = ({}, {"mcp_method": "tools/call", "mcp_name": "read_a"}, {"mcp_name": "=?base64?cmVhZF9h?="})
        for headers in same:
            assert (await send(served, call("read_a"), **headers)).status_code == 200
    async with serving() as (served, provider):
        assert (await send(served, call("a"), mcp_name="b")).status_code == 200, "the server judges"


async def test_only_a_server_with_sessions_gets_their_headers_and_methods():
    session = {"mcp_session_id": "s-1", "last_event_id": "e-1"}
    answer = json_answer({}, 200, ("mcp-session-id", "s-2"))
    for has_sessions in (False, True):
        async with serving(lambda asked: answer, {"sessions": has_sessions}) as (served, provider):
            found = await send(served, call("f"), **session)
            assert found.headers.get("mcp-session-id") == ("s-2" if has_sessions else None)
            (asked,) = provider.asked
            sent = {asked.headers.get(name) for name in ("mcp-session-id", "last-event-id")}
            assert sent == ({"s-1", "e-1"} if has_sessions else {None})
            for method in ("GET", "DELETE"):
                found = await send(served, b"", method, **session)
                assert found.status_code == (200 if has_sessions else 405)
                if has_sessions:
                    assert provider.asked[-1].method == method
                else:
                    assert (found.headers["allow"], found.json()["id"]) == ("POST", None)


async def test_a_clients_deadline_limits_calls_and_no_subscriptions():
    async def answering(asked: ReceivedRequest) -> ScriptedAnswer:
        if asked.method == "POST":
            await trio.sleep_forever()
        return events(b'data: {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}\n\n')

    async with serving(answering, {"sessions": True}) as (served, provider), trio.open_nursery() as nursery:
        provider.go = trio.Event()
        limited, found = {"x-trigate-deadline": "50ms"}, []

        async def subscribe() -> None:
            found.append(await send(served, b"", "GET", **limited))

        nursery.start_soon(subscribe)
        await provider.begun.wait()
        with trio.fail_after(PATIENCE):
            assert (await send(served, call("f"), **limited)).status_code == 504
        provider.go.set()
    assert [(one.status_code, b"list_changed" in one.content) for one in found] == [(200, True)]


async def test_a_page_of_another_origin_gets_403():
    """DNS rebinding: the protocol requires the check, with keys too."""
    async with serving() as (served, provider):
        found = await send(served, call("f"), origin="https://evil.example")
        assert (found.status_code, found.json()["jsonrpc"]) == (403, "2.0")
        assert provider.heads == []
        assert (await send(served, call("f"), origin=served.url)).status_code == 200
    async with serving(cors=["https://good.example"]) as (served, provider):
        assert (await send(served, call("f"), origin="https://good.example")).status_code == 200
        assert (await send(served, call("f"), origin="https://evil.example")).status_code == 403


@each_row("status", [400, 404, 405, 429, 500, 503], every=3)
async def test_failures_of_the_server_pass_unchanged_and_cost_nothing(status):
    body = b'{"jsonrpc":"2.0","id":7,"error":{"code":-32020,"message":"x"}}'
    answer = ScriptedAnswer((body,), status, (("content-type", "application/json"),))
    async with serving(lambda asked: answer, {"price_per_call": 0.5}) as (served, provider):
        lines = SettledLines(served)
        found = await send(served, call("f"))
        assert (found.status_code, found.content, len(provider.asked)) == (status, body, 1)
        (line,) = await lines.next()
        assert "cost_usd" not in line
        assert line["ended"] == "upstream_error"


@each_row("status", [301, 307, 401, 403])
async def test_a_rejected_credential_and_a_redirect_concern_the_gateway(status):
    headers = (("www-authenticate", "Bearer"), ("location", "https://evil.example/mcp"))
    async with serving(lambda asked: json_answer({}, status, *headers)) as (served, provider):
        found = await send(served, call("f"))
        assert (found.status_code, found.json()["id"]) == (502, 7)
        assert ("tool or file" in found.json()["error"]["message"]) == (status == 403), "a 403 may concern the tool"
        assert found.headers.keys().isdisjoint(("www-authenticate", "location"))
        assert len(provider.asked) == 1


async def test_a_call_has_its_price_and_its_tool_in_the_ledger():
    async with serving(server={"price_per_call": 0.0025}) as (served, _):
        lines = SettledLines(served)
        await send(served, call("f"))
        await send(served, {"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
        called, listed = await lines.next(2)
        assert (called["cost_usd"], called["cost_grade"]) == (0.0025, "exact")
        assert called["mcp"] == {"method": "tools/call", "name": "f"}
        assert (called["target"], called["endpoint"], called["client"]) == ("mcp/tools", "mcp", "ann")
        assert listed["cost_usd"] == 0
        assert listed["mcp"] == {"method": "tools/list"}


async def test_calls_count_for_the_clients_limits_and_budgets():
    async with serving(ann={"ratelimits": {"requests": "2/m"}}) as (served, provider):
        found = [(await send(served, call("f"))).status_code for _ in range(3)]
        assert (found, len(provider.asked)) == ([200, 200, 429], 2)
    priced = {"price_per_call": 0.5}
    async with serving(server=priced, ann={"budgets": ["1 usd/day"]}) as (served, provider):
        lines = SettledLines(served)
        for _ in range(2):
            assert (await send(served, call("f"))).status_code == 200
            await lines.next()
        found = await send(served, call("f"))
        assert (found.status_code, found.json()["id"], len(provider.asked)) == (402, 7, 2)


async def test_a_notification_gets_202_without_a_body():
    async with serving(lambda asked: ScriptedAnswer((), 202, (), length=True)) as (served, _):
        found = await send(served, {"jsonrpc": "2.0", "method": "notifications/cancelled"})
        assert (found.status_code, found.content) == (202, b"")


async def test_a_call_is_sent_once_even_if_its_connection_breaks():
    """A pooled connection may be dead; a second call could have a second effect."""
    answers = iter((ok(None), ScriptedAnswer((b"{",), 200, cut=True)))
    async with serving(lambda asked: next(answers)) as (served, provider):
        assert (await send(served, call("f"))).status_code == 200
        found = await send(served, call("f"))
        assert (found.status_code, found.json()["id"]) == (502, 7)
        assert len(provider.asked) == 2


async def test_a_server_that_cannot_be_reached_is_a_json_rpc_error():
    async with serving(server={"base_url": "http://127.0.0.1:9/mcp"}) as (served, _):
        found = await send(served, call("f", "a\u00e9"))
        assert (found.status_code, found.json()["id"]) == (502, "a\u00e9")


async def test_a_server_that_never_responds_ends_at_the_time_limit():
    async def never(asked: Any) -> ScriptedAnswer:
        await trio.sleep_forever()
        raise AssertionError

    async with serving(never, timeouts={"first_byte": "200ms"}) as (served, _):
        found = await send(served, call("f"))
        assert (found.status_code, found.json()["id"]) == (504, 7)


async def test_events_pass_unchanged_as_they_arrive():
    pieces = (b'id: 1\nevent: message\ndata: {"x":1}\n\n', b": c\n\nretry: 9\ndata:2\r\n\r\n")
    async with serving(lambda asked: events(*pieces)) as (served, _):
        found = await send(served, call("f"))
        assert found.headers["content-type"] == "text/event-stream"
        assert found.content == b"".join(pieces)


async def test_an_id_that_is_no_text_is_passed_on_with_its_stream():
    async with serving(lambda asked: events(b'data: {"x":1}\n\n')) as (served, _):
        for id in (b'"\xff"', b'"\\ud83d"', b"9" * 4000):
            found = await send(served, b'{"jsonrpc":"2.0","method":"ping","id":%b}' % id)
            assert found.status_code in (200, 400), (id, found.text)


async def test_a_broken_stream_ends_with_an_error_for_its_request():
    async with serving(lambda asked: events(b'data: {"x":1}\n\n', cut=True)) as (served, _):
        found = await send(served, call("f"))
        first, last = found.content.decode().rstrip().split("\n\n")
        assert first == 'data: {"x":1}'
        error = json.loads(last.rpartition("data: ")[2])
        assert (error["id"], error["error"]["code"]) == (7, -32000)


async def test_a_subscription_has_no_time_limit_and_ends_with_its_client():
    limits = {"idle": "200ms", "total": "300ms"}
    async with serving(lambda asked: events(b"data: 1\n\n", b"data: 2\n\n"), timeouts=limits) as (served, provider):
        provider.go = trio.Event()
        async with httpx2.AsyncClient(timeout=PATIENCE, verify=NO_TLS) as http, trio.open_nursery() as nursery:
            sender, received = trio.open_memory_channel[bytes](1)

            async def follow(message: Any) -> bytes:
                content = json.dumps(message).encode()
                async with http.stream("POST", f"{served.url}/mcp/tools", content=content, headers=HEADERS) as answer:
                    return await answer.aread()

            async def listen() -> None:
                await sender.send(await follow({"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen"}))

            nursery.start_soon(listen)
            await provider.begun.wait()
            assert b'"error"' in await follow(call("f")), "a call that began later has reached its limit"
            with pytest.raises(trio.WouldBlock):
                received.receive_nowait()
            provider.go.set()
            assert await received.receive() == b"data: 1\n\ndata: 2\n\n"


async def test_a_client_that_leaves_closes_the_request_to_the_server():
    async with serving(lambda asked: events(b"data: 1\n\n", b"data: 2\n\n")) as (served, provider):
        provider.go = trio.Event()
        async with httpx2.AsyncClient(timeout=PATIENCE, verify=NO_TLS) as http:
            content = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen"}).encode()
            with trio.move_on_after(PATIENCE) as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(partial(http.post, f"{served.url}/mcp/tools", content=content, headers=HEADERS))
                    await provider.begun.wait()
                    nursery.cancel_scope.cancel()
            assert not scope.cancelled_caught
            with trio.fail_after(PATIENCE):
                await provider.left_now.wait()


# Messages


def test_messages_are_read():
    assert parse(b'{"id":"\\u0061","method":"ping"}', RpcForms()) == RpcMessage(b'"\\u0061"', "ping")
    assert parse(b'{"id":1.5,"method":"ping"}', RpcForms()) == RpcMessage(b"null", "ping")
    assert parse(b'{"id":-3,"result":{}}', RpcForms()) == RpcMessage(b"-3")
    read = b'{"id":1,"method":"resources/read","params":{"uri":"a://b"}}'
    assert parse(read, RpcForms()) == RpcMessage(b"1", "resources/read", "a://b")
    assert decode_value("=?base64??=") == ""
    assert decode_value("=?base64?=") == "=?base64?="
    assert decode_value("=?base64?\xe9?=") is None


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_body_is_a_message_or_an_error_of_the_client(body):
    forms = RpcForms()
    error = None
    try:
        parse(body, forms)
    except GatewayError as found:
        error = found.info
    if error is not None:
        assert error.status == 400
        assert json.loads(forms.error(error).body)["error"]["code"] < 0


@given(st.text(max_size=40) | st.integers() | st.none())
def test_an_error_repeats_the_id(id):
    forms = RpcForms()
    parse(json.dumps({"id": id, "method": "ping"}).encode(), forms)
    assert json.loads(error_body(ErrorInfo("upstream", "x"), forms.id))["id"] == id
