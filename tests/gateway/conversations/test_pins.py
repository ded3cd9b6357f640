"""The targets that can continue the turns that a request refers to."""

import json

import pytest

from gateway.config_files.loading import from_mapping
from gateway.conversations.history import recall
from gateway.conversations.local_turn import LocalTurn
from gateway.conversations.provider_turn import ProviderTurn, find_storing_entry
from gateway.conversations.recorder import UNRECORDED
from gateway.conversations.resolved import ResolvedRequest, StateScope, refers_to_stored_object
from gateway.conversations.thread_turn import ThreadTurn
from gateway.request.parse import read_incoming
from gateway.request.prepare import prepare
from gateway.request.structure import Bounds
from gateway.routing.plan import Candidate
from gateway.routing.router import Router
from gateway.stores.memory import MemoryStore
from providers.messages.incoming import thread_unsupported
from streams.errors import GatewayError
from streams.events import AnswerEnd, AnswerStart, Usage
from streams.fold import Answer
from tests.support.each_row import each_row

ROUTER = Router(
    from_mapping(
        {
            "version": "v0.4.0",
            "model_providers": [
                {"model": "openai/gpt-4o", "name": "first", "access_key": "one"},
                {"model": "openai/gpt-4o", "name": "second", "access_key": "two"},
                {"model": "groq/llama", "name": "chat", "access_key": "k"},
                {"model": "anthropic/claude-sonnet-5", "name": "sonnet", "access_key": "k", "speaks": ["messages"]},
                {"model": "anthropic/claude-opus-5", "name": "opus", "access_key": "l", "speaks": ["messages"]},
                {"model": "anthropic/claude-opus-5", "name": "theirs", "access_key": "l", "state": "upstream",
                 "speaks": ["messages", "responses"]},
            ],
        }
    )
)  # fmt: skip
BOUNDS = Bounds(2**20, 1000)
ANSWER = Answer(AnswerStart("resp_1", "m", 1), (), Usage(), AnswerEnd("stop"))


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(60, 2**20)


def candidates(api: str, *names: str) -> tuple[Candidate, ...]:
    return tuple(Candidate(ROUTER.resolve(name, api), at) for at, name in enumerate(names))  # type: ignore[arg-type]


async def responses(shelf: MemoryStore | None, *names: str, owner: str = "", **members: object) -> ResolvedRequest:
    incoming = read_incoming("responses", json.dumps({"input": "and now?", **members}).encode())
    return await recall(StateScope(owner, shelf), incoming, candidates("responses", *names), BOUNDS)


def entries(found: ResolvedRequest) -> list[str]:
    return [one.target.entry.name for one in found.candidates]


def lanes(found: ResolvedRequest) -> set[str]:
    return {one.target.lane for one in found.candidates}


@pytest.mark.parametrize("owner", ["", "alice"])
async def test_a_turn_that_a_provider_keeps_pins_the_next_to_the_one_that_answered(store, owner):
    begun = await responses(store, "first", "second", owner=owner)
    assert (entries(begun), lanes(begun)) == (["first", "second"], {"byte"})
    assert isinstance(begun.turn, ProviderTurn)
    begun.turn.record_target(begun.candidates[1].target)  # the first has failed
    await begun.turn.persist_whole(b"", ANSWER)
    assert await find_storing_entry(store, owner, "resp_1") == "second"
    found = await responses(store, "chat", "first", "second", owner=owner, previous_response_id="resp_1")
    assert (entries(found), lanes(found)) == (["second"], {"byte"})


async def test_a_response_stored_under_another_name_is_not_searched_elsewhere(store):
    await ProviderTurn(store, "alice", "elsewhere").persist_whole(b"", ANSWER)
    with pytest.raises(GatewayError) as error:
        await responses(store, "first", "second", owner="alice", previous_response_id="resp_1")
    assert error.value.info.code == "previous_response_not_found"


@each_row(
    "members",
    [
        {"previous_response_id": "resp_unknown"},
        {"conversation": "conv_theirs"},
        {"input": [{"type": "item_reference", "id": "msg_theirs"}]},
    ],
)
@each_row("kept", [True, False])
async def test_an_unknown_stored_response_is_requested_from_one_target_only(store, members, kept):
    assert entries(await responses(store if kept else None, "first", "second", **members)) == ["first"]


async def test_a_turn_that_is_kept_here_continues_anywhere(store):
    begun = await responses(store, "first", "chat", "sonnet")
    assert isinstance(begun.turn, LocalTurn)
    assert (entries(begun), lanes(begun)) == (["first", "chat", "sonnet"], {"hub"})
    sent = {one.target.entry.name: prepare(begun.incoming, one.target).outgoing for one in begun.candidates}
    bodies = {name: json.loads(outgoing.body) for name, outgoing in sent.items()}
    assert bodies["first"]["store"] is False, "no provider is to keep it, too"
    for name in ("chat", "sonnet"):  # the gateway reports no member as dropped that the client did not send
        assert "store" not in bodies[name]
        assert sent[name].dropped == ()
    nodes, _ = await begun.turn.nodes({"id": begun.turn.id, "status": "completed", "output": []}, b"")
    await store.put(nodes)
    found = await responses(store, "second", "chat", previous_response_id=begun.turn.id)
    assert (entries(found), lanes(found)) == (["second", "chat"], {"hub"})
    assert len(found.incoming.earlier) == 1


async def test_a_turn_that_is_not_stored_stays_in_its_lane(store):
    found = await responses(store, "first", "second", "chat", store=False)
    assert found.turn is UNRECORDED
    assert [one.target.lane for one in found.candidates] == ["byte", "byte", "hub"]


async def test_one_target_gets_the_same_request_as_before(store):
    found = await responses(store, "first")
    assert (found.turn, entries(found)) == (UNRECORDED, ["first"])


# Threads

HELLO = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 9}


async def messages(store: MemoryStore | None, *names: str, **members: object) -> ResolvedRequest:
    incoming = read_incoming("messages", json.dumps({**HELLO, **members}).encode())
    return await recall(StateScope("me", store), incoming, candidates("messages", *names), BOUNDS)


async def test_a_new_thread_of_several_targets_is_kept_here(store):
    found = await messages(store, "sonnet", "first", thread={"type": "create"})
    assert isinstance(found.turn, ThreadTurn)
    assert (entries(found), lanes(found)) == (["sonnet", "first"], {"hub"})
    assert "thread" not in found.incoming.members


async def test_a_thread_that_is_not_kept_here_is_asked_for_where_threads_are_kept(store):
    going_on = {"thread": {"type": "continue", "previous_message_id": "msg_theirs"}}
    found = await messages(store, "first", "sonnet", "opus", **going_on)
    assert (entries(found), lanes(found), found.turn) == (["sonnet"], {"byte"}, UNRECORDED)
    with pytest.raises(GatewayError, match="cannot continue the thread from"):
        await messages(store, "first", "chat", **going_on)


async def test_a_provider_that_keeps_threads_gets_none_of_the_gateway(store):
    found = await messages(store, "opus", "theirs", thread={"type": "create"})
    assert entries(found) == ["opus"]
    with pytest.raises(GatewayError) as error:
        await messages(None, "first", "chat", thread={"type": "create"})
    assert error.value.info.message == thread_unsupported().info.message


@each_row(
    ("members", "kept"),
    [
        ({}, False),
        ({"input": "the file_id is unknown"}, False),
        ({"input": [{"type": "message", "content": [{"type": "input_file", "file_id": "file-1"}]}]}, True),
        ({"container": "container_1"}, True),
        ({"container": {"id": "container_1", "skills": []}}, True),
        ({"container": {"skills": [{"type": "anthropic", "skill_id": "pdf"}]}}, False),
        ({"tools": [{"parameters": {"properties": {"file_id": {"type": "string"}}}}]}, False),
        ({"input": [{"type": "function_call", "arguments": '{"file_id": "file-1"}'}]}, False),
        ({"metadata": {"file_id": "F123", "container": "box"}}, False),
        ({"tools": [{"type": "code_interpreter", "container": "cntr_1"}]}, True),
        ({"tools": [{"type": "code_interpreter", "container": {"type": "auto"}}]}, False),
        ({"tools": [{"type": "file_search", "vector_store_ids": ["vs_1"]}]}, True),
    ],
)
def test_files_and_containers_are_known_by_their_ids(members, kept):
    assert refers_to_stored_object(read_incoming("responses", json.dumps({"input": "x", **members}).encode())) == kept
