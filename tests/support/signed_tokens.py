"""Keys and JSON Web Tokens of a simulated issuer, made by hand (RFC 7515, 7517, 7518), valid and forged.

The library that the gateway uses is not used here, so its faults cannot hide. Making an RSA key takes a tenth of a
second, so ``signing_key`` makes each key once in a process.
"""

import base64
import functools
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

_HASHES: Final = {"256": hashes.SHA256, "384": hashes.SHA384, "512": hashes.SHA512}
_CURVES: Final = {"ES256": (ec.SECP256R1, "P-256", 32), "ES384": (ec.SECP384R1, "P-384", 48)}


def base64url(data: bytes) -> str:
    """Return ``data`` in base64url without padding (RFC 7515, section 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def from_base64url(text: str) -> bytes:
    """Return the bytes of ``text``, with or without padding."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _number(value: int, size: int | None = None) -> str:
    return base64url(value.to_bytes(size or (value.bit_length() + 7) // 8, "big"))


@attrs.frozen
class SigningKey:
    """A private key with its id, for one algorithm."""

    kid: str
    alg: str
    private: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

    def jwk(self, **changed: Any) -> dict[str, Any]:
        """Return the public key as a JWK, with the members ``changed``; one that is ``None`` is left out."""
        public = self.private.public_key()
        jwk: dict[str, Any] = {"kid": self.kid, "use": "sig", "alg": self.alg}
        if isinstance(public, rsa.RSAPublicKey):
            numbers = public.public_numbers()
            jwk |= {"kty": "RSA", "n": _number(numbers.n), "e": _number(numbers.e)}
        elif isinstance(public, ec.EllipticCurvePublicKey):
            point = public.public_numbers()
            _, name, size = _CURVES[self.alg]
            jwk |= {"kty": "EC", "crv": name, "x": _number(point.x, size), "y": _number(point.y, size)}
        else:
            raw = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
            jwk |= {"kty": "OKP", "crv": "Ed25519", "x": base64url(raw)}
        return {name: value for name, value in (jwk | changed).items() if value is not None}

    def sign(self, data: bytes, alg: str | None = None) -> bytes:
        """Return the signature of ``data`` by the key's algorithm or another one that fits its type."""
        alg = alg or self.alg
        if isinstance(self.private, ed25519.Ed25519PrivateKey):
            return self.private.sign(data)
        digest = _HASHES[alg[2:]]()
        if isinstance(self.private, rsa.RSAPrivateKey):
            pss = padding.PSS(padding.MGF1(digest), digest.digest_size)
            return self.private.sign(data, pss if alg.startswith("PS") else padding.PKCS1v15(), digest)
        size = (self.private.key_size + 7) // 8
        r, s = decode_dss_signature(self.private.sign(data, ec.ECDSA(digest)))
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")

    def public_pem(self) -> bytes:
        return self.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@functools.cache
def signing_key(kid: str = "first", alg: str = "RS256", bits: int = 2048) -> SigningKey:
    """Return the key ``kid``: for each combination of arguments always the same within a process."""
    if alg in _CURVES:
        return SigningKey(kid, alg, ec.generate_private_key(_CURVES[alg][0]()))
    if alg == "EdDSA":
        return SigningKey(kid, alg, ed25519.Ed25519PrivateKey.generate())
    return SigningKey(kid, alg, rsa.generate_private_key(65537, bits))


def compact(
    header: Mapping[str, Any] | bytes, claims: Mapping[str, Any] | bytes, sign: Callable[[bytes], bytes]
) -> str:
    """Return a token with any header and payload, also invalid JSON, signed by ``sign``."""
    parts = (part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, claims))
    signed = ".".join(map(base64url, parts))
    return f"{signed}.{base64url(sign(signed.encode()))}"


def mint(
    claims: Mapping[str, Any],
    key: SigningKey | None = None,
    header: Mapping[str, Any] | None = None,
    now: float | None = None,
) -> str:
    """Return a token of ``claims``, valid for five minutes unless they have ``exp`` and ``iat``.

    ``header`` replaces members of the usual header. Claims and members that are ``None`` are left out."""
    key = key or signing_key()
    now = int(time.time() if now is None else now)
    head = {"alg": key.alg, "typ": "JWT", "kid": key.kid, **(header or {})}
    payload = {"iat": now, "exp": now + 300, **claims}
    alg = head["alg"] if head["alg"] and head["alg"][:2] == key.alg[:2] else key.alg
    return compact(
        {name: value for name, value in head.items() if value is not None},
        {name: value for name, value in payload.items() if value is not None},
        lambda data: key.sign(data, alg),
    )


def mint_by_secret(claims: Mapping[str, Any], secret: bytes, header: Mapping[str, Any] | None = None) -> str:
    """Return an HS256 token, such as an attacker makes with a public key as the ``secret``."""
    now = int(time.time())
    return compact(
        {"alg": "HS256", "typ": "JWT", **(header or {})},
        {"iat": now, "exp": now + 300, **claims},
        lambda data: hmac.digest(secret, data, hashlib.sha256),
    )


def claims_of(token: str) -> dict[str, Any]:
    """Return the claims of ``token`` without checking it."""
    claims: dict[str, Any] = json.loads(from_base64url(token.split(".")[1]))
    return claims


def header_of(token: str) -> dict[str, Any]:
    header: dict[str, Any] = json.loads(from_base64url(token.split(".")[0]))
    return header
