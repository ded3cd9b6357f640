"""Bodies of requests."""

from typing import cast

import quart
from werkzeug.exceptions import RequestEntityTooLarge, RequestTimeout

from streams.errors import GatewayError


async def read_body() -> bytes:
    """Read the whole body of the request that Quart is handling. Raises as ``IncomingRequest.read`` does."""
    try:
        return cast("bytes", await quart.request.get_data(cache=False))
    except RequestEntityTooLarge:
        raise too_large(quart.request.max_content_length) from None
    except RequestTimeout:
        raise too_slow() from None


def too_large(most: int | None) -> GatewayError:
    """The error of a request whose body has more than ``most`` bytes."""
    return GatewayError("too_large", f"the request body is larger than the limit of {most} bytes")


def too_slow() -> GatewayError:
    """The error of a request whose body did not arrive in time."""
    return GatewayError("invalid_request", "the request body did not arrive in time", status=408)
