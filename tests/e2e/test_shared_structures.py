"""Structures that clients share: a client within its limits leaves another client's part of each unchanged.

``SECURITY.md`` lists the structures. Each case here runs the same requests of one client before and after another
client has used as much of the structure as it can.
"""

import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import pytest

from gateway.exchange.service import Service
from gateway.features.known import features
from gateway.shared.tables import SharedTables
from tests.support.endpoint_provider import EndpointProvider, ReceivedRequest, ScriptedAnswer, endpoint_provider
from tests.support.endpoint_provider import json_answer as answer
from tests.support.endpoint_provider import settings as configuration
from tests.support.features import rows_of
from tests.support.in_process import InProcess, gateway
from tests.support.repository import ROOT

BOB, MALLORY = "sk-gw-bob-0123456789", "sk-gw-mallory-0123456789"
CHAT = {
    "id": "c", "object": "chat.completion", "created": 1, "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 100, "completion_tokens": 100, "total_tokens": 200},
}  # fmt: skip
SIZE, NUMBERS = 20, itertools.count()
PRICE = {"input": 1000, "output": 1000}  # CHAT costs 0.2 dollars


@attrs.frozen
class Two:
    """A gateway with two clients, and its provider."""

    served: InProcess
    provider: EndpointProvider

    async def ask(self, key: str, model: str = "m", headers: tuple[tuple[str, str], ...] = (), **members: Any) -> Any:
        credential = ("authorization", f"Bearer {key}")
        return await self.served.ask(model, headers=(credential, *headers), **members)

    async def get(self, path: str, key: str) -> Any:
        return (await self.served.get(path, key)).json()


Step = Callable[[Two], Awaitable[Any]]


@attrs.frozen
class Case:
    """A structure in the table's ``row``. ``victim`` are Bob's requests, with the ``expected`` result, and ``attack``
    those of Mallory."""

    row: str
    victim: Step
    expected: Any
    attack: Step
    provider: Callable[[ReceivedRequest], ScriptedAnswer] = lambda _: answer(CHAT)
    settings: dict[str, Any] = attrs.field(factory=dict)
    entry: dict[str, Any] = attrs.field(factory=dict)
    client: dict[str, Any] = attrs.field(factory=dict)
    """Settings of both client keys."""
    size: str | None = None
    """The constant with the structure's size, which the test makes small."""


# Rejected members


def _refuse_top_p(request: ReceivedRequest) -> ScriptedAnswer:
    if "top_p" in request.json:
        message = "Unsupported parameter: 'top_p' is not supported with this model."
        error = {"message": message, "type": "invalid_request_error", "param": "top_p", "code": "unsupported_parameter"}
        return answer({"error": error}, 400)
    return answer(CHAT)


async def _rejections_of_bob(two: Two) -> Any:
    await two.ask(BOB, "openai/bob", top_p=0.5)
    before = len(two.provider.asked)
    status = (await two.ask(BOB, "openai/bob", top_p=0.5)).status_code
    return status, len(two.provider.asked) - before


async def _many_rejections(two: Two) -> None:
    for number in range(SIZE + 1):
        assert (await two.ask(MALLORY, f"openai/m{number}", top_p=0.5)).status_code == 200


# Live view and metrics


def live_view_of(two: Two) -> Any:
    running: Any = two.served.service.opened.features["live_view"]
    return running.live_view


async def _has_ended_exchange(two: Two) -> Any:
    if not live_view_of(two).recent("bob"):
        await two.ask(BOB)
    return len(live_view_of(two).recent("bob"))


async def _many_ended_exchanges(two: Two) -> None:
    for _ in range(SIZE + 1):
        await two.ask(MALLORY, "unknown")


async def _model_is_counted(two: Two) -> Any:
    model = f"bobs-{next(NUMBERS)}"
    await two.ask(BOB, f"openai/{model}")
    return f'model="{model}"' in (await two.served.get("/metrics", BOB)).text


async def _many_models(two: Two) -> None:
    for i in range(SIZE + 1):
        await two.ask(MALLORY, f"openai/model-{i}")


# The response cache


async def _is_cached(two: Two) -> Any:
    first = await two.ask(BOB, "cached", user="bob")
    again = await two.ask(BOB, "cached", user="bob")
    return first.status_code, again.headers.get("x-trigate-cache")


async def _many_cached(two: Two) -> None:
    for i in range(40):
        await two.ask(MALLORY, "cached", messages=[{"role": "user", "content": f"{i} " * 500}])


# Runs


async def _is_run_exhausted(two: Two) -> Any:
    run = (("x-trigate-run", "one"),)
    return [(await two.ask(BOB, headers=run)).status_code for _ in range(4)][-1]


async def _many_runs(two: Two) -> None:
    for i in range(SIZE + 1):
        assert (await two.ask(MALLORY, headers=(("x-trigate-run", f"run-{i}"),))).status_code == 200


ANY_MODEL = {"model": "openai/*"}
CACHE = {
    "cache": {"type": "memory", "max_bytes": "16kB"},
    "model_aliases": {"cached": {"target": "m", "cache": {"ttl": "1h"}}},
}
RUNS = {"budgets": ["0.5 usd/run"]}
CASES = (
    Case(
        "rejected members", _rejections_of_bob, (200, 1), _many_rejections, _refuse_top_p, entry=ANY_MODEL,
        size="gateway.request.rejections.MOST_KEYS",
    ),
    *rows_of("live_view", Case(
        "live view", _has_ended_exchange, 1, _many_ended_exchanges, size="gateway.features.live_view.ended.RECENT",
    )),
    *rows_of("metrics", Case(
        "labels of metrics", _model_is_counted, True, _many_models, entry=ANY_MODEL,
        size="gateway.features.metrics.metrics.MAX_MODELS",
    )),
    *rows_of("answer_cache", Case("response cache", _is_cached, (200, "hit"), _many_cached, settings=CACHE)),
    Case("counters of limits", _is_run_exhausted, 402, _many_runs, entry={"price": PRICE}, client=RUNS),
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.row)
async def test_a_client_leaves_another_clients_part_of_a_structure_unchanged(case, monkeypatch):
    if case.size is not None:
        monkeypatch.setattr(case.size, SIZE)
    keys = [{"name": "bob", "key": BOB, **case.client}, {"name": "mallory", "key": MALLORY, **case.client}]
    async with endpoint_provider(case.provider) as provider:
        own = {"model": "openai/m", "access_key": "provider-key", "base_url": f"{provider.url}/v1", **case.entry}
        async with gateway(configuration(own, client_keys=keys, **case.settings)) as served:
            two = Two(served, provider)
            assert await case.victim(two) == case.expected
            await case.attack(two)
            assert await case.victim(two) == case.expected


# The table

SETTINGS = "not a structure that clients fill"
ROWS_OF_SERVICE = {
    "router": SETTINGS, "lifecycle": SETTINGS, "settings": SETTINGS, "authenticator": SETTINGS, "credentials": SETTINGS,
    "replaced": SETTINGS, "opened": SETTINGS, "hooks": SETTINGS,
    "upstream": "connections to providers",
    "admission": "requests in progress",
    "turns": "stored conversations",
    "rejections": "rejected members",
    "ledger": "log",
    "allowances": "counters of limits",
    "health": "circuits",
    "balancer": "pins",
}  # fmt: skip
ROWS_OF_FEATURES = {
    "admin": SETTINGS,
    "people": "people that a process knows",
    "people: sessions": "sign-ins and the sessions that every process remembers",
    "people: issuers": "verdicts on tokens, and fetches of keys",
    "console": SETTINGS,
    "people_calls": SETTINGS,
    "recording": SETTINGS,
    "answer_cache": "response cache",
    "joined": "response cache",
    "metrics": "labels of metrics",
    "tracing": SETTINGS,
    "kept_ledger": "kept ledger",
    "client_routing": SETTINGS,
    "compatible_clients": SETTINGS,
    "responses_websocket": "connections, WebSockets, viewers",
    "realtime": SETTINGS,
    "mcp": SETTINGS,
    "web_search": SETTINGS,
    "notices": SETTINGS,
    "linked_files": SETTINGS,
    "shadow": "samples for shadows",
    "mcp_sign_in": "tokens for MCP servers",
    "other_endpoints": SETTINGS,
    "files": "inventory",
    "secret_stores": SETTINGS,
    "steps": "steps: simultaneous calls, failures in a row, clean texts",
    "request_members": SETTINGS,
    "cache_acts": "marks for prompt caches",
    "prompt_caches": "memory of prompts",
    "live_view": "live view",
    "failures": "failed requests",
    "model_lists": SETTINGS,
    "pass_through": SETTINGS,
}
ROWS_OF_WORKERS = {
    "memory": SETTINGS, "workers": SETTINGS, "seat": SETTINGS, "clock": SETTINGS,
    "circuits": "circuits",
    "pins": "pins",
    "open_answers": "open responses",
    "amounts": "counters of limits",
    "queues": "queues",
}  # fmt: skip


def rows_of_the_page() -> dict[str, str]:
    """Return the rows of the table in ``SECURITY.md`` by their first column."""
    page = (ROOT / "SECURITY.md").read_text().partition("## Shared structures")[2].partition("\n## ")[0]
    return {line.split("|")[1].strip(): line for line in page.splitlines() if line.startswith("| ")}


@pytest.mark.parametrize(("owner", "rows"), [(Service, ROWS_OF_SERVICE), (SharedTables, ROWS_OF_WORKERS)])
def test_everything_that_requests_share_has_a_row(owner, rows):
    """A new field of these classes is either in the table or no structure that clients fill."""
    assert set(rows) == {field.name for field in attrs.fields(owner)}
    assert len(rows) <= 16, "what attempts need; the rest belongs to features, settings or ``opened``"
    assert {*rows.values()} - {SETTINGS} <= set(rows_of_the_page())


def test_every_feature_has_a_row():
    assert {feature.name for feature in features() if feature.opening} <= set(ROWS_OF_FEATURES)
    assert {*ROWS_OF_FEATURES.values()} - {SETTINGS} <= set(rows_of_the_page())
