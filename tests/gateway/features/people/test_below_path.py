"""A gateway below a path of a host, after proxies that remove the path from requests and after ones that keep it.

Links, cookies and redirects of other gateways led to the host's root (BerriAI/litellm#41762)."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import attrs
import pytest

from tests.support.browser import Page, browsing, needs_chromium
from tests.support.features import has_feature, members_of, needs_feature, rows_of
from tests.support.harness import Wire
from tests.support.http_servers import QuietHandler, http_server
from tests.support.path_proxy import PathProxy, path_proxy
from tests.support.people_browser import PeopleBrowser
from tests.support.people_gateway import PeopleGateway, people_gateway
from tests.support.websocket_client import handshake

pytestmark = pytest.mark.slow

BASE = "/teams/llm"
CI = {"authorization": "Bearer key-of-ci-0123456789abcdef"}
DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"


@attrs.frozen
class Published:
    """A gateway and the proxy before it."""

    people: PeopleGateway
    proxy: PathProxy

    @property
    def url(self) -> str:
        return self.proxy.url

    def sign_in(self, user: str, path: str = "/ui/me") -> PeopleBrowser:
        browser = PeopleBrowser()
        browser.open(self.url + path)
        page = browser.submit(user=user)
        assert (page.status, page.url) == (200, self.url + path)
        return browser

    def send(self, method: str, path: str, **more: Any) -> Any:
        """Send a request with a client's key."""
        headers = {**CI, **more.pop("headers", {})}
        return PeopleBrowser().request(method, self.url + path, headers, **more)


class _Provider(QuietHandler):
    """A provider that begins uploads of Google's, answers in Chat, and redirects everything else."""

    def do_POST(self) -> None:
        self.read_body()
        if self.path.endswith("/chat/completions"):
            message = {"role": "assistant", "content": "Hello."}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            self.respond(200, json.dumps({"id": "1", "object": "chat.completion", "choices": [choice]}).encode())
            return
        self.send_response(200)
        host = self.headers["host"]
        self.send_header("x-goog-upload-url", f"http://{host}/upload/v1beta/files?upload_id=1")
        self.send_header("content-length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        self.send_response(307)
        self.send_header("location", "/v1/elsewhere?a=1")
        self.send_header("content-length", "0")
        self.end_headers()


@pytest.fixture(scope="module", params=[True, False], ids=["stripped", "kept"])
def published(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Published]:
    with contextlib.ExitStack() as stack:
        proxy = stack.enter_context(path_proxy(0, BASE, strips=request.param))
        place = stack.enter_context(http_server(_Provider))
        entries = [
            {"model": "gemini/gemini-x", "price": "free", "access_key": "k", "base_url": f"http://{place}/v1beta"},
            {"model": "openai/m-1", "price": "free", "name": "mine", "access_key": "k",
             "base_url": f"http://{place}/v1", **members_of("pass_through", passthrough=True)},
        ]  # fmt: skip
        ci = {"name": "ci", "key": "key-of-ci-0123456789abcdef", **members_of("pass_through", passthrough=["mine"])}
        people = stack.enter_context(
            people_gateway(
                tmp_path_factory.mktemp("people"),
                public_url=f"{proxy.url}/",
                providers=entries,
                client_keys=[ci],
                **members_of("live_view", ui={"answers": "all"}),
            )
        )
        proxy.upstream = people.gateway.port
        people.provider.redirect_uris.add(f"{proxy.url}/oauth/callback")
        yield Published(people, proxy)
        assert proxy.outside == []


def test_every_page_and_link_is_below_the_path(published):
    browser = published.sign_in("root")
    pages = ("/ui/me", "/ui/usage", "/ui/keys", "/ui/groups", "/ui/people", "/ui/audit")
    for path in (*rows_of("live_view", "/ui", "/ui/"), *pages, "/device"):
        page = browser.open(published.url + path)
        assert (page.status, page.url) == (200, published.url + path)
        assert page.links or path == "/device"
        for link in page.links:
            assert link.startswith(published.url + "/"), (path, link)
            assert browser.request("GET", link).status_code == 200, (path, link)
        assert all(form.action.startswith(published.url + "/") for form in page.forms)
    assert browser.open(published.url).response.json()["service"] == "trigate"
    browser.headers["accept"] = "text/html"
    assert browser.open(published.url).url == f"{published.url}{'/ui' if has_feature('live_view') else '/ui/me'}"
    assert browser.open(f"{published.url}/ui/").status == 200
    files = rows_of("live_view", "style.css", "live.js", "tables.js", "models")
    for file in (*files, "pages.css", "../oauth/style.css"):
        assert browser.request("GET", f"{published.url}/ui/{file}").status_code == 200, file


def test_forms_and_cookies_work_and_stay_below_the_path(published):
    browser = published.sign_in("ada", "/ui/keys")
    assert {name.partition(".")[0] for _, name in browser.cookies if "trigate" in name} == {
        "__Secure-trigate", "__Secure-trigate-sign-in",
    }  # fmt: skip
    lines = [line for one in browser.page.trail for line in one.headers.get_list("set-cookie") if "trigate" in line]
    assert lines
    assert all(f"; Path={BASE};" in line for line in lines)
    form = next(one for one in browser.page.forms if one.fields.get("action") == "make_own")
    page = browser.submit(form, name="laptop")
    assert page.status == 200
    assert "New key" in page.text
    page = browser.open(f"{published.url}/ui/keys")
    form = next(one for one in page.forms if one.fields.get("action") == "delete_own")
    page = browser.submit(form)
    assert (page.status, page.url.partition("?")[0]) == (200, f"{published.url}/ui/keys")
    assert browser.open(f"{published.url}/oauth/logout").status == 200
    assert browser.submit().status == 200
    assert "__Secure-trigate" not in {name for _, name in browser.cookies}


def test_a_program_signs_in(published):
    program = PeopleBrowser()
    inserted = f"http://127.0.0.1:{published.people.gateway.port}/.well-known/oauth-authorization-server{BASE}"
    for url in (f"{published.url}/.well-known/oauth-authorization-server", inserted):  # the latter by RFC 8414
        metadata = program.request("GET", url).json()
        assert metadata["issuer"] == published.url
        found = {name: value for name, value in metadata.items() if name.endswith("_endpoint")}
        assert all(value.startswith(f"{published.url}/oauth/") for value in found.values())
    granted = program.request("POST", metadata["device_authorization_endpoint"]).json()
    assert granted["verification_uri"] == f"{published.url}/device"
    browser = PeopleBrowser()
    browser.open(granted["verification_uri_complete"])
    browser.submit()
    browser.submit(user="ada")
    assert browser.press("decision", "approve").status == 200
    form = {"grant_type": DEVICE_CODE, "device_code": granted["device_code"]}
    token = program.request("POST", metadata["token_endpoint"], data=form).json()["access_token"]
    own = program.request("GET", f"{published.url}/me", {"authorization": f"Bearer {token}"})
    assert own.status_code == 200


def test_links_and_redirects_for_programs_are_below_the_path(published):
    start = {"x-goog-upload-protocol": "resumable", "x-goog-upload-command": "start"}
    for path in rows_of("files", "/upload/v1beta/files"):
        begun = published.send("POST", path, headers=start, json={"file": {}})
        assert begun.status_code == 200, begun.text
        assert begun.headers["x-goog-upload-url"].startswith(f"{published.url}{path}?")
    for path in rows_of("pass_through", "/mine/models"):
        passed = published.send("GET", path)
        assert (passed.status_code, passed.headers["location"]) == (307, f"{BASE}/mine/elsewhere?a=1")
    unknown = published.send("POST", "/v2/nowhere", json={})
    assert unknown.status_code == 404
    assert f"the base URL is {published.url}/v1 for OpenAI's clients" in unknown.text


def test_conversations_and_websockets_work(published):
    body = {"model": "mine", "messages": [{"role": "user", "content": "hi"}]}
    for path in ("/v1/chat/completions", "/v1/messages", "/chat/completions"):
        found = published.send("POST", path, json={**body, "max_tokens": 9})
        assert found.status_code == 200, found.text
    for path in rows_of("responses_websocket", f"{BASE}/v1/responses"):
        with Wire.connect(published.proxy.port) as wire:
            wire.send(handshake(path, CI))
            assert wire.read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 101 ")


@needs_feature("live_view")
@needs_chromium
def test_a_browser_shows_the_live_view(published, tmp_path):
    with browsing() as page:
        sign_in_with_chromium(page, published)
        body = {"model": "mine", "messages": [{"role": "user", "content": "hi"}]}
        assert published.send("POST", "/v1/chat/completions", json=body).status_code == 200
        page.until("document.querySelector('#state').innerText.includes('live')")
        page.until("document.querySelector('#recent tbody button')")
        page.click("#recent tbody button")
        page.until("document.querySelector('#opened-state').innerText === 'ended: complete'")
        page.shoot(tmp_path / "live.png")
        for path in ("/ui/usage", "/ui/keys", "/oauth/logout"):
            page.open(published.url + path)
            assert page.value("getComputedStyle(document.querySelector('main')).maxWidth") != "none", "no style sheet"
        assert json.dumps(page.complaints) == "[]"


def sign_in_with_chromium(page: Page, published: Published) -> None:
    page.open(published.url)
    page.until("document.querySelector('input[name=user]')")
    page.value("document.querySelector('input[name=user]').value = 'root'")
    page.click("button")
    page.until(f"location.pathname === '{BASE}/ui' && document.querySelector('#state')")
