"""Every route accepts the tokens of people, also those whose key the gateway has to fetch, and rejects all others."""

import http.client
import itertools
from collections.abc import Iterator

import attrs
import pytest

from gateway.endpoints.health import ALIVE, READY, ROOT
from gateway.features.people import key_sets
from tests.support.cases import case
from tests.support.every_route import ServedRoute, ordinary_request, served_routes, settings
from tests.support.features import rows_of
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import PATIENCE, Gateway, Wire
from tests.support.oidc import OidcProvider, open_provider
from tests.support.people import issuer
from tests.support.set_answer import set_answer_provider
from tests.support.websocket_client import handshake

pytestmark = pytest.mark.slow

OPEN = (*ALIVE, *READY, *ROOT)
"""Paths that need no key."""
OPERATORS = ("/metrics",)
"""Paths that need an operator's key, or a client that may use every model."""

ROUTES = served_routes()
_numbers = itertools.count()


@attrs.frozen
class PeopleRoutes:
    gateway: Gateway
    identity: OidcProvider

    def new_token(self, **changed: object) -> str:
        """Return a token that a new key signed, which the gateway has to fetch first."""
        key = self.identity.rotate(f"key-{next(_numbers)}", "ES256", keep=False)
        return self.identity.token(key, **{"sub": "00u1", **changed})

    def send(self, route: ServedRoute, token: str, address: str = "127.0.0.1") -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.gateway.port, timeout=PATIENCE, source_address=(address, 0)
        )
        try:
            body = ordinary_request(route)
            headers = {**body.headers, "authorization": f"Bearer {token}"}
            connection.request(route.method, route.url, body.data, headers)
            response = connection.getresponse()
            endless = response.headers["content-type"] == "text/event-stream; charset=utf-8" and not body.data
            return response.status, b"" if endless else response.read()
        finally:
            connection.close()


@pytest.fixture(scope="module")
def people_routes() -> Iterator[PeopleRoutes]:
    with open_provider() as identity, set_answer_provider() as url, pytest.MonkeyPatch.context() as patch:
        patch.setattr(key_sets, "UNKNOWN_PAUSE", 0.0)
        found = {**settings(url), "issuers": [issuer(identity, admit=[{"when": {"sub": "00u1"}}])]}
        with gateway_thread(found) as gateway:
            yield PeopleRoutes(gateway, identity)


def test_each_route_waits_for_the_judgement_of_a_token(people_routes: PeopleRoutes):
    for route in ROUTES:
        with case(f"{route.method} {route.path}"):
            token = people_routes.new_token()
            status, body = people_routes.send(route, token)
            assert status not in (401, 500, 503), body
            assert token.encode() not in body
            if route.path in OPERATORS:
                assert status == 403
            else:
                needed = (b"foreign_ids", b"passthrough", b"realtime", b"mcp")
                assert status != 403 or any(word in body for word in needed), body


def test_each_route_rejects_tokens_that_are_not_from_a_person(people_routes: PeopleRoutes):
    """Each route gets one of the tokens, by turns."""
    for number, route in enumerate(one for one in ROUTES if one.path not in OPEN):
        with case(f"{route.method} {route.path}"):
            token, status = (
                (people_routes.identity.token(exp=1000), 401),
                (people_routes.identity.token(aud="other"), 401),
                ("invented-0123456789", 401),
                (people_routes.new_token(sub="00u2"), 403),
            )[number % 4]
            assert people_routes.send(route, token, f"127.8.{number % 250}.1")[0] == status


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
def test_a_websocket_waits_for_the_judgement_of_a_token(
    people_routes: PeopleRoutes, path: str, headers: dict[str, str]
):
    statuses = []
    for token in (people_routes.new_token(), "invented-0123456789", people_routes.identity.token(exp=1000)):
        with Wire.connect(people_routes.gateway.port) as wire:
            sent = {name: value.replace("TOKEN", token) for name, value in headers.items()}
            wire.send(handshake(path.replace("TOKEN", token), sent))
            statuses.append(int(wire.read_until(b"\r\n").split()[1]))
    assert statuses[0] not in (401, 403, 500, 503)
    assert statuses[1:] == [401, 401]
