"""Paths of a provider that no route knows: forwarded and removed headers, and the permitted clients."""

import contextlib
import itertools
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
import trio

from providers.apis import CODECS
from tests.support.cases import case
from tests.support.each_row import each_row
from tests.support.endpoint_provider import (
    EndpointProvider,
    ReceivedRequest,
    ScriptedAnswer,
    before,
    endpoint_provider,
    json_answer,
    settings,
)
from tests.support.features import members_of, needs_feature, rows_of
from tests.support.in_process import InProcess, gateway
from tests.support.relay_rows import ROUTES
from tests.support.settled_lines import SettledLines

KEY = "ann-key-0123456789-0123456789"
EXCHANGES = [route.path for codec in CODECS.values() for route in codec.wire.routes()]
CHAT = {
    "id": "x", "object": "chat.completion", "usage": {"prompt_tokens": 3, "completion_tokens": 4},
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
}  # fmt: skip


@contextlib.asynccontextmanager
async def passing(
    answering: Any, base: str = "/v1", entry: dict[str, Any] | None = None, **more: Any
) -> AsyncIterator[tuple[InProcess, EndpointProvider]]:
    """Run a gateway with an entry that passes every path through, to ``base`` at a provider."""
    own = {"model": "openai/m-1", "name": "mine", "passthrough": True, "access_key": "provider-key", **(entry or {})}
    async with (
        endpoint_provider(answering) as provider,
        gateway(settings({**own, "base_url": provider.url + base}, **more)) as served,
    ):
        yield served, provider


@needs_feature("client_routing")
@pytest.mark.parametrize("models", [None, ["mine"]])
async def test_a_blocked_end_user_in_a_passed_body_is_refused(models):
    keys = [{"name": "ann", "key": KEY, "passthrough": ["mine"], **({} if models is None else {"models": models})}]
    blocked = {"client_routing": ["litellm"], "blocked_end_users": ["eve"], "client_keys": keys}
    head = {"authorization": f"Bearer {KEY}"}
    async with passing(lambda asked: json_answer(CHAT), **blocked) as (served, provider):
        for user, status in (("eve", 403), ("ada", 200)):
            body = {"model": "m-1", "user": user, "messages": []}
            assert (await served.post("/mine/v1/other", json=body, headers=head)).status_code == status
            if models is not None:  # the forms of other keys pass unread
                form = {"model": (None, "m-1"), "user": (None, user), "file": ("a.wav", b"RIFF")}
                assert (await served.post("/mine/v1/other", files=form, headers=head)).status_code == status
        assert b"eve" not in b"".join(asked.body for asked in provider.asked)


async def raw(served: InProcess, target: str, *lines: str) -> int:
    """Return the status of the response to a request with a target that no client library would send."""
    stream = await trio.open_tcp_stream("127.0.0.1", int(served.url.rpartition(":")[2]))
    async with stream:
        head = "\r\n".join((f"GET {target} HTTP/1.1", "host: 127.0.0.1", "connection: close", *lines, "", ""))
        await stream.send_all(head.encode("latin-1"))
        answer = b""
        while chunk := await stream.receive_some():
            answer += chunk
        return int(answer.split(b" ", 2)[1])


async def test_any_path_is_sent_to_the_entrys_host_with_its_credential():
    async with passing(lambda asked: json_answer({"ok": 1})) as (served, provider):
        for start in ("mine", "openai"):
            found = await served.send("GET", f"/{start}/fine_tuning/jobs/ft-1%2F2?limit=2&key=mine&after=b%20c")
            assert (found.status_code, found.json()) == (200, {"ok": 1})
        for asked in provider.asked:
            assert (asked.method, asked.path) == ("GET", "/v1/fine_tuning/jobs/ft-1%2F2?limit=2&after=b%20c")
            assert asked.headers["authorization"] == "Bearer provider-key"


@each_row(
    ("base", "path", "sent"),
    [
        ("/v1", "v1/files", "/v1/files"),
        ("/v1/", "v1/files", "/v1/files"),
        ("/v1", "files", "/v1/files"),
        ("", "v1/files", "/v1/files"),
        ("/openai/v1", "v1/files", "/openai/v1/files"),
        ("/v1beta", "v1beta/files", "/v1beta/files"),
        ("/v1", "v1beta/files", "/v1/v1beta/files"),
        ("/api", "api/files", "/api/api/files"),
    ],
    every=2,
)
async def test_a_version_is_not_repeated(base, path, sent):
    """Both the base URL of SDKs and a ``base_url`` in the configuration include the version."""
    async with passing(lambda asked: json_answer({}), base) as (served, provider):
        assert (await served.send("GET", f"/mine/{path}")).status_code == 200
    assert [asked.path for asked in provider.asked] == [sent]


async def test_no_byte_of_a_clients_key_is_forwarded():
    """The key may be in any header or parameter (BerriAI/litellm#32202, #38114)."""
    keys = [{"name": "ann", "key": KEY, "passthrough": ["mine"]}]
    async with passing(lambda asked: json_answer({}), client_keys=keys) as (served, provider):
        for name, value in (("authorization", f"Bearer {KEY}"), ("x-api-key", KEY), ("x-goog-api-key", KEY),
                            ("x-trigate-key", KEY)):  # fmt: skip
            more = {name: value, "accept-language": KEY, "prefer": f"x={KEY}", "cookie": f"a={KEY}"}
            found = await served.send("GET", f"/mine/jobs?a={KEY}&api_key={KEY}&b=1", headers=more)
            assert found.status_code == 200, name
        for asked in provider.asked:
            assert KEY not in repr(asked)
            assert asked.path == "/v1/jobs?b=1"


async def test_a_client_limits_the_cost_of_a_passed_request_and_cannot_choose_its_models():
    entry = {"price": {"input": 1, "output": 1}}
    async with passing(lambda asked: json_answer(CHAT), entry=entry) as (served, provider):
        for name, value, status in (("budget", "0.0000001 usd", 402), ("budget", "1 usd", 200), ("models", "m-1", 400)):
            with case((name, value)):
                head, sent = {f"x-trigate-{name}": value}, {"model": "m-1", "messages": [], "max_tokens": 9}
                found = await served.send("POST", "/mine/chat/completions", json=sent, headers=head)
                assert (found.status_code, len(provider.heads)) == (status, status == 200), found.text
                assert f"x-trigate-{name}" in found.text or status == 200
                assert (await served.send("GET", "/mine/jobs", headers=head)).status_code == 200  # it costs nothing
                provider.heads.clear()


async def test_only_keys_that_list_the_entry_are_admitted():
    keys = [{"name": "ann", "key": KEY}]
    async with passing(lambda asked: json_answer({}), client_keys=keys) as (served, provider):
        found = await served.send("GET", "/mine/jobs", headers={"authorization": f"Bearer {KEY}"})
        assert found.status_code == 403
        assert "passthrough" in found.json()["error"]["message"]
        assert (await served.send("GET", "/mine/jobs")).status_code == 401
        assert provider.heads == []


async def test_a_key_reaches_no_entry_outside_of_its_wall():
    own = {"model": "openai/m-1", "access_key": "provider-key", "passthrough": True}
    keys = [{"name": "ann", "key": KEY, "passthrough": ["*"], "only": ["eu-*"]}]
    async with endpoint_provider(lambda asked: json_answer({})) as provider:
        entries = [{**own, "name": name, "base_url": f"{provider.url}/{name}"} for name in ("us", "eu-1")]
        async with gateway(settings(*entries, client_keys=keys)) as served:
            head = {"authorization": f"Bearer {KEY}"}
            found = [await served.send("GET", f"/{name}/jobs", headers=head) for name in ("us", "eu-1")]
    assert [one.status_code for one in found] == [403, 200]
    assert [one.path for one in provider.asked] == ["/eu-1/jobs"]


async def test_an_entry_without_pass_through_has_no_path():
    async with before(lambda asked: json_answer({}), entry={"name": "mine"}) as (served, provider):
        assert (await served.send("GET", "/mine/jobs")).status_code == 404
        assert provider.heads == []


async def test_hostile_paths_reach_no_provider():
    """LuthienResearch/luthien-proxy#676."""
    rests = ("..", "../x", "a/../b", "%2e%2e/x", "a/%2E%2e/b", "%252e%252e/x", "./x", "a//b", "/x", "%2f/x", "a%2f%2fb",
             "a\\b", "a%5cb", "a%00b", "a%0d%0ab", "a%250ab", "%2e", "a/%2e", "a/..;/b", "http://evil/",
             "https:%2f%2fevil")  # fmt: skip
    async with passing(lambda asked: json_answer({})) as (served, provider):
        for rest in rests:
            with case(rest):
                assert await raw(served, f"/mine/{rest}") in (400, 404)
        with case("an absolute target"):
            assert await raw(served, "http://evil.example/mine/x") in (400, 404)
        assert provider.heads == []
        assert await raw(served, "/mine/a:b@c/d.e/..f/g..") == 200
        assert provider.heads == [("GET", "/v1/a:b@c/d.e/..f/g..")]


async def test_a_path_with_control_characters_is_refused_with_the_reason():
    """A line break caused a 404."""
    async with passing(lambda asked: json_answer({})) as (served, provider):
        methods = itertools.cycle(("GET", "POST", "PUT", "PATCH", "DELETE"))
        rests = itertools.cycle(("a%{:02x}b", "a/%{:02X}", "%{:02x}/a"))
        for code in (*range(0x20), 0x7F):
            method, rest = next(methods), next(rests).format(code)
            with case((method, rest)):
                found = await served.send(method, f"/mine/{rest}")
                assert found.status_code == 400
                assert "invalid characters" in found.json()["error"]["message"]
        assert provider.heads == []


REDIRECTS = {
    "/v1/other?x=1": "/v1/other?x=1",
    "HERE/v1/abs": "/v1/abs",
    "HERE/v1/abs?a=b%20c&a=1#part": "/v1/abs?a=b%20c&a=1",
    "other?x=1": "/v1/jobs/other?x=1",
    "../files/a%2Fb": "/v1/files/a%2Fb",
    "?page=2": "/v1/jobs/1?page=2",
    "/v1/a//b": None,
    "/v2/other": None,
    "/v1": None,
    "/v10/other": None,
    "/v1/../secret": None,
    "HERE/v1/../../secret": None,
    "HERE/v1/%2e%2e/%2e%2e/admin": None,
    "HERE/v1/.%2e/admin": None,
    "HERE/v1/%252e%252e/admin": None,
    "HERE/v1/a/./b": None,
    "../../secret": None,
    "https://evil.example/v1": None,
    "//evil.example/x": None,
    "https:/v1/x": None,
    "file:///v1/x": None,
    "http://[::1/v1/x": None,
}
"""Redirects of a provider from ``/v1/jobs/1``, with the path that a client then requests, or ``None``."""


@each_row(("place", "base"), [*zip(REDIRECTS, itertools.cycle(("/v1", "/v1/", "/v1?api-version=7")), strict=False)])
async def test_redirects_lead_to_the_gateway_or_are_removed(place, base):
    """The path of the base URL appears only once, and other paths are not below it."""

    def answering(asked: ReceivedRequest) -> ScriptedAnswer:
        if asked.path.partition("?")[0] != "/v1/jobs/1" or "page" in asked.path:
            return json_answer({"there": True})
        return json_answer({}, 307, ("location", place.replace("HERE", f"http://{asked.headers['host']}")))

    async with passing(answering, base) as (served, provider):
        if (there := REDIRECTS[place]) is None or "//" in there:
            found = await served.send("GET", "/mine/jobs/1", follow_redirects=False)
            if found.status_code == 307:
                found = await served.send("GET", found.headers["location"])
            assert found.status_code in (400, 502), found.headers
            assert len(provider.asked) == 1
            return
        found = await served.send("GET", "/mine/jobs/1", follow_redirects=True)
        assert found.json() == {"there": True}
        own = "api-version=7&" if "api" in base else ""
        path, mark, query = there.partition("?")
        expected = f"{path}?{own}{query}" if mark else path + (f"?{own[:-1]}" if own else "")
        assert provider.asked[-1].path == expected


@each_row(("place", "own"), [("https://other.example/x/1", None), ("/x/1", None), ("/v1/x/1", "/mine/x/1")])
async def test_an_answer_that_is_no_redirect_passes_without_a_foreign_location(place, own):
    """There ``location`` is the address of a new object (RFC 9110, section 10.2.2): a 502 would lose its id."""
    answer = json_answer({"id": 1}, 201, ("location", place))
    async with passing(lambda asked: answer) as (served, _):
        found = await served.send("POST", "/mine/x", json={"a": 1})
        assert (found.status_code, found.json(), found.headers.get("location")) == (201, {"id": 1}, own)


async def test_a_redirect_repeats_no_parameter_of_the_entrys_own():
    answer = json_answer({}, 302, ("location", "/v1/other?api-version=7&x=1&secret=s"))
    async with passing(lambda asked: answer, "/v1?api-version=7&secret=s") as (served, _):
        found = await served.send("GET", "/mine/jobs", follow_redirects=False)
        assert found.headers["location"] == "/mine/other?x=1"


@each_row("written", ["api%2Dversion=7", "secret=sk%2Dfar-too-secret", "x=sk-far-too-secret"])
async def test_a_redirect_repeats_no_credential_in_any_spelling(written):
    answer, entry = json_answer({}, 302, ("location", f"/v1/other?{written}&y=1")), {"access_key": "sk-far-too-secret"}
    async with passing(lambda asked: answer, "/v1?api-version=7", entry) as (served, _):
        found = (await served.send("GET", "/mine/jobs", follow_redirects=False)).headers["location"]
        assert found.startswith("/mine/other?")
        assert found.endswith("y=1")
        assert "secret" not in found.replace("secret=[redacted]", "")
        assert "version" not in found


@each_row("written", ["sk-far-too-secret", "sk%2Dfar-too-secret", "sk\\u002dfar-too-secret"])
async def test_no_error_repeats_the_entrys_key(written):
    entry, error = {"access_key": "sk-far-too-secret"}, '{"error":{"message":"no such key: KEY"}}'
    page = '<a href="/v1/other?x=KEY">moved</a>'
    for text, status, kind in (
        (f'data: {{"choices":[]}}\n\ndata: {error}\n\n', 200, "text/event-stream"),
        (f"{': a comment' * 5000}\n\ndata: {error}\n\n", 200, "text/event-stream"),
        (error, 200, "application/json"),
        (page, 302, "text/html"),
    ):
        headers = (("content-type", kind), ("location", "/v1/other"))
        answer = ScriptedAnswer((text.replace("KEY", written).encode(),), status, headers)
        async with passing(lambda asked, answer=answer: answer, "/v1", entry) as (served, _):
            found = await served.send("GET", "/mine/jobs", follow_redirects=False)
        assert (found.status_code, found.text) == (status, text.replace("KEY", "[redacted]"))


async def test_other_methods_get_405_with_those_of_the_path():
    """Paths for websockets are no exception: HEAD returned 426 there."""
    async with passing(lambda asked: json_answer({})) as (served, provider):
        for method in ("HEAD", "OPTIONS", "PROPFIND", "TRACE"):
            found = await served.send(method, "/mine/x")
            assert (found.status_code, found.headers["allow"]) == (405, "DELETE, GET, PATCH, POST, PUT")
        assert provider.heads == []


PAGE = "https://app.example"
PREFLIGHT = {
    "origin": PAGE,
    "access-control-request-method": "DELETE",
    "access-control-request-headers": "x-goog-upload-command",
}


@pytest.mark.parametrize("step", [3, pytest.param(1, marks=pytest.mark.soak)])
async def test_pages_of_configured_origins_may_call_every_path_of_programs(step):
    """Preflights of pass-through and others got 405, so that browsers blocked the requests."""
    paths = {re.sub(r"\{\w+\}", "x", route.path) for route in ROUTES}
    paths |= {path.replace("{model}", "x") for path in EXCHANGES} | {"/mine/fine_tuning/jobs", "/mcp/x"}
    paths |= {*rows_of("model_lists", "/v1/models")}
    paths |= {"/.well-known/oauth-protected-resource/mcp/x"}
    azures = ("/openai/deployments/x/chat/completions", "/openai/deployments/x/embeddings")
    paths |= {*rows_of("compatible_clients", *azures)}
    more = members_of("compatible_clients", compatibility=["azure"])
    more |= {"cors": [PAGE], "client_keys": [{"name": "ann", "key": KEY}]}
    async with passing(lambda asked: json_answer({}), **more) as (served, provider):
        for number, path in enumerate(sorted(paths)[::step]):
            with case(path):
                found = await served.send("OPTIONS", path, headers=PREFLIGHT)
                assert (found.status_code, found.content) == (204, b"")
                assert found.headers["access-control-allow-origin"] == PAGE
                assert "DELETE" in found.headers["access-control-allow-methods"]
                assert "x-goog-upload-command" in found.headers["access-control-allow-headers"]
                if number % 8:
                    continue
                refused = await served.send("OPTIONS", path, headers={**PREFLIGHT, "origin": "https://other.example"})
                assert "access-control-allow-origin" not in refused.headers
                wrong = await served.send("POST", path, headers={"origin": PAGE})
                assert wrong.headers["access-control-allow-origin"] == PAGE
        for path in ("/health", "/admin/v1/keys", "/minex", "/nowhere"):
            with case(path):
                found = await served.send("OPTIONS", path, headers=PREFLIGHT)
                assert found.status_code >= 400
                assert "access-control-allow-origin" not in found.headers
        assert provider.heads == []


async def test_a_header_keeps_its_bytes():
    """File names in UTF-8 were encoded twice."""
    names = ('attachment; filename="\u00e9t\u00e9.pdf"'.encode(), b'attachment; filename="\xe9.pdf"')
    for name in names:
        answer = json_answer({}, 200, (b"content-disposition", name))  # type: ignore[arg-type]  # bytes, not ASCII
        async with passing(lambda asked, answer=answer: answer) as (served, _):
            found = await served.send("GET", "/mine/x")
            assert dict(found.headers.raw)[b"content-disposition"] == name


async def test_no_header_repeats_the_entrys_key():
    more = (("cache-control", "k-1-secret"), ("x-goog-upload-url", "https://a.example/?key=k-1-secret&id=1"))
    answer = json_answer({}, 200, *more)
    async with passing(lambda asked: answer, entry={"access_key": "k-1-secret"}) as (served, _):
        found = await served.send("GET", "/mine/x")
        assert found.headers["x-goog-upload-url"].endswith("&id=1")
        assert "k-1-secret" not in repr(found.headers)


async def test_ranges_and_conditions_pass():
    def answering(asked: ReceivedRequest) -> ScriptedAnswer:
        if "if-none-match" in asked.headers:
            return ScriptedAnswer((), 304, (("etag", '"a"'),))
        headers = (("content-range", "bytes 0-1/9"), ("content-type", "x/y"), ("cache-control", "max-age=5"))
        return ScriptedAnswer((b"ab",), 206, headers, length=True)

    async with passing(answering) as (served, _):
        part = await served.send("GET", "/mine/big", headers={"range": "bytes=0-1"})
        assert (part.status_code, part.content, part.headers["content-range"]) == (206, b"ab", "bytes 0-1/9")
        assert part.headers["cache-control"] == "max-age=5"
        kept = await served.send("GET", "/mine/big", headers={"if-none-match": '"a"'})
        assert (kept.status_code, kept.content, kept.headers["cache-control"]) == (304, b"", "no-store")
        assert "content-length" not in kept.headers  # it would be the length of the complete resource (RFC 9110, 8.6)


async def test_bodies_of_any_type_pass_unchanged():
    big = bytes(range(256)) * 4000
    async with passing(lambda asked: json_answer({})) as (served, provider):
        await served.send("PUT", "/mine/blob", content=big, headers={"content-type": "application/octet-stream"})
        chunks = (big[at : at + 10_000] for at in range(0, len(big), 10_000))

        async def pieces() -> AsyncIterator[bytes]:
            for chunk in chunks:
                yield chunk

        await served.send("POST", "/mine/blob", content=pieces(), headers={"content-type": "x/y"})
        body = b'{"model":"m-1", "a": [1,  2]}'
        await served.send("PATCH", "/mine/job", content=body, headers={"content-type": "application/json"})
        assert [(one.method, one.body) for one in provider.asked] == [("PUT", big), ("POST", big), ("PATCH", body)]
        assert provider.asked[0].headers["content-length"] == str(len(big))
        assert provider.asked[1].headers["transfer-encoding"] == "chunked"
        assert provider.asked[2].headers["content-type"] == "application/json"


async def test_a_provider_reads_json_in_the_encoding_that_the_gateway_has_read():
    """In UTF-7, ``+AGU-`` is an ``e``, so a provider could read a model or price that the gateway has not checked."""
    keys = [{"name": "ann", "key": KEY, "models": ["mine"], "passthrough": ["mine"]}, {"name": "bob", "key": KEY + "b",
             "passthrough": ["mine"]}]  # fmt: skip
    hidden = b'{"model": "m-1", "mod+AGU-l": "m-2"}'
    async with passing(lambda asked: json_answer(CHAT), client_keys=keys) as (served, provider):
        for key in (KEY, KEY + "b"):
            for said, sent in (
                ("application/json; charset=utf-7", "application/json"),
                ('application/x+json;a=b; Charset="UTF-7";c=d', "application/x+json;a=b;c=d"),
                ("text/csv; charset=latin-1", "text/csv; charset=latin-1"),
            ):
                body = hidden if "json" in said else b"a,b"
                head = {"authorization": f"Bearer {key}", "content-type": said}
                assert (await served.send("POST", "/mine/x", content=body, headers=head)).status_code == 200
                assert provider.asked.pop().headers["content-type"] == sent


async def test_bodies_over_http2_need_no_content_length():
    """curl's -T - and streamed uploads of all clients send none (RFC 9113, section 8.1.1: the frames mark the end)."""

    async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
        for part in parts:
            yield part

    as_json = {"content-type": "application/json"}
    async with passing(lambda asked: json_answer({})) as (served, provider):
        async with httpx2.AsyncClient(verify=False, trust_env=False, timeout=30, http1=False, http2=True) as client:
            for method, content, headers in (
                ("POST", pieces(b"some ", b"bytes"), {"content-type": "x/y"}),
                ("PUT", pieces(b'{"model":', b'"m-1"}'), as_json),
                ("POST", pieces(), {"content-type": "x/y"}),
                ("DELETE", pieces(), as_json),
                ("GET", None, as_json),
            ):
                await client.request(method, f"{served.url}/mine/blob", content=content, headers=headers)
        assert [(one.method, one.body) for one in provider.asked] == [
            ("POST", b"some bytes"), ("PUT", b'{"model":"m-1"}'), ("POST", b""), ("DELETE", b""), ("GET", b""),
        ]  # fmt: skip


async def test_no_model_can_be_hidden_from_the_check():
    """Clients may use escapes, another type or encoding, a second model, or bodies that only lenient parsers read."""
    keys = [{"name": "ann", "key": KEY, "models": ["mine"], "passthrough": ["mine"]}]
    big, kind = b'{"model": "m-2"}', "application/json"
    form = b'--B\r\ncontent-disposition: form-data; name="model"\r\n\r\n%b\r\n--B--\r\n'
    async with passing(lambda asked: json_answer(CHAT), client_keys=keys) as (served, provider):
        for path, content, said in (
            ("x", big, "text/plain"), ("x", big, "application/octet-stream"), ("x", b" \n" * 9 + big, ""),
            ("x", big.decode().encode("utf-16"), "text/plain"), ("x", big.decode().encode("utf-16-le"), kind),
            ("x", b"\xef\xbb\xbf" + big, kind), ("x", big[:-1] + b', "a": NaN}', kind), ("x", b"[" + big + b"]", kind),
            ("x", b'{"model": "m-1", "models": ["m-2"]}', kind), ("x", b'{"model_id": "m-2"}', kind),
            *(("realtime/client_secrets", b'{"%b": {"model": "m-2"}}' % name, kind)
              for name in (b"session", b"grader", b"data_source", b"testing_criteria", b"method")),
            ("x", b'{"engine": "m-2"}', kind), ("x?engine=m-2", b"", ""), ("x?modelId=m-2", b"", ""),
            ("x", b'{"model": ["m-2"]}', kind), ("x", b"model=m-2", "application/x-www-form-urlencoded"),
            ("x", form % b"m-2", "multipart/form-data; boundary=B"), ("x?model=m-2", b"", ""),
            *(("x", form.replace(b'"model"', b'"%b"' % name) % b"m-2", "multipart/form-data; boundary=B")
              for name in (b"model_id", b"modelId", b"model_name", b"deployment", b"models[]", b"Model", b"session")),
            ("x?mod%65l=m-2&model=m-1", b"", ""), ("%6dodels/m-2:x", b"{}", kind), ("Deployments/m-2/x", b"{}", kind),
            ("models/m-1/models/m-2:x", b"{}", kind), ("x%2Fmodels%2Fm-2:x", b"{}", kind),
            ("engines/m-2/x", b"{}", kind),
        ):  # fmt: skip
            head = {"authorization": f"Bearer {KEY}", **({"content-type": said} if said else {})}
            found = await served.send("POST", f"/mine/{path}", content=content, headers=head)
            with case(f"{path} {content!r} {said}"):
                assert found.status_code in (400, 403, 415), found.text
                assert provider.asked == []
        for content, said in ((form % b"m-1", "multipart/form-data; boundary=B"), (b"RIFF", "audio/wav"),
                              (form.replace(b"model", b"other"), "multipart/form-data; boundary=B")):  # fmt: skip
            head = {"authorization": f"Bearer {KEY}", "content-type": said}
            assert (await served.send("POST", "/mine/x", content=content, headers=head)).status_code == 200
            assert (provider.asked[-1].body, provider.asked[-1].headers["content-type"]) == (content, said)
        assert (await served.send("GET", "/mine/x", headers={"authorization": f"Bearer {KEY}"})).status_code == 200


async def test_models_are_checked_by_the_names_of_the_provider(caplog):
    """BerriAI/litellm#33710."""
    caplog.set_level("INFO", "trigate")
    keys = [{"name": "ann", "key": KEY, "models": ["mine"], "passthrough": ["m*"]}]
    head = {"authorization": f"Bearer {KEY}"}
    async with passing(lambda asked: json_answer(CHAT), client_keys=keys) as (served, provider):
        good = await served.send("POST", "/mine/chat/completions", json={"model": "m-1"}, headers=head)
        assert good.status_code == 200
        for path, body in (("/mine/chat/completions", {"model": "m-2"}), ("/mine/models/m-2:x", {}),
                           ("/mine/deployments/m-2/x", {})):  # fmt: skip
            found = await served.send("POST", path, json=body, headers=head)
            assert found.status_code == 403, (path, found.text)
        twice = await served.send("POST", "/mine/x", content=b'{"model":"m-1","model":"m-2"}',
                          headers={**head, "content-type": "application/json"})  # fmt: skip
        assert twice.status_code == 400
        assert len(provider.asked) == 1
    lines = [json.loads(one.message) for one in caplog.records if '"endpoint":"passthrough"' in one.message]
    assert lines[0]["input_tokens"] == 3
    assert lines[0]["output_tokens"] == 4


async def test_polling_a_status_is_not_billed():
    """A batch reports its usage in each response, so gateways billed it per poll or never (BerriAI/litellm#37050)."""
    usage = {"input_tokens": 10, "input_tokens_details": {"cached_tokens": 4}, "output_tokens": 5}
    batch = {"id": "batch_1", "object": "batch", "status": "completed", "model": "m-1", "usage": usage}
    price = {"input": 10, "cached": 1, "output": 100}
    async with passing(lambda asked: json_answer(batch), entry={"price": price}) as (served, _):
        lines = SettledLines(served)
        for method, cost in (("GET", None), ("DELETE", None), ("POST", (6 * 10 + 4 * 1 + 5 * 100) / 10**6)):
            assert (await served.send(method, "/mine/v1/batches/batch_1")).status_code == 200
            (line,) = await lines.next()
            assert (line.get("cost_usd"), line.get("cached_tokens")) == (cost, None if cost is None else 4)
