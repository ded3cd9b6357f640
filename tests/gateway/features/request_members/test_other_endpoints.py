"""Request members at endpoints other than conversations."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from providers.members.names import BODY_ENDPOINTS
from tests.support.each_row import each_row
from tests.support.gateway_thread import serve_module
from tests.support.harness import config, provider
from tests.support.relayed_requests import ASKED, MULTIPART, NEEDED
from tests.support.upstreams import JSON, Raw, Seen, Upstream, serve_upstream

ANSWERS: dict[str, Any] = {
    "embeddings": {"object": "list", "data": [{"index": 0, "embedding": [0.5]}], "usage": {"prompt_tokens": 1}},
    "rerank": {"results": [{"index": 0, "relevance_score": 0.5}]},
}


class AnyEndpoint(Upstream):
    """A provider of every endpoint with JSON."""

    def answer(self, seen: Seen) -> Raw:
        self.seen.append(seen)
        body = next((value for name, value in ANSWERS.items() if name in seen.path), {"id": "x", "choices": []})
        return Raw(200, JSON, (json.dumps(body).encode(),))


@pytest.fixture(scope="module")
def upstream() -> Iterator[AnyEndpoint]:
    with serve_upstream(AnyEndpoint) as up:
        yield up


ENDPOINTS = sorted(NEEDED.keys() & set(BODY_ENDPOINTS))


@serve_module
def gateway(upstream):
    own = dict.fromkeys(ENDPOINTS, True)
    prefixed = {f"{name}.from_alias": "a" for name in ENDPOINTS} | {"chat.from_alias": "a"}
    return config(
        [
            provider(
                "own/m", f"{upstream.url}/v1", name="m", endpoints=own, provider_interface="openai",
                request={"set": {f"{name}.from_entry": "e" for name in ENDPOINTS}, "max": {"max_tokens": 20}},
            )
        ],
        model_aliases={
            "alias": {
                "target": "m",
                "request": {
                    "default": {name: value for name, value in prefixed.items() if not name.startswith("chat")},
                    "drop": ["user"], "max": {"max_tokens": 30}, "system": {"before": "NEVER HERE"},
                },
            }
        },
    )  # fmt: skip


@each_row(("endpoint", "path"), [one for one in ASKED if one[0] not in MULTIPART], every=3)
def test_each_endpoint_has_the_members_of_alias_and_entry(gateway, upstream, endpoint, path):
    upstream.seen.clear()
    body = {"model": "alias", **NEEDED[endpoint]}
    if endpoint == "completions":
        body |= {"max_tokens": 99, "user": "someone"}
    if endpoint == "embeddings":
        body |= {"user": "someone"}
    reply = gateway.request("POST", path, body)
    assert upstream.seen, reply.body
    sent = upstream.seen[0].json
    assert sent.get("from_entry") == "e"
    lost = reply.headers.get("x-trigate-dropped", "")
    assert sent.get("from_alias") == "a" or "from_alias" in lost, "a translation may lose it, but not silently"
    assert "user" not in sent
    assert sent.get("max_tokens", 20) == 20
    assert b"NEVER HERE" not in upstream.seen[0].body
    assert "from_entry=e" in reply.headers["x-trigate-adapted"]
