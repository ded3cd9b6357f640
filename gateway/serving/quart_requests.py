"""Quart's current request, in the form that routes read."""

from typing import TYPE_CHECKING, cast

import quart
import trio
from werkzeug.exceptions import RequestEntityTooLarge

from gateway.http.headers import as_text
from gateway.http.pieces import add_piece, join_pieces
from gateway.serving.fast_route import CountArrived, ignore_arrived, too_large, too_slow
from gateway.serving.quart_views import current_scope

if TYPE_CHECKING:
    from hypercorn.typing import HTTPScope


async def read_body(count_arrived: CountArrived = ignore_arrived) -> bytes:
    """Return the whole body of Quart's current request. Raises as ``IncomingRequest.read`` does."""
    request, parts, size = quart.request, list[bytes | bytearray](), 0
    try:
        with trio.fail_after(request.body_timeout or float("inf")):
            async for part in request.body:
                size += len(part)
                if size > (request.max_content_length or size):
                    raise RequestEntityTooLarge
                count_arrived(size)
                add_piece(parts, part)
        return await join_pieces(parts, size)
    except RequestEntityTooLarge:
        raise too_large(request.max_content_length) from None
    except trio.TooSlowError:
        raise too_slow() from None


class QuartRequest:
    """Quart's current request as an ``IncomingRequest``."""

    def __init__(self) -> None:
        self.scope = current_scope()
        self.asgi = cast("HTTPScope", quart.request.scope)
        self.headers = as_text(self.asgi["headers"])
        self.query = quart.request.query_string.decode("latin-1")

    async def read(self, count_arrived: CountArrived) -> bytes:
        return await read_body(count_arrived)

    def take_arrived(self, max_bytes: int) -> bytes:
        """Return nothing, because Quart's bodies can only be awaited."""
        return b""
