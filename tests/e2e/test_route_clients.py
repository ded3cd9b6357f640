"""Tests of Claude Code and Codex with a route whose first target is dead and later recovers: whole sessions with tools
and thinking complete, regardless of the target of each turn."""

import contextlib
from collections.abc import Iterator

import attrs
import pytest

from tests.support.features import rows_of
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import Gateway, Reply, config, eventually, exchanges, free_port, provider
from tests.support.session_replay import Replay, read_session
from tests.support.stand_in import ENTRIES, FOUND, REPEATED, StandIn
from tests.support.upstreams import PATHS, serve_upstream

SESSIONS = [
    ("claude", ("messages", "chat")), ("claude", ("chat", "responses")), ("codex", ("responses", "messages")),
    *rows_of(
        "responses_websocket",
        ("codex-websocket", ("chat", "responses")),
        ("codex-websocket", ("responses", "messages")),
    ),
]  # fmt: skip
"""A client, the API of the route's first target, and the API of its second target."""
QUICK = {"failures": 2, "cooldown": "100ms", "longest": "200ms"}


@attrs.define
class Stage:
    """A gateway with a route, the provider of its second target, and the unused port of its first target."""

    gateway: Gateway
    second: StandIn
    port: int

    @contextlib.contextmanager
    def first_is_back(self) -> Iterator[StandIn]:
        """Start the first target's provider, and yield it after the gateway has closed its circuit."""
        with serve_upstream(StandIn, self.port) as first:
            eventually(lambda: self.ask().headers["x-trigate-target"].endswith("/first-model"))
            yield first

    def ask(self) -> Reply:
        body = {"model": "best", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 99}
        reply = self.gateway.request("POST", PATHS["chat"], body)
        assert reply.status == 200, reply.body
        return reply

    def attempted_targets(self, since: int) -> list[str]:
        """Return the target of each attempt in the log."""
        lines = exchanges(self.gateway.log[since:])
        assert [line for line in lines if line["ended"] != "complete"] == []
        return [one["target"] for line in lines for one in line.get("tried", ())]


@pytest.fixture
def stage(request) -> Iterator[Stage]:
    first, second = request.param
    with serve_upstream(StandIn) as upstream:
        dead, port = free_port(), free_port()
        family = ENTRIES[first].partition("/")[0]
        entries = [
            provider(f"{family}/first-model", f"http://127.0.0.1:{dead}", [first], name="first"),
            provider(ENTRIES[second], upstream.url, [second], name="second"),
        ]
        aliases = {"best": {"targets": ["first", "second"]}}
        settings = config(entries, port, model_aliases=aliases, circuit=QUICK)
        with gateway_thread(settings, port, check_streams=True) as gateway:
            yield Stage(gateway, upstream, dead)


@pytest.mark.parametrize(("client", "stage"), SESSIONS, indirect=["stage"])
def test_a_session_completes_while_the_first_target_is_dead_and_afterwards(stage, client):
    """Some fallbacks only worked for the second request, or in one API: agentgateway/agentgateway#1081,
    BerriAI/litellm#26067."""
    session = read_session(client)
    for answer in Replay(stage.gateway, "best").run(session):
        assert answer.status in (200, 101), answer.said[:500]
    assert {FOUND, REPEATED} <= set(stage.second.said)
    assert stage.attempted_targets(0).count("first") >= 1
    with stage.first_is_back() as first:
        asked = len(stage.second.seen)
        for answer in Replay(stage.gateway, "best").run(session):
            assert answer.status in (200, 101), answer.said[:500]
        assert {FOUND, REPEATED} <= set(first.said)
        assert len(stage.second.seen) == asked
        assert first.refused == stage.second.refused == []


@pytest.mark.parametrize(("client", "stage"), SESSIONS[1:4], indirect=["stage"])
def test_a_recovered_target_can_continue_its_session(stage, client):
    """The target must not get the other target's thinking in a form that it refuses (BerriAI/litellm#32140)."""
    session = read_session(client)
    replay = Replay(stage.gateway, "best").run(session)
    answers = [next(replay)]
    while FOUND not in stage.second.said:
        answers.append(next(replay))
    with stage.first_is_back() as first:
        answers += replay
        assert [answer.status for answer in answers if answer.status not in (200, 101)] == []
        assert REPEATED in first.said
        assert first.refused == stage.second.refused == []
