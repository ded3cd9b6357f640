"""A client's own request, edited for a provider of its API; seals in it resolved."""

from collections.abc import Mapping
from typing import Any

from providers.neutral.codec import Recipient
from providers.neutral.draft import Draft
from providers.neutral.seal import Issuer


def adapt(draft: Draft, to: Recipient) -> None:
    """See ``Codec.adapt``."""


def restore(body: Mapping[str, Any], issuer: Issuer) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """See ``Codec.restore``."""
    raise NotImplementedError


def without_reasoning(body: Mapping[str, Any]) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """See ``Codec.without_reasoning``."""
    raise NotImplementedError
