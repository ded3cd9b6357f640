"""Requests of clients of other routers, through a real gateway."""

from collections.abc import Mapping
from typing import Any

import pytest

from tests.support.apis import OLDER, question
from tests.support.each_row import each_row
from tests.support.gateway_thread import serve_module
from tests.support.harness import Gateway, Reply, complaint, config, provider
from tests.support.upstreams import JSON, PATHS, Raw, Script, Upstream

ALL, SOME = "sk-gw-all-0123456789", "sk-gw-some-0123456789"
DOWN = Raw(503, JSON, (b'{"error":{"message":"later","type":"server_error"}}',))


@serve_module
def gateway(upstream):
    entries = [
        provider("one/a", upstream.url, OLDER),
        provider("two/b", upstream.url, OLDER),
        provider("three/eu-c", upstream.url, OLDER),
        provider("four/chat-only", upstream.url, ["chat"]),
        provider("openrouter/r", f"{upstream.url}/v1", ["chat"]),
    ]
    aliases = {"best": {"targets": ["a", "b", "eu-c"]}, "lossy-first": {"targets": ["chat-only", "b"]}}
    keys = [{"name": "all", "key": ALL}, {"name": "some", "key": SOME, "models": ["best", "a"]}]
    circuit = {"failures": 1000, "error_rate": "100%", "cooldown": "1ms", "longest": "1ms"}
    settings = config(
        [{"name": entry["model"].partition("/")[2], **entry} for entry in entries], model_aliases=aliases,
        client_keys=keys, client_routing=["openrouter", "vercel", "litellm"], circuit=circuit,
        retries={"attempts": 3, "budget": "100%"},
    )  # fmt: skip
    return {**settings, "version": "v0.4.0"}


def question_body(api: str, model: str = "best", **more: Any) -> dict[str, Any]:
    return question(api, model, **{"stream": False, **more})


def ask(gateway: Gateway, body: Mapping[str, Any], api: str = "chat", key: str = ALL, **headers: str) -> Reply:
    own = {f"x-trigate-{name}": value for name, value in headers.items()}
    return gateway.request("POST", PATHS[api], body, {"authorization": f"Bearer {key}", **own})


def models(upstream: Upstream) -> list[str]:
    return [seen.json["model"] for seen in upstream.seen]


@each_row("api", OLDER)
def test_openrouters_list_of_models(gateway, upstream, api):
    # https://openrouter.ai/docs/features/model-routing
    upstream.script(DOWN, Script(text="ok"))
    reply = ask(gateway, question_body(api, "b", models=["eu-c"], route="fallback"), api)
    assert (reply.status, models(upstream)) == (200, ["b", "eu-c"])
    assert not [seen for seen in upstream.seen if {"models", "route"} & seen.json.keys()]


@pytest.mark.parametrize("provider_options", [{"zdr": True}, {"data_collection": "deny"}])
def test_an_option_about_data_that_no_provider_guarantees_is_refused(gateway, upstream, provider_options):
    upstream.script()
    error = complaint("chat", ask(gateway, question_body("chat", provider=provider_options)), 400)
    assert error["param"] == f"provider.{next(iter(provider_options))}"
    assert upstream.seen == []


def test_a_client_cannot_request_models_that_its_key_may_not_use(gateway, upstream):
    # BerriAI/litellm#39998
    upstream.script()
    for members in ({"models": ["b"]}, {"fallbacks": ["b"]}):
        assert ask(gateway, question_body("chat", "a", **members), key=SOME).status == 400
    assert upstream.seen == []


def test_names_that_only_a_router_knows_reach_it_unchanged(gateway, upstream):
    upstream.script(Script(text="ok"))
    reply = ask(gateway, question_body("chat", "r", models=["theirs/one", "theirs/two"], route="fallback"))
    assert (reply.status, models(upstream)) == (200, ["r"])
    assert upstream.seen[0].json["models"] == ["theirs/one", "theirs/two"]
    upstream.script()
    assert ask(gateway, question_body("chat", "r", models=["theirs/one"]), models="r, theirs/one").status == 400
    assert upstream.seen == []


def test_strictness_in_the_body_skips_a_target_that_would_lose_a_member(gateway, upstream):
    upstream.script(Script(text="ok"))
    body = question_body("messages", "lossy-first", top_k=5, provider={"require_parameters": True})
    assert ask(gateway, body, "messages").status == 200
    assert models(upstream) == ["b"]
