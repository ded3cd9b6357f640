"""Replays of whole sessions of real programs with a provider of each API: a tool call, its result, streamed text, and a
second session that continues the first. ``tests/clients`` records them."""

from collections.abc import Iterator
from itertools import cycle
from typing import Any

import pytest

from tests.support.each_row import each_row
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import Gateway
from tests.support.session_replay import Replay, clients, read_session, searching_clients
from tests.support.stand_in import ENTRIES, FOUND, REPEATED, StandIn
from tests.support.strings import strings
from tests.support.upstreams import serve_upstream


@pytest.fixture(scope="module")
def upstream() -> Iterator[StandIn]:
    with serve_upstream(StandIn) as provider:
        yield provider


@pytest.fixture(scope="module")
def gateway(upstream) -> Iterator[Gateway]:
    settings, port = upstream.settings()
    with gateway_thread(settings, port, check_streams=True) as process:
        yield process


def expected_result(request: dict[str, Any], api: str) -> tuple[int, set[str] | None]:
    """Return the request's expected status, and its members that a provider of ``api`` does not support."""
    if "messages" in request:
        return 101, None
    return request["status"], set(request["dropped"][api])


def test_clients_of_every_api_have_sessions():
    paths = {request["path"].partition("?")[0] for client in clients() for request in read_session(client)}
    assert paths >= {"/v1/chat/completions", "/v1/messages", "/v1/responses"}


@each_row(("client", "api"), [*zip(clients(), cycle(ENTRIES), strict=False)])
def test_a_session_of_a_real_program_completes(gateway, upstream, client, api):
    upstream.said.clear()
    upstream.refused.clear()
    logged, session = len(gateway.log), read_session(client)
    for answer in Replay(gateway, f"on-{api}").run(session):
        assert (answer.status, answer.dropped) == expected_result(session[int(answer.name) - 1], api), answer.said[:500]
        if answer.verdict is not None:
            assert answer.verdict.broken is None
            assert answer.verdict.outcome == "complete"
    assert upstream.refused == []
    assert {FOUND, REPEATED} <= set(upstream.said)  # the last answer needs the whole conversation
    assert [line for line in gateway.log[logged:] if '"level":"warning"' in line] == []


def test_a_session_has_no_text_of_others_and_no_details_of_its_machine():
    for client in (*clients(), *searching_clients()):
        texts = [text for request in read_session(client) for text in strings(request)]
        assert [text for text in texts if len(text) > 300 and not text.startswith('{"')] == [], client
        assert [text for text in texts if "/tmp" in text or "/root" in text or "sk-" in text] == [], client
