"""Tests of the ends of turns, and of the stored result of each: the rows of the table in ``docs/state.md``."""

import json
import select
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest

from providers.responses.tools import is_own_id
from tests.support.apis import OLDER
from tests.support.command_line import running_command
from tests.support.each_row import each_row
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import Gateway, Wire, config, eventually, free_port, post, provider
from tests.support.raw_call import END, answer_stream, chunks, lines, whole_answer
from tests.support.responses_api import (
    both_ways,
    check_stream,
    each_api,
    entries,
    final,
    read_chunks,
    refusal,
    sent_bodies,
    speaking,
    sqlite_at,
    stored,
    stored_ids,
    stream_opening,
    text_of,
    turn,
    wait_for_status,
)
from tests.support.upstreams import Script, ToolCall, event

NOT_FOUND = "previous_response_not_found"
LOOK = ToolCall("call_1", "look", '{"where": "here"}')
TOOL = {"type": "function", "name": "look", "parameters": {"type": "object", "properties": {}}, "strict": False}


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("turns") / "state.sqlite"


@pytest.fixture(scope="module")
def gateway(upstream, by_hand, file) -> Iterator[Gateway]:
    finishing = [
        provider(f"openai/finish-{api}", by_hand.url, [api], state="ours", on_disconnect="finish") for api in OLDER
    ]
    settings = config([*entries(upstream, by_hand), *finishing], state_storage=sqlite_at(file))
    with gateway_thread(settings) as process:
        yield process
    assert not any("Traceback" in text for text in process.log)


def check_unusable(gateway: Gateway, id: str, status: str) -> None:
    """Check that no turn can continue from this one, and that the error has the reason."""
    error = refusal(turn(gateway, "on-chat", previous_response_id=id))
    assert (error["code"], error["param"]) == (NOT_FOUND, "previous_response_id")
    assert id in error["message"]
    assert status in error["message"]


# Turns that end well, or that the model's limit cuts


@each_row(("stream", "api"), product((True, False), OLDER))
def test_a_complete_turn_is_stored_before_its_client_gets_the_end(gateway, upstream, api, stream):
    upstream.script(Script(text="It is 7."), Script(text="Yes."))
    first = final(turn(gateway, f"on-{api}", "What is it?", stream=stream))
    assert (first["status"], first["store"], is_own_id(first["id"])) == ("completed", True, True)
    assert stored(gateway, first["id"]).json == first
    second = final(turn(gateway, f"on-{api}", "Sure?", stream=stream, previous_response_id=first["id"]))
    assert second["previous_response_id"] == first["id"]
    told = json.dumps(sent_bodies(upstream)[1])
    assert told.index("What is it?") < told.index("It is 7.") < told.index("Sure?")
    assert "resp_" not in told


@both_ways
@each_api
@pytest.mark.parametrize(("stop", "reason"), [("length", "max_output_tokens"), ("content_filter", "content_filter")])
def test_a_cut_turn_is_incomplete_and_continues_without_its_open_calls(gateway, upstream, api, stream, stop, reason):
    calls = (LOOK,) if stop == "length" else ()
    upstream.script(Script(text="It is", calls=calls, stop=stop), Script(text="7."))
    first = final(turn(gateway, f"on-{api}", stream=stream, tools=[TOOL]))
    assert (first["status"], first["incomplete_details"]) == ("incomplete", {"reason": reason})
    assert stored(gateway, first["id"]).json == first
    assert final(turn(gateway, f"on-{api}", "Go on", previous_response_id=first["id"]))["status"] == "completed"
    told = json.dumps(sent_bodies(upstream)[1])
    assert "It is" in told
    assert LOOK.id not in told


# Turns that fail in mid-answer

ERRORS = {
    "chat": b'data: {"error": {"message": "it broke", "type": "server_error", "code": "boom"}}\n\n',
    "messages": event("error", {"type": "error", "error": {"type": "api_error", "message": "it broke"}}),
    "responses": event("error", {"type": "error", "code": "boom", "message": "it broke", "sequence_number": 5}),
}


@each_row(("api", "how"), product(OLDER, ["FIN", "RST", "end", "error event"]))
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
        body = read_chunks(client.read_to_end())
    check_stream(body)
    assert b"event: response.failed" in body
    found = stored(gateway, id).json
    assert (found["status"], text_of(found)) == ("failed", "one t")
    assert found["error"]["message"]
    check_unusable(gateway, id, "failed")
    again = stored(gateway, id, "?stream=true")
    assert again.body == body


@each_api
def test_a_whole_answer_that_breaks_off_is_not_stored(gateway, by_hand, file, api):
    before = stored_ids(file)
    with Wire.connect(gateway.port) as client:
        client.send(post("/v1/responses", {"model": f"hand-{api}", "input": "hi", "store": True}))
        with by_hand.accept() as up:
            up.read_request()
            up.send(whole_answer(api)[:-20])
            up.close()
        assert b" 502 " in client.read_until(b"\r\n\r\n")
    assert stored_ids(file) == before


def test_a_turn_that_the_drain_cuts_is_stored_as_failed(by_hand, upstream, tmp_path):
    path = tmp_path / "state.sqlite"
    settings = config(entries(upstream, by_hand), state_storage=sqlite_at(path), drain="100ms")
    ids = []
    with gateway_thread(settings) as own:
        with (
            speaking(own, by_hand, "chat") as one,
            speaking(own, by_hand, "messages") as two,
            speaking(own, by_hand, "responses") as three,
        ):
            own.stop()
            for client, _, id in (one, two, three):
                body = read_chunks(client.read_to_end())
                check_stream(body)
                assert b"event: response.failed" in body
                ids.append(id)
        eventually(own.has_ended, what="the exit")
    with gateway_thread(settings) as own:  # stored turns outlive the gateway
        for id in ids:
            found = stored(own, id).json
            assert (found["status"], text_of(found)) == ("failed", "one t")
            check_unusable(own, id, "failed")


# Turns whose process is killed


@pytest.mark.process
def test_a_killed_process_keeps_answered_turns_and_no_open_ones(by_hand, upstream, tmp_path):
    path, file, port = tmp_path / "state.sqlite", tmp_path / "trigate.yaml", free_port()
    file.write_text(json.dumps(config(entries(upstream, by_hand), port, state_storage=sqlite_at(path))))
    with running_command("serve", str(file)) as process:
        own = Gateway(port, process.process.pid, process.log)
        upstream.script(Script(text="It is 7."))
        answered = final(turn(own, "on-chat", stream=True))
        with speaking(own, by_hand, "chat") as (client, _, id):
            process.process.kill()
            client.read_to_end()
        process.process.wait()
    with running_command("serve", str(file)) as process:
        own = Gateway(port, process.process.pid, process.log)
        assert stored(own, answered["id"]).json == answered
        assert refusal(stored(own, id), 404)
        assert refusal(turn(own, "on-chat", previous_response_id=id))["code"] == NOT_FOUND
        assert process.stop() == 0
    assert stored_ids(path) == {answered["id"], f"{answered['id']}/head"}


# Turns that lose their client


@each_row(("how", "api"), product(["FIN", "RST"], OLDER))
def test_an_abandoned_turn_is_stored_as_cancelled_with_its_text(gateway, by_hand, api, how):
    with speaking(gateway, by_hand, api) as (client, up, id):
        client.reset() if how == "RST" else client.close()
        up.closed_after(time.perf_counter())
        found = wait_for_status(gateway, id, "cancelled")
    assert text_of(found) == "one t"
    assert [item["content"][0]["text"] for item in stored(gateway, id, "/input_items").json["data"]] == ["hi"]
    check_unusable(gateway, id, "cancelled")
    again = stored(gateway, id, "?stream=true")
    assert again.events()[-1][0] == "response.failed"  # the API has no event for ``cancelled``, but a stream must end
    check_stream(again.body)
    behind = stored(gateway, id, f"?stream=true&starting_after={len(again.events()) - 2}")
    assert behind.events() == again.events()[-1:]


def test_an_abandoned_whole_answer_is_not_stored(gateway, by_hand, file):
    before = stored_ids(file)
    with Wire.connect(gateway.port) as client:
        client.send(post("/v1/responses", {"model": "hand-chat", "input": "hi"}, {"x-request-id": "left-whole"}))
        with by_hand.accept() as up:
            up.read_request()
            up.send(whole_answer("chat")[:-20])
            client.close()
            up.closed_after(time.perf_counter())
    eventually(lambda: lines(gateway, "left-whole"))
    assert stored_ids(file) == before


@each_row(("stream", "api"), product((True, False), OLDER))
def test_a_turn_that_finishes_without_its_client_is_stored(gateway, by_hand, file, api, stream):
    before = stored_ids(file)
    with Wire.connect(gateway.port) as client:
        asked = {"model": f"finish-{api}", "input": "hi", "stream": stream}
        client.send(post("/v1/responses", asked))
        with by_hand.accept() as up:
            up.read_request()
            if stream:
                up.send(answer_stream(api).half)
                client.read_until(b"one t")
                client.close()
                up.send(chunks(*answer_stream(api).rest) + END)
            else:
                client.close()
                assert not select.select([up.sock], [], [], 0.1)[0]
                up.send(whole_answer(api))
            (id,) = eventually(
                lambda: {id for id in stored_ids(file) - before if id.startswith("resp_") and "/" not in id}
            )
    found = stored(gateway, id).json
    assert (found["status"], text_of(found)) == ("completed", "one two three")


# Turns that are refused before their first content


@each_row(("how", "api"), product(["refused", "broken off", "left"], OLDER))
def test_a_turn_that_ends_before_its_first_content_is_not_stored(gateway, by_hand, file, api, how):
    before = stored_ids(file)
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
                up.send(stream_opening(api))
                up.close()
                assert b" 502 " in client.read_until(b"\r\n\r\n")
            else:
                up.send(stream_opening(api))
                client.close()
        eventually(lambda: lines(gateway, id))
    assert stored_ids(file) == before
