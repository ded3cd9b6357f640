"""Conversations of real programs, such as Claude Code and Codex, through ten turns with masks in both directions."""

import copy
import json
import re
from typing import Any, Final

import pytest

from tests.support.recorded_turns import HISTORY, conversations, program_names, ten_turns
from tests.support.step_gateway import step_gateway
from tests.support.step_providers import entries_of
from tests.support.upstreams import Script
from tests.support.wire_clients import path_of, text_of

OWN: Final = "anna.schmidt@example.com"
MASK: Final = re.compile(r"\[EMAIL_[0-9a-f]{10,}\]")


@pytest.fixture(scope="module")
def gateway(upstream, tmp_path_factory):
    entries = entries_of(upstream.url, ("chat", "messages", "responses"))
    pii = {"use": "pii", "at": ["request", "response"], "action": "mask", "with": {"labels": ["email"]}}
    with step_gateway(tmp_path_factory.mktemp("steps"), entries, steps=[{**pii, "restore": True}]) as served:
        yield served


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
        reply = gateway.request("POST", path_of(api, body["model"], stream=True), body)
        status, raw = reply.status, reply.body
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
