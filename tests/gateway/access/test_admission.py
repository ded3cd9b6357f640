"""Places of requests across reloads, and their holders."""

from typing import Any

import pytest
import trio

from gateway.access.admission import Admission
from gateway.access.authentication import Authenticator
from gateway.access.shares import Shares
from gateway.config_files.loading import from_mapping
from gateway.http.request_scope import RequestScope
from streams.errors import GatewayError

KEYS = [{"name": name, "key": f"sk-gw-{name}-0123456789"} for name in ("alice", "bob")]


def admission(shares: Shares, **limits: Any) -> Admission:
    entry = {"model": "openai/m", "access_key": "sk-1", "base_url": "http://127.0.0.1:1"}
    config = from_mapping({"version": "v0.3.0", "model_providers": [entry], "client_keys": KEYS, "limits": limits})
    return Admission(config, Authenticator(config), shares)


async def test_slots_reserved_before_a_reload_count_after_it_and_are_released_once():
    shares = Shares()
    before = admission(shares, in_flight=4)
    async with trio.open_nursery() as nursery:
        scopes = [RequestScope(nursery, f"req_{i}") for i in range(2)]
        for scope in scopes:
            before.take(before.requests, "alice", scope)
        after = admission(shares, in_flight=4, per_client={"in_flight": 3})
        late = RequestScope(nursery, "req_late")
        after.take(after.requests, "alice", late)
        with pytest.raises(GatewayError, match="'alice' ") as caught:
            after.take(after.requests, "alice", RequestScope(nursery, "req_over"))
        assert caught.value.info.status == 429
        after.take(after.requests, "bob", bobs := RequestScope(nursery, "req_bob"))
        with pytest.raises(GatewayError, match=r"limits\.in_flight") as caught:
            after.take(after.requests, "bob", RequestScope(nursery, "req_full"))
        assert caught.value.info.status == 503
        for scope in (*scopes, late, bobs):
            scope.ending = True
            scope.leave()
            scope.close()
    assert (shares.used["in_flight"], dict(shares.held)) == (0, {})


async def test_a_turn_that_outlives_its_request_keeps_its_slot():
    shares = Shares()
    async with trio.open_nursery() as nursery:
        scope = RequestScope(nursery, "req_1")
        one = admission(shares)
        one.take(one.requests, "alice", scope)
        give_back = scope.detach()
        scope.close()
        assert shares.used["in_flight"] == 1
        give_back()
        give_back()
        assert shares.used["in_flight"] == 0


@pytest.mark.parametrize(("whole", "half"), [(1, 1), (3, 2), (4, 2)])
async def test_one_of_several_clients_may_take_half_and_no_less_than_one(whole, half):
    shares = Shares()
    one = admission(shares, in_flight=whole)
    async with trio.open_nursery() as nursery:
        for i in range(half):
            one.take(one.requests, "alice", RequestScope(nursery, f"req_{i}"))
        with pytest.raises(GatewayError):
            one.take(one.requests, "alice", RequestScope(nursery, "req_over"))
        if half < whole:
            one.take(one.requests, "bob", RequestScope(nursery, "req_bob"))
