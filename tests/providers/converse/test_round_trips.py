"""Requests of all APIs by Bedrock's own model of the service."""

import json
from typing import Any

import attrs
import pytest

from providers.apis import CODECS
from providers.converse import CONVERSE
from providers.neutral.request import Request
from providers.neutral.tool_names import shorten_names
from streams.errors import GatewayError
from streams.events import ErrorInfo
from tests.support.converse_recordings import converse_recordings
from tests.support.converse_requests import ADAPTIVE, CLAUDE, LLAMA, NOVA2, outgoing
from tests.support.recorded_requests import requests
from tests.support.recordings import ABSENT

recorded = pytest.mark.skipif(not converse_recordings(), reason=ABSENT)


MODELS = (CLAUDE, ADAPTIVE, NOVA2, LLAMA)


@pytest.mark.skipif(not requests(), reason=ABSENT)
@pytest.mark.parametrize("step", [4, pytest.param(1, marks=pytest.mark.soak)])
def test_requests_of_real_programs_are_valid_for_bedrock(step):
    """The service's own model validates each written request. Rejections name the parameter."""
    written = 0
    for place, asked in enumerate(requests()):
        for model in MODELS[place % step :: step]:
            if (refusal := rejection_of(asked, model)) is None:
                written += 1
            else:
                assert (refusal.status, bool(refusal.param)) == (400, True), (asked.key, model)
    assert written > len(requests()) / step


def rejection_of(asked: Any, model: str) -> ErrorInfo | None:
    try:
        request, _ = shorten_names(CODECS[asked.api].read_request(asked.body))
        outgoing(attrs.evolve(request, parameters=drop_refused_settings(request)), model)
    except GatewayError as error:
        return error.info
    return None


def drop_refused_settings(request: Request) -> Any:
    """Return the settings without those that every provider refuses."""
    return {
        name: one for name, one in request.parameters.items() if not (name == "temperature" and one.value < 0)
    }  # fmt: skip


@recorded
def test_recorded_requests_of_converse_programs_become_valid_requests():
    for recording in converse_recordings():
        if b'"video"' in json.dumps(recording.request).encode():
            continue  # inside a tool result
        request = CONVERSE.read_request(recording.request)
        body = json.loads(outgoing(request, str(recording.meta["model"])).body)
        assert body["messages"][0]["role"] == "user", recording.name
        for name in (
            "guardrailConfig",
            "performanceConfig",
            "serviceTier",
            "additionalModelRequestFields",
            "outputConfig",
        ):
            assert body.get(name) == recording.request.get(name), recording.name


def test_a_bad_name_in_the_history_is_shortened_like_those_of_tools():
    """Such a name made the provider reject every later turn (NousResearch/hermes-agent#90008)."""
    calls = [{"id": "c", "type": "function", "function": {"name": "mcp:a.b/c" * 9, "arguments": "{}"}}]
    turns = [{"role": "user", "content": "x"}, {"role": "assistant", "tool_calls": calls},
             {"role": "tool", "tool_call_id": "c", "content": "y"}]  # fmt: skip
    request, names = shorten_names(CODECS["chat"].read_request({"model": "m", "messages": turns}))
    (tool,) = json.loads(outgoing(request).body)["toolConfig"]["tools"]
    assert names[tool["toolSpec"]["name"]] == "mcp:a.b/c" * 9
