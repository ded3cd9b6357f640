"""Where providers list their own models, as rows; those of which nothing is said have OpenAI's ``/models`` behind the
prefix of what they are asked in.

Sources: https://platform.claude.com/docs/en/api/models/list, https://ai.google.dev/api/models,
https://docs.github.com/en/rest/models/catalog; as of November 2026.
"""

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

import attrs

from providers.catalog.provider import Provider, url_for
from streams.events import Api


@attrs.frozen
class ListPlace:
    """Where a list is: at ``path`` behind the prefix of ``api`` (by default the first that the provider has), signed as
    its requests are; at the provider's own host at ``address`` instead."""

    path: str = "/models"
    api: Api | None = None
    address: str = ""


USUAL: Final = ListPlace()

PLACES: Final[Mapping[str, ListPlace | None]] = {
    "anthropic": ListPlace("/models?limit=1000", "messages"),
    # Says of each model what it is for; what is like it at another address has OpenAI's list.
    "gemini": ListPlace(api="gemini", address="https://generativelanguage.googleapis.com/v1beta/models?pageSize=1000"),
    "github": ListPlace(address="https://models.github.ai/catalog/models"),
    # What may be asked for there are deployments, and foundation models that are switched on: no list has them.
    "azure_openai": None, "foundry": None, "amazon_bedrock": None, "bedrock_invoke": None, "vertex": None,
    "snowflake": None, "databricks": None,
    # These have none (https://docs.perplexity.ai/api-reference), or one for their own programs alone.
    "perplexity": None, "chatgpt": None, "cloudflare": None, "plano": None,
}  # fmt: skip
"""By the ids of providers; ``None``: there is none, or none of what can be asked for."""


def list_url(base_url: str | None, provider: Provider) -> tuple[str, Api] | None:
    """Return where ``provider``, asked at ``base_url``, lists its models, and the API as whose requests that is signed;
    ``None`` where it has no list."""
    place = PLACES.get(provider.id, USUAL)
    if place is not None and place.address and base_url is not None:
        place = USUAL
    api = next(iter(provider.auth), None) if place is None or place.api is None else place.api
    if place is None or api is None or api not in provider.paths or api not in provider.auth:
        return None
    if place.address:
        return place.address, api
    there = attrs.evolve(provider, paths={api: place.path})
    try:
        url = url_for(base_url, there, api, "")
    except LookupError:
        return None
    return (url, api) if urlsplit(url).netloc and "{" not in url else None
