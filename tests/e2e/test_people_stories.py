"""The days of the people around a gateway, from end to end: who joins, builds, leads, pays, audits and operates."""

import contextlib
import csv
import io
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest
import yaml

from tests.support.command_line import invoke
from tests.support.harness import Reply, eventually, provider, request
from tests.support.oidc import OidcProvider, open_provider
from tests.support.people import Answering, bearer, body_of
from tests.support.people_gateway import PEOPLE, PeopleGateway, gateway_of
from tests.support.upstreams import serve_upstream

ADMIN = "key-of-terraform-0123456789"
GROUPS = [
    {"name": "research", "models": ["sonnet"], "budgets": ["3000 usd/month"], "raise_to": ["5000 usd/month"]},
    {"name": "ci", "models": ["small"], "budgets": ["50 usd/day"]},
]
PRICE = {"input": 0, "output": 1000}
TODAY = datetime.now(UTC)
MONTH = TODAY.strftime("%Y-%m")


@attrs.frozen
class Company:
    """A gateway with its people and its CI service."""

    gateway: PeopleGateway
    ci: OidcProvider
    folder: Path

    def call(self, method: str, path: str, token: str, body: Any = None) -> Reply:
        return request(self.gateway.url, method, path, body, bearer(token))

    def ask(self, token: str, model: str = "sonnet", api: str = "chat") -> Reply:
        paths = {"chat": "/v1/chat/completions", "messages": "/v1/messages", "responses": "/v1/responses"}
        return self.call("POST", paths[api], token, body_of(api, model))

    def session(self, user: str) -> str:
        """Return the token of a session of ``user``, who signs in with the device flow as programs do."""
        token: str = self.gateway.device_tokens(user)["access_token"]
        return token

    def command(self, *args: str) -> str:
        file = str(self.folder / "trigate.yaml")
        found = invoke(*args, *([file] if args[0] == "costs" else ["--config", file]))
        assert found.returncode == 0, found.stderr
        return found.stdout


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Company]:
    folder = tmp_path_factory.mktemp("company")
    with open_provider() as identity, open_provider() as ci, serve_upstream(Answering) as upstream:
        identity.people.update({name: dict(claims) for name, claims in PEOPLE.items()})
        models = [
            provider("openai/gpt-4o", f"{upstream.url}/v1", name="sonnet", price=PRICE),
            provider("openai/gpt-4o-mini", f"{upstream.url}/v1", name="small", price=PRICE),
        ]
        github = {
            "name": "github",
            "issuer": ci.issuer,
            "audience": ["trigate"],
            "claims": {"name": "repository"},
            "admit": [{"when": {"repository": "acme/app", "ref": "refs/heads/main"}, "group": "ci"}],
        }
        with gateway_of(
            folder, identity, providers=models, client_groups=GROUPS, more_issuers=[github],
            client_keys=[{"name": "terraform", "key": ADMIN, "role": "admin"}], stored_keys=True,
        ) as gateway:  # fmt: skip
            (folder / "trigate.yaml").write_text(yaml.safe_dump(dict(gateway.settings)))
            yield Company(gateway, ci, folder)


def until(days: int) -> str:
    return (TODAY + timedelta(days=days)).strftime("%Y-%m-%d")


def test_a_new_colleague_signs_in_and_works(company):
    token = company.session("ada")
    for api in ("chat", "messages", "responses"):
        assert company.ask(token, api=api).status == 200
    me = company.call("GET", "/me", token).json
    assert (me["name"], me["group"], me["role"]) == ("okta:00u1", "research", "user")
    assert me["models"] == ["sonnet"]
    assert company.ask(token, "small").status == 403


def test_a_ci_job_works_on_main_only(company):
    claims = {"sub": "repo:acme/app", "repository": "acme/app", "ref": "refs/heads/main"}
    token = company.ci.token(**claims)
    assert company.ask(token, "small").status == 200
    assert company.ask(token, "sonnet").status == 403
    assert company.call("GET", "/me", token).json["group"] == "ci"
    for other in ({"ref": "refs/pull/1/merge"}, {"repository": "evil/app"}):
        assert company.ask(company.ci.token(**{**claims, **other}), "small").status == 403


def test_a_team_lead_makes_a_key_and_helps_one_person(company):
    lead, ada = company.session("lin"), company.session("ada")
    wanted = {"group": "research", "budgets": ["10 usd/day"], "until": until(30)}
    made = company.call("PUT", "/admin/v1/keys/evals", lead, wanted)
    assert made.status == 201
    key = made.json["key"]
    eventually(lambda: company.ask(key).status == 200)
    assert company.ask(key, "small").status == 403
    raised = company.call("PUT", "/admin/v1/raises/okta:00u1", lead, {"budgets": ["40 usd/day"], "until": until(3)})
    assert raised.status in (200, 201)
    eventually(lambda: "40" in json.dumps(company.call("GET", "/me", ada).json["budgets"]))
    foreign = company.call("PUT", "/admin/v1/keys/mine", lead, {**wanted, "group": "ci"})
    assert foreign.status in (403, 404)
    of_group = {"budgets": ["5000 usd/month"], "until": until(3)}
    assert company.call("PUT", "/admin/v1/raises/research", lead, of_group).status in (403, 404)
    assert company.call("PUT", "/admin/v1/keys/x", ada, wanted).status == 403


def test_finance_gets_the_same_sums_by_command_and_api(company):
    auditor, ada = company.session("aud"), company.session("ada")
    assert company.ask(ada).status == 200
    assert company.ask(auditor).status == 403, "a role without models uses none"
    by_api = company.call("GET", f"/admin/v1/usage?month={MONTH}&by=group&format=csv", auditor)
    assert by_api.status == 200

    def sums(text: str) -> dict[str, str]:
        if not (rows := list(csv.DictReader(io.StringIO(text)))):
            return {}
        (dollars,) = [name for name in rows[0] if "usd" in name.lower()][:1]
        return {row["group"]: row[dollars] for row in rows}

    def are_equal() -> bool:
        mine = company.command("costs", "--month", MONTH, "--by", "group", "--format", "csv")
        theirs = company.call("GET", f"/admin/v1/usage?month={MONTH}&by=group&format=csv", auditor).body.decode()
        return sums(mine) == sums(theirs) and sums(mine).get("research", "0") not in ("", "0")

    eventually(are_equal, seconds=30)


def test_an_auditor_sees_every_change_and_no_secret(company):
    auditor, lead = company.session("aud"), company.session("lin")
    wanted = {"group": "research", "until": until(10)}
    secret = company.call("PUT", "/admin/v1/keys/audited", lead, wanted).json["key"]
    found = company.call("GET", f"/admin/v1/audit?since={TODAY:%Y-%m-%d}&limit=1000", auditor)
    assert found.status == 200
    rows = [row for row in found.json["data"] if "audited" in json.dumps(row)]
    assert rows
    assert "okta:00u2" in json.dumps(rows)
    assert secret not in found.body.decode()
    for path in ("/admin/v1/keys?limit=1000", "/admin/v1/people?limit=1000"):
        listed = company.call("GET", path, auditor)
        assert listed.status == 200
        assert secret not in listed.body.decode()
    assert company.call("DELETE", "/admin/v1/keys/audited", auditor).status == 403
    assert company.call("GET", "/admin/v1/audit", lead).status == 403


def test_an_operator_stops_a_leaked_key_and_a_lost_laptop_at_once(company):
    token = company.session("ada")
    key = company.call("PUT", "/admin/v1/keys/leaked", ADMIN, {"group": "research", "until": until(5)}).json["key"]
    eventually(lambda: company.ask(key).status == 200)
    company.command("keys", "revoke", "leaked")
    began = time.monotonic()
    eventually(lambda: company.ask(key).status == 401)
    assert company.ask(token).status == 200
    company.command("people", "block", "okta:00u1", "--reason", "laptop lost")
    eventually(lambda: company.ask(token).status == 401)
    assert time.monotonic() - began < 10
    shown = request(company.gateway.url, "GET", "/readyz?verbose", headers=bearer(ADMIN))
    assert shown.status == 200
    assert "okta" in shown.body.decode()
    company.command("people", "unblock", "okta:00u1")
    eventually(lambda: can_sign_in(company, "ada"))


def can_sign_in(company: Company, user: str) -> bool:
    with contextlib.suppress(StopIteration):  # the page has no button to approve
        return company.ask(company.session(user)).status == 200
    return False
