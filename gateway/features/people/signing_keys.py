"""The public keys of an issuer, parsed from its key set (JWK, RFC 7517)."""

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import attrs
import msgspec

from gateway.named_imports import import_named
from streams.structure import has_more_elements
from streams.surrogates import NOT_JSON

if TYPE_CHECKING:
    from jwt.algorithms import Algorithm

LARGEST_SET: Final = 256 * 1024
"""Bytes of a key set."""

MOST_KEYS: Final = 100
"""Keys of a set."""

MOST_TRIED: Final = 8
"""Keys that are tried for one token."""

_SHOWN: Final = 3
"""Keys that an error lists."""

_RSA: Final = ("RSA", frozenset({""}))
KEYS_OF: Final[Mapping[str, tuple[str, frozenset[str]]]] = {
    "RS256": _RSA, "RS384": _RSA, "RS512": _RSA, "PS256": _RSA, "PS384": _RSA, "PS512": _RSA,
    "ES256": ("EC", frozenset({"P-256"})),
    "ES384": ("EC", frozenset({"P-384"})),
    "EdDSA": ("OKP", frozenset({"Ed25519", "Ed448"})),
}  # fmt: skip
"""The key type and the curves for each permitted algorithm."""

_PUBLIC: Final[Mapping[str, tuple[str, ...]]] = {"RSA": ("n", "e"), "EC": ("x", "y"), "OKP": ("x",)}
"""The members of a public key by type. All others are ignored: one of them would make the key a private one."""

_MODULUS_BITS: Final = range(2048, 8192 + 1)
_EXPONENT_BITS: Final = range(2, 32 + 1)  # a large one makes each check slow
_BASE64URL: Final = re.compile(r"[A-Za-z0-9_-]{1,2000}={0,2}")


@cache
def _algorithms() -> "Mapping[str, Algorithm]":
    """Return PyJWT's algorithms. The HTTP API imports this module without issuers, too, and PyJWT is an extra."""
    found: Mapping[str, Algorithm] = import_named("jwt.algorithms:get_default_algorithms")()
    return found


@attrs.frozen(eq=False, repr=False)
class VerificationKey:
    """A public key of an issuer, with the restrictions that its key set states."""

    id: str | None
    type: str
    curve: str
    algorithm: str | None
    public: Any

    def fits(self, algorithm: str) -> bool:
        """Return whether the key may verify a token whose header has ``algorithm``."""
        kind, curves = KEYS_OF[algorithm]
        return self.type == kind and self.curve in curves and self.algorithm in (None, algorithm)

    def verifies(self, algorithm: str, signed: bytes, signature: bytes) -> bool:
        """Return whether ``signature`` is the key's, made with ``algorithm``, which must fit."""
        return _algorithms()[algorithm].verify(signed, self.public, signature)


@attrs.frozen(eq=False, repr=False)
class KeySet:
    """The public keys of one issuer. Sets with another ``version`` may have other keys.

    ``skipped`` has the members that are not usable, each with the reason."""

    version: bytes
    keys: tuple[VerificationKey, ...]
    skipped: tuple[str, ...] = ()
    _by_id: Mapping[str, tuple[VerificationKey, ...]] = attrs.field(init=False)

    @_by_id.default
    def _group_by_id(self) -> Mapping[str, tuple[VerificationKey, ...]]:
        found: dict[str, tuple[VerificationKey, ...]] = {}
        for key in self.keys:
            if key.id is not None:
                found[key.id] = (*found.get(key.id, ()), key)
        return found

    def has(self, key_id: str) -> bool:
        return key_id in self._by_id

    def keys_for(self, key_id: str | None, algorithm: str) -> Sequence[VerificationKey]:
        """Return the keys that may have signed a token: those with its ``key_id``, or each fitting key."""
        among = self.keys if key_id is None else self._by_id.get(key_id, ())
        return [key for key in among if key.fits(algorithm)][:MOST_TRIED]


class BadKeySet(Exception):
    """An error: the document is not a key set. The message is the reason, for the end of a sentence."""


def parse_key_set(body: bytes) -> KeySet:
    """Return the usable keys in a key set. Raises ``BadKeySet`` if it has none.

    It may take tens of milliseconds for a hostile document."""
    members = _read_members(body)
    keys, skipped = [], []
    for at, member in enumerate(members):
        try:
            if (key := _parse_key(member)) is not None:
                keys.append(key)
        except BadKeySet as error:
            skipped.append(f"keys[{at}]: {error}")
        except Exception as error:  # the boundary: a library may raise anything for a hostile key
            skipped.append(f"keys[{at}]: {type(error).__name__}")
    if not keys:
        raise BadKeySet(f"it has no usable keys{''.join(f'; {one}' for one in skipped[:_SHOWN])}")
    return KeySet(hashlib.sha256(body).digest(), tuple(keys), tuple(skipped))


def _read_members(body: bytes) -> list[Any]:
    if len(body) > LARGEST_SET:
        raise BadKeySet(f"it is larger than {LARGEST_SET // 1024} KiB")
    if has_more_elements(body, 20 * MOST_KEYS):
        raise BadKeySet("it has too many members")
    try:
        found = msgspec.json.decode(body)
    except NOT_JSON:
        raise BadKeySet("it is not JSON") from None
    members = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(members, list):
        raise BadKeySet("it has no list `keys`")
    if len(members) > MOST_KEYS:
        raise BadKeySet(f"it has more than {MOST_KEYS} keys")
    return members


def _parse_key(member: Any) -> VerificationKey | None:
    """Return a key, or ``None`` for one that does not verify signatures. Raises ``BadKeySet`` and libraries' errors."""
    if not isinstance(member, dict):
        raise BadKeySet("not an object")
    operations = member.get("key_ops")
    if member.get("use", "sig") != "sig" or (operations is not None and "verify" not in _as_list(operations)):
        return None
    kind, key_id, algorithm = member.get("kty"), member.get("kid"), member.get("alg")
    if not isinstance(kind, str) or kind not in _PUBLIC:
        raise BadKeySet("its `kty` is none of RSA, EC, OKP")
    if not isinstance(key_id, str | None) or not isinstance(algorithm, str | None):
        raise BadKeySet("its `kid` or `alg` is not text")
    if algorithm is not None and (algorithm not in KEYS_OF or KEYS_OF[algorithm][0] != kind):
        raise BadKeySet("its `alg` is not supported")
    curve = "" if kind == "RSA" else str(member.get("crv"))
    if not any(kind == one and curve in curves for one, curves in KEYS_OF.values()):
        raise BadKeySet("its `crv` is not supported")
    public = {name: _text_in(member, name) for name in _PUBLIC[kind]}
    if kind == "RSA":
        _check_size(public["n"], _MODULUS_BITS, "modulus")
        _check_size(public["e"], _EXPONENT_BITS, "exponent")
    fitting = next(name for name, (one, curves) in KEYS_OF.items() if one == kind and curve in curves)
    made = _algorithms()[fitting].from_jwk({"kty": kind, **({"crv": curve} if curve else {}), **public})
    return VerificationKey(key_id, kind, curve, algorithm, made)


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text_in(member: Mapping[str, Any], name: str) -> str:
    value = member.get(name)
    if not isinstance(value, str) or not _BASE64URL.fullmatch(value):
        raise BadKeySet(f"its `{name}` is not base64url")
    return value


def _check_size(text: str, bits: range, what: str) -> None:
    length = int.from_bytes(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))).bit_length()
    if length not in bits:
        raise BadKeySet(f"its {what} has {length} bits, not {bits.start} to {bits.stop - 1}")
