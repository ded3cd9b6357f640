"""Batches and realtime sessions, which last longer than a request, with any combination of features.

As in ``combined``: ``play_job`` plays a case, and ``check_job`` compares it with its plain twin.
"""

import contextlib
import json
from collections.abc import Mapping
from typing import Any, Final

import attrs
import httpx2
import trio

from gateway.config_files.loading import from_mapping
from gateway.open_store import open_store
from tests.support.combined import (
    BUDGET,
    FACTORS,
    Servers,
    check_budget,
    clients_config,
    key_of,
    storage_config,
    without_lost_redis,
)
from tests.support.covering import Case
from tests.support.endpoint_provider import endpoint_provider
from tests.support.features import rows_of
from tests.support.harness import PATIENCE
from tests.support.in_process import InProcess, gateway
from tests.support.kept_provider import KeptProvider
from tests.support.settled_lines import SettledLines
from tests.support.websocket_caller import calling
from tests.support.websocket_server import Peer, websocket_server

JOB_FACTORS: Final[Mapping[str, tuple[str, ...]]] = {
    "job": (*rows_of("files", "batch"), *rows_of("realtime", "session")),
    "limits": FACTORS["limits"],
    "state": ("memory", "sqlite", "postgres"),
    "reload": FACTORS["reload"],
    "leaves": ("stays", "in the answer"),
    "caller": FACTORS["caller"],
}

PRICE: Final = {"input": 10, "cached": 1, "output": 100}
USAGE: Final = {"input_tokens": 1000, "output_tokens": 100, "total_tokens": 1100}
_LINE: Final = {
    "method": "POST", "url": "/v1/chat/completions",
    "body": {"model": "gpt-5", "messages": [], "max_tokens": 100},
}  # fmt: skip


@attrs.frozen
class PlayedJob:
    """The result of a job: the client's readings, the log lines, and the number of provider calls."""

    readings: tuple[Any, ...]
    lines: tuple[Mapping[str, Any], ...]
    calls: int


def possible_job(case: Mapping[str, str]) -> bool:
    """Return whether a case with these values can be played: a reload ends a session, and a batch outlives its
    client."""
    if case.get("job") == "session":
        return case.get("reload", "no") == "no"
    return case.get("job") != "batch" or case.get("leaves", "stays") == "stays"


def twin_of_job(case: Mapping[str, str]) -> Case:
    """Return the case without features."""
    return {**case, "limits": "none", "state": "memory", "reload": "no", "caller": "key"}


def _content(case: Mapping[str, str], servers: Servers, url: str) -> dict[str, Any]:
    limits = {} if case["limits"] == "none" else {"budgets": [BUDGET], "ratelimits": {"concurrent": 30}}
    entry = {"model": "openai/gpt-5", "access_key": "sk-of-the-provider-123", "base_url": f"{url}/v1", "price": PRICE}
    return {
        "version": "v0.4.0", "model_providers": [{**entry, **limits}], **storage_config(case, servers),
        **clients_config(case, servers, limits, {}),
    }  # fmt: skip


async def play_job(case: Mapping[str, str], servers: Servers) -> PlayedJob:
    """Play ``case``, and check the invariants of every case."""
    if servers.redis is not None and "redis" in case["limits"]:
        servers.redis.say("FLUSHALL")
    return await (_play_batch if case["job"] == "batch" else _play_session)(case, servers)


async def _play_batch(case: Mapping[str, str], servers: Servers) -> PlayedJob:
    provider = KeptProvider()
    async with endpoint_provider(provider) as serving:
        provider.url = serving.url
        content = _content(case, servers, serving.url)
        store = await open_store(from_mapping(content))
        async with gateway(content, real=True, store=store, drains=True) as running:
            lines = SettledLines(running)
            with without_lost_redis(case, servers):
                async with httpx2.AsyncClient(
                    base_url=running.url, verify=False, trust_env=False, timeout=PATIENCE
                ) as client:
                    readings = await _batch(case, running, client, provider, content)
            found = tuple(await lines.next(5))
            await _check_end(case, running, found)
    return PlayedJob(readings, found, len(provider.asked))


async def _batch(
    case: Mapping[str, str],
    running: InProcess,
    client: httpx2.AsyncClient,
    provider: KeptProvider,
    content: dict[str, Any],
) -> tuple[Any, ...]:
    """Make a batch of two lines, have its provider complete it, and read it and its results."""
    headers = {"authorization": f"Bearer {key_of(case)}"}
    lines = [json.dumps({**_LINE, "custom_id": f"r{number}"}).encode() + b"\n" for number in range(2)]
    files = {"file": ("b.jsonl", b"".join(lines))}
    file = (await client.post("/v1/files", headers=headers, data={"purpose": "batch"}, files=files)).json()
    asked = {"input_file_id": file["id"], "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    made = (await client.post("/v1/batches", headers=headers, json=asked)).json()
    if case["reload"] != "no":
        running.reload({**content, "model_aliases": {"other": {"target": "openai/gpt-5"}}})
    (native,) = (value for id, value in provider.kept.items() if "batch_" in id)
    native.update(status="completed", model="gpt-5", usage=USAGE, endpoint="/v1/chat/completions")
    read = [(await client.get(f"/v1/batches/{made['id']}", headers=headers)).json() for _ in range(2)]
    listed = (await client.get("/v1/batches", headers=headers)).json()
    assert [one["id"] for one in listed["data"]] == [made["id"]]
    assert native["id"] != made["id"]
    return tuple((one["status"], one["usage"]) for one in read)


async def _play_session(case: Mapping[str, str], servers: Servers) -> PlayedJob:
    calls = 0

    async def talk(peer: Peer) -> None:
        nonlocal calls
        await peer.accept()
        while await peer.receive() is not None:
            calls += 1
            await peer.send({"type": "response.created", "response": {"id": "r"}})
            await peer.send({"type": "response.output_text.delta", "delta": "hello"})
            if case["leaves"] == "stays":
                response = {"id": "r", "status": "completed", "usage": USAGE}
                await peer.send({"type": "response.done", "response": response})

    async with websocket_server(talk) as server:
        content = _content(case, servers, server.url)
        content["model_providers"][0] |= {"model": "openai/gpt-realtime", "name": "voice"}
        store = await open_store(from_mapping(content))
        async with gateway(content, real=True, store=store, drains=True) as running:
            lines = SettledLines(running)
            with without_lost_redis(case, servers):
                headers = (("authorization", f"Bearer {key_of(case)}"),)
                async with calling(running.url, "/v1/realtime?model=voice", headers) as caller:
                    await caller.send({"type": "response.create"})
                    readings = [(await caller.event())["type"] for _ in range(2 if case["leaves"] != "stays" else 3)]
                    if case["leaves"] == "stays":
                        await caller.close()
            found = list(await lines.next())
            with trio.fail_after(PATIENCE):
                while running.service.ledger.open_records:  # noqa: ASYNC110  # no event exists for it
                    await trio.sleep(0.001)
            with contextlib.suppress(trio.TooSlowError), trio.fail_after(0.05):
                while True:  # a session and its answers have separate lines
                    found += await lines.next()
            await _check_end(case, running, tuple(found))
    return PlayedJob(tuple(readings), tuple(found), calls)


async def _check_end(case: Mapping[str, str], running: InProcess, lines: tuple[Mapping[str, Any], ...]) -> None:
    """Check that nothing is open, reserved or counted in excess."""
    service = running.service
    with trio.fail_after(PATIENCE):
        # No event exists for it.
        while service.upstream.stats().active or service.ledger.open_records:  # noqa: ASYNC110
            await trio.sleep(0.001)
    if case["limits"] in ("memory", "redis"):
        await check_budget(case, running, lines)


def check_job(played: PlayedJob, plain: PlayedJob) -> None:
    """Compare ``played`` with its twin."""
    assert (played.readings, played.calls) == (plain.readings, plain.calls)
    counted = ("endpoint", "ended", "status", "input_tokens", "output_tokens", "cost_usd")
    of_both = [sorted(str([line.get(name) for name in counted]) for line in one.lines) for one in (played, plain)]
    assert of_both[0] == of_both[1]
    assert sum(line.get("cost_usd", 0) for line in plain.lines) > 0
