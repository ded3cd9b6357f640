"""Families of providers: the companies that send one invoice for several of our providers."""

from collections.abc import Mapping
from typing import Final

FAMILIES: Final[Mapping[str, tuple[str, ...]]] = {
    "amazon": ("amazon_bedrock", "bedrock_invoke"),
    "azure": ("azure_openai", "foundry"),
    "google": ("vertex", "gemini"),
}
"""The providers in the invoice of each cloud. Any other provider is a family of its own."""

_FAMILY_OF: Final = {provider: family for family, providers in FAMILIES.items() for provider in providers}


def family_of(provider: str) -> str:
    """Return the family of one of our providers."""
    return _FAMILY_OF.get(provider, provider)
