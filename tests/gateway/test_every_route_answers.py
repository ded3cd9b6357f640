"""No request and no response is an internal error of the gateway, on any route: its answer states the fault.

The tests are generated from the tables of routes, as those of ``test_every_route_yields``.
"""

import logging
from collections.abc import Iterator
from typing import Final

import pytest

from tests.support.cases import case
from tests.support.every_route import (
    ServedRoute,
    before_set_answer,
    ordinary_request,
    send_to_route,
    served_routes,
)
from tests.support.features import members_of
from tests.support.harness import Gateway
from tests.support.hostile_bodies import EVENTS, HostileAnswer, HostileBody
from tests.support.set_answer import SetAnswer

ROUTES: Final = [one for one in served_routes() if one.row_key in one.table and one.row.main]
STEPS: Final = [{"use": "pii", "at": ["request", "response"], "action": "report"}]

BODIES: Final = {
    "nothing": b"",
    "no JSON": b"<html>",
    "half an object": b'{"a":',
    "null": b"null",
    "a list": b'[{"a":1},null,"x"]',
    "a text": b'"x"',
    "a number": b"1e999",
    "invalid UTF-8 in a text": b'{"id":"a\xff","usage":{"input_tokens":1},"input_tokens":1,"error":"\xff"}',
    "invalid UTF-8 in a name": b'{"\xff":1,"id":"a"}',
    "a lone surrogate": b'{"id":"\\ud800","object":"\\udfff","error":{"message":"\\ud800"}}',
    "a null character": b'{"id":"\\u0000","data":[{"id":"\\u0000"}]}',
    "a huge number": b'{"id":1e400,"usage":{"input_tokens":1e30,"prompt_tokens":-5,"total_tokens":99999999999999999}}',
    "members of other types": b'{"id":[],"data":7,"usage":"x","choices":{},"output":null,"candidates":[null],'
    b'"error":[],"content":false,"model":{},"results":"x","status":[],"input_tokens":true,"totalTokens":"9"}',
    "lists of nothing": b'{"data":[null],"choices":[null],"output":[null],"content":[null],"candidates":[{}],'
    b'"results":[[]],"embeddings":[null],"usage":null}',
    "deep nesting": b"[" * 100_000 + b"]" * 100_000,
}
STATUSES: Final = {"application/json": 200, EVENTS: 200, "application/json; charset=utf-16": 400}
"""The statuses of responses, by content type."""


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with before_set_answer(**members_of("steps", steps=STEPS)) as served:
        yield served


@pytest.mark.parametrize(
    "content_type", [pytest.param(one, marks=[pytest.mark.soak] if place else []) for place, one in enumerate(STATUSES)]
)
@pytest.mark.parametrize("body", BODIES)
def test_a_malformed_response_is_no_internal_error(gateway, body, content_type, caplog):
    """A token count with invalid UTF-8 caused one, because the decoder raises another error for it."""
    data = BODIES[body] if content_type != EVENTS else b"data: %b\n\n" % BODIES[body]
    SetAnswer.answer, SetAnswer.status = HostileAnswer(data, content_type), STATUSES[content_type]
    for route in ROUTES:
        check_status(gateway, route, ordinary_request(route), caplog)


@pytest.mark.parametrize("body", BODIES)
def test_a_malformed_request_is_no_internal_error(gateway, body, caplog):
    SetAnswer.answer, SetAnswer.status = HostileAnswer(b"{}"), 200
    for route in ROUTES:
        check_status(gateway, route, HostileBody(BODIES[body], {"content-type": "application/json"}), caplog)


def check_status(gateway: Gateway, route: ServedRoute, body: HostileBody, caplog: pytest.LogCaptureFixture) -> None:
    with case(f"{route.method} {route.path}"):
        assert send_to_route(gateway.port, route, body) not in (0, 500)
        errors = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
        assert not errors, caplog.text
