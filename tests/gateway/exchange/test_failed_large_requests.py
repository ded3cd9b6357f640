"""The estimated usage of a large request delays no stream (CWE-400), whether its attempt fails or reports none."""

from typing import Any, Final

import pytest

from gateway.exchange import target_request
from gateway.relay import audio
from tests.support.every_route import ROUTES_KEY, before_set_answer
from tests.support.harness import Gateway
from tests.support.hostile_bodies import MB, HostileAnswer
from tests.support.loop_steps import LONGEST, check_steps
from tests.support.set_answer import SetAnswer

TURN: Final = [{"role": "user", "content": "x"}]
TOOLS: Final = [{"name": f"t{at}", "description": "d", "input_schema": {"type": "object"}} for at in range(20_000)]
IMAGE: Final = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "QUJD" * 4 * MB}}
REQUESTS: Final = {
    "tools": {"messages": TURN, "tools": TOOLS},
    "an image": {"messages": [{"role": "user", "content": [IMAGE]}]},
}


@pytest.fixture(scope="module")
def gateway():
    with before_set_answer() as served:
        yield served


def send(gateway: Gateway, path: str, body: dict[str, Any]) -> int:
    return gateway.request("POST", path, body, {"authorization": f"Bearer {ROUTES_KEY}"}).status


@pytest.mark.slow
@pytest.mark.parametrize("kind", REQUESTS)
def test_the_usage_of_a_failed_large_request_is_not_estimated_in_the_loop(gateway, kind):
    """20,000 tools took 35 ms of one turn, and an image of 16 MB took 40 ms."""
    SetAnswer.answer = HostileAnswer(b"{}")  # no answer of the API, but the provider may bill it
    body = {"model": "on-anthropic", "max_tokens": 9, **REQUESTS[kind]}

    def ask() -> None:
        assert send(gateway, "/v1/messages", body) == 502

    check_steps(gateway, ask, longest=LONGEST / 4)


def test_the_usage_of_a_long_recording_is_not_estimated_for_each_piece(gateway, monkeypatch):
    """Each piece of the recording took 13 ms of the loop for a text of 20 MB."""
    estimated = []

    def size_of(*args: Any) -> Any:
        estimated.append(args)
        return SIZE_OF(*args)

    monkeypatch.setattr(target_request, "size_of", size_of)
    SetAnswer.answer = HostileAnswer(b"x" * 4 * MB, "audio/mpeg")
    for words in (1_000, 200_000):
        estimated.clear()
        body = {"model": "on-openai", "voice": "y", "input": "word " * words}
        assert send(gateway, "/v1/audio/speech", body) == 200
        assert len(estimated) <= 2  # with its text, and after it was released


SIZE_OF: Final = target_request.size_of


def test_the_tokens_of_a_long_recording_are_estimated_once(gateway, monkeypatch):
    """The text was encoded for each piece of the recording, in the loop."""
    estimated = []

    def spoken_usage(*args: Any) -> Any:
        estimated.append(args)
        return SPOKEN_USAGE(*args)

    monkeypatch.setattr(audio, "spoken_usage", spoken_usage)
    SetAnswer.answer = HostileAnswer(b"x" * 4 * MB, "audio/mpeg")
    body = {"model": "on-openai", "voice": "y", "input": "word " * 1_000}
    assert send(gateway, "/v1/audio/speech", body) == 200
    assert len(estimated) == 1


SPOKEN_USAGE: Final = audio.spoken_usage
