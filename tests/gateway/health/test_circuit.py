"""The circuit of one place as tables: the events, and the states after them."""

from functools import reduce
from itertools import count
from typing import get_args

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.config.attempts import CircuitSettings
from gateway.health.circuit import (
    CLOSED,
    CREDENTIAL_PAUSE,
    LASTING_COOLDOWN,
    LONGEST_WAIT,
    SIZE,
    Circuit,
    Failure,
    after_failure,
    after_success,
    allow_trial,
    availability,
    is_blocked,
    is_unsteady,
    undo_success,
    with_counts,
    with_trial,
    without_trial,
)
from streams.events import UNAVAILABLE, FailureReason
from tests.support.each_row import each_row

SETTINGS = CircuitSettings(failures=5, error_rate=0.5, cooldown=5.0, longest=20.0)
COUNTED = sorted(UNAVAILABLE - {"rate_limited", "quota", "credential", "gone"})


def fail(
    circuit: Circuit,
    reason: FailureReason = "connection",
    *,
    at: float = 100.0,
    wait: float | None = None,
    sent: float | None = None,
    trial: int = 0,
) -> Circuit:
    """Return ``circuit`` after the failure of a request that was sent at ``sent``, or at the moment of the failure."""
    return after_failure(circuit, Failure(reason, wait, at, at if sent is None else sent, trial), SETTINGS)


def open_circuit(at: float = 100.0) -> Circuit:
    return reduce(lambda circuit, _: fail(circuit, at=at), range(5), CLOSED)


@each_row("reason", COUNTED)
def test_five_consecutive_failures_of_any_kind_open_the_circuit(reason):
    """Hosts that could not be reached were exempt elsewhere, and 25 answers of 500 left a server in rotation
    (BerriAI/litellm#34836, #27362)."""
    circuit = CLOSED
    for _ in range(4):
        circuit = fail(circuit, reason)
        assert availability(circuit, 100.0) == "in"
    circuit = fail(circuit, reason)
    assert (availability(circuit, 100.0), circuit.until, circuit.reason) == ("out", 105.0, reason)


def test_a_success_resets_the_consecutive_failures():
    circuit = reduce(lambda circuit, _: fail(circuit), range(4), CLOSED)
    circuit = reduce(lambda circuit, _: fail(circuit), range(4), after_success(circuit, 100.0, 100.0))
    assert availability(circuit, 100.0) == "in"


@each_row(("good", "bad", "expected"), [(5, 5, "out"), (6, 4, "in"), (4, 5, "in"), (90, 100, "out"), (0, 9, "in")])
def test_half_of_ten_attempts_in_thirty_seconds_open_the_circuit(good, bad, expected):
    circuit = with_counts(CLOSED, 90.0, good, bad - 1)
    circuit = fail(circuit, "server_error", at=110.0)
    assert availability(circuit, 110.0) == expected


def test_attempts_count_for_thirty_seconds():
    circuit = with_counts(CLOSED, 60.0, 0, 30)
    assert availability(fail(circuit, at=100.0), 100.0) == "in"
    assert availability(fail(circuit, at=80.0), 80.0) == "out"


def test_a_rate_limit_opens_the_circuit_for_exactly_the_stated_time():
    circuit = fail(CLOSED, "rate_limited", wait=37.5)
    assert [availability(circuit, at) for at in (100.0, 137.4, 137.5)] == ["out", "out", "in"]
    assert circuit.failures == 0


def test_a_rate_without_a_time_doubles_from_five_seconds_to_the_longest():
    circuit, now, lengths = CLOSED, 100.0, []
    for _ in range(4):
        circuit = fail(circuit, "rate_limited", at=now)
        lengths.append(circuit.until - now)
        now = circuit.until
    assert lengths == [5.0, 10.0, 20.0, 20.0]
    circuit = after_success(circuit, now, now)
    assert fail(circuit, "rate_limited", at=now).until == now + 5.0


def test_simultaneous_requests_do_not_double_the_cooldown():
    circuit = fail(CLOSED, "rate_limited", at=100.0)
    for at in (100.0, 101.0, 102.0):
        circuit = fail(circuit, "rate_limited", at=at, sent=99.0)
    assert circuit.until == 107.0


def test_a_second_failure_while_out_only_lengthens_the_time():
    """A longer wait that arrived later was ignored (BerriAI/litellm#40130). Quotas of five hours and of a week
    (openai/codex#32341, gsd-build/gsd-2#125) are such waits."""
    circuit = fail(CLOSED, "rate_limited", wait=10.0)
    assert fail(circuit, "rate_limited", at=101.0, wait=3.0).until == 110.0
    assert fail(circuit, "rate_limited", at=101.0, wait=60.0).until == 161.0
    quota = fail(circuit, "quota", at=101.0, wait=5 * 86400.0)
    assert (quota.reason, fail(quota, "quota", at=102.0, wait=3600.0).until) == ("quota", 101.0 + 5 * 86400.0)


@pytest.mark.parametrize("reason", ["quota", "credential", "gone"])
def test_lasting_failures_end_with_a_trial_after_ten_minutes(reason):
    circuit = fail(CLOSED, reason)
    assert availability(circuit, 100.0 + LASTING_COOLDOWN - 0.1) == "out"
    assert availability(circuit, 100.0 + LASTING_COOLDOWN) == "due"


@pytest.mark.parametrize("wait", [float("inf"), 1e12])
def test_an_excessive_wait_is_limited_to_a_month(wait):
    assert fail(CLOSED, "rate_limited", wait=wait).until == 100.0 + LONGEST_WAIT


def test_a_trial_that_fails_takes_it_out_twice_as_long_up_to_the_longest():
    """Count from the failure, or from the start of a request that hung: it reveals nothing about the seconds since."""
    for reason, took, expected in (
        ("connection", 1.0, [11.0, 21.0, 21.0, 21.0]), ("timeout", 1.0, [10.0, 20.0, 20.0, 20.0]),
        ("timeout", 12.0, [17.0, 20.0, 20.0, 20.0]), ("timeout", 30.0, [35.0] * 4),
    ):  # fmt: skip
        circuit, lengths = open_circuit(), []
        for trial in (1, 2, 3, 4):
            now = circuit.until
            circuit = fail(with_trial(circuit, now, trial), reason, at=now + took, sent=now, trial=trial)
            lengths.append(circuit.until - now)
            assert circuit.trial == 0
        assert lengths == expected


def test_a_long_trial_blocks_no_other_request():
    """Otherwise all requests to a route whose other places are out would be refused for as long as one answer takes."""
    circuit = with_trial(open_circuit(), 105.0, 7)
    assert [availability(circuit, at) for at in (124.9, 125.0)] == ["tried", "due"]
    circuit = with_trial(circuit, 125.0, 8)
    assert (availability(circuit, 126.0), circuit.trial) == ("tried", 8)
    assert without_trial(circuit, 7) == circuit
    assert availability(after_success(circuit, 130.0, 105.0, 7), 130.0) == "in"


def test_a_success_shortens_no_outage():
    circuit = open_circuit()
    assert availability(after_success(circuit, 101.0, 100.5), 101.0) == "out"
    limited = fail(CLOSED, "rate_limited", wait=60.0)
    assert after_success(with_trial(limited, 101.0, 7), 102.0, 101.0, 7) == limited


def test_a_place_is_unsteady_while_it_answers_between_its_failures():
    answering = with_counts(open_circuit(at=101.0), 101.0, good=3)
    assert is_unsteady(answering, 101.0, SETTINGS)
    assert is_unsteady(answering, 109.9, SETTINGS)
    assert not is_unsteady(answering, 110.0, SETTINGS), "its good answers are of the last seconds"
    assert not is_unsteady(open_circuit(), 100.0, SETTINGS)
    again = reduce(lambda circuit, _: fail(circuit, at=102.0), range(4), answering)
    assert is_unsteady(again, 102.0, SETTINGS)
    assert not is_unsteady(fail(again, at=102.0), 102.0, SETTINGS), "it has failed ten times in a row"
    well = after_success(fail(again, at=102.0), 102.0, sent=102.0)
    assert (is_unsteady(well, 102.0, SETTINGS), well.until) == (True, again.until)
    assert availability(well, 102.0) == "out"


@each_row("reason", ["rate_limited", "quota", "credential", "gone"])
def test_a_place_that_would_refuse_the_next_request_too_is_not_unsteady(reason):
    answering = with_counts(CLOSED, 100.0, good=3)
    assert not is_unsteady(fail(answering, reason, wait=60.0), 100.0, SETTINGS)


def test_an_answer_from_before_the_outage_does_not_end_it():
    assert availability(after_success(open_circuit(), 106.0, 99.0), 106.0) == "due"
    assert availability(after_success(open_circuit(), 106.0, 105.5), 106.0) == "in"


def test_requests_of_before_that_fail_late_do_not_take_it_out_again():
    circuit = with_trial(open_circuit(), 105.0, 7)
    assert availability(fail(circuit, at=106.0, sent=90.0), 106.0) == "tried"
    circuit = after_success(circuit, 107.0, 105.0, 7)
    for at in range(108, 130):
        circuit = fail(circuit, at=at, sent=90.0)
    assert (availability(circuit, 130.0), circuit.failures) == ("in", 0)
    for _ in range(5):
        circuit = fail(circuit, at=130.0)
    assert availability(circuit, 130.0) == "out"


@attrs.frozen
class Asked:
    """A request of ``Outage``: how it will end, and when."""

    well: bool
    failure: Failure


class Outage:
    """A place that fails until a moment, immediately or after ``patience`` seconds without a reply, and then works."""

    def __init__(self, until: float, patience: float, takes: float, hangs: list[bool]) -> None:
        self.circuit = CLOSED
        self._until, self._patience, self._takes, self._hangs = until, patience, takes, hangs
        self._asked: list[Asked] = []
        self._trials = count(1)

    def hear(self, now: float) -> None:
        """Report all requests that have ended by now to the circuit."""
        ended = sorted((one for one in self._asked if one.failure.at <= now), key=lambda one: one.failure.at)
        self._asked = [one for one in self._asked if one.failure.at > now]
        for one in ended:
            how = one.failure
            self.circuit = (
                after_success(self.circuit, how.at, how.sent, how.trial)
                if one.well
                else after_failure(self.circuit, how, SETTINGS)
            )

    def ask(self, now: float) -> None:
        """Send a request, if the circuit permits it."""
        if availability(self.circuit, now) not in ("in", "due"):
            return
        trial, well = next(self._trials), now >= self._until
        self.circuit = with_trial(self.circuit, now, trial)
        hangs = self._hangs[trial % len(self._hangs)]
        took = self._takes if well else self._patience if hangs else 0.0
        own = trial if self.circuit.trial == trial else 0
        failure = Failure("timeout" if hangs else "overloaded", None, now + took, now, own)
        self._asked.append(Asked(well, failure))


@given(
    until=st.floats(0, 100), every=st.floats(0.2, 1.0), patience=st.floats(0, 20), takes=st.floats(0, 3),
    hangs=st.lists(st.booleans(), min_size=1, max_size=20),
)  # fmt: skip
@example(until=97.0, every=0.5, patience=15.0, takes=0.1, hangs=[True])
@example(until=117.0, every=0.5, patience=20.0, takes=0.1, hangs=[True])
def test_a_recovered_target_gets_requests_within_thirty_seconds(until, every, patience, takes, hangs):
    """Its requests may have failed immediately or hung meanwhile, and earlier ones may still hang."""
    outage, now = Outage(until, patience, takes, hangs), 0.0
    while now < until + 60:
        outage.hear(now)
        if now > until + 30 + every + takes:
            assert availability(outage.circuit, now) == "in"
        outage.ask(now)
        now += every


def test_a_trial_whose_answer_breaks_off_has_failed():
    before = with_trial(open_circuit(), 105.0, 7)
    circuit = fail(undo_success(after_success(before, 105.0, 105.0, 7), before), at=106.0, sent=105.0)
    assert (availability(circuit, 106.0), circuit.until) == ("out", 116.0)


def test_only_stated_waits_and_rejected_credentials_block_a_lone_target():
    assert not is_blocked(open_circuit(), 100.0)
    assert not is_blocked(fail(CLOSED, "rate_limited"), 100.0)
    told = fail(CLOSED, "rate_limited", wait=30.0)
    assert is_blocked(told, 129.0)
    assert not is_blocked(told, 130.0)
    refused = fail(CLOSED, "credential")
    assert is_blocked(refused, 100.0 + CREDENTIAL_PAUSE - 1)
    assert not is_blocked(refused, 100.0 + CREDENTIAL_PAUSE)


def test_a_reload_allows_trials_of_failures_that_people_fix():
    assert availability(allow_trial(fail(CLOSED, "credential"), 101.0), 101.0) == "due"
    assert availability(allow_trial(fail(CLOSED, "quota"), 101.0), 101.0) == "out"
    assert allow_trial(open_circuit(), 101.0) == open_circuit()


REASONS = st.sampled_from(get_args(FailureReason))
COUNTS = st.tuples(*[st.integers(-0x7FFF, 0x7FFF)] * 6)
CIRCUITS = st.builds(
    Circuit,
    until=st.floats(0, 1e9), blocked_until=st.floats(0, 1e9), trial=st.integers(0, 2**63), step=st.integers(0, 2**31),
    failures=st.integers(0, 0xFFFF), reason=st.none() | REASONS, openings=st.integers(0, 255),
    limits=st.integers(0, 255), good=COUNTS, bad=COUNTS, trial_until=st.integers(0, 2**32 - 1),
)  # fmt: skip


@given(CIRCUITS)
def test_a_state_survives_a_row_of_64_bytes(circuit):
    row = circuit.pack()
    assert len(row) == SIZE <= 64
    assert Circuit.unpack(row) == circuit


def test_a_row_of_zeros_is_a_closed_circuit():
    assert Circuit.unpack(bytes(SIZE)) == CLOSED


STEPS = st.lists(st.tuples(st.floats(0, 40), REASONS.filter(UNAVAILABLE.__contains__), st.none() | st.floats(0, 90)))


@given(STEPS)
def test_no_failure_ever_shortens_the_time(steps):
    """The state still fits into its row, whatever the values are."""
    circuit, now = CLOSED, 0.0
    for passed, reason, wait in steps:
        now += passed
        after = fail(circuit, reason, at=now, wait=wait, sent=now - passed / 2)
        assert after.until >= circuit.until
        assert after.blocked_until >= circuit.blocked_until
        if reason == "rate_limited" and wait is not None:
            assert after.until >= now + wait
        circuit = after
        assert Circuit.unpack(circuit.pack()) == circuit


def test_counts_and_rows_of_failures_stay_within_their_row():
    circuit = attrs.evolve(open_circuit(), failures=0xFFFF, openings=255, limits=255)
    circuit = with_counts(fail(circuit, at=200.0), 200.0, 10**6, 10**6)
    assert Circuit.unpack(fail(circuit, "rate_limited", at=300.0).pack()).limits == 255
