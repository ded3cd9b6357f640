"""The issuers of a process: their keys, and the judgement of their tokens.

A request's token is first prepared, which may wait for an unknown key, and then checked, which never waits."""

import hmac
from collections.abc import Awaitable, Callable, Collection, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import trio

from gateway.config.settings import Config
from gateway.features.people.issuer_http import (
    FETCH_SECONDS,
    REFRESH_SECONDS,
    IssuerClient,
    IssuerConnections,
    IssuerTokens,
)
from gateway.features.people.key_sets import FollowedKeySets
from gateway.features.people.settings import issuers_of
from gateway.features.people.token_format import is_signed_token
from gateway.features.people.tokens import CannotJudge, Claims, TokenChecker, TokenRefused, UnknownKey, VerdictCache

if TYPE_CHECKING:
    from gateway.features.people.settings import TrustedIssuer


class IssuerDirectory(trio.abc.AsyncResource):
    """All issuers of a process, across configurations."""

    def __init__(self, config: Config) -> None:
        self._connections = IssuerConnections(str(config.ca_path) if config.ca_path else None)
        self.keys: Final = FollowedKeySets()
        self._issuers: tuple[TrustedIssuer, ...] = ()
        self._running = trio.CancelScope()
        self._nursery: trio.Nursery | None = None
        self.clients: Mapping[str, IssuerClient] = {}
        """The clients of the issuers' endpoints, by name."""
        self.use_config(config)

    def use_config(self, config: Config) -> None:
        """Use the issuers of ``config`` from now on. Unchanged ones keep their keys."""
        if issuers_of(config) == self._issuers:
            return
        self._issuers, before = issuers_of(config), self.clients
        self.clients = {
            issuer.name: before[issuer.name]
            if issuer.name in before and before[issuer.name].issuer == issuer
            else IssuerClient(issuer, self._connections)
            for issuer in issuers_of(config)
        }
        self.keys.follow(self.clients.values())
        self._checker = TokenChecker(issuers_of(config), self.keys.current)
        self._verdicts = VerdictCache(self._checker)

    async def prepare(self, token: str, now: float) -> None:
        """Wait, for two seconds at most, until ``check`` can judge ``token``. Never raises.

        Returns immediately unless the token's key is unknown."""
        if not is_signed_token(token):
            return
        try:
            self._verdicts.check(token, now)
        except (UnknownKey, CannotJudge) as missing:
            await self.keys.find_key(missing)
        except TokenRefused:
            return

    def check(self, token: str, now: float) -> Claims | None:
        """Return the claims of ``token`` at ``now`` (Unix seconds), ``None`` if it cannot be an issuer's token.

        Raises ``TokenRefused``, and ``CannotJudge`` if its issuer is unavailable."""
        return self._verdicts.check(token, now) if is_signed_token(token) else None

    async def claims_of(
        self, client: IssuerClient, tokens: IssuerTokens, required: Collection[str], now: float,
        nonce: str | None = None,
    ) -> Mapping[str, Any]:  # fmt: skip
        """Return the claims in the tokens of a sign-in: from the ID token and, if ``required`` ones are missing there,
        from userinfo.

        ``nonce`` is that of a new sign-in, which has an ID token. Raises ``TokenRefused``, ``CannotJudge`` and
        ``IssuerUnavailable``."""
        claims: Mapping[str, Any] = {}
        if tokens.id_token is not None:
            claims = (await self._check_id_token(client, tokens.id_token, now)).values
        if nonce is not None:
            _check_nonce(claims, nonce, has_token=tokens.id_token is not None)
        if tokens.access_token is not None and any(name not in claims for name in required):
            more = await client.userinfo(tokens.access_token, REFRESH_SECONDS if nonce is None else FETCH_SECONDS)
            if more and claims and (not isinstance(more.get("sub"), str) or more["sub"] != claims.get("sub")):
                # OpenID Connect Core 1.0, section 5.3.2: a response about another `sub` must not be used
                raise TokenRefused("issuer", "its userinfo is about another person (`sub`)")
            claims = {**more, **claims}
        return claims

    async def _check_id_token(self, client: IssuerClient, token: str, now: float) -> Claims:
        """Return the claims of an ID token, for which it may wait for an unknown key. Raises as ``check`` does."""
        assert client.issuer.login is not None, "it has sign-ins"
        check = partial(self._checker.check_id_token, token, client.issuer.name, client.issuer.login.client_id, now)
        try:
            return check()
        except (UnknownKey, CannotJudge) as missing:
            await self.keys.find_key(missing)
        return check()

    async def run(self) -> None:
        """Keep the keys of all issuers up to date until ``aclose``."""
        with self._running:
            async with trio.open_nursery() as self._nursery:
                try:
                    await self.keys.run()
                finally:
                    self._nursery = None

    async def start(self, work: Callable[[], Awaitable[None]]) -> None:
        """Run ``work``, which raises nothing, also after the request that needs it; or wait for it at the end."""
        if self._nursery is None:
            await work()
        else:
            self._nursery.start_soon(work)

    def start_if_running(self, work: Callable[[], Awaitable[None]]) -> None:
        """Run ``work``, which raises nothing, until the process ends."""
        if self._nursery is not None:
            self._nursery.start_soon(work)

    async def aclose(self) -> None:
        self._running.cancel()
        await self._connections.aclose()


def _check_nonce(claims: Mapping[str, Any], nonce: str, *, has_token: bool) -> None:
    """Raise ``TokenRefused`` unless ``claims`` are those of an ID token for the sign-in with ``nonce``."""
    found = claims.get("nonce")
    if not has_token:
        raise TokenRefused("malformed", "it has no ID token")
    if not isinstance(found, str) or not hmac.compare_digest(found.encode("utf-8", "replace"), nonce.encode()):
        raise TokenRefused("audience", "the ID token belongs to another sign-in (`nonce`)")
