"""A gateway before one provider of another class, such as one that answers as Google does."""

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

from tests.support.in_process import CountingProvider, InProcess, gateway, providers


@contextlib.asynccontextmanager
async def served_by(
    kind: type[CountingProvider], config: Callable[..., dict[str, Any]], **entry: Any
) -> AsyncIterator[tuple[InProcess, Any]]:
    """Run a gateway with the ``config`` of the provider's address and of ``entry``."""
    async with providers(1) as (provider,):
        provider.__class__ = kind
        async with gateway(config(provider.url, **entry)) as running:
            yield running, provider
