"""How a turn ends, and what is left of it: the rows of the table in ``docs/state.md``, and a store that fails at the
wrong moment."""

import json
import os
import select
import signal
import sqlite3
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import attrs
import postgres
import pytest
import trio
from calls import END, chunks, has_ended, lines, said, whole
from command_line import started
from harness import Gateway, Listening, Wire, complaint, config, eventually, free_port, post, provider, running
from turns import (
    APIS,
    becomes,
    check_stream,
    chunked,
    entries,
    final,
    kept,
    opening,
    refusal,
    sent,
    speaking,
    sqlite_at,
    stored,
    text_of,
    turn,
)
from upstreams import Raw, Script, ToolCall, Upstream, event, fake_upstream

from gateway.lanes import Seen
from gateway.state.bodies import read_turn
from gateway.state.memory import MemoryStore
from gateway.turns import keeping
from gateway.turns.keeping import Wish
from gateway.turns.kept import KeptTurn
from providers.apis import CODECS
from providers.codec import Reply
from providers.responses.ids import is_ours
from providers.seal import Issuer
from streams.errors import GatewayError
from streams.events import Begin, BlockEnd, End, Text

each_api = pytest.mark.parametrize("api", APIS)
both_ways = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
RESPONSE = {"id": "x", "status": "completed", "output": []}
NOT_FOUND = "previous_response_not_found"
LOOK = ToolCall("call_1", "look", '{"where": "here"}')
TOOL = {"type": "function", "name": "look", "parameters": {"type": "object", "properties": {}}, "strict": False}


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with fake_upstream() as up:
        yield up


@pytest.fixture(scope="module")
def by_hand() -> Iterator[Listening]:
    with Listening() as listening:
        yield listening


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("turns") / "state.sqlite"


@pytest.fixture(scope="module")
def gateway(upstream, by_hand, file) -> Iterator[Gateway]:
    port = free_port()
    finishing = [
        provider(f"openai/finish-{api}", by_hand.url, [api], state="ours", on_disconnect="finish") for api in APIS
    ]
    settings = config([*entries(upstream, by_hand), *finishing], port, state_storage=sqlite_at(file))
    with running(settings, port) as process:
        yield process
    assert not any("Traceback" in text for text in process.log)


def check_unusable(gateway: Gateway, id: str, status: str) -> None:
    """Nothing can go on from it, and the answer says why."""
    error = refusal(turn(gateway, "on-chat", previous_response_id=id))
    assert (error["code"], error["param"]) == (NOT_FOUND, "previous_response_id")
    assert id in error["message"]
    assert status in error["message"]


# Ends well, or is cut at the model's limit


@both_ways
@each_api
def test_a_turn_that_ends_well_is_stored_before_its_client_knows_that(gateway, upstream, api, stream):
    upstream.script(Script(text="It is 7."), Script(text="Yes."))
    first = final(turn(gateway, f"on-{api}", "What is it?", stream=stream))
    assert (first["status"], first["store"], is_ours(first["id"])) == ("completed", True, True)
    assert stored(gateway, first["id"]).json == first
    second = final(turn(gateway, f"on-{api}", "Sure?", stream=stream, previous_response_id=first["id"]))
    assert second["previous_response_id"] == first["id"]
    told = json.dumps(sent(upstream)[1])
    assert told.index("What is it?") < told.index("It is 7.") < told.index("Sure?")
    assert "resp_" not in told


@both_ways
@each_api
@pytest.mark.parametrize(("stop", "reason"), [("length", "max_output_tokens"), ("content_filter", "content_filter")])
def test_a_turn_that_was_cut_is_incomplete_and_goes_on_without_its_open_calls(
    gateway, upstream, api, stream, stop, reason
):
    calls = (LOOK,) if stop == "length" else ()
    upstream.script(Script(text="It is", calls=calls, stop=stop), Script(text="7."))
    first = final(turn(gateway, f"on-{api}", stream=stream, tools=[TOOL]))
    assert (first["status"], first["incomplete_details"]) == ("incomplete", {"reason": reason})
    assert stored(gateway, first["id"]).json == first
    assert final(turn(gateway, f"on-{api}", "Go on", previous_response_id=first["id"]))["status"] == "completed"
    told = json.dumps(sent(upstream)[1])
    assert "It is" in told
    assert LOOK.id not in told


# Fails in mid-answer

ERRORS = {
    "chat": b'data: {"error": {"message": "it broke", "type": "server_error", "code": "boom"}}\n\n',
    "messages": event("error", {"type": "error", "error": {"type": "api_error", "message": "it broke"}}),
    "responses": event("error", {"type": "error", "code": "boom", "message": "it broke", "sequence_number": 5}),
}


@pytest.mark.parametrize("how", ["FIN", "RST", "end", "error event"])
@each_api
def test_a_turn_whose_provider_breaks_off_is_stored_as_failed(gateway, by_hand, api, how):
    with speaking(gateway, by_hand, api) as (client, up, id):
        match how:
            case "FIN":
                up.close()
            case "RST":
                up.reset()
            case "end":
                up.send(END)
            case "error event":
                up.send(chunks(ERRORS[api]) + END)
        body = chunked(client.read_to_end())
    check_stream(body)
    assert b"event: response.failed" in body
    found = stored(gateway, id).json
    assert (found["status"], text_of(found)) == ("failed", "one t")
    assert found["error"]["message"]
    check_unusable(gateway, id, "failed")
    again = stored(gateway, id, "?stream=true")
    assert again.body == body


@each_api
def test_an_answer_that_is_not_streamed_and_breaks_off_leaves_nothing(gateway, by_hand, file, api):
    before = kept(file)
    with Wire.connect(gateway.port) as client:
        client.send(post("/v1/responses", {"model": f"hand-{api}", "input": "hi", "store": True}))
        with by_hand.accept() as up:
            up.read_request()
            up.send(whole(api)[:-20])
            up.close()
        assert b" 502 " in client.read_until(b"\r\n\r\n")
    assert kept(file) == before


def test_a_turn_that_the_drain_cuts_is_stored_as_failed(by_hand, upstream, tmp_path):
    path = tmp_path / "state.sqlite"
    port = free_port()
    settings = config(entries(upstream, by_hand), port, state_storage=sqlite_at(path), drain="100ms")
    ids = []
    with running(settings, port) as own:
        with (
            speaking(own, by_hand, "chat") as one,
            speaking(own, by_hand, "messages") as two,
            speaking(own, by_hand, "responses") as three,
        ):
            os.kill(own.pid, signal.SIGTERM)
            for client, _, id in (one, two, three):
                body = chunked(client.read_to_end())
                check_stream(body)
                assert b"event: response.failed" in body
                ids.append(id)
        eventually(lambda: has_ended(own.pid), what="the exit")
    with running(settings, port) as own:  # what was stored outlives the process
        for id in ids:
            found = stored(own, id).json
            assert (found["status"], text_of(found)) == ("failed", "one t")
            check_unusable(own, id, "failed")


# Dies with its process


def test_a_turn_whose_process_is_killed_leaves_nothing_and_one_that_was_answered_is_there(by_hand, upstream, tmp_path):
    path, file, port = tmp_path / "state.sqlite", tmp_path / "trigate.yaml", free_port()
    file.write_text(json.dumps(config(entries(upstream, by_hand), port, state_storage=sqlite_at(path))))
    with started("serve", str(file)) as process:
        own = Gateway(port, process.process.pid, process.log)
        upstream.script(Script(text="It is 7."))
        answered = final(turn(own, "on-chat", stream=True))
        with speaking(own, by_hand, "chat") as (client, _, id):
            process.process.kill()
            client.read_to_end()
        process.process.wait()
    with started("serve", str(file)) as process:
        own = Gateway(port, process.process.pid, process.log)
        assert stored(own, answered["id"]).json == answered
        assert refusal(stored(own, id), 404)
        assert refusal(turn(own, "on-chat", previous_response_id=id))["code"] == NOT_FOUND
        assert process.stop() == 0
    assert kept(path) == {answered["id"], f"{answered['id']}/head"}


# Loses its client


@pytest.mark.parametrize("how", ["FIN", "RST"])
@each_api
def test_a_turn_whose_client_leaves_is_stored_as_cancelled_with_what_was_said(gateway, by_hand, api, how):
    with speaking(gateway, by_hand, api) as (client, up, id):
        client.reset() if how == "RST" else client.close()
        up.closed_after(time.perf_counter(), 5)
        found = becomes(gateway, id, "cancelled")
    assert text_of(found) == "one t"
    assert [item["content"][0]["text"] for item in stored(gateway, id, "/input_items").json["data"]] == ["hi"]
    check_unusable(gateway, id, "cancelled")
    again = stored(gateway, id, "?stream=true")
    assert again.events()[-1][0] == "response.failed"  # the API has no event for it, and a stream must have an end
    check_stream(again.body)
    behind = stored(gateway, id, f"?stream=true&starting_after={len(again.events()) - 2}")
    assert behind.events() == again.events()[-1:]


def test_a_client_that_leaves_an_answer_that_is_not_streamed_leaves_nothing(gateway, by_hand, file):
    before = kept(file)
    with Wire.connect(gateway.port) as client:
        client.send(post("/v1/responses", {"model": "hand-chat", "input": "hi"}, {"x-request-id": "left-whole"}))
        with by_hand.accept() as up:
            up.read_request()
            up.send(whole("chat")[:-20])
            client.close()
            up.closed_after(time.perf_counter(), 5)
    eventually(lambda: lines(gateway, "left-whole"))
    assert kept(file) == before


@both_ways
@each_api
def test_a_turn_that_is_finished_without_its_client_is_stored_as_it_ended(gateway, by_hand, file, api, stream):
    before = kept(file)
    with Wire.connect(gateway.port) as client:
        asked = {"model": f"finish-{api}", "input": "hi", "stream": stream}
        client.send(post("/v1/responses", asked))
        with by_hand.accept() as up:
            up.read_request()
            if stream:
                up.send(said(api).half)
                client.read_until(b"one t")
                client.close()
                up.send(chunks(*said(api).rest) + END)
            else:
                client.close()
                assert not select.select([up.sock], [], [], 0.1)[0]
                up.send(whole(api))
            (id,) = eventually(lambda: {id for id in kept(file) - before if id.startswith("resp_") and "/" not in id})
    found = stored(gateway, id).json
    assert (found["status"], text_of(found)) == ("completed", "one two three")


# Is refused before its first content


@pytest.mark.parametrize("how", ["refused", "broken off", "left"])
@each_api
def test_a_turn_that_ends_before_its_first_content_leaves_nothing(gateway, by_hand, file, api, how):
    before = kept(file)
    with Wire.connect(gateway.port) as client:
        asked = {"model": f"hand-{api}", "input": "hi", "stream": True, "store": True}
        id = f"before-{api}-{how.replace(' ', '-')}"
        client.send(post("/v1/responses", asked, {"x-request-id": id}))
        with by_hand.accept() as up:
            up.read_request()
            if how == "refused":
                up.send(b"HTTP/1.1 429 Slow\r\ncontent-length: 2\r\n\r\n{}")
                assert b" 429 " in client.read_until(b"\r\n\r\n")
            elif how == "broken off":
                up.send(opening(api))
                up.close()
                assert b" 502 " in client.read_until(b"\r\n\r\n")
            else:
                up.send(opening(api))
                client.close()
        eventually(lambda: lines(gateway, id))
    assert kept(file) == before


# The store is down


@attrs.define
class Store:
    """A store that can be taken away, at ``place`` in the configuration."""

    place: dict[str, str]
    stop: object
    start: object


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Server]:
    bin = postgres.binaries()
    if bin is None:
        pytest.skip(postgres.MISSING)
    with postgres.running_server(bin) as found:
        yield found


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
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
    port = free_port()
    with running(config(entries(upstream, by_hand), port, state_storage=failing.place), port) as process:
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


def test_what_depends_on_a_store_that_is_down_is_a_503_and_nothing_else_is(
    fragile, upstream, first, conversation, down
):
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


@pytest.mark.parametrize("matters", ["store", "previous_response_id"])
@each_api
def test_a_turn_that_matters_fails_if_it_cannot_be_stored(fragile, upstream, by_hand, failing, first, api, matters):
    more = {"store": {"store": True}, "previous_response_id": {"previous_response_id": first}}[matters]
    with speaking(fragile, by_hand, api, **more) as (client, up, id):
        failing.stop()
        try:
            up.send(chunks(*said(api).rest) + END)
            body = chunked(client.read_to_end())
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


@each_api
def test_a_turn_that_does_not_matter_is_answered_and_says_that_it_is_not_stored(fragile, upstream, first, down, api):
    upstream.script(Script(text="It is 7."), Script(text="It is 8."))
    for stream in (True, False):
        reply = turn(fragile, f"on-{api}", stream=stream)
        answer = final(reply)
        assert (answer["status"], answer["store"]) == ("completed", False)
        assert stored(fragile, answer["id"]).status == 503
        warned = partial(is_told, fragile, answer["id"])
        eventually(warned, what="the warning in the log")


def is_told(gateway: Gateway, id: str) -> bool:
    """Whether the log says that a response is not stored."""
    return any("is not stored" in text and id in text for text in gateway.log)


@each_api
def test_an_answer_that_is_not_streamed_and_cannot_be_stored_is_a_503_where_it_matters(fragile, upstream, down, api):
    upstream.script(Script(text="It is 7."))
    reply = turn(fragile, f"on-{api}", store=True)
    complaint("responses", reply, 503)
    assert reply.headers["retry-after"]
    assert len(upstream.seen) == 1


def test_a_store_file_that_is_no_store_is_a_503(upstream, tmp_path):
    path, port = tmp_path / "state.sqlite", free_port()
    with running(config(entries(upstream), port, state_storage=sqlite_at(path)), port) as own:
        upstream.script(Script(text="It is 7."))
        id = final(turn(own, "on-chat"))["id"]
        with sqlite3.connect(path) as db:
            db.execute("UPDATE nodes SET body = x'00'")
        db.close()
        complaint("responses", stored(own, id), 503)
        complaint("responses", turn(own, "on-chat", previous_response_id=id), 503)


# A client that leaves while its turn is being stored


class Slow(MemoryStore):
    """A store that writes when it is told to."""

    def __init__(self) -> None:
        super().__init__(1e9, 2**20)
        self.begun, self.go = trio.Event(), trio.Event()

    async def put(self, nodes, expect=None) -> None:
        self.begun.set()
        await self.go.wait()
        await super().put(nodes, expect)


@both_ways
async def test_a_client_that_leaves_while_its_turn_is_being_stored_does_not_undo_it(stream):
    store = Slow()
    own = KeptTurn(store, "", Wish(), None, b'"hi"')
    call = CODECS["responses"].read_request({"model": "m", "input": "hi"})
    writer = own.writer(CODECS["responses"].writer(own.reply(Reply(call, Issuer("p", ""), 1))))
    seen, data = Seen(), b""
    for said_of_it in (Begin("x", "m", 1), Text(0, "It is 7."), BlockEnd(0), End("stop")):
        data += writer.send(said_of_it)
        seen.see(said_of_it)

    async def end() -> None:
        if stream:
            await own.passing(data, seen)
        else:
            await own.whole(json.dumps({**RESPONSE, "id": own.id}).encode(), None)

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(end)
            await store.begun.wait()
            nursery.cancel_scope.cancel()
            store.go.set()
        node = await store.get("", own.id)
    assert node is not None
    assert read_turn(node.body).status == "completed"


# A store that hangs


class Hanging:
    """A store that never answers."""

    async def _hang(self, *_):
        await trio.sleep_forever()

    put = get = chain = find = delete = sweep = _hang

    async def aclose(self) -> None:
        pass


@pytest.mark.parametrize("wish", [Wish(store=True), Wish()], ids=["matters", "does not"])
async def test_a_store_that_hangs_is_waited_for_ten_seconds_and_no_longer(autojump_clock, wish):
    own = KeptTurn(Hanging(), "", wish, None, b'"hi"')
    body = json.dumps(RESPONSE).encode()
    began = trio.current_time()
    if wish.matters:
        with pytest.raises(GatewayError, match="did not answer within 10 s") as failed:
            await own.whole(body, None)
        assert (failed.value.failed.status, dict(failed.value.failed.headers)) == (503, {"retry-after": "5"})
    else:
        assert json.loads(await own.whole(body, None)) == {**RESPONSE, "store": False}
    assert trio.current_time() - began == pytest.approx(keeping.STORE_SECONDS)


# Nothing is kept


@pytest.fixture(scope="module")
def forgetful(upstream) -> Iterator[Gateway]:
    port = free_port()
    with running(config(entries(upstream), port, state_storage={"type": "none"}), port) as process:
        yield process


@each_api
@pytest.mark.parametrize(
    ("param", "value"),
    [("previous_response_id", "resp_tg1.x"), ("conversation", "conv_tg1.x"), ("background", True)],
)
def test_what_needs_a_store_is_a_400_that_says_so_where_there_is_none(forgetful, upstream, api, param, value):
    upstream.script(Script(text="never"))
    error = complaint("responses", turn(forgetful, f"on-{api}", **{param: value}), 400)
    assert error["param"] == param
    assert "keeps no state" in error["message"]
    assert upstream.seen == []


@both_ways
@each_api
def test_a_wish_to_store_is_answered_with_a_warning_where_there_is_none(forgetful, upstream, api, stream):
    upstream.script(Script(text="It is 7."), Script(text="It is 7."))
    reply = turn(forgetful, f"on-{api}", stream=stream, store=True)
    assert reply.headers["warning"].startswith("199 trigate ")
    assert text_of(final(reply)) == "It is 7."
    assert "warning" not in turn(forgetful, f"on-{api}", stream=stream).headers


def test_a_refused_turn_is_not_stored_even_where_the_provider_answers_in_error(gateway, upstream, file):
    before = kept(file)
    upstream.script(Raw(500, (), (b'{"error": {"message": "no"}}',)))
    assert turn(gateway, "on-chat", store=True).status in (500, 502)
    assert kept(file) == before
