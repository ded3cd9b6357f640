"""Tests that ``docs/routing.md`` describes each reason correctly: each model of its table is a route's first target,
with clients of each API, in both lanes, with streams and whole answers."""

import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, get_args

import attrs
import pytest

from gateway.mock.failures import FAILURES
from streams.events import UNAVAILABLE, FailureReason
from tests.support.apis import OLDER
from tests.support.cases import case
from tests.support.each_row import each_row
from tests.support.gateway_thread import gateway_thread, mock_thread
from tests.support.harness import ROOT, Gateway, Reply, config, provider, refusing_port
from tests.support.upstreams import PATHS

PAGE = (ROOT / "docs" / "routing.md").read_text()
ROWS = re.findall(r"^\| `(\w+)` \| (.+) \| (.+) \| (.+) \|$", PAGE, re.MULTILINE)
OTHER = {"chat": "messages", "messages": "responses", "responses": "chat"}
"""The provider's API for each client API in the lane that translates."""


@attrs.frozen
class Cell:
    """One request of a client of ``api`` to ``model``, whose API is ``source``. If ``listed``, the route's other target
    has a ``when`` with the reason for which ``model`` fails."""

    reason: str
    default: str
    model: str
    api: str
    source: str
    stream: bool
    listed: bool

    @property
    def name(self) -> str:
        form, when = "stream" if self.stream else "whole", ".listed" if self.listed else ""
        return f"{self.model.removeprefix('fault/')}.{self.api}.{self.source}.{form}{when}"

    @property
    def goes_on(self) -> bool:
        return self.listed or self.default.startswith("the next target")


EVERY = [
    Cell(reason, default, model, api, source, stream, listed)
    for reason, _, default, models in ROWS
    for model in re.findall(r"`(fault/[\w-]+)`", models)
    for api in OLDER
    for source in ((api,) if model.endswith("-array") else (api, OTHER[api]))
    for stream in (True, False)
    for listed in ((False, True) if reason in ("context_too_long", "content_filter") else (False,))
]


def _is_typical(cell: Cell) -> bool:
    """Return whether runs without the soak have this cell: one of each model, two with ``listed``.

    APIs, lanes and forms take turns. Arrays have one lane."""
    number = MODELS.index(cell.model)
    has_turn = OLDER.index(cell.api) == (number + 2 * (cell.source == cell.api) + cell.stream) % len(OLDER)
    has_lane = cell.model.endswith("-array") or (cell.source == cell.api) == (number + cell.stream) % 2
    return has_turn and has_lane and cell.stream == number // 2 % 2


MODELS = sorted({cell.model for cell in EVERY})
TYPICAL = [*filter(_is_typical, EVERY)]


def settings(url: str, cells: Sequence[Cell]) -> dict[str, Any]:
    """Return settings with a route for each cell, from a failing target to a working one. Each target has its own
    account, because some failures concern the account."""
    entries, aliases = [], {}
    for cell in cells:
        bad, good = names = f"bad-{cell.name}", f"good-{cell.name}"
        for name, model in zip(names, (cell.model, "mock-small"), strict=True):
            more = {"provider_interface": "openai", "name": name, "key": f"sk-{name[:4]}"}
            entries.append(provider(f"stand-in/{model}", f"{url}/{cell.name}/v1", [cell.source], **more))
        aliases[cell.name] = {"targets": [bad, {"target": good, "when": [cell.reason]} if cell.listed else good]}
    return config(entries, model_aliases=aliases)


def body_of(cell: Cell) -> Mapping[str, Any]:
    if cell.api == "responses":
        return {"model": cell.name, "stream": cell.stream, "input": "hi"}
    messages = [{"role": "user", "content": "hi"}]
    return {"model": cell.name, "stream": cell.stream, "messages": messages, "max_tokens": 99}


def replies_to(cells: Sequence[Cell]) -> Sequence[Reply]:
    with mock_thread() as mock, gateway_thread(settings(mock.url, cells)) as process:
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda cell: process.request("POST", PATHS[cell.api], body_of(cell)), cells))
        assert "Traceback" not in "\n".join(process.log)
        return found


@pytest.mark.parametrize("cells", [TYPICAL, pytest.param(EVERY, marks=pytest.mark.soak)], ids=["typical", "every"])
def test_each_row_of_the_page_describes_what_happens(cells: Sequence[Cell]):
    """A status, an event, a body and an array act alike in all APIs (BerriAI/litellm#5512, #6957, #22296, #26067,
    #28599, maximhq/bifrost#5395)."""
    for cell, reply in zip(cells, replies_to(cells), strict=True):
        with case(cell.name):
            tried, failed = reply.headers["x-trigate-tried"], f"bad-{cell.name}={cell.reason}"
            if cell.reason == "connection":  # the attempt on a dead pooled connection has its own entry
                tried = tried.replace(f"{failed}, {failed}", failed)
            if cell.goes_on:
                assert tried == f"{failed}, good-{cell.name}=ok"
                assert reply.status == 200
                assert b"stand-in" in reply.body
            elif cell.model == "fault/refusal":  # a refusal is a good answer if no other target may be tried
                assert tried == f"bad-{cell.name}=ok"
                assert reply.status == 200
            else:
                assert tried == failed
                assert reply.status == 400


def test_the_page_has_every_reason_and_every_model():
    reasons = [reason for reason, *_ in ROWS]
    assert sorted(reasons) == sorted(get_args(FailureReason))
    going_on = {reason for reason, _, default, _ in ROWS if default.startswith("the next target")}
    assert going_on == UNAVAILABLE
    assert {*FAILURES} <= {cell.model.removeprefix("fault/") for cell in TYPICAL}


# Cases that are not in the table


@pytest.fixture(scope="module")
def failing_routes() -> Iterator[Gateway]:
    """Run a gateway with routes from failures that need settings or another server to a good target."""
    with mock_thread() as mock, refusing_port() as refusing:
        entries = [
            chat_target("silent", f"{mock.url}/v1", "fault/silent", timeouts={"first_byte": "300ms"}),
            chat_target("refusing", f"http://127.0.0.1:{refusing}/v1"),
            chat_target("nowhere", "http://no-such-provider.invalid/v1"),
            chat_target("full", f"{mock.url}/full/v1", "fault/credential", quirks={"unavailable_statuses": [401]}),
            chat_target("theirs", f"{mock.url}/theirs/v1", "fault/credential", access_key=None, passthrough_auth=True),
            chat_target("empty", f"{mock.url}/v1", "fault/empty"),
            chat_target("good", f"{mock.url}/v1"),
            chat_target("also-empty", f"{mock.url}/other/v1", "fault/empty"),
        ]
        names = [entry["name"] for entry in entries if entry["name"] not in ("good", "also-empty")]
        aliases = {f"route-{name}": {"targets": [name, "good"]} for name in names}
        aliases["route-nothing"] = {"targets": ["empty", "also-empty"]}
        settings = config(entries, model_aliases=aliases)
        with gateway_thread(settings) as process:
            yield process
            assert "Traceback" not in "\n".join(process.log)


def chat_target(name: str, url: str, model: str = "mock-small", **more: Any) -> dict[str, Any]:
    return provider(f"stand-in/{model}", url, ["chat"], provider_interface="openai", name=name) | more


@each_row("stream", [True, False], ids=["stream", "whole"])
@each_row(
    ("name", "reason", "status"),
    [
        ("silent", "timeout", 200),
        ("refusing", "connection", 200),
        ("nowhere", "connection", 200),
        ("full", "overloaded", 200),
        ("theirs", "invalid", 401),
    ],
)
def test_failures_without_a_provider_response_have_a_reason(
    failing_routes: Gateway, name: str, reason: str, status: int, stream: bool
):
    """An unreachable host had no fallback (BerriAI/litellm#27362), and some full servers return 403 (api7/aisix#752).
    If the client's own key fails, no other target gets the request."""
    asked = {"model": f"route-{name}", "messages": [{"role": "user", "content": "hi"}], "stream": stream}
    reply = failing_routes.request("POST", PATHS["chat"], asked, {"authorization": "Bearer sk-client"})
    assert reply.status == status
    assert reply.headers["x-trigate-tried"] == f"{name}={reason}" + (", good=ok" if status == 200 else "")


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_a_second_empty_answer_is_delivered_unchanged(failing_routes: Gateway, stream: bool):
    """The model may intend it (BerriAI/litellm#24462, Wei-Shaw/sub2api#7081)."""
    asked = {"model": "route-nothing", "messages": [{"role": "user", "content": "hi"}], "stream": stream}
    reply = failing_routes.request("POST", PATHS["chat"], asked)
    assert reply.status == 200
    assert b"stop" in reply.body
    assert reply.headers["x-trigate-tried"] == "empty=bad_answer, also-empty=ok"
