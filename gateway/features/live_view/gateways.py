"""All gateways with one database in one view: each writes its requests there while another one has a viewer.

Without a viewer, a process reads one number every ``TICK`` seconds, and writes that it runs every ``BEAT_SECONDS``.
Texts of streams never leave their gateway. A process whose row stops changing is silent, so no clocks are compared."""

import contextlib
import hashlib
import logging
import socket
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar
from uuid import uuid4

import attrs
import msgspec
import trio

from gateway import __version__
from gateway.features.live_view.charts import STEP, STEPS, current_step
from gateway.features.live_view.live import COLUMNS, LiveView, View
from gateway.features.live_view.pages.viewer_events import Send
from gateway.http.offload import run_in_thread
from gateway.http.threads import call_in_thread
from gateway.logs.masking import Mask
from gateway.shared.owned_entries import OwnedEntries
from gateway.stores.database import AddedTables, Database, Session
from gateway.stores.errors import Unavailable
from gateway.viewing.visitors import Visitor
from streams import sse
from streams.surrogates import NOT_JSON

log = logging.getLogger("trigate.state")

T = TypeVar("T")

TICK: Final = 2.0
"""Seconds between two readings."""
BEAT_SECONDS: Final = 60.0
"""Seconds between two writings of a process without viewers."""
FORGOTTEN: Final = 3600
"""Seconds without a change after which a process deletes the row of another one, which has ended without doing so."""
LONG_FORGOTTEN: Final = 7 * 86400
"""Seconds since ``seen`` after which a row is deleted, if no process runs for an hour. The clocks of machines may
differ, but by less."""
WATCHED: Final = 5 * TICK
"""Seconds for which a process writes its requests after it has learned of a viewer."""
SILENT: Final = 5
"""Readings without a change after which a process is silent."""
MOST_PROCESSES: Final = 100
MOST: Final = (200, 50, 10, 0)
"""The most rows of each table that a process writes: the first number with at most ``LONGEST`` characters."""
LONGEST: Final = 128 * 1024

TABLES: Final = AddedTables(
    "live_view",
    (
        """CREATE TABLE {live_views} (
            id text PRIMARY KEY, gateway text NOT NULL, name text NOT NULL, beat bigint NOT NULL, views bigint NOT NULL,
            seen bigint NOT NULL, guarded integer NOT NULL, news text NOT NULL
        )""",
    ),
)
"""A row for each process. ``beat`` grows with each writing, ``views`` with each while the process has viewers.

With ``guarded``, its gateway shows nothing without a key, so no other gateway may."""

_COUNT: Final = "SELECT COALESCE(sum(views), 0) FROM {live_views} WHERE gateway <> :gateway"
_READ: Final = """SELECT id, gateway, name, guarded, seen, beat, news FROM {live_views} WHERE gateway <> :gateway
    ORDER BY seen DESC LIMIT :most"""

News: TypeAlias = dict[str, Any]
"""The requests of a process, as it writes them: parts of ``View.first``."""


def news_event(news: News, process: str, gateway: str, client: str | None, since: int) -> bytes:
    """Return an event that replaces the rows of ``process``, with those of ``client`` alone if given.

    It has the exchanges that ended after number ``since``. Times are those of this machine's clock."""
    owner, now, step = news["columns"].index("client"), time.perf_counter(), current_step()
    streams = [[*row[:-1], now - row[-2]] for row in news["streams"] if client in (None, row[owner])]
    lines = [line for line in news["recent"] if line["order"] > since and client in (None, line.get("client"))]
    fields = {
        **news, "process": process, "gateway": gateway, "is_remote": True, "client": client, "now": step, "step": STEP,
        "steps": STEPS, "streams": streams, "recent": lines,
        "in_flight": news["in_flight"] if client is None else len(streams),
        "points": [[one[0] + step - news["now"], *one[1:]] for one in news["points"]] if client is None else [],
        "tokens": [row for row in news["tokens"] if client in (None, row[0])],
    }  # fmt: skip
    return sse.event("all", fields)


@attrs.define(eq=False, repr=False)
class OtherProcess:
    """A process of another gateway, which wrote its row at ``seen``. ``unchanged`` counts the readings since."""

    gateway: str
    name: str
    is_guarded: bool
    seen: int
    beat: int
    news: News | None = None
    unchanged: int = 0


class Gateways:
    """A process among those of all gateways with the same ``database``. Used from the trio thread only.

    ``folder`` is common to the workers of a gateway. With ``is_guarded``, its configuration shows nothing without a
    key."""

    def __init__(self, database: Database, folder: Path | None, port: object) -> None:
        host = socket.gethostname()
        self.id, self._name = uuid4().hex, f"{host}:{port}" if port else host
        self._gateway = hashlib.sha256(f"{host} {folder or self.id}".encode()).hexdigest()[:12]
        self.is_guarded = True
        self._database = database.part(TABLES)
        self._viewers = 0
        self._beat, self._views, self._written = 0, 0, -BEAT_SECONDS
        self._others_views: int | None = None
        self._watched_until = 0.0
        self._found: dict[str, OtherProcess] = {}
        self._beats: dict[str, tuple[int, float]] = {}  # of each row, and the time at which it was first read
        self._is_readable = True
        self._read = trio.Event()

    def label(self, client: str | None) -> str:
        """Return the name of this gateway for viewers; its host is only for those who see all clients."""
        return _label(self._gateway, self._name, client)

    async def run(self, live_view: LiveView) -> None:
        """Write and read the rows until cancelled, then delete this process's row."""
        try:
            while True:
                await self._exchange(live_view)
                self._read, read = trio.Event(), self._read
                read.set()
                await trio.sleep(TICK)
        finally:
            delete = partial(self._database.write_blocking, partial(_delete, id=self.id))
            with trio.move_on_after(2, shield=True), contextlib.suppress(Unavailable):
                await call_in_thread(delete, abandon_on_cancel=True)  # a silent storage delays no end

    async def send_news(self, visitor: Visitor, send: Send) -> None:
        """Send the requests that ``visitor`` may see at other gateways, until cancelled."""
        self._viewers += 1
        beats: dict[str, int] = {}
        ended: dict[str, int] = {}
        try:
            while True:
                await self._read.wait()
                has_key = visitor.caller is not None
                visible = {id: one for id, one in self._found.items() if has_key or not one.is_guarded}
                for id, one in visible.items():
                    if one.news is not None and beats.get(id) != one.beat:
                        beats[id] = one.beat
                        since = ended.get(id, 0)
                        ended[id] = max((line["order"] for line in one.news["recent"]), default=since)
                        label = _label(one.gateway, one.name, visitor.client)
                        await send(await run_in_thread(news_event, one.news, id, label, visitor.client, since))
                await send(sse.event("gateways", self._states(visible, visitor.client)))
        finally:
            self._viewers -= 1

    def _states(self, processes: Mapping[str, OtherProcess], client: str | None) -> dict[str, Any]:
        """Return each gateway with its processes, without those that have ended while others still answer."""
        gateways: dict[str, dict[str, OtherProcess]] = {}
        for id, one in processes.items():
            gateways.setdefault(one.name, {})[id] = one
        states = []
        for found in gateways.values():
            answering = {id: one for id, one in found.items() if one.unchanged < SILENT}
            shown = answering or found
            last = max(shown.values(), key=lambda one: one.seen)
            label = _label(last.gateway, last.name, client)
            states.append({"gateway": label, "processes": [*shown], "answers": bool(answering), "seen": last.seen})
        return {"gateways": states, "readable": self._is_readable}

    async def _exchange(self, live_view: LiveView) -> None:
        """Read the other gateways' rows, and write this process's row if it is due."""
        read = _read_all if self._viewers else _count
        rows = await _try(self._database.read, partial(read, gateway=self._gateway))
        was_readable, self._is_readable = self._is_readable, rows is not None
        if self._is_readable != was_readable:
            others_text = "other gateways again" if rows else "no other gateways: the state storage is unavailable"
            log.info("the live view shows %s", others_text)
        if rows is None:
            return
        (views, others), now = rows, trio.current_time()
        if self._others_views not in (None, views):
            self._watched_until = now + WATCHED
        self._others_views = views
        self._note_others(others)
        is_watched = now < self._watched_until
        if is_watched or self._viewers or now >= self._written + BEAT_SECONDS:
            news = await _news_text(live_view) if is_watched else ""
            self._beat, self._views, self._written = self._beat + 1, self._views + bool(self._viewers), now
            row = {
                "id": self.id, "gateway": self._gateway, "name": self._name, "beat": self._beat, "views": self._views,
                "seen": int(time.time()), "guarded": int(self.is_guarded), "news": news,
            }  # fmt: skip
            beats = await _try(self._database.write, partial(_write, row=row, ended=self._ended_beats(now)))
            if beats is not None:
                known = self._beats
                self._beats = {
                    id: old if (old := known.get(id, (-1, 0.0)))[0] == beat else (beat, now)
                    for id, beat in beats.items()
                }

    def _ended_beats(self, now: float) -> dict[str, int]:
        """Return the last beat of each process that has ended without deleting its row."""
        return {id: beat for id, (beat, since) in self._beats.items() if now - since >= FORGOTTEN and id != self.id}

    def _note_others(self, others: Mapping[str, OtherProcess]) -> None:
        """Note the rows of a reading."""
        for id, one in others.items():
            before = self._found.get(id)
            if before is not None and before.beat == one.beat:
                one.unchanged, one.news = before.unchanged + 1, before.news
            elif before is None:  # the row may be of a process that has ended
                one.news = None
            elif one.news is None:
                one.news = before.news
        self._found = dict(others)


async def _try(use: Callable[[Callable[[Session], T]], Awaitable[T]], work: Callable[[Session], T]) -> T | None:
    """Return the result of ``work``, ``None`` if the database is unavailable."""
    try:
        return await use(work)
    except Unavailable:
        return None


def _label(gateway: str, name: str, client: str | None) -> str:
    return name if client is None else f"gateway {gateway[:6]}"


def _count(session: Session, gateway: str) -> tuple[int, dict[str, OtherProcess]]:
    return int(session.rows(_COUNT, gateway=gateway)[0][0]), {}


def _read_all(session: Session, gateway: str) -> tuple[int, dict[str, OtherProcess]]:
    """Return the number of views, and the other processes."""
    views, _ = _count(session, gateway)
    rows = session.rows(_READ, gateway=gateway, most=MOST_PROCESSES)
    return views, {
        id: OtherProcess(of, name, bool(guarded), seen, beat, _decode_news(text))
        for id, of, name, guarded, seen, beat, text in rows
    }


def _decode_news(text: str) -> News | None:
    """Return the requests of a process, ``None`` if it wrote none, or another version wrote another form."""
    try:
        news: News = msgspec.json.decode(text)
        news_event(news, "", "", "", 0)
    except (*NOT_JSON, KeyError, IndexError, TypeError, AttributeError):
        return None
    return news


def _write(session: Session, row: Mapping[str, Any], ended: Mapping[str, int]) -> dict[str, int]:
    """Write ``row``, delete the rows of processes that have ``ended``, and return the beat of each row."""
    session.put("live_views", ("id",), row)
    for id, beat in ended.items():
        session.rows("DELETE FROM {live_views} WHERE id = :id AND beat = :beat", id=id, beat=beat)
    session.rows("DELETE FROM {live_views} WHERE seen < :least", least=row["seen"] - LONG_FORGOTTEN)
    return dict(session.rows("SELECT id, beat FROM {live_views}"))


def _delete(session: Session, id: str) -> None:
    session.rows("DELETE FROM {live_views} WHERE id = :id", id=id)


async def _news_text(live_view: LiveView) -> str:
    """Return the requests of this process for other gateways, without secrets."""
    await live_view.refresh()
    ports, found = live_view.ports, View(live_view, None).first()
    state = {"version": __version__, "draining": ports.lifecycle.draining}
    return await run_in_thread(_encode, ports.ledger.mask, {**found, **state})


def _encode(mask: Mask, news: News) -> str:
    """Return ``news`` with the most rows that are not too long."""
    text = ""
    for most in MOST:
        tables = {
            "streams": newest_rows(news["streams"], most, itemgetter(COLUMNS.index("client"))),
            "recent": newest_rows(news["recent"], most // 4, lambda line: line.get("client")),
            "tokens": newest_rows(news["tokens"], most, itemgetter(0)),
        }
        text = mask(mask.redact(msgspec.json.encode({**news, **tables})).decode())
        if len(text) <= LONGEST:
            break
    return text


def newest_rows(rows: Sequence[T], most: int, owner_of: Callable[[T], str | None]) -> list[T]:
    """Return the newest ``most`` rows in order, among which no client takes the room of others."""
    dropped: list[int] = []
    kept: OwnedEntries[str | None, int, int] = OwnedEntries(most, on_drop=dropped.append)
    for number, row in enumerate(rows):
        kept.put(owner_of(row), number, number)
    gone = frozenset(dropped)
    return [row for number, row in enumerate(rows) if number not in gone]
