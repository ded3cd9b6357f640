"""A large answer that the gateway stores delays no stream (CWE-400)."""

import json
from typing import Any, Final

import pytest

from tests.support.gateway_thread import gateway_thread
from tests.support.harness import config, provider
from tests.support.hostile_bodies import MB, HostileAnswer
from tests.support.loop_steps import check_steps
from tests.support.set_answer import SetAnswer, set_answer_provider

CHUNK: Final = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}


@pytest.fixture(scope="module")
def gateway():
    with set_answer_provider() as url, gateway_thread(config([provider("up/chat", f"{url}/v1", ["chat"])])) as served:
        yield served


def whole(size: int) -> HostileAnswer:
    choice = {"index": 0, "message": {"role": "assistant", "content": "word " * (size // 5)}, "finish_reason": "stop"}
    return HostileAnswer(json.dumps({**CHUNK, "object": "chat.completion", "choices": [choice]}).encode())


@pytest.mark.slow
@pytest.mark.parametrize("size", [MB, 18 * MB], ids=["stored", "too large for the store"])
@pytest.mark.parametrize("is_streamed", [True, False])
def test_a_large_answer_is_stored_outside_the_loop(gateway: Any, is_streamed: bool, size: int) -> None:
    """The log of 90 MB of events took 98 ms of one turn, and their change after a refusal of the store 212 ms."""
    SetAnswer.answer = whole(size)
    body = {"model": "chat", "input": "x", "stream": is_streamed}

    def ask() -> None:
        assert gateway.request("POST", "/v1/responses", body).status == 200

    check_steps(gateway, ask)
