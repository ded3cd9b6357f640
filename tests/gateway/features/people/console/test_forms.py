"""The forms of the pages from end to end: each changes an object of the HTTP API, and reports it."""

import base64
import contextlib
import re
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path
from typing import Final
from urllib.parse import quote

import attrs
import pytest

from tests.support.each_row import each_row
from tests.support.people_browser import BrowserPage, PageForm, PeopleBrowser
from tests.support.people_gateway import PeopleGateway, people_gateway

ADA: Final = "okta:00u1"
KEY: Final = re.compile(r"sk-trigate-[A-Za-z0-9]{43}")
GROUPS: Final = [
    {"name": "research", "budgets": ["3000 usd/month"], "raise_to": ["5000 usd/month"]},
    {"name": "ci", "models": ["gpt-4o"]},
]


@attrs.frozen
class Console:
    """A gateway with signed-in people who use its pages."""

    gateway: PeopleGateway
    folder: Path
    browsers: dict[str, PeopleBrowser]

    def open(self, user: str, path: str) -> BrowserPage:
        return self.browsers[user].open(self.gateway.url + path)

    def form(self, user: str, action: str) -> PageForm:
        page = self.browsers[user].page
        assert page is not None
        return next(form for form in page.forms if form.fields.get("action") == action)

    def send(self, user: str, path: str, action: str, **fields: str) -> BrowserPage:
        """Open a page, and submit one of its forms."""
        self.open(user, path)
        return self.browsers[user].submit(self.form(user, action), **fields)

    def api(self, user: str, path: str) -> dict[str, object]:
        response = self.browsers[user].request("GET", self.gateway.url + path)
        assert response.status_code == 200, response.text
        found: dict[str, object] = response.json()
        return found

    def status_with(self, key: str) -> int:
        """Return the status of a request with ``key`` for no path: 404 if the key is good."""
        reply = self.gateway.gateway.request("GET", "/nowhere", headers={"authorization": f"Bearer {key}"})
        return reply.status

    def create(self, name: str, user: str = "root", **fields: str) -> str:
        """Create a client with the form, and return its key."""
        page = self.send(user, "/ui/keys", "create_key", name=name, **{"group": "research", **fields})
        assert page.status == 200, page.text
        return new_key(page)

    def audit(self) -> list[tuple[str, str, str, int]]:
        with contextlib.closing(sqlite3.connect(self.folder / "state.sqlite")) as db:
            rows: list[tuple[str, str, str, int]] = db.execute(
                "SELECT who, method, path, status FROM audit ORDER BY number"
            ).fetchall()
            return rows


def new_key(page: BrowserPage) -> str:
    found = KEY.findall(page.text)
    assert len(found) == 1, page.text
    return str(found[0])


def day(days: int) -> str:
    return (datetime.now(UTC) + timedelta(days=days)).strftime("%Y-%m-%d")


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    folder = tmp_path_factory.mktemp("console")
    with people_gateway(folder, stored_keys=True, client_groups=GROUPS) as gateway:
        yield Console(gateway, folder, {user: gateway.sign_in(user)[0] for user in ("ada", "lin", "aud", "root")})


def test_a_key_is_created_and_shown_once(console: Console):
    page = console.send(
        "lin", "/ui/keys", "create_key", name="batch job", until=day(30), budgets="20 usd/day, 300 usd/month",
        requests="60/m", group="research",
    )  # fmt: skip
    key = new_key(page)
    assert page.status == 200
    assert page.response.headers["cache-control"] == "no-store"
    assert console.status_with(key) == 404
    assert all(key not in response.url.path + str(response.url.query) for response in page.trail)
    for path in ("/ui/keys", "/ui/keys?name=batch%20job"):
        assert key not in console.open("root", path).text
    assert key not in "".join(console.gateway.log)
    row = console.api("root", "/admin/v1/keys/batch%20job")
    assert row["budgets"] == ["20 usd/day", "300 usd/month"]
    assert row["ratelimits"] == {"requests": "60/m"}
    assert ("okta:00u2", "PUT", "/admin/v1/keys/batch job", 201) in console.audit()


def test_a_second_key_of_the_same_name_is_refused_and_changes_nothing(console: Console):
    console.create("twice", budgets="1 usd/day")
    page = console.send("root", "/ui/keys", "create_key", name="twice", budgets="9 usd/day", group="research")
    assert page.status == 409
    assert "exists already" in page.text
    assert not KEY.findall(page.text)
    assert console.form("root", "create_key").fields["budgets"] == "9 usd/day"
    assert console.api("root", "/admin/v1/keys/twice")["budgets"] == ["1 usd/day"]


def test_a_change_keeps_the_settings_that_the_form_does_not_have(console: Console):
    console.create("kept")
    browser = console.browsers["root"]
    settings = {"group": "research", "models": [], "raise_to": ["30 usd/day"], "budgets": ["5 usd/day"]}
    own = {"sec-fetch-site": "same-origin"}
    put = browser.request("PUT", f"{console.gateway.url}/admin/v1/keys/kept", own, json=settings)
    assert put.status_code == 200, put.text
    page = console.send("root", "/ui/keys?name=kept", "change_key", budgets="7 usd/day")
    assert page.status == 200
    assert "The settings of kept were stored." in page.text
    after = console.api("root", "/admin/v1/keys/kept")["settings"]
    assert after == {**settings, "budgets": ["7 usd/day"]}  # an empty list of models still means none


def test_an_old_page_changes_nothing(console: Console):
    console.create("contested")
    console.open("root", "/ui/keys?name=contested")
    forms = {action: console.form("root", action) for action in ("change_key", "rotate_key", "revoke_key")}
    console.send("lin", "/ui/keys?name=contested", "change_key", budgets="2 usd/day", until=day(20))
    for form in forms.values():
        page = console.browsers["root"].submit(form)
        assert page.status == 409, page.text
        assert "has changed since you read it" in page.text
        assert not KEY.findall(page.text)
    assert console.api("root", "/admin/v1/keys/contested")["budgets"] == ["2 usd/day"]


def test_a_key_is_rotated_and_revoked(console: Console):
    old = console.create("rotated")
    page = console.send("root", "/ui/keys?name=rotated", "rotate_key", keep_old="0")
    new = new_key(page)
    assert (console.status_with(old), console.status_with(new)) == (401, 404)
    page = console.send("root", "/ui/keys?name=rotated", "revoke_key")
    assert page.url.startswith(f"{console.gateway.url}/ui/keys?")
    assert [response.status_code for response in page.trail] == [303, 200]
    assert "rotated was revoked" in page.text
    assert console.status_with(new) == 401


def test_a_person_creates_and_deletes_its_own_key(console: Console):
    key = new_key(console.send("ada", "/ui/keys", "make_own", name="laptop"))
    assert console.status_with(key) == 404
    again = console.send("ada", "/ui/keys", "make_own", name="laptop")
    assert (again.status, KEY.findall(again.text)) == (409, [])
    page = console.send("ada", "/ui/keys", "delete_own")
    assert "Your key laptop was deleted." in page.text
    assert console.status_with(key) == 401


def test_all_keys_of_ones_own_are_on_each_page_of_clients(console: Console):
    new_key(console.send("ada", "/ui/keys", "make_own", name="laptop"))
    assert "Delete laptop" in console.open("ada", "/ui/keys?after=z").text
    console.send("ada", "/ui/keys", "delete_own")


def test_an_admin_revokes_a_key_that_a_person_made(console: Console):
    key = new_key(console.send("ada", "/ui/keys", "make_own", name="leaked"))
    path = f"/ui/keys?name={quote(f'{ADA}/leaked')}"
    assert f"{ADA}/leaked" in console.open("root", "/ui/keys").text
    for user, may in (("root", True), ("lin", False), ("aud", False)):
        page = console.open(user, path)
        assert page.status == 200
        assert "ada@example.com" in page.text
        assert key not in page.text
        assert [form.fields.get("action") for form in page.forms].count("revoke_key") == may, user
        assert not any(form.fields.get("action") in ("change_key", "rotate_key") for form in page.forms)
    assert console.status_with(key) == 404
    assert "no longer work" in console.send("root", path, "revoke_key").text
    assert console.status_with(key) == 401
    assert f"{ADA}/leaked" not in console.open("root", "/ui/keys").text


def test_a_key_of_ones_own_reads_the_pages_and_makes_no_other_key(console: Console):
    key = new_key(console.send("ada", "/ui/keys", "make_own", name="reader"))
    password = base64.b64encode(f"any:{key}".encode()).decode()
    browser = PeopleBrowser(headers={"authorization": f"Basic {password}"})
    assert "reader" in browser.open(f"{console.gateway.url}/ui/keys").text
    own = {"sec-fetch-site": "same-origin"}
    more = browser.request("POST", f"{console.gateway.url}/ui/keys", own, {"action": "make_own", "name": "more"})
    assert more.status_code == 403
    assert "cannot create other keys" in more.text
    assert console.send("ada", "/ui/keys", "delete_own").status == 200


def test_a_raise_is_made_and_ended(console: Console):
    page = console.send("lin", f"/ui/groups?holder={quote(ADA)}", "raise", budgets="40 usd/day", until=day(7))
    assert f"The budgets of {ADA} were raised." in page.text
    assert console.api("lin", f"/admin/v1/raises/{ADA}")["budgets"] == ["40 usd/day"]
    assert row_of(console.open("ada", "/ui/me"), "20 usd/day")[4] == "$40.00 raised"
    too_much = console.send("lin", f"/ui/groups?holder={quote(ADA)}", "raise", budgets="400 usd/day", until=day(7))
    assert too_much.status == 403
    assert "raise_to" in too_much.text
    page = console.send("lin", "/ui/groups", "end_raise")
    assert f"The raise of {ADA} was ended." in page.text
    assert row_of(console.open("ada", "/ui/me"), "20 usd/day")[4] == "$20.00"
    assert "$40.00" not in console.open("ada", "/ui/me").text


def row_of(page: BrowserPage, name: str) -> list[str]:
    """Return the texts in the row ``name`` of a page's table."""
    row = next(row for row in re.findall(r"<tr.*?</tr>", page.text, re.DOTALL) if name in row)
    cells = re.findall(r"<t[hd].*?</t[hd]>", row, re.DOTALL)
    return [re.sub(r"<[^>]*>", "", one).strip() for one in cells]


def test_only_people_with_own_keys_get_the_form(console: Console):
    page = console.open("ada", "/ui/keys")
    assert "You may have 3, each for at most 30d." in page.text
    assert any(form.fields.get("action") == "make_own" for form in page.forms)
    page = console.open("lin", "/ui/keys")
    assert "Your rule permits no keys of your own" in page.text
    assert not any(form.fields.get("action") == "make_own" for form in page.forms)


def test_the_audit_lists_changes_and_their_authors(console: Console):
    console.send("lin", f"/ui/groups?holder={quote(ADA)}", "raise", budgets="41 usd/day", until=day(7))
    console.send("lin", "/ui/groups", "end_raise")
    for user in ("root", "aud"):
        page = console.open(user, "/ui/audit")
        assert row_of(page, f"PUT /admin/v1/raises/{ADA}")[1] == "okta:00u2"
        assert "41 usd/day" in page.text
        assert re.search(r'"until": "20[0-9-]{8}T00:00:00Z"', unescape(page.text))
    form = next(form for form in page.forms if "since" in form.fields)
    page = console.browsers["aud"].submit(form, since=day(1), until="")
    assert "Nothing was changed or viewed in this period." in page.text
    console.browsers["aud"].submit(form, since=day(2), until=day(1))
    assert console.open("aud", "/ui/audit?since=soon").status == 400
    assert console.open("lin", "/ui/audit").status == 403


def test_the_next_page_of_the_audit_keeps_an_emptied_start(console: Console):
    old = [(10_000 + number, number + 1.0, f"/old/{number}") for number in range(101)]
    with contextlib.closing(sqlite3.connect(console.folder / "state.sqlite")) as db, db:
        db.executemany("INSERT INTO audit VALUES (?, ?, 'eve', '', '', '', 'PUT', ?, 200, NULL, NULL)", old)
    assert "/old/" not in console.open("aud", "/ui/audit").text
    page = console.open("aud", "/ui/audit?since=&search=/OLD/")
    assert ("/old/100<" in page.text, "/old/0<" in page.text) == (True, False)
    following = re.search(r'href="(/ui/audit[^"]*)">Next page', page.text)
    page = console.open("aud", unescape(following[1]))
    assert ("/old/100<" in page.text, "/old/0<" in page.text) == (False, True)
    assert "Next page" not in page.text


def test_a_person_is_blocked_unblocked_and_forgotten(console: Console):
    eve = "okta:00u9"
    console.gateway.provider.people["nina"] = {"sub": "00u9", "email": "nina@example.com", "groups": ["ml"]}
    console.browsers["nina"], _ = console.gateway.sign_in("nina")
    page = console.send("root", f"/ui/people?name={quote(eve)}", "block", reason="laptop <lost>")
    assert f"{eve} is blocked." in page.text
    assert "laptop &lt;lost&gt;" in page.text
    assert console.open("nina", "/ui/me").url.startswith(console.gateway.provider.issuer)
    page = console.send("root", f"/ui/people?name={quote(eve)}", "unblock")
    assert f"{eve} is no longer blocked." in page.text
    console.browsers["nina"], page = console.gateway.sign_in("nina", "/ui/me")
    assert page.url == f"{console.gateway.url}/ui/me"
    page = console.send("root", f"/ui/people?name={quote(eve)}", "end_sessions")
    assert f"All sessions of {eve} have ended." in page.text
    assert console.open("nina", "/ui/me").url.startswith(console.gateway.provider.issuer)
    page = console.send("root", f"/ui/people?name={quote(eve)}", "forget")
    assert f"The label of {eve} was forgotten." in page.text
    assert "nina@example.com" not in console.open("root", f"/ui/people?name={quote(eve)}").text


def test_a_person_ends_a_session(console: Console):
    other, _ = console.gateway.sign_in("ada", "/ui/me")
    console.open("ada", "/ui/me")
    page = console.browsers["ada"].page
    assert page is not None
    rows = console.api("ada", "/me/sessions")["data"]
    assert isinstance(rows, list)
    ids = [row["id"] for row in rows if not row["current"]]
    form = next(form for form in page.forms if form.fields.get("name") == ids[-1])
    assert "The session was ended." in console.browsers["ada"].submit(form).text
    assert other.open(f"{console.gateway.url}/ui/me").url.startswith(console.gateway.provider.issuer)


@each_row(
    ("user", "path", "action", "fields", "text"),
    [
        ("root", "/ui/keys", "create_key", {"name": " "}, "Enter a name"),
        ("root", "/ui/keys", "create_key", {"name": "x", "budgets": "much"}, "budgets"),
        ("root", "/ui/keys", "create_key", {"name": "x", "until": "2001-01-01"}, "expire in the past"),
        ("root", "/ui/keys", "create_key", {"name": "x", "models": "nothing"}, "models"),
        ("lin", "/ui/keys", "create_key", {"name": "x", "group": "research"}, "within 400 days"),
        ("lin", "/ui/groups", "raise", {"name": "group:research", "budgets": "1 usd/day", "until": day(3)}, "admin"),
        ("root", "/ui/people", "block", {"name": "nobody"}, "no person"),
    ],
)
def test_a_rejected_form_has_the_reason_and_keeps_the_input(console: Console, user, path, action, fields, text):
    page = console.send(user, path, action, **fields)
    assert 400 <= page.status < 500
    assert 'role="alert"' in page.text
    assert text in page.text
    kept = console.form(user, action).fields if 'name="action"' in page.text else fields
    assert {name: kept[name].strip() for name in fields if name in kept and name != "name"} == {
        name: value for name, value in fields.items() if name in kept and name != "name"
    }


def test_no_page_edits_the_file_but_shows_the_lines(console: Console):
    page = console.open("root", "/ui/keys?name=ci")
    assert "client_keys:\n  - name: ci" in page.text
    assert not [form for form in page.forms if form.method == "POST"]
    text = console.open("root", "/ui/groups").text
    assert "client_groups:\n  - name: research\n    budgets: [3000 usd/month]\n    raise_to: [5000 usd/month]" in text
    assert "issuers:\n  - name: okta" in console.open("root", f"/ui/people?name={quote(ADA)}").text
