"""Sources of the credentials that requests to providers are signed with."""

from typing import Protocol

from providers.auth.credential import Credential


class CredentialSource(Protocol):
    """Where the credential of one model entry comes from."""

    async def credential(self) -> Credential | None:
        """The credential that holds now, fetched or refreshed first where that is due; ``None`` where there is none.

        One refresh runs at a time: who asks meanwhile waits for it and gets what it has brought. Whoever is cancelled
        while waiting takes nobody else's refresh along. Raises ``GatewayError`` where none can be had."""
        ...

    async def renewed(self, refused: Credential) -> Credential | None:
        """Another credential than ``refused``, which the provider did not take; ``None`` where there is none now.
        Waits and raises as ``credential`` does."""
        ...
