"""Remembers which tokens are valid, so that each signature is checked once in each process.

A verdict is stored by the SHA-256 of the whole token: with a shorter key, two tokens shared a verdict (CVE-2026-35030).
It also belongs to a version of the issuer's keys, so that the tokens of a removed key are refused."""

import time
from collections.abc import Callable
from typing import Final

import attrs

from gateway.people.tokens import Claims, TokenChecker, WrongSignature, digest_of

MOST_VALID: Final = 50_000
MOST_BYTES: Final = 64 * 2**20
"""Bytes of the claims of all remembered tokens."""

MOST_REFUSED: Final = 10_000
REFUSED_SECONDS: Final = 60.0
"""Seconds for which a wrong signature is remembered."""


@attrs.frozen(repr=False)
class _Refusal:
    """A token whose signature was wrong, for the keys of ``version``."""

    issuer: str
    version: bytes | None
    until: float


class VerdictCache:
    """Checks tokens as ``checker`` does. ``clock`` is monotonic."""

    def __init__(self, checker: TokenChecker, clock: Callable[[], float] = time.monotonic) -> None:
        self._checker = checker
        self._clock = clock
        self._valid: dict[bytes, tuple[Claims, bytes]] = {}  # with the version of the keys; the last was used last
        self._bytes = 0
        self._refused: dict[bytes, _Refusal] = {}

    def check(self, token: str, now: float) -> Claims:
        """Return the claims of ``token`` at ``now`` (Unix seconds). Raises as ``TokenChecker.check`` does."""
        digest = digest_of(token)
        if (found := self._valid.pop(digest, None)) is not None:
            claims, version = found
            if now < claims.expiry and self._checker.version(claims.issuer) == version:
                self._valid[digest] = found
                return claims
            self._bytes -= len(claims.payload)
        elif (refusal := self._refused.get(digest)) is not None:
            if self._clock() < refusal.until and self._checker.version(refusal.issuer) == refusal.version:
                raise WrongSignature(refusal.issuer)
            del self._refused[digest]
        try:
            claims = self._checker.check(token, now)
        except WrongSignature as error:
            self._remember_refusal(digest, error)
            raise
        self._remember(claims)
        return claims

    def _remember(self, claims: Claims) -> None:
        version = self._checker.version(claims.issuer)
        assert version is not None, "they verified the token just now"
        self._valid[claims.digest] = claims, version
        self._bytes += len(claims.payload)
        while len(self._valid) > MOST_VALID or self._bytes > MOST_BYTES:
            oldest, _ = self._valid.pop(next(iter(self._valid)))
            self._bytes -= len(oldest.payload)

    def _remember_refusal(self, digest: bytes, error: WrongSignature) -> None:
        until = self._clock() + REFUSED_SECONDS
        self._refused[digest] = _Refusal(error.issuer, self._checker.version(error.issuer), until)
        if len(self._refused) > MOST_REFUSED:
            del self._refused[next(iter(self._refused))]
