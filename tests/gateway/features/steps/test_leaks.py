"""No output of the gateway contains a masked, refused or restored value. The tests search the log at its lowest level,
traces, metrics, live view, recordings, every other observer, and the stores of turns, ledger, responses and counters.

https://github.com/BerriAI/litellm/issues/37965, https://github.com/BerriAI/litellm/issues/32688"""

import contextlib
import gzip
import itertools
import re
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import attrs
import psycopg
import psycopg.sql
import pytest

from gateway.exchange.context import ExchangeContext
from gateway.exchange.service import Service
from gateway.http.request_scope import RequestScope
from gateway.ledger.record import ArrivedRequest, Record
from gateway.seams.observe import ExchangeObserver
from gateway.seams.observed_stream import PublicStream
from gateway.seams.observed_texts import ObservedTexts, TextRoom
from gateway.seams.observers import Observation, Observers
from gateway.upstream.request import UpstreamRequest
from streams.handoff import Handoff
from tests.support import postgres, redis
from tests.support.features import has_feature, members_of, rows_of
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import Gateway, eventually, exchanges, free_port
from tests.support.otlp_collector import Collector, serve_collector
from tests.support.step_gateway import client_keys, own_steps, post_as, step_settings
from tests.support.step_providers import entries_of
from tests.support.upstreams import JSON, Raw, Script, ToolCall, Upstream, fake_upstream
from tests.support.wire_clients import ALL, body_of, path_of

LEDGER: Final = members_of("kept_ledger", ledger={})
CODE: Final = """
import re
from trigate.steps import Finding

WORD = re.compile(r"(?:falcon|osprey)-\\d+")

async def words(check):
    return [Finding("word", one, *found.span()) for one in check.passages for found in WORD.finditer(one.text)]

def broken(check):
    raise ValueError(" ".join(one.text for one in check.passages))

async def malformed(check):
    return [one.text for one in check.passages]
"""
STEPS: Final[dict[str, dict[str, Any]]] = {
    "mask": {"action": "mask"},
    "restore": {"action": "mask", "restore": True},
    "refuse": {"action": "refuse"},
    "refuse-response": {"action": "refuse", "at": ["response"]},
    "window": {"action": "refuse", "at": ["response"], "hold": 30},
    "stop": {"action": "refuse", "refusal": {"as": "stop", "message": "Not here."}},
    "during": {"action": "refuse", "at": ["during"]},
    "broken": {"use": "./steps.py:broken"},
    "malformed": {"use": "./steps.py:malformed"},
}
VALUE: Final = re.compile(rb"(?:falcon|osprey)-[0-9]+|alcon-1|sprey-7")
APIS: Final = ("chat", "messages", "responses")
SECRET: Final = "ui-key-0123456789-0123456789-0123456789"


class RawCollector(Collector):
    """A collector that keeps the bytes of its requests."""

    def __init__(self) -> None:
        super().__init__()
        self.received: list[bytes] = []

    def take(self, body: bytes) -> None:
        self.received.append(body)


@pytest.fixture
def collector() -> Iterator[RawCollector]:
    with serve_collector(RawCollector) as served, pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
        yield served


class RefusedTexts(ObservedTexts):
    """The texts of an exchange for records. The base class has the texts for traces, without refused requests."""

    keeps_refused = True


class Everything(ExchangeObserver):
    """An observer that notes everything that an observer can get, in ``noted`` by the name of the event."""

    keeps_texts = reads_events = keeps_refused = True

    def __init__(self, record: Record, noted: list[tuple[str, bytes]]) -> None:
        self._record = record
        self._noted = noted
        self._facts: list[tuple[str, tuple[Any, ...]]] = []

    def note_stream(self, stream: PublicStream) -> None:
        self._stream = stream
        stream.listen(self)

    def observe(self, received: bytes, public: bytes, note: str = "") -> None:
        self._facts += (
            ("note_stream", (_bytes_of(self._stream),)),
            ("received stream", (received,)),
            ("public stream", (public, note)),
        )

    def outgoing(self, request: UpstreamRequest) -> UpstreamRequest:
        self._facts.append(("outgoing", (_bytes_of(request),)))
        return request

    def note_end(self, record: Record, line: Mapping[str, Any]) -> None:
        self._facts.append(("note_end", (line, record)))
        for event, facts in self._facts:
            # A step that runs during the provider's work can refuse a request that has been sent already.
            if record.client != "during" or event not in ("outgoing", "note_sent", "note_head", "note_resolved"):
                self._noted += ((f"observer: {event}", _bytes_of(fact)) for fact in facts)


def _note(event: str) -> Callable[..., None]:
    def note(self: Everything, *facts: Any, **_: Any) -> None:
        self._facts.append((event, tuple(map(_bytes_of, facts))))

    return note


for _event in ("note_request", "note_resolved", "note_sent", "note_head", "note_body", "note_response", "note_refused"):
    setattr(Everything, _event, _note(_event))
    Everything.heard |= {_event}
for _event in ("note_public_events", "note_public_bytes"):
    setattr(Everything, _event, _note(_event))
    Everything.heard |= {_event}


def _bytes_of(fact: Any) -> bytes:
    """Return all texts that are reachable from ``fact`` by public attributes, which lead to no part of the kernel that
    has others."""
    found: list[bytes] = []
    seen: set[int] = set()
    _collect(fact, found, seen, DEPTH)
    return b"\0".join(found)


DEPTH: Final = 5
"""The most attributes between a fact and a text in it."""


def _collect(value: Any, found: list[bytes], seen: set[int], depth: int) -> None:
    if isinstance(value, bytes | str | bytearray | memoryview):
        found.append(value.encode(errors="replace") if isinstance(value, str) else bytes(value))
    elif isinstance(value, Mapping | list | tuple | set | frozenset | deque):
        for one in (*value.keys(), *value.values()) if isinstance(value, Mapping) else [*value]:
            _collect(one, found, seen, depth)
    elif depth and id(value) not in seen and type(value).__module__.startswith(("gateway.", "streams.", "providers.")):
        if isinstance(value, Handoff | RequestScope | ExchangeContext | Service):
            found.append(f"falcon-0 by way of {type(value).__name__}".encode())
        seen.add(id(value))
        for name in dir(value):
            if not name.startswith("_"):
                with contextlib.suppress(Exception):
                    _collect(getattr(value, name), found, seen, depth - 1)
    elif type(value).__name__ == "Raw":
        found.append(bytes(value))


@attrs.frozen
class Stores:
    """The configuration of the stores, and a function that returns the data in them by name."""

    settings: dict[str, Any]
    content: Callable[[], Iterator[tuple[str, bytes]]]


def file_stores(folder: Path) -> Stores:
    """Return stores in files of the gateway's folder, which is searched anyway."""
    settings = {
        "state_storage": {"type": "sqlite", "path": str(folder / "state.sqlite"), **LEDGER},
        **members_of("answer_cache", cache={"type": "sqlite", "path": str(folder / "cache.sqlite")}),
    }
    return Stores(settings, lambda: iter(()))


@contextlib.contextmanager
def server_stores() -> Iterator[Stores]:
    """Run PostgreSQL for turns and the ledger, and Redis for responses and counters."""
    with postgres.server_or_skip() as database, redis.server_or_skip() as cache:
        assert cache.say("CONFIG", "SET", "rdbcompression", "no") == b"+OK\r\n"
        settings = {
            "state_storage": {"type": "postgres", "connection_string": database.url, **LEDGER},
            **members_of("answer_cache", cache={"type": "redis", "url": cache.url}),
            "counters": {"type": "redis", "url": cache.url},
        }

        def content() -> Iterator[tuple[str, bytes]]:
            assert cache.say("SAVE") == b"+OK\r\n"
            yield "Redis", (cache.directory / "dump.rdb").read_bytes()
            with psycopg.connect(database.url) as connection:
                listed = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
                for (table,) in listed:
                    rows = connection.execute(psycopg.sql.SQL("SELECT * FROM {}").format(psycopg.sql.Identifier(table)))
                    for row in rows:
                        values = (one if isinstance(one, bytes) else str(one).encode() for one in row)
                        yield f"PostgreSQL: {table}", b"\0".join(values)

        yield Stores(settings, content)


def settings_in(folder: Path, port: int, upstream_url: str, collector_url: str, stores: Stores) -> Path:
    """Write a configuration in which everything that records anything is on."""
    entries, steps = entries_of(upstream_url, APIS), own_steps(STEPS)
    limits = {"ratelimits": {"requests": "100000/m", "tokens": "100000000/m"}}
    keys = client_keys(STEPS, **limits)
    aliases = {
        f"kept-{api}": {"target": f"on-{api}", **members_of("answer_cache", cache={"ttl": "1h"})} for api in APIS
    }
    return step_settings(
        folder, port, entries, CODE, client_keys=keys, steps=steps, model_aliases=aliases, log_level="debug",
        **members_of("tracing", tracing={"endpoint": collector_url}), ui_key=SECRET,
        **members_of("live_view", ui_prompts=True, ui={"answers": "all"}),
        **members_of("metrics", metrics={"open": True}),
        **stores.settings,
        circuit={"failures": 10**6, "error_rate": "100%"},
    )  # fmt: skip


def get(gateway, path: str, key: str) -> bytes:
    reply = gateway.request("GET", path, headers={"authorization": f"Bearer {key}"})
    return reply.body if reply.status == 200 else b""


def ask(gateway, client: str, api: str, model: str, *, stream: bool, prompt: str) -> tuple[int, bytes]:
    body = body_of(api, model, prompt, stream=stream)
    if api in ("responses", "interactions") and client == "restore":
        body["store"] = False  # its stored turns have the client's values
    if api == "chat" and "falcon" in prompt:
        called = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a": "falcon-13"}'}}
        history = [
            {"role": "assistant", "content": "osprey-71 was there", "tool_calls": [called]},
            {"role": "tool", "tool_call_id": "call_1", "content": "it is falcon-14"},
        ]
        body["messages"] = [{"role": "system", "content": "on falcon-15"}, *body["messages"], *history]
        body["metadata"] = {"note": "falcon-16"}
    status, _, data = post_as(gateway, client, path_of(api, model, stream=stream), body)
    return status, data


ANSWERS: Final = (
    Script(
        thinking="about osprey-72", text="it is osprey-73 today",
        calls=(ToolCall("call_1", "f", '{"bird": "osprey-74"}'),), stop="tool_calls",
    ),
    Raw(400, JSON, (b'{"error": {"message": "cannot use \'osprey-75\' here", "type": "invalid_request_error"}}',)),
    Raw(200, JSON, (b'{"id": "osprey-76"',), "cut"),
)  # fmt: skip


def files_in(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the content of each file, decompressed."""
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            data = file.read_bytes()
            yield file.name, gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data


ZLIB: Final = re.compile(rb"\x78[\x01\x5e\x9c\xda]")


def with_uncompressed(name: str, data: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield ``data`` and everything in it that is compressed, as long stored turns are."""
    yield name, data
    for found in ZLIB.finditer(data):
        with contextlib.suppress(zlib.error):
            yield name, zlib.decompressobj().decompress(data[found.start() :], 2**20)


EACH: Final = pytest.param(1, id="each", marks=pytest.mark.soak)
"""Every request. Usual runs send only some for each client."""


@pytest.mark.parametrize("stride", [11, EACH])
def test_no_value_is_in_anything_that_the_gateway_writes_or_shows(tmp_path, collector, stride):
    folder = tmp_path / "gateway"
    folder.mkdir()
    search(tmp_path, collector, file_stores(folder), stride)


@pytest.mark.server
@pytest.mark.parametrize("stride", [21, EACH])
def test_no_value_is_in_the_stores_of_other_servers(tmp_path, collector, stride):
    (tmp_path / "gateway").mkdir()
    with server_stores() as stores:
        search(tmp_path, collector, stores, stride)
        stored = [piece for name, data in stores.content() for piece in with_uncompressed(name, data)]
    assert {name for name, _ in stored} >= {"Redis", "PostgreSQL: trigate_nodes"}
    assert any(b"[WORD_" in data for name, data in stored if name == "PostgreSQL: trigate_nodes")


def kinds_of_requests() -> Iterator[tuple[str, str, str, Script | Raw, bool]]:
    """Yield the client, its API, the provider's API, the response and whether it is a stream."""
    for client, api, stream in itertools.product(STEPS, ALL, (False, True)):
        for target in APIS if api in APIS else ("chat",):
            for answer in ANSWERS if api == target and client != "during" else ANSWERS[:1]:
                yield client, api, target, answer, stream


def placeholder_in(gateway: Gateway, upstream: Upstream) -> str:
    """Return what the provider gets in place of a value that returns to the client ``restore``."""
    upstream.script(ANSWERS[0])
    ask(gateway, "restore", "chat", "on-chat", stream=False, prompt="about falcon-11")
    found = re.search(rb"about (\[WORD_[^]]+\])", upstream.seen[-1].body)
    return found[1].decode()


def search(tmp_path: Path, collector: RawCollector, stores: Stores, stride: int) -> None:
    """Send every ``stride``-th kind of request, and search everything that the gateway has written or shows for their
    values."""
    folder, records, port = tmp_path / "gateway", tmp_path / "records", free_port()
    shown: list[tuple[str, bytes]] = []
    texts: list[ObservedTexts] = []
    start = Observation.__call__

    def start_all(self: Observation, record: Record, arrival: ArrivedRequest | None = None) -> Observers:
        observers = start(self, record, arrival)
        observers.join(Everything(record, shown))
        for kind in (ObservedTexts, RefusedTexts):
            texts.append(kind(record, TextRoom(), lambda client: True))
            observers.join(texts[-1])
        return observers

    with fake_upstream() as upstream, pytest.MonkeyPatch.context() as patch:
        patch.setattr(Observation, "__call__", start_all)
        file = settings_in(folder, port, upstream.url, collector.url, stores)
        with gateway_thread(file, port, record=records) as gateway:
            placeholder, count = placeholder_in(gateway, upstream), 0
            for client, api, target, answer, stream in itertools.islice(kinds_of_requests(), 0, None, stride):
                repeated = answer
                if client == "restore" and isinstance(answer, Script):
                    repeated = attrs.evolve(answer, text=f"it is {placeholder} today")
                upstream.script(*[repeated] * 2)
                sees_request = STEPS[client].get("at") != ["response"]
                prompt = f"about {'falcon-11' if sees_request else 'birds'} and {count}"
                _, body = ask(gateway, client, api, f"kept-{target}", stream=stream, prompt=prompt)
                count += 1
                if answer is ANSWERS[0] and client not in ("restore", "during"):
                    shown.append((f"response to {client}, {api}, {target}, {stream}", body))
            eventually(lambda: len(exchanges(gateway.log)) > count, what="the log lines")
            if has_feature("tracing"):
                eventually(lambda: collector.received, what="spans")
            shown.append(("metrics", get(gateway, "/metrics", SECRET)))
            shown += ((f"live view {at}", get(gateway, f"/ui/streams/{at}", SECRET)) for at in range(1, count + 2))
            log = gateway.log
        shown.append(("log", "\n".join(log).encode()))
    for one in texts:
        said = repr((one.request, one.neutral_request, one.response, one.answers))
        shown.append((f"texts {type(one).__name__}", said.encode()))
    shown += (("trace", body) for body in collector.received)
    shown += ((f"recording {name}", data) for name, data in files_in(records))
    shown += ((name, data) for name, data in files_in(folder) if name not in ("steps.py", "steps.pyc"))
    shown += stores.content()
    pieces = (piece for name, data in shown for piece in with_uncompressed(name, data))
    found = {name: VALUE.findall(data)[:3] for name, data in pieces if VALUE.search(data)}
    assert not found
    for medium in (
        *rows_of("live_view", "live view"),
        "response to mask",
        "observer: note_public_events",
        "texts RefusedTexts",
    ):
        assert any(b"[WORD_" in data for name, data in shown if name.startswith(medium)), f"{medium} has no masks"
