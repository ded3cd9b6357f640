"""People in the live view: each sees what its role permits."""

import base64
import contextlib
import http.client
import json
import sqlite3
import time

import pytest

from gateway.features.people.oauth.cookies import SESSION
from tests.support.each_row import each_row
from tests.support.features import needs_feature
from tests.support.harness import PATIENCE, provider
from tests.support.people import bearer
from tests.support.people_browser import PeopleBrowser
from tests.support.people_gateway import people_gateway
from tests.support.upstreams import Raw, Upstream, serve_upstream

pytestmark = needs_feature("live_view")

UI_KEY = "ui-key-0123456789abcdef"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    with people_gateway(tmp_path_factory.mktemp("people"), ui_key=UI_KEY) as running:
        yield running


def test_the_operator_uses_a_key_while_the_issuer_is_unavailable(gateway):
    gateway.provider.go_down()
    try:
        browser = PeopleBrowser()
        asked = browser.request("GET", f"{gateway.url}/ui?sign_in=key")
        assert asked.status_code == 401
        assert asked.headers["www-authenticate"].startswith("Basic ")
        password = base64.b64encode(f"any:{UI_KEY}".encode()).decode()
        for headers in ({"authorization": f"Basic {password}"}, {"authorization": f"Bearer {UI_KEY}"}):
            assert browser.request("GET", f"{gateway.url}/ui", headers).status_code == 200
    finally:
        gateway.provider.faults.clear()


@each_row("user", ["ada", "lin", "root", "aud"], every=3)
def test_a_signed_in_person_sees_the_page_and_its_files(gateway, user):
    browser, page = gateway.sign_in(user)
    assert page.status == 200
    for path in ("/ui/style.css", "/ui/live.js", "/ui/models"):
        assert browser.request("GET", gateway.url + path).status_code == 200


def test_an_auditor_sees_no_texts(gateway):
    for user, status in (("aud", 403), ("ada", 404), ("root", 404)):
        browser, _ = gateway.sign_in(user)
        assert browser.request("GET", f"{gateway.url}/ui/streams/1").status_code == status


@pytest.fixture
def keys(tmp_path):
    """Run a gateway whose file has a key of each role, and whose admins may create their own keys."""
    names = ("user", "lead", "auditor", "admin")
    clients = [{"name": one, "key": f"key-of-{one}-0123456789", "role": one, "group": "research"} for one in names]
    rule = {"when": {}, "role": "admin", "own_keys": {"most": 3, "longest": "30d"}}
    more = {"client_keys": clients, "ui_key": UI_KEY, "audit": "stderr", "ui": {"answers": "all"}}
    with people_gateway(tmp_path, issuer={"admit": [rule]}, **more) as running:
        yield running


def test_the_role_of_a_file_key_decides_what_its_holder_sees(keys):
    sent = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}
    asked = keys.gateway.request("POST", "/v1/chat/completions", sent, bearer("key-of-user-0123456789"))
    assert asked.status == 502
    for name, status in (("user", 200), ("lead", 404), ("auditor", 403), ("admin", 200)):
        headers = bearer(f"key-of-{name}-0123456789")
        assert PeopleBrowser().request("GET", f"{keys.url}/ui/streams/1", headers).status_code == status, name


SHOWN = {
    "own": {"user": 200, "lead": 404, "auditor": 403, "admin": 403, None: 403},
    "none": {"user": 403, "lead": 403, "auditor": 403, "admin": 403, None: 403},
}
"""The status of the user's stream for each viewer, by ``ui.answers``; ``None`` is the holder of the ``ui_key``."""


@pytest.mark.parametrize(("answers", "ui"), [("own", True), ("own", {}), ("none", {"answers": "none"})])
def test_the_answers_setting_decides_who_reads_a_stream(tmp_path, answers, ui):
    roles = ("user", "lead", "auditor", "admin")
    clients = [{"name": one, "key": f"key-of-{one}-0123456789", "role": one, "models": ["gpt-4o"], "group": "research"}
               for one in roles]  # fmt: skip
    with people_gateway(tmp_path, client_keys=clients, ui_key=UI_KEY, ui=ui, ui_prompts=True) as running:
        sent = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}
        for role in ("user", "admin"):
            running.gateway.request("POST", "/v1/chat/completions", sent, bearer(f"key-of-{role}-0123456789"))
        for role, status in SHOWN[answers].items():
            headers = bearer(UI_KEY if role is None else f"key-of-{role}-0123456789")
            assert PeopleBrowser().request("GET", f"{running.url}/ui/streams/1", headers).status_code == status, role
            with viewer(running, "/ui/events", headers) as response:
                assert len(json.loads(response.readline()[6:])["recent"]) == {"user": 1, "lead": 0}.get(role, 2)
        own = PeopleBrowser().request("GET", f"{running.url}/ui/streams/2", bearer("key-of-admin-0123456789"))
        assert own.status_code == (200 if answers == "own" else 403)


def test_without_a_live_view_the_pages_of_callers_remain(tmp_path):
    with people_gateway(tmp_path, ui=False, ui_key=UI_KEY) as running:
        browser, page = running.sign_in("ada", "/ui/me")
        assert page.status == 200
        assert "Live view" not in page.text
        for path in ("/ui/me", "/ui/keys", "/ui/usage", "/ui/pages.css"):
            assert browser.request("GET", running.url + path).status_code == 200
        for path in ("/ui", "/ui/events", "/ui/streams/1", "/ui/live.js"):
            assert browser.request("GET", running.url + path, bearer(UI_KEY)).status_code in (401, 404)
        for path, to in (("/", "/ui/me"), ("/ui", "/ui/me"), ("/ui?sign_in=key", "/ui/me?sign_in=key")):
            shown = PeopleBrowser().request("GET", running.url + path, {"accept": "text/html"})
            assert (shown.status_code, shown.headers["location"]) == (303, to)
        asked = PeopleBrowser().request("GET", f"{running.url}/ui/me?sign_in=key")
        assert (asked.status_code, asked.headers["www-authenticate"][:6]) == (401, "Basic ")
        assert PeopleBrowser().request("GET", f"{running.url}/ui/me?sign_in=key", bearer(UI_KEY)).status_code == 200


@needs_feature("metrics")
def test_a_key_that_an_admin_made_for_itself_has_no_role(keys):
    sent = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}
    keys.gateway.request("POST", "/v1/chat/completions", sent, bearer("key-of-user-0123456789"))
    token = keys.provider.token(sub="00u3")
    key = keys.gateway.request("PUT", "/me/keys/laptop", {}, bearer(token)).json["key"]
    for credential, own, metrics in ((token, 200, 200), (key, 404, 403)):
        headers = bearer(credential)
        assert PeopleBrowser().request("GET", f"{keys.url}/ui/streams/1", headers).status_code == own
        assert keys.gateway.request("GET", "/metrics", None, headers).status == metrics


def test_an_ended_session_gets_no_password_prompt(gateway):
    browser, _ = gateway.sign_in("ada")
    browser.cookies[gateway.url, SESSION] = "x" * 43
    for path in ("/ui/events", "/ui/live.js", "/ui/models"):
        response = browser.request("GET", gateway.url + path)
        assert response.status_code == 401
        assert "www-authenticate" not in response.headers
    assert browser.request("GET", f"{gateway.url}/ui").status_code == 302


@pytest.mark.parametrize(
    "headers",
    [{"sec-fetch-site": "cross-site", "sec-fetch-mode": "cors"}, {"origin": "https://evil.example"}],
)
def test_another_page_cannot_read_the_live_view(gateway, headers):
    browser, _ = gateway.sign_in("root")
    assert browser.request("GET", f"{gateway.url}/ui/events", headers).status_code == 403


# The audit

AUDITED = [
    ("user", "client key", "user", "user", "user"),
    ("admin", "client key", "admin", "admin", "admin"),
    (None, "ui_key", None, "auditor", "ui_key"),
    ("token", "client key", "okta:00u3", "admin", None),
    ("cookie", "session", "okta:00u3", "admin", "a session"),
]
"""Viewers: their credential, and ``by``, ``client``, ``role`` and ``credential`` in the audit."""


def test_the_audit_has_each_viewer_and_the_client_and_request_that_it_reads(keys):
    sent = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}
    keys.gateway.request(
        "POST", "/v1/chat/completions", sent, {"x-request-id": "read-by-all", **bearer("key-of-user-0123456789")}
    )
    for who, by, client, role, credential in AUDITED:
        headers = bearer(f"key-of-{who}-0123456789" if who else UI_KEY)
        if who == "token":
            headers = bearer(keys.provider.token(sub="00u3"))
        if who == "cookie":
            headers = cookie_of(keys, "root")
        with viewer(keys, "/ui/events", headers), viewer(keys, "/ui/streams/1", headers):
            pass
        lines = [json.loads(line) for line in keys.log if line.startswith('{"event":"ui_')][-2:]
        after = bearer("key-of-admin-0123456789")
        stored = keys.gateway.request("GET", "/admin/v1/audit?limit=1000", None, after).json["data"][-2:]
        watched = [("ui_opened", "user" if who == "user" else "*"), ("ui_stream_opened", "user")]
        for line, row, (event, owner) in zip(lines, stored, watched, strict=True):
            assert line.items() >= {name: value for name, value in row["after"].items() if value is not None}.items()
            assert (line["event"], line["by"], line.get("client"), line["role"]) == (event, by, client, role)
            assert line["owner"] == owner
            found = line.get("credential")
            assert found == credential or (credential == "a session" and found), who
            assert row["who"] == (client or "operator")
        assert lines[1]["request"] == "read-by-all"


def test_nobody_reads_a_stream_that_the_stored_audit_cannot_list(tmp_path):
    with people_gateway(tmp_path, client_keys=[{"name": "ci", "key": CI}]) as running:
        sent = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}
        running.gateway.request("POST", "/v1/chat/completions", sent, bearer(CI))
        with contextlib.closing(sqlite3.connect(tmp_path / "state.sqlite")) as database:
            database.execute("DROP TABLE audit")
        assert PeopleBrowser().request("GET", f"{running.url}/ui/streams/1", bearer(CI)).status_code == 503
        with viewer(running, "/ui/events", bearer(CI)):
            pass


# Viewers who lose their access

FIRST_EVENT = (
    b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m",'
    b'"choices":[{"index":0,"delta":{"role":"assistant","content":"Hi"},"finish_reason":null}]}\n\n'
)
ADMIN = "key-of-the-admin-0123456789"
CI = "key-of-ci-0123456789abcdef"


@pytest.fixture(scope="module")
def live_gateway(tmp_path_factory):
    """Run a gateway with a running stream, the first one."""
    rules = [{"when": {"groups": "platform"}, "role": "admin"}, {"when": {"groups": "finance"}, "role": "auditor"}]
    keys = [{"name": "ci", "key": CI}, {"name": "boss", "key": ADMIN, "role": "admin"}]
    with (
        serve_upstream(Upstream) as upstream,
        people_gateway(
            tmp_path_factory.mktemp("people"), issuer={"admit": rules}, client_keys=keys, stored_keys=True,
            providers=[provider("openai/gpt-4o", f"{upstream.url}/v1")], ui={"answers": "all"},
        ) as running,
        contextlib.closing(http.client.HTTPConnection("127.0.0.1", running.gateway.port, timeout=PATIENCE)) as client,
    ):  # fmt: skip
        upstream.script(Raw(200, (("content-type", "text/event-stream"),), (FIRST_EVENT,), end="hang"))
        sent = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], "stream": True}
        headers = {"content-type": "application/json", **bearer(CI)}
        client.request("POST", "/v1/chat/completions", json.dumps(sent), headers)
        response = client.getresponse()
        assert response.readline().startswith(b"data: ")
        yield running
        response.close()


@contextlib.contextmanager
def viewer(gateway, path, headers):
    """Open a stream of the live view, and yield its response after its first event."""
    connection = http.client.HTTPConnection("127.0.0.1", gateway.gateway.port, timeout=PATIENCE)
    with contextlib.closing(connection):
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        assert response.status == 200
        assert response.readline().startswith(b"event: ")
        yield response


def wait_for_end(response):
    """Read the rest of a stream, which has news twice a second until it ends."""
    until = time.monotonic() + PATIENCE
    while response.readline():
        assert time.monotonic() < until, "the stream is still open"


def cookie_of(gateway, user):
    browser, page = gateway.sign_in(user)
    assert page.status == 200
    return {"cookie": "; ".join(f"{name}={value}" for (_, name), value in browser.cookies.items())}


def admin_call(gateway, method, path, body=None):
    return gateway.gateway.request(method, path, body, bearer(ADMIN)).status


@each_row("credential", ["cookie", "token"])
@each_row(("user", "path"), [("root", "/ui/events"), ("root", "/ui/streams/1"), ("aud", "/ui/events")])
def test_the_streams_of_a_blocked_person_end(live_gateway, credential, user, path):
    person = live_gateway.provider.people[user]
    block = f"/admin/v1/people/okta:{person['sub']}/block"
    headers = cookie_of(live_gateway, user) if credential == "cookie" else bearer(live_gateway.provider.token(**person))
    with (
        viewer(live_gateway, path, headers) as response,
        viewer(live_gateway, "/ui/events", bearer(ADMIN)) as remaining,
    ):
        assert admin_call(live_gateway, "PUT", block, {}) == 201
        try:
            wait_for_end(response)
            assert all(remaining.readline() for _ in range(9)), "news for others"
        finally:
            assert admin_call(live_gateway, "DELETE", block) == 204


def test_the_streams_of_a_session_end_with_it(live_gateway):
    browser, _ = live_gateway.sign_in("root")
    headers = {"cookie": "; ".join(f"{name}={value}" for (_, name), value in browser.cookies.items())}
    with viewer(live_gateway, "/ui/events", headers) as response:
        left = browser.request("POST", f"{live_gateway.url}/oauth/logout", {"origin": live_gateway.url})
        assert left.status_code in (200, 303)
        wait_for_end(response)


def test_the_streams_of_a_removed_key_end(live_gateway):
    secret = live_gateway.gateway.request("PUT", "/admin/v1/keys/eve", {}, bearer(ADMIN)).json["key"]
    with viewer(live_gateway, "/ui/events", bearer(secret)) as response:
        assert admin_call(live_gateway, "DELETE", "/admin/v1/keys/eve") == 204
        wait_for_end(response)
