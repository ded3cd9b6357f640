"""What is asked of the provider that keeps a response, from socket to socket."""

import httpx2
import trio

from tests.support.endpoint_provider import before, told

KEPT = {"id": "resp_theirs", "object": "response", "status": "completed", "output": []}


async def test_head_ends_though_its_answer_states_a_length_and_has_no_body():
    """RFC 9110, 9.3.2: the head is that of GET, and nothing comes behind it."""
    async with (
        before(lambda asked: told(KEPT), entry={"speaks": ["responses"]}) as (served, provider),
        httpx2.AsyncClient(base_url=served.url, verify=False, trust_env=False) as client,
    ):
        with trio.fail_after(5):
            head = await client.head("/v1/responses/resp_theirs")
        whole = await client.get("/v1/responses/resp_theirs")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == whole.headers["content-length"]
    assert [one.method for one in provider.asked] == ["GET", "GET"]
