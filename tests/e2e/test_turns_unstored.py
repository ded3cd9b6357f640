"""Tests of turns whose store is down, damaged, slow, hanging or disabled."""

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from functools import partial
from itertools import product

import attrs
import pytest
import trio

from gateway.conversations.bodies import read_turn
from gateway.conversations.deadline import STORE_SECONDS
from gateway.conversations.local_turn import LocalTurn
from gateway.conversations.stored_api import StateOptions
from gateway.stores.memory import MemoryStore
from gateway.streaming.lane import StreamProgress
from providers.apis import CODECS
from providers.neutral.codec import Reply
from providers.neutral.seal import Issuer
from streams.errors import GatewayError
from streams.events import AnswerEnd, AnswerStart, BlockEnd, TextDelta
from tests.support import postgres
from tests.support.apis import OLDER
from tests.support.each_row import each_row
from tests.support.gateway_thread import gateway_thread, serve_module
from tests.support.harness import Gateway, complaint, config, eventually, free_port
from tests.support.raw_call import END, answer_stream, chunks
from tests.support.responses_api import (
    check_stream,
    each_api,
    entries,
    final,
    forwarded_data,
    read_chunks,
    speaking,
    sqlite_at,
    stored,
    text_of,
    turn,
)
from tests.support.upstreams import Script

RESPONSE = {"id": "x", "status": "completed", "output": []}


# The store is down


@attrs.define
class Store:
    """A store that the tests can stop and start; ``place`` is its configuration."""

    place: dict[str, str]
    stop: object
    start: object


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Server]:
    """Return a separate server, because the tests stop it."""
    with postgres.server_or_skip() as found:
        yield found


POSTGRES = pytest.param("postgres", "chat", marks=pytest.mark.server)
over_failing_stores = pytest.mark.parametrize(
    ("failing", "api"), [*(("sqlite", api) for api in OLDER), POSTGRES], indirect=["failing"]
)
"""Stores that fail, with APIs of providers: PostgreSQL has only one API, because failures are the same for each."""


@pytest.fixture(scope="module")
def failing(request, tmp_path_factory) -> Store:
    if request.param == "postgres":
        server = request.getfixturevalue("server")
        return Store({"type": "postgres", "connection_string": server.url}, server.stop, server.start)
    directory = tmp_path_factory.mktemp("failing") / "state"
    away = directory.with_name("away")
    directory.mkdir()
    path = directory / "state.sqlite"
    return Store(sqlite_at(path), lambda: directory.rename(away), lambda: away.rename(directory))


@pytest.fixture(scope="module")
def fragile(upstream, by_hand, failing) -> Iterator[Gateway]:
    with gateway_thread(config(entries(upstream, by_hand), state_storage=failing.place)) as process:
        yield process
    assert not any("Traceback" in text for text in process.log)


@pytest.fixture(scope="module")
def first(fragile, upstream) -> str:
    upstream.script(Script(text="It is 7."))
    return final(turn(fragile, "on-chat"))["id"]


@pytest.fixture(scope="module")
def conversation(fragile, first) -> str:
    return fragile.request("POST", "/v1/conversations", {}).json["id"]


@pytest.fixture
def down(failing, fragile, first, conversation) -> Iterator[None]:
    failing.stop()
    yield
    failing.start()
    eventually(lambda: stored(fragile, first).status == 200, 20, "the store's coming back")


@pytest.mark.parametrize("failing", ["sqlite", pytest.param("postgres", marks=pytest.mark.server)], indirect=True)
def test_only_requests_that_need_an_unavailable_store_get_a_503(fragile, upstream, first, conversation, down):
    calls = [
        ("POST", "/v1/responses", {"model": "on-chat", "input": "hi", "previous_response_id": first}),
        ("POST", "/v1/responses", {"model": "on-chat", "input": "hi", "previous_response_id": first, "stream": True}),
        ("POST", "/v1/responses", {"model": "on-chat", "input": "hi", "conversation": conversation}),
        ("POST", "/v1/responses", {"model": "on-chat", "input": "hi", "background": True}),
        ("POST", "/v1/responses", {"model": "on-chat", "input": [{"type": "item_reference", "id": "msg_x"}]}),
        ("POST", "/v1/responses/input_tokens", {"model": "on-chat", "previous_response_id": first}),
        ("GET", f"/v1/responses/{first}", None),
        ("GET", f"/v1/responses/{first}?stream=true", None),
        ("GET", f"/v1/responses/{first}/input_items", None),
        ("DELETE", f"/v1/responses/{first}", None),
        ("POST", f"/v1/responses/{first}/cancel", None),
        ("GET", f"/v1/conversations/{conversation}", None),
        ("GET", f"/v1/conversations/{conversation}/items", None),
        ("POST", "/v1/conversations", {}),
    ]
    upstream.script(Script(text="never"))
    for method, path, body in calls:
        reply = fragile.request(method, path, body)
        complaint("responses", reply, 503)
        assert int(reply.headers["retry-after"]) > 0, path
        assert "hunter2" not in reply.body.decode()
    assert upstream.seen == []
    upstream.script(Script(text="It is 7."))
    assert text_of(final(turn(fragile, "on-chat", store=False))) == "It is 7."


@over_failing_stores
def test_a_turn_that_matters_fails_if_it_cannot_be_stored(fragile, upstream, by_hand, failing, first, api):
    matters = "store" if api == "chat" else "previous_response_id"
    more = {"store": {"store": True}, "previous_response_id": {"previous_response_id": first}}[matters]
    with speaking(fragile, by_hand, api, **more) as (client, up, id):
        failing.stop()
        try:
            up.send(chunks(*answer_stream(api).rest) + END)
            body = read_chunks(client.read_to_end())
        finally:
            failing.start()
    check_stream(body)
    assert b"event: response.failed" in body
    assert b"event: response.completed" not in body
    last = json.loads(body.rstrip().rpartition(b"data: ")[2])
    assert (last["response"]["id"], last["response"]["status"]) == (id, "failed")
    assert "store" in last["response"]["error"]["message"]
    eventually(lambda: stored(fragile, first).status == 200, 20, "the store's coming back")
    assert stored(fragile, id).status == 404


@over_failing_stores
def test_an_unimportant_turn_succeeds_and_warns_that_it_is_not_stored(fragile, upstream, first, down, api):
    upstream.script(Script(text="It is 7."), Script(text="It is 8."))
    for stream in (True, False):
        reply = turn(fragile, f"on-{api}", stream=stream)
        answer = final(reply)
        assert (answer["status"], answer["store"]) == ("completed", False)
        assert stored(fragile, answer["id"]).status == 503
        warned = partial(is_failure_logged, fragile, answer["id"])
        eventually(warned, what="the warning in the log")


def is_failure_logged(gateway: Gateway, id: str) -> bool:
    """Return whether the log has an error about storing the response."""
    return any(f"could not store {id}" in text for text in gateway.log)


@over_failing_stores
def test_a_whole_answer_that_must_but_cannot_be_stored_returns_503(fragile, upstream, down, api):
    upstream.script(Script(text="It is 7."))
    reply = turn(fragile, f"on-{api}", store=True)
    complaint("responses", reply, 503)
    assert reply.headers["retry-after"]
    assert len(upstream.seen) == 1


def test_a_damaged_store_file_returns_503(upstream, tmp_path):
    path, port = tmp_path / "state.sqlite", free_port()
    with gateway_thread(config(entries(upstream), port, state_storage=sqlite_at(path)), port) as own:
        upstream.script(Script(text="It is 7."))
        id = final(turn(own, "on-chat"))["id"]
        with contextlib.closing(sqlite3.connect(path)) as db, db:
            db.execute("UPDATE nodes SET body = x'00'")
        complaint("responses", stored(own, id), 503)
        complaint("responses", turn(own, "on-chat", previous_response_id=id), 503)


# A client that disconnects while its turn is being stored


class Slow(MemoryStore):
    """A store that waits for the event ``go`` before each write."""

    def __init__(self) -> None:
        super().__init__(1e9, 2**20)
        self.begun, self.go = trio.Event(), trio.Event()

    async def put(self, nodes, expect=None) -> None:
        self.begun.set()
        await self.go.wait()
        await super().put(nodes, expect)


@each_row("stream", (True, False))
async def test_a_disconnect_while_a_turn_is_being_stored_does_not_undo_it(stream):
    store = Slow()
    own = LocalTurn(store, "", StateOptions(), None, b'"hi"')
    call = CODECS["responses"].read_request({"model": "m", "input": "hi"})
    writer = own.writer(CODECS["responses"].writer(own.reply(Reply(call, Issuer("p", ""), 1))))
    seen, data = StreamProgress(), b""
    for said_of_it in (AnswerStart("x", "m", 1), TextDelta(0, "It is 7."), BlockEnd(0), AnswerEnd("stop")):
        data += writer.send(said_of_it)
        seen.add(said_of_it)

    async def end() -> None:
        if stream:
            await forwarded_data(own, data, seen)
        else:
            await own.persist_whole(json.dumps({**RESPONSE, "id": own.id}).encode(), None)

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(end)
            await store.begun.wait()
            nursery.cancel_scope.cancel()
            store.go.set()
        node = await store.get("", own.id)
    assert read_turn(node.body).status == "completed"


# A store that hangs


class Hanging:
    """A store that never responds."""

    async def _hang(self, *_):
        await trio.sleep_forever()

    put = get = chain = find = delete = sweep = _hang

    async def aclose(self) -> None:
        pass


@pytest.mark.parametrize("wish", [StateOptions(store=True), StateOptions()], ids=["matters", "does not"])
async def test_a_turn_waits_ten_seconds_for_a_hanging_store(autojump_clock, wish):
    own = LocalTurn(Hanging(), "", wish, None, b'"hi"')
    body = json.dumps(RESPONSE).encode()
    began = trio.current_time()
    if wish.must_store:
        with pytest.raises(GatewayError, match="did not respond within 10 s") as failed:
            await own.persist_whole(body, None)
        assert (failed.value.info.status, dict(failed.value.info.headers)) == (503, {"retry-after": "5"})
    else:
        assert json.loads(await own.persist_whole(body, None)) == {**RESPONSE, "store": False}
    assert trio.current_time() - began == pytest.approx(STORE_SECONDS)


# A gateway without a store


@serve_module
def forgetful(upstream):
    return config(entries(upstream), state_storage={"type": "none"})


@each_api
@pytest.mark.parametrize(
    ("param", "value"),
    [("previous_response_id", "resp_tg1.x"), ("conversation", "conv_tg1.x"), ("background", True)],
)
def test_members_that_need_a_store_return_400_without_one(forgetful, upstream, api, param, value):
    upstream.script(Script(text="never"))
    error = complaint("responses", turn(forgetful, f"on-{api}", **{param: value}), 400)
    assert error["param"] == param
    assert "stores no state" in error["message"]
    assert upstream.seen == []


@each_row(("stream", "api"), product((True, False), OLDER))
def test_a_request_to_store_without_a_store_returns_a_warning(forgetful, upstream, api, stream):
    upstream.script(Script(text="It is 7."), Script(text="It is 7."))
    reply = turn(forgetful, f"on-{api}", stream=stream, store=True)
    assert reply.headers["warning"].startswith("199 trigate ")
    assert text_of(final(reply)) == "It is 7."
    assert "warning" not in turn(forgetful, f"on-{api}", stream=stream).headers
