"""Names of models: odd ones, unknown ones, and whose they are."""

from collections.abc import Iterator
from itertools import product
from urllib.parse import quote

import pytest

from tests.support.apis import OLDER, question
from tests.support.each_row import each_row
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import Gateway, complaint, config, provider, refusing_port
from tests.support.upstreams import PATHS, Script, Upstream

FULL, SHARED = "gw-full", "gw-shared"
ODD = {
    "vllm/Qwen/Qwen3 32B": "Qwen/Qwen3 32B",
    "ollama/llama3.2:70b": "llama3.2:70b",
    "vertex/claude-opus@20260801": "claude-opus@20260801",
    "a.b:c@d e": "plain",
    "groq/openai/gpt-oss-20b": "overridden",  # exactly this name, though a wildcard covers it
    "ümlaut/名前": "名前",
    "50%/off": "off",
}


@pytest.fixture(scope="module")
def gateway(upstream) -> Iterator[Gateway]:
    entries = [provider(f"own/{id}", upstream.url, ["chat"], name=name) for name, id in ODD.items()]
    entries += [
        provider("groq/*", f"{upstream.url}/v1", ["chat"]),
        provider("openai/secret-model", upstream.url, ["chat"]),
        provider("one/twin", upstream.url, ["chat"]),
        provider("two/twin", upstream.url, ["chat"]),
    ]
    keys = [{"name": "full", "key": FULL}, {"name": "shared", "key": SHARED, "models": ["a.b:c@d e", "open-model"]}]
    aliases = {"open-model": {"target": "ollama/llama3.2:70b"}}
    with gateway_thread(config(entries, client_keys=keys, model_aliases=aliases)) as process:
        yield process


def post(gateway: Gateway, api: str, model: str, key: str = FULL):
    return gateway.request("POST", PATHS[api], question(api, model), {"authorization": f"Bearer {key}"})


@each_row(("name", "id"), ODD.items(), every=2)
def test_a_name_of_any_characters_is_requested_as_configured(gateway, upstream, name, id):
    upstream.script(Script(text="ok"))
    assert post(gateway, "chat", name).status == 200
    assert upstream.seen[0].json["model"] == id


@each_row(
    ("headers", "safe", "name"), product([{}, {"anthropic-version": "2023-06-01"}], ["", "/", "/:@"], ODD), every=6
)
def test_a_model_is_found_by_its_id_in_a_path_escaped_or_not(gateway, name, safe, headers):
    own = {"x-api-key": FULL, **headers}
    reply = gateway.request("GET", f"/v1/models/{quote(name, safe=safe)}", None, own)
    assert (reply.status, reply.json["id"]) == (200, name)


def test_patterns_come_last(gateway, upstream):
    upstream.script(Script(text="ok"), Script(text="ok"))
    assert post(gateway, "chat", "groq/whatever:free x").status == 200
    assert post(gateway, "chat", "own/plain").status == 200
    assert [seen.json["model"] for seen in upstream.seen] == ["whatever:free x", "plain"]


@each_row("api", OLDER, every=3)
def test_an_unknown_model_is_a_404_with_near_names_and_no_others(gateway, upstream, api):
    """(openai/codex#41095)"""
    upstream.script()
    error = complaint(api, post(gateway, api, "secret-modle"), 404)
    assert "'secret-modle'" in error["message"]
    assert "openai/secret-model" in error["message"]
    assert "llama" not in error["message"]
    if api != "messages":
        assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", "model_not_found", "model")
    assert upstream.seen == []


@each_row("api", OLDER, every=2)
def test_near_names_are_those_that_the_key_may_use(gateway, upstream, api):
    upstream.script()
    message = complaint(api, post(gateway, api, "secret-modle", SHARED), 404)["message"]
    assert "secret-model" not in message
    message = complaint(api, post(gateway, api, "open-modl", SHARED), 404)["message"]
    assert "open-model" in message
    assert upstream.seen == []


@pytest.mark.parametrize("headers", [{}, {"anthropic-version": "2023-06-01"}], ids=["openai", "anthropic"])
def test_by_id_the_near_names_are_the_keys_own_too(gateway, headers):
    own = {"x-api-key": SHARED, **headers}
    reply = gateway.request("GET", "/v1/models/secret-modle", None, own)
    message = complaint("messages" if headers else "chat", reply, 404)["message"]
    assert "secret-model" not in message


def test_a_name_that_two_offer_is_reported_with_those_that_the_key_may_use(gateway):
    message = complaint("chat", post(gateway, "chat", "twin"), 400)["message"]
    assert "one/twin and two/twin" in message
    message = complaint("chat", post(gateway, "chat", "twin", SHARED), 400)["message"]
    assert "one/" not in message
    assert "two/" not in message


@pytest.mark.parametrize("headers", [{}, {"anthropic-version": "2023-06-01"}], ids=["openai", "anthropic"])
def test_the_list_is_what_the_key_can_call_and_nothing_else(gateway, upstream, headers):
    """(maximhq/bifrost#3342, raine/claude-code-proxy#61)"""
    listed = gateway.request("GET", "/v1/models", None, {"x-api-key": SHARED, **headers}).json
    names = [entry["id"] for entry in listed["data"]]
    assert names == ["a.b:c@d e", "open-model"]
    for name in names:
        upstream.script(Script(text="ok"))
        assert post(gateway, "chat", name, SHARED).status == 200
    everything = gateway.request("GET", "/v1/models", None, {"x-api-key": FULL, **headers}).json
    assert {"groq/llama-3.3-70b-versatile", "open-model", *ODD} <= {entry["id"] for entry in everything["data"]}


def test_a_dead_provider_with_a_wrong_key_changes_nothing_for_the_others(upstream):
    """(BerriAI/litellm#17729)"""
    with refusing_port() as refusing:
        entries = [
            provider("openai/dead", f"http://127.0.0.1:{refusing}", ["chat"], key="wrong"),
            provider("openai/alive", upstream.url, ["chat"]),
        ]
        _turns(upstream, config(entries))


def _turns(upstream: Upstream, settings: dict[str, object]) -> None:
    with gateway_thread(settings) as process:
        for _ in range(3):
            upstream.script(Script(text="ok"))
            assert process.request("POST", PATHS["chat"], question("chat", "openai/dead")).status == 502
            assert process.request("POST", PATHS["chat"], question("chat", "openai/alive")).status == 200
