"""A model at another address of its provider: the same request continues there, and later ones start there."""

import json
from typing import Any

import attrs

from gateway.config_files.loading import from_mapping
from gateway.routing.router import Router
from tests.support.bare_provider import response
from tests.support.in_process import CountingProvider, gateway, providers

REFUSED = json.dumps({"error": {"message": "model `openai.gpt-oss-120b` isn't supported on this route"}}).encode()


class Bedrock(CountingProvider):
    """It has its models under ``/openai/v1`` alone."""

    def _answer(self, path: str, body: bytes) -> bytes:
        if path.startswith("/openai"):
            return super()._answer(path.removeprefix("/openai"), body)
        return response(400, REFUSED)


def config(url: str, *routes: tuple[str, str]) -> Any:
    entry = {"model": "amazon_bedrock/openai.gpt-oss-120b", "base_url": f"{url}/v1", "access_key": "k"}
    made = from_mapping({"version": "v0.4.0", "model_providers": [entry]})
    (one,) = made.entries
    return attrs.evolve(made, entries=(attrs.evolve(one, provider=attrs.evolve(one.provider, routes=routes)),))


async def test_the_alternative_address_is_tried_within_the_request_and_remembered():
    # https://docs.aws.amazon.com/bedrock/latest/userguide/inference-responses-api.html: the prefix differs by model
    async with providers(1) as (place,), gateway({"version": "v0.4.0", "model_providers": [ENTRY]}) as running:
        place.__class__ = Bedrock
        running.served.change(config(place.url, (f"{place.url}/v1/", f"{place.url}/openai/v1/")))
        for expected in (["/v1/chat/completions", "/openai/v1/chat/completions"], ["/openai/v1/chat/completions"]):
            answer = await running.ask("amazon_bedrock/openai.gpt-oss-120b")
            assert (answer.status_code, place.asked) == (200, expected), answer.text
            place.asked.clear()


async def test_without_another_address_the_refusal_is_the_clients():
    async with providers(1) as (place,), gateway({"version": "v0.4.0", "model_providers": [ENTRY]}) as running:
        place.__class__ = Bedrock
        running.served.change(config(place.url))
        answer = await running.ask("amazon_bedrock/openai.gpt-oss-120b")
        assert (answer.status_code, place.asked) == (400, ["/v1/chat/completions"])
        assert "supported on this route" in answer.text


def test_bedrock_has_a_second_address_for_its_openai_paths():
    at = {"access_key": "k", "model": "amazon_bedrock/openai.gpt-oss-120b"}
    mantle = "https://bedrock-mantle.eu-west-1.api.aws"
    for where, api, other in (
        ({"region": "eu-west-1"}, "responses", f"{mantle}/v1/responses"),
        ({"base_url": f"{mantle}/v1"}, "chat", f"{mantle}/openai/v1/chat/completions"),
        ({"base_url": f"{mantle}/openai/v1"}, "chat", f"{mantle}/v1/chat/completions"),
        ({"base_url": f"{mantle}/anthropic/v1"}, "messages", None),
    ):
        made = from_mapping({"version": "v0.4.0", "model_providers": [{**at, **where}]})
        assert Router(made).resolve(at["model"], api).alternative_url == other, where


ENTRY = {"model": "openai/m", "access_key": "k"}
