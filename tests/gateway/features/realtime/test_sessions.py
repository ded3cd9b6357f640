"""Realtime sessions through a complete gateway in this process, over real sockets, with a scripted provider."""

import contextlib
import json
import logging
from operator import itemgetter
from typing import Any

import pytest
import trio
import trio.testing
from wsproto.utilities import LocalProtocolError

from tests.support import realtime_sessions
from tests.support.asgi_app import eventually
from tests.support.features import has_feature, needs_feature
from tests.support.harness import Late, retried_when_late
from tests.support.in_process import InProcess
from tests.support.metrics_page import Numbers, metrics_of, page_of
from tests.support.realtime_sessions import KEY, PATH, PRICE, UPSTREAM, echo, serve_sessions, session_config
from tests.support.websocket_caller import Caller, calling
from tests.support.websocket_server import Peer, Talk, WebSocketServer

OTHER = "sk-client-of-the-gateway-2"
AT_ONCE = 0.3


def check_in_time(began: float) -> None:
    if (took := trio.current_time() - began) >= AT_ONCE:
        raise Late(f"it took {took:.3f} s")


USAGE = {
    "total_tokens": 300, "input_tokens": 200, "output_tokens": 100,
    "input_token_details": {"cached_tokens": 50, "text_tokens": 120, "audio_tokens": 80},
}  # fmt: skip


VOICE = {**realtime_sessions.VOICE, "price": {**PRICE, "cached": 0.4}}
WORDS = {"model": "openai/gpt-4o", "name": "words"}


def clients(**key: Any) -> list[dict[str, Any]]:
    return [{"name": "one", "key": KEY, **key}, {"name": "two", "key": OTHER, "budgets": ["0.00001 usd/day"]}]


def serve(
    talk: Talk, entry: dict[str, Any] | None = None, key: dict[str, Any] | None = None, **more: Any
) -> contextlib.AbstractAsyncContextManager[tuple[InProcess, WebSocketServer]]:
    return serve_sessions(talk, {**VOICE, **(entry or {})}, WORDS, client_keys=clients(**(key or {})), **more)


def bearer(key: str = KEY) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {key}"),)


async def answering(peer: Peer) -> None:
    """Send the same events as OpenAI for each ``response.create``."""
    await peer.accept("realtime" if "sec-websocket-protocol" in peer.headers else None)
    await peer.send({"type": "session.created", "session": {"model": "gpt-realtime"}})
    number = 0
    while (message := await peer.receive()) is not None:
        event = json.loads(message)
        if event["type"] == "response.create":
            number += 1
            await peer.send(
                {"type": "response.created", "response": {"id": f"resp_{number}"}},
                {"type": "response.output_text.delta", "delta": "hello"},
                {"type": "response.done", "response": {"id": f"resp_{number}", "status": "completed", "usage": USAGE}},
            )
        elif event["type"] == "input_audio_buffer.commit":
            usage = event.get("usage", {"type": "tokens", "input_tokens": 30, "output_tokens": 5})
            kind = "conversation.item.input_audio_transcription.completed"
            await peer.send({"type": kind, "transcript": "hi", "usage": usage})


async def test_messages_pass_unchanged_in_both_directions():
    async with serve(echo) as (running, server), calling(running.url, PATH, bearer()) as caller:
        assert caller.status == 101
        assert caller.headers["x-trigate-target"] == "openai/gpt-realtime"
        for message in ('{"type":"x","n":1.50}', b"\x00\xff", '{"type":"a","audio":"' + "QUJD" * 300_000 + '"}'):
            await caller.send(message)
            assert await caller.receive() == message
        (peer,) = server.peers
        assert peer.target == "/v1/realtime?model=gpt-realtime"
        assert peer.headers["authorization"] == f"Bearer {UPSTREAM}"
        assert KEY not in peer.head.decode()
        await caller.close(4000, "done")
        await peer.gone.wait()
        assert peer.closed == (4000, "done")


async def test_a_key_of_a_browser_in_the_subprotocol_is_not_forwarded(caplog, exchanges):
    """BerriAI/litellm#36151, api7/aisix#721, langwatch/langwatch#7066."""
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, "trigate")
    offer = f"realtime, openai-insecure-api-key.{KEY}, openai-beta.realtime-v1"
    headers = (("sec-websocket-protocol", offer), ("openai-beta", "realtime=v1"))
    async with serve(answering) as (running, server), calling(running.url, PATH, headers) as caller:
        assert caller.status == 101
        assert caller.headers["sec-websocket-protocol"] == "realtime"
        assert (await caller.event())["type"] == "session.created"
        (peer,) = server.peers
        assert peer.headers["sec-websocket-protocol"] == "realtime"
        assert "openai-beta" not in peer.headers
        assert KEY not in peer.head.decode()
        await caller.close()
        await exchanges.wait_for(1)
    assert KEY not in caplog.text
    for wrong in (f"realtime, openai-insecure-api-key.{KEY}x", "realtime"):
        async with serve(answering) as (running, server):
            async with calling(running.url, PATH, (("sec-websocket-protocol", wrong),)) as caller:
                assert caller.status == 401
            assert not server.peers


async def test_pages_of_other_origins_than_in_cors_may_not_open_a_session():
    """The handshake of a page has an origin, and no preflight precedes it."""
    async with serve(echo, cors=["https://good.example"]) as (running, server):
        for origin, status in (("https://evil.example", 403), ("https://good.example", 101)):
            async with calling(running.url, PATH, (*bearer(), ("origin", origin))) as caller:
                assert caller.status == status, origin
        assert len(server.peers) == 1


async def test_a_realtime_session_is_refused_before_the_provider_is_contacted(exchanges):
    async with serve(echo, key={"models": ["voice"], "ratelimits": {"requests": "1/h"}}) as (running, server):
        for path, headers, status, code in (
            (PATH, (), 401, None),
            ("/v1/realtime", bearer(), 400, None),
            ("/v1/realtime?model=nobody", bearer(OTHER), 404, None),
            ("/v1/realtime?model=words", bearer(), 403, None),
            (PATH, bearer(OTHER), 402, "insufficient_quota"),
        ):
            async with calling(running.url, path, headers) as caller:
                assert caller.status == status, (path, caller.body)
                assert caller.error["message"]
                assert code is None or caller.error["code"] == code
        assert not server.peers
        async with calling(running.url, PATH, bearer()) as caller:
            assert caller.status == 101
            await caller.close()
        async with calling(running.url, PATH, bearer()) as caller:
            assert caller.status == 429
        assert len(server.peers) == 1
    await exchanges.wait_for(7)
    assert [line["status"] for line in exchanges.lines] == [401, 400, 404, 403, 402, 101, 429]
    assert {line["endpoint"] for line in exchanges.lines} == {"realtime"}


REFUSED_WITH = (("retry-after", "7"), ("x-ratelimit-reset-tokens", "6m0s"), ("set-cookie", "a=b"))


async def test_a_refusal_of_the_provider_is_the_response_to_the_handshake():
    """Clients got an open websocket without any messages: BerriAI/litellm#39851."""
    for status, told in ((401, 502), (404, 404), (429, 429), (500, 500), (302, 502)):

        async def refuse(peer: Peer, status: int = status) -> None:
            await peer.refuse(status, {"error": {"message": f"no, {UPSTREAM}", "type": "x"}}, REFUSED_WITH)
            await peer.read_rest()

        async with serve(refuse) as (running, _), calling(running.url, PATH, bearer()) as caller:
            assert caller.status == told, (status, caller.body)
            assert UPSTREAM not in caller.body.decode()
            assert status != 429 or caller.headers["retry-after"] == "7"
            assert ("x-ratelimit-reset-tokens" in caller.headers) == (told == status), status
            assert "set-cookie" not in caller.headers

    async def hang_up(peer: Peer) -> None:
        await peer.stream.aclose()

    async with serve(hang_up) as (running, _), calling(running.url, PATH, bearer()) as caller:
        assert caller.status == 502


@retried_when_late
async def test_the_close_of_the_provider_reaches_the_client_immediately_with_a_valid_code():
    """opensandbox-group/OpenSandbox#1640, EtienneLescot/n8n-as-code#318, manaflow-ai/subrouter#79."""
    cases: tuple[tuple[int | None, str, tuple[int, str]], ...] = (
        (1000, "bye", (1000, "bye")),
        (None, "", (1005, "")),
        (1001, "session_expired", (1001, "session_expired")),
        (1008, f"wrong key {UPSTREAM}", (1008, "")),
        (1012, "", (1012, "")),
        (1013, "later", (1013, "later")),
        (1014, "no model behind me", (1014, "no model behind me")),
        (3000, "x" * 123, (3000, "x" * 123)),
        (4999, "own", (4999, "own")),
        (-1, "", (1011, "upstream connection lost")),
    )
    now: list[float] = []
    case = iter(cases)

    async def close(peer: Peer) -> None:
        code, reason, _ = next(case)
        await peer.accept(behind=peer.frame("first"))
        await peer.receive()
        now.append(trio.current_time())
        if code != -1:
            await peer.close(code, reason)

    async with serve(close) as (running, server):
        for _, _, (told, reason) in cases:
            async with calling(running.url, PATH, bearer()) as caller:
                assert await caller.receive() == "first"
                await caller.send("{}")
                assert await caller.receive() is None
                check_in_time(now[-1])
                assert caller.code == told
                assert caller.closed[1] == reason or told == 1008
                assert UPSTREAM not in caller.closed[1]
        for peer in server.peers:
            await peer.gone.wait()


@retried_when_late
async def test_the_close_of_the_client_reaches_the_provider_immediately():
    """Sessions stayed open and were billed: BerriAI/litellm#39851."""
    for code, told in ((1000, 1000), (1012, 1012), (1014, 1014), (4321, 4321), (None, 1001)):
        async with serve(echo) as (running, server):
            async with calling(running.url, PATH, bearer()) as caller:
                await caller.send("{}")
                await caller.receive()
                if code is not None:
                    await caller.close(code, "enough")
            began = trio.current_time()
            await server.peers[0].gone.wait()
            check_in_time(began)
            assert server.peers[0].code == told


async def test_each_answer_and_each_transcript_is_billed_when_it_arrives(exchanges):
    """ChronoAIProject/NyxID#1154, ENTERPILOT/GoModel#750."""
    async with serve(answering) as (running, _), calling(running.url, PATH, bearer()) as caller:
        await caller.send({"type": "response.create"})
        while (await caller.event())["type"] != "response.done":
            pass
        (line,) = exchanges.lines
        assert (line["input_tokens"], line["output_tokens"], line["cached_tokens"]) == (200, 100, 50)
        assert line["endpoint"] == "realtime"
        assert line["client"] == "one"
        assert line["cost_usd"] == 0.00222
        assert (line["ended"], line["reason"]) == ("complete", "completed")
        await caller.send({"type": "input_audio_buffer.commit"})
        await caller.event()
        assert (exchanges.lines[1]["input_tokens"], exchanges.lines[1]["output_tokens"]) == (30, 5)
        assert exchanges.lines[1]["reason"] == "transcribed"
        await caller.close()
        last = (await exchanges.wait_for(3))[-1]
        assert (last["ended"], last["reason"], last["status"]) == ("complete", "client_closed", 101)
        assert "cost_usd" not in last
        if not has_feature("metrics"):
            return
        page = Numbers(page_of(metrics_of(running.service)))
        assert page("trigate_exchanges_total", api="realtime") == 3
        for labels in page.labels("trigate_exchanges_in_flight"):  # each exchange begins and ends with the same label
            assert page("trigate_exchanges_in_flight", **labels) == 0, labels


async def test_a_cut_answer_is_billed_for_its_received_part(exchanges):
    async def cut(peer: Peer) -> None:
        await peer.accept()
        await peer.receive()
        await peer.send({"type": "response.created", "response": {"id": "r"}})
        await peer.send({"type": "response.output_text.delta", "delta": "x" * 400})

    async with serve(cut) as (running, _), calling(running.url, PATH, bearer()) as caller:
        await caller.send({"type": "response.create"})
        await caller.read_rest()
        assert caller.closed == (1011, "upstream connection lost")
        answer, session = await exchanges.wait_for(2)
    assert answer["output_tokens"] == 100
    assert answer["usage_estimated"]
    assert (answer["ended"], answer["status"], answer["message"]) == ("upstream_error", 200, "upstream connection lost")
    assert session["ended"] == "upstream_error"


INVALID = (1011, "the provider sent an invalid WebSocket frame")
FAILED = {"ended": "upstream_error", "reason": "upstream_invalid"}


@pytest.mark.parametrize(
    ("frame", "closed", "told", "session"),
    [
        (b"\xf1\x00", INVALID, "invalid", FAILED),
        (b"\x81\x01\xff", INVALID, "invalid", FAILED),
        (b"\x88\x02\x03\xed", INVALID, "invalid", FAILED),
        (b"\x88\x02\x03\xe8", (1000, ""), "closed the session", {"ended": "complete", "reason": "provider_closed"}),
    ],
    ids=["reserved bit", "no text", "no code", "close"],
)
async def test_a_response_that_the_provider_leaves_unfinished_is_its_failure(frame, closed, told, session, exchanges):
    """The client got 1002 or 1007, as if its frames were invalid, and the log had a complete session. If a close left
    a response unfinished, the log and the metrics blamed a disconnected client."""

    async def garble(peer: Peer) -> None:
        await peer.accept()
        await peer.receive()
        await peer.stream.send_all(frame)
        await peer.read_rest()

    async with serve(garble) as (running, _), calling(running.url, PATH, bearer()) as caller:
        await caller.send({"type": "response.create"})
        await caller.read_rest()
        assert caller.closed == closed
        answer, ended = await exchanges.wait_for(2)
    assert (answer["ended"], answer["status"]) == ("upstream_error", 502)
    assert told in answer["message"]
    assert session.items() <= ended.items()


async def test_an_invalid_frame_of_the_client_does_not_close_the_provider_with_its_code():
    """The provider got 1002, as if the gateway's frames were invalid."""
    async with serve(echo) as (running, server), calling(running.url, PATH, bearer()) as caller:
        await caller.stream.send_all(b"\xf1\x80" + bytes(4))
        await caller.read_rest()
        assert caller.code == 1002
        await server.peers[0].gone.wait()
        assert server.peers[0].closed == (1001, "the client's connection was lost")


async def test_the_budget_is_checked_for_each_answer():
    """A check only at the handshake is not enough: headroomlabs-ai/headroom#3579."""
    key, dear = {"budgets": ["0.12 usd/day"]}, {"price": {"input": 400, "output": 16, "cached": 0.4}}
    async with (
        serve(answering, key=key, entry=dear) as (running, server),
        calling(running.url, PATH, bearer()) as caller,
    ):
        assert (await caller.event())["type"] == "session.created"
        kinds: list[str] = []
        for number in range(3):
            await caller.send({"type": "response.create", "event_id": f"e{number}"})
            while (event := await caller.event())["type"] not in ("response.done", "error"):
                pass
            kinds.append(event["type"])
        assert kinds[0] == "response.done"
        assert kinds[1:] == ["error", "error"]
        assert event["error"]["code"] == "insufficient_quota"
        assert event["error"]["event_id"] == "e2"
        await caller.send({"type": "conversation.item.create"})
        await caller.close()
        await eventually(lambda: server.peers[0].closed)


async def test_a_session_belongs_to_the_run_in_its_handshake():
    """A budget for runs limited none of its answers, and the kept ledger had no run."""
    key, dear = {"budgets": ["0.09 usd/run"]}, {"price": {"input": 400, "output": 16, "cached": 0.4}}
    async with serve(answering, key=key, entry=dear) as (running, _):
        kinds: list[str] = []
        for run in ("task", "task", "other"):
            async with calling(running.url, PATH, (*bearer(), ("x-trigate-run", run))) as caller:
                if caller.status != 101:
                    kinds.append(str(caller.status))
                    continue
                await caller.send({"type": "response.create"})
                while (event := await caller.event())["type"] not in ("response.done", "error"):
                    pass
                kinds.append(event["type"])
                await caller.close()
        assert kinds == ["response.done", "402", "response.done"]
        async with calling(running.url, PATH, (*bearer(), ("x-trigate-run", "x" * 129))) as caller:
            assert caller.status == 400


@needs_feature("client_routing")
async def test_each_answer_has_the_labels_of_the_handshake(exchanges):
    """A blocked end user could open sessions, and the log lines of answers had no user."""
    more = {"client_routing": ["litellm"], "blocked_end_users": ["eve"]}
    async with serve(answering, **more) as (running, _):
        user = "x-litellm-end-user-id"
        async with calling(running.url, PATH, (*bearer(), (user, "eve"))) as caller:
            assert caller.status == 403
        async with calling(running.url, PATH, (*bearer(), (user, "ada"), ("x-litellm-tags", "a,b"))) as caller:
            await caller.send({"type": "response.create"})
            while (await caller.event())["type"] != "response.done":
                pass
            await caller.close()
        await exchanges.wait_for(3)
    for line in exchanges.lines[1:]:
        assert (line["end_user"], line["tags"]) == ("ada", ["a", "b"])


async def test_an_unrequested_answer_is_stopped_if_the_budget_is_exhausted():
    """Voice detection at the provider starts answers automatically."""
    heard: list[Any] = []

    async def answer_freely(peer: Peer) -> None:
        await peer.accept()
        for number in range(2):
            await peer.send({"type": "response.created", "response": {"id": f"r{number}"}})
            done = {"id": f"r{number}", "status": "completed", "usage": {**USAGE, "input_tokens": 100_000}}
            await peer.send({"type": "response.done", "response": done})
        heard.extend(await peer.read_rest())

    key = {"budgets": ["0.1 usd/day"]}
    async with serve(answer_freely, key=key) as (running, server), calling(running.url, PATH, bearer()) as caller:
        found = [json.loads(message) for message in await caller.read_rest()]
        assert found[2]["error"]["code"] == "insufficient_quota"
        assert caller.code == 1008
        await server.peers[0].gone.wait()


async def test_models_in_frames_are_checked_like_the_model_of_the_session():
    """BerriAI/litellm#40010."""
    async with serve(echo, key={"models": ["voice"]}) as (running, _), calling(running.url, PATH, bearer()) as caller:
        await caller.send({"type": "session.update", "session": {"model": "voice", "n": 1}})
        assert await caller.event() == {"type": "session.update", "session": {"model": "gpt-realtime", "n": 1}}
        for session in ({"model": "words"}, {"model": "gpt-4o"}, {"input_audio_transcription": {"model": "gpt-4o"}}):
            await caller.send({"type": "session.update", "session": session})
            assert (await caller.event())["type"] == "error", session
        for wrong in ("no JSON", '{"type":"x","a":' + "[" * 1_000_000 + "]" * 1_000_000 + "}"):
            await caller.send(wrong)
            assert (await caller.event())["error"]["type"] == "invalid_request_error"
        await caller.send({"type": "still.open"})
        assert await caller.event() == {"type": "still.open"}


async def test_a_message_that_is_too_large_closes_with_1009(monkeypatch):
    monkeypatch.setattr("gateway.features.realtime.opening.MAX_MESSAGE", 100_000)
    monkeypatch.setattr("gateway.features.realtime.dialing.MAX_MESSAGE", 100_000)
    for text in ('"' + "x" * 99_990 + '"', '"' + "x" * 100_001 + '"'):
        async with serve(echo) as (running, server), calling(running.url, PATH, bearer()) as caller:
            await caller.send(b"\x00" + text.encode())
            message = await caller.receive()
            if len(text) < 100_000:
                assert message == b"\x00" + text.encode()
            else:
                assert message is None
                assert caller.code == 1009
            await caller.close() if caller.closed is None else None
            await server.peers[0].gone.wait()

    for letters, code in ((49_990, None), (49_991, 1009)):  # of two bytes each: 99,999 and 100,001 with the rest
        async with serve(echo) as (running, server), calling(running.url, PATH, bearer()) as caller:
            await caller.send('{"type":"x","y":"' + "é" * letters + '"}')
            await caller.receive()
            assert caller.code == code

    async def flood(peer: Peer) -> None:
        await peer.accept()
        await peer.send("x" * 100_001)
        await peer.read_rest()

    async with serve(flood) as (running, server), calling(running.url, PATH, bearer()) as caller:
        assert await caller.receive() is None
        assert caller.closed == (1011, "the provider sent a message larger than the limit of 100000 bytes")
        await server.peers[0].gone.wait()
        assert server.peers[0].code == 1009


async def test_a_slow_reader_slows_the_writer_and_no_message_is_lost():
    """The gateway holds one message in each direction. If the buffers of the sockets are full, the sender waits."""
    go = trio.Event()
    got: list[int] = []

    async def slow(peer: Peer) -> None:
        await peer.accept()
        await go.wait()
        while (message := await peer.receive()) is not None:
            got.append(len(message))

    sent: list[int] = []

    async def send(caller: Caller) -> None:
        while True:
            await caller.send(b"\x00" * 2**20)
            sent.append(1)

    async with (
        serve(slow) as (running, _),
        calling(running.url, PATH, bearer()) as caller,
        trio.open_nursery() as both,
    ):
        both.start_soon(send, caller)
        await trio.testing.wait_all_tasks_blocked(0.03)  # shorter than CHECK_SECONDS
        count = len(sent)
        assert 0 < count < 60  # the sockets' rooms are a few megabytes each
        go.set()
        await eventually(lambda: len(got) > count)
        assert set(got) == {2**20}
        both.cancel_scope.cancel()


async def test_a_client_that_does_not_read_slows_its_provider():
    sent: list[int] = []

    async def flood(peer: Peer) -> None:
        await peer.accept()
        while True:
            await peer.send(b"\x00" * 2**20)
            sent.append(1)

    async with serve(flood) as (running, server), calling(running.url, PATH, bearer()) as caller:
        await trio.testing.wait_all_tasks_blocked(0.1)
        count = len(sent)
        assert 0 < count < 60  # the sockets' rooms are a few megabytes each
        for _ in range(count + 5):
            assert await caller.receive() == b"\x00" * 2**20
        await caller.stream.aclose()
        await server.peers[0].gone.wait()


async def test_a_session_ends_if_the_provider_stops_reading(monkeypatch, exchanges):
    monkeypatch.setattr("gateway.features.realtime.session.STALL_SECONDS", 0.3)

    async def read_nothing(peer: Peer) -> None:
        await peer.accept()
        await trio.sleep_forever()

    async with serve(read_nothing) as (running, _), calling(running.url, PATH, bearer()) as caller:
        with contextlib.suppress(trio.BrokenResourceError):
            for _ in range(2):
                await caller.send(b"\x00" * (15 * 2**20))
        await caller.read_rest()
        assert caller.closed == (1011, "the provider accepts no more data")
        (session,) = await exchanges.wait_for(1)
    assert session["reason"] == "stalled"


async def test_a_session_ends_after_its_maximum_time():
    """Providers do the same at their own limit (livekit/agents#2358)."""
    limits = {"realtime": {"max_session": "300ms", "idle": "10m"}}
    async with serve(echo, entry=limits) as (running, server), calling(running.url, PATH, bearer()) as caller:
        async with trio.open_nursery() as nursery:
            found: list[Any] = []

            async def receive() -> None:
                found.extend(await caller.read_rest())
                nursery.cancel_scope.cancel()

            nursery.start_soon(receive)
            with contextlib.suppress(LocalProtocolError):  # the session has ended
                while True:
                    await caller.send("{}")
                    await trio.sleep(0.05)
        error = json.loads(found[-1])["error"]
        assert (error["code"], "max_session" in error["message"]) == ("session_expired", True)
        assert caller.code == 1001
        await server.peers[0].gone.wait()


@pytest.mark.parametrize(
    ("limits", "more"),
    [({"idle": "3s"}, {}), ({"max_session": "3s"}, {}), ({}, {"websocket_idle": "3s"})],
    ids=str,
)
async def test_an_answer_that_outlasts_its_session_did_not_lose_its_client(limits, more, exchanges):
    async def stall(peer: Peer) -> None:
        await peer.accept()
        await peer.receive()
        await peer.send({"type": "response.created", "response": {"id": "r"}})
        await peer.read_rest()

    entry = {"realtime": limits} if limits else {}
    async with serve(stall, entry, **more) as (running, server), calling(running.url, PATH, bearer()) as caller:
        await caller.send({"type": "response.create"})
        assert json.loads((await caller.read_rest())[-1])["error"]["code"] == "session_expired"
        assert caller.code == 1001
        await server.peers[0].gone.wait()
        answer, session = await exchanges.wait_for(2)
    assert (answer["ended"], answer["error"]) == ("upstream_error", "timeout")
    assert session["reason"] == "expired"


async def test_a_session_ends_with_a_code_at_the_end_of_the_drain(exchanges):
    async with serve(echo) as (running, server), calling(running.url, PATH, bearer()) as caller:
        await caller.send("{}")
        assert await caller.receive() == "{}"
        assert running.service.lifecycle.in_flight == 1
        running.service.lifecycle.cancel_pumps()
        assert await caller.receive() is None
        assert caller.code == 1001
        await server.peers[0].gone.wait()
        (line,) = await exchanges.wait_for(1)
        assert line["ended"] == "shutdown"
        assert running.service.lifecycle.in_flight == 0


async def test_another_configuration_ends_a_session_after_its_current_answer():
    go = trio.Event()

    async def slow(peer: Peer) -> None:
        await peer.accept()
        await peer.receive()
        await peer.send({"type": "response.created", "response": {"id": "r"}})
        await go.wait()
        await peer.send({"type": "response.done", "response": {"id": "r", "status": "completed", "usage": USAGE}})
        await peer.read_rest()

    async with serve(slow) as (running, server), calling(running.url, PATH, bearer()) as caller:
        await caller.send({"type": "response.create"})
        assert (await caller.event())["type"] == "response.created"
        running.reload(session_config(server.url, VOICE, WORDS, key={"models": ["words"]}))
        await trio.testing.wait_all_tasks_blocked(0.02)
        await caller.send({"type": "response.create", "event_id": "late"})  # a revoked key got responses for a minute
        assert itemgetter("code", "event_id")((await caller.event())["error"]) == ("session_expired", "late")
        go.set()
        assert (await caller.event())["type"] == "response.done"
        assert (await caller.event())["error"]["code"] == "session_expired"
        assert await caller.receive() is None
        assert caller.closed == (1001, "the gateway has a new configuration: connect again")
        await server.peers[0].gone.wait()
        async with calling(running.url, PATH, bearer()) as again:
            assert again.status == 403


async def test_a_client_that_leaves_during_the_handshake_closes_the_upstream():
    async def silent(peer: Peer) -> None:
        await peer.read_rest()

    async with serve(silent) as (running, server):
        stream = await trio.open_tcp_stream("127.0.0.1", int(running.url.rpartition(":")[2]))
        async with trio.open_nursery() as nursery:
            caller = Caller(stream)
            nursery.start_soon(caller._shake_hands, PATH, bearer())
            await eventually(lambda: server.peers)
            nursery.cancel_scope.cancel()
        await stream.aclose()
        await server.peers[0].gone.wait()


@pytest.mark.parametrize(
    ("path", "first"),
    [
        ("/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent", {"setup": {"model": "x"}}),
        ("/v1/live/sessions", {"type": "session.start", "session": {"model": "x"}}),
    ],
)
async def test_a_refused_session_leaves_no_message_waiting(path, first):
    """The server waited forever with the next message, and the drain of the process waited for the server."""
    async with serve(echo) as (running, _):
        for _ in range(3):
            async with calling(running.url, path, bearer()) as caller:
                for message in (first, first, first):
                    await caller.send(message)
                while await caller.receive() is not None:
                    pass
                assert caller.code == 1008
        await eventually(lambda: not running.service.lifecycle.connections)
