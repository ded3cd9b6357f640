"""Tokens that are no JWT: their issuer's introspection endpoint judges them (RFC 7662).

This is the only check of a credential that needs the network. Each token is sent once a minute at most, and few at the
same time, so that strangers with invented tokens cannot flood the issuer."""

import logging
import math
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Generic, TypeVar

import attrs
import trio

from gateway.http.addresses import customer_of, parse_ip
from gateway.people.issuer_http import IssuerClient, IssuerUnavailable
from gateway.people.token_format import LONGEST, TokenRefused, check_times, read_object
from gateway.people.tokens import CannotJudge, Claims, audience_in, digest_of

log = logging.getLogger("trigate.people")

CACHED_SECONDS: Final = 60.0
LATE_SECONDS: Final = 5.0
"""Seconds after the end of a judgement in which it still counts for the requests that waited for it."""
UNAVAILABLE_SECONDS: Final = 1.0
"""Seconds for which a failed query is remembered."""
QUERY_SECONDS: Final = 2.0
"""Seconds for a query, the wait for a slot included."""
CONCURRENT: Final = 8
CONCURRENT_OF_ADDRESS: Final = 4
"""Simultaneous queries for tokens from one address, so that a flood of invented tokens leaves some for other clients.
"""
MOST_REMEMBERED: Final = 10_000
"""Accepted tokens that are remembered, and rejected ones, separately: invented tokens displace no valid one."""

R = TypeVar("R", covariant=True)


@attrs.frozen(repr=False)
class _Judgement(Generic[R]):
    """The result of a query, remembered until ``until`` on the clock."""

    result: R
    until: float


def _put(table: dict[bytes, _Judgement[R]], digest: bytes, judgement: _Judgement[R]) -> None:
    """Remember a judgement as the newest one of a bounded table."""
    table.pop(digest, None)
    table[digest] = judgement
    if len(table) > MOST_REMEMBERED:
        del table[next(iter(table))]


def _customer(address: str | None) -> str:
    """Return the name under which queries for ``address`` count."""
    parsed = parse_ip(address or "")
    return address or "" if parsed is None else customer_of(parsed)


class Introspector:
    """Checks opaque tokens of the issuer of ``client``. ``clock`` is monotonic."""

    def __init__(self, client: IssuerClient, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._clock = clock
        self._accepted: dict[bytes, _Judgement[Claims]] = {}
        self._rejected: dict[bytes, _Judgement[TokenRefused | CannotJudge]] = {}
        self._shares: dict[str, trio.CapacityLimiter] = {}
        self._running: dict[bytes, trio.Event] = {}
        self._error = ""
        self._is_silent = False
        self._limiter = trio.CapacityLimiter(CONCURRENT)

    def remembered_claims(self, token: str, now: float) -> Claims | None:
        """Return the claims of ``token`` at ``now`` (Unix seconds), ``None`` if the issuer has to be queried first.

        Raises ``TokenRefused`` and ``CannotJudge``, as the last query did."""
        digest, clock = digest_of(token), self._clock()
        accepted = self._accepted.get(digest)
        if accepted is not None and clock < accepted.until:
            return accepted.result if now < accepted.result.expiry else None
        rejected = self._rejected.get(digest)
        if rejected is None or clock >= rejected.until:
            return None
        if isinstance(rejected.result, TokenRefused):
            raise TokenRefused(rejected.result.reason, rejected.result.message)
        raise CannotJudge(self._client.issuer.name)

    def late_claims(self, token: str, now: float) -> Claims | None:
        """Return the claims that a request may rely on whose judgement ended after its wait for it.

        Each query replaces the judgement, so one that the issuer has withdrawn is not among them."""
        accepted = self._accepted.get(digest_of(token))
        if accepted is None or self._clock() >= accepted.until + LATE_SECONDS or now >= accepted.result.expiry:
            return None
        return accepted.result

    async def check(self, token: str, now: float, address: str | None, deadline: float) -> Claims:
        """Return the claims of ``token`` from a client at ``address``, before ``deadline`` (trio's time).

        Concurrent callers share one query. Raises as ``remembered_claims`` does."""
        digest = digest_of(token)
        with trio.CancelScope(deadline=deadline):
            while (claims := self.remembered_claims(token, now)) is None:
                if (running := self._running.get(digest)) is None:
                    return await self._query(token, digest, now, _customer(address))
                await running.wait()
            return claims
        self._reject(digest, CannotJudge(self._client.issuer.name), UNAVAILABLE_SECONDS)
        raise CannotJudge(self._client.issuer.name)

    async def _query(self, token: str, digest: bytes, now: float, customer: str) -> Claims:
        """Send the token to the endpoint, and return and remember its judgement. If this caller is cancelled, a waiting
        caller sends the query again."""
        self._running[digest] = done = trio.Event()
        share = self._shares.setdefault(customer, trio.CapacityLimiter(CONCURRENT_OF_ADDRESS))
        try:
            async with share, self._limiter:
                body = await self._client.introspect(token)
            self._note_success()
            claims = self._claims_in_response(body, digest, now)
            _put(self._accepted, digest, _Judgement(claims, self._clock() + min(CACHED_SECONDS, claims.expiry - now)))
            return claims
        except IssuerUnavailable as error:
            self._note_failure(str(error))
            self._reject(digest, CannotJudge(self._client.issuer.name), UNAVAILABLE_SECONDS)
            raise CannotJudge(self._client.issuer.name) from None
        except TokenRefused as error:
            self._reject(digest, error, CACHED_SECONDS)
            raise
        finally:
            del self._running[digest]
            done.set()
            if share.borrowed_tokens == 0 and share.statistics().tasks_waiting == 0:
                self._shares.pop(customer, None)

    def note_silence(self, seconds: float) -> None:
        """Log that a query had no response for ``seconds``, and that another issuer then accepted the token."""
        if not self._error and not self._is_silent:
            log.warning(
                "%s: the introspection endpoint does not respond, so each token of the issuers after it waits %.1f s",
                self._client.issuer.name, seconds,
            )  # fmt: skip
        self._is_silent = True

    def _note_failure(self, error: str) -> None:
        if not self._error:
            log.warning("%s: cannot introspect tokens, which get 503: %s", self._client.issuer.name, error)
        self._error = error

    def _note_success(self) -> None:
        if self._error:
            log.info("%s: tokens can be introspected again", self._client.issuer.name)
        elif self._is_silent:
            log.info("%s: the introspection endpoint responds again", self._client.issuer.name)
        self._error, self._is_silent = "", False

    def _reject(self, digest: bytes, error: TokenRefused | CannotJudge, seconds: float) -> None:
        self._accepted.pop(digest, None)
        _put(self._rejected, digest, _Judgement(error, self._clock() + seconds))

    def _claims_in_response(self, body: bytes, digest: bytes, now: float) -> Claims:
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
        return Claims(issuer.name, body, self._expiry_of(found, now), digest, judged=now)

    def _expiry_of(self, claims: Mapping[str, Any], now: float) -> float:
        if "exp" not in claims:
            return math.inf  # the next introspection decides
        expiry = check_times(claims, now, self._client.issuer.clock_skew)
        if now >= expiry:
            raise TokenRefused("expired", "the token has expired: request a new one from its issuer")
        return expiry
