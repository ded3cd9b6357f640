"""The work on a file with thousands of keys and models is linear: keys times models took minutes."""

from collections.abc import Callable
from typing import Any

from gateway.config.loading import from_mapping
from gateway.config.prices import uncounted
from tests.support.growth import assert_steps_grow_linearly


def large_file(number: int) -> dict[str, Any]:
    """Return a file with ``number`` models, aliases, groups and keys. Half of the models have no price."""
    prices: tuple[dict[str, Any], ...] = ({"price": {"input": 1, "output": 1}}, {})
    return {
        "version": "v0.4.0",
        "unpriced": "allow",
        "model_providers": [
            {"model": f"vllm/m{at}", "name": f"m{at}", "base_url": "http://a.test", **prices[at % 2]}
            for at in range(number)
        ],
        "model_aliases": {f"a{at}": {"targets": [f"m{at}", f"m{(at + 1) % number}"]} for at in range(number)},
        "client_groups": [{"name": f"g{at}", "budgets": ["9 usd/day"]} for at in range(number)],
        "client_keys": [
            {"name": f"k{at}", "key": f"key-number-{at:08d}-0123456789", "group": f"g{at}", "budgets": ["1 usd/day"]}
            for at in range(number)
        ],
    }


def read(number: int) -> Callable[[], None]:
    content = large_file(number)

    def work() -> None:
        assert any("m1" in warning for warning in uncounted(from_mapping(content)))

    return work


def test_keys_and_models_are_read_in_linear_steps():
    assert_steps_grow_linearly(read, few=20, ratio=1.05)
