"""Request members over several attempts, limits, reloads and stored keys."""

import json

import pytest

from gateway.config_files.loading import ConfigError, from_mapping
from gateway.features.request_members.settings import request_of
from tests.support.each_row import each_row
from tests.support.features import needs_feature
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import config, provider
from tests.support.in_process import gateway
from tests.support.upstreams import Raw, Script
from tests.support.wire_clients import ALL, body_of, path_of

BUSY = Raw(503, (), (b"{}",))


def test_each_attempt_has_the_members_of_its_own_entry_and_those_of_the_alias_once(upstream):
    entries = [
        provider(
            f"up-{api}/m", f"{upstream.url}/v1", [api], name=api,
            request={"default": {"seed": number, "temperature": 0.5}, "system": {"after": f"FOR {api}"}},
        )
        for number, api in enumerate(("chat", "messages", "responses"))
    ]  # fmt: skip
    alias = {"targets": ["chat", "messages", "responses"], "request": {"default": {"temperature": 0.25}}}
    with gateway_thread(config(entries, model_aliases={"alias": alias})) as served:
        upstream.script(BUSY, BUSY, Script("ok"))
        reply = served.request("POST", "/v1/chat/completions", body_of("chat", "alias", stream=False))
    assert reply.status == 200
    sent = [seen.json for seen in upstream.seen]
    assert [one["temperature"] for one in sent] == [0.25, 0.25, 0.25]
    assert [one.get("seed") for one in sent] == [0, None, None], "only Chat has it"
    texts = [json.dumps(one) for one in sent]
    assert [[f"FOR {api}" in text for api in ("chat", "messages", "responses")] for text in texts] == [
        [True, False, False], [False, True, False], [False, False, True],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("own", "alias"), [({"thinking": {"type": "disabled"}}, {}), ({}, {"default": {"reasoning_effort": "none"}})]
)
def test_a_default_of_an_entry_never_replaces_a_value_that_a_translation_loses(upstream, own, alias):
    """Not every Chat model knows the effort ``none``."""
    entry = provider(
        "up/m", f"{upstream.url}/v1", ["chat"], name="m", quirks={"efforts": ["low", "high"]},
        request={"default": {"reasoning_effort": "high"}},
    )  # fmt: skip
    with gateway_thread(config([entry], model_aliases={"a": {"target": "m", "request": alias}})) as served:
        upstream.script(Script("ok"))
        body = body_of("messages", "a", stream=False) | own
        assert served.request("POST", "/v1/messages", body).status == 200
        assert upstream.seen[0].json.get("reasoning_effort") is None


def test_a_maximum_holds_after_a_translation_that_adds_thinking_tokens(upstream):
    """Claude needs a limit above the thinking budget, so the translation raises the client's."""
    entry = provider("anthropic/claude-sonnet-4-5", f"{upstream.url}/v1", ["messages"], name="m")
    alias = {"a": {"target": "m", "request": {"max": {"max_tokens": 4000}}}}
    with gateway_thread(config([entry], model_aliases=alias)) as served:
        upstream.script(Script("ok"))
        body = body_of("chat", "a", stream=False, limit=3000) | {"reasoning_effort": "high"}
        reply = served.request("POST", "/v1/chat/completions", body)
    sent = upstream.seen[0].json
    assert (sent["max_tokens"], sent["thinking"]["budget_tokens"]) == (4000, 2000)
    assert reply.headers["x-trigate-adapted"] == "max_tokens=4000,thinking_budget=2000"


def test_a_provider_that_rejects_a_default_gets_the_request_without_it(upstream):
    error = {"error": {"message": "Unsupported parameter: 'seed'", "code": "unsupported_parameter", "param": "seed"}}
    entry = provider("up/m", f"{upstream.url}/v1", ["chat"], name="m", request={"default": {"seed": 1}})
    with gateway_thread(config([entry])) as served:
        for answers in ((Raw(400, (("content-type", "application/json"),), (json.dumps(error).encode(),)),), ()):
            upstream.script(*answers, Script("ok"))
            reply = served.request("POST", "/v1/chat/completions", body_of("chat", "m", stream=False))
            assert (reply.status, reply.headers["x-trigate-dropped"]) == (200, "seed")
            assert "seed" not in upstream.seen[-1].json


@each_row("api", ALL, every=3)
def test_a_budget_reserves_the_maximum_and_not_the_clients_limit(upstream, api):
    entries = [provider("up/m", f"{upstream.url}/v1", ["chat"], name="m", price={"input": 1, "output": 1000})]
    settings = config(
        entries,
        model_aliases={"capped": {"target": "m", "request": {"max": {"max_tokens": 60}}}},
        reserve="max",
    )
    with gateway_thread(settings) as served:
        upstream.script(Script("ok"))
        for model, status in (("m", 402), ("capped", 200)):
            body = body_of(api, model, stream=False, limit=5000)
            headers = {"x-trigate-budget": "1 usd"}
            assert served.request("POST", path_of(api, model, stream=False), body, headers).status == status


async def test_a_reload_changes_the_members_of_new_requests(upstream):
    def settings(url: str, seed: int | None) -> dict[str, object]:
        entry = provider("up/m", f"{url}/v1", ["chat"], name="m")
        return config([entry if seed is None else {**entry, "request": {"set": {"seed": seed}}}], 12000)

    async with gateway(settings(upstream.url, None)) as served:
        found = []
        for seed in (None, 1, 2, None):
            served.reload(settings(upstream.url, seed))
            upstream.script(Script("ok"))
            reply = await served.post("/v1/chat/completions", json=body_of("chat", "m", stream=False))
            assert reply.status_code == 200
            found.append(upstream.seen[0].json.get("seed"))
    assert found == [None, 1, 2, None]


@needs_feature("admin")
def test_a_stored_client_has_members_too():
    from gateway.features.admin.stored_clients import read_item, stored_clients  # which may be deleted

    file = from_mapping(config([provider("up/m", "http://h/v1", ["chat"])], 12000))
    item = read_item("stored", {"sha256": "0" * 64, "request": {"default": {"seed": 1}}})
    (client,) = stored_clients([item], file).clients
    assert (members := request_of(client)) is not None
    assert [one.value for one in members.level.defaults] == [1]
    wrong = read_item("stored", {"sha256": "0" * 64, "request": {"default": {"sed": 1}}})
    assert "sed" in stored_clients([wrong], file).refused["stored"]


@each_row(
    ("request_members", "place", "words"),
    [
        ({"default": {"temprature": 1}}, "request.default.temprature", "did you mean temperature?"),
        ({"set": {"model": "x"}}, "request.set.model", "belong to the client"),
        ({"max": {"stop": "x"}}, "request.max.stop", "a number, or a level of effort"),
        ({"drop": ["usr"]}, "request.drop[0]", "did you mean user?"),
        ({"set": {"seed": 1}, "drop": ["seed"]}, "request.set.seed", "remove one of them"),
        ({"system": {"befor": "x"}}, "request.system.befor", "did you mean before?"),
        ({"defaults": {}}, "request.defaults", "did you mean default?"),
        ({"default": 5}, "request.default", "expected a mapping"),
    ],
)
@each_row("holder", ["entry", "alias", "group", "key"])
def test_a_mistake_is_reported_with_its_place(holder, request_members, place, words):
    entry = provider("up/m", "http://h/v1", ["chat"], name="m")
    more = {
        "entry": {"model_providers": [{**entry, "request": request_members}]},
        "alias": {"model_aliases": {"a": {"target": "m", "request": request_members}}},
        "group": {"client_groups": [{"name": "g", "request": request_members}]},
        "key": {"client_keys": [{"name": "k", "key": "key-of-k-0123456789", "request": request_members}]},
    }[holder]
    with pytest.raises(ConfigError) as raised:
        from_mapping({**config([entry], 12000), **more})
    (mistake,) = raised.value.mistakes
    assert mistake.path.endswith(place)
    assert words in str(mistake)
