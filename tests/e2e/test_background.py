"""Tests of background turns: polling, following, cancelling, and the drain or death of their process."""

import contextlib
import json
import os
import signal
import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from gateway.conversations import background
from gateway.conversations.bodies import read_turn
from gateway.conversations.stored_responses import STORED as STORED_RESPONSES
from gateway.stores.memory import MemoryStore
from streams.event_log import Resumption
from tests.support import state_endpoints as kept_state
from tests.support.apis import OLDER
from tests.support.command_line import running_command
from tests.support.each_row import each_row
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import Gateway, Listening, Wire, complaint, config, eventually, free_port, post, running
from tests.support.processes import peers, workers
from tests.support.raw_call import END, answer_stream, check_log, chunks, line, lines, whole_answer
from tests.support.responses_api import (
    check_stream,
    each_api,
    entries,
    numbers_of,
    read_chunks,
    refusal,
    sent_bodies,
    sqlite_at,
    stored,
    text_of,
    turn,
    wait_for_status,
)
from tests.support.upstreams import Raw, Script


@pytest.fixture(scope="module")
def gateway(upstream, by_hand) -> Iterator[Gateway]:
    with gateway_thread(config(entries(upstream, by_hand), keep_alive="300ms")) as process:
        yield process
    check_log(process)


def begin(gateway: Gateway, model: str, id: str, **more) -> dict:
    """Start a background turn by a request with this ``id``, and return its response object."""
    asked = {"model": model, "input": "hi", "background": True, **more}
    reply = gateway.request("POST", "/v1/responses", asked, {"x-request-id": id})
    assert reply.status == 200, reply.body
    return reply.json


@contextlib.contextmanager
def started_turn(gateway: Gateway, by_hand: Listening, api: str, id: str, **more) -> Iterator[tuple[str, Wire]]:
    """Start a background turn, and yield its id and the provider's end of its call."""
    response = begin(gateway, f"hand-{api}", id, **more)
    assert (response["status"], response["background"], response["output"]) == ("queued", True, [])
    with by_hand.accept() as up:
        up.read_request()
        yield response["id"], up


@contextlib.contextmanager
def streaming(gateway: Gateway, by_hand: Listening, api: str, id: str) -> Iterator[tuple[str, Wire, Wire]]:
    """Stream a background turn up to "one t", and yield its id, the client's end and the provider's end."""
    asked = {"model": f"hand-{api}", "input": "hi", "background": True, "stream": True}
    with Wire.connect(gateway.port) as client:
        client.send(post("/v1/responses", asked, {"x-request-id": id, "connection": "close"}))
        with by_hand.accept() as up:
            up.read_request()
            up.send(answer_stream(api).half)
            body = read_chunks(client.read_until(b"one t"))
            yield json.loads(body.split(b"\n")[1].removeprefix(b"data: "))["response"]["id"], client, up


# Polled


@each_row("api", OLDER)
def test_a_client_polls_a_turn_and_the_log_has_one_line(gateway, by_hand, api):
    own = f"polled-{api}"
    with started_turn(gateway, by_hand, api, own) as (id, up):
        for _ in range(2):
            found = stored(gateway, id).json
            assert (found["status"], found["output"]) == ("in_progress", [])
        error = refusal(turn(gateway, "on-chat", previous_response_id=id))
        assert error["code"] == "previous_response_not_found"
        assert "in_progress" in error["message"]
        waiting = stored(gateway, id, "/input_items").json["data"]
        assert lines(gateway, own) == []
        up.send(whole_answer(api))
        found = wait_for_status(gateway, id, "completed")
    assert text_of(found) == "one two three"
    assert found["background"] is True
    assert stored(gateway, id, "/input_items").json["data"] == waiting
    settled = line(gateway, own)
    assert (settled["ended"], settled["status"], settled["input_tokens"]) == ("complete", 200, 31)
    assert settled["duration_ms"] > 0


def test_a_turn_can_continue_an_ended_background_turn(gateway, upstream):
    upstream.script(Script(text="It is 7."), Script(text="Yes."))
    id = begin(gateway, "on-messages", "continued")["id"]
    wait_for_status(gateway, id, "completed")
    assert turn(gateway, "on-chat", "Sure?", previous_response_id=id).status == 200
    assert "It is 7." in json.dumps(sent_bodies(upstream)[1])


@each_row(("stream", "api"), product((True, False), OLDER))
def test_the_response_has_the_providers_error(gateway, upstream, api, stream):
    upstream.script(Raw(429, (("retry-after", "7"),), (b'{"error": {"message": "not so fast", "code": "slow"}}',)))
    own = f"refused-{api}-{stream}"
    if stream:
        asked = {"model": f"on-{api}", "input": "hi", "background": True, "stream": True}
        reply = gateway.request("POST", "/v1/responses", asked, {"x-request-id": own})
        check_stream(reply.body)
        name, last = reply.events()[-1]
        assert name == "response.failed"
        id = last["response"]["id"]
    else:
        id = begin(gateway, f"on-{api}", own)["id"]
    found = wait_for_status(gateway, id, "failed")
    assert "not so fast" in found["error"]["message"]
    assert found["error"]["code"]
    assert line(gateway, own)["ended"] == "upstream_error"


@each_api
def test_a_provider_that_dies_midway_leaves_a_failed_response_with_its_text(gateway, by_hand, api):
    own = f"died-{api}"
    with streaming(gateway, by_hand, api, own) as (id, client, up):
        client.close()
        up.reset()
        found = wait_for_status(gateway, id, "failed")
    assert text_of(found) == "one t"
    assert found["error"]["message"]
    settled = line(gateway, own)
    assert (settled["ended"], settled["usage_estimated"]) == ("upstream_error", True)
    assert settled["output_tokens"] > 0


def test_background_without_store_returns_400(gateway, upstream):
    upstream.script(Script(text="never"))
    error = complaint("responses", turn(gateway, "on-chat", background=True, store=False), 400)
    assert error["param"] == "background"
    assert upstream.seen == []


# Followed


@each_row("api", OLDER)
def test_a_disconnected_client_resumes_after_its_last_event(gateway, by_hand, api):
    own = f"resumed-{api}"
    speech = answer_stream(api)
    with streaming(gateway, by_hand, api, own) as (id, client, up):
        begun = read_chunks(client.received)
        client.reset()
        up.send(chunks(*speech.rest[:1]))
        (last,) = numbers_of(begun)[-1:]
        with Wire.connect(gateway.port) as again:
            path = f"/v1/responses/{id}?stream=true&starting_after={last}"
            again.send(f"GET {path} HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n\r\n".encode())
            again.read_until(b"wo th")
            assert lines(gateway, own) == []
            up.send(chunks(*speech.rest[1:]) + END)
            rest = read_chunks(again.read_to_end())
    check_stream(begun + rest)
    assert b"response.completed" in rest
    assert stored(gateway, id, "?stream=true").body == begun + rest
    assert line(gateway, own)["ended"] == "complete"


@each_row("after", [-1, 0, 1, 2])
def test_events_larger_than_a_write_are_followed_from_anywhere(gateway, by_hand, after):
    """A stream's first events repeat the instructions: they go out in several writes."""
    with started_turn(gateway, by_hand, "chat", f"large-{after}", stream=False, instructions="x" * 300_000) as (_, up):
        up.send(whole_answer("chat"))
    asked = {"model": "hand-chat", "input": "hi", "background": True, "stream": True, "instructions": "y" * 300_000}
    with Wire.connect(gateway.port) as client:
        client.send(post("/v1/responses", asked, {"connection": "close"}))
        with by_hand.accept() as up:
            up.read_request()
            up.send(answer_stream("chat").half)
            client.read_until(b"one t")
            created = json.loads(read_chunks(client.received).split(b"\n")[1].removeprefix(b"data: "))
            path = f"/v1/responses/{created['response']['id']}?stream=true"
            if after >= 0:
                path += f"&starting_after={after}"
            with Wire.connect(gateway.port) as again:
                again.send(f"GET {path} HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n\r\n".encode())
                again.read_until(b"one t")
                up.send(chunks(*answer_stream("chat").rest) + END)
                found = numbers_of(read_chunks(again.read_to_end()))
        everything = read_chunks(client.read_to_end())
    check_stream(everything)
    assert found == numbers_of(everything)[after + 1 :]


async def test_a_slow_follower_gets_the_last_events():
    store = MemoryStore(1e9, 2**20)
    async with kept_state.running(store) as (turns, turn):
        body = turns.follow("alice", turn.id, Resumption(), 15)
        for number in range(3):
            turn.say(number)
            await trio.testing.wait_all_tasks_blocked()
        turn.close()
        await turns.finish()
        with trio.fail_after(5):
            async with body as pieces:
                found = b"".join([bytes(piece) async for piece in pieces])
    assert numbers_of(found) == [0, 1, 2, 3], "a failure has two last events"


# Cancelled


@each_api
def test_a_cancelled_turn_keeps_its_text_and_its_followers_are_informed(gateway, by_hand, api):
    own = f"cancelled-{api}"
    with streaming(gateway, by_hand, api, own) as (id, client, up):
        reply = gateway.request("POST", f"/v1/responses/{id}/cancel")
        up.closed_after(time.perf_counter())
        body = read_chunks(client.read_to_end())
    assert (reply.status, reply.json["status"], text_of(reply.json)) == (200, "cancelled", "one t")
    check_stream(body)
    assert body.rstrip().rpartition(b"event: ")[2].startswith(b"response.failed")
    assert stored(gateway, id).json == reply.json
    assert stored(gateway, id, "?stream=true").body == body
    settled = line(gateway, own)
    assert (settled["ended"], settled["usage_estimated"]) == ("client_disconnected", True)
    assert settled["input_tokens"] > 0
    assert settled["output_tokens"] > 0
    assert refusal(turn(gateway, "on-chat", previous_response_id=id))["code"] == "previous_response_not_found"


@each_api
def test_a_turn_is_cancelled_before_anything_was_reported(gateway, by_hand, api):
    own = f"cancelled-early-{api}"
    with started_turn(gateway, by_hand, api, own) as (id, up):
        reply = gateway.request("POST", f"/v1/responses/{id}/cancel")
        up.closed_after(time.perf_counter())
    assert (reply.status, reply.json["status"], reply.json["output"]) == (200, "cancelled", [])
    assert gateway.request("POST", f"/v1/responses/{id}/cancel").json["status"] == "cancelled"
    assert line(gateway, own)["ended"] == "client_disconnected"


def test_a_turn_is_cancelled_even_with_on_disconnect_finish(upstream, by_hand):
    settings = config(entries(upstream, by_hand, on_disconnect="finish"))
    with gateway_thread(settings) as own, streaming(own, by_hand, "chat", "cancelled-finish") as (id, _, up):
        assert own.request("POST", f"/v1/responses/{id}/cancel").json["status"] == "cancelled"
        up.closed_after(time.perf_counter())


# Limits


def test_turns_in_the_background_count_among_those_in_flight(upstream, by_hand):
    settings = config(entries(upstream, by_hand), limits={"in_flight": 2})
    with gateway_thread(settings) as own, contextlib.ExitStack() as stack:
        _, up = stack.enter_context(started_turn(own, by_hand, "chat", "first"))
        stack.enter_context(started_turn(own, by_hand, "chat", "second"))
        for background in (True, False):
            refused = turn(own, "on-chat", background=background)
            complaint("responses", refused, 503)
            assert refused.headers["retry-after"]
        up.send(whole_answer("chat"))
        line(own, "first")
        upstream.script(Script(text="It is 7."))
        assert turn(own, "on-chat", background=True).status == 200
        eventually(lambda: len(upstream.seen) == 1)


# The process ends


def test_a_turn_ends_within_the_drain(upstream, by_hand, tmp_path):
    path = tmp_path / "state.sqlite"
    settings = config(entries(upstream, by_hand), state_storage=sqlite_at(path), drain="10s")
    with gateway_thread(settings) as own:
        with (
            started_turn(own, by_hand, "chat", "drain-whole") as (one, up),
            streaming(own, by_hand, "messages", "drain-stream") as two,
        ):
            id, client, second = two
            client.close()
            own.stop()
            up.send(whole_answer("chat"))
            second.send(chunks(*answer_stream("messages").rest) + END)
            eventually(own.has_ended, 10, "the exit")
        assert [line(own, name)["ended"] for name in ("drain-whole", "drain-stream")] == ["complete", "complete"]
        check_log(own)
    with gateway_thread(settings) as own:
        for response in (one, id):
            found = stored(own, response).json
            assert (found["status"], text_of(found)) == ("completed", "one two three")


def test_a_turn_that_outlasts_the_drain_has_failed(upstream, by_hand, tmp_path):
    path = tmp_path / "state.sqlite"
    settings = config(entries(upstream, by_hand), state_storage=sqlite_at(path), drain="100ms")
    with gateway_thread(settings) as own:
        with (
            started_turn(own, by_hand, "chat", "drain-whole") as (one, _),
            streaming(own, by_hand, "messages", "drain-stream") as two,
        ):
            id, client, _ = two
            client.close()
            own.stop()
            eventually(own.has_ended, 10, "the exit")
        assert [line(own, name)["ended"] for name in ("drain-whole", "drain-stream")] == ["shutdown", "shutdown"]
        assert line(own, "drain-stream")["output_tokens"] > 0
        check_log(own)
    with gateway_thread(settings) as own:
        first, second = stored(own, one).json, stored(own, id).json
        assert (first["status"], first["output"]) == ("failed", [])
        assert (second["status"], text_of(second)) == ("failed", "one t")
        for found in (first, second):
            assert found["error"]["message"]


def age_marks(path: Path) -> None:
    """Make the marks so old that their workers count as dead."""
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        old = str(time.time() - background.STALE - 1).encode()
        assert db.execute("UPDATE nodes SET body = ? WHERE kind = 'mark'", (old,)).rowcount


async def test_a_turn_that_ends_while_declared_lost_keeps_its_own_end(monkeypatch):
    """The turn's worker is alive, but wrote its mark too late."""
    monkeypatch.setattr(background, "STALE", 0.0)
    store = Interrupted(1e9, 2**20)
    id = (await kept_state.store_turn(store, status="in_progress", background=True))["id"]
    store.before_put = partial(kept_state.store_turn, store, output=[kept_state.message("7", "assistant")], id=id)
    await background.Background(store, kept_state.LEDGER).fail_if_lost(STORED_RESPONSES, "alice", id)
    node = await store.get("alice", id)
    assert read_turn(node.body).status == "completed"


class Interrupted(MemoryStore):
    """A store in which another worker writes just before the next write."""

    before_put: Callable[[], Awaitable[Any]] | None = None

    async def put(self, nodes, expect=None) -> None:
        if (before := self.before_put) is not None:
            self.before_put = None
            await before()
        await super().put(nodes, expect)


@pytest.mark.process
def test_a_follower_keeps_the_keep_alive_of_its_configuration(upstream, by_hand, tmp_path):
    file, port = tmp_path / "trigate.yaml", free_port()
    file.write_text(json.dumps(config(entries(upstream, by_hand), port, keep_alive="60s")))
    with running(file, port) as process, streaming(process, by_hand, "chat", "silent") as (id, _, up):
        file.write_text(json.dumps(config(entries(upstream, by_hand), port, keep_alive="300ms")))
        os.kill(process.pid, signal.SIGHUP)
        eventually(lambda: any("the configuration was reloaded" in line for line in process.log), what="the reload")
        with Wire.connect(port) as client:
            client.send(f"GET /v1/responses/{id}?stream=true HTTP/1.1\r\nhost: x\r\n\r\n".encode())
            client.read_until(b"one t")
            client.read_until(b"\n:")  # a comment
        up.send(chunks(*answer_stream("chat").rest) + END)
        wait_for_status(process, id, "completed")


# Two workers on one file


@pytest.fixture
def crew(upstream, by_hand, tmp_path) -> Iterator[tuple[Gateway, Path]]:
    if not Path("/proc/self/task").exists():
        pytest.skip("children are found in Linux's /proc")
    file, path, port = tmp_path / "trigate.yaml", tmp_path / "state.sqlite", free_port()
    file.write_text(json.dumps(config(entries(upstream, by_hand), port, state_storage=sqlite_at(path))))
    with running_command("serve", str(file), "--workers", "2") as process:
        pid = process.process.pid
        eventually(lambda: len(workers(pid)) == 2, 15, "two workers")
        yield Gateway(port, pid, process.log), path
        assert process.stop() == 0


def reach(gateway: Gateway, worker: int) -> Wire:
    """Return a connection that this worker has accepted."""

    def connect_to_worker() -> Wire | None:
        wire = Wire.connect(gateway.port)
        wire.send(b"GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n")
        wire.read_until(b"ready")
        if wire.sock.getsockname()[1] in peers(worker, gateway.port):
            wire.received = b""
            return wire
        wire.close()
        return None

    return eventually(connect_to_worker, 15, f"a connection to worker {worker}")


def ask(wire: Wire, method: str, path: str, body: dict | None = None) -> dict:
    """Send the last request of a connection, and return the JSON of its response."""
    data = json.dumps(body or {}).encode()
    head = f"{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {len(data)}\r\n\r\n"
    wire.send(head.encode() + data)
    with wire:
        return json.loads(wire.read_to_end().partition(b"\r\n\r\n")[2])


@pytest.mark.process
def test_another_worker_cancels_a_turn_and_a_dead_ones_turn_has_failed(crew, by_hand):
    gateway, path = crew
    one, two = sorted(workers(gateway.pid))
    asked = {"model": "hand-chat", "input": "hi", "background": True}

    id = ask(reach(gateway, one), "POST", "/v1/responses", asked)["id"]
    with by_hand.accept() as up:
        up.read_request()
        assert ask(reach(gateway, two), "GET", f"/v1/responses/{id}")["status"] == "in_progress"
        assert (
            "another worker" in ask(reach(gateway, two), "GET", f"/v1/responses/{id}?stream=true")["error"]["message"]
        )
        cancelled = ask(reach(gateway, two), "POST", f"/v1/responses/{id}/cancel")
        assert cancelled["status"] == "cancelled"
        up.closed_after(time.perf_counter())

    id = ask(reach(gateway, one), "POST", "/v1/responses", asked)["id"]
    with by_hand.accept() as up:
        up.read_request()
        os.kill(one, signal.SIGKILL)
        up.closed_after(time.perf_counter())
        assert ask(reach(gateway, two), "GET", f"/v1/responses/{id}")["status"] == "in_progress"
        age_marks(path)
        failed = ask(reach(gateway, two), "GET", f"/v1/responses/{id}")
    assert (failed["status"], failed["output"]) == ("failed", [])
    assert "stopped before" in failed["error"]["message"]
