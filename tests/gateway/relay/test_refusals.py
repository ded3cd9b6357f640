"""No request bypasses keys, models, limits and budgets: every path that is relayed refuses as conversations do, before
anything goes to a provider (BerriAI/litellm#10750, #12789, #13882, maximhq/bifrost#2873)."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import trio

from providers.endpoints.endpoint import STANDARD_PLACES
from tests.support.cases import case
from tests.support.each_row import each_row
from tests.support.endpoint_provider import EndpointProvider, before, json_answer
from tests.support.features import needs_feature, rows_of
from tests.support.in_process import InProcess
from tests.support.relayed_requests import ASKED, body_of

KEY = "ann-key-0123456789-0123456789"
CHAT = "/v1/chat/completions"


@contextlib.asynccontextmanager
async def serving(**key: Any) -> AsyncIterator[tuple[InProcess, EndpointProvider]]:
    """Run a gateway whose only key has these limits, with a provider that serves every endpoint."""
    keys = [{"name": "ann", "key": KEY, **key}]
    aliases = {"other": {"target": "trigate/m-1"}}
    entry = {"price": {"input": 1, "output": 1}}
    async with before(
        lambda asked: json_answer({}), "trigate/m-1", entry, client_keys=keys, model_aliases=aliases
    ) as found:
        yield found


async def asking(served: InProcess, endpoint: str, path: str, *, key: str | None = KEY, **headers: str) -> Any:
    kind, body = body_of(endpoint, "trigate/m-1")
    head = {**kind, **({} if key is None else {"authorization": f"Bearer {key}"}), **headers}
    return await served.post(path, content=body, headers=head)


@needs_feature("other_endpoints")
def test_the_cases_include_every_standard_endpoint():
    assert len(ASKED) > 10
    assert {endpoint for endpoint, _ in ASKED} & set(STANDARD_PLACES) >= {"completions", "speech", "image_generations"}


@each_row(
    ("limits", "key", "statuses", "header"),
    [
        ({}, None, {401}, None),
        ({}, "wrong-key-0123456789-0123456789", {401}, None),
        ({"models": ["other"]}, KEY, {403}, None),
        ({"ratelimits": {"requests": "1/h"}}, KEY, {429}, "retry-after"),
        ({"budgets": ["0.0000001 usd/day"]}, KEY, {402, 413}, "x-should-retry"),
    ],
)
async def test_a_key_without_the_right_is_refused(limits, key, statuses, header):
    async with serving(**limits) as (served, provider):
        if "ratelimits" in limits:
            await served.ask("trigate/m-1", headers=(("authorization", f"Bearer {KEY}"),))
            provider.heads.clear()
        for endpoint, path in ASKED:
            with case(path):
                found = await asking(served, endpoint, path, key=key)
                assert found.status_code in statuses, found.text
                assert header is None or found.headers[header] not in ("", "true")
        assert provider.heads == []


@needs_feature("other_endpoints")
@each_row(
    ("model", "endpoint", "path"),
    [
        ("anthropic/claude-opus-5", "completions", "/v1/completions"),
        ("anthropic/claude-opus-5", "rerank", "/v1/rerank"),
        ("openai/gpt-image-1", "image_variations", "/v1/images/variations"),
        *rows_of("files", ("openai/gpt-5", "image_generations", "/v1/videos")),  # the body is the same
    ],
)
async def test_a_provider_without_the_endpoint_receives_no_request(model, endpoint, path):
    """Dify checks a model with one small call, and shows the error's words (langgenius/dify#6027)."""
    headers, body = body_of(endpoint, model)
    async with before(lambda asked: json_answer({}), model) as (served, provider):
        found = await served.post(path, content=body, headers=headers)
        error = found.json()["error"]
        assert (found.status_code, error["code"]) == (400, "unsupported_endpoint")
        assert model.partition("/")[2] in error["message"]
        assert provider.asked == []


async def test_a_body_that_is_too_large_is_refused_by_its_length():
    async with serving() as (served, provider):
        for endpoint, path in ASKED:
            with case(path):
                kind, _ = body_of(endpoint, "trigate/m-1")
                head = {**kind, "authorization": f"Bearer {KEY}", "content-length": str(2**41)}
                lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
                assert await first_line(served, f"POST {path} HTTP/1.1\r\nhost: x\r\n{lines}\r\n") == 413
        assert provider.heads == []


async def first_line(served: InProcess, head: str) -> int:
    """Return the status of the response to a request whose body never arrives."""
    with trio.fail_after(5):
        async with await trio.open_tcp_stream("127.0.0.1", int(served.url.rpartition(":")[2])) as stream:
            await stream.send_all(head.encode())
            said = b""
            while b"\r\n" not in said:
                said += await stream.receive_some() or b"\r\n"
            return int(said.split(b" ", 2)[1])


async def test_a_body_that_expects_100_continue_is_requested_after_a_valid_head():
    async with serving(models=["trigate/m-1"]) as (served, provider):
        for endpoint, path in [*ASKED, ("completions", CHAT)]:
            with case(path):
                kind, body = body_of(endpoint, "trigate/m-1")
                head = f"POST {path} HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: {len(body)}\r\n"
                head += f"content-type: {kind['content-type']}\r\n"
                assert await first_line(served, f"{head}\r\n") == 401
                assert await first_line(served, f"{head}authorization: Bearer {KEY}\r\n\r\n") == 100
        assert provider.asked == []
