"""A browser's cookie on the HTTP API: it identifies its person, and changes nothing from another site's page."""

import pytest

from gateway.features.admin.paths import LITELLM_MODELS, PREFIXES
from gateway.features.people.oauth.browser_sessions import COOKIE_PATHS
from gateway.features.people.oauth.cookies import SESSION
from tests.support.features import rows_of
from tests.support.people_browser import PeopleBrowser

OWN_FORM = {"origin": "null", "sec-fetch-site": "same-origin"}


@pytest.fixture(scope="module")
def root(shared_gateway) -> PeopleBrowser:
    """Return the browser of a signed-in admin."""
    browser: PeopleBrowser = shared_gateway.sign_in("root")[0]
    return browser


def test_the_own_page_may_change_something(gateway):
    browser, _ = gateway.sign_in("root")
    changed = browser.request("PUT", f"{gateway.url}/admin/v1/people/okta:00u9/block", OWN_FORM)
    assert changed.status_code < 300, changed.text


def test_a_wrong_key_is_not_replaced_by_the_cookie(gateway):
    browser, _ = gateway.sign_in("root")
    for headers in ({"authorization": "Bearer wrong-key"}, {"x-api-key": "wrong-key"}, {"x-trigate-key": "wrong-key"}):
        assert browser.request("GET", f"{gateway.url}/me", headers).status_code == 401


def test_an_unknown_cookie_is_no_credential(gateway):
    browser = PeopleBrowser(cookies={(gateway.url, SESSION): "x" * 43})
    assert browser.request("GET", f"{gateway.url}/me").status_code == 401


@pytest.mark.parametrize(
    ("method", "path"),
    [*(("GET", path) for path in (*PREFIXES, *LITELLM_MODELS) if path not in COOKIE_PATHS),
     ("GET", "/key/list"), ("GET", "/key/info?key=ci"), ("POST", "/key/generate"), ("POST", "/key/update"),
     ("POST", "/key/delete"), ("GET", "/managed/settings"), ("GET", "/readyz?verbose"),
     *rows_of("model_lists", ("GET", "/v1/models")), *rows_of("metrics", ("GET", "/metrics")),
     ("GET", "/v1/responses/resp_1"), ("POST", "/v1/chat/completions")],
)  # fmt: skip
def test_the_cookie_counts_on_no_path_that_programs_use(gateway, root, method, path):
    """A page that an attacker controls could otherwise reach them with the browser of an admin (RFC 6265, section
    8.2)."""
    own = {"origin": gateway.url, "sec-fetch-site": "same-origin"}
    json = {"key_alias": "evil"} if method == "POST" else None
    assert root.request(method, gateway.url + path, own, json=json).status_code == 401
