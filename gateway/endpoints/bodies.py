"""The body of a request: read, decompressed, and counted before it is decoded."""

from collections.abc import Awaitable, Callable, Iterable
from typing import TypeAlias

from gateway.access.body_memory import HeldBody
from gateway.config.limits import Limits
from gateway.http.offload import offload
from gateway.request.decompress import decompress, read_coding
from gateway.request.structure import COUNTED, check_structure
from gateway.serving.fast_route import Arriving

ReadBody: TypeAlias = Callable[[Arriving], Awaitable[bytes]]
"""Reads a request's body, and says how much of it is there."""


async def decompressed(codings: Iterable[str], read: ReadBody, held: HeldBody, limits: Limits) -> bytes:
    """The body that ``read`` gives, decompressed, of no more elements than a body may have, within what may be
    ``held``. ``codings`` are the values of its ``content-encoding``. Raises ``GatewayError`` and what ``read``
    raises."""
    coding = read_coding(",".join(codings))
    body = await read(held.arrive)
    sent = len(body)
    if coding is not None:
        body = await offload(10 * sent, decompress, body, coding, limits.request_body)  # as prompts unfold
    if len(body) > COUNTED:
        held.arrive(sent + len(body))
        held.decode(len(body), await offload(len(body) // 4, check_structure, body, sent, limits.elements))
    return body
