"""No input delays the streams of others (CWE-400): hostile requests and answers on every route.

The tests are generated from the tables of routes. A route without a row here fails. Each step of the gateway's loop is
measured in CPU time.
"""

import itertools
from collections.abc import Container, Iterable
from functools import partial
from typing import Any, Final

import pytest

from gateway.serving.route_table import WEBSOCKET
from tests.support.cases import case
from tests.support.every_route import (
    NO_BODY,
    ONE_OF_EACH,
    all_routes,
    before_set_answer,
    ordinary_request,
    send_to_route,
    served_routes,
)
from tests.support.features import has_feature, rows_of
from tests.support.hostile_bodies import HostileAnswer, answers
from tests.support.loop_steps import check_steps
from tests.support.relay_rows import SESSION_PATHS
from tests.support.set_answer import SetAnswer

WEBSOCKETS: Final = {
    *rows_of("responses_websocket", "/v1/responses"),
    *(path for path in rows_of("pass_through", "/passed/{rest}", "/openai/{rest}") if has_feature("realtime")),
    *SESSION_PATHS,
}
"""The paths of websockets. All share two modules whose tests send floods of frames: ``websockets/stream.py`` and
``realtime/provider_websocket.py``."""

ROUTES_WITH_BODIES: Final = {
    f"{one.method} {one.path}": one
    for one in served_routes()
    if one.method != "GET" and one.row_key in one.table and one.row is not NO_BODY
}
OFTEN_ANSWERED: Final = ("chat", "messages", "batches.read_content", "embeddings.read_openai")
"""The rows whose answers each run attacks, with a part of the attacks; the nightly run makes all attacks on all
rows."""
OFTEN_REQUESTED: Final = {f"{one.method} {one.path}" for one in [*ONE_OF_EACH.values()][::12]}
"""The routes that each run attacks, with one of the attacks by turns."""
PARTS: Final = 11


def with_parts(values: Iterable[Any], often: Container[Any]) -> list[Any]:
    """Return ``values`` with each part of the attacks as parameters.

    Each run makes the first part on one value in ``often``, the second part on the next, and so on. The nightly
    run makes the others.
    """
    found, turn = list[Any](), 0
    for one in values:
        turn += one in often
        for each in range(PARTS):
            marks = () if one in often and each == turn % PARTS else pytest.mark.soak
            found.append(pytest.param(one, each, id=f"{one}-part {each + 1}", marks=marks))
    return found


def test_every_route_has_a_row():
    """A new route needs a row in one of the tables above, so that the tests below attack it."""
    missing = [(one.method, one.path, one.row_key) for one in served_routes() if one.row_key not in one.table]
    assert missing == []


def test_every_websocket_is_known():
    """A new websocket must use the server's stream and the client of ``upstream``, whose frames are bounded."""
    assert {route.path for route in all_routes() if WEBSOCKET in route.methods} == WEBSOCKETS


@pytest.fixture(scope="module")
def gateway():
    with before_set_answer() as served:
        yield served


# The tests


def send_unless_broken(port, route, body):
    assert send_to_route(port, route, body) != 500


@pytest.mark.slow
@pytest.mark.parametrize(("name", "part"), with_parts(ROUTES_WITH_BODIES, OFTEN_REQUESTED))
def test_no_request_of_a_client_blocks_the_loop(gateway, name, part):
    SetAnswer.answer, route = HostileAnswer(b"{}"), ROUTES_WITH_BODIES[name]
    for kind, body in itertools.islice(route.row.requests(), part, None, PARTS):
        with case(kind):
            check_steps(gateway, partial(send_unless_broken, gateway.port, route, body))


@pytest.mark.slow
@pytest.mark.parametrize(("row_key", "part"), with_parts(ONE_OF_EACH, OFTEN_ANSWERED))
def test_no_response_of_a_provider_blocks_the_loop(gateway, row_key, part):
    route = ONE_OF_EACH[row_key]
    for kind, SetAnswer.answer in itertools.islice(answers().items(), part, None, PARTS):
        with case(kind):
            check_steps(gateway, partial(send_unless_broken, gateway.port, route, ordinary_request(route)))
