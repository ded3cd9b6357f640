"""Request members on bodies of any shape."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.config_files.loading import from_mapping
from gateway.features.request_members.edits import ConfiguredMembers
from gateway.request.parse import read_incoming
from gateway.request.prepare import prepare
from gateway.routing.router import Router
from gateway.routing.target import NOTHING
from streams.errors import GatewayError
from streams.events import APIS
from tests.support.harness import config, provider

MEMBERS = {
    "default": {"temperature": 0.2, "metadata": {"a": "b"}, "reasoning_effort": "low", "stop": "END", "other.x": 1},
    "set": {"store": False, "top_p": 0.5, "gemini.safetySettings": []},
    "max": {"max_tokens": 100, "thinking_budget": 50, "n": 1},
    "drop": ["user", "tools[].strict", "seed"],
    "system": {"before": "Before.", "after": "After."},
}
ENTRIES = [
    provider(model, "http://127.0.0.1:9/v1", [api], name=api, request=MEMBERS)
    for api, model in (
        ("chat", "up/m"), ("messages", "up/m2"), ("responses", "up/m3"), ("gemini", "gemini/m"),
        ("converse", "amazon_bedrock/anthropic.m"), ("interactions", "gemini/m2"),
    )
]  # fmt: skip
KEY = {"name": "k", "key": "key-of-k-0123456789", "request": MEMBERS}
CONFIG = from_mapping(config(ENTRIES, 12000, client_keys=[KEY]))
ROUTER, CONFIGURED = Router(CONFIG), ConfiguredMembers(CONFIG)
WORDS = """
    messages system input instructions contents systemInstruction system_instruction generationConfig generation_config
    inferenceConfig toolConfig tools functions metadata thinking output_config reasoning text max_tokens
    max_completion_tokens max_output_tokens temperature stop user user_id strict function role content parts
    thinkingConfig thinkingBudget additionalModelRequestFields effort budget_tokens type generateContentRequest
"""
NAMES = st.sampled_from(WORDS.split())
SCALARS = st.none() | st.booleans() | st.integers(-5, 10**9) | st.floats(allow_nan=False)
VALUES = st.recursive(
    SCALARS | st.sampled_from(["", "x", "user"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)


def requests_of(api: str, to: str, body: bytes) -> list[dict[str, Any]]:
    """Return the requests for a provider of ``to``: for an answer, and for a count of tokens."""
    plan = ROUTER.plan(to, api)
    edits = CONFIGURED.edits_of("k", plan, api)
    changed = edits.apply(read_incoming(api, body))
    target = edits.with_lanes(plan).first
    forms = (edits.preparation(prepare, changed), edits.preparation_of_prompt(prepare, changed))
    return [json.loads(form(target, NOTHING).outgoing.body) for form in forms]


@given(st.sampled_from(APIS), st.sampled_from(APIS), st.dictionaries(NAMES, VALUES, max_size=6))
def test_a_body_of_any_shape_is_sent_or_is_a_400(api: str, to: str, members: dict[str, Any]) -> None:
    usual = {"chat": {"messages": []}, "messages": {"messages": []}, "gemini": {"contents": []}}.get(api, {})
    body = json.dumps({"model": to, **usual, **members}).encode()
    status = 200
    try:
        for sent in requests_of(api, to, body):
            assert to not in ("chat", "responses") or "user" not in sent
    except GatewayError as error:
        status = error.info.status
    assert status in (200, 400)
