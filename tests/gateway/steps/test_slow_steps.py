"""A slow step delays its own streams only: https://github.com/agentgateway/agentgateway/issues/3603"""

import http.client
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import pytest
import yaml

from tests.support.gateway_thread import gateway_thread
from tests.support.harness import PATIENCE, config, eventually, free_port, provider
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


@pytest.mark.parametrize("hold", ["whole", 5])
def test_fifty_streams_that_wait_for_a_step_delay_no_other_stream(tmp_path, hold):
    port, calls = free_port(), tmp_path / "calls"
    (tmp_path / "steps.py").write_text(CODE)
    names = ("waiting", "blocking")
    steps = [
        {"use": f"./steps.py:{name}", "for": {"clients": [name]}, "at": ["response"], "hold": hold, "deadline": "60s"}
        for name in names
    ]
    keys = [{"name": name, "key": f"key-of-{name}-0123456789"} for name in (*names, "other")]
    with fake_upstream() as upstream:
        entry = provider("openai/on-chat", upstream.url + "/v1", ["chat"])
        file = tmp_path / "trigate.yaml"
        file.write_text(yaml.safe_dump(config([entry], port, client_keys=keys, steps=steps)))
        upstream.script(*[Script(text="all is well")] * (STREAMS + 5))
        with gateway_thread(file, port), ThreadPoolExecutor(STREAMS) as pool:

            def ask(client: str) -> str:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=4 * PATIENCE)
                headers = {"authorization": f"Bearer key-of-{client}-0123456789", "content-type": "application/json"}
                body = json.dumps(body_of("chat", "on-chat", "hi", stream=True))
                connection.request("POST", path_of("chat", "on-chat", stream=True), body, headers)
                text = text_of("chat", connection.getresponse().read(), stream=True)
                connection.close()
                return text

            slow = [pool.submit(ask, names[at % 2]) for at in range(STREAMS)]
            try:
                eventually(lambda: calls.exists() and len(calls.read_text()) == STREAMS, what="a call for each stream")
                assert [ask("other") for _ in range(5)] == ["all is well"] * 5
                assert not any(one.done() for one in slow)
            finally:
                (tmp_path / "released").touch()
            assert [one.result() for one in slow] == ["all is well"] * STREAMS
