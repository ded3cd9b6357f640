"""A person is a client on every route: it gets the responses of a client key with the same rights, and no others."""

import json

import pytest

from tests.support.every_route import ONE_OF_EACH, ordinary_request, send_to_route, settings
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import exchanges
from tests.support.hostile_bodies import HostileAnswer
from tests.support.oidc import open_provider
from tests.support.people import bearer, issuer, people_gateway
from tests.support.rows import each_row
from tests.support.set_answer import SetAnswer, set_answer_provider

BOB = "key-of-bob-0123456789"
ANSWER = HostileAnswer(json.dumps({
    "id": "answer-1", "object": "x", "created": 1, "model": "m", "type": "message", "role": "assistant",
    "stop_reason": "end_turn", "status": "completed", "embeddings": [[0.1]],
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "text": "Hi", "finish_reason": "stop"}],
    "content": [{"type": "text", "text": "Hi"}], "data": [{"object": "embedding", "index": 0, "embedding": [0.1]}],
    "results": [{"index": 0, "relevance_score": 1}], "usage": {"prompt_tokens": 1, "completion_tokens": 1},
}).encode())  # fmt: skip


@pytest.fixture(scope="module")
def all_routes():
    """Serve all routes for the client bob, and for the people of a provider."""
    rules = [{"when": {"groups": "ml"}}, {"when": {"groups": "none"}, "models": []}]
    with set_answer_provider() as url, open_provider() as identity:
        content = settings(url)
        keys = [*content["client_keys"], {"name": "bob", "key": BOB}]
        with gateway_thread({**content, "client_keys": keys, "issuers": [issuer(identity, admit=rules)]}) as served:
            SetAnswer.answer = ANSWER
            yield served, identity


@each_row("key", [key for key in ONE_OF_EACH if key != "metrics"])
def test_a_person_has_the_statuses_of_a_client_key(all_routes, key):
    served, identity = all_routes
    route = ONE_OF_EACH[key]
    before = len(served.log)
    token = identity.token(sub="00u1", groups=["ml"])
    statuses = [send_to_route(served.port, route, ordinary_request(route), one) for one in (BOB, token)]
    assert statuses[0] == statuses[1]
    assert statuses[1] not in (0, 401, 500)
    clients = {line.get("client") for line in exchanges(served.log[before:])}
    assert clients <= {"bob", "okta:00u1"}


@each_row("key", ONE_OF_EACH)
def test_no_route_accepts_a_token_that_no_rule_admits(all_routes, key):
    served, identity = all_routes
    route = ONE_OF_EACH[key]
    refused = [identity.token(sub="1", groups=["sales"]), identity.token(sub="1", groups=["ml"], exp=9)]
    statuses = [send_to_route(served.port, route, ordinary_request(route), one) for one in refused]
    with_nothing = send_to_route(served.port, route, ordinary_request(route), "")
    assert statuses == ([403, 401] if with_nothing == 401 else [with_nothing] * 2)


@each_row("key", [key for key, one in ONE_OF_EACH.items() if one.row.main and one.method == "POST"])
def test_a_person_without_models_uses_none(all_routes, key):
    served, identity = all_routes
    route = ONE_OF_EACH[key]
    status = send_to_route(served.port, route, ordinary_request(route), identity.token(sub="2", groups=["none"]))
    assert status in (400, 403, 404)


@each_row(
    ("credential", "status"),
    [({"sub": "00u1", "groups": ["ml"]}, 403), ({"sub": "1", "groups": ["audit"]}, 200),
     ({"sub": "2", "groups": ["boss"]}, 200), ({"sub": "3", "groups": ["lead"]}, 403)],
)  # fmt: skip
@each_row("path", ["/metrics", "/readyz?verbose"])
def test_only_auditors_and_admins_see_the_usage_of_all_clients(credential, status, path):
    rules = [
        {"when": {"groups": "ml"}},
        {"when": {"groups": "audit"}, "role": "auditor", "models": []},
        {"when": {"groups": "boss"}, "role": "admin"},
        {"when": {"groups": "lead"}, "role": "lead", "group": "research"},
    ]
    with people_gateway(lambda identity: [issuer(identity, admit=rules)]) as setup:
        headers = bearer(setup.identity.token(**credential))
        reply = setup.gateway.request("GET", path, headers=headers)
        assert reply.status == status
        assert status == 200 or b"needs the role auditor or admin" in reply.body


@each_row(
    ("key", "models"),
    [({"role": "admin"}, []), ({"role": "auditor"}, []), ({"role": "lead", "group": "research"}, []), ({}, None),
     ({"models": []}, []), ({"role": "admin", "models": ["small"]}, ["small"]), ({"role": "user"}, None)],
)  # fmt: skip
def test_a_key_with_a_role_uses_only_the_models_that_it_lists(key, models):
    """A management key that calls every model surprises its owner (BerriAI/litellm#19492)."""
    keys = [{"name": "terraform", "key": BOB, **key}]
    with people_gateway(client_keys=keys) as setup:
        listed = setup.gateway.request("GET", "/v1/models", headers=bearer(BOB)).json["data"]
        expected = ["sonnet", "small"] if models is None else models
        assert [one["id"] for one in listed] == expected
        statuses = [setup.ask("chat", BOB, model=model).status for model in ("sonnet", "small")]
        assert statuses == [200 if model in expected else 403 for model in ("sonnet", "small")]
