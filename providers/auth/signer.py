"""The protocol of signers: they return the headers that authenticate a request."""

from typing import Protocol

import attrs

from providers.auth.credential import Credential


@attrs.frozen(repr=False, slots=False)  # one for each request, and made with fewer calls
class UnsignedRequest:
    """A request to a provider, complete except for the signer's headers. Header names are in lower case."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


class Signer(Protocol):
    """A signer of requests with a provider's credential; it runs for each attempt, as signatures may be valid only
    once."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the headers that it adds, in lower case. The client's headers of these names are removed."""
        ...

    def sign(self, request: UnsignedRequest, credential: Credential, at: float) -> tuple[tuple[str, str], ...]:
        """Return the headers to add to ``request``, with names in lower case.

        ``at`` is the time in Unix seconds; the same arguments always give the same headers. Raises ``GatewayError`` if
        ``credential`` cannot sign the request.
        """
        ...
