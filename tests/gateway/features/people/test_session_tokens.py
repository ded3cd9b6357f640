"""Session tokens and refresh tokens: made and read with keys that follow from ``signing_key`` only."""

import base64
import hmac
import json
import os
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from gateway.features.people.records import Person
from gateway.features.people.session_tokens import RefreshSeals, SessionTokens, derive_key
from gateway.features.people.token_format import TokenRefused
from tests.support.each_row import each_row

KEY, OTHER = os.urandom(32), os.urandom(32)
URL = "https://llm.example"
ADA = Person(
    "okta:00u1", "ada@example.com", "okta", 0, email="ada@example.com", full_name="Ada", groups=("ml", "café"),
)  # fmt: skip
CLAIMS: dict[str, Any] = {"groups": ["ml", "café"], "department": "R&D", "realm_access": {"roles": ["x"]}}


def session_token(keys=(KEY,), claims=CLAIMS, person=ADA, url=URL) -> str:
    return SessionTokens(keys, url).make(person, claims, "sid-1", 1000.0, 4600.0, 900.5)


def refusal(token: str, now: float = 1001.0, keys=(KEY,)) -> str:
    with pytest.raises(TokenRefused) as refused:
        SessionTokens(keys, URL).read(token, now)
    return refused.value.reason


def test_a_library_reads_a_token_with_the_derived_key():
    payload = jwt.decode(session_token(), derive_key(KEY, "session tokens"), ["HS256"], options={"verify_exp": False})
    assert {name: payload[name] for name in ("iss", "sid", "sub", "exp", "groups")} == {
        "iss": URL, "sid": "sid-1", "sub": "okta:00u1", "exp": 4600, "groups": ["ml", "café"],
    }  # fmt: skip


@each_row("claims", [CLAIMS, {}, {"groups": ["other"]}, {"roles": ["ml", "café"], "x": None}])
def test_a_token_returns_the_claims_that_rules_read(claims):
    found = SessionTokens((KEY,), URL).read(session_token(claims=claims), 1001.0)
    assert (found.person, found.session, found.issuer, found.expiry) == ("okta:00u1", "sid-1", "okta", 4600)
    assert (found.claims, found.confirmed) == (claims, 900.5)


def test_long_groups_are_in_a_token_once():
    many = tuple(f"group-{number}" for number in range(300))
    token = session_token(claims={"groups": list(many)}, person=Person("okta:1", None, "okta", 0, groups=many))
    assert len(token) < 1.5 * len(json.dumps(many))
    assert SessionTokens((KEY,), URL).read(token, 1001.0).claims == {"groups": list(many)}


def test_a_claim_cannot_pretend_to_be_the_groups():
    claims = {"department": {"repeats": "groups"}}
    assert SessionTokens((KEY,), URL).read(session_token(claims=claims), 1001.0).claims == {}


def test_a_token_ends_at_its_expiry():
    assert refusal(session_token(), 4600.0) == "expired"
    assert SessionTokens((KEY,), URL).read(session_token(), 4599.9).session == "sid-1"


def test_the_first_key_signs_and_every_key_verifies():
    assert SessionTokens((OTHER, KEY), URL).read(session_token(), 1001.0).session == "sid-1"
    assert refusal(session_token(), keys=(OTHER,)) == "signature"
    assert SessionTokens((OTHER,), URL).is_ours(session_token()), "no issuer has to judge it"


def test_a_token_of_another_gateway_with_the_same_key_is_refused():
    assert refusal(session_token(url="https://other.example")) == "issuer"


def forged_tokens() -> list[str]:
    header, payload, signature = session_token().split(".")
    plain = base64.urlsafe_b64decode(payload + "==")
    admin = base64.urlsafe_b64encode(plain.replace(b"okta:00u1", b"okta:boss")).rstrip(b"=").decode()
    none = base64.urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode()
    with_root = hmac.digest(KEY, f"{header}.{admin}".encode(), "sha256")
    return [
        f"{header}.{admin}.{signature}",
        f"{header}.{payload}.",
        f"{header}.{payload}.{signature}=",
        f"{header}.{payload}.{signature}\udcff",
        f"{header}.{payload}",
        f"{header}..{signature}",
        f"{none}.{payload}.",
        f"{header}.{admin}.{base64.urlsafe_b64encode(with_root).rstrip(b'=').decode()}",
        jwt.encode({"iss": URL, "sub": "okta:boss", "exp": 9e9, "sid": "x"}, KEY, "HS256"),
        "",
        ".",
        "..",
    ]


@each_row("token", forged_tokens())
def test_a_changed_token_is_refused(token):
    assert refusal(token) == "signature"


def test_tokens_of_issuers_are_not_mistaken_for_session_tokens():
    tokens = SessionTokens((KEY,), URL)
    assert tokens.is_ours(session_token())
    assert not tokens.is_ours(jwt.encode({"iss": URL}, KEY, "HS256"))
    assert not tokens.is_ours("sk-trigate-abc")
    assert not tokens.is_ours("")


# Refresh tokens


def test_two_gateways_agree_on_the_next_refresh_token():
    one, other = SessionTokens((KEY,), URL), SessionTokens((KEY,), URL)
    token = one.first_refresh_token()
    assert one.next_refresh_token(token) == other.next_refresh_token(token) != token
    assert one.first_refresh_token() != token
    third = one.next_refresh_token(one.next_refresh_token(token))
    assert third in other.later_refresh_tokens(token)
    assert third in SessionTokens((OTHER, KEY), URL).later_refresh_tokens(token)
    assert third not in SessionTokens((OTHER,), URL).later_refresh_tokens(token)


# Derived keys


def test_keys_are_derived_as_the_standard_says():
    expected = HKDF(SHA256(), 32, None, b"trigate people: something").derive(KEY)  # RFC 5869
    assert derive_key(KEY, "something") == expected != derive_key(KEY, "something else")


def test_a_sealed_refresh_token_opens_only_in_its_own_row():
    sealed = RefreshSeals((KEY,)).seal("secret-é", "row")
    assert b"secret" not in sealed
    assert RefreshSeals((OTHER, KEY)).open(sealed, "row") == "secret-é"
    assert RefreshSeals((KEY,)).open(sealed, "another row") is None
    assert RefreshSeals((OTHER,)).open(sealed, "row") is None
