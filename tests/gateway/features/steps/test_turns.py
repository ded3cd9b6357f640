"""Steps and stored turns: the steps see the whole conversation, and stored turns have their masks
(https://github.com/api7/aisix/issues/1166)."""

import json
import logging
from collections.abc import Mapping
from typing import Any, Final

import pytest

from tests.support.each_row import each_row
from tests.support.harness import eventually, provider
from tests.support.step_gateway import bearer, client_keys, own_steps, placeholder_of, step_gateway
from tests.support.upstreams import Script
from tests.support.wire_clients import events_of

CODE: Final = """
import re
from pathlib import Path
from trigate.steps import Finding

SEEN = Path(__file__).with_name("seen")
WORD = re.compile(r"falcon-\\d+")

async def words(check):
    with SEEN.open("a") as file:
        file.write("|".join(one.text for one in check.passages if check.at == "request") + "\\n")
    return [Finding("word", one, *found.span()) for one in check.passages for found in WORD.finditer(one.text)]

async def codes(check):
    return [Finding("code", p, *found.span()) for p in check.passages for found in re.finditer("code-[0-9]", p.text)]
"""
STEPS: Final[dict[str, dict[str, Any]]] = {
    "mask": {"action": "mask"},
    "refuse": {"action": "refuse"},
    "restore": {"action": "mask", "restore": True},
    "report": {"action": "report"},
    "during": {"action": "refuse", "at": ["during"]},
    "nothing": {"action": "refuse", "at": ["response"], "hold": "nothing"},
}


@pytest.fixture(scope="module")
def gateway(upstream, folder):
    entries = [
        provider("openai/m", upstream.url + "/v1", ["responses", "chat"], name="m"),
        provider("openai/c", upstream.url + "/v1", ["chat"], name="c"),
    ]
    steps = own_steps(STEPS)
    steps.append({"use": "./steps.py:words", "name": "first", "for": {"clients": ["both"]}, **STEPS["restore"]})
    steps.append({"use": "./steps.py:codes", "name": "second", "for": {"clients": ["both"]}, "action": "mask"})
    keys = client_keys((*STEPS, "both"))
    more = {"client_keys": keys, "steps": steps}
    with step_gateway(folder, entries, CODE, **more) as served:
        yield served


def call(
    gateway, client: str, method: str, path: str, body: Any = None, headers: Mapping[str, str] = {}
) -> tuple[int, Any]:
    reply = gateway.request(method, path, body, {**bearer(client), **headers})
    return reply.status, reply.json


def ask(gateway, client: str, text: Any, **more: Any) -> tuple[int, Any]:
    return call(gateway, client, "POST", "/v1/responses", {"model": "m", "input": text, "store": True, **more})


def test_a_stored_turn_has_its_masks_and_the_next_one_shows_all_of_it_to_the_steps(gateway, upstream, folder):
    upstream.script(Script(text="it is falcon-77"), Script(text="fine"))
    status, first = ask(gateway, "mask", "about falcon-12")
    assert status == 200, first
    status, kept = call(gateway, "mask", "GET", f"/v1/responses/{first['id']}")
    assert status == 200
    assert "falcon" not in json.dumps(kept)
    assert "[WORD_" in json.dumps(kept["output"])
    status, items = call(gateway, "mask", "GET", f"/v1/responses/{first['id']}/input_items")
    assert (status, "falcon" in json.dumps(items)) == (200, False)
    (folder / "seen").write_text("")
    status, second = ask(gateway, "mask", "and falcon-13", previous_response_id=first["id"])
    assert status == 200, second
    (seen,) = (line for line in (folder / "seen").read_text().splitlines() if line)
    assert seen.count("[WORD_") == 2
    assert seen.endswith("and falcon-13")
    assert b"falcon" not in upstream.seen[-1].body


def test_the_gateway_stores_a_turn_if_steps_enforce_rules(gateway, upstream):
    """The provider, which could store it, gets ``store: false``."""
    upstream.script(Script(text="fine"), Script(text="fine"))
    assert ask(gateway, "refuse", "hi")[0] == 200
    assert upstream.seen[-1].json["store"] is False
    assert ask(gateway, "report", "hi")[0] == 200
    assert upstream.seen[-1].json.get("store") is not False


def test_a_turn_that_only_the_provider_has_is_refused(gateway, upstream):
    upstream.script(Script(text="fine"))
    status, body = ask(gateway, "refuse", "hi", previous_response_id="resp_of_the_provider")
    assert (status, body["error"]["code"]) == (403, "unchecked_content")
    assert upstream.seen == []


OWN: Final = placeholder_of("restore", "falcon-12")


def test_values_of_an_earlier_turn_return_to_the_client(gateway, upstream):
    """The stored turn has the client's values, so that a later turn can restore them."""
    upstream.script(Script(text="fine"))
    _, first = ask(gateway, "restore", "about falcon-12")
    assert b"falcon" not in upstream.seen[-1].body
    _, items = call(gateway, "restore", "GET", f"/v1/responses/{first['id']}/input_items")
    assert "about falcon-12" in json.dumps(items)
    upstream.script(Script(text=f"you said {OWN}"))
    _, second = ask(gateway, "restore", "what did I say?", previous_response_id=first["id"])
    assert b"falcon" not in upstream.seen[-1].body
    assert "you said falcon-12" in json.dumps(second["output"])
    _, kept = call(gateway, "restore", "GET", f"/v1/responses/{second['id']}")
    assert "you said falcon-12" in json.dumps(kept["output"])


@each_row("stream", [False, True])
@each_row("model", ["m", "c"])
def test_a_response_repeats_its_request_with_the_values_of_the_client(gateway, upstream, model, stream):
    members = {"metadata": {"a": "falcon-12"}, "instructions": "about falcon-13", "stream": stream, "store": True}
    upstream.script(Script(text="fine"))
    reply = gateway.request("POST", "/v1/responses", {"model": model, "input": "hi", **members}, bearer("restore"))
    assert b"falcon" not in upstream.seen[-1].body
    whole = events_of("responses", reply.body)[-1]["response"] if stream else reply.json
    _, kept = call(gateway, "restore", "GET", f"/v1/responses/{whole['id']}")
    for found in (whole, kept):
        assert (found["metadata"], found["instructions"]) == ({"a": "falcon-12"}, "about falcon-13")


def test_arguments_of_a_stored_call_have_the_values_of_the_client(gateway, upstream):
    upstream.script(Script(text="fine"))
    arguments = json.dumps({"note": 'a "falcon-12"\n', "number": 7})
    items = [
        {"type": "function_call", "call_id": "c1", "name": "read", "arguments": arguments},
        {"type": "function_call_output", "call_id": "c1", "output": "done"},
    ]
    _, first = ask(gateway, "restore", items)
    _, kept = call(gateway, "restore", "GET", f"/v1/responses/{first['id']}/input_items")
    (found,) = [item["arguments"] for item in kept["data"] if item["type"] == "function_call"]
    assert json.loads(found) == json.loads(arguments)


def test_signed_reasoning_with_a_placeholder_is_stored(gateway, upstream):
    """Codex sends such reasoning when it resumes a session, and the next turn continues the stored turn."""
    thought = f"They want {OWN}."
    upstream.script(Script(text="fine", thinking=thought, seal="c2VhbA=="), Script(text="fine"), Script(text="fine"))
    more = {"include": ["reasoning.encrypted_content"], "reasoning": {"effort": "low"}}
    _, first = ask(gateway, "restore", "about falcon-12", store=False, **more)
    items = [{"role": "user", "content": "about falcon-12"}, *first["output"], {"role": "user", "content": "go on"}]
    _, second = ask(gateway, "restore", items, **more)
    ask(gateway, "restore", "and now?", previous_response_id=second["id"], **more)
    for seen in upstream.seen[-2:]:
        assert [item["type"] for item in seen.json["input"] if item.get("type") == "reasoning"] == ["reasoning"]
        assert thought in seen.body.decode()


def test_a_value_that_only_the_response_has_stays_masked(gateway, upstream):
    upstream.script(Script(text="it is falcon-77, not falcon-12"))
    _, first = ask(gateway, "restore", "about falcon-12")
    told = json.dumps(first["output"])
    assert "falcon-77" not in told
    assert "not falcon-12" in told


def test_only_values_of_a_restoring_step_return(gateway, upstream):
    word, code = placeholder_of("both", "falcon-12"), placeholder_of("both", "code-7", "code")
    upstream.script(Script(text=f"{word} with {code}"))
    _, first = ask(gateway, "both", "about falcon-12 and code-7")
    assert f"falcon-12 with {code}" in json.dumps(first["output"])
    _, items = call(gateway, "both", "GET", f"/v1/responses/{first['id']}/input_items")
    assert f"about falcon-12 and {code}" in json.dumps(items)


def read_ended_turn(gateway: Any, client: str, id: str) -> Any:
    """Wait for the end of a background turn, and return the stored turn."""

    def read() -> Any:
        _, kept = call(gateway, client, "GET", f"/v1/responses/{id}")
        return kept if kept["status"] not in ("queued", "in_progress") else None

    return eventually(read, what="the end of the turn")


@each_row("client", ["mask", "refuse", "during", "nothing"])
def test_a_background_turn_is_checked_before_it_is_stored(gateway, upstream, client):
    """Concurrent steps also check it: they run after the end of the request that began the turn."""
    upstream.script(Script(text="it is falcon-77, a bird that flies"))
    status, begun = ask(gateway, client, "about falcon-12" if client == "during" else "hi", background=True)
    assert status == 200, begun
    kept = read_ended_turn(gateway, client, begun["id"])
    assert "falcon-77" not in json.dumps(kept)
    if client == "mask":
        assert kept["status"] == "completed"
    else:
        assert (kept["status"], kept["error"]["code"]) == ("failed", "content_filter")


ITEM = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "about falcon-12"}]}


def conversation_ways(gateway, client: str, headers: Mapping[str, str] = {}) -> list[tuple[int, Any]]:
    """Store a word in a conversation in each way."""
    _, made = call(gateway, client, "POST", "/v1/conversations", {}, headers)
    path = f"/v1/conversations/{made['id']}"
    return [
        call(gateway, client, "POST", "/v1/conversations", {"items": [ITEM]}, headers),
        call(gateway, client, "POST", "/v1/conversations", {"metadata": {"note": "falcon-12"}}, headers),
        call(gateway, client, "POST", path, {"metadata": {"note": "falcon-12"}}, headers),
        call(gateway, client, "POST", f"{path}/items", {"items": [ITEM]}, headers),
        call(gateway, client, "GET", f"{path}/items", None, headers),
    ]


@each_row("client", ["mask", "restore", "refuse", "report"])
def test_the_items_of_a_conversation_are_checked_before_they_are_stored(gateway, client):
    *stored, listed = conversation_ways(gateway, client)
    for status, body in stored:
        if client == "refuse":
            assert (status, body["error"]["code"]) == (400, "content_filter")
        else:
            assert status == 200, body
    assert ("falcon-12" in json.dumps([*stored, listed])) is (client in ("restore", "report"))
    assert ("[WORD_" in json.dumps(listed)) is (client == "mask")
    assert len(listed[1]["data"]) == (client != "refuse")


def test_checked_items_of_a_conversation_have_a_line_in_the_log(gateway, caplog):
    """The log and the metrics had an internal error for each, although the client got its conversation."""
    caplog.set_level(logging.INFO, "trigate.exchange")
    ways = conversation_ways(gateway, "mask", {"x-request-id": "checked-items"})
    assert [status for status, _ in ways] == [200] * 5

    def lines() -> list[dict[str, Any]]:
        found = [json.loads(one.getMessage()) for one in caplog.records if one.name == "trigate.exchange"]
        return [line for line in found if line["request_id"] == "checked-items"]

    eventually(lambda: len(lines()) == 5, what="a line for each request with a body")
    assert {(line["ended"], line["status"]) for line in lines()} == {("complete", 200)}
    assert [step["outcome"] for line in lines() for step in line["steps"]].count("masked") == 4


def test_the_values_of_a_conversation_are_restored_for_their_client(gateway, upstream):
    _, made = call(gateway, "restore", "POST", "/v1/conversations", {"items": [ITEM]})
    upstream.script(Script(text="fine"))
    assert ask(gateway, "restore", "and now?", conversation=made["id"])[0] == 200
    assert b"falcon" not in upstream.seen[-1].body
    assert b"[WORD_" in upstream.seen[-1].body
