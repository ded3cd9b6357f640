"""Providers whose error response never ends: the client gets its status, because that is sufficient."""

from typing import Final

import pytest

from gateway.upstream import response
from tests.support.cases import case
from tests.support.features import has_feature
from tests.support.gateway_thread import serve_module
from tests.support.harness import config, provider
from tests.support.raw_call import line
from tests.support.upstreams import Raw
from tests.support.wire_clients import ALL, body_of, path_of

HEADERS: Final = (("content-type", "application/json"), ("retry-after", "7"))
STALLED: Final = Raw(429, HEADERS, (b'{"error": {"message": "sl',), "hang")
EMBEDDING: Final = {"model": "m-chat", "input": "x"}


@serve_module
def gateway(upstream):
    entries = [provider(f"vllm/up-{api}", upstream.url, [api], name=f"m-{api}") for api in ("chat", "messages")]
    return config(entries)


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_an_error_whose_body_stalls_has_its_status(gateway, upstream, monkeypatch, stream):
    monkeypatch.setattr(response, "ERROR_SECONDS", 0.1)
    calls = [(path_of(api, "m-chat", stream=stream), body_of(api, "m-chat", stream=stream)) for api in ALL]
    calls += [(path_of("messages", "m-messages", stream=stream), body_of("messages", "m-messages", stream=stream))]
    calls += [("/v1/embeddings", EMBEDDING)] if has_feature("other_endpoints") else []
    for path, body in calls:
        with case(path):
            upstream.script(*[STALLED] * 3)
            reply = gateway.request("POST", path, body)
            assert (reply.status, reply.headers["retry-after"]) == (429, "7"), reply.body
            found = line(gateway, reply.headers["x-request-id"])
            assert found["tried"][0]["reason"] == "rate_limited"
            assert found["duration_ms"] < 9000  # the provider is silent for 20 s
