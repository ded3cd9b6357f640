"""A thousand keys and hundreds of models: no page about them delays a stream (CWE-400)."""

import pytest

from tests.support.gateway_thread import gateway_thread
from tests.support.harness import config, provider
from tests.support.loop_steps import check_steps

OF_OPERATORS = ("/metrics", "/ui/models", "/readyz?verbose")
OF_CLIENTS = ("/v1/models", "/v1beta/models", "/v1/audio/models", "/v1/model/info")


def key(number: int) -> str:
    return f"key-number-{number:06d}-0123456789"


@pytest.fixture(scope="module", params=[(100, 30), pytest.param((1000, 300), marks=pytest.mark.soak)], ids=str)
def large(request):
    """Return a gateway with so many keys and models, and a key with a list of all models."""
    keys_number, models = request.param
    entries = [
        provider(f"vllm/m{at}", "http://127.0.0.1:9/v1", name=f"m{at}", price={"input": 1, "output": 1})
        for at in range(models)
    ]
    keys = [
        {"name": f"k{at}", "key": key(at), "budgets": ["9 usd/day", "1 usd/hour"], "ratelimits": {"requests": "100/m"}}
        for at in range(keys_number)
    ]
    keys.append(
        {"name": "limited", "key": key(keys_number), "models": [f"m{at}" for at in range(models)], "role": "admin"}
    )
    routes = {f"a{at}": {"targets": [f"m{at}", f"m{at + 1}"]} for at in range(models // 2)}
    file = config(entries, client_keys=keys, model_aliases=routes, compatibility=["litellm"])
    with gateway_thread(file) as gateway:
        yield gateway, key(keys_number)


@pytest.mark.sample(7)
@pytest.mark.slow
@pytest.mark.parametrize("path", [*OF_OPERATORS, *OF_CLIENTS])
def test_no_page_about_keys_and_models_delays_a_stream(large, path):
    gateway, limited = large
    sent = {"authorization": f"Bearer {key(7) if path in OF_OPERATORS else limited}"}

    def read() -> None:
        assert gateway.request("GET", path, headers=sent).status == 200

    read()  # what happens once in a process
    check_steps(gateway, read)
