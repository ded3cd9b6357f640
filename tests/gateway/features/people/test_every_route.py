"""A person is a client on every route: it gets the responses of a client key with the same rights, and no others."""

import json

import attrs
import pytest

from tests.support.cases import case
from tests.support.each_row import each_row
from tests.support.every_route import ONE_OF_EACH, ordinary_request, send_to_route, settings
from tests.support.features import rows_of
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import exchanges
from tests.support.hostile_bodies import HostileAnswer
from tests.support.oidc import open_provider
from tests.support.people import bearer, issuer, people_gateway
from tests.support.set_answer import SetAnswer, set_answer_provider

BOB = "key-of-bob-0123456789"
PARTS = [0, *(pytest.param(part, marks=pytest.mark.soak) for part in (1, 2))]
"""Each part has every third route."""
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


@pytest.mark.parametrize("part", PARTS)
def test_a_person_has_the_statuses_of_a_client_key(all_routes, part):
    served, identity = all_routes
    token, mark = identity.token(sub="00u1", groups=["ml"]), f"same-statuses-{part}"
    routes = [(key, route) for key, route in ONE_OF_EACH.items() if key != "metrics"]
    for key, route in routes[part::3]:
        with case(key):
            body = ordinary_request(route)
            body = attrs.evolve(body, headers={**body.headers, "x-request-id": mark})
            statuses = [send_to_route(served.port, route, body, one) for one in (BOB, token)]
            assert statuses[0] == statuses[1]
            assert statuses[1] not in (0, 401, 500)
    clients = {line.get("client") for line in exchanges(served.log, mark)}
    assert {"okta:00u1"} <= clients <= {"bob", "okta:00u1"}


@each_row("key", ONE_OF_EACH)
def test_no_route_accepts_a_token_that_no_rule_admits(all_routes, key):
    served, identity = all_routes
    route = ONE_OF_EACH[key]
    refused = [identity.token(sub="1", groups=["sales"]), identity.token(sub="1", groups=["ml"], exp=9)]
    statuses = [send_to_route(served.port, route, ordinary_request(route), one) for one in refused]
    with_nothing = send_to_route(served.port, route, ordinary_request(route), "")
    assert statuses == ([403, 401] if with_nothing == 401 else [with_nothing] * 2)


@pytest.mark.parametrize("part", PARTS)
def test_a_person_without_models_uses_none(all_routes, part):
    served, identity = all_routes
    token = identity.token(sub="2", groups=["none"])
    routes = [one for one in ONE_OF_EACH.values() if one.row.main and one.method == "POST"]
    for route in routes[part::3]:
        with case(route.path):
            assert send_to_route(served.port, route, ordinary_request(route), token) in (400, 403, 404)


ROLES = (
    ({"role": "admin"}, []), ({"role": "auditor"}, []), ({"role": "lead", "group": "research"}, []), ({}, None),
    ({"models": []}, []), ({"role": "admin", "models": ["small"]}, ["small"]), ({"role": "user"}, None),
)  # fmt: skip
"""Rights of a client key, and the models that it uses: ``None`` is all."""
RULES = [
    {"when": {"groups": "ml"}},
    {"when": {"groups": "audit"}, "role": "auditor", "models": []},
    {"when": {"groups": "boss"}, "role": "admin"},
    {"when": {"groups": "lead"}, "role": "lead", "group": "research"},
]


@pytest.fixture(scope="module")
def with_roles():
    """Serve people and keys of all roles."""
    keys = [{"name": f"key {number}", "key": f"{BOB}-{number}", **rights} for number, (rights, _) in enumerate(ROLES)]
    with people_gateway(lambda identity: [issuer(identity, admit=RULES)], client_keys=keys) as setup:
        yield setup


@each_row(("group", "status"), [("ml", 403), ("audit", 200), ("boss", 200), ("lead", 403)])
@each_row("path", [*rows_of("metrics", "/metrics"), "/readyz?verbose"])
def test_only_auditors_and_admins_see_the_usage_of_all_clients(with_roles, group, status, path):
    reply = with_roles.gateway.request("GET", path, headers=bearer(with_roles.identity.token(sub="1", groups=[group])))
    assert reply.status == status
    assert status == 200 or b"needs the role auditor or admin" in reply.body


@each_row(("number", "models"), enumerate(models for _, models in ROLES))
def test_a_key_with_a_role_uses_only_the_models_that_it_lists(with_roles, number, models):
    """A management key that calls every model surprises its owner (BerriAI/litellm#19492)."""
    key, expected = f"{BOB}-{number}", ["sonnet", "small"] if models is None else models
    for path in rows_of("model_lists", "/v1/models"):
        listed = with_roles.gateway.request("GET", path, headers=bearer(key)).json["data"]
        assert [one["id"] for one in listed] == expected
    statuses = [with_roles.ask("chat", key, model=model).status for model in ("sonnet", "small")]
    assert statuses == [200 if model in expected else 403 for model in ("sonnet", "small")]
