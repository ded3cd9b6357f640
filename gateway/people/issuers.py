"""The issuers of a process: their keys, and the judgement of their tokens.

A request's token is first prepared, which may wait for an unknown key or an introspection, and then checked, which
never waits."""

import contextlib
from collections.abc import Mapping
from typing import Any, Final

import trio

from gateway.config.settings import Config
from gateway.people.introspection import QUERY_SECONDS, Introspector
from gateway.people.issuer_http import IssuerClient, IssuerConnections
from gateway.people.key_sets import FollowedKeySets
from gateway.people.token_format import LONGEST, is_signed_token
from gateway.people.tokens import CannotJudge, Claims, TokenChecker, TokenRefused, UnknownKey, VerdictCache

SILENT_SECONDS: Final = 0.5
"""Seconds without a response to an introspection after which the next issuer is queried too; fewer if there are many
issuers, so that the last one has half of the time for its response."""


class IssuerDirectory(trio.abc.AsyncResource):
    """All issuers of a process, across configurations."""

    def __init__(self, config: Config) -> None:
        self._connections = IssuerConnections(str(config.ca_path) if config.ca_path else None)
        self._keys = FollowedKeySets()
        self._running = trio.CancelScope()
        self._introspectors: dict[str, Introspector] = {}
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
        self._introspectors = {
            name: self._introspectors[name] if client is before.get(name) else Introspector(client)
            for name, client in self.clients.items()
            if client.issuer.introspection is not None
        }

    async def prepare(self, token: str, now: float, address: str | None = None) -> None:
        """Wait, for two seconds at most, until ``check`` can judge ``token``. Never raises.

        Returns immediately unless the token's key is unknown, or an introspection endpoint has to judge the token.
        ``address`` is the client's, which has a share of these queries."""
        if not is_signed_token(token):
            if self._introspectors and len(token) <= LONGEST:
                await self._introspect(token, now, address)
            return
        try:
            self._verdicts.check(token, now)
        except (UnknownKey, CannotJudge) as missing:
            await self._keys.find_key(missing)
        except TokenRefused:
            return

    async def _introspect(self, token: str, now: float, address: str | None) -> None:
        """Query the issuers in their order until one accepts ``token``. A silent one delays the next only a little."""
        if self._accepted_claims(token, now) is not None:
            return
        deadline = trio.current_time() + QUERY_SECONDS
        silence = min(SILENT_SECONDS, QUERY_SECONDS / 2 / len(self._introspectors))
        async with trio.open_nursery() as nursery:
            silent: list[tuple[Introspector, trio.Event]] = []

            async def query(one: Introspector, done: trio.Event) -> None:
                try:
                    await one.check(token, now, address, deadline)
                except (TokenRefused, CannotJudge):
                    done.set()
                else:
                    nursery.cancel_scope.cancel()
                    for other, has_ended in silent:
                        if other is not one and not has_ended.is_set():
                            other.note_silence(silence)

            for one in self._introspectors.values():
                done = trio.Event()
                nursery.start_soon(query, one, done)
                with trio.move_on_after(silence):
                    await done.wait()
                if not done.is_set():
                    silent.append((one, done))

    def _accepted_claims(self, token: str, now: float) -> Claims | None:
        """Return the claims of ``token`` if an issuer accepted it in the last minute."""
        for one in self._introspectors.values():
            with contextlib.suppress(TokenRefused, CannotJudge):
                if (claims := one.remembered_claims(token, now)) is not None:
                    return claims
        return None

    def check(self, token: str, now: float) -> Claims | None:
        """Return the claims of ``token`` at ``now`` (Unix seconds), ``None`` if it cannot be an issuer's token.

        Raises ``TokenRefused``, and ``CannotJudge`` if its issuer is unavailable."""
        if is_signed_token(token):
            return self._verdicts.check(token, now)
        failure: TokenRefused | CannotJudge | None = None
        for one in self._introspectors.values():
            try:
                if (claims := one.remembered_claims(token, now)) is not None:
                    return claims
            except TokenRefused as error:
                failure = failure or error
            except CannotJudge as error:
                failure = error
        if failure is not None:
            raise failure
        late = (one.late_claims(token, now) for one in self._introspectors.values())
        return next((claims for claims in late if claims is not None), None)

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
