"""Which requests of Chat clients are asked in Responses, because the model would forget in Chat what it thought."""

import json
from typing import Any

import pytest

from gateway.config.loading import from_mapping
from gateway.request.parse import read_incoming
from gateway.request.tools_in_chat import where_tools_are_taken
from gateway.routing.router import Router

TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {}}}]


def asked_in(entry: dict[str, Any], **members: Any) -> tuple[str, str]:
    config = from_mapping({"version": "v0.4.0", "model_providers": [{**entry, "default": True}]})
    target = Router(config).resolve(None, "chat")
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], **members}
    found = where_tools_are_taken(read_incoming("chat", json.dumps(body).encode()), target)
    return found.api, found.lane


@pytest.mark.parametrize("model", ["o3", "o4-mini", "gpt-5", "gpt-5-mini", "gpt-5.5", "gpt-6.1-sol"])
def test_tools_of_a_model_that_thinks_go_to_responses_and_the_rest_passes_as_it_is(model):
    # anomalyco/opencode#2480
    assert asked_in({"model": f"openai/{model}"}, tools=TOOLS) == ("responses", "hub")
    assert asked_in({"model": f"openai/{model}"}) == ("chat", "byte")


@pytest.mark.parametrize(
    ("entry", "members"),
    [
        ({"model": "openai/gpt-4o"}, {}),
        ({"model": "openai/gpt-5-chat-latest"}, {}),
        ({"model": "openai/gpt-5.1"}, {}),  # told nothing, it does not think
        ({"model": "openai/gpt-5.4"}, {"reasoning_effort": "none"}),
        ({"model": "openai/o3", "speaks": ["chat"]}, {}),
        ({"model": "openai/gpt-5", "base_url": "http://like-openai/v1"}, {}),
        ({"model": "ollama/gpt-6-sol", "speaks": ["chat", "messages", "responses"]}, {}),
        ({"model": "ollama/gpt-6-sol"}, {}),
    ],
)
def test_where_nothing_would_be_lost_or_somebody_has_said_so_tools_stay_in_chat(entry, members):
    assert asked_in(entry, tools=TOOLS, **members) == ("chat", "byte")


def test_a_model_that_thinks_when_told_to_keeps_what_it_thinks():
    assert asked_in({"model": "openai/gpt-5.1"}, tools=TOOLS, reasoning_effort="high") == ("responses", "hub")
