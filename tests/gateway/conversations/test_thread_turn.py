"""Messages threads stored by the gateway: the complete request, the stored answer, and failures."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import msgspec
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from gateway.config_files.loading import from_mapping
from gateway.conversations.deadline import STORE_SECONDS
from gateway.conversations.recorder import UNRECORDED
from gateway.conversations.resolved import ResolvedRequest, StateScope
from gateway.conversations.thread_history import load_thread
from gateway.request.parse import Incoming, read_incoming
from gateway.request.structure import Bounds
from gateway.routing.plan import Candidate
from gateway.routing.router import Router
from gateway.routing.target import Target
from gateway.stores.errors import Unavailable
from gateway.stores.memory import MemoryStore
from gateway.stores.store import Node, Store
from gateway.streaming.lane import StreamProgress
from gateway.streaming.translation import Translation, WholeAnswerTranslation
from providers.apis import CODECS
from providers.grammar import Judge
from providers.messages import MESSAGES
from providers.neutral.codec import Reply
from providers.neutral.request import Request
from providers.neutral.seal import Issuer
from streams import sse
from streams.errors import GatewayError
from streams.events import ErrorInfo
from streams.fold import fold
from tests.support.apis import OLDER
from tests.support.each_row import each_row
from tests.support.messages_streams import frames, sdk_message
from tests.support.responses_api import forwarded_data
from tests.support.upstreams import Script, ToolCall, render

ROUTER = Router(
    from_mapping(
        {
            "version": "v0.3.0",
            "model_providers": [
                {"model": "openai/on-chat", "access_key": "k", "speaks": ["chat"]},
                {"model": "openai/on-responses", "access_key": "k", "speaks": ["responses"]},
                {"model": "vercel/on-messages", "access_key": "k", "speaks": ["messages"]},
                {"model": "anthropic/claude", "access_key": "k", "speaks": ["messages"]},
            ],
        }
    )
)
BOUNDS = Bounds(2**20, 1000)
CREATE = {"type": "create"}
HELLO = {"role": "user", "content": "hello"}
TOOL = {"name": "f", "input_schema": {"type": "object"}}
FULL = Script(
    thinking="let me see", seal="c2VhbA==", text="I shall ask.",
    calls=(ToolCall("call_1", "f", '{"a": 1.0}'), ToolCall("call:2", "f", "{}")), stop="tool_calls",
)  # fmt: skip
TEXT_BODY = b"".join(render(Script(text="done"), "chat", {"model": "up"}).pieces)
REPLY = Reply(Request("messages", "m", ()), Issuer("openai", "a"), 1700000000)
DOWN = Unavailable("the disk is full")


def shelf() -> MemoryStore:
    return MemoryStore(ttl=60, max_bytes=2**20)


class Broken:
    """A store that is down, or does not answer at all."""

    def __init__(self, error: Unavailable | None) -> None:
        self._error = error

    async def _fail(self) -> None:
        if self._error is not None:
            raise self._error
        await trio.sleep_forever()

    async def put(self, nodes: Sequence[Node], expect: Node | None = None) -> None:
        await self._fail()

    async def chain(self, owner: str, id: str) -> tuple[Node, ...]:
        await self._fail()
        return ()


def target_for(model: str = "on-chat", state: str | None = None) -> Target:
    target = ROUTER.resolve(model, "messages")
    return attrs.evolve(target, entry=attrs.evolve(target.entry, state=state))


def incoming(body: Mapping[str, Any] | bytes) -> Incoming:
    return read_incoming("messages", body if isinstance(body, bytes) else json.dumps(body).encode())


def body_of(*messages: Any, thread: Any = CREATE, **members: Any) -> dict[str, Any]:
    return {"model": "m", "max_tokens": 100, "messages": list(messages), "thread": thread, **members}


def behind(id: str) -> dict[str, str]:
    return {"type": "continue", "previous_message_id": id}


async def resolve(
    store: Store | None, body: Mapping[str, Any] | bytes, *, owner: str = "me", target: Target | None = None
) -> ResolvedRequest:
    return await load_thread(StateScope(owner, store), incoming(body), (Candidate(target or target_for()),), BOUNDS)


async def refusal(store: Store | None, body: Mapping[str, Any], **where: Any) -> ErrorInfo:
    with pytest.raises(GatewayError) as caught:
        await resolve(store, body, **where)
    return caught.value.info


@attrs.frozen
class Output:
    """The output for a client: its bytes, the last write that was not empty, and the progress of the stream."""

    data: bytes
    last: bytes
    seen: StreamProgress

    @property
    def message(self) -> Any:
        return sdk_message(self.data)


def lane_for(found: ResolvedRequest, api: str = "chat", whole: bool = False) -> Translation:
    turn = found.turn
    reply = turn.reply(Reply(found.incoming.request, found.target.recipient.issuer, 1700000000))
    writer = turn.writer(MESSAGES.writer(reply))
    turn.record_target(found.target, writer)
    if whole:
        return WholeAnswerTranslation(CODECS[api], writer, CODECS["chat"].wire, lambda failed: failed, 2**20)
    return Translation(CODECS[api], writer, CODECS["chat"].wire, lambda failed: failed, 2**20)


async def stream(found: ResolvedRequest, script: Script, api: str = "chat", at_once: bool = False) -> Output:
    lane, turn = lane_for(found, api), found.turn
    pieces = render(script, api, {"stream": True, "model": "up"}).pieces
    sent = [b"".join(pieces)] if at_once else pieces
    out = [await forwarded_data(turn, lane.feed(piece), lane.progress) for piece in sent]
    out.append(await forwarded_data(turn, lane.end(), lane.progress))
    return Output(b"".join(out), next(data for data in reversed(out) if data), lane.progress)


async def answer(found: ResolvedRequest, script: Script, api: str = "chat") -> Any:
    turn = found.turn
    body = b"".join(render(script, api, {"model": "up"}).pieces)
    whole = fold(CODECS[api].read_answer(body))
    reply = turn.reply(Reply(found.incoming.request, found.target.recipient.issuer, 1700000000))
    return json.loads(await turn.persist_whole(MESSAGES.write_answer(whole, reply), whole))


async def stored_node(store: Store, id: str) -> Node:
    node = await store.get("me", id)
    assert node is not None
    return node


def conversation(found: ResolvedRequest) -> Any:
    return json.loads(found.incoming.body)["messages"]


# Where a thread is kept


@pytest.mark.parametrize("members", [{}, {"thread": None}], ids=["absent", "null"])
async def test_a_request_without_a_thread_stays_unchanged(members):
    came = incoming({"model": "m", "max_tokens": 1, "messages": [HELLO], **members})
    for store in (shelf(), None):
        target = target_for()
        found = await load_thread(StateScope("me", store), came, (Candidate(target),), BOUNDS)
        assert found.incoming is came
        assert found.target is target
        assert found.turn is UNRECORDED


@each_row("thread", [CREATE, behind("msg_1"), {"type": "of a later version"}])
async def test_a_thread_of_the_providers_own_passes_unchanged(thread):
    for state in (None, "upstream"):
        found = await resolve(shelf(), body_of(HELLO, thread=thread), target=target_for("claude", state))
        assert found.turn is UNRECORDED
        assert found.target.lane == "byte"
        assert found.incoming.body == json.dumps(body_of(HELLO, thread=thread)).encode()


async def test_a_provider_that_could_keep_it_need_not():
    found = await resolve(shelf(), body_of(HELLO), target=target_for("claude", "ours"))
    assert found.turn.records
    assert found.target.lane == "hub"


@each_row("thread", [CREATE, behind("msg_1")])
@each_row(
    ("store", "target"),
    [
        (None, target_for()), (None, target_for("on-messages")), (None, target_for("claude", "ours")),
        (shelf(), target_for(state="upstream")), (shelf(), target_for("on-messages", "upstream")),
    ],
)  # fmt: skip
async def test_without_a_store_the_sdk_learns_that_threads_are_unsupported(store, target, thread):
    failed = await refusal(store, body_of(HELLO, thread=thread), target=target)
    assert (failed.status, failed.param) == (400, "thread")
    assert failed.details == {"error_code": "thread_unsupported_request", "unsupported": ["thread"]}


@each_row(
    ("thread", "param"),
    [
        ("create", "thread"), ([], "thread"), ({}, "thread.type"), ({"type": 1}, "thread.type"),
        ({"type": "fork"}, "thread.type"), ({"type": "continue"}, "thread.previous_message_id"),
        ({"type": "continue", "previous_message_id": 7}, "thread.previous_message_id"),
    ],
)  # fmt: skip
async def test_a_thread_that_is_none_is_refused_with_its_path(thread, param):
    failed = await refusal(shelf(), body_of(HELLO, thread=thread))
    assert (failed.status, failed.param) == (400, param)
    assert param in failed.message


# The request for the provider


async def test_a_new_thread_is_a_request_without_it():
    body = b'{"thread" : {"type": "create"}, "max_tokens" : 1e2, "model":"m" , "messages": [ {"role": "user"} ]}'
    found = await resolve(shelf(), body, target=target_for("on-messages"))
    assert found.incoming.body == b'{"max_tokens":1e2,"model":"m","messages":[{"role": "user"}]}'
    assert found.target == attrs.evolve(target_for("on-messages"), lane="hub")


async def test_a_continued_thread_keeps_every_byte():
    """Prompt caches key on the prefix, and a number keeps its spelling."""
    store = shelf()
    first = b'{"role":"user", "content" : "\\u00e9 \xc3\xa9"}'
    tools = b'[ {"name":"f","input_schema":{"type" : "object","maximum": 1.00}} ]'
    body = (
        b'{"model":"m","max_tokens":100,"thread":{"type":"create"},"system": "be\\/brief" ,"tools":%b,"messages":[%b]}'
    )
    told = await stream(await resolve(store, body % (tools, first)), FULL)
    second = b'{"content":[{"type":"tool_result" , "tool_use_id":"call_1","content":[]}],"role":"user"}'
    thread = json.dumps(behind(told.message.id)).encode()
    found = await resolve(
        store, b'{"max_tokens": 7, "model": "other", "thread": %b, "messages": [%b]}' % (thread, second)
    )
    said = bytes(msgspec.json.decode(found.incoming.members["messages"], type=list[msgspec.Raw])[1])
    assert found.incoming.body == (
        b'{"system":"be\\/brief","tools":%b,"max_tokens":7,"model":"other","messages":[%b,%b,%b]}'
        % (tools, first, said, second)
    )
    assert b'"input":{"a": 1.0}' in said, "as the model wrote it"
    assert found.incoming.members.keys() == {"system", "tools", "max_tokens", "model", "messages"}


TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
SPELLINGS = st.builds(
    lambda value, indent, ascii: json.dumps(value, indent=indent, ensure_ascii=ascii).encode(),
    VALUES, st.sampled_from([None, 0, 2]), st.booleans(),
)  # fmt: skip


@given(st.lists(SPELLINGS, max_size=3), st.lists(SPELLINGS, max_size=3), SPELLINGS)
def test_the_bytes_of_any_message_stay_unchanged(first, second, system):
    async def create_and_continue() -> bytes:
        store = shelf()
        head = b'{"model":"m","messages":[%b],"thread":' % b" , ".join(first)
        created = await resolve(store, head + b'{"type":"create"},"system":%b}' % system)
        id = created.turn.reply(REPLY).id
        await created.turn.persist_whole(b"", fold(CODECS["chat"].read_answer(TEXT_BODY)))
        body = b'{"model":"m","messages":[%b],"thread":%b}' % (b",".join(second), json.dumps(behind(id)).encode())
        return (await resolve(store, body)).incoming.body

    said = b'{"role":"assistant","content":[{"type":"text","text":"done","citations":[]}]}'
    remembered = b'"system":%b,' % system if system != b"null" else b""
    whole = b'{%b"model":"m","messages":[%b]}' % (remembered, b",".join([*first, said, *second]))
    assert trio.run(create_and_continue) == whole


async def test_a_thread_keeps_its_latest_settings():
    """The SDK sends `system` and `tools` once, and everything else in each request."""
    store = shelf()
    other = {**TOOL, "name": "g"}
    one = await answer(await resolve(store, body_of(HELLO, system="one", tools=[TOOL], temperature=0.5)), FULL)
    second = await resolve(store, body_of(HELLO, thread=behind(one["id"]), tools=[other], system=None))
    two = await answer(second, Script(text="done"))
    third = json.loads((await resolve(store, body_of(HELLO, thread=behind(two["id"])))).incoming.body)
    assert (third["system"], third["tools"]) == ("one", [other])
    assert "temperature" not in third
    assert [message["role"] for message in third["messages"]] == ["user", "assistant"] * 2 + ["user"]


async def test_a_turn_is_stored_once():
    """The size of a thread grows with the length of its messages, not with the square of it."""
    store = shelf()
    id = (await answer(await resolve(store, body_of(HELLO, tools=[TOOL])), Script(text="done")))["id"]
    sizes = []
    for _ in range(5):
        id = (await answer(await resolve(store, body_of(HELLO, thread=behind(id))), Script(text="done")))["id"]
        sizes.append(len((await stored_node(store, id)).body))
    assert len(set(sizes)) == 1
    assert len(conversation(await resolve(store, body_of(HELLO, thread=behind(id))))) == 13


async def test_a_paused_answer_continues_without_new_input():
    store = shelf()
    id = (await answer(await resolve(store, body_of(HELLO)), Script(text="so far")))["id"]
    found = await resolve(store, body_of(thread=behind(id)))
    assert [message.role for message in found.incoming.request.messages] == ["user", "assistant"]


async def test_an_empty_answer_leaves_no_message():
    store = shelf()
    told = await stream(await resolve(store, body_of(HELLO)), Script())
    assert conversation(await resolve(store, body_of(HELLO, thread=behind(told.message.id)))) == [HELLO, HELLO]


async def test_a_thread_may_continue_twice_from_one_message():
    """A request that is repeated because its answer was lost."""
    store = shelf()
    id = (await answer(await resolve(store, body_of(HELLO)), Script(text="done")))["id"]
    branches = [body_of({"role": "user", "content": word}, thread=behind(id)) for word in ("left", "right")]
    ids = [(await answer(await resolve(store, body), Script(text="done")))["id"] for body in branches]
    assert len({id, *ids}) == 3
    ends = [conversation(await resolve(store, body_of(HELLO, thread=behind(id))))[2]["content"] for id in ids]
    assert ends == ["left", "right"]


# Missing threads


async def test_a_missing_thread_is_a_404_so_that_the_sdk_resends_everything():
    store = shelf()
    id = (await answer(await resolve(store, body_of(HELLO)), FULL))["id"]
    await store.put([Node("resp_1", "me", "response", b"{}"), Node("msg_orphan", "me", "message", b"{}", "msg_gone")])
    for owner, asked_for in (("me", "msg_x"), ("me", ""), ("you", id), ("me", "resp_1"), ("me", "msg_orphan")):
        failed = await refusal(store, body_of(HELLO, thread=behind(asked_for)), owner=owner)
        assert (failed.status, failed.kind, failed.param) == (404, "not_found", "thread.previous_message_id")
        assert failed.details == {"error_code": "thread_not_found"}
        assert json.loads(MESSAGES.write_error(failed, "req_1"))["error"]["type"] == "not_found_error"


@each_row("body", [b"", b"[]", b"{}", b'{"messages":[]}', b'{"messages":1,"answer":[]}', b"\xff"])
async def test_a_damaged_message_is_no_empty_one(body):
    store = shelf()
    await store.put([Node("msg_1", "me", "message", body)])
    failed = await refusal(store, body_of(HELLO, thread=behind("msg_1")))
    assert failed.status == 503
    assert "damaged" in failed.message


# The stored answer


@each_row("api", OLDER)
@each_row("streamed", [True, False])
async def test_the_answer_is_kept_as_the_client_saw_it(api, streamed):
    """Thinking with its signature or our seal, text and calls, in order; under the id that the client received."""
    store = shelf()
    found = await resolve(store, body_of(HELLO), target=target_for(f"on-{api}"))
    if streamed:
        told = (await stream(found, FULL, api)).message
        id, content = told.id, [block.to_dict() for block in told.content]
    else:
        body = await answer(found, FULL, api)
        id, content = body["id"], body["content"]
    assert [block["type"] for block in content] == ["thinking", "text", "tool_use", "tool_use"]
    assert id.startswith("msg_")
    assert id != "msg_up1", "a provider's id may come twice"
    node = await stored_node(store, id)
    assert (node.id, node.owner, node.kind, node.parent) == (id, "me", "message", None)
    said = conversation(await resolve(store, body_of(HELLO, thread=behind(id))))[1]
    assert said["role"] == "assistant"
    assert [without_nulls(block) for block in said["content"]] == [without_nulls(block) for block in content]


def without_nulls(block: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in block.items() if value is not None}


@each_row("api", OLDER)
async def test_thinking_is_returned_to_its_author(api):
    store = shelf()
    target = target_for(f"on-{api}")
    id = (await stream(await resolve(store, body_of(HELLO), target=target), FULL, api)).message.id
    result = {"type": "tool_result", "tool_use_id": "call_1", "content": "1"}
    body = body_of({"role": "user", "content": [result]}, thread=behind(id), tools=[TOOL])
    found = await resolve(store, body, target=target)
    out = CODECS[api].write_request(found.incoming.request, target.recipient).body
    assert (b"let me see" if api == "chat" else b"c2VhbA==") in out


async def test_the_turn_is_there_before_the_client_knows_that_it_is_whole():
    store = shelf()
    found = await resolve(store, body_of(HELLO))
    lane, turn = lane_for(found), found.turn
    id = turn.reply(REPLY).id
    for piece in render(FULL, "chat", {"stream": True, "model": "up"}).pieces:
        assert (await store.get("me", id) is not None) == lane.progress.over
        data = await forwarded_data(turn, lane.feed(piece), lane.progress)
        assert (await store.get("me", id) is not None) == lane.progress.over
        assert lane.progress.over or b"message_delta" not in data
    assert lane.progress.over


async def test_a_provider_that_answers_whole_is_heard_once():
    """The lane is changed when the provider's answer turns out to be no stream."""
    store = shelf()
    found = await resolve(store, body_of(HELLO))
    lane_for(found).feed(b"")
    lane = lane_for(found, whole=True)
    out = await forwarded_data(found.turn, lane.feed(TEXT_BODY), lane.progress)
    out += await forwarded_data(found.turn, lane.end(), lane.progress)
    found = await resolve(store, body_of(HELLO, thread=behind(sdk_message(out).id)))
    assert conversation(found)[1]["content"] == [{"type": "text", "text": "done", "citations": []}]


@pytest.mark.parametrize("how", ["client", "provider"])
async def test_a_turn_that_broke_off_is_not_kept(how):
    store = shelf()
    found = await resolve(store, body_of(HELLO))
    lane, turn = lane_for(found), found.turn
    pieces = render(Script(text="one two three"), "chat", {"stream": True, "model": "up"}).pieces
    out = b"".join([await forwarded_data(turn, lane.feed(piece), lane.progress) for piece in pieces[:3]])
    assert b"text_delta" in out
    if how == "client":
        await turn.persist_partial("")
    else:
        await forwarded_data(turn, lane.end(ErrorInfo("upstream", "the connection broke")), lane.progress)
    failed = await refusal(store, body_of(HELLO, thread=behind(frames(out)[0][1]["message"]["id"])))
    assert failed.details == {"error_code": "thread_not_found"}


# A store that is down


@pytest.mark.parametrize("error", [DOWN, None], ids=["down", "hanging"])
async def test_a_thread_that_cannot_be_recalled_is_a_503(error, autojump_clock):
    began = trio.current_time()
    failed = await refusal(Broken(error), body_of(HELLO, thread=behind("msg_1")))
    assert failed.status == 503
    assert ("the disk is full" in failed.message) == (error is not None)
    assert trio.current_time() - began <= STORE_SECONDS


@pytest.mark.parametrize("error", [DOWN, None], ids=["down", "hanging"])
async def test_a_stream_that_cannot_be_kept_ends_with_an_error(error, autojump_clock):
    began = trio.current_time()
    told = await stream(await resolve(Broken(error), body_of(HELLO)), FULL)
    assert trio.current_time() - began <= STORE_SECONDS
    assert b"message_stop" not in told.data
    assert told.last.count(b"event: error") == 1
    assert b"could not store the thread" in told.last
    assert b"text_delta" in told.data
    judge = Judge("messages")
    assert [judge.feed(raw) for raw in sse.Splitter(2**20).feed(told.data)] == [None] * told.data.count(b"\n\n")
    assert (told.seen.end, told.seen.error.status, told.seen.committed) == (None, 503, True)


async def test_before_the_first_content_it_is_still_an_honest_status():
    """The whole answer arrived in one piece, and none of it has reached the client."""
    told = await stream(await resolve(Broken(DOWN), body_of(HELLO)), FULL, at_once=True)
    assert (told.seen.error.status, told.seen.committed) == (503, False)


@pytest.mark.parametrize("error", [DOWN, None], ids=["down", "hanging"])
async def test_a_whole_answer_that_cannot_be_kept_is_a_503(error, autojump_clock):
    found = await resolve(Broken(error), body_of(HELLO))
    with pytest.raises(GatewayError, match="store the thread") as caught:
        await answer(found, FULL)
    assert caught.value.info.status == 503
