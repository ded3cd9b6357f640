"""Tests of the configurations in ``docs/examples``: clients of each API send requests while stand-ins for the providers
fail in the ways that each file handles."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import attrs
import pytest
import yaml

from tests.support.apis import question
from tests.support.each_row import each_row
from tests.support.features import has_feature
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import Gateway, Reply, free_port
from tests.support.repository import ROOT
from tests.support.upstreams import JSON, PATHS, Raw, Script, Seen, Upstream, render, serve_upstream


def refusal(status: int, **error: Any) -> Raw:
    return Raw(status, JSON, (json.dumps({"type": "error", "error": error}).encode(),))


FAILURES = {
    "overloaded": refusal(529, type="overloaded_error", message="Overloaded"),
    "quota": refusal(429, type="rate_limit_error", code="insufficient_quota", message="You exceeded your quota"),
    "rate_limited": refusal(429, type="rate_limit_error", message="slow down"),
    "server_error": refusal(500, type="api_error", message="it broke"),
    "context_too_long": refusal(400, type="invalid_request_error", code="context_length_exceeded",
                                message="prompt is too long: 210000 tokens > 200000 maximum"),
}  # fmt: skip


class Providers(Upstream):
    """All providers of a file, distinguished by their keys; ``failing`` has the failure of each failing entry."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.failing: dict[str, str] = {}
        self.asked: list[str] = []

    def answer(self, seen: Seen) -> Raw:
        if seen.method == "GET":
            return Raw(200, JSON, (b"{}",))  # a probe
        given = seen.header("authorization") or seen.header("api-key") or seen.header("x-api-key") or ""
        entry = given.removeprefix("Bearer ").removeprefix("sk-of-")
        self.asked.append(entry)
        if entry in self.failing:
            return FAILURES[self.failing[entry]]
        api = next(api for api, end in ENDS.items() if seen.path.endswith(end))
        return render(Script(text=f"said by {entry}"), api, seen.json)


ENDS = {"chat": "/chat/completions", "messages": "/messages", "responses": "/responses"}


def settings(name: str, url: str, port: int) -> dict[str, Any]:
    """Return the file's settings with stand-ins for its providers, and with keys for its clients."""
    text = (ROOT / f"docs/examples/{name}.yaml").read_text()
    found: dict[str, Any] = yaml.safe_load(text)
    for entry in found["model_providers"]:
        called = entry.get("name", entry["model"].rpartition("/")[2])
        entry |= {"name": called, "access_key": f"sk-of-{called}", "base_url": f"{url}/v1"}
    for key in found.get("client_keys", ()):
        if "key" in key:
            key["key"] = client_key(key["name"])
    if "metrics_key" in found:
        found["metrics_key"] = client_key("prometheus")
    if not has_feature("client_routing"):
        found.pop("client_routing", None)
    found.pop("counters", None)  # the tests have no Redis
    found.pop("state_storage", None)  # its path is relative to the current folder
    for alias in found["model_aliases"].values():
        alias.pop("hedge", None)  # on a busy machine, the second attempt may win
    return {**found, "listeners": [{"type": "model", "name": "models", "port": port}]}


def client_key(name: str) -> str:
    return f"key-of-the-client-{name}"


@attrs.define
class Stage:
    gateway: Gateway
    providers: Providers

    def ask(self, model: str, api: str = "chat", client: str = "nobody", **more: Any) -> Reply:
        headers = {"authorization": f"Bearer {client_key(client)}"}
        return self.gateway.request("POST", PATHS[api], question(api, model, "Hello", **more), headers)


@contextlib.contextmanager
def serving(name: str) -> Iterator[Stage]:
    with serve_upstream(Providers) as providers:
        port = free_port()
        with gateway_thread(settings(name, providers.url, port), port) as gateway:
            yield Stage(gateway, providers)


@pytest.fixture
def stage(request) -> Iterator[Stage]:
    with serving(request.param) as found:
        yield found


ROUTES = {"subscription": "sonnet", "team": "best", "pool": "qwen", "regions": "gpt-5"}
CLIENTS = {"team": "nightly", "regions": "shop"}
FORESEEN = [
    ("subscription", {}, "plan"),
    ("subscription", {"plan": "quota"}, "paid"),
    ("subscription", {"plan": "rate_limited"}, "small"),
    ("subscription", {"plan": "overloaded", "paid": "overloaded"}, "small"),
    ("team", {"claude-opus-4-7": "server_error"}, "gpt-5"),
    ("pool", {"gpu-1": "overloaded", "gpu-2": "server_error"}, "cloud"),
    ("pool", {"gpu-1": "context_too_long", "gpu-2": "context_too_long"}, "long"),
    ("regions", {"eu-azure-1": "server_error", "eu-azure-2": "overloaded"}, "us-openai"),
    ("regions", {"eu-azure-1": "quota", "eu-azure-2": "quota", "us-openai": "server_error"}, "us-anthropic"),
]


@each_row(("name", "failing", "answers"), [*FORESEEN[1:3], *FORESEEN[4:8]])
def test_an_example_works_as_explain_predicts(name, failing, answers):
    with serving(name) as stage:
        stage.providers.failing = failing
        for api in PATHS:
            for stream in (True, False):
                asked = len(stage.providers.asked)
                reply = stage.ask(ROUTES[name], api, CLIENTS.get(name, "nobody"), stream=stream)
                assert reply.status == 200, reply.body
                assert b"said" in reply.body
                tried = reply.headers["x-trigate-tried"].split(", ")
                assert tried[-1] == f"{answers}=ok"
                assert [one.partition("=")[0] for one in tried] == stage.providers.asked[asked:]


@pytest.mark.parametrize("stage", ["regions"], indirect=True)
def test_a_restricted_key_stays_restricted_after_failures(stage):
    """A key for one model got another model's answer: BerriAI/litellm#38572."""
    stage.providers.failing = {"eu-azure-1": "overloaded", "eu-azure-2": "server_error"}
    reply = stage.ask("gpt-5", client="bank")
    assert reply.status == 503
    assert set(stage.providers.asked) == {"eu-azure-1", "eu-azure-2"}
    assert "us-" not in reply.body.decode()
    assert stage.ask("gpt-5", client="shop").status == 200


@pytest.mark.parametrize("stage", ["team"], indirect=True)
def test_members_of_a_group_may_use_the_groups_models(stage):
    assert stage.ask("best", client="ben").status == 200
    assert stage.ask("cheap", client="ben").status == 200
    assert stage.ask("cheap", client="nightly").status == 403
    assert stage.ask("best", client="nobody").status == 401
