"""The tokens of sessions: JWTs that any gateway with the same ``signing_key`` checks without reading the store.

Their header is one of a few fixed texts, so nothing in a token selects its key or algorithm. Keys are derived from
``signing_key`` for this purpose only, so no other signature of the gateway, and no issuer's, fits.

``groups``, ``email`` and ``name`` are for programs that read tokens, as Claude Code does for its telemetry. The private
claim ``claims`` has the issuer's claims that rules read: a rule that changes applies to the next request."""

import base64
import hmac
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import attrs
import msgspec

from gateway.features.people.records import Person, new_id
from gateway.features.people.token_format import TokenRefused
from gateway.named_imports import import_named
from gateway.stores.record_tables import CLOCK_SKEW

if TYPE_CHECKING:
    from gateway.stores.encrypted import BodyCipher

_SIGNATURES: Final = "session tokens"
_SEALS: Final = "the issuer's refresh tokens"
_REFRESH: Final = "refresh tokens of sessions"
_REFRESH_PREFIX: Final = "tgr_"
_SUCCESSORS: Final = 5
"""How many refresh tokens back a used token still identifies its session."""

_NOT_OURS: Final = "the session token is not valid: sign in again"
_EXPIRED: Final = "the session token has expired: refresh it, or sign in again"
_NOT_YET: Final = "the session token is from the future: refresh it, and check the clocks of the gateways"


@attrs.frozen(repr=False)
class SessionClaims:
    """The content of a valid session token: its ``session``, the person's client name, and the issuer's claims.

    ``issuer`` is the issuer's name in the file, which confirmed the claims at ``confirmed``; that and ``expiry`` are
    Unix seconds."""

    session: str
    person: str
    issuer: str
    claims: Mapping[str, Any]
    confirmed: float
    expiry: float


class SessionTokens:
    """The signatures of session tokens for the gateway at ``public_url``. The first of ``keys`` signs, all verify."""

    def __init__(self, keys: Sequence[bytes], public_url: str) -> None:
        self._public_url = public_url
        self._keys = {_header(derived): derived for key in keys for derived in (derive_key(key, _SIGNATURES),)}
        self._refresh_keys = tuple(derive_key(key, _REFRESH) for key in keys)

    def is_ours(self, token: str) -> bool:
        """Return whether ``token`` claims to be a session token of a gateway, with any key. No issuer's token does."""
        return token.startswith(_BEGINNING)

    def make(
        self,
        person: Person,
        claims: Mapping[str, Any],
        session: str,
        now: float,
        until: float,
        confirmed: float | None = None,
    ) -> str:
        """Return a token of ``session`` that ends at ``until``.

        ``claims`` are those that rules read; the issuer confirmed them at ``confirmed``, by default now."""
        payload = {
            "iss": self._public_url, "sub": person.name, "sid": session, "iat": int(now),
            "exp": int(until), "jti": new_id(), "issuer": person.issuer,
            "confirmed": now if confirmed is None else confirmed,
            **({} if person.email is None else {"email": person.email}),
            **({} if person.full_name is None else {"name": person.full_name}),
            "groups": list(person.groups), "claims": _without_repeated(claims, person.groups),
        }  # fmt: skip
        header, key = next(iter(self._keys.items()))
        signed = f"{header}.{_base64url(json.dumps(payload, separators=(',', ':')).encode())}"
        return f"{signed}.{_signature(key, signed)}"

    def read(self, token: str, now: float) -> SessionClaims:
        """Return the content of a session token. Raises ``TokenRefused`` for an invalid or expired token.

        The caller checks whether the session has ended, or the person is blocked."""
        signed, _, signature = token.rpartition(".")
        header, _, payload = signed.partition(".")
        key = self._keys.get(header)
        if key is None or not hmac.compare_digest(
            _signature(key, signed).encode(), signature.encode("utf-8", "replace")
        ):
            raise TokenRefused("signature", _NOT_OURS)
        found: dict[str, Any] = msgspec.json.decode(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        if found["iss"] != self._public_url:
            raise TokenRefused("issuer", "the session token is from another gateway: sign in again")
        if now >= found["exp"]:
            raise TokenRefused("expired", _EXPIRED)
        if found["iat"] > now + CLOCK_SKEW:  # its end is too late, too
            raise TokenRefused("time", _NOT_YET)
        claims = {name: found["groups"] if value == _REPEATED else value for name, value in found["claims"].items()}
        return SessionClaims(found["sid"], found["sub"], found["issuer"], claims, found["confirmed"], found["exp"])

    # Refresh tokens

    def first_refresh_token(self) -> str:
        """Return the refresh token of a new session."""
        return _REFRESH_PREFIX + new_id() + new_id()

    def next_refresh_token(self, token: str) -> str:
        """Return the token that replaces ``token``.

        It follows from ``token`` and a key, so that simultaneous refreshes in several processes agree, although the
        store has only digests."""
        return _successor(self._refresh_keys[0], token)

    def later_refresh_tokens(self, token: str) -> Iterator[str]:
        """Yield the tokens that may have replaced ``token`` since, under each key."""
        for key in self._refresh_keys:
            found = token
            for _ in range(_SUCCESSORS):
                found = _successor(key, found)
                yield found


_REPEATED: Final = {"repeats": "groups"}
"""A claim that has the same value as ``groups``, which may be long."""


def _without_repeated(claims: Mapping[str, Any], groups: tuple[str, ...]) -> dict[str, Any]:
    """Return ``claims``, in which a short mark replaces each claim that equals ``groups`` or the mark itself."""
    if not groups:
        return {name: value for name, value in claims.items() if value != _REPEATED}
    return {name: _REPEATED if value == list(groups) else value for name, value in claims.items() if value != _REPEATED}


_HEADER: Final = '{"alg":"HS256","typ":"JWT","kid":"trigate-'
"""The beginning of each token's header, of a length that base64 encodes without a rest."""


def _header(key: bytes) -> str:
    """Return the header of tokens with the signature of ``key``, encoded."""
    return _base64url(f'{_HEADER}{hmac.digest(key, b"id", "sha256").hex()[:16]}"}}'.encode())


def _successor(key: bytes, token: str) -> str:
    return _REFRESH_PREFIX + _base64url(hmac.digest(key, token.encode("utf-8", "replace"), "sha256"))


def _signature(key: bytes, signed: str) -> str:
    return _base64url(hmac.digest(key, signed.encode("utf-8", "replace"), "sha256"))


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


_BEGINNING: Final = _base64url(_HEADER.encode())


# Keys


def derive_key(key: bytes, purpose: str) -> bytes:
    """Return 32 bytes for ``purpose`` from a random ``key``, by HKDF with SHA-256 (RFC 5869).

    Different purposes have independent keys: none reveals another, or ``key``."""
    extracted = hmac.digest(bytes(32), key, "sha256")
    return hmac.digest(extracted, f"trigate people: {purpose}".encode() + b"\x01", "sha256")


class RefreshSeals:
    """The encryption of issuers' refresh tokens with keys derived from ``keys``: the first encrypts, all decrypt.

    Each is bound to the id of its sign-in, so rows of the table cannot be exchanged."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        cipher = import_named("gateway.stores.encrypted:BodyCipher")  # needs an extra that only issuers need
        self._cipher: BodyCipher = cipher([derive_key(key, _SEALS) for key in keys])

    def seal(self, token: str, id: str) -> bytes:
        """Encrypt the refresh token of the sign-in ``id``."""
        return self._cipher.encrypt(token.encode(), id.encode())

    def open(self, sealed: bytes, id: str) -> str | None:
        """Return the refresh token of the sign-in ``id``, ``None`` if it was encrypted with another key."""
        found = self._cipher.decrypt(sealed, id.encode())
        return None if found is None else found.decode()
