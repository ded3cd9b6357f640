"""The time limit of everything that a request waits for the store for."""

import contextlib
from collections.abc import Iterator

import trio

from gateway.stores.store import Unavailable
from streams.errors import GatewayError

STORE_SECONDS = 10.0
"""The longest that a request waits for the store."""


@contextlib.contextmanager
def store_deadline(doing: str, *, shield: bool = False) -> Iterator[None]:
    """A block that waits for the store, ``STORE_SECONDS`` at most. Raises ``GatewayError`` (503) where the store is
    down or takes too long. With ``shield`` only that ends it, and no cancellation."""
    try:
        with trio.fail_after(STORE_SECONDS, shield=shield):
            yield
    except trio.TooSlowError:
        raise unavailable(f"could not {doing}: the store did not answer within {STORE_SECONDS:g} s") from None
    except Unavailable as error:
        raise unavailable(f"could not {doing}: {error}") from None


def unavailable(message: str) -> GatewayError:
    """The error of a request that cannot do without a store that is down."""
    return GatewayError("internal", message, status=503, headers=(("retry-after", "5"),))
