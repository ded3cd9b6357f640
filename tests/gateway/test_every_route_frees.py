"""No request leaves reference cycles with its objects behind, on any route (encode/httpx#3733).

The collector removes cycles only while few requests are in flight, because a full collection delays every stream.
Until then a busy gateway would grow with each request: vector stores cost it 11 kB each.
"""

import gc
from collections.abc import Iterator
from typing import Any, Final, TypeAlias

import pytest

from tests.support.any_answer import ANSWER
from tests.support.every_route import (
    ONE_OF_EACH,
    ServedRoute,
    before_set_answer,
    ordinary_request,
    send_to_route,
)
from tests.support.features import rows_of
from tests.support.gateway_thread import ThreadGateway
from tests.support.harness import eventually
from tests.support.hostile_bodies import JSON, HostileAnswer, HostileBody
from tests.support.set_answer import SetAnswer

PACKAGES: Final = ("gateway", "providers", "streams")
REFUSAL: Final = HostileAnswer(b'{"error": {"message": "no", "type": "x"}}')
NO_JSON: Final = HostileBody(b'{"model":', JSON)


Outcome: TypeAlias = tuple[str, ServedRoute, int, HostileAnswer, HostileBody]
"""How a request may end: its name, its route, the provider's status and answer, and the client's body."""


@pytest.fixture(scope="module")
def gateway():
    with before_set_answer() as served:
        yield served


def cyclic_objects(served: ThreadGateway, *ends: Outcome) -> set[str]:
    """Return the types of the gateway's objects that only the collector frees after a few requests of each outcome."""

    def send() -> None:
        for _, route, SetAnswer.status, SetAnswer.answer, body in ends:
            send_to_route(served.port, route, body)
        eventually(lambda: not served.lifecycle.connections, what="the end of all connections")

    send()  # imports what the routes need
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        send()
        gc.collect()
        return {type(one).__qualname__ for one in gc.garbage if _package_of(one) in PACKAGES}
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
        SetAnswer.status = 200


def _package_of(value: Any) -> str:
    return type(value).__module__.partition(".")[0]


def every_outcome() -> list[Outcome]:
    return [one for route in ONE_OF_EACH.values() for one in outcomes(route)]


def outcomes(route: ServedRoute) -> Iterator[Outcome]:
    """Yield each outcome of a request to ``route``."""
    body, name = ordinary_request(route), f"{route.method} {route.path}"
    yield f"{name} is answered", route, 200, ANSWER, body
    yield f"{name} fails", route, 500, REFUSAL, body
    yield f"{name} is rejected", route, 400, REFUSAL, body
    if route.method != "GET":
        yield f"{name} cannot be read", route, 200, ANSWER, NO_JSON


@pytest.mark.parametrize("part", [0, *(pytest.param(part, marks=pytest.mark.soak) for part in (1, 2))])
def test_no_request_leaves_anything_to_the_collector(gateway, part):
    """A part has every third outcome, so that each kind of end is in it."""
    ends = every_outcome()[part::3]
    if found := cyclic_objects(gateway, *ends):
        by_outcome = {one[0]: objects for one in ends if (objects := cyclic_objects(gateway, one))}
        pytest.fail(f"only the collector frees {found}: {by_outcome}")


def test_enough_routes_are_answered(gateway):
    """A route whose ordinary request fails would show less."""
    SetAnswer.answer = ANSWER
    answered = {
        key for key, route in ONE_OF_EACH.items() if send_to_route(gateway.port, route, ordinary_request(route)) == 200
    }
    of_files = rows_of("files", "kept.read_vector_stores", "kept.read_containers", "kept.read_uploads")
    assert answered >= {"chat", "messages", "responses", "gemini", "converse", "interactions", "embeddings.read_openai",
                        *of_files}  # fmt: skip
