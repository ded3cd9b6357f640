"""Decides whether a token is valid: from which issuer, for this gateway, now, and signed.

Each issuer has keys of its own. A token's ``iss`` selects the issuer, and only that issuer's keys count, whatever else
the token contains. Nothing here contacts a server."""

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import attrs
import msgspec

from gateway.features.people.settings import TrustedIssuer
from gateway.features.people.signing_keys import KeySet
from gateway.features.people.token_format import SignedToken, TokenRefused, check_times, read_token

__all__ = ["CannotJudge", "Claims", "TokenChecker", "TokenRefused", "UnknownKey", "WrongSignature"]


@attrs.frozen(repr=False)
class Claims:
    """The claims of a valid token of the issuer named ``issuer``.

    ``payload`` is their JSON, ``expiry`` the token's end in Unix seconds, clock skew included. ``digest`` is the
    SHA-256 of the whole token, which identifies it in logs."""

    issuer: str
    payload: bytes
    expiry: float
    digest: bytes

    @property
    def values(self) -> dict[str, Any]:
        """The claims by name, decoded on each access: 50,000 stored tokens would take too much memory."""
        found: dict[str, Any] = msgspec.json.decode(self.payload)
        return found


class UnknownKey(TokenRefused):
    """An error: no key of ``issuer`` has the token's ``key_id``; a newer key set may have it."""

    def __init__(self, issuer: str, key_id: str) -> None:
        super().__init__("unknown_key", f"the issuer {issuer} does not publish the key that signed this token")
        self.issuer = issuer
        self.key_id = key_id


class WrongSignature(TokenRefused):
    """An error: no key of ``issuer`` made the token's signature."""

    def __init__(self, issuer: str) -> None:
        super().__init__("signature", f"no key of the issuer {issuer} made the token's signature")
        self.issuer = issuer


class CannotJudge(Exception):
    """An error: ``issuer`` is unavailable and has sent no keys.

    ``key_id`` is that of the token's key, if the token names one."""

    def __init__(self, issuer: str, key_id: str | None = None) -> None:
        self.issuer = issuer
        self.key_id = key_id
        self.message = f"the gateway cannot check tokens of the issuer {issuer} at the moment: try again soon"
        super().__init__(self.message)


_NO_AUDIENCE: Final = "the token is not for this gateway: request one with an audience (`aud`) of the issuer {}"


class TokenChecker:
    """Checks tokens of ``issuers``. ``keys`` returns the current keys of the issuer with a name."""

    def __init__(self, issuers: Iterable[TrustedIssuer], keys: Callable[[str], KeySet | None]) -> None:
        self._issuers = {one.name: one for one in issuers}
        self._by_url = {one.issuer: one for one in self._issuers.values()}
        self._keys = keys

    def check(self, token: str, now: float) -> Claims:
        """Return the claims of ``token``, valid at ``now`` (Unix seconds) for one of its issuer's audiences.

        Raises ``TokenRefused``, as ``UnknownKey`` if a newer key set may help, and ``CannotJudge``."""
        read = read_token(token)
        issuer = self._issuer_of(read)
        self._check_audience(read, frozenset(issuer.audience), issuer)
        return self._verify(token, read, issuer, now)

    def check_id_token(self, token: str, issuer_name: str, client_id: str, now: float) -> Claims:
        """Return the claims of an ID token that ``issuer_name`` sent for a sign-in with ``client_id``.

        The caller compares ``nonce``. Raises as ``check`` does (OpenID Connect Core 1.0, section 3.1.3.7)."""
        read, issuer = read_token(token), self._issuers[issuer_name]
        if read.claims.get("iss") != issuer.issuer:
            raise TokenRefused("issuer", f"the ID token is not from the issuer {issuer.name}")
        if str(read.header.get("typ", "JWT")).lower() != "jwt":
            raise TokenRefused("type", "the token is an access token, not an ID token")
        self._check_audience(read, frozenset((client_id,)), issuer)
        audience = read.claims["aud"]
        if read.claims.get("azp", client_id if _has_one_audience(audience) else None) != client_id:
            raise TokenRefused("audience", "the ID token was issued to another client (`azp`)")
        if "iat" not in read.claims:
            raise TokenRefused("time", "the ID token has no `iat`, which OpenID Connect requires")
        return self._verify(token, read, issuer, now)

    def version(self, issuer_name: str) -> bytes | None:
        """Return the version of the keys of ``issuer_name``, ``None`` while it has none."""
        found = self._keys(issuer_name)
        return None if found is None else found.version

    def _issuer_of(self, parts: SignedToken) -> TrustedIssuer:
        """Return the issuer that the token names. Raises ``TokenRefused``."""
        url = parts.claims.get("iss")
        found = self._by_url.get(url) if isinstance(url, str) else None
        if found is None:
            raise TokenRefused("issuer", "the token's issuer (`iss`) is not one of the gateway's `issuers`")
        return found

    def _check_audience(self, parts: SignedToken, audience: frozenset[str], issuer: TrustedIssuer) -> None:
        if audience_in(parts.claims).isdisjoint(audience):
            raise TokenRefused("audience", _NO_AUDIENCE.format(issuer.name))

    def _verify(self, token: str, parts: SignedToken, issuer: TrustedIssuer, now: float) -> Claims:
        """Return the claims if time, algorithm and signature are right, the cheap checks first."""
        algorithm = parts.algorithm
        if algorithm not in issuer.algorithms:
            permitted = ", ".join(issuer.algorithms)
            raise TokenRefused("algorithm", f"the token's `alg` is not permitted: {issuer.name} may use {permitted}")
        expiry = check_times(parts.claims, now, issuer.clock_skew)
        known = self._keys(issuer.name)
        if known is None:
            raise CannotJudge(issuer.name, parts.key_id)
        if parts.key_id is not None and not known.has(parts.key_id):
            raise UnknownKey(issuer.name, parts.key_id)
        keys = known.keys_for(parts.key_id, parts.algorithm)
        if not any(key.verifies(parts.algorithm, parts.signed, parts.signature) for key in keys):
            raise WrongSignature(issuer.name)
        return Claims(issuer.name, parts.payload, expiry + issuer.clock_skew, digest_of(token))


def digest_of(token: str) -> bytes:
    """Return the SHA-256 of a whole token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def audience_in(claims: Mapping[str, Any]) -> frozenset[str]:
    """Return the audiences of a token: ``aud`` is text, or a list of text."""
    value = claims.get("aud")
    items: list[Any] = value if isinstance(value, list) else [value]
    return frozenset(items if all(isinstance(item, str) for item in items) else ())


def _has_one_audience(audience: Any) -> bool:
    return isinstance(audience, str) or len(audience) == 1


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
    """Checks tokens as ``checker`` does, and remembers which ones are valid, so that each signature is checked once.

    A verdict is stored by the SHA-256 of the whole token: with a shorter key, two tokens shared a verdict
    (CVE-2026-35030). It also belongs to a version of the issuer's keys, so that the tokens of a removed key are
    refused. ``clock`` is monotonic."""

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
