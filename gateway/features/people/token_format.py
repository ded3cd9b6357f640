"""Reads signed tokens (JWT, RFC 7519, in the compact form of RFC 7515) strictly, without checking signatures.

Readers that disagree about a token let an attacker show each of them another one. So everything ambiguous is refused:
duplicate members, encodings with two spellings, numbers outside the usual range. All work is bounded by the limits
below."""

import base64
import json
import math
import re
from collections.abc import Mapping
from typing import Any, Final, Literal, NoReturn, TypeAlias

import attrs

from streams.structure import has_more_elements

LONGEST: Final = 16 * 1024
"""Bytes of a token. Issuers' largest tokens, with the names of 200 groups, have about 10 KiB."""

MOST_MEMBERS: Final = 1000
"""Members of objects and items of lists, in the header or the payload."""

DEEPEST: Final = 32
"""Levels of nested objects and lists."""

_HEAD: Final = 400  # characters, which suffice for white space before the header
_LONGEST_NUMBER: Final = 20  # characters
_LATEST: Final = 253_402_300_799  # the end of the year 9999 in Unix seconds
_BASE64URL: Final = re.compile(r"[A-Za-z0-9_-]*")
_TYPES: Final = ("jwt", "at+jwt", "application/at+jwt")
"""The permitted values of ``typ`` (RFC 9068, section 4). Others mark tokens for other purposes, such as sign-out."""

TokenReason: TypeAlias = Literal[
    "malformed", "encrypted", "critical", "algorithm", "type", "proof", "issuer", "audience", "time", "expired",
    "unknown_key", "signature",
]  # fmt: skip
"""Words for the audit log. Only ``expired`` tokens were valid once, so they do not count as wrong keys."""


class TokenRefused(Exception):
    """An error: the token is invalid. ``message`` is for its sender, and never contains a part of the token."""

    def __init__(self, reason: TokenReason, message: str) -> None:
        super().__init__(message)
        self.reason: TokenReason = reason
        self.message = message


@attrs.frozen(repr=False)
class SignedToken:
    """A parsed token whose signature is unchecked, so nothing in it is trusted.

    ``algorithm`` and ``key_id`` are from ``header``. The signature covers ``signed``."""

    header: Mapping[str, Any]
    claims: Mapping[str, Any]
    payload: bytes
    signed: bytes
    signature: bytes

    @property
    def algorithm(self) -> str:
        return str(self.header["alg"])

    @property
    def key_id(self) -> str | None:
        found: str | None = self.header.get("kid")
        return found


def is_signed_token(text: str) -> bool:
    """Return whether ``text`` has the form of a token, valid or not: no other credential has it."""
    if text.count(".") not in (2, 4):
        return False
    head = text[: min(text.index("."), _HEAD)].replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return base64.b64decode(head + "=" * (-len(head) % 4)).lstrip().startswith(b"{")
    except ValueError:
        return False


def read_token(text: str) -> SignedToken:
    """Return the parts of a token. Raises ``TokenRefused``."""
    if len(text) > LONGEST:
        raise TokenRefused(
            "malformed", f"the token is longer than {LONGEST // 1024} KiB: request one with fewer claims"
        )
    parts = text.split(".")
    if len(parts) == 5:
        raise TokenRefused("encrypted", "the token is encrypted: configure its issuer to send signed tokens (JWS)")
    if len(parts) != 3:
        raise _malformed_token("it has not three parts")
    header = read_object(_decode(parts[0], "header"), "header")
    _check_header(header)
    payload = _decode(parts[1], "payload")
    claims = read_object(payload, "payload")
    if "cnf" in claims:
        raise TokenRefused(
            "proof", "the token is bound to a key (`cnf`), which the gateway cannot check: request a bearer token"
        )
    return SignedToken(
        header, claims, payload, f"{parts[0]}.{parts[1]}".encode("ascii"), _decode(parts[2], "signature")
    )


def _check_header(header: Mapping[str, Any]) -> None:
    """Raise ``TokenRefused`` for a header that requires more than a check of the signature.

    ``jku``, ``jwk``, ``x5u`` and ``x5c`` are ignored: with them, a token could choose the key that verifies it."""
    if "crit" in header or "b64" in header:
        raise TokenRefused("critical", "the token's header has `crit` or `b64`, and the gateway supports neither")
    if "enc" in header:
        raise TokenRefused(
            "encrypted", "the token's header has `enc`: configure its issuer to send signed tokens (JWS)"
        )
    if not isinstance(header.get("alg"), str):
        raise _malformed_token("its header has no `alg`")
    if str(header.get("typ", "JWT")).lower() not in _TYPES:
        raise TokenRefused("type", "the token's `typ` is neither JWT nor at+jwt: send an access token or an ID token")
    if not isinstance(header.get("kid", ""), str):
        raise _malformed_token("its `kid` is not text")


def _decode(part: str, where: str) -> bytes:
    """Return the bytes of ``part``, if it is their only spelling in base64url without padding."""
    if len(part) % 4 != 1 and _BASE64URL.fullmatch(part):
        found = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
        if base64.urlsafe_b64encode(found).rstrip(b"=").decode("ascii") == part:
            return found
    raise _malformed_token(f"its {where} is not base64url")


def read_object(data: bytes, where: str) -> dict[str, Any]:
    """Return the JSON object in ``data``, for errors the ``where`` of a token. Raises ``TokenRefused``."""
    if has_more_elements(data, MOST_MEMBERS):
        raise _malformed_token(f"its {where} has more than {MOST_MEMBERS:,} members")
    try:
        found = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_to_object,
            parse_int=_to_integer,
            parse_float=_to_float,
            parse_constant=_refuse_constant,
        )
    except (ValueError, RecursionError):
        raise _malformed_token(f"its {where} is not valid JSON, or has a member twice") from None
    if not isinstance(found, dict):
        raise _malformed_token(f"its {where} is not an object")
    _check_values(found, where)
    return found


def _to_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a member twice")
    return found


def _to_integer(text: str) -> int:
    if len(text) > _LONGEST_NUMBER:
        raise ValueError("too many digits")
    return int(text)


def _to_float(text: str) -> float:
    if len(text) > 2 * _LONGEST_NUMBER or not math.isfinite(found := float(text)):
        raise ValueError("not a number")
    return found


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(text)


def _check_values(root: Mapping[str, Any], where: str) -> None:
    """Raise ``TokenRefused`` for values that are too deep, and for text that no database stores."""
    waiting: list[tuple[Any, int]] = [(root, 1)]
    while waiting:
        value, depth = waiting.pop()
        if isinstance(value, str):
            if "\0" in value or not _is_encodable(value):
                raise _malformed_token(f"its {where} has a character that is not permitted")
        elif isinstance(value, dict | list):
            if depth > DEEPEST:
                raise _malformed_token(f"its {where} has more than {DEEPEST} levels")
            waiting += [(one, depth + 1) for one in value]  # the names of an object
            if isinstance(value, dict):
                waiting += [(one, depth + 1) for one in value.values()]


def _is_encodable(text: str) -> bool:
    """Return whether ``text`` has no unpaired surrogate."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _malformed_token(why: str) -> TokenRefused:
    return TokenRefused("malformed", f"the token is malformed: {why}")


def check_times(claims: Mapping[str, Any], now: float, skew: float) -> float:
    """Return the expiry in Unix seconds, if the token is valid at ``now`` with clocks that differ by up to ``skew``.

    Raises ``TokenRefused``."""
    expiry = _time_in(claims, "exp")
    if expiry is None:
        raise TokenRefused("time", "the token has no `exp`: configure its issuer to set an expiry")
    for name in ("nbf", "iat"):
        at = _time_in(claims, name)
        if at is not None and at > now + skew:
            raise TokenRefused("time", f"the token's `{name}` is in the future: check the clocks of issuer and gateway")
    if now >= expiry + skew:
        raise TokenRefused("expired", "the token has expired: request a new one from its issuer")
    return expiry


def _time_in(claims: Mapping[str, Any], name: str) -> float | None:
    """Return a claim in Unix seconds. Raises ``TokenRefused``."""
    if name not in claims:
        return None
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LATEST:
        raise TokenRefused("time", f"the token's `{name}` is not a time in Unix seconds")
    return float(value)
