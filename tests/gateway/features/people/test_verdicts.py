"""Remembered verdicts: one signature check a token, and none that outlives the token or its key."""

import json
import time

import pytest

from gateway.features.people import tokens
from gateway.features.people.settings import AdmitRule, TrustedIssuer
from gateway.features.people.signing_keys import KeySet, VerificationKey, parse_key_set
from gateway.features.people.tokens import TokenChecker, TokenRefused, UnknownKey, VerdictCache, WrongSignature
from tests.support.counted_calls import calls
from tests.support.forged_tokens import ATTACKER, AUDIENCE, CURVE, FIRST, ISSUER
from tests.support.set_clock import SetClock
from tests.support.signed_tokens import SigningKey, mint


class Verdicts:
    """A cache over an issuer whose keys a test changes. ``checks`` counts signature checks."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.checks, self.clock, self.keys = 0, SetClock(), key_set(FIRST, CURVE)
        real = VerificationKey.verifies

        def count_check(key: VerificationKey, *arguments: object) -> bool:
            self.checks += 1
            return real(key, *arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(VerificationKey, "verifies", count_check)
        issuer = TrustedIssuer("okta", ISSUER, (AUDIENCE,), (AdmitRule({}),))
        self.cache = VerdictCache(TokenChecker((issuer,), lambda _: self.keys), self.clock)

    def subject(self, token: str, now: float | None = None) -> object:
        return self.cache.check(token, time.time() if now is None else now).values["sub"]


def key_set(*keys: SigningKey) -> KeySet:
    return parse_key_set(json.dumps({"keys": [key.jwk() for key in keys]}).encode())


@pytest.fixture
def watched_cache(monkeypatch: pytest.MonkeyPatch) -> Verdicts:
    return Verdicts(monkeypatch)


def token(key: SigningKey = FIRST, **claims: object) -> str:
    return mint({"iss": ISSUER, "aud": AUDIENCE, "sub": "ada", **claims}, key)


def test_a_token_is_verified_once(watched_cache: Verdicts):
    one = token()
    assert {watched_cache.subject(one) for _ in range(1000)} == {"ada"}
    assert watched_cache.checks == 1


def test_a_known_token_costs_few_calls(watched_cache: Verdicts):
    one, now = token(), time.time()
    watched_cache.cache.check(one, now)
    assert calls(lambda: watched_cache.cache.check(one, now)) < 20


def test_tokens_with_an_equal_beginning_have_verdicts_of_their_own(watched_cache: Verdicts):
    """A cache of another gateway used the first 20 characters as its key (CVE-2026-35030)."""
    same = {"pad": "x" * 300, "iss": ISSUER, "aud": AUDIENCE}
    first, second = (mint({**same, "sub": name}, FIRST) for name in ("ada", "bob"))
    assert first[:400] == second[:400]
    assert [watched_cache.subject(one) for one in (first, second, first)] == ["ada", "bob", "ada"]
    forged = first[:-4] + ("AAAA" if first[-4:] != "AAAA" else "BBBB")
    with pytest.raises(TokenRefused):
        watched_cache.subject(forged)
    assert watched_cache.subject(first) == "ada"


def test_a_verdict_ends_with_the_token(watched_cache: Verdicts):
    one = token(exp=1000, iat=900)
    assert watched_cache.subject(one, 1000.0) == "ada"
    assert watched_cache.subject(one, 1059.9) == "ada"
    with pytest.raises(TokenRefused, match="expired"):
        watched_cache.subject(one, 1060.0)
    assert watched_cache.checks == 1


def test_the_tokens_of_a_removed_key_are_refused(watched_cache: Verdicts):
    of_first, of_curve = token(), token(CURVE)
    assert watched_cache.subject(of_first) == watched_cache.subject(of_curve) == "ada"
    watched_cache.keys = key_set(CURVE)
    with pytest.raises(UnknownKey):
        watched_cache.subject(of_first)
    assert watched_cache.subject(of_curve) == "ada"
    assert watched_cache.checks == 3
    watched_cache.keys = key_set(FIRST, CURVE)
    assert watched_cache.subject(of_first) == "ada"


def test_a_wrong_signature_is_remembered_for_a_minute(watched_cache: Verdicts):
    forged = mint({"iss": ISSUER, "aud": AUDIENCE}, ATTACKER, {"kid": "first"})

    def refuse() -> None:
        with pytest.raises(WrongSignature):
            watched_cache.subject(forged)

    for _ in range(100):
        refuse()
    assert watched_cache.checks == 1
    watched_cache.clock.now += 60
    refuse()
    assert watched_cache.checks == 2
    watched_cache.keys = key_set(CURVE, FIRST)  # the keys have changed, so it may be valid now
    refuse()
    assert watched_cache.checks == 3


def test_the_number_of_verdicts_is_bounded_and_the_last_used_remain(
    watched_cache: Verdicts, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(tokens, "MOST_VALID", 10)
    made = [token(CURVE, sub=f"p{n}") for n in range(20)]
    for one in made:
        watched_cache.subject(one)
        watched_cache.subject(made[0])  # used all the time
    assert watched_cache.checks == 20
    assert watched_cache.subject(made[0]) == "p0"
    assert watched_cache.subject(made[19]) == "p19"
    assert watched_cache.checks == 20
    watched_cache.subject(made[1])
    assert watched_cache.checks == 21


def test_the_size_of_all_verdicts_is_bounded(watched_cache: Verdicts, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tokens, "MOST_BYTES", 20_000)
    made = [token(CURVE, sub=f"p{n}", pad="x" * 5000) for n in range(5)]
    for one in made:
        watched_cache.subject(one)
    watched_cache.subject(made[4])
    assert watched_cache.checks == 5
    watched_cache.subject(made[0])
    assert watched_cache.checks == 6


def test_the_number_of_remembered_forgeries_is_bounded(watched_cache: Verdicts, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tokens, "MOST_REFUSED", 3)
    forged = [mint({"iss": ISSUER, "aud": AUDIENCE, "n": n}, ATTACKER, {"kid": "first"}) for n in range(5)]
    for one in (*forged, forged[4], forged[0]):
        with pytest.raises(WrongSignature):
            watched_cache.subject(one)
    assert watched_cache.checks == 6


def test_a_forgery_displaces_no_valid_token(watched_cache: Verdicts):
    valid = token()
    watched_cache.subject(valid)
    for n in range(50):
        with pytest.raises(TokenRefused):
            watched_cache.subject(mint({"iss": ISSUER, "aud": AUDIENCE, "n": n}, ATTACKER, {"kid": "curve"}))
    before = watched_cache.checks
    watched_cache.subject(valid)
    assert watched_cache.checks == before
