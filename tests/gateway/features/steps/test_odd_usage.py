"""Whole answers whose token counts have a wrong type, with steps: their text is delivered as without steps."""

from typing import Any, Final

import pytest

from tests.support.each_row import each_row
from tests.support.odd_usage import ODD_USAGES, whole_with_usage
from tests.support.raw_call import line
from tests.support.step_gateway import bearer, client_keys, own_steps, step_gateway
from tests.support.step_providers import CODE, entries_of
from tests.support.wire_clients import ALL, body_of, path_of, text_of

STEPS: Final[dict[str, dict[str, Any]]] = {"mask": {"action": "mask"}, "refuse": {"action": "refuse"}}


@pytest.fixture(scope="module")
def gateway(upstream, tmp_path_factory):
    settings = {"client_keys": client_keys(STEPS), "steps": own_steps(STEPS)}
    with step_gateway(tmp_path_factory.mktemp("steps"), entries_of(upstream.url), CODE, **settings) as served:
        yield served


@each_row("stream", [False, True])
@each_row("client", STEPS)
@each_row("usage", ODD_USAGES[:3])
@each_row("api", ALL)
def test_its_text_is_delivered_and_its_usage_is_estimated(gateway, upstream, api, usage, client, stream):
    for spoken in (api, ALL[ALL.index(api) - 1]):
        upstream.script(whole_with_usage(api, usage))
        body, path = body_of(spoken, f"on-{api}", stream=stream), path_of(spoken, f"on-{api}", stream=stream)
        reply = gateway.request("POST", path, body, bearer(client))
        assert reply.status == 200, reply.body
        assert text_of(spoken, reply.body, stream=stream) == "The answer is 42."
        found = line(gateway, reply.headers["x-request-id"])
        assert (found["ended"], found["usage_estimated"], found["output_tokens"]) == ("complete", True, 5)
