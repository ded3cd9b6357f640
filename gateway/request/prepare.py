"""Prepares a client's request for a provider, edited or translated, without what the provider rejected."""

from typing import Final

import attrs
import msgspec

from gateway.request.edit import edit
from gateway.request.parse import Incoming
from gateway.request.prepared import Prepared
from gateway.request.routing_options import RoutingOptions
from gateway.request.translate import translate
from gateway.routing.target import NOTHING, Omissions, Target
from providers.neutral.edits import losses_of
from providers.neutral.hints import losses
from streams.errors import invalid

STORAGE: Final = frozenset({("store",)})
"""Members that prevent storage: without them, a provider may store a conversation against the client's request."""


def prepare(incoming: Incoming, target: Target, omissions: Omissions = NOTHING) -> Prepared:
    """Return ``incoming`` in the form for ``target``. Raises ``GatewayError`` (400) for parts that the provider does
    not support."""
    if target.lane == "byte":
        return edit(incoming, target, omissions)
    return translate(incoming.request, target, omissions)


def prepare_with_options(
    options: RoutingOptions, incoming: Incoming, target: Target, omissions: Omissions = NOTHING
) -> Prepared:
    """Prepare a request without its routing ``options``; only a router that understands them receives them."""
    prepared = prepare(incoming, target, omissions)
    if members := options.members_for(target):
        body = {**msgspec.json.decode(prepared.outgoing.body, type=dict[str, msgspec.Raw]), **members}
        return attrs.evolve(prepared, outgoing=attrs.evolve(prepared.outgoing, body=msgspec.json.encode(body)))
    if options.dropped:
        edits = (*prepared.outgoing.edits, *losses_of(options.dropped, "provider"))
        return attrs.evolve(prepared, outgoing=attrs.evolve(prepared.outgoing, edits=edits))
    return prepared


def refuse_losses(prepared: Prepared, target: Target) -> None:
    """Raise an error (400) in strict mode for parts that cannot be translated and may change the response.

    The same applies to a rejected part that controls storage."""
    refused = (path[0] for path in prepared.omissions.paths if path in STORAGE and path[0] in prepared.outgoing.dropped)
    if lost := (*losses(prepared.outgoing.client_losses), *refused):
        shown = ", ".join(lost[:20])
        raise invalid(
            f"strict mode: {target.name} does not support {shown}; remove it or turn strict mode off", lost[0]
        )
