"""Batches whose clients never read them: the gateway bills each once, two days after its creation."""

import json
import time
from typing import Any

import pytest

from gateway.features.files.opening import stored_objects_of
from gateway.features.files.provider_runs import query_due_runs
from gateway.kept_objects.provider_runs import UNREAD_SECONDS, ProviderRuns
from tests.support.asgi_app import eventually
from tests.support.kept_batches import (
    HALF,
    PRICE,
    USAGE,
    create_batch,
    create_message_batch,
    lines,
    logged_costs,
    message_result,
    only_batch,
    result_line,
    upload,
)
from tests.support.kept_clients import CLIENTS, Served, run, serving

OF_MESSAGE = (1000 * 10 + 100 * 100) / 2 / 10**6


async def query(served: Served, after: float = UNREAD_SECONDS + 1) -> None:
    """Query the providers as the gateway does ``after`` seconds from now."""
    inventory = stored_objects_of(served.gateway.service).inventory
    assert inventory is not None
    await query_due_runs(served.gateway.service, ProviderRuns(inventory, lambda: time.time() + after))


def begin(served: Served, api: str) -> Any:
    """Create a batch of the client ``a``, and return it."""
    if api == "messages":
        return create_message_batch(served, "claude-x")
    client = served.openai()
    return create_batch(client, upload(served, lines("gpt-5")))


def end(served: Served, kind: str) -> float:
    """Let the provider complete the only batch, and return its cost."""
    (provider,) = served.providers.values()
    batch = only_batch(provider)
    if kind == "messages":
        batch.update(processing_status="ended", results_url=f"{provider.url}/v1/x/y")
        provider.contents[batch["id"]] = message_result("a", input_tokens=1000, output_tokens=100)
        return OF_MESSAGE
    batch.update(status="completed", model="gpt-5", output_file_id="file-results")
    provider.contents["file-results"] = result_line()
    if kind == "usage":
        batch.update(usage=USAGE)
    return HALF


def read(served: Served, batch: Any, kind: str) -> None:
    """Read a batch and its results as its client."""
    if kind == "messages":
        assert [one.custom_id for one in served.anthropic().messages.batches.results(batch.id)] == ["a"]
    else:
        found = served.openai().batches.retrieve(batch.id)
        assert b"r0" in served.openai().files.content(found.output_file_id).content


@pytest.mark.parametrize("leaves", ["client", "key"])
@pytest.mark.parametrize("kind", ["usage", "lines", "messages"])
async def test_a_batch_that_no_client_reads_is_billed_once(kind, leaves, caplog):
    caplog.set_level("INFO", "trigate")
    async with serving("anthropic" if kind == "messages" else "openai", entry=PRICE) as served:
        batch = await run(lambda: begin(served, kind))
        await query(served)
        assert logged_costs(caplog) == [], "it has not ended"
        cost = end(served, kind)
        if leaves == "key":
            served.change(client_keys=[one for one in CLIENTS if one["name"] != "a"])
        await query(served, after=60.0)
        assert logged_costs(caplog) == [], "its client may still read it"
        for _ in range(2):
            await query(served, after=UNREAD_SECONDS + 3600)
        assert logged_costs(caplog) == [cost]
        (line,) = (line for line in map(json.loads, messages(caplog)) if line.get("cost_usd"))
        assert (line["client"], line["status"], line["request_id"].endswith("-batch")) == ("a", 200, True)
        if leaves == "client":
            await run(lambda: read(served, batch, kind))
    assert logged_costs(caplog) == [cost], "the later read is not billed"


@pytest.mark.parametrize("kind", ["usage", "lines", "messages"])
async def test_a_batch_that_its_client_has_read_is_not_queried(kind, caplog):
    caplog.set_level("INFO", "trigate")
    async with serving("anthropic" if kind == "messages" else "openai", entry=PRICE) as served:
        batch = await run(lambda: begin(served, kind))
        cost = end(served, kind)
        await run(lambda: read(served, batch, kind))
        await eventually(lambda: logged_costs(caplog) == [cost])
        inventory = stored_objects_of(served.gateway.service).inventory
        assert inventory is not None
        assert await ProviderRuns(inventory, lambda: time.time() + UNREAD_SECONDS + 60.0).take_due() == []


async def test_a_batch_with_the_clients_own_credential_is_not_queried(caplog):
    async with serving("openai", clients=[], entry={**PRICE, "access_key": None, "passthrough_auth": True}) as served:
        await run(lambda: begin(served, "usage"))
        end(served, "usage")
        (provider,) = served.providers.values()
        asked = len(provider.asked)
        await query(served)
        assert len(provider.asked) == asked


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.name.startswith("trigate.exchange")]
