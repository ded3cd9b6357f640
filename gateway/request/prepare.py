"""A client's request as a provider gets it: edited in place or translated, without what the provider has rejected."""

from gateway.request.edit import edit
from gateway.request.parse import Incoming
from gateway.request.prepared import Prepared
from gateway.request.translate import translate
from gateway.routing.omissions import NOTHING, Omissions
from gateway.routing.target import Target
from providers.neutral.codec import Outgoing
from providers.neutral.hints import losses
from streams.errors import invalid


def prepare(incoming: Incoming, target: Target, left: Omissions = NOTHING) -> Prepared:
    """Make of ``incoming`` what ``target`` gets. Raises ``GatewayError`` (400) for what the provider cannot honour."""
    if target.lane == "byte":
        return edit(incoming, target, left)
    return translate(incoming.request, target, left)


def refuse_losses(outgoing: Outgoing, target: Target) -> None:
    """Strict mode: a 400 that names what may change the answer and cannot be carried."""
    if lost := losses(outgoing.dropped):
        shown = ", ".join(lost[:20])
        raise invalid(
            f"strict mode: {target.name} cannot be given {shown}; leave it out or turn strict mode off", lost[0]
        )
