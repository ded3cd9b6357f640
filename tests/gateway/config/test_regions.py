"""OpenAI's regional hosts are OpenAI's: they get the same paths, quirks and prices as its global host.

Source: ``openai/_data_residency.py`` of the openai package.
"""

from typing import Any

import pytest

from gateway.config_files.loading import from_mapping
from gateway.routing.router import Router
from streams.events import APIS
from tests.support.each_row import each_row

HOSTS = ("api", "us.api", "eu.api", "ae.api", "au.api", "in.api", "jp.api")
MODELS = ("o3", "gpt-5", "gpt-5.6-sol", "gpt-4o")
OTHERS = ("https://api.openai.com.example/v1", "https://notapi.openai.com.example/v1", "http://gpu:8000/v1")


def settings(model: str, base_url: str | None, **more: Any) -> dict[str, Any]:
    entry = {"model": model, "access_key": "k", **({} if base_url is None else {"base_url": base_url})}
    return {"version": "v0.4.0", "model_providers": [entry], **more}


def facts(config: dict[str, Any], model: str) -> list[tuple[Any, ...]]:
    """Return everything that depends on the maker's host, for a request of a client of each API."""
    read = from_mapping(config)
    router = Router(read)
    keeps, lacks = read.entries[0].provider.keeps_turns, read.entries[0].missing_abilities(model)
    targets = [router.resolve(model, client) for client in APIS]
    return [
        (one.api, one.url.partition("/v1")[2], one.recipient.quirks, one.recipient.known, one.price, keeps, lacks)
        for one in targets
    ]


@each_row("model", MODELS)
def test_every_region_has_the_path_the_quirks_and_the_prices_of_openai(model):
    usual = facts(settings(f"openai/{model}", None), model)
    assert all(price is not None for _, _, _, _, price, _, _ in usual)
    for host in HOSTS:
        url = f"https://{host}.openai.com/v1"
        named = {"providers": {"mine": {"base_url": url}}}
        assert facts(settings(f"openai/{model}", url), model) == usual, host
        assert facts(settings(f"openai/{model}", url.removesuffix("/v1")), model) == usual, host
        assert facts(settings(f"mine/{model}", url), model) == usual, host
        assert facts(settings(f"mine/{model}", None, **named), model) == usual, host


@pytest.mark.parametrize("url", OTHERS)
def test_other_hosts_are_not_openai(url):
    found = Router(from_mapping(settings("openai/o3", url))).resolve("o3", "messages")
    assert found.url == f"{url}/chat/completions"
    assert Router(from_mapping(settings("mine/o3", url))).resolve("o3", "messages").price is None
