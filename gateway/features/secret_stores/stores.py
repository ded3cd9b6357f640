"""Reads secrets from all stores."""

import logging
from collections.abc import Collection, Mapping

import attrs
import trio

from configfile.keys import part_of
from configfile.stored_secrets import StoredSecret
from gateway.config.settings import Config
from gateway.features.secret_stores.clouds import CloudStores
from gateway.features.secret_stores.feature import SecretStoreKeys
from gateway.features.secret_stores.fetching import SecretUnreadable, SecretVersion
from gateway.features.secret_stores.vault import VaultClient
from gateway.http.redaction import FETCHED
from gateway.upstream.client import Upstream

log = logging.getLogger("trigate.secrets")

CONCURRENT = 8
"""Requests at the same time."""


@attrs.frozen(repr=False)
class SecretReadings:
    """The results of reading secrets: the ``versions``, and the ``reasons`` why others could not be read."""

    versions: Mapping[StoredSecret, SecretVersion]
    reasons: Mapping[StoredSecret, SecretUnreadable]


class SecretStores(trio.abc.AsyncResource):
    """The stores of a configuration, with their connections and sign-ins."""

    def __init__(self, config: Config) -> None:
        vault = part_of(config, SecretStoreKeys).secret_stores.vault
        self._upstream = Upstream(ca_path=str(config.ca_path) if config.ca_path else None)
        self._clouds = CloudStores(self._upstream)
        self._vault = None if vault is None else VaultClient(vault)

    async def aclose(self) -> None:
        await self._upstream.aclose()
        if self._vault is not None:
            await self._vault.aclose()

    async def read(self, secrets: Collection[StoredSecret]) -> SecretReadings:
        """Read ``secrets``, those in one place with one request. Never raises; a store that does not answer takes
        tens of seconds."""
        by_path: dict[tuple[str, str], list[StoredSecret]] = {}
        for secret in secrets:
            by_path.setdefault((secret.store, secret.path), []).append(secret)
        versions: dict[StoredSecret, SecretVersion] = {}
        reasons: dict[StoredSecret, SecretUnreadable] = {}
        limiter = trio.CapacityLimiter(CONCURRENT)

        async def read_place(members: list[StoredSecret]) -> None:
            async with limiter:
                try:
                    whole = await self._read_whole(members[0])
                except SecretUnreadable as error:
                    reasons.update(dict.fromkeys(members, error))
                    return
            for secret in members:
                try:
                    versions[secret] = whole.member(secret)
                except SecretUnreadable as error:
                    reasons[secret] = error

        async with trio.open_nursery() as nursery:
            for members in by_path.values():
                nursery.start_soon(read_place, members)
        FETCHED.hide(version.text for version in versions.values())
        return SecretReadings(versions, reasons)

    async def _read_whole(self, secret: StoredSecret) -> SecretVersion:
        try:
            if secret.store != "vault":
                return await self._clouds.read(secret)
            if self._vault is None:
                raise SecretUnreadable("secret_stores.vault is not set")
            return await self._vault.read(secret)
        except SecretUnreadable:
            raise
        except Exception as error:  # the boundary: a cloud's library may raise anything
            log.exception("reading the secret %s failed", secret)
            raise SecretUnreadable(type(error).__name__) from None
