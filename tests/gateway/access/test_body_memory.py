"""The memory of bodies in transit: bounded in total and by client (OWASP API4, LLM10)."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from gateway.access.body_memory import COPIES, ELEMENT, UNCOUNTED, BodyBudget, HeldBody
from gateway.access.held_bytes import HeldBytes
from gateway.config_files.loading import from_mapping
from streams.errors import GatewayError

MIB = 2**20
ENTRY = {"model": "openai/m", "access_key": "k"}


class Scope:
    """The part of a request's scope that the memory needs."""

    def __init__(self) -> None:
        self.given_back: Callable[[], object] = lambda: None

    def hold_text(self, give_back: Callable[[], object]) -> None:
        self.given_back = give_back


def budget(memory: HeldBytes, clients: int = 0, own: Mapping[str, str] = {}, **limits: Any) -> BodyBudget:
    keys: list[dict[str, Any]] = [{"name": f"c{i}", "key": f"key-{i}-of-a-client"} for i in range(clients)]
    for key in keys:
        if key["name"] in own:
            key["limits"] = {"bodies": own[key["name"]]}
    mapping = {"version": "v0.3.0", "model_providers": [ENTRY], "limits": limits}
    return BodyBudget(from_mapping({**mapping, "client_keys": keys} if keys else mapping), memory)


def open_body(own: BodyBudget, holder: str = "") -> tuple[HeldBody, Scope]:
    scope = Scope()
    return HeldBody(own, holder, scope), scope  # type: ignore[arg-type]


def refusal(body: HeldBody, size: int) -> int:
    with pytest.raises(GatewayError) as refused:
        body.hold(size)
    assert dict(refused.value.info.headers)["retry-after"]
    return refused.value.info.status


def test_a_body_counts_from_arrival_until_its_text_is_released():
    memory = HeldBytes()
    body, scope = open_body(budget(memory))
    body.arrive(UNCOUNTED)
    assert memory.total == 0
    body.arrive(3 * MIB)
    body.arrive(5 * MIB)
    assert memory.total == 5 * MIB
    body.decode(5 * MIB, 1000)
    assert memory.total == COPIES * 5 * MIB + ELEMENT * 1000
    scope.given_back()
    scope.given_back()
    assert (memory.total, dict(memory.held)) == (0, {})


def test_a_body_that_does_not_fit_the_total_memory_is_a_503():
    memory = HeldBytes()
    own = budget(memory, bodies="10MiB")
    first, scope = open_body(own)
    first.hold(6 * MIB)
    second, _ = open_body(own)
    second.hold(4 * MIB)
    assert refusal(second, 4 * MIB + 1) == 503
    assert memory.total == 10 * MIB, "the refused one holds what it had"
    scope.given_back()
    second.hold(9 * MIB)


def test_one_body_alone_always_fits():
    memory = HeldBytes()
    body, _ = open_body(budget(memory, clients=2, bodies="1MiB"), "c0")
    body.arrive(30 * MIB)
    body.decode(64 * MIB, 200_000)


def test_a_client_beyond_its_half_gets_429_and_others_are_admitted():
    memory = HeldBytes()
    own = budget(memory, clients=2, bodies="10MiB")
    open_body(own, "c0")[0].hold(4 * MIB)
    greedy, _ = open_body(own, "c0")
    assert refusal(greedy, 2 * MIB) == 429
    open_body(own, "c1")[0].hold(5 * MIB)


def test_one_clients_large_body_leaves_the_others_their_room():
    """A single body may exceed its client's share, and even the total (OWASP API4:2023)."""
    memory = HeldBytes()
    own = budget(memory, clients=3, bodies="10MiB")
    large, _ = open_body(own, "c0")
    large.hold(12 * MIB)
    open_body(own, "c1")[0].hold(4 * MIB)
    assert refusal(open_body(own, "c2")[0], 8 * MIB) == 503, "only one client's excess is free"
    open_body(own, "c2")[0].hold(MIB)
    assert refusal(open_body(own, "c0")[0], MIB) == 429
    assert memory.total == 17 * MIB


def test_without_shares_a_large_body_uses_the_total():
    own = budget(HeldBytes(), bodies="10MiB")
    open_body(own)[0].hold(12 * MIB)
    assert refusal(open_body(own)[0], MIB) == 503


def test_shares_may_be_set_for_all_and_for_one():
    memory = HeldBytes()
    own = budget(memory, clients=3, bodies="10MiB", per_client={"bodies": "2MiB"}, own={"c1": "3MiB"})
    for client, more, size in (("c0", 1, 2), ("c1", 2, 3)):
        open_body(own, client)[0].hold(more * MIB)
        assert refusal(open_body(own, client)[0], (size - more) * MIB + 1) == 429


@pytest.mark.parametrize("clients", [0, 1])
def test_with_one_client_there_are_no_shares(clients):
    own = budget(HeldBytes(), clients, bodies="10MiB")
    holder = "c0" if clients else ""
    open_body(own, holder)[0].hold(4 * MIB)
    open_body(own, holder)[0].hold(6 * MIB)


def test_another_configuration_counts_what_is_held_already():
    memory = HeldBytes()
    open_body(budget(memory, bodies="10MiB"))[0].hold(6 * MIB)
    assert refusal(open_body(budget(memory, bodies="7MiB"))[0], 2 * MIB) == 503
