"""Groups of clients through a real gateway: what they may use, and who may serve them."""

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.support.apis import OLDER, question
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import START_SECONDS, Gateway, Reply, config, eventually, free_port, provider, running
from tests.support.upstreams import JSON, PATHS, Raw, Script

BANK, SHOP, DESK = "sk-gw-bank-0123456789", "sk-gw-shop-0123456789", "sk-gw-desk-0123456789"
DOWN = Raw(503, JSON, (b'{"error":{"message":"later","type":"server_error"}}',))


def settings(upstream, port: int = 0) -> dict[str, Any]:
    entries = [
        {**provider("one/a", upstream.url, OLDER), "name": "eu-one"},
        {**provider("two/b", upstream.url, OLDER, key="sk-other"), "name": "us-two"},
        {**provider("openai/kept", upstream.url, ["responses"], state="upstream"), "name": "us-kept"},
    ]
    return config(
        entries, port,
        model_aliases={"best": {"targets": ["eu-one", "us-two"]}, "far": {"targets": ["us-two", "eu-one"]}},
        client_groups=[{"name": "europe", "only": ["eu-*"]}, {"name": "world", "models": ["best", "us-kept"]}],
        client_keys=[
            {"name": "bank", "key": BANK, "group": "europe"},
            {"name": "shop", "key": SHOP, "group": "world"},
            {"name": "desk", "key": DESK, "group": "world", "models": ["best"]},
        ],
        circuit={"failures": 1000, "error_rate": "100%"},
        retries={"attempts": 2, "budget": "100%"},
    )  # fmt: skip


@pytest.fixture(scope="module")
def gateway(upstream) -> Iterator[Gateway]:
    with gateway_thread(settings(upstream)) as found:
        yield found


def ask(gateway: Gateway, key: str, model: str, api: str = "chat", text: str = "hi", **more: Any) -> Reply:
    return gateway.request("POST", PATHS[api], question(api, model, text, **more), {"authorization": f"Bearer {key}"})


def listed(gateway: Gateway, key: str) -> list[str]:
    return [
        model["id"]
        for model in gateway.request("GET", "/v1/models", None, {"authorization": f"Bearer {key}"}).json["data"]
    ]


@pytest.mark.sample(2, by="place")
@pytest.mark.parametrize("api", OLDER)
@pytest.mark.parametrize("stream", [False, True])
def test_a_restricted_group_gets_the_failure_and_another_is_served(gateway, upstream, api, stream):
    # A key locked to one place got another's answer by way of the fallbacks: BerriAI/litellm#38572.
    upstream.script(Script(text="ok"), DOWN, DOWN, DOWN, Script(text="ok"))
    assert ask(gateway, SHOP, "best", text="something else").status == 200  # so that nobody is out
    assert ask(gateway, BANK, "best", api, stream=stream).status == 503
    assert [seen.json["model"] for seen in upstream.seen] == ["a", "a", "a"]
    assert ask(gateway, SHOP, "best", api, stream=stream).status == 200
    assert [seen.json["model"] for seen in upstream.seen[3:]] == ["a", "b"]


def test_each_client_sees_the_names_that_its_group_and_itself_may_use(gateway):
    assert listed(gateway, BANK) == ["eu-one", "best", "far"]
    assert listed(gateway, SHOP) == ["us-kept", "best"]
    assert listed(gateway, DESK) == ["best"]


def test_the_page_of_models_shows_no_place_outside_of_a_wall(gateway):
    found = gateway.request("GET", "/ui/models", None, {"authorization": f"Bearer {BANK}"}).json
    assert {row["name"]: row["target"] for row in found} == {"eu-one": "one/a", "best": "one/a", "far": "one/a"}
    assert b"two" not in gateway.request("GET", "/ui/models", None, {"authorization": f"Bearer {BANK}"}).body


@pytest.mark.parametrize(("key", "model"), [(BANK, "us-two"), (SHOP, "eu-one"), (DESK, "us-kept")])
def test_a_model_allowed_by_only_one_of_key_and_group_is_refused(gateway, upstream, key, model):
    before = len(upstream.seen)
    assert ask(gateway, key, model).status == 403
    assert len(upstream.seen) == before


@pytest.mark.process
def test_a_response_that_is_kept_outside_of_a_new_wall_is_not_looked_for(upstream, tmp_path):
    port, file = free_port(), tmp_path / "trigate.yaml"
    walled = settings(upstream, port)
    file.write_text(yaml.safe_dump(walled))
    with running(file, port) as gateway:
        upstream.script(Script(text="ok"), Script(text="ok"))
        kept = ask(gateway, SHOP, "us-kept", "responses", store=True).json["id"]
        before = len(upstream.seen)
        walled["client_groups"][1]["only"] = ["eu-*"]
        file.write_text(yaml.safe_dump(walled))
        os.kill(gateway.pid, signal.SIGHUP)
        eventually(lambda: any("was reloaded" in line for line in gateway.log), START_SECONDS, "a reload")
        reply = gateway.request("GET", f"/v1/responses/{kept}", None, {"authorization": f"Bearer {SHOP}"})
        assert reply.status == 404
        assert len(upstream.seen) == before
