"""Sources of the credentials that requests to providers are signed with."""

from typing import Protocol

import attrs


class CredentialSource(Protocol):
    """Where the credential of one model entry comes from."""

    async def credential(self) -> str | None:
        """The credential that holds now, fetched or refreshed first where that is due; ``None`` where there is none.

        One refresh runs at a time: who asks meanwhile waits for it and gets what it has brought. Whoever is cancelled
        while waiting takes nobody else's refresh along. Raises ``GatewayError`` where none can be had."""
        ...


@attrs.frozen
class StaticCredential:
    """A credential that never changes."""

    value: str | None = attrs.field(repr=False)

    async def credential(self) -> str | None:
        return self.value
