"""Pages of other sites, which a person opens at the same time: they cannot exhaust the limits of the person's address.

A page can make the browser send images, frames, forms and navigations, all with ``Sec-Fetch-Site``."""

import httpx2
import pytest

from tests.support.features import has_feature
from tests.support.people_browser import BrowserPage, PeopleBrowser, own_address

NAVIGATION = {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
IMAGE = {"sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"}
FRAME = {"sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"}
FORM = {"content-type": "application/x-www-form-urlencoded", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
SITES = ("cross-site", "same-site")
MORE_THAN_THE_LIMIT = 34


def send(gateway, address, method, path, headers, site, times=MORE_THAN_THE_LIMIT):
    """Return the statuses of requests that a foreign page makes a browser send."""
    foreign = {**address, **headers, "sec-fetch-site": site}
    if method == "POST":
        foreign["origin"] = "https://evil.example"
    browser = PeopleBrowser()
    return {browser.request(method, gateway.url + path, foreign).status_code for _ in range(times)}


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("headers", [IMAGE, FRAME, NAVIGATION])
def test_a_foreign_page_cannot_prevent_a_sign_in(gateway, headers, site):
    address = own_address()
    statuses = send(gateway, address, "GET", "/oauth/callback?state=x&code=y", headers, site)
    assert statuses == ({400} if headers is NAVIGATION else {403})
    browser = PeopleBrowser(headers=address)
    gateway.provider.signed_in = "root"
    after = 200 if has_feature("live_view") else 404  # the page that follows
    assert browser.open(f"{gateway.url}/oauth/login").status == after


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("headers", [IMAGE, FRAME, NAVIGATION])
def test_a_foreign_page_cannot_use_up_the_wrong_codes(gateway, headers, site):
    address = own_address()
    statuses = send(gateway, address, "GET", "/device?user_code=BCDF-GHJK", headers, site)
    assert statuses == ({200} if headers is NAVIGATION else {403})
    assert send(gateway, address, "POST", "/device?user_code=BCDF-GHJK", FORM, site) == {403}
    browser = PeopleBrowser(headers=address)
    granted = browser.request("POST", f"{gateway.url}/oauth/device_authorization").json()
    assert browser.open(granted["verification_uri_complete"]).status == 200


@pytest.mark.parametrize("path", ["/oauth/device_authorization", "/oauth/token"])
@pytest.mark.parametrize("site", SITES)
def test_a_foreign_page_cannot_use_up_the_codes_of_programs(gateway, path, site):
    address = own_address()
    assert send(gateway, address, "POST", path, FORM, site) == {403}
    program = PeopleBrowser(headers=address)
    assert program.request("POST", f"{gateway.url}/oauth/device_authorization").status_code == 200


def test_a_link_of_another_page_shows_its_code_before_it_is_looked_up(gateway):
    browser = PeopleBrowser(headers=own_address())
    granted = browser.request("POST", f"{gateway.url}/oauth/device_authorization").json()
    gateway.provider.signed_in = "ada"
    browser.page = BrowserPage("https://chat.example/", httpx2.Response(200), [])
    page = browser.follow(granted["verification_uri_complete"])
    assert page.status == 200
    assert page.forms[0].fields == {"user_code": granted["user_code"]}
    page = browser.submit()
    assert page.forms[0].fields["user_code"] == granted["user_code"]
    assert browser.press("decision", "approve").status == 200
