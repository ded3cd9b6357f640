"""What ``docs/routing.md`` says of each reason is what happens: each model of its table is asked for through a real
gateway, as the first target of a route, by clients of each API, in both lanes, streamed and whole."""

import json
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, get_args

import attrs
import pytest

from gateway.mock.failures import FAILURES
from streams.events import APIS, UNAVAILABLE, FailureReason
from tests.support.command_line import started
from tests.support.harness import ROOT, Gateway, Reply, config, eventually, free_port, provider, running
from tests.support.upstreams import PATHS

PAGE = (ROOT / "docs" / "routing.md").read_text()
ROWS = re.findall(r"^\| `(\w+)` \| (.+) \| (.+) \| (.+) \|$", PAGE, re.MULTILINE)
OTHER = {"chat": "messages", "messages": "responses", "responses": "chat"}
"""The API of a provider whose answers are translated for a client of another one."""


@attrs.frozen
class Cell:
    """One request: to ``model``, which speaks ``source``, from a client of ``api``. ``listed``: the other target of the
    route is there for the reason that ``model`` fails for."""

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


CELLS = [
    Cell(reason, default, model, api, source, stream, listed)
    for reason, _, default, models in ROWS
    for model in re.findall(r"`(fault/[\w-]+)`", models)
    for api in APIS
    for source in ((api,) if model.endswith("-array") else (api, OTHER[api]))
    for stream in (True, False)
    for listed in ((False, True) if reason in ("context_too_long", "content_filter") else (False,))
]


def settings(url: str, port: int) -> dict[str, Any]:
    """A route for each cell, from a target that fails to one that does not. Each has accounts of its own, for some
    failures are those of an account."""
    entries, aliases = [], {}
    for cell in CELLS:
        bad, good = names = f"bad-{cell.name}", f"good-{cell.name}"
        for name, model in zip(names, (cell.model, "mock-small"), strict=True):
            more = {"provider_interface": "openai", "name": name, "key": f"sk-{name[:4]}"}
            entries.append(provider(f"stand-in/{model}", f"{url}/{cell.name}/v1", [cell.source], **more))
        aliases[cell.name] = {"targets": [bad, {"target": good, "when": [cell.reason]} if cell.listed else good]}
    return config(entries, port, model_aliases=aliases)


def body_of(cell: Cell) -> Mapping[str, Any]:
    if cell.api == "responses":
        return {"model": cell.name, "stream": cell.stream, "input": "hi"}
    messages = [{"role": "user", "content": "hi"}]
    return {"model": cell.name, "stream": cell.stream, "messages": messages, "max_tokens": 99}


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    port = free_port()
    with started("mock", "--port", "0", "--pace", "0") as mock, running(settings(mock.url, port), port) as process:
        yield process
        assert "Traceback" not in "\n".join(process.log)


@attrs.frozen
class Told:
    """What a client has been told, and its attempts by the log."""

    reply: Reply
    tried: tuple[tuple[str, str], ...]


def lines_of(gateway: Gateway) -> Mapping[str, Mapping[str, Any]]:
    """The log's line of each cell, by its name."""
    lines = (json.loads(line) for line in gateway.log if line.startswith("{"))
    return {line["model"]: line for line in lines if "model" in line}


@pytest.fixture(scope="module")
def told(gateway: Gateway) -> Mapping[str, Told]:
    """The answers to all cells."""
    with ThreadPoolExecutor(4) as pool:
        replies = list(pool.map(lambda cell: gateway.request("POST", PATHS[cell.api], body_of(cell)), CELLS))
    lines = eventually(lambda: len(found := lines_of(gateway)) == len(CELLS) and found, what="a line for each cell")
    return {
        cell.name: Told(reply, tuple((one["target"], one["reason"]) for one in lines[cell.name].get("tried", ())))
        for cell, reply in zip(CELLS, replies, strict=True)
    }


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
def test_the_page_is_right(told: Mapping[str, Told], cell: Cell):
    """The same for a status, an event, a body and an array, in all APIs (BerriAI/litellm#5512, #6957, #22296, #26067,
    #28599, maximhq/bifrost#5395)."""
    found, failed = told[cell.name], (f"bad-{cell.name}", cell.reason)
    if cell.goes_on:
        assert found.tried == (failed, (f"good-{cell.name}", "ok"))
        assert found.reply.status == 200
        assert b"stand-in" in found.reply.body
    elif cell.model == "fault/refusal":  # it is an answer, and a good one where nobody else is to be asked
        assert found.tried == ()
        assert found.reply.status == 200
    else:
        assert found.tried == (failed,)
        assert found.reply.status == 400


def test_the_page_has_every_reason_and_every_model():
    reasons = [reason for reason, *_ in ROWS]
    assert sorted(reasons) == sorted(get_args(FailureReason))
    going_on = {reason for reason, _, default, _ in ROWS if default.startswith("the next target")}
    assert going_on == UNAVAILABLE
    assert {*FAILURES} <= {cell.model.removeprefix("fault/") for cell in CELLS}
