"""Requests about a response that a provider stores, from socket to socket."""

import trio

from gateway.stores.memory import MemoryStore
from tests.support.endpoint_provider import before, endpoint_provider, json_answer, settings
from tests.support.in_process import gateway

KEPT = {"id": "resp_theirs", "object": "response", "status": "completed", "output": []}
MESSAGE = {
    "id": "msg_1", "type": "message", "role": "assistant", "status": "completed",
    "content": [{"type": "output_text", "text": "hello", "annotations": []}],
}  # fmt: skip
USAGE = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}


async def test_head_ends_though_its_answer_states_a_length_and_has_no_body():
    """RFC 9110, 9.3.2: the headers are those of GET, and no body follows them."""
    async with before(lambda asked: json_answer(KEPT), entry={"speaks": ["responses"]}) as (served, provider):
        with trio.fail_after(5):
            head = await served.send("HEAD", "/v1/responses/resp_theirs")
        whole = await served.send("GET", "/v1/responses/resp_theirs")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == whole.headers["content-length"]
    assert [one.method for one in provider.asked] == ["GET", "GET"]


async def test_an_answer_that_cannot_be_continued_is_reported():
    """It was paid for, so the client gets it; but its next request has to contain the whole conversation."""
    answer = {**KEPT, "store": True, "model": "m", "output": [MESSAGE], "usage": USAGE}
    own = {"model": "openai/m-1", "access_key": "provider-key", "speaks": ["responses"]}
    more = {"client_keys": [{"name": "alice", "key": "alice-key"}], "limits": {"per_client": {"stored": 1}}}
    async with (
        endpoint_provider(lambda asked: json_answer(answer)) as provider,
        gateway(settings({**own, "base_url": f"{provider.url}/v1"}, **more), store=MemoryStore(60, 2**20)) as served,
    ):
        headers = {"authorization": "Bearer alice-key"}
        found = await served.post("/v1/responses", json={"model": "m-1", "input": "hi", "store": True}, headers=headers)
        assert found.json() == {**answer, "store": False}
        next_turn = {"model": "m-1", "input": "more", "previous_response_id": "resp_theirs"}
        refused = await served.post("/v1/responses", json=next_turn, headers=headers)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "previous_response_not_found")
    assert len(provider.asked) == 1


async def test_a_response_at_an_entry_that_is_now_outside_of_the_wall_is_unknown():
    answer = {**KEPT, "store": True, "model": "m", "output": [MESSAGE], "usage": USAGE}
    entry = {"model": "openai/m-1", "access_key": "provider-key", "speaks": ["responses"]}
    store = MemoryStore(60, 2**20)
    async with endpoint_provider(lambda asked: json_answer(answer)) as provider:
        entries = [{**entry, "name": name, "base_url": f"{provider.url}/v1"} for name in ("us", "eu-1")]
        for wall, status in (["*"], 200), (["eu-*"], 404):
            keys = [{"name": "alice", "key": "alice-key", "only": wall}]
            async with gateway(settings(*entries, client_keys=keys), store=store) as served:
                headers = {"authorization": "Bearer alice-key"}
                if status == 200:
                    turn = {"model": "us", "input": "hi", "store": True}
                    await served.post("/v1/responses", json=turn, headers=headers)
                found = await served.send("GET", "/v1/responses/resp_theirs", headers=headers)
                assert found.status_code == status
    assert [one.method for one in provider.asked] == ["POST", "GET"]
