"""The body of an admitted request: read, decompressed and counted."""

from collections.abc import Awaitable, Callable, Collection, Coroutine
from typing import TypeAlias

from gateway.access.body_memory import HeldBody
from gateway.config.limits import Limits
from gateway.exchange.context import ExchangeContext
from gateway.http.offload import offload
from gateway.request.decompress import decompress, read_coding
from gateway.request.structure import COUNTED, check_structure
from gateway.serving.incoming_request import CountArrived, IncomingRequest

ReadBody: TypeAlias = Callable[[CountArrived], Awaitable[bytes]]
"""A function that reads a request's body, and reports how much has arrived."""


async def read_decompressed(codings: Collection[str], read: ReadBody, held: HeldBody, limits: Limits) -> bytes:
    """Return the body that ``read`` returns, decompressed, within the limits on elements and memory (``held``).

    ``codings`` are its ``content-encoding`` values. Raises ``GatewayError`` and errors of ``read``."""
    coding = read_coding(",".join(codings)) if codings else None
    body = await read(held.arrive)
    sent = len(body)
    if coding is not None:
        body = await offload(10 * sent, decompress, body, coding, limits.request_body)  # as prompts usually expand
    if len(body) > COUNTED:
        held.arrive(sent + len(body))
        held.decode(len(body), await offload(len(body) // 8, check_structure, body, sent, limits.elements))
    return body


def read_whole_body(
    context: ExchangeContext, incoming: IncomingRequest, elements: int | None = None
) -> Coroutine[None, None, bytes]:
    """Return the decompressed body of an admitted request. Raises ``GatewayError``.

    ``elements`` is the most JSON elements allowed, by default the configuration's limit."""
    codings = [value for name, value in context.client_request.headers if name == "content-encoding"]
    limits = context.service.settings.limits
    if elements is not None:
        limits = limits.with_elements(elements)
    return read_decompressed(codings, incoming.read, body_memory(context, incoming), limits)


def body_memory(context: ExchangeContext, incoming: IncomingRequest) -> HeldBody:
    """Return the account that counts the memory of an admitted request's body."""
    admission, client_request = context.service.admission, context.client_request
    return admission.body(admission.holder(client_request.client, client_request.headers), incoming.scope)
