"""An answer that a provider continues in the background is billed once, at its real usage, by the first process
that sees its end: for its client, or because no client fetches it (litellm ``background_cost_polling.py``)."""

import contextlib
import json
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, cast

import httpx2
import pytest
import trio

from gateway.config_files.loading import from_mapping
from gateway.features.files import provider_runs
from gateway.features.files.opening import stored_objects_of
from gateway.features.files.provider_runs import query_due_runs, query_runs
from gateway.kept_objects import provider_runs as kept_provider_runs
from gateway.kept_objects.inventory import PROVIDER_RUNS
from gateway.kept_objects.provider_runs import MAX_AGE_SECONDS, ProviderRuns
from gateway.open_service import open_service
from gateway.serving.lifecycle import Lifecycle
from gateway.stores.errors import Unavailable
from gateway.stores.memory import MemoryStore
from gateway.stores.sql import SqlStore
from gateway.stores.sqlite import SqliteDatabase
from gateway.stores.store import Store
from tests.support import postgres
from tests.support.asgi_app import eventually
from tests.support.each_row import each_row
from tests.support.endpoint_provider import (
    EndpointProvider,
    ReceivedRequest,
    ScriptedAnswer,
    endpoint_provider,
    events,
    json_answer,
    settings,
)
from tests.support.in_process import InProcess, gateway
from tests.support.interactions_api import PATH
from tests.support.settled_lines import SettledLines
from tests.support.stores import postgres_store
from tests.support.upstreams import STREAM

KEYS = [{"name": "alice", "key": "alice-key"}, {"name": "bob", "key": "bob-key"}]
ALICE, BOB = {"x-goog-api-key": "alice-key"}, {"x-goog-api-key": "bob-key"}
USAGE = {
    "total_input_tokens": 1000, "total_output_tokens": 400, "total_thought_tokens": 100, "total_tokens": 1500,
    "grounding_tool_count": [{"type": "google_search", "count": 3}],
}  # fmt: skip
COST = 1000 * 2e-6 + 500 * 10e-6 + 3 * 0.01
PRICE = {"input": 2, "output": 10, "tools": {"web_search": 0.01}}
BODY = {"model": "research", "input": "hi", "background": True}
ID = "v1_theirs"
REST = [
    b'event: step.delta\ndata: {"event_type":"step.delta","index":0,"delta":{"type":"text","text":"x"}}\n\n',
    b"event: interaction.completed\ndata: "
    + json.dumps(
        {
            "event_type": "interaction.completed",
            "interaction": {"id": ID, "object": "interaction", "status": "completed", "model": "m", "usage": USAGE},
        }
    ).encode()
    + b"\n\n",
    b"event: done\ndata: [DONE]\n\n",
]
BEGIN = [
    b'event: interaction.created\ndata: {"event_type":"interaction.created","interaction":'
    b'{"id":"v1_theirs","object":"interaction","status":"in_progress","model":"m"}}\n\n',
    b'event: step.start\ndata: {"event_type":"step.start","index":0,"step":{"type":"model_output"}}\n\n',
    b'event: step.delta\ndata: {"event_type":"step.delta","index":0,"delta":{"type":"text","text":"y"}}\n\n',
]


class Google:
    """Google with one interaction, whose ``status`` the test sets."""

    def __init__(self) -> None:
        self.status = "in_progress"
        self.stream: ScriptedAnswer | None = None
        self.code = 200
        self.id = ID

    def __call__(self, asked: ReceivedRequest) -> ScriptedAnswer:
        if asked.method == "DELETE":
            return json_answer({})
        if "stream=true" in asked.path or (asked.body and asked.json.get("stream")):
            assert self.stream is not None
            return self.stream
        if asked.path.endswith("/cancel"):
            self.status = "cancelled"
        if self.code != 200:
            return json_answer({"error": {"code": "not_found", "message": "gone"}}, self.code)
        whole = {"id": self.id, "object": "interaction", "status": self.status, "model": "m", "steps": []}
        return json_answer(whole if self.status == "in_progress" else {**whole, "usage": USAGE})


class Stage:
    """A gateway before Google, and the lines that it settles."""

    def __init__(self, served: InProcess, google: Google, provider: EndpointProvider) -> None:
        self.served = served
        self.google = google
        self.provider = provider
        self.lines = SettledLines(served)

    async def send(self, method: str, path: str = "", key: dict[str, str] = ALICE, **sent: Any) -> httpx2.Response:
        return await self.served.send(method, PATH + path, headers=key, **sent)

    async def begin(self, key: dict[str, str] = ALICE, **more: Any) -> None:
        """Start the interaction. Its exchange costs nothing."""
        begun = await self.send("POST", key=key, json={**BODY, **more})
        assert (begun.status_code, begun.json()["status"]) == (200, "in_progress"), begun.text
        (line,) = await self.lines.next()
        assert (line["client"], line.get("cost_usd", 0), line.get("output_tokens")) == ("alice", 0, None)
        assert (line["ended"], line.get("error"), line.get("tried")) == ("complete", None, None)

    async def query(self, after: float = 100.0) -> None:
        """Query the provider as the gateway does ``after`` seconds from now."""
        inventory = stored_objects_of(self.served.service).inventory
        assert inventory is not None
        await query_due_runs(self.served.service, ProviderRuns(inventory, lambda: time.time() + after))

    async def bills(self) -> list[dict[str, Any]]:
        """Return the lines of runs so far. Lines of requests, which are settled in order, are free."""
        last = {**ALICE, "x-request-id": "the-last"}
        await self.send("GET", "/unknown", last)
        found = []
        while (line := (await self.lines.next())[0])["request_id"] != "the-last":
            assert line["request_id"].endswith("-run") or not line.get("cost_usd"), line
            if line["request_id"].endswith("-run"):
                found.append(dict(line))
        return found


@contextlib.asynccontextmanager
async def stage(google: Google | None = None, **more: Any) -> AsyncIterator[Stage]:
    google, store = google or Google(), MemoryStore(60, 2**20)
    async with endpoint_provider(google) as provider, serving(provider, store, **more) as served:
        yield Stage(served, google, provider)


@contextlib.asynccontextmanager
async def serving(provider: EndpointProvider, store: Store, **more: Any) -> AsyncIterator[InProcess]:
    entry = {"model": "gemini/deep-research-pro", "access_key": "k", "base_url": provider.url, "name": "research"}
    entry |= {"price": PRICE, **more.pop("entry", {})}
    config = {name: value for name, value in {"client_keys": KEYS, **more}.items() if value is not None}
    entry = {name: value for name, value in entry.items() if value is not None}
    async with gateway(settings(entry, **config), store=store) as served:
        yield served


def check(line: dict[str, Any]) -> None:
    """Assert the line of the run at its real usage."""
    assert (line["client"], line["model"], line["target"]) == ("alice", "research", "gemini/deep-research-pro")
    assert (line["input_tokens"], line["output_tokens"], line["usage_complete"]) == (1000, 500, True)
    assert line["cost_usd"] == pytest.approx(COST)
    assert line["cost_grade"] == "exact"


ENDS = ["failed", "cancelled", "incomplete", "budget_exceeded", "requires_action", "cancelled by the client"]


@each_row("end", ENDS, every=2)
async def test_every_end_is_billed(end):
    async with stage() as one:
        await one.begin()
        method, path = ("POST", f"/{ID}/cancel") if end == ENDS[-1] else ("GET", f"/{ID}")
        status, _, _ = end.partition(" ")
        if method == "GET":
            one.google.status = status
        assert (await one.send(method, path)).json()["status"] == status
        (line,) = await one.bills()
        check(line)


async def test_a_run_is_billed_to_the_project_of_its_request():
    """The cost was in no project, because the line of its end has no request of the client."""
    async with stage() as staged:
        await staged.begin(key={**ALICE, "x-trigate-project": "house"})
        staged.google.status = "completed"
        await staged.query()
        (bill,) = await staged.bills()
        assert bill["project"] == "house"


async def test_a_deletion_right_after_the_end_is_billed():
    """The provider's answer is fetched before it is deleted."""
    async with stage() as one:
        await one.begin()
        one.google.status = "completed"
        assert (await one.send("DELETE", f"/{ID}")).status_code == 200
        assert [asked.method for asked in one.provider.asked] == ["POST", "GET", "DELETE"]
        await one.query()
        (line,) = await one.bills()
        check(line)


async def test_a_deletion_before_the_end_is_billed_by_an_estimate():
    async with stage() as one:
        await one.begin()
        assert (await one.send("DELETE", f"/{ID}")).status_code == 200
        (line,) = await one.bills()
        assert (line["cost_grade"], line["usage_estimated"]) == ("estimated", True)
        assert line["output_tokens"] == 2048


async def test_the_gateway_queries_a_run_whose_client_never_returns():
    async with stage() as one:
        await one.begin()
        await one.query(after=30)
        assert len(one.provider.asked) == 1
        await one.query()
        assert [asked.method for asked in one.provider.asked] == ["POST", "GET"]
        query = one.provider.asked[1]
        assert (query.path, query.headers["x-goog-api-key"]) == (f"{PATH}/{ID}", "k")
        assert query.headers["api-revision"] == "2026-05-20"
        one.google.status = "completed"
        await one.query()
        assert len(one.provider.asked) == 2  # it was postponed
        for _ in range(3):
            await one.query(after=3600)
        (line,) = await one.bills()
        check(line)


@pytest.mark.parametrize(("code", "after"), [(404, 100.0), (500, MAX_AGE_SECONDS + 100)])
async def test_a_run_whose_usage_is_lost_is_billed_by_an_estimate(code, after):
    async with stage() as one:
        await one.begin(generation_config={"max_output_tokens": 3000})
        one.google.code = code
        await one.query()
        await one.query(after)
        (line,) = await one.bills()
        assert (line["cost_grade"], line["output_tokens"]) == ("estimated", 3000)


async def test_a_complete_stream_is_billed_in_its_own_exchange():
    async with stage() as one:
        one.google.stream = events(*BEGIN, *REST)
        begun = await one.send("POST", json={**BODY, "stream": True})
        assert begun.content == b"".join((*BEGIN, *REST))
        (line,) = await one.lines.next()
        assert (line["output_tokens"], line["cost_usd"]) == (500, pytest.approx(COST))
        one.google.status = "completed"
        assert (await one.send("GET", f"/{ID}")).status_code == 200
        await one.query()
        assert await one.bills() == []


async def test_a_stream_that_breaks_is_billed_when_its_client_follows_the_rest():
    async with stage() as one:
        one.google.stream = events(*BEGIN, cut=True)
        await one.send("POST", json={**BODY, "stream": True})
        (line,) = await one.lines.next()
        assert not line.get("cost_usd")
        one.google.stream = events(*REST)
        for _ in range(2):
            rest = await one.send("GET", f"/{ID}?stream=true&last_event_id=3")
            assert rest.content == b"".join(REST)
        (line,) = await one.bills()
        check(line)


async def test_a_client_that_leaves_its_stream_pays_for_the_whole_run():
    async with stage() as one:

        def pieces() -> Iterator[bytes]:
            yield from BEGIN
            one.provider.go = trio.Event()  # the rest never comes
            yield from REST

        one.google.stream = ScriptedAnswer(cast("Any", pieces()), headers=STREAM)
        asked = {**BODY, "stream": True, "path": PATH, "headers": (("x-goog-api-key", "alice-key"),)}
        async with one.served.leaving(**asked) as stream:
            received = b""
            while b'"y"' not in received:
                received += (piece := await stream.receive_some())
                assert piece, received
        (line,) = await one.lines.next()
        assert (line["ended"], line.get("cost_usd", 0)) == ("client_disconnected", 0)
        await one.provider.left_now.wait()
        one.provider.go.set()
        one.google.status = "completed"
        await one.query()
        (bill,) = await one.bills()
        check(bill)


async def test_two_gateways_bill_a_run_once(tmp_path: Path):
    google, store = Google(), MemoryStore(60, 2**20)
    more = {"state_storage": {"type": "sqlite", "path": str(tmp_path / "state.db")}}
    async with (
        endpoint_provider(google) as provider,
        serving(provider, store, **more) as first,
        serving(provider, store, **more) as second,
    ):
        stages = [Stage(served, google, provider) for served in (first, second)]
        await stages[0].begin()
        google.status = "completed"
        async with trio.open_nursery() as nursery:
            for one in stages * 4:
                nursery.start_soon(one.send, "GET", f"/{ID}")
                nursery.start_soon(one.query)
        lines = [line for one in stages for line in await one.bills()]
        assert len(lines) == 1
        check(lines[0])


async def test_a_request_with_another_key_bills_no_run():
    async with stage() as one:
        await one.begin()
        one.google.status = "completed"
        assert (await one.send("GET", f"/{ID}", BOB)).status_code == 404
        assert (await one.send("DELETE", f"/{ID}", BOB)).status_code == 404
        assert len(one.provider.asked) == 1
        await one.query()
        (line,) = await one.bills()
        check(line)


async def test_a_budget_has_room_for_a_run_until_its_cost_is_known():
    async with stage(client_keys=[{**KEYS[0], "budgets": ["0.04 usd/day"]}]) as one:
        await one.begin(generation_config={"max_output_tokens": 3000})
        assert (await one.send("POST", json=BODY)).status_code == 402  # the first one has reserved 0.03
        one.google.status = "completed"
        assert (await one.send("GET", f"/{ID}")).status_code == 200
        over = await one.send("POST", json=BODY)
        assert (over.status_code, "0.04" in over.text) == (402, True)
        level = [one_line for one_line in one.lines.batch_ids if one_line]
        assert level == [ID]


async def test_a_clients_own_credential_is_billed_by_an_estimate():
    """The gateway cannot query the provider later without it."""
    async with stage(entry={"access_key": None, "passthrough_auth": True}, client_keys=None) as one:
        begun = await one.send("POST", json=BODY)
        assert begun.status_code == 200, begun.text
        (line,) = await one.lines.next()
        assert line["cost_grade"] == "estimated"
        assert line["cost_usd"] == pytest.approx(2048 * 10e-6, rel=0.1)
        await one.query()
        assert len(one.provider.asked) == 1


@pytest.mark.parametrize("is_reloaded", [False, True])
async def test_the_process_queries_in_the_background(monkeypatch, is_reloaded):
    """The process also uses the entries of a configuration that replaced another one."""
    monkeypatch.setattr(provider_runs, "QUERY_INTERVAL", 0.02)
    for module in (provider_runs, kept_provider_runs):  # the second one determines later queries
        monkeypatch.setattr(module, "FIRST_QUERY_SECONDS", 0.0)
    async with stage() as one:
        if is_reloaded:
            entry = {"model": "gemini/deep-research-pro", "access_key": "k", "base_url": one.provider.url}
            entry |= {"name": "research", "price": PRICE, "timeouts": {"idle": 99}}
            one.served.reload(settings(entry, client_keys=KEYS))
        await one.begin()
        one.google.status = "completed"
        (line,) = await one.lines.next()
        check(dict(line))
        assert await one.bills() == []


async def test_an_unavailable_storage_is_reported_once(monkeypatch, caplog):
    monkeypatch.setattr(provider_runs, "QUERY_INTERVAL", 0.01)
    reads: list[object] = []

    class Away:
        page_size = 1

        async def read_some(self, *query: object) -> object:
            reads.append(query)
            raise Unavailable("away")

    async with stage() as one, trio.open_nursery() as nursery:
        monkeypatch.setattr(stored_objects_of(one.served.service), "inventory", Away())
        nursery.start_soon(query_runs, one.served.service)
        await eventually(lambda: len(reads) > 3)
        nursery.cancel_scope.cancel()
    assert len([line for line in caplog.messages if "background answers" in line]) == 1


def test_only_providers_that_continue_answers_or_have_batches_are_queried():
    for model, expected in (
        ("gemini/*", True),
        ("vertex/gemini-omni-flash", True),
        ("openai/*", True),
        ("vllm/a", False),
    ):
        more = {"project": "p", "location": "global"} if model.startswith("vertex") else {}
        config = from_mapping(settings({"model": model, "access_key": "k", **more}))
        service = open_service(config, Lifecycle(), None, False)
        assert stored_objects_of(service).has_runs(service) is expected


async def test_a_claimed_run_is_billed_although_the_storage_cannot_remove_it(tmp_path: Path):
    path, google = tmp_path / "state.db", Google()
    more = {"state_storage": {"type": "sqlite", "path": str(path)}}
    async with (
        endpoint_provider(google) as provider,
        contextlib.aclosing(SqlStore(SqliteDatabase(path), 60, None)) as store,
        serving(provider, store, **more) as served,
    ):
        one = Stage(served, google, provider)
        await one.begin()
        google.status = "completed"
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute("CREATE TRIGGER full BEFORE DELETE ON kept_objects BEGIN SELECT RAISE(ABORT, 'full'); END")
            await one.query()
            (line,) = await one.bills()
            check(line)
            db.execute("DROP TRIGGER full")
        await one.query(after=3600)
        assert not await one.bills(), "it is billed once"
        inventory = stored_objects_of(served.service).inventory
        assert inventory is not None
        assert not await ProviderRuns(inventory, lambda: time.time() + 7200).take_due()


@pytest.mark.server
async def test_a_run_that_may_be_stored_is_billed_once(server: postgres.Server, database: str):
    """PostgreSQL may end before it confirms a run. Then its exchange bills an estimate, and no query bills it again."""
    google = Google()
    with postgres.commit_relay(server) as relay:
        relay.writes = PROVIDER_RUNS.encode()
        storage = {"state_storage": {"type": "postgres", "connection_string": database}}
        async with (
            endpoint_provider(google) as provider,
            contextlib.aclosing(postgres_store(relay.url(database), 60, None)) as store,
            serving(provider, store, **storage) as served,
        ):
            one = Stage(served, google, provider)
            await one.begin()
            relay.fate, google.id = "cut once", "v1_second"
            assert (await one.send("POST", json=BODY)).status_code == 200
            assert relay.lost == 1
            (line,) = await one.lines.next()
            assert line["cost_grade"] == "estimated"
            assert line["cost_usd"] > 0
            google.status = "completed"
            await one.query()
            (first,) = await one.bills()
            check(first)
