"""The circuits that several workers share. Here all of them are in one process, which makes no difference."""

from collections.abc import Iterator

import attrs
import pytest

from gateway.config_files.loading import from_mapping
from gateway.health.circuit import LASTING_COOLDOWN, Circuit
from gateway.health.health import Health
from gateway.health.retry_shares import RetryShares
from gateway.health.states import SharedStates
from gateway.routing.router import Router
from gateway.routing.target import Target
from gateway.shared.layout import AMOUNT_ROWS, GROUP, Layout, TableSize
from gateway.shared.memory import SharedMemory
from gateway.shared.shared_rows import SharedRows
from streams.events import ErrorInfo, FailureReason
from tests.support.set_clock import SetClock

LAYOUT = Layout(3, {"circuits": TableSize(GROUP, 64)}, dict.fromkeys(AMOUNT_ROWS, GROUP))
CONFIG = from_mapping(
    {"version": "v0.4.0", "model_providers": [{"model": "openai/m", "name": "one", "access_key": "k1"}]}
)


@attrs.frozen
class Worker:
    """One worker's view of the one target."""

    health: Health
    target: Target

    def is_out(self) -> bool:
        return self.health.outage(self.target, None) is not None

    def fail(self, reason: FailureReason, wait: float | None = None) -> None:
        attempt = self.health.begin(self.target, None, added=False)
        attempt.mark_failed(ErrorInfo("overloaded", "try later", reason=reason, wait=wait))
        attempt.close()


@pytest.fixture
def rows(clock) -> Iterator[SharedRows]:
    with SharedMemory.make(LAYOUT) as memory:
        yield SharedRows(memory, "circuits", clock)


@pytest.fixture
def workers(rows, clock) -> list[Worker]:
    return [worker(rows, clock) for _ in range(3)]


def worker(rows: SharedRows, clock: SetClock) -> Worker:
    health = Health(clock, SharedStates(rows), 3)
    health.apply_config(CONFIG)
    return Worker(health, Router(CONFIG).resolve("one", "chat"))


def test_the_share_of_failures_is_that_of_all_workers(workers, clock):
    """Four good answers for each failure, and each worker has seen only one kind."""
    for _ in range(40):
        good = workers[0].health.begin(workers[0].target, None, added=False)
        good.mark_started()
        good.close()
    clock.now += 6
    good = workers[0].health.begin(workers[0].target, None, added=False)
    good.mark_started()
    good.close()
    for _ in range(4):
        workers[1].fail("server_error")
    assert not workers[2].is_out()


def test_a_new_worker_has_the_states_of_the_others(workers, rows, clock):
    workers[0].fail("rate_limited", 12.0)
    assert worker(rows, clock).is_out()


def test_targets_that_the_configuration_names_are_not_forgotten_for_others(rows):
    def fail(circuit: Circuit) -> Circuit:
        return attrs.evolve(circuit, failures=3)

    states, named = SharedStates(rows), bytes(15) + b"n"
    states.set_listed([named])
    states.update(named, fail)
    for number in range(100):
        states.update(number.to_bytes(8, "little") + bytes(8), fail)
    assert states.get(named) == Circuit(failures=3)
    assert sum(states.get(number.to_bytes(8, "little") + bytes(8)) is not None for number in range(100)) == GROUP - 1


def test_an_update_returns_the_old_and_the_new_circuit(rows):
    states, key = SharedStates(rows), bytes(range(16))
    assert states.get(key) is None
    assert states.update(key, lambda old: attrs.evolve(old, failures=1)) == (Circuit(), Circuit(failures=1))
    assert states.update(key, lambda old: attrs.evolve(old, failures=2)) == (Circuit(failures=1), Circuit(failures=2))


def test_one_of_two_simultaneous_trials_by_workers_is_overtaken(workers, clock):
    """Both workers read the state before either has begun."""
    workers[0].fail("gone")
    workers[1].health.begin(workers[1].target, None, added=False).close()  # numbers of trials are those of processes
    clock.now += LASTING_COOLDOWN
    assert not workers[0].is_out()
    assert not workers[1].is_out()
    attempts = [worker.health.begin(worker.target, None, added=False) for worker in workers[:2]]
    assert [attempt.is_overtaken for attempt in attempts] == [False, True]
    attempts[1].close()
    assert workers[2].is_out()
    attempts[0].close()
    again = workers[1].health.begin(workers[1].target, None, added=False)
    assert not again.is_overtaken


# Requests that the gateway may add to those of clients


def test_requests_count_for_ten_seconds():
    budget = RetryShares()
    for _ in range(30):
        budget.count_additional(3.2)
    assert not budget.may_add(12.9, 0.2)
    assert budget.may_add(13.0, 0.2)
    assert budget.may_add(1e6, 0.2)


def test_an_outage_of_everything_is_not_multiplied():
    """Retries turned one provider's limit into thousands of refusals (bman654/clodex#81). Here every request of a
    constant load fails and wants three more; the provider gets a fifth more, and three requests a second."""
    budget, sent = RetryShares(), 0
    for tick in range(100 * 60):
        now = tick / 100
        budget.count_client_request(now)
        sent += 1
        for _ in range(3):
            if budget.may_add(now, 0.2):
                budget.count_additional(now)
                sent += 1
    assert sent <= 100 * 60 * 1.2 + 3 * 60 + 30


def test_workers_share_the_requests_that_are_always_allowed():
    budgets = [RetryShares(workers=3) for _ in range(3)]
    added = 0
    for budget in budgets:
        while budget.may_add(1.0, 0.2):
            budget.count_additional(1.0)
            added += 1
    assert added == 30
