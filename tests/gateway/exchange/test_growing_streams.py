"""No stream of a provider delays those of others (CWE-400), whatever it repeats and whatever API its client speaks.

The events arrive as fast as the gateway reads, so that most of them share a turn of its loop.
"""

import itertools
from collections.abc import Iterator
from typing import Any, Final

import pytest

from tests.support.gateway_thread import gateway_thread
from tests.support.growing_streams import STREAMS, wire
from tests.support.harness import config, provider
from tests.support.hostile_bodies import HostileAnswer
from tests.support.loop_steps import check_steps
from tests.support.set_answer import SetAnswer, set_answer_provider
from tests.support.wire_clients import ALL, body_of, path_of

SIZE: Final = 2_000_000
MOST: Final = 40_000
PROVIDERS: Final = {
    "chat": ("openai/chat", "/v1"),
    "messages": ("anthropic/messages", ""),
    "responses": ("openai/responses", "/v1"),
    "gemini": ("gemini/gemini", "/v1beta"),
    "converse": ("amazon_bedrock/converse", ""),
    "interactions": ("gemini/interactions", "/v1beta"),
}
SLOW: Final = (
    ("chat", "calls in one event", "chat", True),
    ("gemini", "thoughts and text by turns", "interactions", True),
    ("gemini", "signatures alone", "responses", True),
    ("interactions", "steps by turns", "converse", True),
    ("gemini", "signed texts", "messages", False),
)
"""Streams that took 0.1 to 0.4 s of a turn once, and whether their clients expect a stream."""


def rows() -> Iterator[Any]:
    """Yield the slow ones, and for the soak each with a client of its own API and one of another, by turns."""
    for row in SLOW:
        yield pytest.param(*row, id=id_of(row))
    for number, (api, shape) in enumerate((api, shape) for api, shapes in STREAMS.items() for shape in shapes):
        others = [each for each in ALL if each != api]
        for row in itertools.product((api,), (shape,), (api, others[number % len(others)]), (True, False)):
            if row not in SLOW:
                yield pytest.param(*row, id=id_of(row), marks=pytest.mark.soak)


def id_of(row: tuple[str, str, str, bool]) -> str:
    return "-".join((*row[:3], "stream" if row[3] else "whole"))


@pytest.fixture(scope="module")
def gateway():
    with set_answer_provider() as url:
        entries = [provider(model, url + end, [api], name=api) for api, (model, end) in PROVIDERS.items()]
        with gateway_thread(config(entries)) as served:
            yield served


def make_stream(api: str, shape: str) -> bytes:
    make = STREAMS[api][shape]
    return wire(api, make(min(MOST, 100 * SIZE // len(wire(api, make(100))))))


@pytest.mark.sample(5, by="turns")
@pytest.mark.slow
@pytest.mark.parametrize(("api", "shape", "client", "is_streamed"), [*rows()])
def test_no_stream_blocks_the_loop(gateway, api, shape, client, is_streamed):
    kind = "application/vnd.amazon.eventstream" if api == "converse" else "text/event-stream"
    SetAnswer.answer = HostileAnswer(make_stream(api, shape), kind)
    path, body = path_of(client, api, stream=is_streamed), body_of(client, api, stream=is_streamed)
    check_steps(gateway, lambda: gateway.request("POST", path, body))
