"""The pages of people and of their sign-in in Chromium: wide and narrow, light and dark, enlarged, by keyboard, and
without JavaScript."""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import TypeAlias

import pytest

from gateway.features.people.console.table import PAGES
from gateway.features.people.oauth.cookies import SESSION
from tests.support.browser import Page, browsing, needs_chromium
from tests.support.features import needs_feature
from tests.support.people_browser import PeopleBrowser
from tests.support.people_gateway import DEVICE_GRANT, PeopleGateway, people_gateway
from tests.support.readable_page import CONTRASTS

pytestmark = pytest.mark.slow

Looks: TypeAlias = Sequence[tuple[str, int]]
LOOKS: Looks = [("light", 1280), ("dark", 320)]
"""The last width is that of a page enlarged to 400 % (https://www.w3.org/TR/WCAG22/#reflow)."""
EVERY_LOOK: Looks = [*product(("light", "dark"), (1280, 400, 320))]

GROUPS = [
    {
        "name": "research",
        "budgets": ["3000 usd/month"],
        "raise_to": ["5000 usd/month"],
        "ratelimits": {"tokens": "2M/m"},
    }
]
LONG = "a-client-whose-name-has-as-many-characters-as-a-name-may-have-" + "x" * 60
OBJECTS = (f"/ui/keys?name={LONG}", "/ui/keys?name=ci", "/ui/people?name=okta:00u1", "/ui/groups?holder=okta:00u1")


@pytest.fixture(scope="module")
def gateway(tmp_path_factory) -> Iterator[PeopleGateway]:
    with people_gateway(tmp_path_factory.mktemp("console"), stored_keys=True, client_groups=GROUPS) as running:
        running.provider.people["ada"]["email"] = f"ada-{'l' * 60}@example.com"
        own, (admin, _) = {"sec-fetch-site": "same-origin"}, running.sign_in("root")
        browser, _ = running.sign_in("ada")
        browser.request("POST", f"{running.url}/ui/keys", own, {"action": "make_own", "name": "laptop"})
        made = {
            "action": "create_key",
            "name": LONG,
            "group": "research",
            "budgets": "1 usd/day",
            "until": "2027-05-05",
        }
        assert admin.request("POST", f"{running.url}/ui/keys", own, made).status_code == 200
        yield running


def sign_in(page: Page, gateway: PeopleGateway, user: str) -> PeopleBrowser:
    browser, _ = gateway.sign_in(user)
    session = browser.cookie(SESSION)
    page.send("Network.setCookie", name=SESSION, value=session, url=gateway.url, secure=True, path="/", httpOnly=True)
    return browser


def tab_to(page: Page, text: str) -> None:
    """Press the tabulator until the element with ``text`` or with that id has the focus, which must be visible."""
    for _ in range(60):
        for kind in ("keyDown", "keyUp"):
            page.send("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)
        assert page.value(HAS_FOCUS_MARK), page.value("document.activeElement.outerHTML")
        if page.value(f"[document.activeElement.innerText, document.activeElement.id].includes({text!r})"):
            return
    pytest.fail(f"the keyboard does not reach {text}")


SMALL_TARGETS = """
[...document.querySelectorAll('button, input:not([type=hidden]), select, summary, nav a')]
.filter(one => one.checkVisibility() && one.getBoundingClientRect().height < 24).map(one => one.outerHTML)
"""
LOADED = "document.readyState === 'complete'"
"""The style sheet is loaded. After a form was sent, the heading comes first."""
UNLABELLED = """
[...document.querySelectorAll('input:not([type=hidden]), select')].filter(one => !one.labels.length)
.map(one => one.name)
"""
HAS_FOCUS_MARK = """
document.activeElement === document.body || getComputedStyle(document.activeElement).outlineStyle !== 'none'
"""
DOUBLED_IDS = """
[...document.querySelectorAll('[id]')].map(one => one.id).filter((id, i, all) => all.indexOf(id) !== i)
"""
LOST_HINTS = """
[...document.querySelectorAll('[aria-describedby]')].filter(one => !document.getElementById(
  one.getAttribute('aria-describedby'))).length
"""
BARE_TABLES = """
[...document.querySelectorAll('table')].filter(one => !one.caption || [...one.tBodies[0].rows].some(row =>
  !row.querySelector('th[scope=row]')) || [...one.tHead.rows[0].cells].some(cell => cell.scope !== 'col')).length
"""


def assert_accessible(page: Page, looks: Looks = LOOKS) -> None:
    """Check the parts of WCAG 2.2 AA that a program can check, in several looks, with everything opened."""
    page.until(LOADED)
    page.value("document.querySelectorAll('details').forEach(one => one.open = true)")
    for scheme, width in looks:
        page.look(scheme, width, 900)
        assert page.value("document.documentElement.scrollWidth") <= width, (scheme, width)
        assert page.value(CONTRASTS) == [], (scheme, width)
        assert page.value(SMALL_TARGETS) == [], (scheme, width)
    assert page.value(UNLABELLED) == []
    assert page.value(DOUBLED_IDS) == []
    assert page.value(LOST_HINTS) == 0
    assert page.value(BARE_TABLES) == 0
    assert page.value("document.querySelectorAll('h1').length") == 1
    assert page.value("!document.querySelector('nav') || !!document.querySelector('nav [aria-current=page], .error')")
    assert page.value("document.scripts.length") == 0
    assert page.value("document.documentElement.lang") == "en"


@pytest.mark.soak
@needs_chromium
@pytest.mark.parametrize("user", ["ada", "lin", "aud", "root"])
def test_every_page_is_readable_in_every_look(gateway, page, user):
    sign_in(page, gateway, user)
    for path in (*(one.path for one in PAGES), *OBJECTS):
        page.open(gateway.url + path)
        assert_accessible(page, EVERY_LOOK)
    assert not [text for text in page.complaints if "Content Security Policy" in text]


@needs_chromium
def test_a_key_is_made_and_revoked_by_keyboard(gateway, page):
    sign_in(page, gateway, "root")
    page.open(f"{gateway.url}/ui/keys")
    tab_to(page, "Skip to the content")
    page.press("Enter")
    tab_to(page, "New key")
    page.press("Enter")
    tab_to(page, "new-name")
    page.send("Input.insertText", text="by keyboard")
    tab_to(page, "create_key-budgets")
    page.send("Input.insertText", text="5 usd/day")
    tab_to(page, "Create key")
    page.press("Enter")
    page.until("document.querySelector('h1')?.innerText === 'New key'")
    assert page.text(".key code").startswith("sk-trigate-")
    assert_key_page(page)
    tab_to(page, "I have copied it")
    page.press("Enter")
    page.until("document.querySelector('h1')?.innerText === 'Keys'")
    assert "sk-trigate-" not in page.text("body")
    tab_to(page, "by keyboard")
    page.press("Enter")
    page.until("document.querySelector('h2')?.innerText === 'by keyboard'")
    tab_to(page, "Revoke")
    page.press("Enter")
    tab_to(page, "Revoke by keyboard")
    page.press("Enter")
    page.until("document.querySelector('[role=status]')?.innerText.includes('was revoked')")


def assert_key_page(page: Page) -> None:
    page.until(LOADED)
    for scheme, width in LOOKS:
        page.look(scheme, width, 900)
        assert page.value("document.documentElement.scrollWidth") <= width, (scheme, width)
        assert page.value(CONTRASTS) == []


@needs_chromium
def test_a_rejected_form_is_announced_and_keeps_its_fields(gateway, page):
    sign_in(page, gateway, "lin")
    page.open(f"{gateway.url}/ui/groups?holder=okta:00u1")
    tab_to(page, "raise-budgets")
    page.send("Input.insertText", text="4000 usd/day")
    page.value("document.querySelector('#raise-until').value = '2099-01-01'")
    tab_to(page, "Raise")
    page.press("Enter")
    page.until("document.querySelector('[role=alert]')")
    assert page.value("document.querySelector('#raise-budgets').value") == "4000 usd/day"
    assert_accessible(page)


@needs_feature("live_view")
@pytest.mark.soak
@needs_chromium
def test_the_live_view_leads_to_the_pages(gateway):
    with browsing() as page:
        sign_in(page, gateway, "root")
        page.open(f"{gateway.url}/ui")
        page.until("document.querySelector('#state').innerText !== 'connecting…'")
        for width in (1280, 400):
            page.look("light", width, 900)
            assert page.value("document.documentElement.scrollWidth") <= width
        page.click("nav a[href='#models']")
        page.until("!document.querySelector('#view-models').hidden")
        page.click("nav a[href='/ui/usage']")
        page.until("document.querySelector('h1')?.innerText === 'Usage'")
        assert page.complaints == []


# Sign-in


def sign_in_at_issuer(page: Page, user: str) -> None:
    page.until("document.querySelector('input[name=user]')")
    page.value(f"document.querySelector('input[name=user]').value = '{user}'")
    page.click("button")


@pytest.mark.soak
@needs_chromium
def test_a_program_is_signed_in_by_keyboard(gateway, page):
    before = len(gateway.provider.seen)
    granted = PeopleBrowser().request("POST", f"{gateway.url}/oauth/device_authorization").json()
    page.open(granted["verification_uri_complete"])
    assert_accessible(page)
    assert page.value("document.querySelector('input').value") == granted["user_code"]
    tab_to(page, "Continue")
    page.press("Enter")
    sign_in_at_issuer(page, "ada")
    page.until("document.querySelector('input[value=approve]')")
    assert_accessible(page)
    assert granted["user_code"] in page.text("main")
    tab_to(page, "Approve")
    page.press("Enter")
    page.until("document.querySelector('h1')?.innerText === 'Approved'")
    form = {"grant_type": DEVICE_GRANT, "device_code": granted["device_code"]}
    tokens = PeopleBrowser().request("POST", f"{gateway.url}/oauth/token", data=form)
    assert tokens.status_code == 200
    assert page.complaints == []
    asked = [one for one in gateway.provider.seen[before:] if one.path == "/authorize" and one.method == "GET"]
    assert asked
    assert [one.headers["referer"] for one in asked if "referer" in one.headers] == []


@needs_feature("live_view")
@pytest.mark.soak
@needs_chromium
def test_a_person_signs_in_to_the_live_view_and_out(gateway, page):
    page.send("Emulation.setScriptExecutionDisabled", value=False)
    page.open(f"{gateway.url}/ui")
    sign_in_at_issuer(page, "root")
    page.until("location.pathname === '/ui' && document.querySelector('#state')?.innerText.includes('live')")
    page.open(f"{gateway.url}/oauth/logout")
    assert_accessible(page)
    assert "root@example.com" in page.text("main")
    tab_to(page, "Sign out")
    page.press("Enter")
    page.until("document.querySelector('h1')?.innerText === 'Signed out'")
    page.open(f"{gateway.url}/ui")
    page.until("document.querySelector('input[name=user]')")
    assert page.complaints == []


@needs_feature("live_view")
@needs_chromium
def test_the_live_view_of_an_ended_session_must_be_reloaded(gateway, page):
    """Browsers do not reconnect after a refusal."""
    page.send("Emulation.setScriptExecutionDisabled", value=False)
    sign_in(page, gateway, "aud")
    page.open(f"{gateway.url}/ui")
    page.until("document.querySelector('#state').innerText === 'live'")
    own, (admin, _) = {"sec-fetch-site": "same-origin"}, gateway.sign_in("root")
    ended = admin.request("DELETE", f"{gateway.url}/admin/v1/people/okta:00u4/sessions", own)
    assert ended.status_code == 204
    page.until("document.querySelector('#state').innerText === 'disconnected: reload this page'")
    page.open(f"{gateway.url}/ui")
    page.until("document.querySelector('input[name=user]')")


@pytest.mark.soak
@needs_chromium
def test_a_wrong_code_and_a_missing_rule_are_explained(gateway, page):
    page.open(f"{gateway.url}/device?user_code=BCDF-GHJK")
    assert_accessible(page)
    assert "wrong or has expired" in page.text("[role=alert]")
    page.open(f"{gateway.url}/oauth/login")
    sign_in_at_issuer(page, "eve")
    page.until("document.querySelector('h1')?.innerText === 'No access'")
    assert_accessible(page)
    assert "No rule of the issuer okta" in page.text("[role=alert]")
