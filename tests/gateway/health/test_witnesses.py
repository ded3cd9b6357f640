"""Failures of one client and of several, for all processes of a machine and every kind of endpoint."""

from typing import Any

import trio

from gateway.config_files.loading import from_mapping
from gateway.health.circuit import LASTING_COOLDOWN
from gateway.health.health import Health
from gateway.health.states import SharedStates
from gateway.health.witnesses import (
    MOST_CLIENTS,
    MOST_OF_CLIENT,
    MOST_SIGHTINGS,
    CircuitsByClient,
    Sighting,
    Witnesses,
    fingerprint,
)
from gateway.routing.router import Router
from gateway.routing.target import Target
from gateway.shared.rows import LocalRows
from streams.events import ErrorInfo, FailureReason
from tests.support.each_row import each_row
from tests.support.features import needs_feature
from tests.support.harness import PATIENCE
from tests.support.in_process import gateway
from tests.support.set_clock import SetClock
from tests.support.websocket_caller import calling
from tests.support.websocket_server import Peer, websocket_server

ANN, BOB = "ann-key-0123456789-0123456789", "bob-key-0123456789-0123456789"
KEYS = [{"name": "ann", "key": ANN}, {"name": "bob", "key": BOB}]
CONFIG = from_mapping(
    {
        "version": "v0.4.0",
        "model_providers": [{"model": "openai/*", "access_key": "k"}],
        "client_keys": KEYS,
    }
)


class Workers:
    """Two processes that share their circuits and a clock."""

    def __init__(self) -> None:
        self.clock = SetClock()
        states = SharedStates(LocalRows(100, self.clock))
        self.all = [Health(self.clock, states, workers=2) for _ in range(2)]
        self.router = Router(CONFIG)
        for one in self.all:
            one.apply_config(CONFIG)

    def target(self, model: str = "m") -> Target:
        return self.router.resolve(f"openai/{model}", "chat")

    def fail(self, worker: int, client: str, reason: FailureReason = "gone", *, model: str = "m", **how: Any) -> None:
        attempt = self.all[worker].begin(self.target(model), None, added=False, client=client)
        attempt.mark_failed(ErrorInfo("not_found", "no", reason=reason), **how)
        attempt.close()

    def answer(self, worker: int, client: str, *, model: str = "m") -> None:
        attempt = self.all[worker].begin(self.target(model), None, added=False, client=client)
        attempt.mark_started()
        attempt.close()

    def is_out(self, client: str, model: str = "m") -> list[bool]:
        """Return whether the model is unavailable for ``client``, in each process."""
        return [one.outage(self.target(model), None, client=client) is not None for one in self.all]


def test_a_confirmed_failure_counts_in_all_processes():
    workers = Workers()
    workers.fail(0, "ann")
    assert (workers.is_out("ann"), workers.is_out("bob")) == ([True, False], [False, False])
    workers.fail(0, "bob")
    assert workers.is_out("cid") == [True, True]


def test_two_clients_with_two_models_lose_the_credential():
    workers = Workers()
    workers.fail(0, "ann", "credential", model="x")
    workers.fail(0, "bob", "credential", model="x")
    assert (workers.is_out("cid", "x"), workers.is_out("cid", "y")) == ([True, True], [False, False])
    workers.clock.now += LASTING_COOLDOWN
    workers.fail(0, "cid", "credential", model="y")
    assert workers.is_out("dan", "z") == [True, True]


def test_a_sighting_is_confirmed_within_ten_minutes_only():
    workers = Workers()
    workers.fail(0, "ann")
    workers.clock.now += LASTING_COOLDOWN + 1
    workers.fail(0, "bob")
    assert workers.is_out("cid") == [False, False]


def test_different_reasons_confirm_each_other_only_if_they_pass():
    workers = Workers()
    for number in range(12):
        workers.fail(0, "ann" if number % 2 else "bob", "server_error" if number % 2 else "timeout", model="x")
        workers.fail(0, "ann" if number % 2 else "bob", "gone" if number % 2 else "rate_limited", model="y")
    assert workers.is_out("cid", "x") == [True, True]
    assert workers.is_out("cid", "y") == [False, False]


def test_a_client_s_success_closes_its_own_circuit():
    workers = Workers()
    for _ in range(5):
        workers.fail(0, "ann", "server_error")
    assert workers.is_out("ann") == [True, False]
    workers.clock.now += 5
    workers.answer(0, "ann")
    assert workers.is_out("ann") == [False, False]
    for _ in range(4):
        workers.fail(0, "ann", "server_error")
    assert workers.is_out("ann") == [False, False]


def test_answers_that_break_off_open_the_client_s_circuit():
    workers = Workers()
    for _ in range(5):
        attempt = workers.all[0].begin(workers.target(), None, added=False, client="ann")
        attempt.mark_started()
        attempt.mark_failed(ErrorInfo("upstream", "cut", reason="connection"))
        attempt.close()
    assert (workers.is_out("ann"), workers.is_out("bob")) == ([True, False], [False, False])


def test_a_request_that_reports_nothing_is_no_trial():
    """An upload could otherwise hold the trial for as long as its client likes."""
    workers = Workers()
    health, target = workers.all[0], workers.target()
    attempt = health.begin(target, None, added=False)
    attempt.mark_failed(ErrorInfo("billing", "no", reason="quota", concerns_all=True))
    attempt.close()
    workers.clock.now += LASTING_COOLDOWN
    passed = health.begin(target, None, added=False, client="ann", reports=False)
    passed.mark_failed(ErrorInfo("upstream", "no", reason="server_error", concerns_all=True))
    trial = health.begin(target, None, added=False, client="bob")
    assert not trial.is_overtaken
    trial.mark_started()
    assert workers.is_out("ann") == [False, False]


def test_one_client_fills_no_other_client_s_table():
    by_client = CircuitsByClient()
    workers = Workers()
    for number in range(MOST_OF_CLIENT + 50):
        workers.fail(0, "ann", model=f"m{number}")
    workers.fail(0, "bob", model="b")
    assert workers.is_out("bob", "b") == [True, False]
    assert workers.is_out("ann", f"m{MOST_OF_CLIENT + 49}") == [True, False]
    assert workers.is_out("ann", "m0") == [False, False]
    for number in range(MOST_CLIENTS + 50):
        by_client.add(f"client {number}")
    assert len(by_client) == MOST_CLIENTS


def test_the_number_of_sightings_is_bounded():
    witnesses = Witnesses()
    for number in range(MOST_SIGHTINGS + 50):
        witnesses.find_confirmed(b"%d" % number, Sighting("ann", None, b"", "gone", 0.0))
    assert len(witnesses.last) == MOST_SIGHTINGS


def test_bodies_are_compared_by_their_ends_and_length():
    large = b"x" * 200_000
    assert fingerprint(large) == fingerprint(bytes(large))
    assert len({fingerprint(one) for one in (large, large + b"x", large[:-1] + b"y", b"y" + large[1:])}) == 4
    assert fingerprint(b"") is None


@needs_feature("realtime")
@each_row("status", [403, 404, 429, 500])
@each_row("path", ["/v1/realtime?model=voice", "/v1/realtime?model=voice&intent=conversation"])
async def test_a_client_s_realtime_sessions_take_no_target_from_another(path, status):
    async def refuse(peer: Peer) -> None:
        await peer.stream.send_all(
            b"HTTP/1.1 %d No\r\nretry-after: 60\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}" % status
        )

    with trio.fail_after(PATIENCE):
        async with websocket_server(refuse) as server:
            entry = {"model": "openai/gpt-realtime", "name": "voice", "access_key": "k", "base_url": f"{server.url}/v1"}
            content = {"version": "v0.4.0", "model_providers": [entry], "client_keys": KEYS}
            async with gateway(content) as running:
                for _ in range(12):
                    async with calling(running.url, path, (("authorization", f"Bearer {ANN}"),)) as caller:
                        assert caller.status >= 400
                health, target = running.service.health, running.service.router.resolve("voice", "chat")
                assert [one.state for one in health.target_states()] == ["in"]
                assert health.outage(target, None, client="bob") is None
                assert health.outage(target, None, client="ann") is not None
