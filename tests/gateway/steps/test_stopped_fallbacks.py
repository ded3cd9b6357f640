"""Turns that a step of some entries stops after an attempt at another entry has failed."""

import json
from typing import Any

import pytest

from tests.support.gateway_thread import gateway_thread
from tests.support.harness import config, eventually, provider
from tests.support.upstreams import fake_upstream
from tests.support.wire_clients import events_of

STEP = {
    "use": "regex",
    "name": "words",
    "at": ["request"],
    "for": {"entries": ["cloud"]},
    "refusal": {"as": "stop", "message": "Not there."},
    "with": {"patterns": {"word": "falcon-[0-9]+"}},
}


@pytest.fixture
def gateway(tmp_path):
    """Serve a route whose first entry always fails; the step is for its second one."""
    with fake_upstream() as failing, fake_upstream() as cloud:
        entries = [
            provider("openai/local", failing.url + "/v1", ["chat"], name="local"),
            provider("openai/cloud", cloud.url + "/v1", ["chat"], name="cloud"),
        ]
        aliases = {"both": {"targets": ["local", "cloud"], "retries": {"wait": "1ms"}}}
        with gateway_thread(config(entries, steps=[STEP], model_aliases=aliases)) as served:
            yield served
        assert failing.seen
        assert not cloud.seen


def ask(gateway, *, stream: bool, **more: Any) -> list[Any]:
    """Return the states of a turn that the client sees, the last one last."""
    body = {"model": "both", "input": "about falcon-12", "stream": stream, **more}
    reply = gateway.request("POST", "/v1/responses", body)
    assert reply.status == 200, reply.body
    if not stream:
        return [reply.json]
    return [event["response"] for event in events_of("responses", reply.body) if "response" in event]


@pytest.mark.sample(2)
@pytest.mark.parametrize("stream", [False, True])
def test_a_background_turn_is_stored_as_incomplete(gateway, stream):
    """Its client has the id before the step runs."""
    begun = ask(gateway, stream=stream, background=True)[0]

    def stored_turn() -> Any:
        return gateway.request("GET", f"/v1/responses/{begun['id']}").json

    eventually(lambda: stored_turn()["status"] not in ("queued", "in_progress"), what="the end of the turn")
    stored = stored_turn()
    assert (stored["status"], stored["incomplete_details"]["reason"]) == ("incomplete", "content_filter")
    assert "Not there." in json.dumps(stored["output"])


@pytest.mark.sample(2)
@pytest.mark.parametrize("stream", [False, True])
def test_another_turn_is_not_stored_with_the_refused_text(gateway, stream):
    answer = ask(gateway, stream=stream)[-1]
    assert (answer["status"], answer["store"]) == ("incomplete", False)
    assert gateway.request("GET", f"/v1/responses/{answer['id']}").status == 404
