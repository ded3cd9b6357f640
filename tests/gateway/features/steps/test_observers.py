"""Observers get one record of each exchange, however it ended, with its texts after all masks.

Callbacks never ran on streams: https://github.com/BerriAI/litellm/issues/8628; values reached a log in spite of
masks: https://github.com/BerriAI/litellm/issues/35951."""

import json
from typing import Any, Final

import pytest
import yaml

from tests.support.each_row import each_row
from tests.support.features import needs_feature
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import Wire, eventually, exchanges, free_port, post, provider, refusing_port
from tests.support.observed_steps import APIS, ask, observer, record_of, records_in, settings_for, short_batches
from tests.support.step_gateway import placeholder_of, post_as
from tests.support.upstreams import Raw, Script, render
from tests.support.websocket_client import Client
from tests.support.wire_clients import body_of, path_of, text_of


@pytest.fixture(scope="module")
def gateway(upstream, folder):
    port = free_port()
    steps = [
        {"use": "./steps.py:words", "name": "mask", "action": "mask", "for": {"clients": ["mask"]}},
        {
            "use": "./steps.py:words", "name": "restore", "action": "mask", "at": ["request"], "restore": True,
            "for": {"clients": ["restore"]},
        },
        {"use": "./steps.py:words", "name": "refuse", "action": "refuse", "for": {"clients": ["refuse"]}},
        {
            "use": "./steps.py:words", "name": "during", "action": "refuse", "at": ["during"],
            "for": {"clients": ["during"]},
        },
        {"use": "./steps.py:words", "name": "unsure", "action": "refuse", "for": {"clients": ["unsure"]}},
        {"use": "./steps.py:broken", "name": "unsure-2", "action": "mask", "for": {"clients": ["unsure"]}},
        {
            "use": "./steps.py:words", "name": "stop", "action": "refuse", "for": {"clients": ["stop"]},
            "refusal": {"as": "stop", "message": "Not here."},
        },
        observer("save", **{"with": {"content": True}}),
        observer("facts"),
        observer("save_async", **{"with": {"content": True}, "for": {"clients": ["restore"]}}),
        observer("crash", **{"with": {"content": True}}),
        {"use": "./steps.py:words", "name": "later", "action": "mask", "at": ["finished"]},
        *(
            {
                "use": "./steps.py:broken", "name": f"broken-{name}", "at": ["finished"],
                "for": {"clients": [f"broken-{name}"]}, **more,
            }
            for name, more in (
                ("mask", {"action": "mask"}), ("report", {"action": "report"}),
                ("pass", {"action": "report", "unchecked": "pass"}),
            )
        ),
        observer("masked", **{"with": {"content": True}}),
    ]  # fmt: skip
    with refusing_port() as closed:
        more = [provider("openai/gone", f"http://127.0.0.1:{closed}/v1", ["chat"])]
        file = settings_for(folder, upstream.url, port, steps)
        settings = yaml.safe_load(file.read_text())
        settings["model_providers"] += more
        file.write_text(yaml.safe_dump(settings, sort_keys=False))
        with short_batches(), gateway_thread(file, port) as served:
            yield served


CELLS: Final = [(target, stream) for target in APIS for stream in (False, True)]
apis = pytest.mark.parametrize("api", [*APIS, "gemini", "converse", "interactions"])
each_cell = pytest.mark.parametrize("cells", [CELLS[::3], pytest.param(CELLS, marks=pytest.mark.soak)], ids=len)


@apis
@each_cell
def test_an_observer_gets_the_texts_of_every_api(gateway, upstream, folder, api, cells):
    asked = []
    for target, stream in cells:
        upstream.script(Script(text="it is falcon-77 today"))
        status, request_id, body = ask(gateway, "plain", api, target, "about falcon-12", stream=stream)
        assert status == 200, body
        asked.append(request_id)
    for request_id in asked:
        record = record_of(folder, "save", request_id)
        assert (record["ended"], record["status"], record["client"], record["api"]) == ("complete", 200, "plain", api)
        assert "falcon-12" in json.dumps(json.loads(record["request"]))
        assert text_of(api, record["response"].encode(), stream=False) == "it is falcon-77 today"
        (line,) = exchanges(gateway.log, request_id)
        fields = ("target", "input_tokens", "output_tokens")
        assert [record[name] for name in fields] == [line[name] for name in fields]
        masked = record_of(folder, "masked", request_id)
        assert "falcon" not in masked["request"] + masked["response"]
        assert "[WORD_" in masked["request"]
        assert text_of(api, masked["response"].encode(), stream=False).startswith("it is [WORD_")
        facts = record_of(folder, "facts", request_id)
        assert (facts["request"], facts["response"]) == (None, None)


@each_row("client", ["broken-mask", "broken-report", "broken-pass"])
def test_a_text_that_a_step_could_not_check_is_left_out(gateway, upstream, folder, client):
    """The text may contain values that the step would have found, even if the step only reports them."""
    upstream.script(Script(text="fine"))
    _, request_id, _ = ask(gateway, client, "chat", "chat", "about a secret", stream=False)
    record = record_of(folder, "masked", request_id)
    texts = [record["request"], record["response"]]
    assert all(texts) if client == "broken-pass" else texts == [None, None]


@apis
@pytest.mark.parametrize("client", ["mask", "restore"])
@each_cell
def test_an_observer_gets_no_masked_and_no_restored_value(gateway, upstream, folder, client, api, cells):
    asked, placeholder = [], placeholder_of(client, "falcon-12")
    for target, stream in cells:
        upstream.script(Script(text=f"you said {placeholder} there"))
        _, request_id, body = ask(gateway, client, api, target, "about falcon-12", stream=stream)
        own = "falcon-12" if client == "restore" else placeholder
        assert text_of(api, body, stream=stream) == f"you said {own} there"
        asked.append(request_id)
    for request_id in asked:
        record = record_of(folder, "save_async" if client == "restore" else "save", request_id)
        assert "falcon" not in record["request"] + record["response"]
        assert placeholder in record["request"]
        assert text_of(api, record["response"].encode(), stream=False) == f"you said {placeholder} there"
        assert record["steps"][client] == "masked"


@apis
@each_cell
def test_a_refused_text_is_in_no_record(gateway, upstream, folder, api, cells):
    asked = []
    for target, stream in cells:
        upstream.script(Script(text="fine"))
        status, refused, _ = ask(gateway, "refuse", api, target, "about falcon-12", stream=stream)
        assert status == 400
        upstream.script(Script(text="it is falcon-77"))
        _, stopped, _ = ask(gateway, "stop", api, target, "hi", stream=stream)
        asked.append((refused, stopped))
    for refused, stopped in asked:
        record = record_of(folder, "save", refused)
        assert (record["status"], record["ended"]) == (400, "refused")
        assert "falcon" not in record["request"]
        assert placeholder_of("refuse", "falcon-12") in record["request"]
        assert (record["response"], record["steps"]) == (None, {"refuse": "refused"})
        record = record_of(folder, "save", stopped)
        assert record["ended"] == "refused"
        assert text_of(api, record["response"].encode(), stream=False) == "Not here."


def test_no_number_of_blanks_hides_a_request_from_observers(gateway, upstream, folder):
    """JSON may begin with white space, which clients choose."""
    upstream.script(Script(text="fine"))
    body = b" " * 1000 + json.dumps(body_of("chat", "on-chat", "about falcon-12", stream=False)).encode()
    status, headers, _ = post_as(gateway, "plain", path_of("chat", "on-chat", stream=False), body)
    assert status == 200
    assert "falcon-12" in record_of(folder, "save", headers["x-request-id"])["request"]


def test_an_upstream_error_and_a_bad_request_have_a_record(gateway, folder):
    status, request_id, _ = ask(gateway, "plain", "chat", "gone", "hi", stream=False)
    record = record_of(folder, "facts", request_id)
    assert (record["status"], record["ended"], record["error"]) == (status, "upstream_error", "upstream")
    status, request_id, _ = ask(gateway, "plain", "chat", "unknown-model", "hi", stream=True)
    record = record_of(folder, "facts", request_id)
    assert (record["status"], record["ended"], record["target"]) == (status, "refused", None)


def test_a_client_that_leaves_has_a_record_with_the_text_so_far(gateway, upstream, folder):
    whole = render(Script(text="one two three four"), "chat", {"model": "on-chat", "stream": True})
    upstream.script(Raw(200, whole.headers, whole.pieces[:3], "hang"))
    body = {"model": "on-chat", "stream": True, "messages": [{"role": "user", "content": "leaving"}]}
    before = len(exchanges(gateway.log))
    with Wire.connect(gateway.port) as wire:
        wire.send(post("/v1/chat/completions", body, {"authorization": "Bearer key-of-plain-0123456789"}))
        wire.read_until(b"one")
    line = eventually(lambda: exchanges(gateway.log)[before:])[0]
    record = record_of(folder, "save", line["request_id"])
    assert (record["ended"], line["ended"]) == ("client_disconnected", "client_disconnected")
    assert text_of("chat", record["response"].encode(), stream=False).startswith("one")


@needs_feature("responses_websocket")
def test_each_turn_of_a_websocket_has_a_record(gateway, upstream, folder):
    upstream.script(Script(text="first"), Script(text="second"))
    before = len(exchanges(gateway.log))
    with Client.connect(gateway.port, {"authorization": "Bearer key-of-plain-0123456789"}) as client:
        client.ask("on-responses", "one")
        client.ask("on-responses", "two")
    lines = eventually(lambda: len(found := exchanges(gateway.log)[before:]) >= 2 and found)
    records = [record_of(folder, "save", one["request_id"]) for one in lines if one["status"] == 200]
    texts = [text_of("responses", one["response"].encode(), stream=False) for one in records if one["response"]]
    assert texts == ["first", "second"]
    assert [json.loads(one["request"])["input"] for one in records if one["response"]] == ["one", "two"]


def test_a_background_turn_has_one_record_with_its_answer(gateway, upstream, folder):
    upstream.script(Script(text="it is done"))
    reply = gateway.request(
        "POST", "/v1/responses", {"model": "on-chat", "input": "later", "background": True},
        {"authorization": "Bearer key-of-plain-0123456789"},
    )  # fmt: skip
    assert reply.status == 200, reply.body
    request_id = dict(reply.headers)["x-request-id"]
    record = record_of(folder, "save", request_id)
    assert record["ended"] == "complete"
    assert text_of("responses", record["response"].encode(), stream=False) == "it is done"


@needs_feature("other_endpoints")
def test_other_endpoints_have_records_with_their_json(gateway, upstream, folder):
    answer: dict[str, Any] = {
        "object": "list", "model": "m", "usage": {"prompt_tokens": 3, "total_tokens": 3},
        "data": [{"object": "embedding", "index": 0, "embedding": [0.5]}],
    }  # fmt: skip
    upstream.script(Raw(200, (("content-type", "application/json"),), (json.dumps(answer).encode(),)))
    body = {"model": "on-chat", "input": "the text falcon-12"}
    reply = gateway.request("POST", "/v1/embeddings", body, {"authorization": "Bearer key-of-plain-0123456789"})
    assert reply.status == 200, reply.body
    record = record_of(folder, "save", dict(reply.headers)["x-request-id"])
    assert (record["endpoint"], record["ended"], record["input_tokens"]) == ("embeddings", "complete", 3)
    assert json.loads(record["request"])["input"] == "the text falcon-12"
    assert json.loads(record["response"])["data"][0]["embedding"] == [0.5]
    masked = record_of(folder, "masked", record["request_id"])
    assert "falcon" not in masked["request"]


@needs_feature("other_endpoints")
@pytest.mark.parametrize("client", ["refuse", "during", "unsure"])
@pytest.mark.parametrize("api", ["chat", "embeddings"])
def test_a_refused_request_has_masks_at_every_moment_and_endpoint(gateway, upstream, folder, client, api):
    """The request is in no record if one of its steps cannot check it."""
    upstream.script(Script(text="fine"))
    auth = {"authorization": f"Bearer key-of-{client}-0123456789"}
    body = {"model": "on-chat", "input": "falcon-12", "messages": [{"role": "user", "content": "falcon-12"}]}
    reply = gateway.request("POST", "/v1/embeddings" if api == "embeddings" else "/v1/chat/completions", body, auth)
    assert reply.status == 400
    record = record_of(folder, "save", dict(reply.headers)["x-request-id"])
    if client == "unsure":
        assert record["request"] is None
    else:
        assert "falcon" not in record["request"]
        assert placeholder_of(client, "falcon-12") in record["request"]


@needs_feature("other_endpoints")
@pytest.mark.parametrize("stream", [False, True])
def test_a_restored_value_of_another_endpoint_is_in_no_record(gateway, upstream, folder, stream):
    auth = {"authorization": "Bearer key-of-restore-0123456789"}
    body = {"model": "on-chat", "prompt": "about falcon-12", "stream": stream}

    def completion(text: str) -> Raw:
        answer = {"id": "c", "object": "text_completion", "created": 1, "model": "m", "choices": [
            {"index": 0, "text": text, "finish_reason": "stop", "logprobs": None}]}  # fmt: skip
        kind, data = "application/json", json.dumps(answer).encode()
        if stream:
            kind, data = "text/event-stream", b"data: " + data + b"\n\ndata: [DONE]\n\n"
        return Raw(200, (("content-type", kind),), (data,))

    placeholder = placeholder_of("restore", "falcon-12")
    upstream.script(completion(f"you said {placeholder}"))
    reply = gateway.request("POST", "/v1/completions", body, auth)
    assert b"you said falcon-12" in reply.body
    record = record_of(folder, "save", dict(reply.headers)["x-request-id"])
    assert placeholder in record["request"]
    assert f"you said {placeholder}" in record["response"]
    assert "falcon" not in record["request"] + record["response"]


def test_each_exchange_has_one_record_and_a_crash_reaches_no_request(gateway, folder):
    lines = {one["request_id"] for one in exchanges(gateway.log)}
    eventually(lambda: len(records_in(folder, "facts")) >= len(lines))
    seen = [one["request_id"] for one in records_in(folder, "facts")]
    assert sorted(seen) == sorted(lines)
    eventually(lambda: len(records_in(folder, "crash")) >= len(lines))
    crashes = [line for line in gateway.log if "the observer crash failed" in line]
    assert len(crashes) == 1
    assert "ValueError (steps.py, line" in crashes[0]
    assert "falcon" not in "\n".join(gateway.log)
