"""The cost of planning a route with 100 targets, in function calls, which are equal on every machine."""

import json
from typing import Any

import pytest

from gateway.config_files.loading import from_mapping
from gateway.conversations.resolved import StateScope
from gateway.exchange.context import ExchangeContext
from gateway.exchange.planning import STEPS, Planning
from gateway.exchange.requested_plan import allowed_plan
from gateway.http.request_scope import RequestScope
from gateway.ledger.record import Record
from gateway.open_service import open_service
from gateway.request.client_request import ClientRequest
from gateway.serving.lifecycle import Lifecycle
from providers.apis import CODECS
from tests.support.counted_calls import calls

HEADERS = (*((f"x-own-{number}", "v") for number in range(20)), ("authorization", "Bearer sk-of-the-provider"))


def context(targets: int, headers: Any = HEADERS, **entry: Any) -> ExchangeContext:
    entries = [
        {"model": f"vllm/m{number}", "name": f"m{number}", "base_url": f"http://{number}.invalid/v1", **entry}
        for number in range(targets)
    ]
    names = [one["name"] for one in entries]
    content = {"version": "v0.4.0", "model_providers": entries, "model_aliases": {"r": {"targets": names}}}
    service = open_service(from_mapping(content), Lifecycle(), None, False)
    return ExchangeContext(service, CODECS["chat"], ClientRequest(headers, ""), Record("id", "chat"))


def calls_of(targets: int, **given: Any) -> int:
    one = context(targets, **given)
    plan = one.service.router.plan("r", "chat")
    return calls(lambda: allowed_plan(one, plan))


def test_planning_does_not_inspect_targets_with_keys_of_their_own():
    assert calls_of(100) == calls_of(2)


def test_the_clients_credential_is_searched_once_for_all_targets():
    few, many = HEADERS[-1:], HEADERS
    assert calls_of(100, headers=many, passthrough_auth=True) == calls_of(100, headers=few, passthrough_auth=True)


@pytest.mark.parametrize("members", [{}, {"temperature": 0}])
async def test_a_plan_for_100_targets_calls_few_functions_for_each(members, nursery):
    scope = RequestScope(nursery, "id")
    body = json.dumps({"model": "r", "messages": [{"role": "user", "content": "hi"}], **members}).encode()

    def calls_of_read(targets: int) -> int:
        one = context(targets)

        def read() -> None:
            try:
                Planning(one, StateScope("", None), scope, STEPS).read(body).send(None)
            except StopIteration:  # it never waits
                return

        read()  # fill the caches that later requests share
        return calls(read)

    assert calls_of_read(100) - calls_of_read(2) < 5 * 98
