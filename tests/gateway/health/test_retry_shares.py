"""The shares of clients in additional requests: what one client's failures cost never reduces another's retries."""

import contextlib
import json
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.balancing.hedge_shares import BURST, HedgeShares
from gateway.config.attempts import Hedge
from gateway.health.retry_shares import MOST_IDLE, RetryShares
from gateway.routing.plan import Outcome, Stage, counts_as_retry
from streams.events import ErrorInfo
from tests.support.bare_provider import listening, read_request, response
from tests.support.in_process import InProcess, gateway
from tests.support.upstreams import Script, render

ANN, BOB = "ann-key-0123456789-0123456789", "bob-key-0123456789-0123456789"


def spend(budget: RetryShares, client: str, now: float = 1.0, share: float = 0.2) -> int:
    """Use all additional requests that ``client`` may have, and return their number."""
    spent = 0
    while budget.may_add(now, share, client):
        budget.count_additional(now, client)
        spent += 1
    return spent


def test_clients_share_the_requests_that_are_always_allowed():
    budget = RetryShares()
    assert [spend(budget, client) for client in ("ann", "bob", "cid")] == [30, 15, 10]
    assert [spend(budget, client, now=20.0) for client in ("cid", "bob", "ann")] == [30, 15, 10]


def test_a_client_s_requests_pay_for_its_own_retries_only():
    budget = RetryShares()
    for _ in range(100):
        budget.count_client_request(1.0, "ann")
    assert spend(budget, "bob") == 30
    assert spend(budget, "ann") == 20 + 15


def test_many_clients_have_one_retry_each():
    budget = RetryShares(workers=4)
    assert all(spend(budget, f"client {number}") >= 1 for number in range(100))


def test_idle_clients_are_forgotten():
    budget = RetryShares()
    for now in range(50):
        for number in range(MOST_IDLE):
            budget.count_additional(now * 20.0, f"client {now} {number}")
        assert len(budget) <= 4 * MOST_IDLE


def test_a_client_s_hedges_are_its_own():
    shares, hedge = HedgeShares(), Hedge(after=1.0, at_most=0.5)
    for client in ("ann", "bob"):
        for _ in range(100):
            shares.count_request("r", hedge, client)
    assert [shares.claim("r", "ann") for _ in range(6)] == [True] * int(BURST) + [False]
    assert shares.claim("r", "bob")


@contextlib.asynccontextmanager
async def scene(asked: Counter[str]) -> AsyncIterator[InProcess]:
    """Serve a provider whose model ``good`` answers, ``tired`` returns 500, and all others are missing."""

    async def serve(stream: Any) -> None:
        async with stream:
            while request := await read_request(stream):
                body = json.loads(request[2])
                asked[body["model"]] += 1
                if body["model"] == "good":
                    await stream.send_all(response(200, render(Script(text="Hi"), "chat", body).pieces[0]))
                else:
                    status = 500 if body["model"] == "tired" else 404
                    await stream.send_all(response(status, b'{"error": {"message": "no"}}'))

    async with listening(serve) as url:
        entry = {"base_url": f"{url}/v1", "access_key": "k"}
        content = {
            "version": "v0.4.0",
            "model_providers": [{"model": "vllm/*", "name": "many", **entry}, {"model": "vllm/good", "name": "good",
                                                                              **entry}],
            "model_aliases": {"r": {"targets": ["vllm/tired", "good"]}},
            "retries": {"attempts": 2},
            "client_keys": [{"name": "ann", "key": ANN}, {"name": "bob", "key": BOB}],
        }  # fmt: skip
        async with gateway(content) as running:
            yield running


async def ask(running: InProcess, key: str, models: str) -> int:
    headers = [("authorization", f"Bearer {key}"), ("x-trigate-models", models)]
    answer = await running.ask("r", headers=headers)
    return answer.status_code


async def test_missing_models_cost_no_retries():
    """Sixteen cheap 404s a second took the retries of all other clients."""
    asked: Counter[str] = Counter()
    async with scene(asked) as running:
        found = Counter([await ask(running, ANN, f"vllm/none-{number}, good") for number in range(30)])
        assert found == {200: 30}
        assert asked["good"] == 30
        found = Counter([await ask(running, ANN, "r") for _ in range(20)])
        assert found == {200: 20}


async def test_one_client_s_retries_are_not_another_s():
    asked: Counter[str] = Counter()
    async with scene(asked) as running:
        health, target = running.service.health, running.service.router.resolve("good", "chat")
        while health.may_add(target, "ann"):
            health.begin(target, None, added=True, client="ann").close()
        assert await ask(running, ANN, "r") == 500
        assert Counter([await ask(running, BOB, "r") for _ in range(12)]) == {200: 12}


@pytest.mark.parametrize(("reason", "costs"), [("gone", False), ("credential", False), ("server_error", True)])
def test_only_costly_failures_need_the_budget(reason, costs):
    target: Any = None
    failed = ErrorInfo("upstream", "no", reason=reason)
    assert counts_as_retry([Outcome(target, failed)]) is costs
    assert not counts_as_retry([Outcome(target, failed, requests=0)])
    assert not counts_as_retry([Outcome(target, failed, Stage.PREPARING)])
