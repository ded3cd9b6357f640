"""A person is a client: shares, caches, stored state, metrics and the ledger treat it as one."""

import contextlib
import re
import sqlite3
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.features import members_of, needs_feature
from tests.support.harness import eventually, provider
from tests.support.people import MODEL, OTHER_MODEL, bearer, issuer, people_gateway

RULES = [
    {"when": {"groups": "ml"}, "group": "research", "limits": {"in_flight": 1}},
    {
        "when": {"groups": "cached"},
        "group": "research",
        **members_of("answer_cache", cache={"ttl": "1h", "scope": "group"}),
    },
    {"when": {"groups": "alone"}, "group": "research", **members_of("answer_cache", cache={"ttl": "1h"})},
    {"when": {"groups": "plain"}},
]  # fmt: skip


@pytest.fixture(scope="module")
def setup(tmp_path_factory):
    storage = {"type": "sqlite", "path": str(tmp_path_factory.mktemp("people") / "state.sqlite")}

    def models(upstream):
        url = f"{upstream.url}/v1"
        return [provider("openai/gpt-4o", url, name=MODEL), provider("openai/o", url, name=OTHER_MODEL, state="ours")]

    with people_gateway(
        lambda identity: [issuer(identity, admit=RULES)], models=models, state_storage=storage
    ) as found:
        yield found


def in_group(setup, group, sub):
    return setup.token(sub=sub, groups=[group])


def test_each_person_has_its_own_share(setup):
    ada, bob = in_group(setup, "ml", "ada"), in_group(setup, "ml", "bob")
    setup.upstream.is_open.clear()
    before = len(setup.upstream.seen)
    try:
        with ThreadPoolExecutor(2) as pool:
            waiting = [pool.submit(setup.ask, "chat", one) for one in (ada, bob)]
            eventually(lambda: len(setup.upstream.seen) == before + 2, what="both requests")
            refused = setup.ask("chat", in_group(setup, "ml", "ada"))
            setup.upstream.is_open.set()
            assert [one.result().status for one in waiting] == [200, 200]
    finally:
        setup.upstream.is_open.set()
    assert refused.status == 429
    assert b"'okta:ada' has reached its limit of 1 running requests" in refused.body


def is_cached(setup, token, text):
    before = len(setup.upstream.seen)
    assert setup.ask("chat", token, text=text).status == 200
    return len(setup.upstream.seen) == before


@needs_feature("answer_cache")
@pytest.mark.parametrize(("group", "is_shared"), [("cached", True), ("alone", False)])
def test_people_of_a_group_share_cached_answers_only_if_their_rule_says_so(setup, group, is_shared):
    ada, bob = in_group(setup, group, "ada"), in_group(setup, group, "bob")
    found = [is_cached(setup, one, f"of {group}") for one in (ada, bob, ada, bob)]
    assert found == [False, is_shared, True, True]


def test_no_person_reads_or_continues_the_responses_of_another(setup):
    ada, bob = in_group(setup, "plain", "ada"), in_group(setup, "plain", "bob")
    reply = setup.ask("responses", ada, model=OTHER_MODEL, store=True)
    id = reply.json["id"]
    read = [setup.gateway.request("GET", f"/v1/responses/{id}", headers=bearer(one)).status for one in (ada, bob)]
    assert read == [200, 404]
    again = [setup.ask("responses", one, model=OTHER_MODEL, previous_response_id=id).status for one in (ada, bob)]
    assert again == [200, 400]
    another = setup.token(sub="ada", groups=["plain"], jti="another token")
    assert setup.gateway.request("GET", f"/v1/responses/{id}", headers=bearer(another)).status == 200


@needs_feature("metrics")
def test_metrics_count_a_person_as_its_group_or_else_its_issuer():
    rules = [
        {"when": {"groups": "ml"}, "group": "research", "ratelimits": {"requests": "1/h"}},
        {"when": {"groups": "plain"}, "ratelimits": {"requests": "1/h"}},
    ]
    keys = [{"name": "operator", "key": "key-of-ann-0123456789"}]
    with people_gateway(lambda identity: [issuer(identity, admit=rules)], client_keys=keys) as setup:
        for group in ("ml", "plain"):
            for number in range(20):
                token = in_group(setup, group, f"person-{group}-{number}")
                first, second = setup.ask("chat", token), setup.ask("chat", token)
                assert (first.status, second.status) == (200, 429), (number, first.body)

        def page():
            return setup.gateway.request("GET", "/metrics", headers=bearer("key-of-ann-0123456789")).body.decode()

        text = eventually(lambda: (found := page()).count("trigate_limit_refusals_total{") >= 2 and found)
        assert "person-" not in text
        clients = set(re.findall(r'client="([^"]*)"', text))
        assert clients <= {"research", "okta", "operator", "none"}
        assert {"research", "okta"} <= clients
        assert 'trigate_client_info{client="research",group="research"}' in text


def test_the_kept_ledger_has_the_person_and_its_group(tmp_path):
    file = tmp_path / "state.sqlite"
    storage = {"type": "sqlite", "path": str(file)}
    with people_gateway(lambda identity: [issuer(identity, admit=RULES)], state_storage=storage) as setup:
        assert setup.ask("chat", in_group(setup, "cached", "ada")).status == 200
        assert setup.ask("chat", in_group(setup, "plain", "bob")).status == 200
    with contextlib.closing(sqlite3.connect(file)) as db:
        names = [row[1] for row in db.execute("PRAGMA table_info(ledger)")]
        found = [dict(zip(names, row, strict=True)) for row in db.execute("SELECT * FROM ledger")]
    assert {(one["client"], one["client_group"]) for one in found} == {("okta:ada", "research"), ("okta:bob", None)}
