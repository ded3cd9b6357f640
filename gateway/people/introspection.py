"""Tokens that are no JWT: their issuer's introspection endpoint judges them (RFC 7662).

This is the only check of a credential that needs the network. Each token is sent once a minute at most, and few at the
same time, so that strangers with invented tokens cannot flood the issuer."""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs
import trio

from gateway.people.issuer_http import IssuerClient, IssuerUnavailable
from gateway.people.token_format import LONGEST, TokenRefused, check_times, read_object
from gateway.people.tokens import CannotJudge, Claims, audience_in, digest_of

log = logging.getLogger("trigate.people")

CACHED_SECONDS: Final = 60.0
UNAVAILABLE_SECONDS: Final = 1.0
"""Seconds for which a failed query is remembered."""
QUERY_SECONDS: Final = 2.0
"""Seconds for a query, the wait for a slot included."""
CONCURRENT: Final = 8
MOST_REMEMBERED: Final = 10_000


@attrs.frozen(repr=False)
class _Judgement:
    """The result of a query, remembered until ``until`` on the clock."""

    result: Claims | TokenRefused | CannotJudge
    until: float


class Introspector:
    """Checks opaque tokens of the issuer of ``client``. ``clock`` is monotonic."""

    def __init__(self, client: IssuerClient, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._clock = clock
        self._known: dict[bytes, _Judgement] = {}
        self._running: dict[bytes, trio.Event] = {}
        self._error = ""
        self._limiter = trio.CapacityLimiter(CONCURRENT)

    def remembered_claims(self, token: str, now: float) -> Claims | None:
        """Return the claims of ``token`` at ``now`` (Unix seconds), ``None`` if the issuer has to be queried first.

        Raises ``TokenRefused`` and ``CannotJudge``, as the last query did."""
        found = self._known.get(digest_of(token))
        if found is None or self._clock() >= found.until:
            return None
        if isinstance(found.result, Claims):
            return found.result if now < found.result.expiry else None
        if isinstance(found.result, TokenRefused):
            raise TokenRefused(found.result.reason, found.result.message)
        raise CannotJudge(self._client.issuer.name)

    async def check(self, token: str, now: float) -> Claims:
        """Return the claims of ``token``. Concurrent callers share one query. Raises as
        ``remembered_claims`` does."""
        digest = digest_of(token)
        with trio.move_on_after(QUERY_SECONDS):
            while (claims := self.remembered_claims(token, now)) is None:
                if (running := self._running.get(digest)) is not None:
                    await running.wait()
                else:
                    await self._query(token, digest, now)
            return claims
        raise CannotJudge(self._client.issuer.name)

    async def _query(self, token: str, digest: bytes, now: float) -> None:
        """Send the token to the endpoint and remember its judgement. A cancelled caller leaves the query to another."""
        self._running[digest] = done = trio.Event()
        try:
            async with self._limiter:
                try:
                    body = await self._client.introspect(token)
                except IssuerUnavailable as error:
                    self._note_failure(str(error))
                    self._remember(digest, CannotJudge(self._client.issuer.name), UNAVAILABLE_SECONDS)
                    return
            self._note_success()
            try:
                claims = self._judge(body, digest, now)
                self._remember(digest, claims, min(CACHED_SECONDS, claims.expiry - now))
            except TokenRefused as error:
                self._remember(digest, error, CACHED_SECONDS)
        finally:
            del self._running[digest]
            done.set()

    def _note_failure(self, error: str) -> None:
        if not self._error:
            log.warning("%s: cannot introspect tokens, which get 503: %s", self._client.issuer.name, error)
        self._error = error

    def _note_success(self) -> None:
        if self._error:
            log.info("%s: tokens can be introspected again", self._client.issuer.name)
        self._error = ""

    def _remember(self, digest: bytes, result: Claims | TokenRefused | CannotJudge, seconds: float) -> None:
        self._known.pop(digest, None)
        self._known[digest] = _Judgement(result, self._clock() + seconds)
        if len(self._known) > MOST_REMEMBERED:
            del self._known[next(iter(self._known))]

    def _judge(self, body: bytes, digest: bytes, now: float) -> Claims:
        """Return the claims in the endpoint's response. Raises ``TokenRefused``."""
        issuer = self._client.issuer
        if len(body) > LONGEST:
            raise TokenRefused("malformed", f"the issuer {issuer.name} sent too many claims for this token")
        found = read_object(body, "introspection response")
        if found.get("active") is not True:
            raise TokenRefused("inactive", f"the issuer {issuer.name} does not accept this token, or it has expired")
        if found.get("iss", issuer.issuer) != issuer.issuer:
            raise TokenRefused("issuer", f"the token is from another issuer than {issuer.name}")
        if "cnf" in found or str(found.get("token_type", "bearer")).lower() in ("dpop", "pop"):
            raise TokenRefused("proof", "the token is bound to a key, which the gateway cannot check")
        if audience_in(found).isdisjoint(issuer.audience):
            raise TokenRefused(
                "audience", f"the token is not for this gateway: see `audience` of the issuer {issuer.name}"
            )
        return Claims(issuer.name, body, self._expiry_of(found, now), digest)

    def _expiry_of(self, found: Mapping[str, Any], now: float) -> float:
        if "exp" not in found:
            return now + CACHED_SECONDS
        return check_times(found, now, self._client.issuer.clock_skew)
