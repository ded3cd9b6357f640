"""A step of a whole text is called once for it. Retries and other targets cause no other
calls on the request."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.harness import Gateway, eventually, exchanges, provider
from tests.support.step_gateway import client_keys, own_steps, post_as, step_gateway
from tests.support.upstreams import JSON, Raw, Script
from tests.support.wire_clients import ALL, body_of, path_of

CODE: Final = """
import json
from pathlib import Path

import trio

def note(check):
    texts = [one.text for one in check.passages]
    with Path(__file__).with_name("calls").open("a") as file:
        file.write(json.dumps([check.at, texts]) + "\\n")
    return []

async def wait(check):
    while not Path(__file__).with_name("go").exists():
        await trio.sleep(0.005)
    return note(check)
"""
STEPS: Final[dict[str, dict[str, Any]]] = {
    "refuse": {"action": "refuse"},
    "mask": {"action": "mask"},
    "report": {"action": "report"},
    "waiting": {"use": "./steps.py:wait", "action": "report", "deadline": "60s"},
    "both": {"action": "refuse", "at": ["during", "response"]},
    "entries": {"action": "refuse", "for": {"entries": ["second", "third"]}},
}
UNSTORED: Final = ("responses", "interactions")
FAILED: Final = Raw(500, JSON, (b'{"error": {"message": "the provider is tired of falcons", "type": "server_error"}}',))


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "calls").touch()
    return tmp_path


@pytest.fixture
def gateway(upstream, folder) -> Iterator[Gateway]:
    """Serve the model ``all`` with three entries of one provider, anew in each test: earlier retries do not count."""
    entries = [
        provider(f"openai/{name}", upstream.url + "/v1", ["chat"], name=name) for name in ("first", "second", "third")
    ]
    aliases = {"all": {"targets": ["first", "second", "third"], "retries": {"wait": "1ms", "budget": "100%"}}}
    more: dict[str, Any] = {
        "client_keys": client_keys(STEPS),
        "steps": own_steps(STEPS, "./steps.py:note"),
        "model_aliases": aliases,
        "circuit": {"failures": 10**6, "error_rate": "100%", "cooldown": "1ms", "longest": "1ms"},
    }
    with step_gateway(folder, entries, CODE, **more) as served:
        yield served


def ask(
    gateway: Gateway, client: str, api: str, prompt: str, *, stream: bool, awaits_log: bool = True
) -> tuple[int, Mapping[str, str], bytes]:
    body = {**body_of(api, "all", prompt, stream=stream), **({"store": False} if api in UNSTORED else {})}
    status, found, data = post_as(gateway, client, path_of(api, "all", stream=stream), body)
    if awaits_log:
        eventually(lambda: exchanges(gateway.log, found["x-request-id"]), what="the end of the exchange")
    return status, found, data


def calls_in(folder: Path) -> list[tuple[str, str]]:
    """Return each text that a step saw, with the moment."""
    lines = (folder / "calls").read_text().splitlines()
    return [(at, text) for at, texts in map(json.loads, lines) for text in texts]


@pytest.mark.parametrize(
    ("client", "api", "stream"),
    [
        (client, api, (turn + place) % 2 == 1)
        for turn, client in enumerate(("refuse", "mask", "report", "both", "entries"))
        for place, api in enumerate(ALL)
    ],
)
def test_a_step_sees_each_text_once(gateway, upstream, folder, client, api, stream):
    upstream.script(FAILED, Script(text="It is a bird."))
    status, _, body = ask(gateway, client, api, "What is a falcon?", stream=stream)
    assert status == 200, body
    at = "during" if client == "both" else "request"
    expected = [(at, "What is a falcon?"), ("response", "It is a bird.")]
    eventually(lambda: {*expected} <= {*calls_in(folder)}, what="the calls")
    seen = calls_in(folder)
    assert [seen.count(one) for one in expected] == [1, 1], seen
    assert all(seen.count(one) == 1 for one in seen), seen


@pytest.mark.parametrize("stream", [False, True])
def test_no_request_waits_for_a_step_that_only_reports(gateway, upstream, folder, stream):
    """The step ends after the client has the response, and the log has its outcome."""
    upstream.script(Script(text="It is a bird."))
    status, headers, _ = ask(gateway, "waiting", "chat", "What is a falcon?", stream=stream, awaits_log=False)
    assert status == 200
    assert calls_in(folder) == []
    (folder / "go").touch()
    (line,) = eventually(lambda: exchanges(gateway.log, headers["x-request-id"]), what="the log line")
    assert [(one["at"], one["outcome"]) for one in line["steps"]] == [("request", "ok"), ("response", "ok")]
    assert len(calls_in(folder)) == 2
