"""Interactions of a provider that speaks the API itself: their bytes, agents, and requests about what it stores."""

import contextlib
import json
from typing import Any

import httpx2
import pytest
import trio

from gateway.stores.memory import MemoryStore
from tests.support.cases import case
from tests.support.each_row import each_row
from tests.support.endpoint_provider import before, endpoint_provider, events, json_answer, settings
from tests.support.in_process import gateway
from tests.support.interactions_api import PATH

DONE: dict[str, Any] = {
    "id": "v1_theirs", "object": "interaction", "status": "completed", "model": "gemini-3.8-flash", "future": {"x": 1},
    "created": "2026-11-23T00:00:00Z", "updated": "2026-11-23T00:00:00Z",
    "steps": [{"type": "model_output", "content": [{"type": "text", "text": "hello"}]}],
    "usage": {"total_input_tokens": 3, "total_output_tokens": 2, "total_tokens": 5},
}  # fmt: skip
GOOGLE = {"model": "gemini/*", "access_key": "provider-key"}
KEYS = {"client_keys": [{"name": "alice", "key": "alice-key"}, {"name": "bob", "key": "bob-key"}]}
ALICE, BOB = {"x-goog-api-key": "alice-key"}, {"x-goog-api-key": "bob-key"}


@contextlib.asynccontextmanager
async def google(answering=lambda asked: json_answer(DONE), **entry: Any):
    """Serve a gateway with Google as its provider, which answers with ``answering``."""
    async with (
        endpoint_provider(answering) as provider,
        gateway(settings({**GOOGLE, "base_url": provider.url, **entry}), store=MemoryStore(60, 2**20)) as served,
    ):
        yield served, provider


@each_row("store", [True, False, None], every=3)
async def test_the_byte_lane_keeps_the_clients_bytes(store):
    """Also its ``store``, and members that trigate does not know."""
    stored = {} if store is None else {"store": store}
    body = json.dumps({"model": "gemini-3.8-flash", "unknown": [1, {"a": None}], "input": "hi", **stored}).encode()
    async with google() as (served, provider):
        found = await served.post(PATH, content=body, headers={"content-type": "application/json"})
    assert (found.status_code, found.json()) == (200, DONE)
    (asked,) = provider.asked
    assert (asked.path, json.loads(asked.body)) == (PATH, json.loads(body))
    assert asked.headers["api-revision"] == "2026-05-20"
    assert asked.headers["x-goog-api-key"] == "provider-key"


async def test_an_agent_goes_to_googles_entry_only():
    """N1."""
    body = {"agent": "deep-research-pro", "input": "hi", "background": True, "agent_config": {"type": "deep-research"}}
    begun = {"id": "v1_theirs", "object": "interaction", "status": "in_progress", "agent": "deep-research-pro"}
    async with google(lambda asked: json_answer(begun)) as (served, provider):
        found = await served.post(PATH, json=body)
        both = await served.post(PATH, json={**body, "model": "gemini-3.8-flash"})
    assert (found.status_code, found.json()) == (200, begun)
    assert [one.json for one in provider.asked] == [body]
    assert (both.status_code, both.json()["error"]["code"]) == (400, "invalid_request")


@each_row("agent", ["deep-research-pro", "m-1", "unknown"], every=3)
async def test_no_other_provider_serves_an_agent(agent):
    """The provider gets no request."""
    entry = {"model": "openai/m-1", "access_key": "k", "speaks": ["chat"]}
    async with before(lambda asked: json_answer({}), entry=entry) as (served, provider):
        found = await served.post(PATH, json={"agent": agent, "input": "hi"})
    assert (found.status_code, found.json()["error"]["code"]) == (400, "invalid_request"), found.text
    assert agent in found.json()["error"]["message"]
    assert provider.asked == []


async def test_requests_about_a_stored_interaction_reach_its_provider():
    replies = {
        "GET": json_answer(DONE),
        "DELETE": json_answer({}),
        "POST": json_answer({**DONE, "status": "cancelled"}),
    }
    async with google(lambda asked: replies[asked.method]) as (served, provider):
        found = await served.send("GET", f"{PATH}/v1_theirs?include_input=true")
        gone = await served.send("DELETE", f"{PATH}/v1_theirs")
        stopped = await served.post(f"{PATH}/v1_theirs/cancel")
    assert [one.status_code for one in (found, gone, stopped)] == [200, 200, 200]
    assert (found.json(), gone.json(), stopped.json()["status"]) == (DONE, {}, "cancelled")
    assert [(one.method, one.path) for one in provider.asked] == [
        ("GET", f"{PATH}/v1_theirs?include_input=true"), ("DELETE", f"{PATH}/v1_theirs"),
        ("POST", f"{PATH}/v1_theirs/cancel"),
    ]  # fmt: skip


async def test_a_resumed_stream_of_the_provider_passes_unchanged():
    rest = b'event: step.delta\ndata: {"event_type":"step.delta","index":0,"delta":{"type":"text","text":"x"}}\n\n'
    end = b'event: interaction.completed\ndata: {"event_type":"interaction.completed","interaction":%b}\n\n' % (
        json.dumps({**DONE, "steps": None}).encode()
    )
    done = b"event: done\ndata: [DONE]\n\n"
    async with google(lambda asked: events(rest, end, done)) as (served, provider):
        found = await served.send("GET", f"{PATH}/v1_theirs?stream=true&last_event_id=E%2B7")
    assert found.content == rest + end + done
    assert provider.asked[0].path == f"{PATH}/v1_theirs?stream=true&last_event_id=E%2B7"


async def test_a_key_reaches_only_its_own_interactions_at_the_provider():
    """The provider knows one account, not its clients."""
    async with (
        endpoint_provider(lambda asked: json_answer(DONE)) as provider,
        gateway(settings({**GOOGLE, "base_url": provider.url}, **KEYS), store=MemoryStore(60, 2**20)) as served,
    ):
        body = {"model": "gemini-3.8-flash", "input": "hi"}
        assert (await served.post(PATH, json=body, headers=ALICE)).json() == DONE
        assert (await served.send("GET", f"{PATH}/v1_theirs", headers=ALICE)).json() == DONE
        count = len(provider.asked)
        for method, path in (("GET", "v1_theirs"), ("DELETE", "v1_theirs"), ("POST", "v1_theirs/cancel")):
            foreign = await served.send(method, f"{PATH}/{path}", headers=BOB)
            assert (foreign.status_code, foreign.json()["error"]["code"]) == (404, "not_found")
        later = {**body, "previous_interaction_id": "v1_theirs"}
        assert (await served.post(PATH, json=later, headers=BOB)).status_code == 400
        assert len(provider.asked) == count
        assert (await served.post(PATH, json=later, headers=ALICE)).status_code == 200
        assert provider.asked[-1].json == later


async def test_state_ours_keeps_the_turn_here():
    """``store: false`` is the one difference."""
    async with google(state="ours") as (served, provider):
        with trio.fail_after(20):
            found = await served.post(PATH, json={"model": "gemini-3.8-flash", "input": "hi", "store": True})
    assert found.status_code == 200
    (asked,) = provider.asked
    assert asked.json["store"] is False


# Errors


def check_refusal(reply: httpx2.Response, status: int, code: str) -> str:
    assert (reply.status_code, reply.json()["error"]["code"]) == (status, code), reply.text
    assert set(reply.json()) == {"error"}
    message: str = reply.json()["error"]["message"]
    return message


HI = {"model": "gemini-3.8-flash", "input": "hi"}


WRONG_PATHS = [
    ("GET", PATH, 405, "invalid_request"),
    ("PUT", f"{PATH}/v1_x", 405, "invalid_request"),
    ("GET", f"{PATH}/v1_x/cancel", 405, "invalid_request"),
    ("GET", f"{PATH}/v1_x/y/z", 404, "not_found"),
    ("GET", f"{PATH}/v1_x?stream=maybe", 400, "invalid_request"),
    ("GET", f"{PATH}/v1_tg1.0123456789abcdef01234567?stream=maybe", 400, "invalid_request"),
    ("GET", "/v1beta1/projects/p/locations/l/interactions/v1_x", 404, "not_found"),
]


async def test_errors_about_paths_have_codes_that_are_words():
    gone = json_answer({"error": {"code": "not_found", "message": "gone"}}, 404)
    async with google(lambda asked: gone) as (served, _):
        for method, path, status, code in WRONG_PATHS:
            with case(f"{method} {path}"):
                check_refusal(await served.send(method, path), status, code)


WRONG_REQUESTS = [
    (b"{", {}, 400, "invalid_request"),
    (b"[]", {}, 400, "invalid_request"),
    (b'{"model":"gemini-3.8-flash","model":"x","input":"hi"}', {}, 400, "invalid_request"),
    (b'{"model":"gemini-3.8-flash","input":7}', {}, 400, "invalid_request"),
    (b'{"model":7,"input":"hi"}', {}, 400, "invalid_request"),
    (b'{"model":"nobody/knows","input":"hi"}', {}, 404, "not_found"),
    (b'{"input":"' + b"x" * 5000 + b'"}', {}, 413, "invalid_request"),
    (b"{}", {"content-encoding": "lzma"}, 415, "invalid_request"),
    (b"x", {"content-encoding": "gzip"}, 400, "invalid_request"),
    (b"{}", {"x-goog-api-key": "wrong"}, 401, "unauthenticated"),
    (b"{}", {"x-goog-api-key": ""}, 401, "unauthenticated"),
    (b'{"model":"gemini-3.8-flash","input":"hi"}', {"x-goog-api-key": "bob-key"}, 403, "permission_denied"),
]


async def test_errors_about_requests_have_codes_that_are_words():
    keys = [{"name": "alice", "key": "alice-key"}, {"name": "bob", "key": "bob-key", "models": ["other"]}]
    aliases = {"other": {"target": "gemini/other"}}
    more = {"client_keys": keys, "limits": {"request_body": 4000}, "model_aliases": aliases}
    async with (
        endpoint_provider(lambda asked: json_answer(DONE)) as provider,
        gateway(settings({**GOOGLE, "base_url": provider.url}, **more)) as served,
    ):
        for body, headers, status, code in WRONG_REQUESTS:
            with case(body[:60]):
                sent = {**ALICE, "content-type": "application/json", **headers}
                check_refusal(await served.post(PATH, content=body, headers=sent), status, code)
        assert provider.asked == []


@each_row(
    ("status", "body", "expected", "code"),
    [
        (400, {"error": {"code": "invalid_request", "message": "no such tool"}}, 400, "invalid_request"),
        (400, {"error": {"code": 400, "message": "no", "status": "INVALID_ARGUMENT"}}, 400, "invalid_request"),
        (404, {"error": {"code": 404, "message": "no", "status": "NOT_FOUND"}}, 404, "not_found"),
        (429, {"error": {"code": "too_many_requests", "message": "slow"}}, 429, "too_many_requests"),
        (429, {"error": {"code": 429, "message": "slow", "status": "RESOURCE_EXHAUSTED"}}, 429, "too_many_requests"),
        (503, {"error": {"code": "unavailable", "message": "busy"}}, 503, "unavailable"),
        (500, {"error": {"code": "internal", "message": "oops"}}, 500, "internal"),
        (500, "<html>", 500, "internal"),
        (401, {"error": {"code": "unauthenticated", "message": "key"}}, 502, "internal"),
    ],
)
@each_row("lane", ["byte", "hub"])
async def test_a_providers_errors_keep_status_words_and_waits(lane, status, body, expected, code):
    state = {} if lane == "byte" else {"state": "ours"}
    reply = json_answer(body, status, ("retry-after", "7"), ("x-goog-request-id", "g1"))
    async with google(lambda asked: reply, **state) as (served, _):
        found = await served.post(PATH, json=HI)
    check_refusal(found, expected, code)
    assert found.headers["x-request-id"]
    if expected in (429, 503):
        assert found.headers["retry-after"] == "7"


@pytest.mark.parametrize("lane", ["byte", "hub"])
async def test_a_failure_midway_is_one_error_event_and_the_end(lane):
    """No sign of success follows."""
    text = {"event_type": "step.delta", "index": 0, "delta": {"type": "text", "text": "he"}}
    start = {"event_type": "step.start", "index": 0, "step": {"type": "model_output"}}
    created = {"event_type": "interaction.created", "interaction": {**DONE, "steps": None, "status": "in_progress"}}
    error = {"event_type": "error", "error": {"code": "internal", "message": "broke"}}
    pieces = [
        f"event: {one['event_type']}\ndata: {json.dumps(one)}\n\n".encode() for one in (created, start, text, error)
    ]
    for sent, cut in ((pieces, False), (pieces[:3], False), (pieces[:3], True)):
        state = {} if lane == "byte" else {"state": "ours"}
        async with google(lambda asked, sent=sent, cut=cut: events(*sent, cut=cut), **state) as (served, _):
            found = await served.post(PATH, json={**HI, "stream": True})
        names = [line for line in found.text.split("\n") if line.startswith("event:")]
        assert names[-1] == "event: error", found.text
        assert names.count("event: error") == 1
        assert "[DONE]" not in found.text
        last = json.loads(found.text.strip().rpartition("data: ")[2])
        assert isinstance(last["error"]["code"], str)


async def test_the_gateway_never_continues_on_its_own():
    """The token goes to the client, and the client's to the provider; each resend would bill its input."""
    partial = {**DONE, "status": "requires_continuation", "continuation_token": "token-1"}
    async with google(lambda asked: json_answer(partial)) as (served, provider):
        found = await served.post(PATH, json=HI)
        assert (found.json(), len(provider.asked)) == (partial, 1)
        more = {"model": HI["model"], "previous_interaction_id": "v1_theirs", "continuation_token": "token-1"}
        assert (await served.post(PATH, json=more)).json() == partial
    assert [one.json for one in provider.asked] == [HI, more]


@pytest.mark.parametrize("path", ["/v1beta1/projects/p/locations/l/interactions", "/v1beta/interactions/"])
async def test_other_spellings_of_the_path_work(path):
    async with google() as (served, provider):
        assert (await served.post(path, json=HI)).json() == DONE
        assert (await served.send("GET", f"{path.rstrip('/')}/v1_theirs")).json() == DONE
    assert [one.path for one in provider.asked] == [PATH, f"{PATH}/v1_theirs"]
