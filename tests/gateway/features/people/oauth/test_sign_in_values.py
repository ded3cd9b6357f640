"""The values of a sign-in: the path to return to, the state, cookies and forms."""

import base64
import hashlib

import pytest

from gateway.features.people.oauth.browser import safe_return_path
from gateway.features.people.oauth.cookies import read_cookie
from gateway.features.people.oauth.sign_in_states import LIFETIME, SignInStates, StateRefused
from tests.support.each_row import each_row

KEY, OTHER_KEY = b"k" * 32, b"o" * 32
NOW = 1_800_000_000.0
BROWSER = "b" * 43

OWN = ["/ui", "/ui/", "/ui/usage?month=2026-10&by=group", "/device?user_code=WDJB-MJHT", "/me/keys", "/admin/v1/keys"]
FOREIGN = [
    "//evil.example", "/\\evil.example", "https://evil.example", "https:evil.example", "/%09/evil.example", "",
    "/\t/evil.example", "\\\\evil.example", "/ui\\..\\evil", "javascript:alert(1)", "data:text/html,x", "/ui\r\nx: y",
    "/ui/\n", "/uievil", "/evil", "/ui" + "/a" * 300, "ui", " /ui", "/ui#fragment", "/ui/<script>", "/oauth/logout",
    "/ui/é", "///ui", "/@evil.example",
]  # fmt: skip


@each_row("path", OWN)
def test_own_paths_are_kept(path):
    assert safe_return_path(path) == path


@each_row("path", FOREIGN)
def test_other_return_addresses_lead_to_the_first_page(path):
    """An open redirect would lend the gateway's name to another site (CWE-601)."""
    assert safe_return_path(path) == "/ui"


def test_the_callback_reads_what_the_start_sealed():
    states = SignInStates((KEY,))
    state, begun = states.begin(BROWSER, "okta", "/ui/usage", NOW)
    assert states.open(state, ["c" * 43, BROWSER], NOW + 599) == begun
    assert (begun.issuer, begun.path) == ("okta", "/ui/usage")
    digest = hashlib.sha256(begun.verifier.encode()).digest()
    assert begun.challenge == base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    assert len(begun.verifier) == 43
    assert begun.nonce not in state
    assert b"okta" not in base64.urlsafe_b64decode(state + "==="), "the state is readable"


def test_a_state_belongs_to_one_browser_for_ten_minutes():
    states = SignInStates((KEY,))
    state, _ = states.begin(BROWSER, "okta", "/ui", NOW)
    for browsers, at in (([], NOW), (["c" * 43], NOW), ([BROWSER], NOW + LIFETIME + 1), ([BROWSER], NOW - 120)):
        with pytest.raises(StateRefused):
            states.open(state, browsers, at)


def test_a_changed_state_is_refused():
    states = SignInStates((KEY,))
    state, _ = states.begin(BROWSER, "okta", "/ui", NOW)
    last = "A" if state[-1] != "A" else "B"
    first = "A" if state[0] != "A" else "B"
    changed = [state[:-1] + last, state + "=", state + "A", first + state[1:], state[:20], "", "é", "a" * 5000, "AA"]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    changed += [state[:-1] + letter for letter in alphabet if letter != state[-1]]
    for one in changed:
        with pytest.raises(StateRefused):
            states.open(one, [BROWSER], NOW)


def test_an_old_signing_key_still_reads():
    state, begun = SignInStates((OTHER_KEY,)).begin(BROWSER, "okta", "/ui", NOW)
    assert SignInStates((KEY, OTHER_KEY)).open(state, [BROWSER], NOW) == begun
    with pytest.raises(StateRefused):
        SignInStates((KEY,)).open(state, [BROWSER], NOW)


@each_row(
    ("cookie", "found"),
    [
        (f"__Host-trigate={BROWSER}", BROWSER),
        (f"a=b; __Host-trigate={BROWSER}; c=d", BROWSER),
        (f"__Host-trigate={BROWSER}; __Host-trigate={BROWSER}", None),
        (f"__Host-trigatex={BROWSER}", None),
        (f"__host-trigate={BROWSER}", None),
        ("__Host-trigate=short", None),
        (f"__Host-trigate={BROWSER}x", None),
        (f'__Host-trigate="{BROWSER}"', None),
        ("", None),
    ],
)
def test_only_one_well_formed_cookie_counts(cookie, found):
    assert read_cookie((("cookie", cookie),), "__Host-trigate", "") == found
