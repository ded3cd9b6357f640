"""A slow step delays its own streams only: https://github.com/agentgateway/agentgateway/issues/3603"""

from concurrent.futures import ThreadPoolExecutor
from typing import Final

import pytest

from tests.support.harness import PATIENCE, eventually, provider, request
from tests.support.step_gateway import bearer, client_keys, step_gateway
from tests.support.upstreams import Script, fake_upstream
from tests.support.wire_clients import body_of, path_of, text_of

CODE: Final = """
import time
from pathlib import Path
import trio

CALLS, RELEASED = Path(__file__).with_name("calls"), Path(__file__).with_name("released")

def note():
    with CALLS.open("a") as file:
        file.write("x")

async def waiting(check):
    note()
    while not RELEASED.exists():
        await trio.sleep(0.05)
    return []

def blocking(check):
    note()
    while not RELEASED.exists():
        time.sleep(0.05)
    return []
"""
STREAMS: Final = 50


@pytest.mark.parametrize("hold", ["whole", pytest.param(5, marks=pytest.mark.soak)])
def test_fifty_streams_that_wait_for_a_step_delay_no_other_stream(tmp_path, hold):
    calls = tmp_path / "calls"
    names = ("waiting", "blocking")
    steps = [
        {"use": f"./steps.py:{name}", "for": {"clients": [name]}, "at": ["response"], "hold": hold, "deadline": "60s"}
        for name in names
    ]
    keys = client_keys((*names, "other"))
    with fake_upstream() as upstream:
        entry = provider("openai/on-chat", upstream.url + "/v1", ["chat"])
        upstream.script(*[Script(text="all is well")] * (STREAMS + 5))
        serving = step_gateway(tmp_path, [entry], CODE, client_keys=keys, steps=steps)
        with serving as gateway, ThreadPoolExecutor(STREAMS) as pool:

            def ask(client: str) -> str:
                body, path = body_of("chat", "on-chat", "hi", stream=True), path_of("chat", "on-chat", stream=True)
                reply = request(gateway.url, "POST", path, body, bearer(client), 4 * PATIENCE)
                return text_of("chat", reply.body, stream=True)

            slow = [pool.submit(ask, names[at % 2]) for at in range(STREAMS)]
            try:
                eventually(lambda: calls.exists() and len(calls.read_text()) == STREAMS, what="a call for each stream")
                assert [ask("other") for _ in range(5)] == ["all is well"] * 5
                assert not any(one.done() for one in slow)
            finally:
                (tmp_path / "released").touch()
            assert [one.result() for one in slow] == ["all is well"] * STREAMS
