"""The body of a request: read, decompressed, and counted before it is decoded."""

from collections.abc import Awaitable, Callable, Iterable
from typing import TypeAlias

from gateway.access.body_memory import HeldBody
from gateway.config.limits import Limits
from gateway.http.offload import offload
from gateway.request.decompress import decompress, read_coding
from gateway.request.structure import COUNTED, check_structure
from gateway.serving.fast_route import CountArrived

ReadBody: TypeAlias = Callable[[CountArrived], Awaitable[bytes]]
"""A function that reads a request's body, and reports how much has arrived."""


async def read_decompressed(codings: Iterable[str], read: ReadBody, held: HeldBody, limits: Limits) -> bytes:
    """Return the body that ``read`` returns, decompressed, within the limits on elements and memory (``held``).

    ``codings`` are its ``content-encoding`` values. Raises ``GatewayError`` and errors of ``read``."""
    coding = read_coding(",".join(codings))
    body = await read(held.arrive)
    sent = len(body)
    if coding is not None:
        body = await offload(10 * sent, decompress, body, coding, limits.request_body)  # as prompts usually expand
    if len(body) > COUNTED:
        held.arrive(sent + len(body))
        held.decode(len(body), await offload(len(body) // 4, check_structure, body, sent, limits.elements))
    return body
