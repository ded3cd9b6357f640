"""The states of targets that operators see: ``/readyz?verbose``, the metrics, the live view."""

import json
import re
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
import trio

from tests.support import in_process
from tests.support.in_process import InProcess

OPERATOR, LIMITED = "the-operators-key-0123456789", "a-limited-key-0123456789"
PROVIDER_KEY = "the-providers-key-0123456789"
ONE = {"model": "openai/m", "name": "one", "access_key": PROVIDER_KEY}
TWO = {"model": "mistral/m", "name": "two", "access_key": PROVIDER_KEY}
KEYS = [{"name": "operator", "key": OPERATOR}, {"name": "limited", "key": LIMITED, "models": ["one"]}]


def gateway(**more: Any) -> AbstractAsyncContextManager[InProcess]:
    return in_process.gateway({"version": "v0.4.0", "model_providers": [ONE, TWO], **more})


async def test_readyz_lists_the_state_reason_and_end_for_each_target():
    """Nobody could see which deployment was out, and for how long (Continuum-AI-Corp/OrcaRouter-Lite#121)."""
    async with gateway() as running:
        running.fail("one", "rate_limited", 60.0)
        answer = await running.get("/readyz?verbose")
        assert answer.status_code == 200
        out, well = answer.json()["targets"]
        assert well == {"target": "two", "state": "in", "open": 0}
        assert 59 < out.pop("seconds") <= 60
        assert out.pop("until").endswith("Z")
        assert out == {"target": "one", "state": "out", "reason": "rate_limited", "open": 0}
        assert (await running.get("/readyz")).json() == {"status": "ready"}
        assert PROVIDER_KEY not in answer.text


async def test_readyz_says_it_also_while_the_process_drains():
    async with gateway() as running:
        running.service.lifecycle.draining = True
        answer = await running.get("/readyz?verbose")
        assert (answer.status_code, answer.json()["status"], len(answer.json()["targets"])) == (503, "draining", 2)


async def test_the_metrics_have_each_entry_and_how_often_it_was_out():
    async with gateway() as running:
        running.fail("one", "quota")
        page = (await running.get("/metrics")).text.splitlines()
        assert 'trigate_targets_out{entry="one"} 1.0' in page
        assert 'trigate_targets_out{entry="two"} 0.0' in page
        assert 'trigate_target_outages_total{entry="one",reason="quota"} 1.0' in page


@pytest.mark.parametrize(("key", "expected"), [(OPERATOR, ["one"]), (LIMITED, None)])
async def test_the_live_view_shows_target_states_to_operators(key, expected):
    async with gateway(client_keys=KEYS, ui_key=OPERATOR) as running:
        running.fail("one", "quota")
        told = await first_event(running, "/ui/events", key)
        assert (told.get("out") and [one["target"] for one in told["out"]]) == expected


async def first_event(running: InProcess, path: str, key: str) -> Any:
    """The data of the first event of a stream."""
    stream = await trio.open_tcp_stream("127.0.0.1", int(running.url.rpartition(":")[2]))
    async with stream:
        head = f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {key}\r\n\r\n"
        await stream.send_all(head.encode())
        data = b""
        while not (found := re.search(rb"event: all\ndata: (.*)\n\n", data)):
            data += await stream.receive_some()
    return json.loads(found[1])
