"""Names of models, folded so that an invoice's name equals the ledger's, and the providers of one invoice.

Dates, regions, versions of a deployment, and providers' prefixes are removed:
``us.anthropic.claude-sonnet-4-5-20250929-v1:0`` and ``anthropic/claude-sonnet-4.5`` are one model. Descriptions in
invoices of clouds, such as ``USE1-Claude4.5Sonnet-input-tokens``, are recognized by their words."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

_REGION: Final = re.compile(r"^(?:us|eu|apac|ap|au|ca|jp|us-gov|global)\.")
_MAKER: Final = re.compile(r"^(?:ai21|amazon|anthropic|cohere|deepseek|google|meta|mistral|moonshot|openai|qwen)\.")
_ENDINGS: Final = (
    re.compile(r"-v\d+:\d+$"),  # of Bedrock
    re.compile(r":[a-z]+$"),  # variants of OpenRouter, such as :free
    re.compile(r"[-@]20\d{6}$"),
    re.compile(r"-20\d\d-\d\d-\d\d$"),
    re.compile(r"-(?:0[1-9]|1[0-2])[0-3]\d$"),  # gpt-4-0613
    re.compile(r"-2[3-9](?:0[1-9]|1[0-2])$"),  # mistral-large-2411
    re.compile(r"-00\d$"),
    re.compile(r"-latest$"),
    re.compile(r"@default$"),
)
_NUMBERS: Final = re.compile(r"(?<=\d)[.\-](?=\d)")
_WORDS: Final = re.compile(r"\d+(?:\.\d+)?|[a-z]+")
_VARIANTS: Final = frozenset(
    ("codex", "flash", "fable", "haiku", "lite", "max", "mini", "nano", "opus", "pro", "sonnet", "turbo")
)
"""Words that distinguish models of one family: a description with another one is of another model."""


@lru_cache(maxsize=8192)
def fold_model(name: str) -> str:
    """Return the folded form of a model's name."""
    text = name.strip().lower().rpartition("/")[2].replace(" ", "-").replace("_", "-")
    text = _MAKER.sub("", _REGION.sub("", text))
    before = ""
    while text != before and not text.startswith("ft:"):
        before = text
        for ending in _ENDINGS:
            text = ending.sub("", text)
    return _NUMBERS.sub("-", text)


def _words(text: str) -> frozenset[str]:
    return frozenset(_WORDS.findall(_NUMBERS.sub(".", text.lower())))


@lru_cache(maxsize=8192)  # most descriptions occur in many lines
def find_model(text: str, known: tuple[str, ...]) -> str | None:
    """Return the folded name among ``known`` that a description is about, the most specific one, else ``None``."""
    words = _words(text)
    variants = words & _VARIANTS
    fitting = [name for name in known if (wanted := _words(name)) and wanted <= words and variants <= wanted]
    return max(fitting, key=lambda name: (len(_words(name)), name), default=None)


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
