"""Bodies of requests."""

from collections.abc import Callable
from typing import TypeAlias

import quart
import trio
from werkzeug.exceptions import RequestEntityTooLarge

from streams.errors import GatewayError

Arriving: TypeAlias = Callable[[int], object]
"""Is told, as a body arrives, how many bytes of it are there, and raises ``GatewayError`` where there is no room."""


def unlimited(size: int) -> None:
    """An ``Arriving`` that has room for everything."""


async def read_body(arriving: Arriving = unlimited) -> bytes:
    """Read the whole body of the request that Quart is handling. Raises as ``IncomingRequest.read`` does."""
    request, parts, size = quart.request, list[bytes](), 0
    try:
        with trio.fail_after(request.body_timeout or float("inf")):
            async for part in request.body:
                size += len(part)
                if size > (request.max_content_length or size):
                    raise RequestEntityTooLarge
                arriving(size)
                parts.append(part)
        return b"".join(parts)
    except RequestEntityTooLarge:
        raise too_large(request.max_content_length) from None
    except trio.TooSlowError:
        raise too_slow() from None


def too_large(most: int | None) -> GatewayError:
    """The error of a request whose body has more than ``most`` bytes."""
    return GatewayError("too_large", f"the request body is larger than the limit of {most} bytes")


def too_slow() -> GatewayError:
    """The error of a request whose body did not arrive in time."""
    return GatewayError("invalid_request", "the request body did not arrive in time", status=408)
