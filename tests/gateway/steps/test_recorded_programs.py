"""Conversations of real programs, such as Claude Code and Codex, through ten turns with masks in both directions."""

import copy
import http.client
import json
import re
from typing import Any, Final

import pytest
import yaml

from tests.support.cached_prompts import HISTORY
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import PATIENCE, config, free_port, provider
from tests.support.recorded_turns import conversations, program_names, ten_turns
from tests.support.upstreams import Script
from tests.support.wire_clients import text_of

APIS: Final = {"chat": "openai", "messages": "anthropic", "responses": "openai"}
PATHS: Final = {"chat": "/v1/chat/completions", "messages": "/v1/messages", "responses": "/v1/responses"}
OWN: Final = "anna.schmidt@example.com"
MASK: Final = re.compile(r"\[EMAIL_[0-9a-f]{10,}\]")


@pytest.fixture(scope="module")
def gateway(upstream, tmp_path_factory):
    port, file = free_port(), tmp_path_factory.mktemp("steps") / "trigate.yaml"
    entries = [provider(f"{vendor}/on-{api}", upstream.url + "/v1", [api]) for api, vendor in APIS.items()]
    pii = {
        "use": "pii",
        "at": ["request", "response"],
        "action": "mask",
        "restore": True,
        "with": {"labels": ["email"]},
    }
    more = {"steps": [pii], "signing_key": "c2lnbmluZy1rZXktZm9yLXRlc3RzLTAxMjM0NTY3ODk="}
    file.write_text(yaml.safe_dump(config(entries, port, **more), sort_keys=False))
    with gateway_thread(file, port) as served:
        yield served


def ask(gateway, api: str, body: Any) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=PATIENCE)
    connection.request("POST", PATHS[api], json.dumps(body), {"content-type": "application/json"})
    response = connection.getresponse()
    data = response.read()
    connection.close()
    return response.status, data


def with_address(api: str, turn: dict[str, Any]) -> dict[str, Any]:
    """Return ``turn`` with an address of its user at the start of the conversation."""
    found = copy.deepcopy({**turn, "model": f"on-{api}", "stream": True})
    if api == "responses":
        found["store"] = False
    found[HISTORY[api]].insert(0, {"role": "user", "content": f"I am {OWN}."})
    return found


@pytest.mark.parametrize("program", program_names())
def test_each_of_ten_turns_has_the_same_mask_and_returns_the_value(gateway, upstream, program):
    asked = conversations()[program]
    api, mask = asked.api, ""
    for turn in ten_turns(api, asked.body):
        upstream.script(Script(text=f"Done, {mask}."))
        body = with_address(api, turn)
        status, raw = ask(gateway, api, body)
        if '"item_reference"' in json.dumps(body):  # only the provider has the item
            assert (status, json.loads(raw)["error"]["code"]) == (403, "unchecked_content")
            return
        assert status == 200, raw
        (sent,) = upstream.seen
        assert OWN.encode() not in sent.body
        items = json.dumps(sent.json[HISTORY[api]])
        assert json.loads(MASK.sub(OWN, items)) == body[HISTORY[api]]
        (found,) = set(MASK.findall(items))
        assert found == (mask or found)
        assert text_of(api, raw, stream=True) == f"Done, {OWN if mask else ''}."
        mask = found
