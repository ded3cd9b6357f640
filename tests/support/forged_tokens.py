"""Tokens that no gateway may accept, each with a signature that is as good as an attacker can make it.

Most are attacks of RFC 8725 (best practices for JSON Web Tokens) or reported faults of libraries and gateways."""

import base64
import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs

from tests.support.signed_tokens import (
    SigningKey,
    base64url,
    compact,
    from_base64url,
    mint,
    mint_by_secret,
    signing_key,
)

ISSUER = "https://id.example.com/oauth2/default"
OTHER = "https://other.example.com"
AUDIENCE = "trigate"
FIRST, CURVE, WIDE, EDWARDS = (
    signing_key("first"), signing_key("curve", "ES256"), signing_key("wide", "ES384"), signing_key("edwards", "EdDSA"),
)  # fmt: skip
PUBLISHED = (FIRST, CURVE, WIDE, EDWARDS)
"""The keys of the issuer."""
FOREIGN = signing_key("foreign")
"""A key of the other issuer, which the gateway trusts too."""
ATTACKER = signing_key("attacker")
"""A key that no issuer published."""


@attrs.frozen
class ForgedToken:
    """A token that is refused for the reason ``reason``."""

    name: str
    reason: str
    make: Callable[[str], str]
    """Returns the token for the issuer with a URL."""


def _claims(issuer: str, **changed: Any) -> dict[str, Any]:
    claims = {"iss": issuer, "aud": AUDIENCE, "sub": "mallory", **changed}
    return {name: value for name, value in claims.items() if value is not None}


def _raw_payload(issuer: str, more: str) -> bytes:
    """Return claims with ``more`` inserted unchanged, as no library writes it."""
    now = int(time.time())
    members = f'"iss":{json.dumps(issuer)},"aud":"{AUDIENCE}","sub":"mallory","iat":{now},"exp":{now + 300}'
    return f"{{{members},{more}}}".encode()


def _head(key: SigningKey = FIRST, **changed: Any) -> dict[str, Any]:
    return {"alg": key.alg, "typ": "JWT", "kid": key.kid, **changed}


def _sign_parts(header: Mapping[str, Any] | bytes, payload: Mapping[str, Any] | bytes, key: SigningKey = FIRST) -> str:
    return compact(header, payload, key.sign)


def _with_claims(name: str, reason: str, **changed: Any) -> ForgedToken:
    return ForgedToken(name, reason, lambda issuer: mint(_claims(issuer, **changed), FIRST))


def _with_header(name: str, reason: str, key: SigningKey = FIRST, **changed: Any) -> ForgedToken:
    """Return a token signed as its header states; members of the header that are ``None`` are left out."""
    return ForgedToken(name, reason, lambda issuer: mint(_claims(issuer), key, changed))


def _exactly(name: str, reason: str, header: Mapping[str, Any]) -> ForgedToken:
    """Return a token with ``header``, whatever is in it, signed with the issuer's first key."""
    return ForgedToken(name, reason, lambda issuer: _sign_parts(header, _live(issuer)))


def _with_issuer(name: str, change: Callable[[str], Any], reason: str = "issuer") -> ForgedToken:
    return ForgedToken(name, reason, lambda issuer: mint(_claims(issuer, iss=change(issuer)), FIRST))


def _with_payload(name: str, more: str) -> ForgedToken:
    return ForgedToken(name, "malformed", lambda issuer: _sign_parts(_head(), _raw_payload(issuer, more)))


def _with_time(name: str, at: str, value: Any) -> ForgedToken:
    return _with_claims(f"{at} is {name}", "time", **{at: value})


def _forge_by_edit(name: str, edit: Callable[[list[str]], list[str]], reason: str = "malformed") -> ForgedToken:
    return ForgedToken(name, reason, lambda issuer: ".".join(edit(mint(_claims(issuer), FIRST).split("."))))


def _altered_payload(parts: list[str]) -> list[str]:
    claims = json.loads(from_base64url(parts[1]))
    return [parts[0], base64url(json.dumps({**claims, "sub": "admin"}).encode()), parts[2]]


def _other_spelling(part: str) -> str:
    """Return another text that lenient decoders read as the same bytes: unused bits of the last character are set."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    assert len(part) % 4 in (2, 3)
    return part[:-1] + alphabet[alphabet.index(part[-1]) + 1]


def _forge_signature(name: str, change: Callable[[bytes], bytes], key: SigningKey = FIRST) -> ForgedToken:
    return ForgedToken(
        f"{key.alg} signature {name}",
        "signature",
        lambda issuer: compact(_head(key), _live(issuer), lambda data: change(key.sign(data))),
    )


def _algorithms() -> Iterator[ForgedToken]:
    for word in ("none", "None", "NONE", "nOnE", ""):
        unsigned = _head(alg=word)
        yield ForgedToken(
            f"alg {word!r} without a signature",
            "algorithm",
            lambda issuer, head=unsigned: compact(head, _live(issuer), lambda _: b""),
        )
    for word in ("ES512", "ES256K", "RS1", "HS384", "HS512", "rs256", "RS256 ", "RSA-OAEP", "Ed25519", "RS2\u212a56"):
        yield _exactly(f"alg {word!r}", "algorithm", _head(alg=word))
    for what, secret in (
        ("the public key in PEM", FIRST.public_pem()),
        ("the public key in PEM without the last line break", FIRST.public_pem().rstrip()),
        ("the public key as JWK", json.dumps(FIRST.jwk()).encode()),
        ("the modulus", from_base64url(FIRST.jwk()["n"])),
        ("nothing", b""),
    ):
        yield ForgedToken(
            f"HS256 with {what} as the secret",
            "algorithm",
            lambda issuer, secret=secret: mint_by_secret(_claims(issuer), secret, {"kid": FIRST.kid}),
        )
    yield _exactly("no alg", "malformed", {"typ": "JWT", "kid": "first"})
    for value in (None, 5, ["RS256"], {"alg": "RS256"}):
        yield _exactly(f"alg {value!r}", "malformed", _head(alg=value))
    # The header and the key disagree.
    yield _with_header("ES256 with the id of an RSA key", "signature", CURVE, kid=FIRST.kid)
    yield _with_header("RS256 with the id of an EC key", "signature", FIRST, kid=CURVE.kid)
    yield _with_header("EdDSA with the id of an EC key", "signature", EDWARDS, kid=CURVE.kid)
    yield _with_header("ES256 with the id of a P-384 key", "signature", CURVE, kid=WIDE.kid)
    yield ForgedToken(
        "ES256 made with a P-384 key",
        "signature",
        lambda issuer: compact(_head(WIDE, alg="ES256"), _live(issuer), lambda data: WIDE.sign(data, "ES256")),
    )
    for other in ("PS256", "RS384", "RS512", "PS512"):
        yield ForgedToken(
            f"{other} by a key whose JWK states RS256",
            "signature",
            lambda issuer, alg=other: compact(_head(alg=alg), _live(issuer), lambda data: FIRST.sign(data, alg)),
        )


def _live(issuer: str, **changed: Any) -> dict[str, Any]:
    return {**_claims(issuer, **changed), "exp": int(time.time()) + 300}


def _headers() -> Iterator[ForgedToken]:
    for word in (
        "JOSE",
        "logout+jwt",
        "dpop+jwt",
        "secevent+jwt",
        "id_token",
        "",
        "JWT ",
        "at+jwt;x",
        "application/jwt",
    ):
        yield _with_header(f"typ {word!r}", "type", typ=word)
    for value in (5, ["JWT"], {"a": 1}, True):
        yield _exactly(f"typ {value!r}", "type", _head(typ=value))
    for kid in (
        "../../../../etc/passwd", "/dev/null", "file:///etc/passwd", "first' OR '1'='1", "first\u0000", "",
        "https://attacker.example/jwks", "First", "first ", "__class__", "0", "\u0066irst\u200b", "x" * 4000, "| id",
    ):  # fmt: skip
        yield _with_header(f"kid {kid[:40]!r}", "malformed" if "\0" in kid else "unknown_key", ATTACKER, kid=kid)
    for value in (5, None, ["first"], {"kid": "first"}, True, 1.5):
        head = {**_head(), "kid": value}
        yield _exactly(f"kid {value!r}", "malformed", head)
    # A token that brings its own key (RFC 8725, section 3.10).
    own = ATTACKER.jwk()
    yield _with_header("an embedded key", "unknown_key", ATTACKER, jwk=own)
    yield _with_header("an embedded key with a published id", "signature", ATTACKER, jwk=own, kid="first")
    yield _with_header("an embedded key without an id", "signature", ATTACKER, jwk=own, kid=None)
    yield _with_header("jku", "signature", ATTACKER, jku="http://127.0.0.1:9/jwks", kid="first")
    yield _with_header("x5u", "signature", ATTACKER, x5u="http://169.254.169.254/latest/meta-data", kid="first")
    chain = [base64.b64encode(b"\x30\x82").decode()]
    yield _with_header("x5c", "signature", ATTACKER, x5c=chain, x5t="AAAA", kid="first")
    for value in ([], ["exp"], ["b64"], ["http://example.com/x"], None, "exp"):
        head = {**_head(), "crit": value, "b64": True}
        yield _exactly(f"crit {value!r}", "critical", head)
    for value in (False, True):
        head = {**_head(), "b64": value}
        yield _exactly(f"b64 {value!r} without crit", "critical", head)
    yield _with_header("enc in a signed token", "encrypted", enc="A256GCM")
    yield _with_header("compressed", "encrypted", zip="DEF", enc="A128CBC-HS256")


def _claim_faults() -> Iterator[ForgedToken]:
    yield _with_claims("no iss", "issuer", iss=None)
    for change in ("/", "?", "#", " ", "\u0000"):
        reason = "malformed" if change == "\0" else "issuer"
        yield _with_issuer(f"iss with {change!r} at its end", lambda issuer, end=change: issuer + end, reason)
    yield _with_issuer("iss in upper case", str.upper)
    yield _with_issuer("iss without its end", lambda issuer: issuer[:-1])
    yield _with_issuer("iss as a list", lambda issuer: [issuer])
    yield _with_issuer("iss as an object", lambda issuer: {"iss": issuer})
    for value in (5, True, ""):
        yield _with_claims(f"iss {value!r}", "issuer", iss=value)
    # Keys belong to one issuer.
    yield _with_header("a key of another issuer", "unknown_key", FOREIGN)
    yield _with_header("a key of another issuer with our key's id", "signature", FOREIGN, kid="first")
    yield _with_header("a key of another issuer without an id", "signature", FOREIGN, kid=None)
    yield ForgedToken("the other issuer, signed by this one", "unknown_key", lambda issuer: mint(_claims(OTHER), FIRST))
    yield _with_claims("no aud", "audience", aud=None)
    for value in (
        "", [], "trigate ", "Trigate", "trigate2", "https://trigate", ["other"], ["trigate", 5], [["trigate"]],
        {"trigate": 1}, 5, True, "other trigate", "trigate,other", ["tri", "gate"], "*",
    ):  # fmt: skip
        yield _with_claims(f"aud {value!r}", "audience", aud=value)
    yield ForgedToken("aud null", "audience", lambda issuer: _sign_parts(_head(), {**_live(issuer), "aud": None}))
    yield _with_claims("proof of possession", "proof", cnf={"jkt": "abc"})
    yield ForgedToken("cnf null", "proof", lambda issuer: _sign_parts(_head(), {**_live(issuer), "cnf": None}))


def _times() -> Iterator[ForgedToken]:
    now = int(time.time())
    yield ForgedToken("no exp", "time", lambda issuer: _sign_parts(_head(), _claims(issuer)))
    yield ForgedToken("exp null", "time", lambda issuer: _sign_parts(_head(), {**_claims(issuer), "exp": None}))
    for at in ("exp", "nbf", "iat"):
        for name, value in (
            ("text", str(now + 300)), ("true", True), ("false", False), ("a list", [now + 300]), ("an object", {}),
            ("negative", -1), ("negative and small", -0.5), ("a huge number", 10**15), ("a huge float", 1e300),
            ("in milliseconds", (now + 300) * 1000), ("a date", "2027-01-01T00:00:00Z"), ("empty text", ""),
        ):  # fmt: skip
            yield _with_time(name, at, value)
    yield ForgedToken("nbf null", "time", lambda issuer: _sign_parts(_head(), {**_live(issuer), "nbf": None}))
    yield _with_claims("nbf in two minutes", "time", nbf=now + 7200)
    yield _with_claims("iat in two hours", "time", iat=now + 7200)
    yield _with_claims("expired two hours ago", "expired", exp=now - 7200, iat=now - 7500)
    yield _with_claims("expired in 1970", "expired", exp=0, iat=0)
    yield ForgedToken(
        "expired and not signed", "expired",
        lambda issuer: compact(_head(), _claims(issuer, exp=now - 7200), lambda _: b""),
    )  # fmt: skip


def _json() -> Iterator[ForgedToken]:
    for name, more in (
        ("NaN", '"x":NaN'), ("Infinity", '"x":Infinity'), ("-Infinity", '"x":-Infinity'), ("1e999", '"x":1e999'),
        ("-1e999", '"x":-1e999'), ("5,000 digits", f'"x":{"9" * 5000}'), ("5,000 decimals", f'"x":0.{"9" * 5000}'),
        ("an exponent of 5,000 digits", f'"x":1e{"9" * 5000}'),
        ("two subjects", '"sub":"admin"'), ("two audiences", '"aud":"other"'),
        ("two members in an object", '"x":{"a":1,"a":2}'), ("two spellings of a member", '"\\u0073ub":"admin"'),
        ("an unpaired surrogate", '"x":"\\ud800"'), ("an unpaired surrogate as a name", '"\\udfff":1'),
        ("a null character", '"x":"a\\u0000b"'), ("a null character in a name", '"a\\u0000":1'),
        ("33 levels of lists", f'"x":{"[" * 32}{"]" * 32}'),
        ("33 levels of objects", '"x":' + '{"a":' * 32 + "1" + "}" * 32),
        ("5,000 levels", f'"x":{"[" * 5000}{"]" * 5000}'), ("5,000 open lists", f'"x":{"[" * 5000}'),
        ("1,001 members", ",".join(f'"{n}":{n}' for n in range(1001))),
        ("1,001 items", f'"x":[{",".join("1" * 1001)}]'), ("a single quote", "'x':1"), ("a comment", '"x":1/*c*/'),
        ("a trailing comma", '"x":1,'), ("more after the end", '"x":1}{"sub":"admin"'),
        ("a raw line break", '"x":"a\nb"'),
        ("a leading zero", '"x":01'), ("a hexadecimal number", '"x":0x10'), ("a plus sign", '"x":+1'),
    ):  # fmt: skip
        yield _with_payload(f"payload with {name}", more)
    for name, payload in (
        ("a list", b"[]"), ("text", b'"text"'), ("a number", b"5"), ("null", b"null"), ("empty", b""),
        ("two values", b"{} {}"),
        ("invalid UTF-8", b'{"sub":"\xff"}'), ("an overlong sequence", b'{"sub":"\xc0\xaf"}'),
        ("UTF-16", '{"sub":"a"}'.encode("utf-16")), ("a byte order mark", b"\xef\xbb\xbf{}"),
        ("a nested token", b"eyJhbGciOiJub25lIn0.e30."),
    ):  # fmt: skip
        yield ForgedToken(f"payload is {name}", "malformed", lambda issuer, p=payload: _sign_parts(_head(), p))
    for name, header in (
        ("two algorithms", b'{"alg":"none","alg":"RS256","kid":"first"}'),
        ("two ids", b'{"alg":"RS256","kid":"x","kid":"first"}'),
        ("two spellings of alg", b'{"alg":"RS256","\\u0061lg":"none","kid":"first"}'),
        ("a list", b'["RS256"]'), ("NaN", b'{"alg":"RS256","x":NaN}'), ("cut", b'{"alg":"RS256"'),
        ("deep", b'{"alg":"RS256","x":' + b"[" * 3000 + b"]" * 3000 + b"}"),
    ):  # fmt: skip
        yield ForgedToken(f"header has {name}", "malformed", lambda issuer, h=header: _sign_parts(h, _live(issuer)))


def _encodings() -> Iterator[ForgedToken]:
    yield _forge_by_edit("padding", lambda parts: [part + "=" * (-len(part) % 4 or 4) for part in parts])
    yield _forge_by_edit("base64 with + and /", lambda parts: [parts[0], parts[1], parts[2][:-1] + "+"])
    yield _forge_by_edit(
        "a line break in the payload", lambda parts: [parts[0], parts[1][:8] + "\n" + parts[1][8:], parts[2]]
    )
    yield _forge_by_edit("a space in the signature", lambda parts: [parts[0], parts[1], parts[2] + " "])
    yield _forge_by_edit("a letter with an accent", lambda parts: [parts[0], parts[1] + "\u00e9", parts[2]])
    yield _forge_by_edit("a full-width letter", lambda parts: [parts[0], parts[1], parts[2][:-1] + "\uff21"])
    yield _forge_by_edit(
        "a character too many", lambda parts: [parts[0], parts[1], parts[2] + "A" * (5 - len(parts[2]) % 4)]
    )
    yield _forge_by_edit("another spelling of the signature", lambda parts: [*parts[:2], _other_spelling(parts[2])])
    yield _forge_by_edit("four parts", lambda parts: [*parts, "e30"])
    yield _forge_by_edit("six parts", lambda parts: [*parts, *parts])
    yield _forge_by_edit("an altered payload", _altered_payload, "signature")
    yield _forge_by_edit("no signature", lambda parts: [*parts[:2], ""], "signature")
    yield _forge_by_edit("five parts", lambda parts: [*parts, "AAAA", "AAAA"], "encrypted")
    encrypted = base64url(b'{"alg":"RSA-OAEP","enc":"A256GCM","zip":"DEF"}')
    yield ForgedToken("an encrypted token", "encrypted", lambda issuer: f"{encrypted}.AAAA.AAAA.AAAA.AAAA")
    for size in (16 * 1024 - 200, 60_000):
        yield _with_claims(f"{size:,} more bytes", "malformed", x="x" * size)
    for key in (FIRST, CURVE, WIDE, EDWARDS):
        yield _forge_signature("of zeros", lambda made: bytes(len(made)), key)
        yield _forge_signature("too short", lambda made: made[:-1], key)
        yield _forge_signature("too long", lambda made: made + b"\0", key)
        yield _forge_signature("with one bit changed", lambda made: made[:-1] + bytes([made[-1] ^ 1]), key)
        yield _forge_signature("of 0xff", lambda made: b"\xff" * len(made), key)
        yield _forge_signature("of one byte", lambda made: made[:1], key)
        yield _forge_signature("of 9,000 bytes", lambda made: made * (9000 // len(made)), key)


FORGED = tuple(
    one for several in (_algorithms, _headers, _claim_faults, _times, _json, _encodings) for one in several()
)
