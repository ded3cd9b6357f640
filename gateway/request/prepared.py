"""A request in the form for one provider."""

from collections.abc import Mapping

import attrs

from gateway.routing.omissions import NOTHING, Omissions
from providers.neutral.codec import Outgoing


@attrs.frozen(repr=False, slots=False)  # created for each request; cheaper to construct without slots
class Prepared:
    """A request prepared for a provider. ``names`` maps tool names that were shortened for the provider to the client's
    names."""

    outgoing: Outgoing
    names: Mapping[str, str] = attrs.field(factory=dict)
    omissions: Omissions = NOTHING
