"""The ``state`` of a sign-in at an issuer (RFC 6749, section 10.12): the callback's facts, sealed for one browser.

Nothing is stored before the callback, so visitors without a session cannot fill the store. The state is encrypted, and
bound to the browser's random cookie. The nonce and the PKCE verifier are derived from both, so neither the URL nor the
cookie has them. The callback accepts each state once, because the store keeps the digests of used ones."""

import base64
import hashlib
import hmac
import os
from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING, Final

import attrs
import msgspec

from gateway.named_imports import import_named

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

LIFETIME: Final = 600.0
"""Seconds from the start of a sign-in to its callback."""

LONGEST: Final = 2000
"""Characters of a state."""

_PURPOSE: Final = b"trigate: the key of sign-in states"
_NONCE: Final = 12
_SALT: Final = 16
_SKEW: Final = 60.0  # between the clocks of two gateways


class StateRefused(Exception):
    """The state of a callback is unusable; the message is for the person at the browser."""


_FOREIGN: Final = "This sign-in was not started in this browser."
_EXPIRED: Final = "This sign-in took more than ten minutes."


@attrs.frozen(repr=False)
class SignIn:
    """A sign-in under way: at the issuer named ``issuer``, begun ``at`` (Unix seconds), to return to ``path``.

    ``digest`` identifies it in the store. ``nonce`` and ``verifier`` are secrets."""

    issuer: str
    path: str
    at: float
    nonce: str
    verifier: str
    digest: str

    @property
    def challenge(self) -> str:
        """The PKCE challenge of the verifier (RFC 7636, section 4.2)."""
        return _text(hashlib.sha256(self.verifier.encode()).digest())

    @property
    def until(self) -> float:
        """The time from which the state is too old, whichever gateway checks it."""
        return self.at + LIFETIME + _SKEW


class SignInStates:
    """The states that gateways with the same ``signing_keys`` make and read. The first key makes them."""

    def __init__(self, signing_keys: Sequence[bytes]) -> None:
        self._keys = tuple(hmac.digest(key, _PURPOSE, "sha256") for key in signing_keys)

    def begin(self, browser: str, issuer: str, path: str, now: float) -> tuple[str, SignIn]:
        """Return a new state for the cookie value ``browser``, and its sign-in."""
        key, nonce, salt = self._keys[0], os.urandom(_NONCE), os.urandom(_SALT)
        content = msgspec.msgpack.encode((issuer, path, now, salt))
        state = _text(nonce + _cipher(key).encrypt(nonce, content, browser.encode()))
        return state, _sign_in(key, browser, issuer, path, now, salt, state)

    def open(self, state: str, browsers: Sequence[str], now: float) -> SignIn:
        """Return the sign-in of ``state``, which the browser with the cookie values ``browsers`` began.

        Raises ``StateRefused`` for another browser's, a changed or an old state."""
        if not browsers or len(state) > LONGEST:
            raise StateRefused(_FOREIGN)
        try:
            sealed = base64.b64decode(state + "=" * (-len(state) % 4), b"-_", validate=True)
        except ValueError:
            raise StateRefused(_FOREIGN) from None
        if _text(sealed) != state:  # another spelling would have another digest
            raise StateRefused(_FOREIGN)
        invalid: type[Exception] = import_named("cryptography.exceptions:InvalidTag")
        for key, browser in product(self._keys, browsers):
            try:
                content = _cipher(key).decrypt(sealed[:_NONCE], sealed[_NONCE:], browser.encode("utf-8", "replace"))
            except (invalid, ValueError):
                continue
            issuer, path, at, salt = msgspec.msgpack.decode(content, type=tuple[str, str, float, bytes])
            if not -_SKEW <= now - at <= LIFETIME:
                raise StateRefused(_EXPIRED)
            return _sign_in(key, browser, issuer, path, at, salt, state)
        raise StateRefused(_FOREIGN)

    def confirmation(self, browser: str, user_code: str) -> str:
        """Return the proof that the browser with the cookie value ``browser`` confirmed a device's code."""
        return _confirmation(self._keys[0], browser, user_code)

    def has_confirmed(self, browsers: Sequence[str], user_code: str, proof: str) -> bool:
        """Return whether ``proof`` shows that this browser confirmed ``user_code``."""
        made = (_confirmation(key, browser, user_code) for key, browser in product(self._keys, browsers))
        return proof.isascii() and any(hmac.compare_digest(one, proof) for one in made)


def _cipher(key: bytes) -> "AESGCM":
    """Return a cipher. Pages without issuers import this module, too, and ``cryptography`` is an extra."""
    cipher: AESGCM = import_named("cryptography.hazmat.primitives.ciphers.aead:AESGCM")(key)
    return cipher


def _confirmation(key: bytes, browser: str, user_code: str) -> str:
    return _text(hmac.digest(key, f"confirmed {user_code} {browser}".encode(), "sha256"))


def _sign_in(key: bytes, browser: str, issuer: str, path: str, at: float, salt: bytes, state: str) -> SignIn:
    def derive(purpose: bytes) -> str:
        return _text(hmac.digest(key, purpose + salt + browser.encode(), "sha256"))

    digest = hashlib.sha256(state.encode()).hexdigest()
    return SignIn(issuer, path, at, derive(b"nonce"), derive(b"verifier"), digest)


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
