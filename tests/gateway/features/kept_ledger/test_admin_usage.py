"""Usage over HTTP: exact sums, equal to those of the command, of the caller's own clients."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.support.admin import AdminGateway, admin_config, admin_gateway
from tests.support.apis import question
from tests.support.command_line import invoke
from tests.support.features import needs_feature
from tests.support.harness import eventually, provider
from tests.support.people import Answering
from tests.support.upstreams import serve_upstream

pytestmark = [needs_feature("admin"), needs_feature("people")]

SENT: Final = {"user": 3, "passed": 2, "person": 2}
PRICE: Final = {"input": 1.37, "output": 4.19}


@pytest.fixture(scope="module")
def used_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AdminGateway]:
    """Serve a gateway whose clients have spent something."""
    folder = tmp_path_factory.mktemp("usage")
    with serve_upstream(Answering) as upstream:
        entries = [
            provider("openai/small", upstream.url + "/v1", name="small", price=PRICE),
            provider("openai/large", upstream.url + "/v1", name="large", price=PRICE),
        ]
        with admin_gateway(folder, entries=entries) as admin:
            for caller, times in SENT.items():
                for _ in range(times):
                    body = question("chat", "large" if caller == "passed" else "small", "hi")
                    reply = admin.call(caller, "POST", "/v1/chat/completions", body)
                    assert reply.status == 200, reply.body
            total = sum(SENT.values())
            eventually(lambda: usage(admin, "by=key")["total"]["requests"] == total, what="the ledger's lines")
            yield admin


def test_a_request_counts_for_the_group_in_which_it_began(tmp_path):
    with serve_upstream(Answering) as upstream:
        names, url = ("small", "large"), f"{upstream.url}/v1"
        entries = [provider(f"openai/{name}", url, name=name, price=PRICE) for name in names]
        with admin_gateway(tmp_path, entries=entries) as admin, ThreadPoolExecutor() as threads:
            made = admin.call("admin", "PUT", "/admin/v1/keys/evals", {"group": "research"})
            body = question("chat", "small", "hi")
            for verb, change in (("PUT", {"group": "ci"}), ("DELETE", None)):
                upstream.is_open.clear()
                before = len(upstream.seen)
                running = threads.submit(admin.call, made.json["key"], "POST", "/v1/chat/completions", body)
                eventually(lambda before=before: len(upstream.seen) > before, what="the request")
                changed = admin.call("admin", verb, "/admin/v1/keys/evals", change)
                assert changed.status in (200, 204), changed.body
                upstream.is_open.set()
                assert running.result().status == 200
            eventually(lambda: usage(admin)["total"]["requests"] == 2, what="the ledger's lines")
            assert {row["group"]: row["requests"] for row in usage(admin, "by=group")["data"]} == {
                "research": 1, "ci": 1
            }  # fmt: skip


def usage(admin: AdminGateway, query: str = "", caller: str = "auditor", path: str = "/admin/v1/usage") -> Any:
    reply = admin.call(caller, "GET", f"{path}?{query}")
    assert reply.status == 200, reply.body
    return reply.json


def costs(admin: AdminGateway, folder: Path, *args: str) -> str:
    file = folder / "costs.yaml"
    file.write_text(yaml.safe_dump({**admin_config(admin.folder), "listeners": []}))
    done = invoke("costs", "--config", str(file), *args)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_sums_of_the_command_and_of_the_api_are_equal_to_the_nano_dollar(used_gateway, tmp_path):
    month = usage(used_gateway, "by=month")["data"][0]["month"]
    for by in ("group", "key", "key,model", "day,group"):
        said = json.loads(costs(used_gateway, tmp_path, "--month", month, "--format", "json",
                                *(word for one in by.split(",") for word in ("--by", one))))  # fmt: skip
        found = usage(used_gateway, f"month={month}&by={by}")
        assert len(found["data"]) == len(said["rows"]) > 0
        for ours, theirs in zip(found["data"], said["rows"], strict=True):
            assert Decimal(ours["usd"]) * 10**9 == theirs["cost_nanos"]
            assert [ours[name] for name in by.split(",")] == [theirs[name] for name in by.split(",")]
        assert Decimal(found["total"]["usd"]) == sum(Decimal(row["usd"]) for row in found["data"]) > 0
        written = costs(used_gateway, tmp_path, "--month", month, "--format", "csv",
                        *(word for one in by.split(",") for word in ("--by", one)))  # fmt: skip
        reply = used_gateway.call("auditor", "GET", f"/admin/v1/usage?month={month}&by={by}&format=csv")
        assert reply.body.decode() == written
        assert reply.headers["content-type"].startswith("text/csv")


def test_a_caller_sums_up_its_own_requests_and_a_lead_its_group(used_gateway):
    own = {caller: usage(used_gateway, "", caller, "/me/usage")["total"] for caller in SENT}
    assert {caller: total["requests"] for caller, total in own.items()} == SENT
    everything = usage(used_gateway, "by=group")
    groups = {row["group"]: row for row in everything["data"]}
    assert (groups["research"]["requests"], groups["ci"]["requests"]) == (5, 2)
    of_lead = usage(used_gateway, "by=key", "lead")
    assert of_lead["total"] == {name: value for name, value in groups["research"].items() if name != "group"}
    assert {row["key"] for row in of_lead["data"]} == {"user", "okta:person-1"}
    assert usage(used_gateway, "by=key&key=passed", "lead")["total"]["requests"] == 0
    assert Decimal(everything["total"]["usd"]) == sum(Decimal(total["usd"]) for total in own.values())
    assert used_gateway.call("lead", "GET", "/admin/v1/usage?group=ci").status == 404
    assert usage(used_gateway, "group=research", "lead")["total"]["requests"] == 5


def test_a_person_appears_with_its_label(used_gateway):
    used_gateway.note_person("okta:person-1")
    rows = {row["key"]: row for row in usage(used_gateway, "by=key")["data"]}
    assert rows["okta:person-1"]["label"] == "person-1@example.com"
    assert "label" not in rows["user"]


def test_a_budget_and_a_groups_budget_show_the_same_spending(used_gateway):
    me = used_gateway.call("user", "GET", "/me").json["budgets"][0]
    assert Decimal(me["used"]) == Decimal(usage(used_gateway, "", "user", "/me/usage")["total"]["usd"])
    group = used_gateway.call("lead", "GET", "/admin/v1/groups/research").json["budgets"][0]
    assert Decimal(group["used"]) == Decimal(usage(used_gateway, "by=group", "lead")["total"]["usd"])
