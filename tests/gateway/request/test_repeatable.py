"""Which requests may be worked on by two providers at once."""

import json
from typing import Any

import pytest

from gateway.request.parse import read_incoming
from gateway.request.repeatable import may_be_doubled
from streams.events import Api

FUNCTION = {"type": "function", "function": {"name": "look"}}


def doubled(api: Api, **members: Any) -> bool:
    asked = {"input": "Hi"} if api == "responses" else {"messages": []}
    return may_be_doubled(read_incoming(api, json.dumps({"model": "m", **asked, **members}).encode()))


@pytest.mark.parametrize(
    ("api", "members"),
    [
        ("chat", {}),
        ("chat", {"tools": [FUNCTION], "store": False}),
        ("chat", {"tools": None}),
        ("chat", {"tools": []}),
        ("messages", {"tools": [{"name": "look", "input_schema": {}}, {"type": "custom", "name": "see"}]}),
        ("responses", {"store": False, "tools": [{"type": "function", "name": "look"}]}),
    ],
)
def test_what_only_answers_may_be_doubled(api, members):
    assert doubled(api, **members)


@pytest.mark.parametrize(
    ("api", "members"),
    [
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
        ("chat", {"tools": 1}),
        ("chat", {"store": "yes", "tools": [{"type": 1}]}),
    ],
)
def test_what_is_stored_or_done_by_a_provider_is_not(api, members):
    """Side effects would come twice (anthony-chaudhary/fak#8975, praxis-proxy/praxis#924)."""
    assert not doubled(api, **members)
