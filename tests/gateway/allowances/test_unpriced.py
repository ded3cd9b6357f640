"""Models without a known price, under a budget of money, on real sockets."""

from typing import Any

import pytest

from gateway.config_files.loading import ConfigError, from_mapping
from tests.support.in_process import CountingProvider, gateway, providers

APIS = ("chat", "messages", "responses")
KEY = "sk-gw-alice-0123456789"
HEADERS = (("authorization", f"Bearer {KEY}"),)


def config(place: CountingProvider, *models: str, budget: str = "20 usd/day", **root: Any) -> dict[str, Any]:
    entries = [
        {"model": model, "base_url": f"{place.url}/v1", "access_key": "k", "speaks": list(APIS)} for model in models
    ]
    alice = {"name": "alice", "key": KEY, "budgets": [budget]}
    return {"version": "v0.4.0", "model_providers": entries, "client_keys": [alice], **root}


async def test_the_unknown_model_of_a_wildcard_is_refused_and_is_reported():
    # Zero-priced models made budgets endless: BerriAI/litellm#10598, #12337, #21023.
    async with providers(1) as (place,), gateway(config(place, "groq/*")) as running:
        for api in APIS:
            answer = await running.ask("groq/unheard-of", api, headers=HEADERS)
            assert answer.status_code == 400
            message = answer.json()["error"]["message"]
            assert message.startswith("groq/unheard-of has no known price, but this request has a budget")
            assert "no such model of Groq, so check its name" in message
        assert place.asked == []
        assert (await running.ask("groq/openai/gpt-oss-120b", headers=HEADERS)).status_code == 200
        running.reload(config(place, "groq/*", unpriced="allow"))
        assert (await running.ask("groq/unheard-of", headers=HEADERS)).status_code == 200
        running.reload(config(place, "groq/*", budget="1M tokens/day"))
        assert (await running.ask("groq/unheard-of", headers=HEADERS)).status_code == 200


async def test_counting_the_tokens_of_an_unpriced_model_costs_nothing_and_is_answered():
    async with providers(1) as (place,), gateway(config(place, "groq/*")) as running:
        assert (await running.count_tokens("groq/unheard-of", HEADERS)).status_code == 200


async def test_an_unpriced_model_of_the_file_is_a_mistake_before_any_request():
    async with providers(1) as (place,):
        with pytest.raises(ConfigError) as caught:
            from_mapping(config(place, "vllm/own", "openai/gpt-5"))
        (mistake,) = caught.value.mistakes
        assert mistake.path == "model_providers[0].model"
        assert mistake.found == "vllm/own has no price, but client_keys.alice has a budget of 20 usd/day"
        assert "price: free" in mistake.expected
