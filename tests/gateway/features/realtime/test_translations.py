"""Sessions that translate speech, at ``/v1/realtime/translations``."""

import json

from tests.support.endpoint_provider import before, json_answer
from tests.support.realtime_sessions import BEARER, KEY, PRICE, serve_sessions
from tests.support.websocket_caller import calling
from tests.support.websocket_server import Peer

PATH = "/v1/realtime/translations?model=interpreter"
INTERPRETER = {"model": "openai/gpt-realtime-translate", "name": "interpreter", "price": PRICE}


async def interpret(peer: Peer) -> None:
    await peer.accept()
    await peer.send({"type": "session.created", "session": {"type": "translation"}})
    while (message := await peer.receive()) is not None:
        if json.loads(message)["type"] == "session.close":
            await peer.send({"type": "session.closed"})
            return
        await peer.send(
            {"type": "session.output_transcript.delta", "delta": "guten Tag, wie geht es Ihnen heute?"},
            {"type": "session.output_audio.delta", "delta": "QUJD" * 20_000},
        )


async def test_a_translation_passes_to_its_own_path_and_is_charged(exchanges):
    async with serve_sessions(interpret, INTERPRETER) as (running, server):
        async with calling(running.url, PATH, BEARER) as caller:
            assert caller.status == 101
            (peer,) = server.peers
            assert peer.target == "/v1/realtime/translations?model=gpt-realtime-translate"
            assert KEY not in peer.head.decode()
            assert (await caller.event())["type"] == "session.created"
            await caller.send('{"type":"session.input_audio_buffer.append","audio":"QUJD"}')
            kinds = [(await caller.event())["type"] for _ in range(2)]
            assert kinds == ["session.output_transcript.delta", "session.output_audio.delta"]
            await caller.send('{"type":"session.close"}')
            assert (await caller.event())["type"] == "session.closed"
        output, session = await exchanges.wait_for(2)
    assert (output["endpoint"], output["client"], output["ended"]) == ("realtime_translations", "one", "complete")
    assert output["cost_usd"] > 0, "the provider reports no usage, so it is estimated"
    assert output["usage_estimated"]
    assert "cost_usd" not in session


async def test_a_translation_is_refused_before_the_provider_is_contacted():
    async with serve_sessions(interpret, INTERPRETER, key={"models": []}) as (running, server):
        for path, headers, status in (
            (PATH, (), 401), (PATH, BEARER, 403), ("/v1/realtime/translations", BEARER, 400),
            ("/v1/realtime/translations?model=nobody", BEARER, 404),
        ):  # fmt: skip
            async with calling(running.url, path, headers) as caller:
                assert caller.status == status, path
        assert server.peers == []


async def test_a_credential_for_translations_comes_from_their_path():
    body = {"session": {"model": "interpreter", "audio": {"output": {"language": "de"}}}}
    keys = [{"name": "one", "key": KEY, "realtime": {"client_secrets": True}}]
    entry = {"name": "interpreter", "price": PRICE}
    async with before(lambda asked: json_answer({"value": "ek_1"}), entry=entry, client_keys=keys) as (
        running,
        provider,
    ):
        path = "/v1/realtime/translations/client_secrets"
        found = await running.post(path, json=body, headers=dict(BEARER))
        assert (found.status_code, found.json()) == (200, {"value": "ek_1"})
        (asked,) = provider.asked
        assert asked.path == path
        assert asked.json == {"session": {**body["session"], "model": "m-1"}}
