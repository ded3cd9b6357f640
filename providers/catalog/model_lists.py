"""URLs of providers' model lists, as rows; the default is OpenAI's ``/models`` after the provider's prefix.

Sources: https://platform.claude.com/docs/en/api/models/list, https://ai.google.dev/api/models,
https://docs.github.com/en/rest/models/catalog; as of November 2026.
"""

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

import attrs

from providers.catalog.provider import Provider, url_for
from streams.events import Api


@attrs.frozen(repr=False)
class ListPlace:
    """The location of a model list.

    It is ``path`` after the prefix of ``api`` (by default the provider's first), signed like that API's requests. At
    the provider's own host it is ``address`` instead.
    """

    path: str = "/models"
    api: Api | None = None
    address: str = ""


USUAL: Final = ListPlace()

PLACES: Final[Mapping[str, ListPlace | None]] = {
    "anthropic": ListPlace("/models?limit=1000", "messages"),
    # Lists the purpose of each model; compatible servers elsewhere have OpenAI's list.
    "gemini": ListPlace(api="gemini", address="https://generativelanguage.googleapis.com/v1beta/models?pageSize=1000"),
    "github": ListPlace(address="https://models.github.ai/catalog/models"),
    # No list has their deployments and enabled foundation models.
    "azure_openai": None, "foundry": None, "amazon_bedrock": None, "bedrock_invoke": None, "vertex": None,
    "snowflake": None, "databricks": None,
    # These have no list (https://docs.perplexity.ai/api-reference), or one for their own programs only.
    "perplexity": None, "chatgpt": None, "cloudflare": None, "plano": None,
}  # fmt: skip
"""List locations by provider id; ``None``: no list of the models that can be requested."""


def list_url(base_url: str | None, provider: Provider) -> tuple[str, Api] | None:
    """Return the URL of the model list of ``provider`` at ``base_url`` and the API whose signer it needs,
    or ``None``."""
    place = PLACES.get(provider.id, USUAL)
    if place is not None and place.address and base_url is not None:
        place = USUAL
    api = next(iter(provider.auth), None) if place is None or place.api is None else place.api
    if place is None or api is None or api not in provider.paths or api not in provider.auth:
        return None
    if place.address:
        return place.address, api
    listing = attrs.evolve(provider, paths={api: place.path})
    try:
        url = url_for(base_url, listing, api, "")
    except LookupError:
        return None
    return (url, api) if urlsplit(url).netloc and "{" not in url else None
