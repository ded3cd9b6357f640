"""The issuers of a process: their keys, and the judgement of their tokens.

A request's token is first prepared, which may wait for an unknown key, and then checked, which never waits."""

from collections.abc import Mapping
from typing import Any

import trio

from gateway.config.settings import Config
from gateway.people.issuer_http import IssuerClient, IssuerConnections
from gateway.people.key_sets import FollowedKeySets
from gateway.people.token_format import is_signed_token
from gateway.people.tokens import CannotJudge, Claims, TokenChecker, TokenRefused, UnknownKey, VerdictCache


class IssuerDirectory(trio.abc.AsyncResource):
    """All issuers of a process, across configurations."""

    def __init__(self, config: Config) -> None:
        self._connections = IssuerConnections(str(config.ca_path) if config.ca_path else None)
        self._keys = FollowedKeySets()
        self._running = trio.CancelScope()
        self.clients: Mapping[str, IssuerClient] = {}
        """The clients of the issuers' endpoints, by name."""
        self.use_config(config)

    def use_config(self, config: Config) -> None:
        """Use the issuers of ``config`` from now on. Unchanged ones keep their keys."""
        before = self.clients
        self.clients = {
            issuer.name: before[issuer.name]
            if issuer.name in before and before[issuer.name].issuer == issuer
            else IssuerClient(issuer, self._connections)
            for issuer in config.issuers
        }
        self._keys.follow(self.clients.values())
        self._checker = TokenChecker(config.issuers, self._keys.current)
        self._verdicts = VerdictCache(self._checker)

    async def prepare(self, token: str, now: float) -> None:
        """Wait, for two seconds at most, until ``check`` can judge ``token``. Never raises.

        Returns immediately unless the token's key is unknown."""
        if not is_signed_token(token):
            return
        try:
            self._verdicts.check(token, now)
        except (UnknownKey, CannotJudge) as missing:
            await self._keys.find_key(missing)
        except TokenRefused:
            return

    def check(self, token: str, now: float) -> Claims | None:
        """Return the claims of ``token`` at ``now`` (Unix seconds), ``None`` if it cannot be an issuer's token.

        Raises ``TokenRefused``, and ``CannotJudge`` if its issuer is unavailable."""
        return self._verdicts.check(token, now) if is_signed_token(token) else None

    def check_id_token(self, token: str, issuer_name: str, client_id: str, now: float) -> Claims:
        """Return the claims of an ID token that ``issuer_name`` sent for a sign-in with ``client_id``.

        The caller compares ``nonce``, and first prepares the token. Raises as ``check`` does."""
        return self._checker.check_id_token(token, issuer_name, client_id, now)

    async def prepare_id_token(self, token: str, issuer_name: str, client_id: str, now: float) -> None:
        """Wait until ``check_id_token`` can judge ``token``. Never raises."""
        try:
            self._checker.check_id_token(token, issuer_name, client_id, now)
        except (UnknownKey, CannotJudge) as missing:
            await self._keys.find_key(missing)
        except TokenRefused:
            return

    def stale_seconds(self) -> Mapping[str, float]:
        """Return for each issuer the seconds since it became unavailable, 0 while it is available."""
        return self._keys.stale_seconds()

    def state(self) -> list[dict[str, Any]]:
        """Return the state of each issuer's keys, for a readiness probe."""
        return self._keys.state()

    async def run(self) -> None:
        """Keep the keys of all issuers up to date until ``aclose``."""
        with self._running:
            await self._keys.run()

    async def aclose(self) -> None:
        self._running.cancel()
        await self._connections.aclose()
