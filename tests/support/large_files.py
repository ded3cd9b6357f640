"""Configurations with many models and keys."""

from typing import Any


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


def file_with_keys(number: int, word: str) -> dict[str, Any]:
    """Return a file with ``number`` models, whose providers have keys that contain ``word``."""
    content = large_file(number)
    models = [{**one, "access_key": f"{one['name']} {word}"} for one in content["model_providers"]]
    return {**content, "model_providers": models}
