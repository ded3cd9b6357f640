"""A request for a provider, written."""

from providers.neutral.codec import Outgoing, Recipient
from providers.neutral.request import Request


def write_request(request: Request, to: Recipient) -> Outgoing:
    """See ``Codec.write_request``."""
    raise NotImplementedError


def write_count_request(request: Request, to: Recipient) -> Outgoing | None:
    """See ``Codec.write_count``."""
    raise NotImplementedError
