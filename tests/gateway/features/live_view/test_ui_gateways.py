"""The live view with several gateways on one state storage: each shows the requests of all."""

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from gateway.features.live_view import gateways
from gateway.features.live_view.live import LiveView
from gateway.stores import database
from gateway.stores.database import Session
from gateway.stores.sqlite import SqliteDatabase
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import START_SECONDS, Gateway, Wire, eventually, post
from tests.support.live_viewers import Viewer, rows, viewing
from tests.support.raw_call import new_id, settings
from tests.support.upstreams import PATHS

KEYS = [
    {"name": "boss", "key": "of-boss", "role": "admin", "models": ["on-chat"]},
    *({"name": name, "key": f"of-{name}"} for name in ("me", "them")),
]
TABLE = "SELECT * FROM live_views"


@pytest.fixture(autouse=True)
def _quick_readings(monkeypatch):
    monkeypatch.setattr(gateways, "TICK", 0.05)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.server)])
def storage(request, tmp_path) -> dict[str, Any]:
    if request.param == "postgres":
        return {"type": "postgres", "connection_string": request.getfixturevalue("database")}
    return {"type": "sqlite", "path": str(tmp_path / "state.sqlite")}


@contextlib.contextmanager
def serving(by_hand, storage, port: int = 0, **more: Any) -> Iterator[Gateway]:
    more = {"client_keys": KEYS, **more}
    content = settings(by_hand, port, state_storage=storage, **{name: one for name, one in more.items() if one != []})
    with gateway_thread(content, port) as gateway:
        yield gateway
        assert "Traceback" not in "\n".join(gateway.log)


@contextlib.contextmanager
def request_of(gateway: Gateway, by_hand, key: str) -> Iterator[str]:
    """Run a request that its provider does not answer until the end of the block."""
    id = new_id()
    body = {"model": "on-chat", "stream": True, "messages": [{"role": "user", "content": "my secret"}]}
    with Wire.connect(gateway.port) as client:
        client.send(post(PATHS["chat"], body, {"x-request-id": id, "authorization": f"Bearer {key}"}))
        with by_hand.accept() as up:
            up.read_request()
            yield id


def remote_rows(viewer: Viewer, *ids: str) -> dict[str, Any]:
    """Return the event of another gateway that has all these requests in flight."""

    def matching_event(name: str, data: dict[str, Any]) -> Any:
        found = name == "all" and data.get("is_remote") and {row["id"] for row in rows(data)}
        return data if found and found >= set(ids) else None

    return viewer.hear(matching_event)


def state_of(viewer: Viewer, wanted: Any) -> list[dict[str, Any]]:
    """Return the states of other gateways, once they are as wanted."""
    return viewer.hear(
        lambda name, data: [data["gateways"]] if name == "gateways" and wanted(data["gateways"]) else None
    )[0]


def test_each_gateway_shows_requests_of_all_gateways_within_the_rights_of_the_viewer(by_hand, storage):
    with serving(by_hand, storage) as here, serving(by_hand, storage) as there:
        with request_of(there, by_hand, "of-me") as mine, request_of(there, by_hand, "of-them") as theirs:
            with viewing(here, key="of-boss") as viewer:
                found = remote_rows(viewer, mine, theirs)
                assert found["gateway"].endswith(f":{there.port}")
                assert "my secret" not in str(found)
                process, number = found["process"], rows(found)[0]["n"]
                (state,) = state_of(viewer, len)
                assert (state["gateway"], state["answers"]) == (found["gateway"], True)
            with viewing(here, f"/ui/streams/{number}?worker={process}", "of-boss") as viewer:
                assert viewer.response.status == 404
            with viewing(here, key="of-them") as viewer:
                found = remote_rows(viewer, theirs)
                assert [row["client"] for row in rows(found)] == ["them"]
                assert (found["points"], found["in_flight"], str(there.port) in found["gateway"]) == ([], 1, False)
        with viewing(here, key="of-them") as viewer:
            ended = viewer.hear(lambda name, data: name == "all" and data.get("is_remote") and data["recent"])
            assert [line["request_id"] for line in ended] == [theirs]


def test_a_gateway_that_stops_disappears_and_one_that_breaks_off_is_marked(by_hand, tmp_path):
    path = tmp_path / "state.sqlite"
    storage = {"type": "sqlite", "path": str(path)}
    with serving(by_hand, storage) as here, viewing(here, key="of-boss") as viewer:
        with serving(by_hand, storage) as there:
            state_of(viewer, lambda states: states and states[0]["gateway"].endswith(f":{there.port}"))
            with contextlib.closing(sqlite3.connect(path)) as database:
                left = database.execute(f"{TABLE} WHERE name LIKE '%:{there.port}'").fetchone()
        state_of(viewer, lambda states: not states)
        with contextlib.closing(sqlite3.connect(path)) as database, database:
            database.execute(f"INSERT INTO live_views VALUES ({', '.join('?' * len(left))})", left)
        (state,) = state_of(viewer, lambda states: states and not states[0]["answers"])
        assert state["gateway"].endswith(f":{there.port}")
        with serving(by_hand, storage, there.port):  # its earlier row stays for an hour
            (state,) = state_of(viewer, lambda states: states and states[0]["answers"])
            assert left[0] not in state["processes"]


def test_viewers_without_a_key_see_no_gateway_that_wants_one(by_hand, tmp_path):
    storage = {"type": "sqlite", "path": str(tmp_path / "state.sqlite")}
    with (
        serving(by_hand, storage, client_keys=[]) as here,
        serving(by_hand, storage, client_keys=[]) as free,
        serving(by_hand, storage),
        viewing(here) as viewer,
    ):
        states = [state_of(viewer, len) for _ in range(20)]
        assert {one["gateway"].rpartition(":")[2] for found in states for one in found} == {str(free.port)}


def test_a_gateway_without_a_live_view_writes_nothing(by_hand, tmp_path):
    path = tmp_path / "state.sqlite"
    storage = {"type": "sqlite", "path": str(path)}
    with serving(by_hand, storage) as here, serving(by_hand, storage, ui=False), viewing(here, key="of-boss") as viewer:
        assert [state_of(viewer, lambda states: True) for _ in range(5)] == [[]] * 5
        eventually(lambda: row_count(path) == 1, what="the row of the gateway with a live view")


async def test_a_locked_storage_delays_no_end(tmp_path, monkeypatch):
    monkeypatch.setattr(database, "BUSY", START_SECONDS)
    storage = SqliteDatabase(tmp_path / "state.sqlite", limit=2 * START_SECONDS)
    table = storage.part(gateways.TABLES)
    shown = gateways.Gateways(storage, None, 0)
    with contextlib.closing(sqlite3.connect(tmp_path / "state.sqlite")) as other, trio.fail_after(START_SECONDS / 2):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(shown.run, LiveView())
            while not await table.read(lambda session: session.rows("SELECT id FROM {live_views}")):
                pass
            monkeypatch.setattr(gateways, "TICK", 100)
            other.execute("BEGIN IMMEDIATE")
            nursery.cancel_scope.cancel()
        await trio.lowlevel.checkpoint()
    await storage.aclose()


@pytest.mark.parametrize("ahead", [0, 86400], ids=["same_clock", "clock_a_day_ahead"])
async def test_a_process_deletes_the_rows_of_ended_ones_whatever_their_clocks(ahead, tmp_path, monkeypatch):
    monkeypatch.setattr(gateways, "BEAT_SECONDS", 0.01)
    monkeypatch.setattr(gateways, "FORGOTTEN", 0.5)
    storage = SqliteDatabase(tmp_path / "state.sqlite")
    table = storage.part(gateways.TABLES)
    other = {"id": "other", "gateway": "of-other", "name": "other", "views": 0, "guarded": 1, "news": "",
             "seen": int(time.time()) - ahead}  # fmt: skip

    def beat(number: int) -> Callable[[Session], object]:
        return lambda session: session.put("live_views", ("id",), {**other, "beat": number})

    async def ids() -> set[str]:
        rows = await table.read(lambda session: session.rows("SELECT id FROM {live_views}"))
        return {id for (id,) in rows}

    with trio.fail_after(START_SECONDS):
        async with trio.open_nursery() as nursery:
            await table.write(beat(0))
            nursery.start_soon(gateways.Gateways(storage, None, 0).run, LiveView())
            begun, number = trio.current_time(), 0
            while trio.current_time() < begun + 3 * gateways.FORGOTTEN:
                assert "other" in await ids()
                await table.write(beat(number := number + 1))
            while "other" in await ids():
                pass
            assert len(await ids()) == 1
            nursery.cancel_scope.cancel()
    await storage.aclose()


def row_count(path: Path) -> int:
    with contextlib.closing(sqlite3.connect(path)) as database:
        return len(database.execute(TABLE).fetchall())


def test_no_client_displaces_the_exchanges_of_others_between_gateways():
    sent = [("busy", number) for number in range(100)] + [("quiet", 1)] + [("busy", number) for number in range(100)]
    kept = gateways.newest_rows(sent, 10, lambda row: row[0])
    assert kept == [("quiet", 1), *(("busy", number) for number in range(91, 100))]
    assert gateways.newest_rows(sent, 0, lambda row: row[0]) == []
