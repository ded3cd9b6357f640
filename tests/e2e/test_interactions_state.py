"""Interactions that trigate stores, before providers of every older API: later turns, streams again, background turns,
cancellation, deletion and keys (Google's page "Interactions API")."""

import json
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import attrs
import pytest
from openai.types.responses import ResponseItem
from pydantic import TypeAdapter

from tests.support.apis import OLDER
from tests.support.each_row import each_row
from tests.support.gateway_thread import gateway_thread, serve_module
from tests.support.harness import Gateway, Wire, eventually, post
from tests.support.interactions_api import (
    PATH,
    cancel_interaction,
    credentials,
    delete_interaction,
    error_of,
    frames,
    get_interaction,
    interact,
    interaction_in,
    output_text,
    wait_for_end,
)
from tests.support.raw_call import line, new_id
from tests.support.responses_api import both_ways, stored, turn
from tests.support.sdk_conversation import conversation_in, settings
from tests.support.upstreams import STREAM, Raw, Script, ToolCall, render

ALICE, BOB = "sk-gw-alice-0123456789", "sk-gw-bob-0123456789"
KEYS = [{"name": "alice", "key": ALICE}, {"name": "bob", "key": BOB}]
CALL = ToolCall("call_1", "get_weather", '{"city": "Rome"}')


gateway = serve_module(settings)


def ask(gateway: Gateway, api: str, input, stream: bool = False, **more):
    """Make a turn, streamed or whole, and return the interaction that is stored."""
    reply = interact(gateway, f"on-{api}", input, stream=stream, **more)
    if not stream:
        return interaction_in(reply)
    events = reply.events()
    assert [name for name, _ in events][-2:] == ["interaction.completed", "done"], reply.body
    created, last = events[0][1]["interaction"], events[-2][1]["interaction"]
    assert created["id"] == last["id"]
    return interaction_in(get_interaction(gateway, last["id"]))


# Later turns


@each_row(("stream", "api"), product((True, False), OLDER))
def test_a_stored_interaction_continues(gateway, upstream, api, stream):
    upstream.script(Script(text="A"), Script(text="B"))
    first = ask(gateway, api, "a", stream)
    assert "tg1." in first["id"]
    second = ask(gateway, api, [{"type": "text", "text": "b"}], stream, previous_interaction_id=first["id"])
    assert second["previous_interaction_id"] == first["id"]
    assert conversation_in(upstream.seen[1]) == [("user", "a"), ("text", "A"), ("user", "b")]
    assert output_text(second) == "B"


@each_row("api", OLDER)
def test_a_call_and_its_result_are_two_turns(gateway, upstream, api):
    upstream.script(Script(calls=(CALL,), stop="tool_calls"), Script(text="Sunny"))
    tool = {"type": "function", "name": "get_weather", "parameters": {"type": "object"}}
    first = ask(gateway, api, "Weather?", tools=[tool])
    assert first["status"] == "requires_action"
    call = first["steps"][-1]
    result = {"type": "function_result", "call_id": call["id"], "name": call["name"], "result": {"sky": "blue"}}
    ask(gateway, api, [result], previous_interaction_id=first["id"], tools=[tool])
    lines = conversation_in(upstream.seen[1])
    assert [line[0] for line in lines] == ["user", "call", "result"]


@both_ways
@pytest.mark.parametrize("api", [*OLDER, "interactions"])
def test_providers_are_requested_not_to_store(gateway, upstream, api, stream):
    """The gateway stores the turn itself."""
    upstream.script(Script(text="A"))
    ask(gateway, "responses", "a", stream, store=True)
    assert upstream.seen[0].json["store"] is False


@each_row("stream", (True, False))
def test_a_turn_continues_through_the_other_api(gateway, upstream, stream):
    """In both directions, and back (maximhq/bifrost#1269)."""
    upstream.script(Script(text="A"), Script(text="B"), Script(text="C"), Script(text="D"))
    first = ask(gateway, "chat", "a", stream)
    second = turn(gateway, "on-messages", "b", previous_response_id=first["id"]).json
    third = ask(gateway, "responses", "c", stream, previous_interaction_id=second["id"])
    turn(gateway, "on-chat", "d", previous_response_id=third["id"])
    assert conversation_in(upstream.seen[3]) == [
        ("user", "a"), ("text", "A"), ("user", "b"), ("text", "B"), ("user", "c"), ("text", "C"), ("user", "d"),
    ]  # fmt: skip
    for reply in (stored(gateway, first["id"]), stored(gateway, f"{first['id']}?stream=true")):
        assert reply.status == 404
    error_of(get_interaction(gateway, second["id"]), 404)
    error_of(delete_interaction(gateway, second["id"]), 404)
    assert interaction_in(get_interaction(gateway, third["id"]))["previous_interaction_id"] == second["id"]


def test_a_call_is_answered_through_the_other_api(gateway, upstream):
    upstream.script(Script(calls=(CALL,), stop="tool_calls"), Script(text="Sunny"))
    first = ask(gateway, "chat", "Weather?", tools=[{"type": "function", "name": "get_weather"}])
    output = {"type": "function_call_output", "call_id": first["steps"][-1]["id"], "output": "blue"}
    assert turn(gateway, "on-messages", [output], previous_response_id=first["id"]).status == 200
    assert [line[0] for line in conversation_in(upstream.seen[1])] == ["user", "call", "result"]


@each_row("stream", (True, False))
def test_the_input_items_of_a_response_list_earlier_interactions(gateway, upstream, stream):
    """With stable ids, so that a client can read the list page by page."""
    call = [Script(text="I look.", thinking="Where?", calls=(CALL,), stop="tool_calls"), Script(text="Sunny")]
    upstream.script(*call, Script(text="C"))
    thoughts = {"generation_config": {"thinking_summaries": "auto"}}
    first = ask(
        gateway, "messages", "Weather?", stream, tools=[{"type": "function", "name": "get_weather"}], **thoughts
    )
    result = {"type": "function_result", "call_id": CALL.id, "name": CALL.name, "result": "blue"}
    second = ask(gateway, "messages", [result], stream, previous_interaction_id=first["id"])
    third = turn(gateway, "on-chat", "Thanks.", previous_response_id=second["id"]).json
    listed = stored(gateway, third["id"], "/input_items?order=asc").json
    items = listed["data"]
    assert [item["type"] for item in items] == [
        "message", "reasoning", "message", "function_call", "function_call_output", "message", "message",
    ]  # fmt: skip
    assert (items[1]["summary"], items[1].get("encrypted_content")) == (
        [{"type": "summary_text", "text": "Where?"}], None,
    )  # fmt: skip
    texts = [(item["role"], item["content"][0]["text"]) for item in items if item["type"] == "message"]
    assert texts == [("user", "Weather?"), ("assistant", "I look."), ("assistant", "Sunny"), ("user", "Thanks.")]
    assert (items[3]["call_id"], items[3]["name"], json.loads(items[3]["arguments"])) == (
        CALL.id, CALL.name, {"city": "Rome"},
    )  # fmt: skip
    assert (items[4]["call_id"], items[4]["output"]) == (CALL.id, "blue")
    ids = [item["id"] for item in items]
    assert len(set(ids)) == len(ids)
    page = stored(gateway, third["id"], f"/input_items?order=asc&limit=3&after={ids[2]}").json
    assert [item["id"] for item in page["data"]] == ids[3:6]
    for item in items:
        TypeAdapter(ResponseItem).validate_python(item, strict=False)


def test_the_input_is_returned_on_request(gateway, upstream):
    upstream.script(Script(text="A"))
    first = ask(gateway, "chat", "a")
    alone, whole = (
        interaction_in(get_interaction(gateway, first["id"])),
        interaction_in(get_interaction(gateway, first["id"], "?include_input=true")),
    )
    assert alone == first
    asked = {"type": "user_input", "content": [{"type": "text", "text": "a"}]}
    assert whole == {**first, "steps": [asked, *first["steps"]]}


# Storage options


def test_an_unstored_interaction_cannot_be_reached(gateway, upstream):
    upstream.script(Script(text="A"), Script(text="B"))
    first = ask(gateway, "chat", "a")
    reply = interact(gateway, "on-chat", "b", previous_interaction_id=first["id"], store=False)
    second = interaction_in(reply)
    assert conversation_in(upstream.seen[1])[-1] == ("user", "b")
    error_of(get_interaction(gateway, second["id"]), 404)
    error = error_of(interact(gateway, "on-chat", "c", previous_interaction_id=second["id"]), 400)
    assert second["id"] in error["message"]
    assert len(upstream.seen) == 2


@pytest.mark.parametrize(
    "more",
    [
        {"previous_interaction_id": 1}, {"store": "no"}, {"background": "x"}, {"background": True, "store": False},
        {"previous_interaction_id": "v1_unknown"},
    ],
)  # fmt: skip
def test_wrong_options_are_refused(gateway, upstream, more):
    upstream.script()
    error_of(interact(gateway, "on-chat", "a", **more), 400)
    assert upstream.seen == []


# Streams again


@each_row(("api", "background"), product(OLDER, (False, True)))
def test_a_stream_resumes_after_each_of_its_events(gateway, upstream, api, background):
    upstream.script(Script(text="one two three", thinking="Easy."))
    if background:
        id = interaction_in(interact(gateway, f"on-{api}", "Count.", background=True, stream=False))["id"]
        assert output_text(wait_for_end(gateway, id)) == "one two three"
        sent = frames(get_interaction(gateway, id, "?stream=true"))
    else:
        sent = frames(interact(gateway, f"on-{api}", "Count.", stream=True))
        id = json.loads(sent[0].partition(b"data: ")[2])["interaction"]["id"]
        assert b"".join(frames(get_interaction(gateway, id, "?stream=true"))) == b"".join(sent)
    for i, event in enumerate(sent[:-1], 1):
        last = json.loads(event.partition(b"data: ")[2])["event_id"]
        rest = frames(get_interaction(gateway, id, f"?stream=true&last_event_id={last}"))
        assert sent[:i] + rest == sent
    assert "event" in error_of(get_interaction(gateway, id, "?stream=true&last_event_id=none"), 400)["message"]
    error_of(get_interaction(gateway, id, "?last_event_id=1"), 400)


@each_row("api", OLDER)
def test_a_whole_answer_can_be_streamed_later(gateway, upstream, api):
    upstream.script(Script(text="one two", thinking="Easy.", calls=(CALL,), stop="tool_calls"))
    done = ask(gateway, api, "Count.", generation_config={"thinking_summaries": "auto"})
    events = get_interaction(gateway, done["id"], "?stream=true").events()
    assert [name for name, _ in events][:2] == ["interaction.created", "interaction.status_update"]
    assert events[-2][1]["interaction"] == {name: value for name, value in done.items() if name != "steps"}
    texts = [event["delta"]["text"] for name, event in events if name == "step.delta" and "text" in event["delta"]]
    assert "".join(texts) == "one two"
    assert [event["event_id"] for _, event in events[:-1]] == [str(i) for i in range(1, len(events))]


# Calls that no program must run


BROKEN = Script(text="Hi", calls=(ToolCall("call_1", "get_weather", '{"city":'),), stop="tool_calls")


@each_row(("api", "form"), product(["chat", "responses"], ["stream", "whole", "background"]))
def test_a_turn_with_broken_arguments_is_stored_as_failed(gateway, upstream, api, form):
    upstream.script(BROKEN, BROKEN)
    reply = interact(gateway, f"on-{api}", "Weather?", stream=form == "stream", background=form == "background")
    if form == "whole":
        assert "get_weather" in error_of(reply, 502)["message"]
        return
    if form == "stream":
        events = reply.events()
        assert (events[-1][0], "get_weather" in events[-1][1]["error"]["message"]) == ("error", True)
        found = interaction_in(get_interaction(gateway, events[0][1]["interaction"]["id"]))
    else:
        found = wait_for_end(gateway, interaction_in(reply)["id"])
    assert (found["status"], "get_weather" in found["errors"][0]["message"]) == ("failed", True)
    assert [step["type"] for step in found["steps"]] in (["model_output"], [])


# Background turns


@each_row("api", OLDER)
def test_a_background_interaction_continues_without_its_client(gateway, upstream, api):
    upstream.script(Script(text="one two three"), Script(text="four"))
    begun = interaction_in(interact(gateway, f"on-{api}", "Count.", background=True))
    assert (begun["status"], begun["steps"]) == ("queued", [])
    assert output_text(wait_for_end(gateway, begun["id"])) == "one two three"
    ask(gateway, api, "Go on.", previous_interaction_id=begun["id"])
    assert conversation_in(upstream.seen[1]) == [("user", "Count."), ("text", "one two three"), ("user", "Go on.")]


def hanging(api: str) -> Raw:
    """Return an answer that stops after a part of its text."""
    pieces = render(Script(text="one two three"), api, {"stream": True, "model": "up"}).pieces
    text = next(i for i, piece in enumerate(pieces) if b"one" in piece)
    return Raw(200, STREAM, pieces[: text + 1], "hang")


@each_row(("end", "api"), product(["cancelled", "failed"], OLDER))
def test_a_turn_that_ends_early_keeps_its_text_and_is_billed(gateway, upstream, api, end):
    """Its client cancels it, or its provider dies."""
    upstream.script(attrs.evolve(hanging(api), end="hang" if end == "cancelled" else "cut"))
    asked, request_id = {"model": f"on-{api}", "input": "Count.", "background": True, "stream": True}, new_id()
    with Wire.connect(gateway.port) as client:
        client.send(post(PATH, asked, {"x-request-id": request_id}))
        begun = client.read_until(b"one")
        id = begun.partition(b'"id":"')[2].partition(b'"')[0].decode()
        if end == "cancelled":
            stopped = interaction_in(cancel_interaction(gateway, id))
            assert interaction_in(cancel_interaction(gateway, id)) == stopped
    found = wait_for_end(gateway, id)
    assert (found["status"], "one" in output_text(found), "errors" in found) == (end, True, end == "failed")
    events = get_interaction(gateway, id, "?stream=true").events()
    assert [name for name, _ in events].count("error") == (end == "failed")
    assert end == "failed" or events[-2][1]["interaction"]["status"] == "cancelled"
    assert end in error_of(interact(gateway, f"on-{api}", "x", previous_interaction_id=id), 400)["message"]
    logged = line(gateway, request_id)
    assert logged["ended"] == ("client_disconnected" if end == "cancelled" else "upstream_error")
    assert (logged["usage_estimated"], logged["input_tokens"] > 0, logged["output_tokens"] > 0) == (True, True, True)


@each_row("api", OLDER)
def test_a_running_turn_can_be_followed_from_any_event(gateway, upstream, api):
    """Two readers of a running turn, one after its second event, until it is cancelled."""
    upstream.script(hanging(api))
    begun = interact(gateway, f"on-{api}", "Count.", background=True)
    id = interaction_in(begun)["id"]
    with ThreadPoolExecutor(2) as threads:
        whole = threads.submit(get_interaction, gateway, id, "?stream=true")
        rest = threads.submit(
            eventually,
            lambda: (one := get_interaction(gateway, id, "?stream=true&last_event_id=2")).status == 200 and one,
        )
        eventually(lambda: upstream.seen, 10, "the provider's request")
        eventually(
            lambda: get_interaction(gateway, id, "?stream=true&last_event_id=99").status == 400, 10, "its events"
        )
        assert interaction_in(cancel_interaction(gateway, id))["status"] == "cancelled"
        events = frames(whole.result())
        assert events[:2] + frames(rest.result()) == events
    assert frames(get_interaction(gateway, id, "?stream=true")) == events


def test_a_finished_interaction_cannot_be_cancelled_and_a_deleted_one_is_unknown(gateway, upstream):
    upstream.script(Script(text="A"))
    id = ask(gateway, "chat", "a")["id"]
    error_of(cancel_interaction(gateway, id), 400)
    reply = delete_interaction(gateway, id)
    assert (reply.status, reply.json) == (200, {})
    for call in (delete_interaction, get_interaction, cancel_interaction):
        error_of(call(gateway, id), 404)
    error_of(interact(gateway, "on-chat", "b", previous_interaction_id=id), 400)


def test_deleting_a_running_interaction_ends_it(gateway, upstream):
    upstream.script(hanging("chat"))
    begun = interaction_in(interact(gateway, "on-chat", "Count.", background=True))
    eventually(lambda: upstream.seen, 10, "the provider's request")
    assert delete_interaction(gateway, begun["id"]).status == 200
    error_of(get_interaction(gateway, begun["id"]), 404)


# Ids and keys


@each_row(
    ("call", "id"),
    product(
        [get_interaction, delete_interaction, cancel_interaction],
        ["v1_tg1.", "v1_tg1.xyz", "resp_tg1.0123", "v1_tg1.0123456789abcdef01234567x"],
    ),
)
def test_a_malformed_id_is_refused(gateway, call, id):
    assert id in error_of(call(gateway, id), 400)["message"]


@each_row("id", ["v1_0123456789abcdef01234567", "x", "v1_tg1.0123456789abcdef01234567"])
@each_row("call", [get_interaction, delete_interaction, cancel_interaction])
def test_an_unknown_id_is_not_found(gateway, call, id):
    assert error_of(call(gateway, id), 404)["code"] == "not_found"


def test_a_key_cannot_reach_another_keys_interaction(upstream):
    upstream.script(Script(text="A"))
    with gateway_thread(settings(upstream, client_keys=KEYS)) as gateway:
        first = interaction_in(interact(gateway, "on-chat", "a", ALICE))
        for call in (get_interaction, delete_interaction, cancel_interaction):
            error_of(call(gateway, first["id"], key=BOB), 404)
        error_of(get_interaction(gateway, first["id"], "?stream=true", key=BOB), 404)
        error_of(interact(gateway, "on-chat", "b", BOB, previous_interaction_id=first["id"]), 400)
        error_of(get_interaction(gateway, first["id"]), 401)
        assert interaction_in(get_interaction(gateway, first["id"], key=ALICE)) == first
        assert turn(gateway, "on-chat", "b", BOB, previous_response_id=first["id"]).status == 400
        bearer = {"authorization": f"Bearer {ALICE}"}
        assert gateway.request("GET", f"{PATH}/{first['id']}", headers=bearer).json == first
        assert len(upstream.seen) == 1
        assert credentials(None) == {}
