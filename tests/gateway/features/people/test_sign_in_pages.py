"""The sign-in pages in Chromium: every step by keyboard, wide and narrow, light and dark, without JavaScript."""

import pytest

from tests.support.browser import needs_chromium
from tests.support.features import needs_feature
from tests.support.people_browser import PeopleBrowser
from tests.support.people_gateway import people_gateway
from tests.support.readable_page import CONTRASTS

pytestmark = pytest.mark.soak

DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"
LOOKS = [("light", 1280), ("dark", 1280), ("light", 400), ("dark", 400)]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    with people_gateway(tmp_path_factory.mktemp("people")) as running:
        yield running


def authorize(gateway):
    return PeopleBrowser().request("POST", f"{gateway.url}/oauth/device_authorization").json()


def sign_in_at_issuer(page, user):
    page.until("document.querySelector('input[name=user]')")
    page.value(f"document.querySelector('input[name=user]').value = '{user}'")
    page.click("button")


def focused_text(page) -> str:
    """Return the text of the button or link that has the focus."""
    return str(page.value("document.activeElement.matches('a, button') ? document.activeElement.innerText : ''"))


def tab_to(page, text):
    """Press the tabulator until the element with ``text`` has the focus."""
    for _ in range(20):
        for kind in ("keyDown", "keyUp"):
            page.send("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)
        if text in focused_text(page):
            return
    pytest.fail(f"the keyboard does not reach {text}")


def assert_readable(page):
    """Check that nothing is cut, and that each field has a label."""
    for scheme, width in LOOKS:
        page.look(scheme, width, 900)
        assert page.value("document.documentElement.scrollWidth <= innerWidth"), (scheme, width)
    unlabelled = "[...document.querySelectorAll('input:not([type=hidden])')].filter(one => !one.labels.length).length"
    assert page.value(unlabelled) == 0
    assert page.value("document.querySelectorAll('h1').length") == 1
    assert page.value("document.documentElement.lang") == "en"
    assert page.value("document.scripts.length") == 0


@needs_chromium
def test_a_program_is_signed_in_by_keyboard(gateway, page):
    granted = authorize(gateway)
    page.open(granted["verification_uri_complete"])
    assert_readable(page)
    assert page.value(CONTRASTS) == []
    assert page.value("document.querySelector('input').value") == granted["user_code"]
    tab_to(page, "Continue")
    page.press("Enter")
    sign_in_at_issuer(page, "ada")
    page.until("document.querySelector('input[value=approve]')")
    assert_readable(page)
    assert page.value(CONTRASTS) == []
    assert granted["user_code"] in page.text("main")
    tab_to(page, "Approve")
    page.press("Enter")
    page.until("document.querySelector('h1')?.innerText === 'Approved'")
    form = {"grant_type": DEVICE_CODE, "device_code": granted["device_code"]}
    tokens = PeopleBrowser().request("POST", f"{gateway.url}/oauth/token", data=form)
    assert tokens.status_code == 200
    assert page.complaints == []
    asked = [one for one in gateway.provider.seen if one.path == "/authorize" and one.method == "GET"]
    assert asked
    assert [one.headers["referer"] for one in asked if "referer" in one.headers] == []


@needs_feature("live_view")
@needs_chromium
def test_a_person_signs_in_to_the_live_view_and_out(gateway, page):
    page.send("Emulation.setScriptExecutionDisabled", value=False)
    page.open(f"{gateway.url}/ui")
    sign_in_at_issuer(page, "root")
    page.until("location.pathname === '/ui' && document.querySelector('#state')?.innerText.includes('live')")
    page.open(f"{gateway.url}/oauth/logout")
    assert_readable(page)
    assert "root@example.com" in page.text("main")
    tab_to(page, "Sign out")
    page.press("Enter")
    page.until("document.querySelector('h1')?.innerText === 'Signed out'")
    page.open(f"{gateway.url}/ui")
    page.until("document.querySelector('input[name=user]')")
    assert page.complaints == []


@needs_chromium
def test_a_wrong_code_and_a_missing_rule_are_explained(gateway, page):
    page.open(f"{gateway.url}/device?user_code=BCDF-GHJK")
    assert_readable(page)
    assert page.value(CONTRASTS) == []
    assert "wrong or has expired" in page.text("[role=alert]")
    page.open(f"{gateway.url}/oauth/login")
    sign_in_at_issuer(page, "eve")
    page.until("document.querySelector('h1')?.innerText === 'No access'")
    assert_readable(page)
    assert page.value(CONTRASTS) == []
    assert "No rule of the issuer okta" in page.text("[role=alert]")
