"""Whole answers whose token counts have a wrong type: the text is delivered in each lane, and the cost is estimated."""

from collections.abc import Iterator
from typing import Final

import pytest

from tests.support.cases import case
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import Gateway, config, provider
from tests.support.odd_usage import ODD_USAGES, whole_with_usage
from tests.support.raw_call import line
from tests.support.wire_clients import ALL, body_of, path_of, text_of

VENDORS: Final = {"chat": "openai", "messages": "anthropic", "responses": "openai", "gemini": "gemini",
                  "converse": "amazon_bedrock", "interactions": "gemini"}  # fmt: skip
PRICE: Final = {"input": 1, "output": 1000}


@pytest.fixture(scope="module")
def gateway(upstream) -> Iterator[Gateway]:
    entries = [provider(f"{VENDORS[api]}/up-{api}", upstream.url, [api], name=f"m-{api}", price=PRICE) for api in ALL]
    with gateway_thread(config(entries)) as served:
        yield served


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("api", ALL)
def test_its_text_is_delivered_and_its_cost_is_estimated(gateway, upstream, api, stream):
    """A translated one was a 502, one that passed unchanged a 200. A client of a stream gets it as one."""
    for client in ALL:
        for usage in ODD_USAGES:
            with case((client, usage)):
                upstream.script(whole_with_usage(api, usage))
                body, path = body_of(client, f"m-{api}", stream=stream), path_of(client, f"m-{api}", stream=stream)
                reply = gateway.request("POST", path, body)
                assert reply.status == 200, reply.body
                assert text_of(client, reply.body, stream=stream) == "The answer is 42."
                found = line(gateway, reply.headers["x-request-id"])
                assert (found["ended"], found["usage_estimated"], found["output_tokens"]) == ("complete", True, 5)
                assert (found["cost_usd"], found["cost_grade"]) == (pytest.approx(0.005, rel=0.1), "estimated")
