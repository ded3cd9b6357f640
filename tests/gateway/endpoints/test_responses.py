"""``/v1/responses/{id}`` and the paths below it, with the official SDK over a real socket."""

import json
from typing import Any

import openai
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from gateway.conversations import deadline
from gateway.conversations.bodies import head_id, turn_body
from gateway.http.response import JSON_HEADERS, Response
from gateway.stores.memory import MemoryStore
from gateway.stores.store import Node
from providers.responses.replay import after_number, replay
from providers.responses.tools import own_id
from streams import sse
from tests.support.each_row import each_row
from tests.support.examples import examples
from tests.support.responses_streams import values
from tests.support.state_endpoints import ALICE, BOB, Down, message, running, serving, store_turn

ROOM = (3600.0, 2**24)  # seconds and bytes
STATUSES = ("completed", "incomplete", "failed", "cancelled", "in_progress", "queued")
ENDED = STATUSES[:4]
# No event reports that an answer was cancelled.
CANCELLED = {"status": "failed", "error": {"code": "server_error", "message": "the response was cancelled"}}
LAST = {"cancelled": CANCELLED}
ANSWER = [message("Hello!", "assistant")]


@pytest.fixture
def store():
    return MemoryStore(*ROOM)


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [json.loads(record.message) for record in caplog.records if record.name.startswith("trigate")]


def not_found(id: str) -> dict[str, Any]:
    message = f"Response with id '{id}' not found."
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}}


# Once more


@pytest.mark.parametrize("status", STATUSES)
async def test_a_stored_response_is_returned_unchanged(store, status):
    was = await store_turn(store, [message("Hi")], ANSWER, status=status)
    async with serving(store) as served, served.client() as client:
        response = await client.responses.retrieve(was["id"])
        assert response.to_dict() == was
        raw = await served.ask("GET", f"/v1/responses/{was['id']}", headers={"x-request-id": "mine"})
        assert raw.json() == was
        assert raw.headers["content-type"] == "application/json"
        assert raw.headers["x-request-id"] == "mine"
        assert raw.headers["cache-control"] == "no-store"  # RFC 9111, section 3.5: x-api-key keeps no cache from it
        assert raw.headers["x-content-type-options"] == "nosniff"


async def test_a_response_has_its_id_under_the_name_of_its_own_api(store):
    id = (await store_turn(store))["id"]
    async with serving(store) as served:
        reply = await served.ask("GET", f"/v1/responses/{id}", headers={"anthropic-version": "2023-06-01"})
    assert "x-request-id" in reply.headers
    assert "request-id" not in reply.headers


async def test_a_deleted_response_is_removed_with_everything_stored_of_it(store):
    id = (await store_turn(store, [message("Hi")], ANSWER))["id"]
    async with serving(store) as served, served.client() as client:
        assert await client.responses.delete(id) is None
        with pytest.raises(openai.NotFoundError) as caught:
            await client.responses.retrieve(id)
        assert caught.value.body == not_found(id)["error"]
        again = await served.ask("DELETE", f"/v1/responses/{id}")
        assert (again.status_code, again.json()) == (404, not_found(id))
        other = (await store_turn(store))["id"]
        deleted = {"id": other, "object": "response.deleted", "deleted": True}
        assert (await served.ask("DELETE", f"/v1/responses/{other}")).json() == deleted
    assert await store.get("alice", id) is None
    assert await store.get("alice", head_id(id)) is None


CALLS = [("GET", ""), ("GET", "?stream=true"), ("DELETE", ""), ("GET", "/input_items"), ("POST", "/cancel")]


@each_row(("method", "rest"), CALLS, every=2)
async def test_missing_objects_and_those_of_another_key_get_the_same_404(store, method, rest):
    """Nor is anything else that is stored a response."""
    id = (await store_turn(store, [message("Hi")], ANSWER, background=True))["id"]
    await store.put([Node("conv_1", "alice", "conversation", b"{}"), Node("items_1", "alice", "items", b"{}")])
    async with serving(store) as served:
        for key, unknown in ((ALICE, "resp_unknown"), (ALICE, "conv_1"), (ALICE, "items_1"), (BOB, id)):
            reply = await served.ask(method, f"/v1/responses/{unknown}{rest}", key=key)
            assert (reply.status_code, reply.json()) == (404, not_found(unknown))
        assert (await served.ask("GET", f"/v1/responses/{id}")).status_code == 200


@each_row(
    ("path", "param"),
    [
        *(
            (f"?stream=true&starting_after={value}", "starting_after")
            for value in ("x", "-1", "1.5", "", "9" * 5000, "٣")
        ),
        *((f"?{query}starting_after=1", "starting_after") for query in ("", "stream=false&")),  # of a stream alone
        ("?stream=perhaps", "stream"),
        *((f"/input_items?limit={value}", "limit") for value in ("0", "101", "-1", "x", "", "9" * 5000)),
        ("/input_items?order=up", "order"),
        ("/input_items?after=msg_unknown", "after"),
    ],
    every=4,
)
async def test_a_wrong_query_is_reported(store, path, param):
    id = (await store_turn(store, [message("Hi")]))["id"]
    async with serving(store) as served:
        reply = await served.ask("GET", f"/v1/responses/{id}{path}")
    assert reply.status_code == 400
    assert reply.json()["error"]["param"] == param
    assert reply.json()["error"]["type"] == "invalid_request_error"


# Streams


@pytest.mark.parametrize("status", ENDED)
async def test_a_stream_is_played_again_from_any_event(store, status):
    bare = await store_turn(store, [], ANSWER, status=status)
    log = replay(bare)
    was = await store_turn(store, [], ANSWER, status=status, log=log, id=bare["id"])
    path = f"/v1/responses/{was['id']}?stream=true"
    async with serving(store) as served:
        events = values((await served.ask("GET", path)).content)
        assert [event["sequence_number"] for event in events] == list(range(len(events)))
        assert events[-1]["response"] == {**was, **LAST.get(status, {})}
        for i in range(len(events)):
            assert values((await served.ask("GET", f"{path}&starting_after={i}")).content) == events[i + 1 :]


async def test_an_answer_that_was_not_streamed_can_be_streamed_later(store):
    was = await store_turn(store, [], ANSWER)
    async with serving(store) as served:
        reply = await served.ask("GET", f"/v1/responses/{was['id']}?stream=true&starting_after=0")
    assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert reply.headers["cache-control"] == "no-store"
    assert reply.content == after_number(0).of_log(replay(was))
    assert b"response.completed" in reply.content


async def test_a_turn_that_still_runs_is_followed(store):
    """The stream resumes where the client stopped, and continues to its end."""
    async with running(store) as (turns, turn), serving(store, turns) as served, served.client() as client:
        turn.say(0, 1, 2)
        stream = await client.responses.retrieve(turn.id, stream=True, starting_after=1)
        events = aiter(stream)
        assert (await anext(events)).sequence_number == 2
        turn.say(3)
        assert (await anext(events)).sequence_number == 3
        theirs = await served.ask("GET", f"/v1/responses/{turn.id}?stream=true", key=BOB)
        assert (theirs.status_code, theirs.json()) == (404, not_found(turn.id))
        await client.responses.cancel(turn.id)
        assert [event async for event in events] == []


async def test_a_follower_gets_earlier_events_immediately_and_then_keep_alives(autojump_clock):
    async with running(MemoryStore(*ROOM)) as (turns, turn):
        body = turns.follow("alice", turn.id, after_number(1), 3)
        turn.say(0, 1)
        begun = trio.current_time()
        assert [await anext(body), await anext(body)] == [sse.COMMENT_PING] * 2
        assert trio.current_time() - begun == pytest.approx(6)
        turn.say(2)
        await wait_all_tasks_blocked()
        turn.say(3)
        await wait_all_tasks_blocked()
        found = await anext(body)
        assert [found.count(b'"sequence_number":%d' % number) for number in range(4)] == [0, 0, 1, 1]


async def test_a_turn_that_runs_elsewhere_is_not_streamed_in_part(store):
    async with running(store) as (_, turn), serving(store) as served:
        reply = await served.ask("GET", f"/v1/responses/{turn.id}?stream=true")
        assert reply.status_code == 409  # SDKs retry after it
        assert "another worker" in reply.json()["error"]["message"]
        assert (await served.ask("GET", f"/v1/responses/{turn.id}")).json()["status"] == "in_progress"


async def test_a_turn_without_a_living_worker_has_failed(store):
    id = (await store_turn(store, status="in_progress", background=True))["id"]
    async with running(store) as (turns, _), serving(store, turns) as served, served.client() as client:
        assert (await client.responses.retrieve(id)).status == "failed"
        events = values((await served.ask("GET", f"/v1/responses/{id}?stream=true")).content)
        assert [event["type"] for event in events[-2:]] == ["error", "response.failed"]


# Cancelling


async def test_a_turn_in_the_background_is_cancelled(store):
    async with running(store) as (turns, turn), serving(store, turns) as served, served.client() as client:
        assert (await client.responses.retrieve(turn.id)).status == "in_progress"
        assert (await client.responses.cancel(turn.id)).status == "cancelled"
        assert (await client.responses.cancel(turn.id)).status == "cancelled"  # OpenAI: the second one changes nothing
        assert (await client.responses.retrieve(turn.id)).status == "cancelled"


@each_row(
    ("status", "more", "message"),
    [
        ("completed", {}, "Cannot cancel a synchronous response."),
        ("incomplete", {"background": False}, "Cannot cancel a synchronous response."),
        ("completed", {"background": True}, "Cannot cancel a completed response."),
        ("failed", {"background": True}, "Cannot cancel a failed response."),
        ("incomplete", {"background": True}, "Cannot cancel an incomplete response."),
    ],
)
async def test_a_response_that_cannot_be_cancelled_is_a_400(store, status, more, message):
    id = (await store_turn(store, status=status, **more))["id"]
    async with serving(store) as served, served.client() as client:
        with pytest.raises(openai.BadRequestError) as caught:
            await client.responses.cancel(id)
    assert (caught.value.body["message"], caught.value.param) == (message, "response_id")


async def test_a_running_turn_stays_deleted(store):
    async with running(store) as (turns, turn), serving(store, turns) as served, served.client() as client:
        await client.responses.delete(turn.id)
        await turns.finish()
        assert (await served.ask("GET", f"/v1/responses/{turn.id}")).status_code == 404
        assert await store.get("alice", head_id(turn.id)) is None


# Input items


async def test_input_items_are_the_whole_input_of_the_response(store):
    """The last item comes first, unless the request sets another order; the answer itself is not among them."""
    first = await store_turn(store, [message("one")], [message("two", "assistant")])
    second = await store_turn(store, [message("three")], [message("four", "assistant")], parent=first["id"])
    async with serving(store) as served, served.client() as client:
        for order, texts in (("desc", ["three", "two", "one"]), ("asc", ["one", "two", "three"])):
            page = await client.responses.input_items.list(second["id"], order=order)
            assert [item.content[0].text for item in page.data] == texts
        page = await client.responses.input_items.list(second["id"], include=["reasoning.encrypted_content"])
        assert [item.content[0].text for item in page.data] == ["three", "two", "one"]
        raw = (await served.ask("GET", f"/v1/responses/{first['id']}/input_items")).json()
        assert (raw["object"], raw["has_more"]) == ("list", False)
        assert raw["first_id"] == raw["last_id"] == raw["data"][0]["id"]


async def test_input_items_of_a_turn_whose_past_was_deleted_are_its_own(store):
    first = await store_turn(store, [message("one")], [message("two", "assistant")])
    second = await store_turn(store, [message("three")], ANSWER, parent=first["id"])
    async with serving(store) as served, served.client() as client:
        await client.responses.delete(first["id"])
        page = await client.responses.input_items.list(second["id"])
        assert [item.content[0].text for item in page.data] == ["three"]


async def test_an_item_that_came_twice_is_listed_once(store):
    """A client that sends its history again next to previous_response_id; pages by id would go in circles."""
    again, new = message("again"), message("new")
    first = await store_turn(store, [again])
    second = await store_turn(store, [again, new], parent=first["id"])
    async with serving(store) as served, served.client() as client:
        pages = await client.responses.input_items.list(second["id"], limit=1, order="asc")
        assert [item.id async for item in pages] == [again["id"], new["id"]]


@settings(max_examples=examples(12))
@given(turns=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2)), min_size=1, max_size=4), data=st.data())
async def test_pages_put_together_are_the_list(turns, data):
    store, parent, expected = MemoryStore(*ROOM), None, []
    for taken, given_back in turns:
        input = [message(f"{i}") for i in range(taken)]
        output = [message(f"{i}", "assistant") for i in range(given_back)]
        parent = (await store_turn(store, input, output, parent=parent))["id"]
        expected += [*input, *output]
    expected = expected[: len(expected) - turns[-1][1]]
    order, limit = data.draw(st.sampled_from(["asc", "desc"])), data.draw(st.integers(1, 6))
    expected = expected if order == "asc" else expected[::-1]
    async with serving(store) as served, served.client() as client:
        pages = await client.responses.input_items.list(parent, limit=limit, order=order)
        assert len(pages.data) == min(limit, len(expected))
        assert [item.id async for item in pages] == [item["id"] for item in expected]
        if expected:
            at = data.draw(st.integers(0, len(expected) - 1))
            query = {"before": expected[at]["id"], "limit": 100, "order": order}
            page = await served.ask("GET", f"/v1/responses/{parent}/input_items", params=query)
            assert page.json()["data"] == expected[:at]


# State that is disabled or unavailable


@each_row(("method", "rest"), CALLS)
async def test_disabled_state_is_reported(method, rest):
    async with serving(None) as served:
        reply = await served.ask(method, f"/v1/responses/resp_1{rest}")
    assert reply.status_code == 400
    assert "state_storage: {type: none}" in reply.json()["error"]["message"]


@pytest.mark.parametrize(("method", "rest"), CALLS)
async def test_a_store_that_is_down_is_reported_and_worth_another_try(method, rest, caplog):
    caplog.set_level("INFO", "trigate")
    async with serving(Down()) as served:
        reply = await served.ask(method, f"/v1/responses/resp_1{rest}")
    assert reply.status_code == 503
    assert reply.headers["retry-after"] == "5"
    assert "the store cannot be reached" in reply.json()["error"]["message"]
    [line] = lines(caplog)
    assert (line["status"], line["error"], line["client"]) == (503, "internal", "alice")


class Deaf(Down):
    async def _wait(self, *_: Any) -> Any:
        await trio.sleep_forever()

    get = chain = _wait


async def test_a_store_that_does_not_answer_is_not_waited_for_without_end(monkeypatch):
    monkeypatch.setattr(deadline, "STORE_SECONDS", 0.05)
    async with serving(Deaf()) as served:
        for _, rest in CALLS[:2]:
            reply = await served.ask("GET", f"/v1/responses/resp_1{rest}")
            assert reply.status_code == 503
            assert "did not respond within 0.05 s" in reply.json()["error"]["message"]


async def test_a_damaged_stored_response_is_an_error(store):
    id = (await store_turn(store, [message("Hi")], ANSWER))["id"]
    await store.put([Node(head_id(id), "alice", "head", b"\x01", id)])
    async with serving(store) as served:
        assert (await served.ask("GET", f"/v1/responses/{id}")).status_code == 503
        await store.put([Node(id, "alice", "response", b'{"status":')])
        for _, rest in CALLS[:2]:
            assert (await served.ask("GET", f"/v1/responses/{id}{rest}")).status_code == 503
        assert (await served.ask("GET", f"/v1/responses/{id}/input_items")).status_code == 503


async def test_half_a_response_is_none(store):
    id = own_id("resp_")
    await store.put([Node(id, "alice", "response", turn_body("completed", [], []))])
    async with serving(store) as served:
        assert (await served.ask("GET", f"/v1/responses/{id}")).status_code == 404


async def test_only_failures_are_in_the_ledger(store, caplog):
    caplog.set_level("INFO", "trigate")
    id = (await store_turn(store))["id"]
    async with serving(store) as served:
        await served.ask("GET", f"/v1/responses/{id}")
        await served.ask("GET", "/v1/responses/resp_unknown", headers={"x-request-id": "mine"})
    [line] = lines(caplog)
    assert (line["request_id"], line["status"], line["client"], line["error"]) == ("mine", 404, "alice", "not_found")


async def test_a_providers_stored_id_is_requested_there(store):
    """An id of the gateway's own never is."""
    asked = []

    async def elsewhere(call, id: str) -> Response | None:
        asked.append(id)
        return Response(200, JSON_HEADERS, b'{"theirs":true}') if id == "resp_theirs" else None

    ours = (await store_turn(store))["id"]
    async with serving(store, elsewhere=elsewhere) as served:
        for method, rest in CALLS:
            assert (await served.ask(method, f"/v1/responses/resp_theirs{rest}")).json() == {"theirs": True}
        assert (await served.ask("GET", f"/v1/responses/{ours}")).json()["id"] == ours
        assert (await served.ask("GET", "/v1/responses/resp_nobodys")).status_code == 404
    assert asked == ["resp_theirs"] * len(CALLS) + ["resp_nobodys"]
