"""Requests that two providers may work on simultaneously."""

import json
from typing import Any

import pytest

from gateway.config_files.loading import from_mapping
from gateway.request.parse import read_incoming
from gateway.request.repeatable import may_run_twice
from gateway.routing.router import Router
from streams.events import Api
from tests.support.apis import OLDER
from tests.support.each_row import each_row

FUNCTION = {"type": "function", "function": {"name": "look"}}


ROUTER = Router(
    from_mapping(
        {
            "version": "v0.4.0",
            "model_providers": [{"model": f"vllm/{api}", "access_key": "k", "speaks": [api]} for api in OLDER],
        }
    )
)


def runs_twice(api: Api, provider_api: Api | None = None, **members: Any) -> bool:
    asked = {"responses": {"input": "Hi"}, "gemini": {"contents": []}}.get(api, {"messages": []})
    incoming = read_incoming(api, json.dumps({"model": "m", **asked, **members}).encode())
    return may_run_twice(incoming, [ROUTER.resolve(provider_api or (api if api in OLDER else "chat"), api)])


ANSWERED = [
    ("chat", {}),
    ("chat", {"tools": [FUNCTION], "store": False}),
    ("chat", {"tools": None}),
    ("chat", {"tools": []}),
    ("messages", {"tools": [{"name": "look", "input_schema": {}}, {"type": "custom", "name": "see"}]}),
    ("responses", {"store": False, "tools": [{"type": "function", "name": "look"}]}),
    ("gemini", {"tools": [{"functionDeclarations": [{"name": "look"}]}]}),
    ("gemini", {"tools": [{"function_declarations": []}, {"functionDeclarations": []}]}),
    ("converse", {"toolConfig": {"tools": [{"toolSpec": {"name": "look"}}, {"cachePoint": {"type": "default"}}]}}),
    ("converse", {"toolConfig": {}}),
]
STORED_OR_DONE = [
    ("chat", {"store": True}),
    ("chat", {"web_search_options": {}}),
    ("chat", {"search_parameters": {"mode": "auto"}}),
    ("chat", {"plugins": [{"id": "web"}]}),
    ("chat", {"tools": [FUNCTION, {"google_search": {}}]}),
    ("messages", {"tools": [{"type": "web_search_20250305", "name": "web_search"}]}),
    ("messages", {"mcp_servers": []}),
    ("messages", {"container": "c"}),
    ("responses", {}),
    ("responses", {"store": None}),
    ("responses", {"store": False, "background": True}),
    ("responses", {"store": False, "conversation": "conv_1"}),
    ("responses", {"store": False, "tools": [{"type": "web_search"}]}),
    ("gemini", {"tools": [{"functionDeclarations": []}, {"googleSearch": {}}]}),
    ("gemini", {"tools": [{"functionDeclarations": [], "codeExecution": {}}]}),
    ("converse", {"toolConfig": {"tools": [{"systemTool": {"name": "nova_grounding"}}]}}),
    ("converse", {"toolConfig": []}),
    ("chat", {"tools": 1}),
    ("chat", {"store": "yes", "tools": [{"type": 1}]}),
]


@each_row(("api", "members", "may"), [*((*one, True) for one in ANSWERED), *((*one, False) for one in STORED_OR_DONE)])
def test_only_requests_without_effects_may_run_twice(api, members, may):
    """Side effects would happen twice (anthony-chaudhary/fak#8975, praxis-proxy/praxis#924)."""
    assert runs_twice(api, **members) == may


@pytest.mark.parametrize("store", [{}, {"store": None}])
def test_no_provider_stores_a_translated_request(store):
    assert runs_twice("responses", "chat", **store)
    assert runs_twice("responses", "messages", **store)
    assert not runs_twice("responses", "chat", store=True)
