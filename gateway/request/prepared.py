"""A request as it goes to one provider."""

from collections.abc import Mapping

import attrs

from gateway.routing.omissions import NOTHING, Omissions
from providers.neutral.codec import Outgoing
from providers.neutral.request import Request


@attrs.frozen
class Prepared:
    """``names``: from tool names that were shortened for the provider to the client's own. ``request`` is what it was
    written from; ``None`` where the client's own bytes were edited."""

    outgoing: Outgoing
    names: Mapping[str, str] = attrs.field(factory=dict)
    request: Request | None = None
    left: Omissions = NOTHING
