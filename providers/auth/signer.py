"""The protocol of a signer: it is given a whole request and a credential, and answers with the headers to add."""

from typing import Protocol

import attrs

from providers.auth.credential import Credential


@attrs.frozen(slots=False)  # one for each request, and made with fewer calls
class UnsignedRequest:
    """A request to a provider as it goes out, but for what the signer adds. Header names are in lower case."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


class Signer(Protocol):
    """Proves to a provider who asks. It is asked anew for each attempt, since a signature may hold of one only."""

    @property
    def names(self) -> tuple[str, ...]:
        """The headers that it adds, in lower case. A client's own of these names go no further."""
        ...

    def sign(self, request: UnsignedRequest, credential: Credential, at: float) -> tuple[tuple[str, str], ...]:
        """Return the headers to add to ``request``, names in lower case. ``at`` is the time in Unix seconds. Pure: the
        same arguments give the same headers. Raises ``GatewayError`` where ``credential`` cannot sign it."""
        ...
