"""Providers that send keep-alives instead of an answer: after ``timeouts.progress`` they have failed."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import attrs
import pytest

from streams.event_stream import event_frame
from tests.support.cases import case
from tests.support.each_row import each_row
from tests.support.every_api import ask, entries_of_every_api
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import Gateway, Reply, config, eventually, exchanges
from tests.support.lanes import SCRIPTS, events_of, half
from tests.support.pinging_provider import PingingProvider, Pings
from tests.support.upstreams import render, serve_upstream
from tests.support.wire_clients import ALL

KEEP_ALIVES: Final = {
    "chat": (b": OPENROUTER PROCESSING\n\n", b'data: {"id":"x","choices":[{"index":0,"delta":{"content":""}}]}\n\n'),
    "messages": (b'event: ping\ndata: {"type": "ping"}\n\n', b": ping\n\n"),
    "responses": (b'event: keepalive\ndata: {"type":"keepalive","sequence_number":9}\n\n', b": ping\n\n"),
    "gemini": (b'data: {"candidates":[{"content":{"parts":[{"text":""}],"role":"model"},"index":0}]}\n\n', b":\n\n"),
    "converse": (event_frame("ping", b"{}"),),
    "interactions": (b": ping\n\n",),
}
"""The keep-alives that a provider of each API may send."""
LANES: Final = {"byte": 0, "hub": -1}
"""The position of a client's API in ``ALL``, relative to its provider's."""
PROGRESS = 1.0
STEP: Final = {"use": "regex", "name": "birds", "action": "mask", "at": ["response"], "hold": "whole",
               "with": {"patterns": {"bird": "osprey-[0-9]+"}}}  # fmt: skip


@attrs.frozen
class Setting:
    gateway: Gateway
    provider: PingingProvider

    def ask(
        self, make: Callable[[str], Pings], *, apis: Sequence[str] = ALL, lane: str = "byte", stream: bool
    ) -> dict[str, Reply]:
        """Request the response ``make(api)`` of each of ``apis`` at the same time, because each takes a second."""
        for api in apis:
            self.provider.send(make(api), f"up-{api}")
        clients = [ALL[ALL.index(api) + LANES[lane]] for api in apis]
        with ThreadPoolExecutor(len(apis)) as threads:
            sent = threads.map(lambda *pair: ask(self.gateway, *pair, stream=stream), clients, apis)
            return dict(zip(apis, sent, strict=True))

    def line(self, reply: Reply) -> dict[str, object]:
        (line,) = eventually(lambda: exchanges(self.gateway.log, reply.headers["x-request-id"]), what="the log line")
        return line


@contextlib.contextmanager
def serve_pinging(**more: Any) -> Iterator[Setting]:
    with serve_upstream(PingingProvider) as pinging:
        entries = entries_of_every_api(pinging.url)
        with gateway_thread(config(entries, **{"timeouts": {"progress": PROGRESS}, **more})) as gateway:
            yield Setting(gateway, pinging)


@pytest.fixture(scope="module")
def setting() -> Iterator[Setting]:
    with serve_pinging() as found:
        yield found


@pytest.fixture(scope="module")
def holding_gateway() -> Iterator[Setting]:
    """Run a gateway with a step that holds each response until its end."""
    with serve_pinging(steps=[STEP]) as found:
        yield found


def type_of(api: str) -> str:
    return "application/vnd.amazon.eventstream" if api == "converse" else "text/event-stream"


@each_row("has_content", [False, True], ids=["at_first", "after_content"])
@each_row("lane", LANES)
@each_row("at", [0, -1])
def test_a_stream_of_keep_alives_ends_with_an_error(setting, at, lane, has_content):
    def make(api: str) -> Pings:
        return Pings(type_of(api), b"".join(half(api)) if has_content else b"", KEEP_ALIVES[api][at])

    for api, reply in setting.ask(make, lane=lane, stream=True).items():
        with case(api):
            assert b"sent only keep-alives for 1 s" in reply.body
            assert reply.status in ((200,) if has_content else (200, 504))  # the provider's keep-alives may open it
            line = setting.line(reply)
            assert (line["ended"], line["error"]) == ("upstream_error", "timeout")


@each_row("stream", [False, True], ids=["whole", "stream"])
def test_a_whole_answer_of_white_space_ends_with_an_error(setting, stream):
    for api, reply in setting.ask(lambda api: Pings("application/json", b"", b"\n"), stream=stream).items():
        with case(api):
            assert (reply.status, b"sent only keep-alives for 1 s" in reply.body) == (504, True)


def test_a_held_answer_of_white_space_ends_with_an_error(holding_gateway):
    """The provider sends no stream although the client requested one."""
    for api, reply in holding_gateway.ask(lambda api: Pings("application/json", b"{", b"\n"), stream=True).items():
        with case(api):
            assert (reply.status, b"sent only keep-alives for 1 s" in reply.body) == (504, True)


def test_a_held_answer_of_many_pieces_may_take_longer(holding_gateway):
    def make(api: str) -> Pings:
        parts = render(SCRIPTS["text"], api, {"model": "m"}).pieces
        return Pings("application/json", b'{"x":"', b"a", 100, b'",' + b"".join(parts)[1:])

    for api, reply in holding_gateway.ask(make, apis=["chat", "gemini"], stream=True).items():
        with case(api):
            line = holding_gateway.line(reply)
            assert line["ended"] == "complete"
            assert line["duration_ms"] > 1.5 * PROGRESS * 1000


def test_a_held_stream_of_keep_alives_ends_with_an_error(holding_gateway):
    def make(api: str) -> Pings:
        return Pings(type_of(api), b"".join(half(api)), KEEP_ALIVES[api][0])

    for api, reply in holding_gateway.ask(make, stream=True).items():
        with case(api):
            line = holding_gateway.line(reply)
            assert (line["ended"], line["error"]) == ("upstream_error", "timeout")


@each_row("has_content", [False, True], ids=["at_first", "after_content"])
def test_a_stream_of_keep_alives_for_a_request_without_one_ends_with_an_error(setting, has_content):
    def make(api: str) -> Pings:
        ping = b": ping\n\n" if api == "chat" else KEEP_ALIVES[api][-1]
        return Pings(type_of(api), b"".join(half(api)) if has_content else b"", ping)

    for api, reply in setting.ask(make, stream=False).items():
        with case(api):
            assert (reply.status, b"sent only keep-alives for 1 s" in reply.body) == (504, True)


@each_row("lane", LANES)
@each_row("at", [0, -1])
def test_an_answer_may_follow_keep_alives(setting, at, lane):
    def make(api: str) -> Pings:
        pieces, before = events_of(api, SCRIPTS["text"]), len(half(api)) - 1
        ping = KEEP_ALIVES[api][at]
        return Pings(type_of(api), b"".join(pieces[:before]), ping, 8, b"".join(pieces[before:]))

    for api, reply in setting.ask(make, lane=lane, stream=True).items():
        with case(api):
            line = setting.line(reply)
            assert (line["ended"], line.get("error")) == ("complete", None)


def test_an_answer_that_moves_between_keep_alives_may_take_longer(setting):
    """``progress`` is no limit on the whole answer."""
    word = b'data: {"id":"x","choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
    rest = b"".join(events_of("chat", SCRIPTS["text"]))
    response = Pings(type_of("chat"), word, b": ping\n\n" * 3 + word, 100, rest)
    line = setting.line(setting.ask(lambda _: response, apis=["chat"], stream=True)["chat"])
    assert line["ended"] == "complete"
    assert line["duration_ms"] > 1.5 * PROGRESS * 1000


FINISHED: Final = {"chat": -1, "messages": -1, "gemini": None, "converse": -1}
"""The APIs whose last word is not their last event, and the position of that event."""


@each_row("steps", [[], [STEP]], ids=["no_step", "held"])
def test_a_finished_answer_ends_although_keep_alives_follow(steps):
    """A client waited an hour for the end (maximhq/bifrost#6784)."""

    def make(api: str) -> Pings:
        pieces = events_of(api, SCRIPTS["text"])[: FINISHED[api]]
        return Pings(type_of(api), b"".join(pieces), b": ping\n\n" if api == "chat" else KEEP_ALIVES[api][-1])

    with serve_pinging(timeouts={"idle": 10}, keep_alive="0.5s", steps=steps) as setting:
        for stream, lane in ((True, "byte"), (True, "hub"), (False, "byte"), (False, "hub")):
            for api, reply in setting.ask(make, apis=[*FINISHED], lane=lane, stream=stream).items():
                with case((stream, lane, api)):
                    line = setting.line(reply)
                    assert (reply.status, line["ended"], line.get("error")) == (200, "complete", None)
                    assert line["duration_ms"] < 5000
