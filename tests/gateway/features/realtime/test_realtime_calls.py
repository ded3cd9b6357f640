"""Realtime calls: offers are forwarded, ids work only for their client, and websockets of calls are metered
(openai/openai-agents-js#483, ENTERPILOT/GoModel#500)."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import trio

from gateway.features.realtime.calls import read_session, replace_session
from tests.support.each_row import each_row
from tests.support.endpoint_provider import (
    EndpointProvider,
    ReceivedRequest,
    ScriptedAnswer,
    before,
    endpoint_provider,
    settings,
)
from tests.support.harness import PATIENCE
from tests.support.in_process import InProcess, gateway
from tests.support.websocket_caller import calling

SDP = b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\n"
MAY, OTHER, PLAIN = "sk-may-have-calls-11", "sk-may-have-calls-22", "sk-has-nothing-more-1"
KEYS = [
    {"name": "may", "key": MAY, "realtime": {"calls": True}, "models": ["voice"]},
    {"name": "other", "key": OTHER, "realtime": {"calls": True}},
    {"name": "plain", "key": PLAIN},
]
ENTRY = {"name": "voice", "price": {"input": 4, "output": 16}}


def answering(asked: ReceivedRequest) -> ScriptedAnswer:
    if asked.path.partition("?")[0] != "/v1/realtime/calls":
        return ScriptedAnswer((), 200, (), length=True)
    headers = (("content-type", "application/sdp"), ("location", "/v1/realtime/calls/rtc_native1"))
    return ScriptedAnswer((SDP,), 201, headers, length=True)


@contextlib.asynccontextmanager
async def run_gateway() -> AsyncIterator[tuple[InProcess, EndpointProvider]]:
    with trio.fail_after(PATIENCE):
        async with before(answering, entry=ENTRY, client_keys=KEYS) as (running, provider):
            yield running, provider


async def post(running: InProcess, path: str, key: str, **more: Any) -> httpx2.Response:
    headers = {"authorization": f"Bearer {key}", **more.pop("headers", {})}
    return await running.post(path, headers=headers, **more)


OFFER = {"content": SDP, "headers": {"content-type": "application/sdp"}}


async def test_an_offer_begins_a_call_that_only_its_client_can_use():
    async with run_gateway() as (running, provider):
        response = await post(running, "/v1/realtime/calls?model=voice", MAY, **OFFER)
        assert (response.status_code, response.content) == (201, SDP)
        assert response.headers["content-type"] == "application/sdp"
        location = response.headers["location"]
        assert location.startswith("/v1/realtime/calls/rtc_T")
        assert "native1" in location
        asked = provider.asked[0]
        assert (asked.path, asked.body) == ("/v1/realtime/calls?model=m-1", SDP)
        assert asked.headers["content-type"] == "application/sdp"
        assert asked.headers["authorization"] == "Bearer provider-key"
        for action in ("hangup", "refer", "reject"):
            response = await post(running, f"{location}/{action}", MAY, json={"target_uri": "tel:+1"})
            assert response.status_code == 200, response.text
            assert provider.asked[-1].path == f"/v1/realtime/calls/rtc_native1/{action}"
        accepted = await post(running, f"{location}/accept", MAY, json={"type": "realtime", "model": "voice"})
        assert accepted.status_code == 200
        assert provider.asked[-1].json == {"type": "realtime", "model": "m-1"}
        count = len(provider.asked)
        for key, path in ((OTHER, location), (MAY, "/v1/realtime/calls/rtc_native1"), (MAY, location + "x")):
            response = await post(running, f"{path}/hangup", key)
            assert response.status_code == 404, path
        response = await post(running, f"{location}/accept", MAY, json={"type": "realtime", "model": "other"})
        assert response.status_code in (403, 404)
        assert len(provider.asked) == count
        id = location.rpartition("/")[2]
        for key, status in ((OTHER, 404), (PLAIN, 403)):
            headers = (("authorization", f"Bearer {key}"),)
            async with calling(running.url, f"/v1/realtime?call_id={id}", headers) as caller:
                assert caller.status == status
        async with calling(running.url, f"/v1/realtime?call_id={id}", (("authorization", f"Bearer {MAY}"),)) as caller:
            assert caller.status == 502  # this provider accepts no websockets
        assert provider.asked[-1].path == "/v1/realtime?call_id=rtc_native1"


async def test_a_call_is_unknown_once_its_client_may_not_use_the_model():
    signing = "c2lnbmluZy1rZXktZm9yLXRlc3RzLTAxMjM0NTY3ODk="
    async with endpoint_provider(answering) as provider:
        entries = [
            {"model": "openai/m-1", "name": name, "access_key": f"key-of-{name}", "base_url": f"{provider.url}/v1"}
            for name in ("voice", "other")
        ]
        location, statuses = "", []
        for model in ("voice", "other"):
            keys = [{**KEYS[0], "models": [model]}]
            async with gateway(settings(*entries, client_keys=keys, signing_key=signing)) as running:
                if not location:
                    made = await post(running, "/v1/realtime/calls?model=voice", MAY, **OFFER)
                    location = made.headers["location"]
                statuses.append((await post(running, f"{location}/hangup", MAY)).status_code)
    assert statuses == [200, 404]
    assert len(provider.asked) == 2


async def test_a_client_without_budget_begins_no_call_and_can_end_one():
    async with endpoint_provider(answering) as provider:
        entry = {"model": "openai/m-1", "access_key": "k", "base_url": f"{provider.url}/v1", **ENTRY}
        async with gateway(settings(entry, client_keys=KEYS)) as running:
            location = (await post(running, "/v1/realtime/calls?model=voice", MAY, **OFFER)).headers["location"]
            running.reload(settings(entry, client_keys=[{**KEYS[0], "budgets": ["0.000001 usd/day"]}]))
            assert (await post(running, "/v1/realtime/calls?model=voice", MAY, **OFFER)).status_code == 402
            accepted = await post(running, f"{location}/accept", MAY, json={"type": "realtime", "model": "voice"})
            assert accepted.status_code == 402
            for action in ("hangup", "refer", "reject"):
                assert (await post(running, f"{location}/{action}", MAY, json={})).status_code == 200


@each_row("file_name", [None, "blob"])  # browsers name each part with a content type "blob"
async def test_only_the_model_changes_in_the_settings_of_an_offer(file_name):
    session = '{"type": "realtime", "model": "voice", "audio": {"output": {"voice": "marin"}}}'
    files = {"sdp": (None, SDP.decode()), "session": (file_name, session, "application/json")}
    async with run_gateway() as (running, provider):
        response = await post(running, "/v1/realtime/calls", MAY, files=files)
        assert response.status_code == 201, response.text
        asked = provider.asked[0]
        found = read_session(asked.body, asked.headers["content-type"])
        assert found.texts == {"session.model": "m-1"}
        assert SDP in asked.body
        back = asked.body.replace(b'"model":"m-1"', b'"model":"voice"')
        assert replace_session(back, asked.headers["content-type"], found) == asked.body


async def test_a_refused_realtime_call_starts_nothing():
    two = "multipart/form-data; boundary=b"
    twice = b'--b\r\nContent-Disposition: form-data; name="session"\r\n\r\n{"model":"voice"}\r\n' * 2 + b"--b--\r\n"
    async with run_gateway() as (running, provider):
        for key, path, more, status in (
            (PLAIN, "?model=voice", OFFER, 403),
            (MAY, "", OFFER, 400),
            (MAY, "?model=nobody", OFFER, 404),
            (MAY, "?model=voice", {"json": {}}, 415),
            (MAY, "", {"content": twice, "headers": {"content-type": two}}, 400),
            (MAY, "?model=x", {"files": {"session": (None, '{"model": "voice"}')}}, 400),
            (MAY, "?model=voice", {"files": {"session": (None, '{"Model": "other"}')}}, 400),
            (MAY, "?model=voice", {"files": {"session": (None, "no JSON")}}, 400),
        ):
            response = await post(running, f"/v1/realtime/calls{path}", key, **more)
            assert response.status_code == status, (path, response.text)
        assert not provider.asked
