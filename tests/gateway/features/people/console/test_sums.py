"""The sums of the pages are those of the HTTP API, to the nano-dollar."""

import csv
import io
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

import attrs
import pytest

from gateway.viewing.money import short_dollar_text
from tests.support.apis import question
from tests.support.features import needs_feature
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import Reply, config, eventually, provider
from tests.support.people import Answering
from tests.support.people_browser import PeopleBrowser
from tests.support.people_gateway import PeopleGateway, people_gateway
from tests.support.upstreams import serve_upstream

PRICE: Final = {"input": 1.37, "output": 4.19}
CI: Final = "key-of-ci-0123456789abcdef"


@attrs.frozen
class Accounts:
    """A gateway whose clients have spent something, and the browsers of its people."""

    gateway: PeopleGateway
    browsers: dict[str, PeopleBrowser]

    def json(self, user: str, path: str) -> Any:
        response = self.browsers[user].request("GET", self.gateway.url + path)
        assert response.status_code == 200, response.text
        return response.json()

    def page(self, user: str, path: str) -> str:
        response = self.browsers[user].request("GET", self.gateway.url + path)
        assert response.status_code == 200, response.text
        return response.text


@pytest.fixture(scope="module")
def accounts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Accounts]:
    folder = tmp_path_factory.mktemp("sums")
    with serve_upstream(Answering) as upstream:
        entries = [
            provider(f"openai/{name}", f"{upstream.url}/v1", name=name, price=PRICE) for name in ("small", "large")
        ]
        keys = [{"name": "ci", "key": CI, "group": "ci"}]
        groups = [{"name": "research"}, {"name": "ci"}]
        more = {"stored_keys": True, "providers": entries, "client_keys": keys, "client_groups": groups,
                "budgets": ["500 usd/day"]}  # fmt: skip
        with people_gateway(folder, **more) as gateway:
            browsers = {user: gateway.sign_in(user)[0] for user in ("ada", "lin", "aud", "root")}
            data = {"action": "make_own", "name": "laptop"}
            made = browsers["ada"].request("POST", f"{gateway.url}/ui/keys", {"sec-fetch-site": "same-origin"}, data)
            (own,) = re.findall(r"sk-trigate-\w+", made.text)
            for key, model, times in ((CI, "small", 3), (own, "small", 2), (own, "large", 1)):
                for _ in range(times):
                    body = question("chat", model, "hi")
                    reply = gateway.gateway.request(
                        "POST", "/v1/chat/completions", body, {"authorization": f"Bearer {key}"}
                    )
                    assert reply.status == 200, reply.body
            found = Accounts(gateway, browsers)
            eventually(lambda: found.json("root", "/admin/v1/usage?by=key")["total"]["requests"] == 6, what="lines")
            yield found


def rows_of(page: str) -> list[tuple[str, ...]]:
    """Return the texts of the rows of a page's table, the total included, with all digits of dollars."""
    page = re.sub(r'<span title="([0-9.]+)">[^<]*</span>', r"\1", page)
    rows = re.findall(r'<tr role="row">(<th scope="row".*?)</tr>', page, re.S)
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.S) for row in rows]
    return [tuple(re.sub(r"<[^>]*>", "", cell).strip() for cell in row) for row in cells]


def dollars(rows: list[tuple[str, ...]]) -> list[Decimal]:
    return [Decimal(row[-2]) for row in rows]


@pytest.mark.parametrize("by", ["day", "group,key"])
def test_the_page_has_the_sums_of_the_api(accounts: Accounts, by: str):
    """``test_admin_usage.py`` of the ledger compares these with the sums of ``trigate costs``."""
    api = accounts.json("aud", f"/admin/v1/usage?by={by}")
    rows = rows_of(accounts.page("aud", f"/ui/usage?by={by}"))
    assert [row[-2] for row in rows] == [*(row["usd"] for row in api["data"]), api["total"]["usd"]]
    assert [row[-7] for row in rows] == [*(str(row["requests"]) for row in api["data"]), str(api["total"]["requests"])]
    assert sum(dollars(rows[:-1])) == dollars(rows)[-1] > 0


def test_users_see_their_own_sums_and_leads_the_sums_of_their_group(accounts: Accounts):
    own = accounts.json("ada", "/me/usage?by=model")
    rows = rows_of(accounts.page("ada", "/ui/usage?by=model"))
    assert [row[0] for row in rows] == [*(row["model"] for row in own["data"]), "Total"]
    assert [row[-2] for row in rows] == [*(row["usd"] for row in own["data"]), own["total"]["usd"]]
    group = accounts.json("lin", "/admin/v1/usage?by=key")
    rows = rows_of(accounts.page("lin", "/ui/usage?by=key"))
    assert dollars(rows)[-1] == Decimal(group["total"]["usd"]) == Decimal(own["total"]["usd"])
    assert "ci" not in [row[0] for row in rows]
    assert "ada@example.com" in accounts.page("lin", "/ui/usage?by=key")
    # a key filter widens nothing
    for user in ("ada", "lin"):
        assert dollars(rows_of(accounts.page(user, "/ui/usage?by=model&month=2026-01")) or [("", "0", "")])[-1] == 0
    forbidden = accounts.browsers["lin"].request("GET", f"{accounts.gateway.url}/ui/usage?group=ci")
    assert forbidden.status_code == 404


def test_the_page_and_the_api_return_the_same_csv(accounts: Accounts):
    response = accounts.browsers["aud"].request("GET", f"{accounts.gateway.url}/ui/usage?by=key&format=csv")
    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    assert response.headers["content-disposition"] == 'attachment; filename="usage.csv"'
    assert response.headers["cache-control"] == "no-store"
    rows = list(csv.DictReader(io.StringIO(response.text)))
    assert {row["key"]: row["usd"] for row in rows} == {
        row["key"]: row["usd"] for row in accounts.json("aud", "/admin/v1/usage?by=key")["data"]
    }


def test_the_page_and_the_api_have_the_same_budgets(accounts: Accounts):
    me = accounts.json("ada", "/me")
    (budget,) = (one for one in me["budgets"] if one["holder"] == "client")
    assert Decimal(budget["used"]) > 0
    page = accounts.page("ada", "/ui/me")
    assert {budget["used"], budget["amount"], budget["text"]} <= {cell for row in rows_of(page) for cell in row}


def test_all_users_see_the_root_budget_and_only_some_roles_see_its_use(accounts: Accounts):
    """The use of all clients reveals the spending of others."""
    used = {}
    for user in ("ada", "lin", "aud", "root"):
        (row,) = (one for one in accounts.json(user, "/me")["budgets"] if one["holder"] == "everybody")
        assert (row["text"], Decimal(row["amount"])) == ("500 usd/day", 500)
        used[user] = row["used"] is not None and Decimal(row["used"]) > 0
        (shown,) = (cells for cells in rows_of(accounts.page(user, "/ui/me")) if cells[0] == "500 usd/day")
        assert (shown[2] == "not shown") != used[user], shown
    assert used == {"ada": False, "lin": False, "aud": True, "root": True}


def test_the_overview_adds_up_the_days_of_the_page(accounts: Accounts):
    total = accounts.json("aud", "/admin/v1/usage")["total"]
    page = accounts.page("aud", "/ui/usage?by=key")
    overview = re.findall(r"<span>([^<]*)</span>\s*<strong>([^<]*)</strong> <span[^>]*>([^<]*)</span>", page)
    tokens = total["input"] + total["output"]
    amount = short_dollar_text(Decimal(total["usd"]))
    expected = (amount, f"6 requests, {tokens} tokens")
    assert [(name, *found) for name, *found in overview] == [
        (name, *expected) for name in ("Today", "Seven days", "This month")
    ]
    assert page.count("<svg") == 1
    assert f"{amount}</title>" in page


@needs_feature("live_view")
@pytest.mark.parametrize("keys", [[], [{"name": "me", "key": CI}]], ids=["without keys", "with one key"])
def test_one_person_has_a_page(tmp_path, keys):
    """The usage by model, run and project, and the root's limits with their use: no other client spends."""
    storage = {"type": "sqlite", "path": str(tmp_path / "state.sqlite")}
    with serve_upstream(Answering) as upstream:
        entry = provider("openai/small", f"{upstream.url}/v1", name="small", price=PRICE)
        given = {"client_keys": keys} if keys else {}
        more = {"state_storage": storage, "budgets": ["5 usd/day"], "ratelimits": {"requests": "100/d"}, **given}
        with gateway_thread(config([entry], **more)) as running:
            key = {"authorization": f"Bearer {CI}"} if keys else {}
            named = {**key, "x-trigate-run": "evening", "x-trigate-project": "my%20<shop>"}
            reply = running.request("POST", "/v1/chat/completions", question("chat", "small", "hi"), named)
            assert reply.status == 200, reply.body

            def page(path: str, headers: Mapping[str, str] = key) -> Reply:
                return running.request("GET", path, None, {"accept": "text/html", **headers})

            def amounts() -> list[str]:
                rows = rows_of(page("/ui/usage?by=project&since=today").body.decode())
                return [cell for row in rows if row[0] == "my &lt;shop&gt;" for cell in row[1:3]]

            assert eventually(amounts, what="the line") == ["1", "0"]
            for by, name in (("run", "evening"), ("model", "openai/small")):
                assert name in page(f"/ui/usage?by={by}&month=&since=7d").body.decode()
            limits = page("/ui/me" if keys else "/ui/usage").body.decode()
            found = {row[0]: row[2] for row in rows_of(limits)}
            assert Decimal(found["5 usd/day"]) > 0
            assert found["requests 100/d"] == "1"
            view = page("/ui").body.decode()
            assert ("/ui/usage" in view, "/ui/me" in view) == (True, bool(keys))
            if not keys:
                assert "/ui/keys" not in limits
                assert page("/ui/keys").status == 404
                assert page("/ui/usage", {"x-forwarded-for": "192.0.2.1"}).status == 403
                assert running.request("POST", "/ui/usage", {}, {"sec-fetch-site": "same-origin"}).status == 400


@pytest.mark.parametrize(("by", "counted"), [("key", "Requests"), ("model", "Attempts"), ("key,model", "Attempts")])
def test_the_column_states_whether_it_counts_requests_or_attempts(accounts, by, counted):
    assert f">{counted}</th>" in accounts.page("root", f"/ui/usage?by={by}")
