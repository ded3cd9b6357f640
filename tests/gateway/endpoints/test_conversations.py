"""``/v1/conversations`` with the official SDK over a real socket, and concurrent writes to one conversation."""

import contextlib
from typing import Any

import openai
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.conversations import conversation_store as conversations
from gateway.conversations.bodies import StoredConversation
from gateway.endpoints.conversations import read_items
from gateway.stores.errors import Changed
from gateway.stores.memory import MemoryStore
from gateway.stores.store import Node
from providers.neutral.fields import Fields
from streams.errors import GatewayError
from tests.support.cases import case
from tests.support.each_row import each_row
from tests.support.examples import examples
from tests.support.state_endpoints import ALICE, BOB, MAX_BODY, Down, message, serving, store_turn

PATH = "/v1/conversations"
ROOM = (3600.0, 2**24)  # seconds and bytes


@pytest.fixture
def store():
    return MemoryStore(*ROOM)


async def create_with(store: MemoryStore, *texts: str, owner: str = "alice") -> str:
    items = [message(text) for text in texts]
    return await conversations.create(store, owner, StoredConversation(1, {}), items)


async def texts_of(store: MemoryStore, id: str) -> list[str]:
    items = await conversations.items_of(store, "alice", id)
    return [item["content"][0]["text"] for item in items]


def not_found(what: str, id: str) -> dict[str, Any]:
    message = f"{what} with id '{id}' not found."
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}}


# The life of a conversation


async def test_a_conversation_is_made_read_changed_and_deleted(store):
    async with serving(store) as served, served.client() as client:
        made = await client.conversations.create(metadata={"topic": "demo"}, items=[{"role": "user", "content": "Hi"}])
        assert made.object == "conversation"
        assert made.id.startswith("conv_")
        assert made.metadata == {"topic": "demo"}
        assert await client.conversations.retrieve(made.id) == made
        changed = await client.conversations.update(made.id, metadata={"other": "🙂"})
        assert changed.to_dict() == {**made.to_dict(), "metadata": {"other": "🙂"}}
        assert await client.conversations.retrieve(made.id) == changed
        assert (await client.conversations.update(made.id, metadata=None)).metadata == {}
        assert [item.content[0].text async for item in client.conversations.items.list(made.id)] == ["Hi"]
        gone = await client.conversations.delete(made.id)
        assert gone.to_dict() == {"id": made.id, "object": "conversation.deleted", "deleted": True}
        with pytest.raises(openai.NotFoundError) as caught:
            await client.conversations.retrieve(made.id)
        assert caught.value.body == not_found("Conversation", made.id)["error"]


@each_row("body", [None, b"{}", {"items": None, "metadata": None}, {"items": []}], every=3)
async def test_a_conversation_may_begin_empty(store, body):
    async with serving(store) as served, served.client() as client:
        made = await served.ask("POST", PATH, body)
        assert made.status_code == 200
        assert made.json()["metadata"] == {}
        page = (await served.ask("GET", f"{PATH}/{made.json()['id']}/items")).json()
        assert (page["data"], page["has_more"]) == ([], False)
        added = await client.conversations.items.create(made.json()["id"], items=[{"role": "user", "content": "Hi"}])
        assert len(added.data) == 1


async def test_items_are_added_listed_read_and_removed(store):
    async with serving(store) as served, served.client() as client:
        id = (await client.conversations.create(items=[{"role": "user", "content": "one"}])).id
        added = await client.conversations.items.create(
            id,
            items=[
                {"role": "assistant", "content": "two"},
                {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "c1", "output": "three"},
            ],
        )
        assert [item.type for item in added.data] == ["message", "function_call", "function_call_output"]
        assert (added.first_id, added.last_id, added.has_more) == (added.data[0].id, added.data[-1].id, False)
        listed = [item async for item in client.conversations.items.list(id, order="asc")]
        assert listed[1:] == added.data
        assert [item async for item in client.conversations.items.list(id)] == listed[::-1]
        assert len({item.id for item in listed}) == 4
        call = added.data[1]
        assert await client.conversations.items.retrieve(call.id, conversation_id=id) == call
        whole = await client.conversations.items.delete(call.id, conversation_id=id)
        assert whole == await client.conversations.retrieve(id)
        left = [item.id async for item in client.conversations.items.list(id, order="asc")]
        assert left == [item.id for item in listed if item.id != call.id]
        for again in (client.conversations.items.retrieve, client.conversations.items.delete):
            with pytest.raises(openai.NotFoundError) as caught:
                await again(call.id, conversation_id=id)
            assert caught.value.body == not_found("Item", call.id)["error"]


async def test_responses_outlive_their_deleted_conversation(store):
    id = await create_with(store, "Hi")
    parent = (await conversations.read(store, "alice", id)).head
    response = await store_turn(store, [message("and")], [message("then", "assistant")], parent=parent)
    async with serving(store) as served, served.client() as client:
        items = await client.responses.input_items.list(response["id"])
        assert [item.content[0].text for item in items.data] == ["and", "Hi"]
        await client.conversations.delete(id)
        assert (await client.responses.retrieve(response["id"])).to_dict() == response
    assert await store.get("alice", parent) is None


async def test_an_item_with_an_id_that_is_taken_gets_one_of_its_own(store):
    async with serving(store) as served, served.client() as client:
        first = await client.conversations.create(items=[{"role": "user", "content": "Hi"}])
        [item] = [item async for item in client.conversations.items.list(first.id)]
        copy = item.to_dict()
        added = await client.conversations.items.create(first.id, items=[copy, copy])
        ids = [item.id async for item in client.conversations.items.list(first.id, limit=1, order="asc")]
        assert ids == [item.id, *(one.id for one in added.data)]
        assert len(set(ids)) == 3


async def test_an_item_may_be_put_in_by_a_reference(store):
    response = await store_turn(store, [message("Hi")], [message("Ho", "assistant")])
    [output] = response["output"]
    async with serving(store) as served, served.client() as client:
        made = await client.conversations.create(items=[{"type": "item_reference", "id": output["id"]}])
        [item] = [item async for item in client.conversations.items.list(made.id)]
        assert item.to_dict() == {**output, "id": item.id}
        assert item.id != output["id"]


@settings(max_examples=examples(10))
@given(puts=st.lists(st.integers(1, 5), max_size=4), limit=st.integers(1, 7), order=st.sampled_from(["asc", "desc"]))
async def test_pages_put_together_are_the_list(puts, limit, order):
    store, expected = MemoryStore(*ROOM), []
    id = await create_with(store)
    for count in puts:
        items = [message("x") for _ in range(count)]
        await conversations.append(store, "alice", id, items)
        expected += [item["id"] for item in items]
    async with serving(store) as served, served.client() as client:
        pages = client.conversations.items.list(id, limit=limit, order=order)
        assert [item.id async for item in pages] == (expected if order == "asc" else expected[::-1])


# Clients that may see it


def calls(id: str, item: str) -> list[tuple[str, str, Any]]:
    return [
        ("GET", f"{PATH}/{id}", None),
        ("POST", f"{PATH}/{id}", {"metadata": {}}),
        ("DELETE", f"{PATH}/{id}", None),
        ("GET", f"{PATH}/{id}/items", None),
        ("POST", f"{PATH}/{id}/items", {"items": [{"role": "user", "content": "x"}]}),
        ("GET", f"{PATH}/{id}/items/{item}", None),
        ("DELETE", f"{PATH}/{id}/items/{item}", None),
    ]


async def test_missing_objects_and_those_of_another_key_get_the_same_404(store):
    id = await create_with(store, "Hi")
    items, node = await conversations.items_of(store, "alice", id), (await conversations.read(store, "alice", id)).head
    item = items[0]["id"]
    response = (await store_turn(store))["id"]
    async with serving(store) as served:
        for key, unknown in ((BOB, id), (ALICE, "conv_unknown"), (ALICE, response), (ALICE, node)):
            for method, path, body in calls(unknown, item):
                reply = await served.ask(method, path, body, key=key)
                assert (reply.status_code, reply.json()) == (404, not_found("Conversation", unknown)), (method, path)
    assert await texts_of(store, id) == ["Hi"]


async def test_an_item_of_another_conversation_is_not_there(store):
    one, other = await create_with(store, "Hi"), await create_with(store, "Ho")
    [item] = await conversations.items_of(store, "alice", other)
    async with serving(store) as served:
        for method in ("GET", "DELETE"):
            reply = await served.ask(method, f"{PATH}/{one}/items/{item['id']}")
            assert (reply.status_code, reply.json()) == (404, not_found("Item", item["id"]))
    assert await texts_of(store, other) == ["Ho"]


# Wrong requests

WORDS = ("type", "role", "content", "id", "call_id", "name", "arguments", "output", "message", "user", "reasoning")

HI = {"role": "user", "content": "Hi"}
DEEP = b'{"items":[{"type":"x","a":' + b"[" * 40_000 + b"]" * 40_000 + b"}]}"


WRONG_BODIES = [
    (b"{", None), (b"\xff", None), (b"[]", None), (b'"x"', None), (b"[" * 90_000, None),
    (b'{"metadata":"\xff"}', None), (b'{"metadata":{"a":"\\ud800"}}', None), (DEEP, None),
    ({"items": [{"type": "function_call"}]}, "items[0].name"),
    ({"items": [{"type": "item_reference", "id": "msg_unknown"}]}, "items"), ({"items": [{}]}, "items[0]"),
    ({"items": {}}, "items"), ({"items": [HI] * 21}, "items"), ({"items": ["Hi"]}, "items[0]"),
    ({"items": [HI, None]}, "items[1]"), ({"metadata": []}, "metadata"), ({"metadata": {"a": 1}}, "metadata.a"),
    ({"metadata": {"a": "x" * 513}}, "metadata.a"), ({"metadata": {"x" * 65: "a"}}, "metadata"),
    ({"metadata": {str(i): "a" for i in range(17)}}, "metadata"), ({"metdata": {}}, "metdata"),
]  # fmt: skip


async def test_a_wrong_body_is_a_400_with_the_place_of_the_mistake(store):
    async with serving(store) as served:
        for body, param in WRONG_BODIES:
            with case(str(body)[:60]):
                reply = await served.ask("POST", PATH, body)
                assert reply.status_code == 400
                error = reply.json()["error"]
                assert (error["type"], error["param"]) == ("invalid_request_error", param)


@each_row(
    ("path", "body", "param"),
    [
        ("", {}, "metadata"),
        ("/items", {}, "items"),
        ("/items", {"items": []}, "items"),
        ("/items", {"items": 1}, "items"),
    ],
)
async def test_a_missing_member_is_a_400_with_its_name(store, path, body, param):
    id = await create_with(store)
    async with serving(store) as served:
        reply = await served.ask("POST", f"{PATH}/{id}{path}", body)
    assert reply.status_code == 400
    assert reply.json()["error"]["param"] == param


async def test_a_body_that_is_too_large_is_a_413(store):
    async with serving(store) as served:
        assert (await served.ask("POST", PATH, b" " * (MAX_BODY + 1))).status_code == 413


@pytest.mark.parametrize(
    ("place", "status", "words"), [(None, 400, "{type: none}"), (Down(), 503, "cannot be reached")]
)
async def test_without_a_store_nothing_is_pretended(place, status, words):
    async with serving(place) as served:
        for method, path, body in [("POST", PATH, {}), *calls("conv_1", "msg_1")]:
            reply = await served.ask(method, path, body)
            assert reply.status_code == status
            assert words in reply.json()["error"]["message"]
            assert ("retry-after" in reply.headers) == (status == 503)


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=5), inner),
    max_leaves=9,
)


@settings(max_examples=examples(50))
@given(st.lists(st.dictionaries(st.sampled_from(WORDS), json, max_size=4), max_size=3))
async def test_no_item_is_a_mistake_of_the_gateways(items):
    """Every item that the gateway accepts can be stored."""
    store, taken = MemoryStore(*ROOM), []
    with contextlib.suppress(GatewayError):
        taken = read_items(Fields({"items": items}))
    taken = [item for item in taken if item["type"] != "item_reference"]
    id = await conversations.create(store, "alice", StoredConversation(1, {}), taken)
    assert await conversations.items_of(store, "alice", id) == taken


# Simultaneous requests


async def test_items_added_simultaneously_are_each_stored_once(store):
    id = await create_with(store, "first")
    async with serving(store) as served:

        async def add(text: str) -> None:
            reply = await served.ask("POST", f"{PATH}/{id}/items", {"items": [{"role": "user", "content": text}]})
            assert reply.status_code == 200, reply.content

        async with trio.open_nursery() as nursery:
            for i in range(20):
                nursery.start_soon(add, str(i))
    texts = await texts_of(store, id)
    assert texts[0] == "first"
    assert sorted(texts[1:], key=int) == [str(i) for i in range(20)]


async def test_metadata_items_and_deletions_do_not_undo_each_other(store):
    id = await create_with(store, *"abcdef")
    items = await conversations.items_of(store, "alice", id)
    async with trio.open_nursery() as nursery:
        for i, item in enumerate(items):
            nursery.start_soon(conversations.remove_item, store, "alice", id, item["id"])
            nursery.start_soon(conversations.append, store, "alice", id, [message(f"new {i}")])
            nursery.start_soon(conversations.set_metadata, store, "alice", id, {"last": str(i)})
    assert sorted(await texts_of(store, id)) == [f"new {i}" for i in range(6)]
    assert (await conversations.read(store, "alice", id)).metadata["last"] in "012345"


async def test_an_append_is_all_or_nothing_with_what_goes_with_it(store):
    id = await create_with(store)
    await conversations.append(store, "alice", id, [message("a")], Node("resp_1", "alice", "response", b"1"))
    await conversations.append(store, "alice", id, [], Node("resp_2", "alice", "response", b"2"))
    assert await texts_of(store, id) == ["a"]
    assert (await store.get("alice", "resp_1")).body + (await store.get("alice", "resp_2")).body == b"12"
    await conversations.remove(store, "alice", id)
    for items in ([], [message("b")]):
        with pytest.raises(GatewayError) as caught:
            await conversations.append(store, "alice", id, items, Node("resp_3", "alice", "response", b"3"))
        assert caught.value.info.status == 404
    assert await store.get("alice", "resp_3") is None


class Crowded(MemoryStore):
    """Another writer is always first."""

    async def put(self, nodes, expect=None):
        if expect is not None:
            raise Changed
        await super().put(nodes, expect)


async def test_a_conversation_that_others_keep_changing_is_a_409(monkeypatch):
    monkeypatch.setattr(conversations, "LONGEST", 0.0)
    store = Crowded(*ROOM)
    id = await create_with(store, "Hi")
    async with serving(store) as served:
        reply = await served.ask("POST", f"{PATH}/{id}/items", {"items": [HI]})
    assert reply.status_code == 409
    assert reply.json()["error"]["code"] == "conversation_locked"
    assert reply.headers["retry-after"] == "1"
    assert await texts_of(store, id) == ["Hi"]


actions = st.lists(st.tuples(st.sampled_from(["add", "remove"]), st.integers(0, 5)), max_size=12)


@given(actions)
async def test_a_conversation_is_a_list(actions):
    store, expected = MemoryStore(*ROOM), []
    id = await create_with(store)
    for action, number in actions:
        if action == "add":
            items = [message(str(i)) for i in range(number)]
            await conversations.append(store, "alice", id, items)
            expected += items
        elif expected:
            item = expected.pop(number % len(expected))
            await conversations.remove_item(store, "alice", id, item["id"])
        assert await conversations.items_of(store, "alice", id) == expected
