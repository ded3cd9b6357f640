"""Credentials of a provider for realtime sessions from browsers: off unless a key may have them."""

from typing import Any

import httpx2
import trio

from tests.support.endpoint_provider import ReceivedRequest, before, json_answer
from tests.support.harness import PATIENCE
from tests.support.in_process import InProcess

SECRET = {"value": "ek_0123456789", "expires_at": 1_900_000_000, "session": {"type": "realtime", "model": "m-1"}}
PATH = "/v1/realtime/client_secrets"
KEYS = [
    {"name": "may", "key": "sk-may-have-secrets-1", "realtime": {"client_secrets": True}},
    {"name": "bound", "key": "sk-bound-to-a-model-1", "realtime": {"client_secrets": True}, "models": ["voice"]},
    {"name": "poor", "key": "sk-has-no-money-left-1", "realtime": {"client_secrets": True},
     "budgets": ["0.00001 usd/day"]},
    {"name": "plain", "key": "sk-has-nothing-more-1"},
]  # fmt: skip


def answering(asked: ReceivedRequest) -> Any:
    return json_answer(SECRET)


async def ask(running: InProcess, key: str, body: dict[str, Any]) -> httpx2.Response:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    return await running.post(PATH, json=body, headers=headers)


ENTRY = {"name": "voice", "price": {"input": 4, "output": 16}}


async def test_a_client_that_may_gets_one_for_its_model():
    body = {"expires_after": {"seconds": 60}, "session": {"type": "realtime", "model": "voice", "n": 1}}
    with trio.fail_after(PATIENCE):
        async with before(answering, entry=ENTRY, client_keys=KEYS) as (running, provider):
            response = await ask(running, "sk-may-have-secrets-1", body)
            assert (response.status_code, response.json()) == (200, SECRET)
            (asked,) = provider.asked
            assert asked.path == PATH
            assert asked.json == {**body, "session": {"type": "realtime", "model": "m-1", "n": 1}}
            assert asked.headers["authorization"] == "Bearer provider-key"
            assert response.headers["x-trigate-cost-grade"] == "estimated"


async def test_only_a_permitted_key_creates_realtime_secrets():
    session = {"type": "realtime", "model": "voice"}
    other = {**session, "audio": {"input": {"transcription": {"model": "gpt-4o-transcribe"}}}}
    with trio.fail_after(PATIENCE):
        async with before(answering, entry=ENTRY, client_keys=KEYS) as (running, provider):
            for key, told_session, status, word in (
                ("sk-has-nothing-more-1", session, 403, "client_secrets"),
                ("", session, 401, "key"),
                ("sk-may-have-secrets-1", {"type": "realtime"}, 400, "session.model"),
                ("sk-may-have-secrets-1", {"Model": "voice"}, 400, "model"),
                ("sk-may-have-secrets-1", {"model": "nobody"}, 404, "nobody"),
                ("sk-bound-to-a-model-1", other, 403, "gpt-4o-transcribe"),
                ("sk-has-no-money-left-1", session, 402, "poor"),
            ):
                response = await ask(running, key, {"session": told_session})
                assert response.status_code == status, (key, response.text)
                assert word in response.json()["error"]["message"]
            assert not provider.asked
        async with before(answering, entry=ENTRY) as (running, provider):
            assert (await ask(running, "", {"session": session})).status_code == 403
            assert not provider.asked
