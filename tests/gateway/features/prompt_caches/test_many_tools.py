"""The first difference between lists of tools is found in bounded time, because it is searched in the event loop."""

from typing import Any

import pytest

from gateway.features.prompt_caches.differences import MOST_NAMED, first_difference
from gateway.features.prompt_caches.prompts import PromptDigest
from tests.support.cached_prompts import read
from tests.support.growth import assert_steps_grow_linearly


def prompt_of(*names: str) -> PromptDigest:
    """Return the prompt of a request with tools of these names."""
    tools = [{"type": "function", "function": {"name": name, "parameters": {}}} for name in names]
    body: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "tools": tools}
    return read("chat", body)


@pytest.mark.parametrize("order", ["added", "removed"])
def test_the_names_of_tools_are_compared_in_linear_time(order):
    def compare(n: int) -> Any:
        few, many = [f"a{at}" for at in range(n)], [f"b{at}" for at in range(n)]
        prompts = prompt_of(*few), prompt_of(*many, *few)
        old, new = prompts if order == "added" else reversed(prompts)
        assert first_difference(old, new).at.endswith(f"{n} {order} at [0]")
        return lambda: first_difference(old, new)

    assert_steps_grow_linearly(compare, 32)


def test_the_names_of_very_many_tools_are_not_compared():
    few, many = prompt_of("a"), prompt_of(*(f"b{at}" for at in range(MOST_NAMED)), "a")
    assert first_difference(few, many).at == "tools[0] (changed)"
    assert first_difference(many, few).at == "tools[0] (changed)"
