"""Providers that send keep-alives instead of an answer: after ``timeouts.progress`` they have failed."""

import contextlib
import threading
from collections.abc import Iterator
from typing import Final

import attrs
import pytest

from streams.event_stream import event_frame
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import Gateway, Reply, config, eventually, exchanges, provider
from tests.support.lanes import SCRIPTS, events_of, half
from tests.support.pinging_provider import PingingProvider
from tests.support.upstreams import render
from tests.support.wire_clients import ALL, body_of, path_of

VENDORS: Final = {"chat": "openai", "messages": "anthropic", "responses": "openai", "gemini": "gemini",
                  "converse": "amazon_bedrock", "interactions": "gemini"}  # fmt: skip
KEEP_ALIVES: Final = {
    "chat": (b": OPENROUTER PROCESSING\n\n", b'data: {"id":"x","choices":[{"index":0,"delta":{"content":""}}]}\n\n'),
    "messages": (b'event: ping\ndata: {"type": "ping"}\n\n', b": ping\n\n"),
    "responses": (b'event: keepalive\ndata: {"type":"keepalive","sequence_number":9}\n\n', b": ping\n\n"),
    "gemini": (b'data: {"candidates":[{"content":{"parts":[{"text":""}],"role":"model"},"index":0}]}\n\n', b":\n\n"),
    "converse": (event_frame("ping", b"{}"),),
    "interactions": (b": ping\n\n",),
}
"""The keep-alives that a provider of each API may send."""
PAIRS: Final = [
    (api, client, ping) for at, api in enumerate(ALL) for client in (api, ALL[at - 1]) for ping in KEEP_ALIVES[api]
]
PROGRESS = 1.0
STEP: Final = {"use": "regex", "name": "birds", "action": "mask", "at": ["response"], "hold": "whole",
               "with": {"patterns": {"bird": "osprey-[0-9]+"}}}  # fmt: skip


@attrs.frozen
class Setting:
    gateway: Gateway
    provider: PingingProvider

    def ask(self, api: str, client: str, *, stream: bool) -> Reply:
        model = f"m-{api}"
        return self.gateway.request(
            "POST", path_of(client, model, stream=stream), body_of(client, model, stream=stream)
        )

    def line(self, reply: Reply) -> dict[str, object]:
        (line,) = eventually(lambda: exchanges(self.gateway.log, reply.headers["x-request-id"]), what="the log line")
        return line


@contextlib.contextmanager
def served(**more: object) -> Iterator[Setting]:
    with PingingProvider() as pinging:
        threading.Thread(target=pinging.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{pinging.server_port}"
        entries = [provider(f"{VENDORS[api]}/up-{api}", url, [api], name=f"m-{api}") for api in ALL]
        with gateway_thread(config(entries, timeouts={"progress": PROGRESS}, **more)) as gateway:
            yield Setting(gateway, pinging)
        pinging.shutdown()


@pytest.fixture(scope="module")
def setting() -> Iterator[Setting]:
    with served() as found:
        yield found


@pytest.fixture(scope="module")
def held() -> Iterator[Setting]:
    """A gateway whose step holds each response until its end."""
    with served(steps=[STEP]) as found:
        yield found


def type_of(api: str) -> str:
    return "application/vnd.amazon.eventstream" if api == "converse" else "text/event-stream"


@pytest.mark.parametrize("has_content", [False, True], ids=["at_first", "after_content"])
@pytest.mark.parametrize(("api", "client", "ping"), PAIRS)
def test_a_stream_of_keep_alives_ends_with_an_error(setting, api, client, ping, has_content):
    setting.provider.send(type_of(api), b"".join(half(api)) if has_content else b"", ping)
    reply = setting.ask(api, client, stream=True)
    assert b"sent only keep-alives for 1 s" in reply.body
    assert reply.status in ((200,) if has_content else (200, 504))  # the provider's keep-alives may open it
    line = setting.line(reply)
    assert (line["ended"], line["error"]) == ("upstream_error", "timeout")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("api", ALL)
def test_a_whole_answer_of_white_space_ends_with_an_error(setting, api, stream):
    setting.provider.send("application/json", b"", b"\n")
    reply = setting.ask(api, api, stream=stream)
    assert (reply.status, b"sent only keep-alives for 1 s" in reply.body) == (504, True)


@pytest.mark.parametrize("api", ALL)
def test_a_held_answer_of_white_space_ends_with_an_error(held, api):
    """The provider sends no stream although the client requested one."""
    held.provider.send("application/json", b"{", b"\n")
    reply = held.ask(api, api, stream=True)
    assert (reply.status, b"sent only keep-alives for 1 s" in reply.body) == (504, True)


@pytest.mark.parametrize("api", ["chat", "gemini"])
def test_a_held_answer_of_many_pieces_may_take_longer(held, api):
    parts = render(SCRIPTS["text"], api, {"model": "m"}).pieces
    held.provider.send("application/json", b'{"x":"', b"a", 100, b'",' + b"".join(parts)[1:])
    line = held.line(held.ask(api, api, stream=True))
    assert line["ended"] == "complete"
    assert line["duration_ms"] > 1.5 * PROGRESS * 1000


@pytest.mark.parametrize(("api", "ping"), [(api, KEEP_ALIVES[api][0]) for api in ALL])
def test_a_held_stream_of_keep_alives_ends_with_an_error(held, api, ping):
    held.provider.send(type_of(api), b"".join(half(api)), ping)
    line = held.line(held.ask(api, api, stream=True))
    assert (line["ended"], line["error"]) == ("upstream_error", "timeout")


@pytest.mark.parametrize("has_content", [False, True], ids=["at_first", "after_content"])
@pytest.mark.parametrize(("api", "ping"), [(api, KEEP_ALIVES[api][-1]) for api in ALL if api != "gemini"])
def test_a_stream_of_keep_alives_for_a_request_without_one_ends_with_an_error(setting, api, ping, has_content):
    ping = b": ping\n\n" if api == "chat" else ping
    setting.provider.send(type_of(api), b"".join(half(api)) if has_content else b"", ping)
    reply = setting.ask(api, api, stream=False)
    assert (reply.status, b"sent only keep-alives for 1 s" in reply.body) == (504, True)


@pytest.mark.parametrize(("api", "client", "ping"), PAIRS)
def test_an_answer_may_follow_keep_alives(setting, api, client, ping):
    pieces = events_of(api, SCRIPTS["text"])
    at = len(half(api)) - 1
    setting.provider.send(type_of(api), b"".join(pieces[:at]), ping, 8, b"".join(pieces[at:]))
    line = setting.line(setting.ask(api, client, stream=True))
    assert (line["ended"], line.get("error")) == ("complete", None)


def test_an_answer_that_moves_between_keep_alives_may_take_longer(setting):
    """``progress`` is no limit on the whole answer."""
    word = b'data: {"id":"x","choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
    setting.provider.send(
        type_of("chat"), word, b": ping\n\n" * 3 + word, 100, b"".join(events_of("chat", SCRIPTS["text"]))
    )
    line = setting.line(setting.ask("chat", "chat", stream=True))
    assert line["ended"] == "complete"
    assert line["duration_ms"] > 1.5 * PROGRESS * 1000
