"""The keys of providers that come from a secret store, in the form that requests use."""

from collections.abc import Mapping
from typing import Final

from configfile.stored_secrets import StoredText, UnreadText
from gateway.config.settings import Config
from gateway.secret_stores.keeping import RETRY_SECONDS, SecretKeeper
from gateway.upstream.request import CredentialSource
from providers.auth.credential import Credential
from streams.errors import GatewayError

UNREAD: Final = "the gateway could not read the provider's key from its secret store: see the gateway's log"


class StoredKey(CredentialSource):
    """The key of one entry, ``text``, which ``keeper`` reads once more if the provider rejects it."""

    def __init__(self, text: StoredText | UnreadText, keeper: SecretKeeper) -> None:
        self._text = text
        self._keeper = keeper

    async def credential(self) -> Credential | None:
        if isinstance(self._text, UnreadText):
            raise GatewayError("upstream", UNREAD, reason="credential", wait=RETRY_SECONDS, concerns_all=True)
        return self._text

    async def renew(self, refused: Credential) -> Credential | None:
        found = await self._keeper.renew(self._text.secret, refused) if isinstance(refused, str) else None
        return found if found is not None and found.isascii() and found.isprintable() else None


def stored_keys_of(config: Config, keeper: SecretKeeper) -> Mapping[str, CredentialSource]:
    """Return the sources of all keys from stores, by the names of their entries."""
    return {
        entry.name: StoredKey(entry.key, keeper)
        for entry in config.all_entries
        if entry.sign_in is None and isinstance(entry.key, StoredText | UnreadText)
    }
