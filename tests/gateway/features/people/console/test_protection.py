"""The pages against hostile names, other sites, and bodies that no page sends.

Names of keys and labels of people come from strangers; in other gateways they ran as scripts of administrators
(https://owasp.org/www-community/attacks/xss/)."""

import base64
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Final
from urllib.parse import quote, urlencode

import pytest

from gateway.features.people.console.table import ACTIONS, PAGES
from tests.support.each_row import each_row
from tests.support.endpoint_provider import before, json_answer
from tests.support.harness import eventually
from tests.support.people_browser import PeopleBrowser
from tests.support.people_gateway import PeopleGateway, people_gateway

HOSTILE: Final = "<img src=x onerror=alert(1)>\"'&"
TAGS: Final = frozenset((
    "html", "head", "meta", "title", "link", "body", "header", "p", "nav", "a", "main", "h1", "h2", "section", "dl",
    "dt", "dd", "bdi", "time", "span", "table", "caption", "thead", "tbody", "tfoot", "tr", "th", "td", "div", "form",
    "input", "select", "option", "label", "button", "details", "summary", "strong", "pre", "code", "meter",
))  # fmt: skip
ADMIN_KEY: Final = "admin-key-0123456789abcdef"
FOREIGN: Final = (
    {"origin": "https://evil.example", "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"},
    {"sec-fetch-site": "none"},
    {},
)


class Elements(HTMLParser):
    """The tags and attributes of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.handlers: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.handlers += [name for name, _ in attributes if name.startswith("on") or name == "style"]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PeopleGateway]:
    groups = [{"name": "research"}, {"name": f"g {HOSTILE}", "models": ["gpt-4o"]}]
    keys = [{"name": "ci", "key": "key-of-ci-0123456789abcdef"}, {"name": "boss", "key": ADMIN_KEY, "role": "admin"}]
    more = {"stored_keys": True, "client_groups": groups, "client_keys": keys, "cors": ["https://evil.example"]}
    with people_gateway(tmp_path_factory.mktemp("console"), **more) as running:
        running.provider.people["mallory"] = {"sub": f"00u9{HOSTILE}", "email": HOSTILE, "groups": ["ml"]}
        yield running


@pytest.fixture(scope="module")
def admin(gateway: PeopleGateway) -> PeopleBrowser:
    browser, _ = gateway.sign_in("root")
    return browser


def send(browser: PeopleBrowser, gateway: PeopleGateway, path: str, **fields: str):
    return browser.request("POST", gateway.url + path, {"sec-fetch-site": "same-origin"}, fields)


def test_names_and_labels_are_text_on_every_page(gateway: PeopleGateway, admin: PeopleBrowser):
    mallory, page = gateway.sign_in("mallory", "/ui/me")
    assert page.status == 200
    person = f"okta:00u9{HOSTILE}"
    made = send(
        admin, gateway, "/ui/keys", action="create_key", name=HOSTILE, group=f"g {HOSTILE}", budgets="1 usd/day"
    )
    assert made.status_code == 200, made.text
    send(admin, gateway, "/ui/people", action="block", name=person, reason=HOSTILE)
    send(admin, gateway, "/ui/people", action="unblock", name=person)
    mallory, _ = gateway.sign_in("mallory", "/ui/me")
    send(mallory, gateway, "/ui/keys", action="make_own", name=HOSTILE)
    shown = {
        "/ui/me": mallory, "/ui/keys": mallory, "/ui/usage": mallory,
        **{page.path: admin for page in PAGES[1:]},
        f"/ui/keys?{urlencode({'name': HOSTILE})}": admin,
        f"/ui/people?{urlencode({'name': person})}": admin,
        f"/ui/groups?{urlencode({'holder': HOSTILE})}": admin,
        f"/ui/keys?{urlencode({'done': 'revoke_key', 'of': HOSTILE})}": admin,
        f"/ui/usage?{urlencode({'by': HOSTILE})}": admin,
        f"/ui/usage?{urlencode({'key': HOSTILE, 'month': '2026-11'})}": admin,
        f"/ui/usage?{urlencode({'month': HOSTILE})}": admin,
    }  # fmt: skip
    for path, browser in shown.items():
        response = browser.request("GET", gateway.url + path)
        assert response.status_code in (200, 400), (path, response.text)
        found = Elements(response.text)
        assert found.tags <= TAGS, (path, found.tags - TAGS)
        assert found.handlers == [], path
    for action in ACTIONS:
        fields = {"action": action.name, "name": HOSTILE, "version": HOSTILE, "budgets": HOSTILE, "until": HOSTILE}
        found = Elements(send(admin, gateway, action.path, **fields).text)
        assert (found.tags - TAGS, found.handlers) == (set(), []), action.name


@each_row("headers", FOREIGN)
def test_a_form_of_another_site_changes_nothing(gateway: PeopleGateway, admin: PeopleBrowser, headers):
    password = f"Basic {base64.b64encode(f'any:{ADMIN_KEY}'.encode()).decode()}"
    for browser in (admin, PeopleBrowser(headers={"authorization": password})):
        for action in ACTIONS:
            data = {"action": action.name, "name": "forged", "group": "research", "until": "2027-05-05"}
            response = browser.request("POST", gateway.url + action.path, headers, data)
            assert response.status_code == 403, (action.name, response.text)
    rows = admin.request("GET", f"{gateway.url}/admin/v1/keys").json()["data"]
    assert "forged" not in [row["name"] for row in rows]


def test_the_gateways_own_origin_may_change(gateway: PeopleGateway, admin: PeopleBrowser):
    for number, headers in enumerate(({"origin": gateway.url}, {"origin": "null", "sec-fetch-site": "same-origin"})):
        data = {"action": "create_key", "name": f"own-{number}", "group": "research"}
        assert admin.request("POST", f"{gateway.url}/ui/keys", headers, data).status_code == 200


def test_a_link_of_another_site_shows_no_false_message(gateway: PeopleGateway, admin: PeopleBrowser):
    path = f"{gateway.url}/ui/people?done=unblock&of=okta:00u1"
    own = admin.request("GET", path, {"sec-fetch-site": "same-origin", "sec-fetch-mode": "navigate"})
    assert "no longer blocked" in own.text
    linked = admin.request("GET", path, {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"})
    assert linked.status_code == 200
    assert "no longer blocked" not in linked.text


def test_a_form_without_a_session_gets_a_link_because_it_may_not_lead_to_an_issuer(gateway: PeopleGateway):
    browser, path = PeopleBrowser(), f"{gateway.url}/ui/usage?by=model"
    linked = browser.request("GET", path, {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"})
    assert linked.status_code == 302
    sent = browser.request("GET", path, {"sec-fetch-site": "same-origin", "sec-fetch-mode": "navigate"})
    assert sent.status_code == 401
    assert "your session has ended" in sent.text.lower()
    assert 'href="/ui/usage?by=model"' in sent.text


@each_row("path", [page.path for page in PAGES] + ["/ui/pages.css"])
def test_pages_are_private_and_strict(gateway: PeopleGateway, admin: PeopleBrowser, path):
    response = admin.request("GET", gateway.url + path)
    assert response.status_code == 200
    policy = response.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "script-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert ("form-action 'self'" in policy) == (path != "/ui/pages.css")
    assert "unsafe" not in policy
    for name, value in (
        ("cache-control", "no-store"), ("x-content-type-options", "nosniff"), ("referrer-policy", "no-referrer"),
        ("x-frame-options", "DENY"), ("cross-origin-resource-policy", "same-origin"),
    ):  # fmt: skip
        assert response.headers[name] == value
    assert "access-control-allow-origin" not in response.headers
    assert "<script" not in response.text
    assert "http://" not in response.text.replace(gateway.url, "")
    assert "https://" not in response.text


@each_row(
    ("content", "kind", "status"),
    [
        (b"action=block&name=" + b"x" * 40_000, "application/x-www-form-urlencoded", 413),
        (b'{"action": "block"}', "application/json", 400),
        (b"action=block&action=unblock&name=x", "application/x-www-form-urlencoded", 400),
        (b"action=%ff&name=x", "application/x-www-form-urlencoded", 400),
        (b"action=other&name=x", "application/x-www-form-urlencoded", 400),
        (b"name=x", "application/x-www-form-urlencoded", 400),
        (b"", "application/x-www-form-urlencoded", 400),
        (b"action=block", "application/x-www-form-urlencoded", 400),
    ],
)
def test_a_body_that_no_page_sends_is_refused(gateway: PeopleGateway, admin: PeopleBrowser, content, kind, status):
    headers = {"sec-fetch-site": "same-origin", "content-type": kind}
    response = admin.request("POST", f"{gateway.url}/ui/people", headers, content=content)
    assert (response.status_code, response.headers["content-type"]) == (status, "text/html; charset=utf-8")


@each_row("query", ["a=1&a=2", "name=%ff", "name=a%2Fb", "name=..%2F..%2Fme", "after=%00", "limit=9"], every=3)
def test_a_strange_query_is_a_page(gateway: PeopleGateway, admin: PeopleBrowser, query):
    for page in PAGES:
        response = admin.request("GET", f"{gateway.url}{page.path}?{query}")
        assert response.status_code in (200, 400, 404), (page.path, response.text)
        assert Elements(response.text).tags <= TAGS


def test_a_name_of_another_path_reaches_no_other_request(gateway: PeopleGateway, admin: PeopleBrowser):
    send(admin, gateway, "/ui/keys", action="create_key", name="prey", group="research")
    for name in ("prey/rotate", "../keys/prey", "prey?x=", "prey#", "prey%2Frotate", "../../../me"):
        response = send(admin, gateway, "/ui/keys", action="revoke_key", name=name, version="*")
        assert response.status_code in (404, 400), (name, response.text)
    assert admin.request("GET", f"{gateway.url}/admin/v1/keys/prey").json()["state"] == "good"
    slash = send(admin, gateway, "/ui/keys", action="create_key", name="team/ci", group="research")
    assert slash.status_code == 200
    assert "team/ci" in admin.request("GET", f"{gateway.url}/ui/keys?name={quote('team/ci', safe='')}").text


def test_forms_share_the_rate_of_the_api(tmp_path):
    with people_gateway(tmp_path, stored_keys=True) as running:
        browser, _ = running.sign_in("root")
        fields = {"action": "block", "name": "okta:00u1"}
        sent = [send(browser, running, "/ui/people", **fields)]
        while sent[-1].status_code == 303 and len(sent) < 300:  # one more is possible for each second that passes
            sent.append(send(browser, running, "/ui/people", **fields))
        refused = sent[-1]
        assert len(sent) > 60
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) > 0
        assert "more than 60 changes a minute" in refused.text.lower()
        own = {"sec-fetch-site": "same-origin"}
        api = browser.request("PUT", f"{running.url}/admin/v1/people/okta:00u1/block", own, json={})
        assert api.status_code == 429


def test_a_page_explains_that_the_issuer_is_unavailable(tmp_path):
    with people_gateway(tmp_path, sessions={"token": "50ms"}) as running:
        browser, _ = running.sign_in("ada")
        running.provider.go_down()
        page = f"{running.url}/ui/me"
        eventually(lambda: browser.request("GET", page).status_code == 503, what="a due confirmation")
        failed = browser.request("GET", page)
        assert 'role="alert"' in failed.text
        assert "issuer okta is unavailable" in failed.text
        assert "retry-after" in failed.headers
        assert failed.headers["content-security-policy"]


async def test_without_clients_the_error_for_a_page_says_how_to_get_it():
    async with before(lambda asked: json_answer({})) as (served, _):
        page, usage = [(await served.get(path)).json()["error"]["message"] for path in ("/ui/keys", "/ui/usage")]
    assert "it is a page for clients with keys: set client_keys" in page
    assert "without keys, set `state_storage`" in usage
