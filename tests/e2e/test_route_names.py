"""Tests of all ways to request a name with several targets, through a real gateway."""

from typing import Any

import pytest

from tests.support.apis import OLDER, question
from tests.support.covering import covering_rows
from tests.support.features import needs_feature
from tests.support.gateway_thread import serve_module
from tests.support.harness import Gateway, Reply, config, provider
from tests.support.upstreams import JSON, PATHS, Raw, Script

DOWN = Raw(503, JSON, (b'{"error":{"message":"later","type":"server_error"}}',))


@serve_module
def gateway(upstream):
    entries = [
        provider("one/a", upstream.url, OLDER),
        provider("two/b", upstream.url, OLDER, key="sk-other"),
        provider("one/*", upstream.url, OLDER, name="plan/*", key="sk-plan"),
        provider("two/*", upstream.url, OLDER, name="paid/*", key="sk-paid"),
    ]
    settings = config(
        entries,
        listener={"max_retries": 1},
        model_aliases={
            "best": {"targets": ["a", "b"], "default": True},
            "single": {"target": "a"},
            "often": {"target": "a", "retries": {"attempts": 3, "wait": "2s"}},
            "wild-*": {
                "targets": ["plan/*", {"target": "paid/*", "when": ["overloaded"]}, "a"], "retries": {"attempts": 3}
            },
            "kind-*": {"targets": ["plan/x-*", {"target": "b", "when": ["thinking"]}]},
        },
        routing_preferences=[{"name": "code generation", "description": "new code", "models": ["one/a", "two/b"]}],
        circuit={"failures": 1000, "error_rate": "100%"},
    )  # fmt: skip
    return {**settings, "version": "v0.4.0"}


@pytest.fixture
def ask(gateway, upstream):
    """Return a function that sends a request of a new conversation, after a success that keeps targets available."""
    asked = iter(range(10**6))

    def ask(model: str | None, api: str, *answers: Any, stream: bool = False) -> tuple[Reply, list[str]]:
        upstream.script(Script(text="ok"), *answers)
        send(gateway, "one/a", "chat", f"before {next(asked)}")
        before = len(upstream.seen)
        reply = send(gateway, model, api, f"{model} {api} {stream}", stream=stream)
        return reply, [seen.json["model"] for seen in upstream.seen[before:]]

    return ask


def send(gateway: Gateway, model: str | None, api: str, text: str, **more: Any) -> Reply:
    sent = question(api, model or "", text, **more)
    if model is None:
        del sent["model"]
    return gateway.request("POST", PATHS[api], sent)


@pytest.mark.parametrize(
    ("name", "api", "stream"), covering_rows(["best", None, "", "code generation"], OLDER, (False, True))
)
def test_a_route_falls_back_by_each_of_its_names(ask, name, api, stream):
    # An alias did not get its model's fallbacks (BerriAI/litellm#10317), and some APIs had none (#26067).
    reply, models = ask(name, api, DOWN, Script(text="from b"), stream=stream)
    assert (reply.status, models) == (200, ["a", "b"])
    assert (reply.headers["x-trigate-target"], reply.headers["x-trigate-attempts"]) == ("two/b", "2")
    assert b"later" not in reply.body


@pytest.mark.parametrize("name", ["one/a", "a", "single"])
def test_a_name_of_one_target_has_no_fallback(ask, name):
    reply, models = ask(name, "chat", DOWN, DOWN)
    assert (reply.status, models) == (503, ["a", "a"]), "the listener allows one more attempt"


def test_a_name_has_its_configured_number_of_attempts(ask):
    # Elsewhere, one setting caused five requests, another only one: BerriAI/litellm#34129, HKUDS/nanobot#2760.
    reply, models = ask("often", "chat", DOWN, DOWN, DOWN, DOWN)
    assert (reply.status, models) == (503, ["a"] * 3)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("api", OLDER)
def test_a_wildcard_alias_falls_back_with_the_requested_name(ask, api, stream):
    reply, models = ask("wild-7", api, DOWN, DOWN, Script(text="ok"), stream=stream)
    assert (reply.status, models) == (200, ["wild-7", "wild-7", "a"])
    assert reply.headers["x-trigate-tried"] == "plan/wild-7=overloaded, paid/wild-7=overloaded, one/a=ok"


@pytest.mark.parametrize(("headers", "attempts"), [({}, 2), ({"x-trigate-fallback": "off"}, 1)])
def test_a_kind_of_requests_goes_to_its_target_first(gateway, upstream, headers, attempts):
    def reached_models(path: str = PATHS["messages"], **members: Any) -> list[str]:
        upstream.script(Script(text="ok"))
        before = len(upstream.seen)
        sent = question("messages", "kind-1", f"{headers} {members}") | {"max_tokens": 4000, **members}
        gateway.request("POST", path, sent, headers)
        return [seen.json["model"] for seen in upstream.seen[before:]]

    thinking = {"thinking": {"type": "enabled", "budget_tokens": 2000}}
    assert (reached_models(), reached_models(**thinking)) == (["x-1"], ["b"])
    assert reached_models(f"{PATHS['messages']}/count_tokens") == ["x-1"]
    upstream.script(DOWN, Script(text="ok"))
    sent = question("messages", "kind-1", f"down {headers}") | {"max_tokens": 4000, **thinking}
    reply = gateway.request("POST", PATHS["messages"], sent, headers)
    assert reply.headers["x-trigate-attempts"] == str(attempts)


@needs_feature("model_lists")
def test_the_list_of_models_has_every_name(gateway):
    listed = [model["id"] for model in gateway.request("GET", "/v1/models").json["data"]]
    assert listed == ["one/a", "two/b", "single", "best", "often", "code generation"]
    assert gateway.request("GET", "/v1/models/code%20generation").json["owned_by"] == "one"
