"""Steps and time: keep-alives while text is held, deadlines, the end of connections, and too much text."""

import contextlib
import http.client
import itertools
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import pytest
import trio
import trio.lowlevel
import trio.testing
import yaml

from tests.support.apis import question
from tests.support.each_row import each_row
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import PATIENCE, config, eventually, exchanges, free_port, provider, request
from tests.support.raw_call import answer_stream, whole_answer
from tests.support.step_gateway import bearer, client_keys, own_steps, post_as, step_gateway
from tests.support.step_providers import CODE
from tests.support.upstreams import PATHS, Script, fake_upstream, render
from tests.support.wire_clients import body_of, path_of, text_of

SLEEPING: Final = """
from pathlib import Path
import trio

EVENTS = Path(__file__).with_name("events")

async def sleeps(check):
    with EVENTS.open("a") as file:
        file.write("called\\n")
    try:
        await trio.sleep(60)
    except trio.Cancelled:
        with EVENTS.open("a") as file:
            file.write("cancelled\\n")
        raise
    return []
"""
WAITING: Final = """
from pathlib import Path
import trio

async def waiting(check):
    Path(__file__).with_name("called").touch()
    await trio.sleep_forever()
"""
STEPS: Final[dict[str, dict[str, Any]]] = {
    "whole": {"action": "refuse", "at": ["response"]},
    "whole-mask": {"action": "mask", "at": ["response"]},
    "window": {"action": "refuse", "at": ["response"], "hold": 12},
    "nothing": {"action": "refuse", "at": ["response"], "hold": "nothing"},
    "lenient": {"action": "refuse", "at": ["response"], "unchecked": "pass"},
    "sleeping": {"use": "./steps.py:sleeps", "action": "refuse", "deadline": "30s"},
    "late-response": {"use": "./steps.py:sleeps", "action": "refuse", "at": ["response"], "deadline": "1.5s"},
}
SSE: Final = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module")
def gateway(by_hand, folder):
    steps = own_steps(STEPS)
    more = {
        "client_keys": client_keys(STEPS),
        "steps": steps,
        "keep_alive": "0.3s",
        "limits": {"answer": "200kB", "event": "100kB"},
    }
    entries = [provider("openai/m", by_hand.url, ["chat"], name="m")]
    with step_gateway(folder, entries, CODE + SLEEPING, **more) as served:
        yield served


def begin(
    gateway, client: str, model: str = "m", api: str = "chat", *, stream: bool = True
) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=PATIENCE)
    headers = {**bearer(client), "content-type": "application/json"}
    connection.request("POST", PATHS[api], json.dumps(question(api, model, stream=stream)), headers)
    return connection


def to_chunks(*pieces: bytes) -> list[bytes]:
    return [b"%x\r\n%b\r\n" % (len(one), one) for one in pieces]


def chunks(text: str, api: str = "chat") -> list[bytes]:
    return to_chunks(*render(Script(text=text), api, {"stream": True, "model": "m"}).pieces)


@pytest.mark.parametrize("client", ["whole", "whole-mask"])
def test_held_text_has_keep_alives_and_a_late_refusal_is_an_error_event(gateway, by_hand, client):
    connection = begin(gateway, client)
    with by_hand.accept() as upstream:
        upstream.read_request()
        pieces = chunks("falcon-77 and more")
        upstream.send(SSE + b"".join(pieces[:3]))
        response = connection.getresponse()
        assert response.status == 200
        first = response.read1(65536)
        assert first == b": ping\n\n"
        upstream.send(b"".join(pieces[3:]) + b"0\r\n\r\n")
        body = first + response.read()
    connection.close()
    assert b"falcon" not in body
    if client == "whole":
        assert b"content_filter" in body
        assert b"[DONE]" not in body
    else:
        assert b"[WORD_" in body
        assert b"[DONE]" in body


@pytest.mark.parametrize("client", ["window", "nothing"])
def test_a_refusal_closes_the_connection_of_the_provider(gateway, by_hand, client):
    connection = begin(gateway, client)
    with by_hand.accept() as upstream:
        upstream.read_request()
        upstream.send(SSE + b"".join(chunks("a text that begins well " * 60)[:-2]))
        response = connection.getresponse()
        assert response.status == 200
        while b"begins" not in (first := response.read1(65536)):
            assert first == b": ping\n\n"  # on a slow machine, they are due before the text
        pieces = chunks("falcon-77 " + "and much more text " * 80)
        upstream.send(b"".join(pieces[1:-2]))
        began = time.perf_counter()
        assert upstream.closed_after(began) < 1
        body = response.read()
    connection.close()
    assert b"content_filter" in body
    assert b"[DONE]" not in body
    if client == "window":
        assert b"falcon" not in body


def test_a_client_that_leaves_cancels_the_step(gateway, folder):
    file = folder / "events"
    file.write_text("")
    connection = begin(gateway, "sleeping")
    eventually(lambda: "called" in file.read_text(), what="the call")
    connection.close()
    eventually(lambda: "cancelled" in file.read_text(), what="the end of the call")
    (line,) = eventually(lambda: lines_of(gateway, "sleeping"), what="the line")
    assert [step["outcome"] for step in line["steps"]] == ["cancelled"]


def test_the_end_of_the_drain_cancels_a_step_before_the_provider_and_the_client_gets_an_error(by_hand, tmp_path):
    (tmp_path / "steps.py").write_text(WAITING)
    port, called = free_port(), tmp_path / "called"
    entries = [provider("openai/m", by_hand.url, ["chat"], name="m")]
    steps = [{"use": "./steps.py:waiting", "at": ["request"], "deadline": "60s"}]
    file = tmp_path / "trigate.yaml"
    file.write_text(yaml.safe_dump(config(entries, port, steps=steps, drain="0.2s")))
    with gateway_thread(file, port) as served:
        connection = begin(served, "any")
        eventually(called.exists, what="the call")
        served.stop()
        response = connection.getresponse()
        assert (response.status, response.getheader("retry-after")) == (503, "1")
        response.read()
        connection.close()
        (line,) = eventually(lambda: exchanges(served.log), what="the line")
    assert line["ended"] == "shutdown"
    assert [step["outcome"] for step in line["steps"]] == ["cancelled"]


def lines_of(gateway, client: str) -> list[dict[str, Any]]:
    return [line for line in exchanges(gateway.log) if line.get("client") == client]


def test_the_header_lists_no_step_that_has_not_ended(gateway, by_hand):
    """The keep-alive begins the response before any verdict."""
    connection = begin(gateway, "late-response")
    with by_hand.accept() as upstream:
        upstream.read_request()
        upstream.send(SSE + b"".join(chunks("all is well")) + b"0\r\n\r\n")
        response = connection.getresponse()
        body = response.read()
    connection.close()
    assert (response.status, response.headers["x-trigate-steps"]) == (200, None)
    assert b"step_unavailable" in body
    (line,) = eventually(lambda: lines_of(gateway, "late-response"), what="the line")
    assert (line["ended"], line["steps"][0]["outcome"]) == ("refused", "unchecked")


@each_row("client", ["whole", "lenient", "nothing"])
def test_more_text_than_an_answer_may_have_is_unchecked_if_it_is_held(gateway, by_hand, client):
    connection = begin(gateway, client)
    with by_hand.accept() as upstream:
        upstream.read_request()
        pieces = chunks("word " * 5000)
        text = b"".join(pieces[1:-2])
        upstream.send(SSE + pieces[0] + text * 12 + b"".join(pieces[-2:]) + b"0\r\n\r\n")
        response = connection.getresponse()
        body = response.read()
    connection.close()
    if client == "whole":  # after a keep-alive, the error is an event
        assert response.status in (200, 503)
        assert b"too_long" in body
        assert b"word" not in body
    else:
        assert response.status == 200
        assert body.count(b"word word") > 20000
        assert body.endswith(b"data: [DONE]\n\n")


# A slow step delays its own streams only: https://github.com/agentgateway/agentgateway/issues/3603

SLOW: Final = """
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
        serving = step_gateway(tmp_path, [entry], SLOW, client_keys=keys, steps=steps)
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


@each_row("stream", [False, True])
def test_a_request_whose_deadline_passes_during_a_step_is_not_sent(tmp_path, upstream, stream):
    """The provider received the request and could bill it, and the error reported a slow provider."""
    step = {"use": "tests.support.word_steps:late_words", "name": "late", "at": ["request"]}
    upstream.script()
    entries = [provider("openai/m", f"{upstream.url}/v1", ["chat"], name="m")]
    with step_gateway(tmp_path, entries, client_keys=client_keys(["late"]), steps=own_steps({"late": step})) as served:
        body = body_of("chat", "m", "hi", stream=stream)
        status, headers, answer = post_as(served, "late", PATHS["chat"], body, {"x-trigate-deadline": "20ms"})
        assert (status, upstream.seen) == (504, [])
        assert "provider" not in json.loads(answer)["error"]["message"].partition("before")[0]
        (line,) = eventually(lambda: exchanges(served.log, headers["x-request-id"]))
        assert (line["ended"], line["error"], line["attempts"], "tried" in line) == ("refused", "timeout", 0, False)


SENT: Final = threading.Event()
"""The provider has sent its whole answer."""


async def spend_two_minutes(check: Any) -> list[Any]:
    """Move the gateway's clock after it has received the answer. No slow machine comes near the test's limits."""
    await trio.to_thread.run_sync(SENT.wait, PATIENCE)
    await trio.testing.wait_all_tasks_blocked(0.05)
    clock = trio.lowlevel.current_clock()
    object.__setattr__(clock, "offset", clock.current_time() - time.perf_counter() + 120)
    await trio.lowlevel.checkpoint()
    await trio.lowlevel.checkpoint()
    return []


@each_row("stream", [False, True])
@each_row(("at", "model"), [*itertools.product(("response", "during"), ("m", "g")), ("response", "b")])
def test_the_time_of_a_step_is_no_silence_of_the_provider(slow_steps, by_hand, at, model, stream):
    """A slow step made good answers fail, put their target into cooldown, and hid a provider's own error."""
    SENT.clear()
    connection = begin(slow_steps, at, model, stream=stream)
    with contextlib.closing(connection), by_hand.accept() as upstream:
        upstream.read_request()
        api = {"g": "gemini"}.get(model, "chat")
        upstream.send(BIRDS if model == "b" else answer_stream(api).whole if stream else whole_answer(api))
        SENT.set()
        response = connection.getresponse()
        status, read = response.status, response.read()
    if model == "b":
        assert (status, b"too many birds" in read) == (400, True)
    else:
        assert (status, text_of("chat", read, stream=stream)) == (200, "one two three"), read


@pytest.fixture(scope="module")
def slow_steps(by_hand, tmp_path_factory):
    moments = ("response", "during")
    use = f"{__name__}:spend_two_minutes"
    steps = own_steps({at: {"at": [at], "deadline": "10m", "hold": "whole"} for at in moments}, use)
    more = {"client_keys": client_keys(moments), "steps": steps, "keep_alive": "1h"}
    more["timeouts"] = {"first_byte": "60s", "idle": "60s"}
    entries = [
        provider("openai/m", by_hand.url, ["chat"], name="m"),
        provider("gemini/g", by_hand.url, ["gemini"], name="g"),
        provider("openai/b", by_hand.url, ["chat"], name="b"),
    ]
    with step_gateway(tmp_path_factory.mktemp("slow"), entries, **more) as gateway:
        yield gateway


BIRDS: Final = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: 74\r\n\r\n"
    b'{"error": {"message": "too many birds", "type": "invalid_request_error"}}\n'
)
