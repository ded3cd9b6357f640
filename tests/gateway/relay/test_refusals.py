"""Nothing goes around keys, models, limits and budgets: every path that is relayed refuses as conversations do, before
anything goes to a provider (BerriAI/litellm#10750, #12789, #13882, maximhq/bifrost#2873)."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import trio

from providers.endpoints.endpoint import STANDARD_PLACES
from tests.support.cases import case
from tests.support.endpoint_provider import EndpointProvider, before, told
from tests.support.in_process import InProcess
from tests.support.relayed_requests import ASKED, MULTIPART, body_of

KEY = "ann-key-0123456789-0123456789"
CHAT = "/v1/chat/completions"


@contextlib.asynccontextmanager
async def serving(**key: Any) -> AsyncIterator[tuple[InProcess, EndpointProvider]]:
    """A gateway whose one key has these limits, before a provider that has everything."""
    keys = [{"name": "ann", "key": KEY, **key}]
    aliases = {"other": {"target": "trigate/m-1"}}
    entry = {"price": {"input": 1, "output": 1}}
    async with before(lambda asked: told({}), "trigate/m-1", entry, client_keys=keys, model_aliases=aliases) as found:
        yield found


async def asking(served: InProcess, endpoint: str, path: str, *, key: str | None = KEY, **headers: str) -> Any:
    kind, body = body_of(endpoint, "trigate/m-1")
    head = {**kind, **({} if key is None else {"authorization": f"Bearer {key}"}), **headers}
    async with httpx2.AsyncClient(base_url=served.url, verify=False, trust_env=False, timeout=30) as client:
        return await client.post(path, content=body, headers=head)


def test_the_standard_endpoints_are_all_looked_at():
    assert len(ASKED) > 10
    assert {endpoint for endpoint, _ in ASKED} & set(STANDARD_PLACES) >= {"completions", "speech", "image_generations"}


async def test_without_a_key_and_with_a_wrong_one():
    async with serving() as (served, provider):
        for endpoint, path in ASKED:
            for key in (None, "wrong-key-0123456789-0123456789"):
                with case(f"{path} with {key}"):
                    assert (await asking(served, endpoint, path, key=key)).status_code == 401
        assert provider.heads == []


async def test_a_model_that_the_key_may_not_use():
    async with serving(models=["other"]) as (served, provider):
        for endpoint, path in ASKED:
            with case(path):
                assert (await asking(served, endpoint, path)).status_code == 403
        assert provider.heads == []


async def test_a_rate_that_is_used_up():
    async with serving(ratelimits={"requests": "1/h"}) as (served, provider):
        await served.ask("trigate/m-1", headers=(("authorization", f"Bearer {KEY}"),))
        provider.heads.clear()
        for endpoint, path in ASKED:
            with case(path):
                found = await asking(served, endpoint, path)
                assert found.status_code == 429
                assert found.headers["retry-after"]
        assert provider.heads == []


async def test_a_budget_that_is_used_up():
    async with serving(budgets=["0.0000001 usd/day"]) as (served, provider):
        for endpoint, path in ASKED:
            with case(path):
                found = await asking(served, endpoint, path)
                assert found.status_code in (402, 413), found.text
                assert found.headers["x-should-retry"] == "false"
        assert provider.heads == []


async def test_what_is_billed_beside_tokens_has_to_fit_into_a_budget_beforehand():
    """Pictures, seconds, characters and searches have a price each, and no tokens say what they will cost."""
    entry = {"price": {"per": dict.fromkeys(("image", "second", "character", "search"), 0.04)}}
    keys = [{"name": "ann", "key": KEY, "budgets": ["0.03 usd/day"]}]
    async with before(lambda asked: told({}), "trigate/m-1", entry, client_keys=keys) as (served, provider):
        for endpoint, path in ASKED:
            if endpoint in (*MULTIPART, "image_generations", "speech", "rerank"):
                with case(path):
                    assert (await asking(served, endpoint, path)).status_code == 402
        assert provider.heads == []


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
    """The status with which a request is answered whose body never comes."""
    with trio.fail_after(5):
        async with await trio.open_tcp_stream("127.0.0.1", int(served.url.rpartition(":")[2])) as stream:
            await stream.send_all(head.encode())
            said = b""
            while b"\r\n" not in said:
                said += await stream.receive_some() or b"\r\n"
            return int(said.split(b" ", 2)[1])


async def test_a_body_that_waits_to_be_wanted_is_asked_for_once_its_head_is_good():
    async with serving(models=["trigate/m-1"]) as (served, provider):
        for endpoint, path in [*ASKED, ("completions", CHAT)]:
            with case(path):
                kind, body = body_of(endpoint, "trigate/m-1")
                head = f"POST {path} HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: {len(body)}\r\n"
                head += f"content-type: {kind['content-type']}\r\n"
                assert await first_line(served, f"{head}\r\n") == 401
                assert await first_line(served, f"{head}authorization: Bearer {KEY}\r\n\r\n") == 100
        assert provider.asked == []
