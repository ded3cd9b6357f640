"""Seals return byte for byte, and nothing else counts as one."""

import hashlib
import re

from hypothesis import given
from hypothesis import strategies as st

from providers.neutral.seal import PREFIX, Issuer, Seal, seal, unseal
from streams.events import APIS
from tests.support.cases import case

ISSUER = Issuer("claude", "a1b2c3")
LEAVES = st.none() | st.booleans() | st.text() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
ITEMS = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=12)


@given(st.text(), st.text(), st.sampled_from(APIS), ITEMS)
def test_unsealing_returns_the_sealed_item(provider, account, api, item):
    issuer = Issuer(provider, account)
    assert unseal(seal(issuer, api, item)) == Seal(issuer, api, item)


@given(ITEMS)
def test_a_seal_is_safe_in_urls_headers_and_json(item):
    assert re.fullmatch(r"tg1\.[A-Za-z0-9_-]+", seal(ISSUER, "messages", item))


def test_members_keep_their_order():
    item = {"type": "thinking", "thinking": "b", "signature": "a"}
    restored = unseal(seal(ISSUER, "messages", item))
    assert list(restored.item) == ["type", "thinking", "signature"]


GENUINE = seal(ISSUER, "messages", {"signature": "ErUB"})


def test_text_other_than_a_seal_is_not_unsealed():
    for text in [
        "",
        "ErUBCkYIBxgCIkD",
        PREFIX,
        PREFIX + "!!!!",
        PREFIX + "A",
        PREFIX + "é",
        PREFIX + "\ud800",
        PREFIX + "AAAA",
        PREFIX + "bnVsbA",  # null
        PREFIX + "W10",  # []
        PREFIX + "WyJhIiwiYiIsMSwyXQ",  # ["a","b",1,2]
        PREFIX + "WyJhIiwiYiIsInNvYXAiLDFd",  # ["a","b","soap",1]
        PREFIX + "Ww" * 5000,
        GENUINE[:-1],
        GENUINE[:-7],
        GENUINE + "\n",
        GENUINE + "AAAA",
        " " + GENUINE,
        GENUINE.upper(),
        "tg2." + GENUINE[4:],
    ]:
        with case(text):
            assert unseal(text) is None


@given(st.text() | st.text(alphabet="ABCDEFabcdef0123456789-_=+/", max_size=60))
def test_unsealing_never_raises(text):
    for given_text in (text, PREFIX + text):
        restored = unseal(given_text)
        assert restored is None or restored.api in APIS


def test_a_deeply_nested_item_does_not_raise():
    import base64

    nested = b'["a","b","chat",' + b"[" * 100_000 + b"]" * 100_000 + b"]"
    assert unseal(PREFIX + base64.urlsafe_b64encode(nested).decode().rstrip("=")) is None


def test_the_account_in_a_seal_is_a_slow_hash_of_the_key():
    """It is a slow hash (RFC 7914), so that a weak key is not found out by trying words, and each provider's own."""
    issuer, elsewhere = Issuer.of("ollama", "password1"), Issuer.of("vllm", "password1")
    digests = {hashlib.new(name, b"password1").hexdigest() for name in ("md5", "sha1", "sha256", "sha512")}
    assert not [digest for digest in digests if issuer.account in digest]
    assert issuer.account != elsewhere.account
    assert issuer == Issuer.of("ollama", "password1")
    assert Issuer.of("ollama", None).account == ""


def test_a_seal_of_an_earlier_version_is_still_its_makers():
    issuer = Issuer.of("ollama", "password1")
    earlier = Issuer("ollama", hashlib.sha256(b"password1").hexdigest()[:8])
    others = Issuer("ollama", ""), Issuer("vllm", issuer.account)
    for account, own in ((earlier, True), (issuer, True), *((other, False) for other in others)):
        sealed = unseal(seal(account, "chat", {}))
        assert sealed is not None
        assert issuer.is_maker_of(sealed) is own
    keyless = unseal(seal(Issuer("ollama", ""), "chat", {}))
    assert keyless is not None
    assert Issuer.of("ollama", None).is_maker_of(keyless)
