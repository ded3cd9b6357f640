"""Plano's ``ratelimits``: which requests they are for, and what each value has."""

import pytest

from gateway.allowances.rates import RootLimits, root_allowances
from gateway.config.loading import from_mapping
from gateway.counters.counter import RateCounter
from tests.support.in_process import gateway, providers

NAMES = ("fast", "openai/gpt-4o", "gpt-4o")


def limits(*items: tuple[str, str, str | None]) -> RootLimits:
    content = {
        "version": "v0.4.0",
        "model_providers": [{"model": "openai/gpt-4o", "access_key": "k"}],
        "ratelimits": [
            {"model": model, "selector": {"key": key, "value": value}, "limit": {"tokens": 60, "unit": "minute"}}
            for model, key, value in items
        ],
    }
    return root_allowances(from_mapping(content))


def keys(found: RootLimits, **headers: str) -> list[bytes]:
    sent = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return [one.counter(0, None).key for one in found.of(NAMES, sent)]


@pytest.mark.parametrize("model", ["openai/gpt-4o", "gpt-4o"])
def test_a_model_is_found_in_either_form(model):
    assert len(keys(limits((model, "x-user", "ann")), x_user="ann")) == 1


def test_others_are_not_matched():
    found = limits(("gpt-4o", "x-user", "ann"), ("gpt-5", "x-user", None))
    assert keys(found) == [], "a request without the header"
    assert keys(found, x_user="ben") == []
    assert keys(found, x_team="ann") == []


@pytest.mark.parametrize("value", ["*", None])
def test_without_a_value_each_has_its_own(value):
    found = limits(("gpt-4o", "x-user", value))
    (ann,), (ben,) = keys(found, x_user="ann"), keys(found, x_user="ben")
    assert ann != ben
    assert keys(found, x_user="ann") == [ann]
    (one,) = found.of(NAMES, [("x-user", "ann")])
    counter = one.counter(0, None)
    assert isinstance(counter, RateCounter)
    assert counter.by_clients, "clients can name any number of them"
    assert str(one.holder) == "ratelimits.gpt-4o by x-user", "no value of a client's is shown"


def test_one_of_a_value_is_known_beforehand():
    (one,) = limits(("gpt-4o", "x-user", "ann")).fixed
    assert str(one.holder) == "ratelimits.gpt-4o by x-user=ann"
    counter = one.counter(0, None)
    assert isinstance(counter, RateCounter)
    assert (counter.amount, counter.seconds, counter.by_clients) == (60, 60.0, False)


@pytest.mark.parametrize("stream", [True, False])
async def test_they_hold_over_sockets_without_any_client_key(stream):
    async with providers(1) as (place,):
        content = {
            "version": "v0.4.0",
            "model_providers": [{"model": "vllm/m", "base_url": f"{place.url}/v1", "access_key": "k"}],
            "ratelimits": [{"model": "vllm/m", "selector": {"key": "x-user"}, "limit": {"tokens": 1, "unit": "hour"}}],
        }
        async with gateway(content) as running:
            statuses = [
                (await running.ask("m", stream=stream, headers=headers)).status_code
                for headers in ((("x-user", "ann"),), (("x-user", "ann"),), (("x-user", "ben"),), ())
            ]
    assert statuses == [200, 429, 200, 200]
