"""Addresses of providers' lists of models, signed like their requests."""

from providers.catalog.model_lists import PLACES, list_url
from providers.catalog.providers import CATALOG, generic
from tests.support.cases import case


def test_each_provider_has_the_url_of_its_model_list():
    for provider, base_url, found in [
        ("openai", None, ("https://api.openai.com/v1/models", "chat")),
        ("openai", "http://mine:1/v1", ("http://mine:1/v1/models", "chat")),
        ("anthropic", None, ("https://api.anthropic.com/v1/models?limit=1000", "messages")),
        ("gemini", None, ("https://generativelanguage.googleapis.com/v1beta/models?pageSize=1000", "gemini")),
        ("gemini", "http://mine:1/v1", ("http://mine:1/v1/models", "chat")),
        ("groq", None, ("https://api.groq.com/openai/v1/models", "chat")),
        ("github", None, ("https://models.github.ai/catalog/models", "chat")),
        ("ollama", None, ("http://localhost:11434/v1/models", "chat")),
        ("azure_openai", "https://n.openai.azure.com/openai/v1", None),
        ("amazon_bedrock", None, None),
    ]:
        with case((provider, base_url, found)):
            assert list_url(base_url, CATALOG[provider]) == found


def test_every_row_has_an_address_or_a_reason_to_have_none():
    for row in CATALOG.values():
        found = list_url(None, row)
        if found is None:
            assert row.id in PLACES or row.base_url is None, row.id
        else:
            url, api = found
            assert url.startswith(("https://", "http://localhost")), row.id
            assert api in row.auth, row.id


def test_an_unknown_provider_gets_openais_requests():
    assert list_url("http://gpu:8000/v1", generic("mine")) == ("http://gpu:8000/v1/models", "chat")
