"""A person is a client on every route: it gets the responses of a client key with the same rights, and no others.

Each route also accepts tokens whose key the gateway has to fetch first."""

import http.client
import itertools
import json
from collections.abc import Iterator

import attrs
import pytest

from gateway.endpoints.health import ALIVE, READY, ROOT
from gateway.features.people import key_sets
from tests.support.cases import case
from tests.support.each_row import each_row
from tests.support.every_route import (
    ONE_OF_EACH,
    ServedRoute,
    ordinary_request,
    send_to_route,
    served_routes,
    settings,
)
from tests.support.features import rows_of
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import PATIENCE, Gateway, Wire, exchanges
from tests.support.hostile_bodies import HostileAnswer
from tests.support.oidc import OidcProvider, open_provider
from tests.support.people import bearer, issuer, people_gateway
from tests.support.set_answer import SetAnswer, set_answer_provider
from tests.support.websocket_client import handshake

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


OPEN = (*ALIVE, *READY, *ROOT)
"""Paths that need no key."""
ROUTES = served_routes()
_numbers = itertools.count()


@attrs.frozen
class Served:
    """All routes, for the client bob, and for the people of the provider ``identity``."""

    gateway: Gateway
    identity: OidcProvider

    def new_token(self, **changed: object) -> str:
        """Return a token that a new key signed, which the gateway has to fetch first."""
        key = self.identity.rotate(f"key-{next(_numbers)}", "ES256", keep=False)
        return self.identity.token(key, **{"sub": "00u1", "groups": ["ml"], **changed})

    def send(self, route: ServedRoute, key: str, mark: str, address: str = "127.0.0.1") -> int:
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.gateway.port, timeout=PATIENCE, source_address=(address, 0)
        )
        try:
            body = ordinary_request(route)
            headers = {**body.headers, "authorization": f"Bearer {key}", "x-request-id": mark}
            connection.request(route.method, route.url, body.data, headers)
            response = connection.getresponse()
            if (
                response.headers["content-type"] != "text/event-stream; charset=utf-8" or body.data
            ):  # others are endless
                assert key.encode() not in response.read()
            return response.status
        finally:
            connection.close()


@pytest.fixture(scope="module")
def all_routes() -> Iterator[Served]:
    rules = [{"when": {"groups": "ml"}}, {"when": {"groups": "none"}, "models": []}]
    with set_answer_provider() as url, open_provider() as identity, pytest.MonkeyPatch.context() as patch:
        patch.setattr(key_sets, "UNKNOWN_PAUSE", 0.0)
        content = settings(url)
        keys = [*content["client_keys"], {"name": "bob", "key": BOB}]
        with gateway_thread({**content, "client_keys": keys, "issuers": [issuer(identity, admit=rules)]}) as served:
            SetAnswer.answer = ANSWER
            yield Served(served, identity)


@pytest.mark.slow
def test_a_person_has_the_statuses_of_a_client_key_on_each_route(all_routes: Served):
    for route in ROUTES:
        if route.path == "/metrics":
            continue  # for operators, and clients that may use every model
        with case(f"{route.method} {route.path}"):
            statuses = [all_routes.send(route, one, "same-statuses") for one in (BOB, all_routes.new_token())]
            assert statuses[0] == statuses[1]
            assert statuses[1] not in (401, 500, 503)
    clients = {line.get("client") for line in exchanges(all_routes.gateway.log, "same-statuses")}
    assert {"okta:00u1"} <= clients <= {"bob", "okta:00u1"}


@pytest.mark.slow
def test_each_route_rejects_tokens_that_are_not_from_a_person(all_routes: Served):
    """Each route gets one of the tokens, by turns."""
    for number, route in enumerate(one for one in ROUTES if one.path not in OPEN):
        with case(f"{route.method} {route.path}"):
            token, status = (
                (all_routes.identity.token(exp=1000), 401),
                (all_routes.identity.token(aud="other"), 401),
                ("invented-0123456789", 401),
                (all_routes.new_token(groups=["sales"]), 403),
            )[number % 4]
            assert all_routes.send(route, token, "rejected", f"127.8.{number % 250}.1") == status


HANDSHAKES = (
    *rows_of("responses_websocket", ("/v1/responses", {"authorization": "Bearer TOKEN"})),
    *rows_of(
        "realtime",
        ("/v1/realtime?model=on-openai", {"authorization": "Bearer TOKEN"}),
        ("/v1/realtime?model=on-openai", {"sec-websocket-protocol": "realtime, openai-insecure-api-key.TOKEN"}),
        ("/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent?key=TOKEN", {}),
    ),
)
"""Paths and headers of websocket handshakes."""


@pytest.mark.parametrize(("path", "headers"), HANDSHAKES)
def test_a_websocket_waits_for_the_judgement_of_a_token(all_routes: Served, path: str, headers: dict[str, str]):
    statuses = []
    for token in (all_routes.new_token(), "invented-0123456789", all_routes.identity.token(exp=1000)):
        with Wire.connect(all_routes.gateway.port) as wire:
            sent = {name: value.replace("TOKEN", token) for name, value in headers.items()}
            wire.send(handshake(path.replace("TOKEN", token), sent))
            statuses.append(int(wire.read_until(b"\r\n").split()[1]))
    assert statuses[0] not in (401, 403, 500, 503)
    assert statuses[1:] == [401, 401]


@pytest.mark.parametrize("part", PARTS)
def test_a_person_without_models_uses_none(all_routes: Served, part: int):
    token = all_routes.new_token(groups=["none"])
    routes = [one for one in ONE_OF_EACH.values() if one.row.main and one.method == "POST"]
    for route in routes[part::3]:
        with case(route.path):
            assert send_to_route(all_routes.gateway.port, route, ordinary_request(route), token) in (400, 403, 404)


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
