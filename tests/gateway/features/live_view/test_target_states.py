"""The targets in the live view: their states for operators, and their names for clients."""

import json
import re
from typing import Any

import pytest
import trio

from tests.support.in_process import InProcess, gateway

OPERATOR, LIMITED = "the-operators-key-0123456789", "a-limited-key-0123456789"
ENTRY = {"model": "openai/m", "name": "one", "access_key": "the-providers-key-0123456789"}
KEYS = [{"name": "operator", "key": OPERATOR}, {"name": "limited", "key": LIMITED, "models": ["one"]}]


@pytest.mark.parametrize(("key", "expected"), [(OPERATOR, ["one", "all/*"]), (LIMITED, None)])
async def test_the_live_view_shows_target_states_to_operators(key, expected):
    """An unavailable wildcard has one entry in the list, not one for each of its models."""
    entries = [ENTRY, {**ENTRY, "model": "openai/*", "name": "all/*", "access_key": "another-key-0123456789"}]
    content = {"version": "v0.4.0", "model_providers": entries, "client_keys": KEYS, "ui_key": OPERATOR}
    async with gateway(content) as running:
        for name in ("one", "all/x", "all/y"):
            running.fail(name, "quota")
        told = await first_event(running, "/ui/events", key)
        assert (told.get("out") and [one["target"] for one in told["out"]]) == expected


async def first_event(running: InProcess, path: str, key: str) -> Any:
    """Return the data of the first event of a stream."""
    stream = await trio.open_tcp_stream("127.0.0.1", int(running.url.rpartition(":")[2]))
    async with stream:
        head = f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {key}\r\n\r\n"
        await stream.send_all(head.encode())
        data = b""
        while not (found := re.search(rb"event: all\ndata: (.*)\n\n", data)):
            data += await stream.receive_some()
    return json.loads(found[1])


async def test_the_list_of_models_shows_no_target_outside_of_a_clients_wall():
    entries = [
        {"model": f"vllm/m-of-{name}", "name": name, "access_key": "k", "base_url": f"http://{name}.test/v1"}
        for name in ("us", "eu-1")
    ]
    content = {
        "version": "v0.4.0", "model_providers": entries, "model_aliases": {"best": {"targets": ["us", "eu-1"]}},
        "client_keys": [{"name": "ann", "key": LIMITED, "only": ["eu-*"]}],
    }  # fmt: skip
    async with gateway(content) as running:
        found = await running.send("GET", "/ui/models", headers={"authorization": f"Bearer {LIMITED}"})
    assert "best" in [row["name"] for row in found.json()]
    assert "m-of-eu-1" in found.text
    assert "m-of-us" not in found.text
