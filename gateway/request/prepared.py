"""A request as it goes to one provider."""

from collections.abc import Mapping

import attrs

from gateway.routing.omissions import NOTHING, Omissions
from providers.neutral.codec import Outgoing


@attrs.frozen(repr=False, slots=False)  # one for each request, and made with fewer calls
class Prepared:
    """``names``: from tool names that were shortened for the provider to the client's own."""

    outgoing: Outgoing
    names: Mapping[str, str] = attrs.field(factory=dict)
    left: Omissions = NOTHING
