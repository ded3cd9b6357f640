"""Tests that ``docs/streams.md`` describes every end of a stream correctly: for each cell of its tables, a client of
each API sends a request through a real gateway, in both lanes, to the stand-in provider's model for that fault."""

import contextlib
import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import anthropic
import attrs
import openai
import pytest

from gateway.http.response import Response
from gateway.mock.failures import fault_of
from gateway.mock.faults import FAULTS
from gateway.mock.server import create_mock
from gateway.serving.incoming_request import IncomingRequest, ignore_arrived
from gateway.serving.lifecycle import Lifecycle
from gateway.serving.route_table import Handler, RouteTable
from providers.grammar import judge
from tests.support.apis import OLDER
from tests.support.cases import case
from tests.support.gateway_thread import app_thread, gateway_thread, serve_module
from tests.support.harness import (
    ROOT,
    Gateway,
    Reply,
    complaint,
    config,
    eventually,
    provider,
    request,
)
from tests.support.streams_page import PAGE, ROWS, gets_of, names_of_tests, table
from tests.support.upstreams import PATHS

# The provider


class Provider:
    """The stand-in provider. ``seen`` has the end of each of its answers, by the request's text: ``taken`` (the gateway
    read all of it), ``left`` (the gateway disconnected), or ``cut`` (the fault cut it)."""

    def __init__(self) -> None:
        self.url = ""
        self.seen: defaultdict[str, list[str]] = defaultdict(list)
        self.lifecycle = Lifecycle()

    @contextlib.contextmanager
    def serving(self) -> Iterator["Provider"]:
        """Serve in a thread of this process."""
        app = create_mock(0, self.lifecycle)
        app.routes = WatchedRoutes(app.routes, self._watch)
        with app_thread(app, self.lifecycle) as port:
            self.url = f"http://127.0.0.1:{port}"
            yield self

    async def _watch(self, answer: Handler, incoming: IncomingRequest, **names: str) -> Response:
        body = await incoming.read(ignore_arrived)
        found = re.search(rb"cell-[\w./-]+", body)
        assert found

        def record_end(left: bool) -> None:
            self.seen[found[0].decode()].append("left" if left else "taken" if incoming.scope.complete else "cut")

        incoming.scope.on_close(record_end)
        return await answer(ReadRequest(incoming, body), **names)


@attrs.frozen
class WatchedRoutes:
    """The ``routes`` of the stand-in; their requests pass through ``watch``."""

    routes: RouteTable
    watch: Any

    def exact(self, method: str, path: str) -> None:
        return None

    def find(self, method: str, path: str) -> Handler:
        return partial(self.watch, self.routes.find(method, path))


@attrs.frozen
class ReadRequest:
    """A request whose body was read."""

    request: IncomingRequest
    body: bytes

    async def read(self, count_arrived: Any) -> bytes:
        return self.body

    def __getattr__(self, name: str) -> Any:
        return getattr(self.request, name)


@pytest.fixture(scope="module")
def stand_in() -> Iterator[Provider]:
    with Provider().serving() as process:
        yield process


def settings(stand_in: Provider, patience: str = "2s", **more: Any) -> dict[str, Any]:
    """Return settings with two wildcards for each API: one accepts silence for ``patience``, the other for minutes."""
    short = {"timeouts": {"first_byte": patience, "idle": patience}}
    entries = [
        provider(f"{name}-{api}/*", stand_in.url, [api], provider_interface="openai", **limits)
        for name, limits in (("on", {}), ("hasty", short))
        for api in OLDER
    ]
    for entry in entries:
        if entry["speaks"] == ["responses"]:
            entry["state"] = "upstream"  # otherwise the gateway would store its answers and rewrite them
    return config(entries, **more)


gateway = serve_module(settings)


@pytest.fixture
def pinging(stand_in) -> Iterator[Gateway]:
    with gateway_thread(settings(stand_in, keep_alive="0.5s")) as process:
        yield process
        assert "Traceback" not in "\n".join(process.log)


# The page


@attrs.frozen
class Cell:
    """One request, and the results that the page states for it."""

    model: str
    api: str
    model_api: str
    stream: bool
    gets: str
    sees: str
    ledger: str

    @property
    def id(self) -> str:
        kind = "stream" if self.stream else "whole"
        return f"cell-{self.model.replace('/', '-')}-{self.api}-{self.model_api}-{kind}"

    @property
    def byte_lane(self) -> bool:
        return self.api == self.model_api


def cells(stream: bool, every: bool) -> Iterator[Cell]:
    """Yield ``every`` request of the table, or one or two pairs of APIs of each row in rotation."""
    rows = [row for row in table("When an answer goes wrong") if stream or row[4] != "–"]
    for number, (_, model, lane, of_stream, of_whole, sees, ledger) in enumerate(rows):
        for place, api in enumerate(OLDER):
            said = gets_of(of_stream if stream else of_whole, api)
            turn = number + stream
            one = {"both": turn - place, "byte": place, "hub": place + 1 + turn % 2}[lane] % len(OLDER)
            if not every and (number + place) % 2:
                continue
            for model_api in OLDER if every else (OLDER[one],):
                if lane in ("both", "byte" if api == model_api else "hub"):
                    yield Cell(model.strip("`"), api, model_api, stream, said, sees, ledger)


TYPICAL, EVERY = ([cell for stream in (True, False) for cell in cells(stream, every)] for every in (False, True))
SILENT = re.compile("stall|silent")  # without end
SLOW = re.compile("stall|silent|slow")


@attrs.frozen
class Found:
    """The result of one request: its answer, the end of the provider's answer, and the ledger's lines."""

    reply: Reply
    seen: list[str]
    lines: list[Mapping[str, Any]]


def ask(gateway: Gateway, cell: Cell) -> Reply:
    own: dict[str, Any] = {"messages": [{"role": "user", "content": cell.id}], "max_tokens": 100}
    if cell.api == "responses":
        own = {"input": cell.id}
    name = "hasty" if SILENT.search(cell.model) else "on"
    body = {"model": f"{name}-{cell.model_api}/{cell.model}", "stream": cell.stream, **own}
    return request(gateway.url, "POST", PATHS[cell.api], body, {"x-request-id": cell.id})


def ledger(gateway: Gateway) -> Mapping[str, list[Mapping[str, Any]]]:
    """Return the log lines of each request so far, by its id."""
    found = defaultdict(list)
    for line in map(json.loads, [line for line in list(gateway.log) if line.startswith('{"event":"exchange"')]):
        found[line["request_id"]].append(line)
    return found


def answers(cells: Sequence[Cell], gateway: Gateway, pinging: Gateway, stand_in: Provider) -> Mapping[str, Found]:
    """Send the requests of all ``cells`` simultaneously, because some take seconds, and return the results by id."""
    slow = [cell for cell in cells if SLOW.search(cell.model)]
    quick = [cell for cell in cells if not SLOW.search(cell.model)]
    with ThreadPoolExecutor(len(slow)) as waiting, ThreadPoolExecutor(3) as others:
        late, soon = waiting.map(partial(ask, pinging), slow), others.map(partial(ask, gateway), quick)
        replies = dict(zip([*slow, *quick], [*late, *soon], strict=True))
    ids = {cell.id for cell in cells}
    eventually(lambda: ids <= stand_in.seen.keys(), what="the provider's ends")
    told = eventually(lambda: (now := {**ledger(gateway), **ledger(pinging)}).keys() >= ids and now, what="the lines")
    return {cell.id: Found(reply, stand_in.seen[cell.id], told[cell.id]) for cell, reply in replies.items()}


# Content of answers


def words(api: str, events: list[tuple[str, Any]]) -> str:
    """Return the text of a stream's deltas."""
    values = [value for _, value in events if isinstance(value, dict)]
    if api == "chat":
        deltas = [choice["delta"] for value in values for choice in value.get("choices", ())]
        return "".join(delta.get("content") or "" for delta in deltas)
    if api == "messages":
        return "".join(v["delta"].get("text", "") for v in values if v["type"] == "content_block_delta")
    return "".join(v["delta"] for v in values if v["type"] == "response.output_text.delta")


def text(api: str, answer: Mapping[str, Any]) -> str:
    """Return the text of a whole answer."""
    if api == "chat":
        return str(answer["choices"][0]["message"]["content"])
    if api == "messages":
        return "".join(block["text"] for block in answer["content"])
    return "".join(part["text"] for item in answer["output"] for part in item["content"])


SUCCESS = (b"[DONE]", b"message_stop", b"response.completed")
WHOLE = "the whole answer"
BROKEN = ", with the provider's flaw"
PINGS = (b": ping\n\n", b"event: ping\n")
SEES = {
    "its own end": {"cut"},
    "read to the end": {"taken"},
    "read to the end, or closed": {"taken", "left"},  # the end of the body comes with the error, or too late
    "closed by the gateway": {"left"},
}


def check_status(cell: Cell, reply: Reply) -> None:
    status, *headers = cell.gets.removeprefix("status ").split(", ")
    complaint(cell.api, reply, int(status), passed=cell.byte_lane)
    for header in headers:
        name, _, value = header.strip("`").partition(": ")
        assert reply.headers[name] == value
    if not headers:
        assert "retry-after" not in reply.headers


def is_whole(said: str) -> bool:
    return said.startswith(("This is the stand-in", "xxx")) and said.endswith(("get real answers.", "xxx"))


def check_whole(cell: Cell, reply: Reply) -> None:
    verdict = judge(cell.api, reply.body, streamed=cell.stream, tolerant=cell.byte_lane)
    assert (reply.status, reply.cut, verdict.outcome) == (200, False, "complete")
    assert verdict.good == (BROKEN not in cell.gets), verdict
    if verdict.good:
        said = words(cell.api, reply.events()) if cell.stream else text(cell.api, reply.json)
        assert is_whole(said)
        assert len(said) == 4 * 2**20 or "big" not in cell.model


def check_failed(cell: Cell, reply: Reply) -> None:
    """Check that a stream ends with one error event of the client's API."""
    assert (reply.status, reply.cut) == (200, False)
    *said, error = cell.gets.replace(" then ", " ").split(", ")
    assert error == "an error"
    verdict = judge(cell.api, reply.body, streamed=True, tolerant=cell.byte_lane)
    assert verdict.outcome == "failed"
    assert verdict.good, verdict
    assert not any(end in reply.body for end in SUCCESS)
    events = reply.events()
    assert [is_error(cell.api, *event) for event in events].index(True) == len(events) - 1
    found = words(cell.api, events)
    if "every word" in said:
        assert is_whole(found)
    else:
        assert found == ("This is the" if "3 words" in said else "")


def is_error(api: str, name: str, value: Any) -> bool:
    if api == "chat":
        return isinstance(value, dict) and bool(value.get("error", {}).get("message"))
    if api == "messages":
        return name == "error" and bool(value["error"]["message"])
    return name == "response.failed" and bool(value["response"]["error"]["message"])


@pytest.mark.parametrize("cells", [TYPICAL, pytest.param(EVERY, marks=pytest.mark.soak)], ids=["typical", "every"])
def test_each_row_of_the_page_describes_what_happens(gateway, pinging, stand_in, cells):
    found_by_id = answers(cells, gateway, pinging, stand_in)
    for cell in cells:
        with case(cell.id):
            found = found_by_id[cell.id]
            pinged = any(ping in found.reply.body for ping in PINGS)
            if cell.gets.startswith("status"):
                check_status(cell, found.reply)
            elif WHOLE in cell.gets:
                check_whole(cell, found.reply)
            else:
                check_failed(cell, found.reply)
            assert pinged or "pings" not in cell.gets
            # After a reset, the provider's server may have ended already, or sees that the connection is lost.
            assert found.seen in [[one] for one in SEES[cell.sees] | ({"left"} if "reset" in cell.model else set())]
            (line,) = found.lines
            ended, _, kind = cell.ledger.replace("`", "").partition(", ")
            assert line["status"] == found.reply.status
            assert line["ended"] == ended
            assert line.get("error", "") == kind


def test_the_page_has_every_fault():
    told = {fault_of(cell.model)[0] for cell in TYPICAL}
    assert {*FAULTS} - told == {"529-then-ok"}
    assert "fault/529-then-ok" in PAGE


def test_every_row_about_a_client_or_the_process_has_one_test():
    source = "\n".join(path.read_text() for path in (ROOT / "tests/e2e").glob("test_*.py"))
    for what in ROWS:
        assert len(names_of_tests(what, source)) == 1, what


# Beyond the tables


def test_a_clients_retry_succeeds(gateway):
    with ThreadPoolExecutor(len(OLDER)) as clients:
        for api, text in zip(OLDER, clients.map(partial(answer_to_an_sdk, gateway), OLDER), strict=True):
            with case(api):
                assert is_whole(text)


def answer_to_an_sdk(gateway: Gateway, api: str) -> str:
    """Return the text that an SDK gets by one retry after a failure."""
    model = f"on-{api}/fault/529-then-ok"
    if api == "messages":
        with anthropic.Anthropic(api_key="any", base_url=gateway.url, max_retries=1) as client:
            asked: Any = [{"role": "user", "content": f"cell-again-{api}"}]
            text: str = client.messages.create(model=model, max_tokens=50, messages=asked).content[0].text
    else:
        with openai.OpenAI(api_key="any", base_url=f"{gateway.url}/v1", max_retries=1) as client:
            asked = [{"role": "user", "content": f"cell-again-{api}"}]
            if api == "chat":
                text = client.chat.completions.create(model=model, messages=asked).choices[0].message.content
            else:
                text = client.responses.create(model=model, input=asked).output_text
    return text
