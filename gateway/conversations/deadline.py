"""The time limit for requests that wait for the store."""

import contextlib
from collections.abc import Iterator

import trio

from gateway.stores.errors import Unavailable
from streams.errors import GatewayError

STORE_SECONDS = 10.0
"""The longest time that a request waits for the store."""


@contextlib.contextmanager
def store_deadline(doing: str, *, shield: bool = False) -> Iterator[None]:
    """Limit a block that waits for the store to ``STORE_SECONDS``.

    Raises ``GatewayError`` (503) if the store is unavailable or too slow. With ``shield``, cancellation does not end
    the block."""
    try:
        with trio.fail_after(STORE_SECONDS, shield=shield):
            yield
    except trio.TooSlowError:
        raise unavailable(f"could not {doing}: the store did not respond within {STORE_SECONDS:g} s") from None
    except Unavailable as error:
        raise unavailable(f"could not {doing}: {error}") from None


def unavailable(message: str) -> GatewayError:
    """Return the error for a request that requires the unavailable store."""
    return GatewayError("internal", message, status=503, headers=(("retry-after", "5"),))
