"""A client's request as a provider gets it: edited in place or translated, without what the provider has rejected."""

from typing import Final

import attrs
import msgspec

from gateway.request.edit import edit
from gateway.request.parse import Incoming
from gateway.request.prepared import Prepared
from gateway.request.translate import translate
from gateway.request.wishes import Wishes
from gateway.routing.omissions import NOTHING, Omissions
from gateway.routing.target import Target
from providers.neutral.edits import losses_of
from providers.neutral.hints import losses
from streams.errors import invalid

STORAGE: Final = frozenset({("store",)})
"""Members without which a provider that has them may keep what it was asked not to."""


def prepare(incoming: Incoming, target: Target, left: Omissions = NOTHING) -> Prepared:
    """Make of ``incoming`` what ``target`` gets. Raises ``GatewayError`` (400) for what the provider cannot honour."""
    if target.lane == "byte":
        return edit(incoming, target, left)
    return translate(incoming.request, target, left)


def prepare_wished(wishes: Wishes, incoming: Incoming, target: Target, left: Omissions = NOTHING) -> Prepared:
    """``prepare`` for a request with ``wishes``, of which ``incoming`` holds nothing any more: a router that knows them
    gets them as they are, nobody else does."""
    prepared = prepare(incoming, target, left)
    if members := wishes.members_for(target):
        body = {**msgspec.json.decode(prepared.outgoing.body, type=dict[str, msgspec.Raw]), **members}
        return attrs.evolve(prepared, outgoing=attrs.evolve(prepared.outgoing, body=msgspec.json.encode(body)))
    if wishes.dropped:
        edits = (*prepared.outgoing.edits, *losses_of(wishes.dropped, "provider"))
        return attrs.evolve(prepared, outgoing=attrs.evolve(prepared.outgoing, edits=edits))
    return prepared


def refuse_losses(prepared: Prepared, target: Target) -> None:
    """Strict mode: a 400 that names what may change the answer and cannot be carried, or that was left out upon a
    refusal and says whether the conversation is kept."""
    refused = (path[0] for path in prepared.left.paths if path in STORAGE and path[0] in prepared.outgoing.dropped)
    if lost := (*losses(prepared.outgoing.dropped), *refused):
        shown = ", ".join(lost[:20])
        raise invalid(
            f"strict mode: {target.name} does not support {shown}; remove it or turn strict mode off", lost[0]
        )
