"""Key sets of issuers: usable keys are read, others are skipped, and hostile documents are refused quickly."""

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.features.people.signing_keys import LARGEST_SET, MOST_KEYS, BadKeySet, KeySet, parse_key_set
from tests.support.each_row import each_row
from tests.support.forged_tokens import CURVE, EDWARDS, FIRST, PUBLISHED, WIDE
from tests.support.signed_tokens import base64url, signing_key


def read(*members: Any) -> KeySet:
    return parse_key_set(json.dumps({"keys": members}).encode())


def number(value: int) -> str:
    return base64url(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def test_the_keys_of_each_type_are_read():
    found = read(*(key.jwk() for key in PUBLISHED))
    assert [(key.id, key.type, key.curve, key.algorithm) for key in found.keys] == [
        ("first", "RSA", "", "RS256"),
        ("curve", "EC", "P-256", "ES256"),
        ("wide", "EC", "P-384", "ES384"),
        ("edwards", "OKP", "Ed25519", "EdDSA"),
    ]
    assert found.skipped == ()


def test_the_version_follows_the_content():
    assert read(FIRST.jwk()).version == read(FIRST.jwk()).version != read(CURVE.jwk()).version


@each_row(
    ("member", "why"),
    [
        (None, "not an object"),
        ([], "not an object"),
        ("key", "not an object"),
        ({}, "`kty`"),
        ({"kty": "oct", "k": "c2VjcmV0"}, "`kty`"),
        ({"kty": "AKP", "pub": "AAAA"}, "`kty`"),
        ({"kty": ["RSA"]}, "`kty`"),
        (FIRST.jwk(kid=5), "`kid`"),
        (FIRST.jwk(alg=5), "`kid` or `alg`"),
        (FIRST.jwk(alg="none"), "`alg`"),
        (FIRST.jwk(alg="HS256"), "`alg`"),
        (FIRST.jwk(alg="RSA-OAEP"), "`alg`"),
        (FIRST.jwk(alg="ES256"), "`alg`"),
        (FIRST.jwk(n=None), "`n`"),
        (FIRST.jwk(e=None), "`e`"),
        (FIRST.jwk(n="%%%"), "`n`"),
        (FIRST.jwk(n=5), "`n`"),
        (FIRST.jwk(n=""), "`n`"),
        (FIRST.jwk(n="A" * 3000), "`n`"),
        (signing_key("short", bits=1024).jwk(), "modulus has 1024 bits"),
        (FIRST.jwk(n=number(2**8191 * 4 + 1)), "modulus has 8194 bits"),
        (FIRST.jwk(e=number(2**40 + 1)), "exponent has 41 bits"),
        (FIRST.jwk(e="AQ"), "exponent has 1 bits"),
        (FIRST.jwk(e=number(65536)), "ValueError"),
        (CURVE.jwk(crv="P-521"), "`crv`"),
        (CURVE.jwk(crv="secp256k1"), "`crv`"),
        (CURVE.jwk(crv=None), "`crv`"),
        (CURVE.jwk(crv="P-384", alg=None), "InvalidKeyError"),
        (CURVE.jwk(y=base64url(b"\1" * 32)), "ValueError"),  # not a point of the curve
        (CURVE.jwk(x=base64url(bytes(32)), y=base64url(bytes(32))), "ValueError"),
        (EDWARDS.jwk(crv="X25519"), "`crv`"),
        (EDWARDS.jwk(x=base64url(bytes(31))), "InvalidKeyError"),
    ],
)
def test_a_bad_key_is_skipped_and_harms_no_other(member: Any, why: str):
    found = read(member, WIDE.jwk())
    assert [key.id for key in found.keys] == ["wide"]
    (skipped,) = found.skipped
    assert skipped.startswith("keys[0]: ")
    assert why in skipped
    with pytest.raises(BadKeySet, match="no usable keys"):
        read(member)


@pytest.mark.parametrize("more", [{"use": "enc"}, {"use": None, "key_ops": ["encrypt"]}, {"key_ops": "verify"}])
def test_a_key_for_another_use_is_ignored_without_a_warning(more: dict[str, Any]):
    found = read(FIRST.jwk(**more), CURVE.jwk())
    assert ([key.id for key in found.keys], found.skipped) == (["curve"], ())


def test_only_the_public_members_of_a_key_count():
    """A published private key still verifies, and certificates and addresses in a key are ignored."""
    private = FIRST.private.private_numbers()  # type: ignore[union-attr]
    found = read(FIRST.jwk(d=number(private.d), p=number(private.p), x5c=["AAAA"], x5u="http://127.0.0.1:9/"))
    assert found.keys[0].verifies("RS256", b"data", FIRST.sign(b"data"))


@each_row(
    "body",
    [
        b"", b"null", b"[]", b'"keys"', b"{}", b'{"keys":{}}', b'{"keys":[]}', b'{"keys":null}', b"<html></html>",
        b"\xff\xfe", b'{"keys":' + b"[" * 50_000, b"[" * 100_000, b" " * (LARGEST_SET + 1),
        b'{"keys":[' + b"{}," * 60_000 + b"{}]}", b'{"keys":[' + b",".join([b"{}"] * (MOST_KEYS + 1)) + b"]}",
        json.dumps({"keys": [CURVE.jwk()] * (MOST_KEYS + 1)}).encode(),
        json.dumps({"keys": [{"kty": "RSA", "n": "A" * 200_000, "e": "AQAB"}]}).encode(),
        b'{"keys":[{"kty":"RSA","n":' + b"9" * 100_000 + b"}]}",
    ],
    ids=range(18),
)  # fmt: skip
def test_a_document_that_is_no_key_set_is_refused_quickly(body: bytes):
    times = []
    for _ in range(3):
        began = time.perf_counter()
        with pytest.raises(BadKeySet):
            parse_key_set(body)
        times.append(time.perf_counter() - began)
    assert min(times) < 0.05


def test_as_many_keys_as_permitted_are_read():
    assert len(read(*(CURVE.jwk(kid=f"k{n}") for n in range(MOST_KEYS))).keys) == MOST_KEYS


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(["kty", "kid", "alg", "use", "key_ops", "crv", "n", "e", "x", "y", "d"]), _JSON)
def test_any_value_in_a_key_is_read_or_skipped(name: str, value: Any):
    for key in (FIRST, CURVE, EDWARDS):
        found = read(key.jwk() | {name: value}, WIDE.jwk())
        assert found.keys[-1].id == "wide"


@given(st.binary(max_size=500))
def test_any_bytes_are_a_key_set_or_refused(body: bytes):
    with pytest.raises(BadKeySet):
        parse_key_set(body)
