"""Which member of a group costs least for a request, and for the next turn of a conversation."""

from random import Random

import attrs

from gateway.balancing.affinity import Affinity
from gateway.balancing.balancer import MOST_PINS, Balancer
from gateway.balancing.loads import request_price
from gateway.config.loading import from_mapping
from gateway.routing.plan import Candidate
from gateway.routing.router import Router
from gateway.shared.rows import LocalRows
from tests.support.groups import plan, route

PRICES = {
    "plain": {"input": 2, "output": 4},
    "cached": {"input": 3, "cached": 0.3, "output": 4},
    "long": {"input": 1, "output": 4, "above": {"100k": {"input": 8}}},
}
ENTRIES = [
    {"model": f"openai/{name}", "name": name, "access_key": "k", "price": price} for name, price in PRICES.items()
]
UNPRICED = {"model": "vllm/own", "name": "own", "base_url": "http://gpu:8000/v1"}
ROUTER = Router(from_mapping({"version": "v0.4.0", "model_providers": [*ENTRIES, UNPRICED]}))
TARGETS = {name: ROUTER.resolve(name, "chat") for name in (*PRICES, "own")}
SESSION = Affinity(b"session", 300.0, "session")


@attrs.define
class Asked:
    """A balancer of a group, and whom it sends a request of so many tokens to."""

    names: tuple[str, ...]
    balancer: Balancer = attrs.field(
        factory=lambda: Balancer(LocalRows(MOST_PINS, lambda: 0.0), chance=Random(1).random)
    )

    def first(self, tokens: int, affinity: Affinity | None = None) -> str:
        members = [Candidate(TARGETS[name], 0) for name in self.names]
        arranged = self.balancer.arrange(plan(members, route("cheapest")), affinity, 0.0, tokens)
        target = arranged.targets[0]
        self.balancer.landed(arranged, target, affinity)
        return target.model


def test_the_length_of_the_request_decides():
    asked = Asked(("plain", "long"))
    assert [asked.first(tokens) for tokens in (1000, 100_000, 100_001)] == ["long", "long", "plain"]


def test_who_has_the_prompt_in_its_cache_is_compared_by_the_price_of_that():
    # theopenco/llmgateway#3873
    assert Asked(("plain", "cached")).first(50_000) == "plain"
    asked = Asked(("cached",))
    assert asked.first(50_000, SESSION) == "cached"
    asked.names = ("plain", "cached")
    asked.balancer.landed(*_at("cached", asked), SESSION)
    assert [asked.first(50_000, SESSION) for _ in range(3)] == ["cached"] * 3


def test_a_conversation_leaves_whom_it_costs_more_with():
    asked = Asked(("plain", "long"))
    assert [asked.first(tokens, SESSION) for tokens in (50_000, 150_000, 160_000)] == ["long", "plain", "plain"]


def test_who_has_no_price_comes_last():
    assert {Asked(("own", "plain")).first(1000) for _ in range(5)} == {"plain"}
    assert request_price(TARGETS["own"], 1000, False) is None


def _at(name: str, asked: Asked):
    arranged = plan([Candidate(TARGETS[one], 0) for one in asked.names], route("cheapest"))
    return arranged, TARGETS[name]
