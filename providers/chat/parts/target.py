"""The request and the provider, as far as its parts depend on them."""

from collections.abc import Callable

import attrs

from providers.neutral.codec import Recipient
from providers.neutral.fields import Drops
from providers.neutral.quirks import Quirks
from providers.neutral.request import Request
from providers.neutral.seal import Issuer
from providers.neutral.tool_names import short_call_id


@attrs.frozen
class PartsTarget:
    """The facts that decide how parts are written. What cannot be carried goes into ``drops``."""

    api: str
    """The API of the client."""
    quirks: Quirks
    issuer: Issuer
    drops: Drops
    call_id: Callable[[str], str]
    """The provider's form of a tool call's id."""

    @classmethod
    def of(cls, request: Request, to: Recipient, drops: Drops) -> "PartsTarget":
        call_id: Callable[[str], str] = short_call_id if to.quirks.short_call_ids else str
        return cls(request.api, to.quirks, to.issuer, drops, call_id)
