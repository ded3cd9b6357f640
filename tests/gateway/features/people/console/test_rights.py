"""Every role on every page, verb and form: pages permit exactly the actions in the table of the HTTP API."""

import base64
from collections.abc import Iterator, Mapping
from typing import Any, Final

import attrs
import httpx2
import pytest

from gateway.features.admin.table import AdminRoute
from gateway.features.page_paths import WITH_KEY
from gateway.features.people.console.api_calls import route_of
from gateway.features.people.console.table import ACTIONS, PAGES, ConsolePage, FormAction
from tests.support.each_row import each_row
from tests.support.people_browser import PeopleBrowser
from tests.support.people_gateway import PeopleGateway, people_gateway

ROLES: Final[Mapping[str, str]] = {
    "ada": "user", "lin": "lead", "aud": "auditor", "root": "admin",
    "key-user": "user", "key-lead": "lead", "key-auditor": "auditor", "key-admin": "admin", "operator": "auditor",
}  # fmt: skip
"""The role of each caller: people by session; keys of the file and the ``ui_key`` as a browser's password."""

PERSONS: Final = ("ada", "lin", "aud", "root")
NAMES_IN_REFUSALS: Final = ("needs the role", "only people have keys", "the ui_key has no usage")
OTHER_VERBS: Final = ("PUT", "PATCH", "DELETE", "OPTIONS")


@attrs.frozen
class Callers:
    """A gateway, and the browsers of its callers."""

    gateway: PeopleGateway
    browsers: Mapping[str, PeopleBrowser]

    def send(self, caller: str, method: str, path: str, data: Mapping[str, str] | None = None) -> httpx2.Response:
        headers = {"sec-fetch-site": "same-origin", "sec-fetch-mode": "navigate"}
        return self.browsers[caller].request(method, self.gateway.url + path, headers, data)


def password(key: str) -> dict[str, str]:
    """Return the header in which browsers send a key."""
    return {"authorization": f"Basic {base64.b64encode(f'any:{key}'.encode()).decode()}"}


@pytest.fixture(scope="module")
def callers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callers]:
    keys: list[dict[str, Any]] = [
        {"name": name, "key": f"{name}-0123456789abcdef", "group": "research", "role": role}
        for name, role in ROLES.items()
        if name.startswith("key-")
    ]
    more = {"stored_keys": True, "client_keys": keys, "ui_key": "operator-0123456789abcdef"}
    with people_gateway(tmp_path_factory.mktemp("console"), **more) as gateway:
        browsers = {name: gateway.sign_in(name)[0] for name in PERSONS}
        for name in ROLES.keys() - browsers.keys():
            browsers[name] = PeopleBrowser(headers=password(f"{name}-0123456789abcdef"))
        yield Callers(gateway, browsers)


@pytest.fixture(scope="module")
def navigation(callers: Callers) -> dict[str, str]:
    """Return the navigation of each caller."""
    pages = {caller: callers.send(caller, "GET", "/ui/me").text for caller in ROLES}
    return {caller: text.partition("<nav")[2].partition("</nav>")[0] for caller, text in pages.items()}


def permits(route: AdminRoute, caller: str) -> bool:
    return ROLES[caller] in route.roles and (caller in PERSONS or not route.of_person)


@each_row("page", PAGES)
def test_a_page_opens_for_the_roles_that_may_read_a_part_of_it(
    callers: Callers, navigation: Mapping[str, str], page: ConsolePage
):
    """The navigation has the pages that open, and a page only forms that its reader may send."""
    for caller in ROLES:
        expected = any(permits(route_of("GET", part.source), caller) for part in page.sections)
        response = callers.send(caller, "GET", page.path)
        operator_without_usage = caller == "operator" and page.path == "/ui/me"
        assert response.status_code == (200 if expected else 403), (caller, response.text)
        assert ("needs the role" in response.text) != expected or operator_without_usage
        head = callers.send(caller, "HEAD", page.path)
        assert (head.status_code, head.content) == (response.status_code, b"")
        assert (f'href="{page.path}"' in navigation[caller]) == expected, caller
        for action in ACTIONS:
            if f'name="action" value="{action.name}"' in response.text:
                assert permits(route_of(action.verb, action.target), caller), (caller, action.name)


@each_row("action", ACTIONS, every=2)
def test_a_form_works_for_the_roles_of_its_request(callers: Callers, action: FormAction):
    route = route_of(action.verb, action.target)
    for caller in ROLES:
        data = {"action": action.name, "name": f"of-{caller}", "version": '"x"', "group": "research"}
        response = callers.send(caller, "POST", action.path, data)
        refused = any(text in response.text.lower() for text in NAMES_IN_REFUSALS)
        assert refused != permits(route, caller), (caller, response.text)
        assert response.status_code == 403 if refused else response.status_code < 500


def test_the_forms_of_one_object_are_for_the_roles_of_their_requests(callers: Callers):
    data = {"action": "create_key", "name": "evals", "group": "research", "until": "2027-05-05"}
    assert callers.send("key-admin", "POST", "/ui/keys", data).status_code == 200
    for caller in ROLES:
        for path, names in (
            ("/ui/keys?name=evals", ("change_key", "rotate_key", "revoke_key")),
            ("/ui/people?name=okta:00u1", ("block", "end_sessions", "forget")),
        ):
            text = callers.send(caller, "GET", path).text
            for action in (action for action in ACTIONS if action.name in names):
                expected = permits(route_of(action.verb, action.target), caller)
                assert (f'value="{action.name}"' in text) == expected, (caller, action.name)


@each_row("page", PAGES, every=3)
def test_other_verbs_are_refused(callers: Callers, page: ConsolePage):
    for caller in ("ada", "root", "operator"):
        for verb in OTHER_VERBS:
            response = callers.send(caller, verb, page.path)
            assert response.status_code == 405, (caller, verb)
            assert response.headers["allow"] == "GET, HEAD, POST"


@each_row("page", PAGES, every=3)
def test_a_stranger_signs_in_first_and_changes_nothing(callers: Callers, page: ConsolePage):
    gateway = callers.gateway
    opened = PeopleBrowser().open(f"{gateway.url}{page.path}?after=x")
    assert opened.url.startswith(gateway.provider.issuer)
    browser = PeopleBrowser()
    browser.open(f"{gateway.url}{page.path}")
    assert browser.submit(user="root").url == gateway.url + page.path
    headers = {"sec-fetch-site": "same-origin"}
    for action in (action for action in ACTIONS if action.path == page.path):
        data = {"action": action.name, "name": "okta:00u1"}
        assert PeopleBrowser().request("POST", gateway.url + page.path, headers, data).status_code == 401
    missing = PeopleBrowser().request("GET", f"{gateway.url}{page.path}?{WITH_KEY}")
    assert (missing.status_code, "as the password, with any user name" in missing.text) == (401, True)
    wrong = PeopleBrowser(headers=password("wrong-key")).request("GET", gateway.url + page.path)
    assert wrong.status_code == 401
    assert wrong.headers["www-authenticate"].startswith("Basic ")
