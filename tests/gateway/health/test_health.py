"""The state of all targets: by endpoint, credential and model, for all requests."""

import logging
import math
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.attempts import CircuitSettings, Retries
from gateway.config.settings import Config
from gateway.config_files.loading import from_mapping
from gateway.counters.notes import SharedNotes
from gateway.health.circuit import LASTING_COOLDOWN, TRIAL_SECONDS
from gateway.health.health import Health, OpenAttempt
from gateway.health.states import LocalStates, SharedStates
from gateway.routing.plan import Outage
from gateway.routing.router import Router
from gateway.routing.target import Target
from gateway.shared.notes import NoteReader
from gateway.shared.rows import LocalRows
from streams.events import ErrorInfo, FailureReason
from tests.support.each_row import each_row
from tests.support.set_clock import SetClock

ONE = {"model": "openai/m", "name": "one", "access_key": "k1"}
SAME_KEY = {"model": "openai/n", "name": "same-key", "access_key": "k1"}
OTHER_KEY = {"model": "openai/m", "name": "other-key", "access_key": "k2"}
ELSEWHERE = {"model": "vllm/m", "name": "elsewhere", "base_url": "http://gpu-1:8000/v1", "access_key": "k1"}
PASSED = {"model": "anthropic/m", "name": "passed", "passthrough_auth": True}
ALL = {"model": "mistral/*", "access_key": "k1"}


def config(*entries: dict[str, Any], **fields: Any) -> Config:
    return attrs.evolve(from_mapping({"version": "v0.4.0", "model_providers": entries or [ONE]}), **fields)


class Scene:
    """A health, its clock, and the targets of a configuration by their names."""

    def __init__(self, *entries: dict[str, Any], **fields: Any) -> None:
        self.clock = SetClock()
        self.health = Health(self.clock)
        self.follow(fields.pop("config", None) or config(*entries, **fields))

    def follow(self, config: Config) -> None:
        self._router = Router(config)
        self.health.apply_config(config)

    def target(self, name: str = "one") -> Target:
        return self._router.resolve(name, "chat")

    def begin(self, name: str = "one", credential: str | None = None, *, added: bool = False) -> OpenAttempt:
        return self.health.begin(self.target(name), credential, added=added)

    def fail(
        self, name: str = "one", reason: FailureReason = "connection", wait: float | None = None, **of: Any
    ) -> None:
        attempt = self.begin(name, **of)
        attempt.mark_failed(failure(reason, wait))
        attempt.close()

    def answer(self, name: str = "one", **of: Any) -> None:
        attempt = self.begin(name, **of)
        attempt.mark_started()
        attempt.close()

    def outage(self, name: str = "one", credential: str | None = None, *, alone: bool = False) -> Outage | None:
        return self.health.outage(self.target(name), credential, alone=alone)

    def is_out(self, *names: str) -> list[bool]:
        return [self.outage(name) is not None for name in names]


def failure(reason: FailureReason | None, wait: float | None = None) -> ErrorInfo:
    return ErrorInfo("overloaded", "try later", reason=reason, wait=wait, concerns_all=True)


def test_another_key_or_server_or_model_is_untouched():
    """A cooldown applies to a credential, an endpoint and a model together."""
    scene = Scene(ONE, SAME_KEY, OTHER_KEY, ELSEWHERE)
    scene.fail(reason="rate_limited", wait=12.0)
    assert scene.is_out("one", "same-key", "other-key", "elsewhere") == [True, False, False, False]


def test_two_entries_of_the_same_place_are_one():
    scene = Scene(ONE, {**ONE, "name": "again"})
    scene.fail(reason="gone")
    assert scene.is_out("one", "again") == [True, True]


def test_models_of_a_wildcard_are_places_of_their_own():
    scene = Scene(ALL)
    scene.fail("mistral/a", "gone")
    assert scene.is_out("mistral/a", "mistral/b") == [True, False]


@each_row("reason", [None, "invalid", "context_too_long", "content_filter"])
def test_client_errors_start_no_cooldown(reason):
    """A caller's time limit of 100 ms took a deployment out for everybody (BerriAI/litellm#41223)."""
    scene = Scene()
    for _ in range(100):
        scene.fail(reason=reason)
    assert scene.outage() is None


def test_one_request_waits_for_the_target_and_others_see_that():
    scene = Scene()
    scene.fail(reason="rate_limited", wait=10.0)
    waiting = scene.begin()
    assert scene.outage() == Outage("rate_limited", 1010.0, tried=True)
    scene.clock.now += 5
    scene.fail(reason="rate_limited", wait=20.0)
    assert scene.outage() == Outage("rate_limited", 1025.0, tried=True)
    waiting.close()
    assert scene.outage() == Outage("rate_limited", 1025.0)


def test_an_answer_is_counted_once():
    scene = Scene(circuit=CircuitSettings(failures=1000))
    for _ in range(4):
        scene.answer()
    for _ in range(4):
        attempt = scene.begin()
        attempt.mark_started()
        attempt.mark_failed(failure("connection"))
        attempt.mark_failed(failure("connection"))
        attempt.close()
        attempt.mark_failed(failure("connection"))
    scene.fail()
    assert scene.outage() is None
    scene.fail()
    assert scene.is_out("one") == [True]


def test_an_entry_has_a_circuit_of_its_own():
    found = config(ONE, OTHER_KEY)
    own = attrs.evolve(found.entries[0], circuit=CircuitSettings(failures=2, cooldown=60.0, longest=60.0))
    scene = Scene(entries=(own, found.entries[1]))
    for _ in range(2):
        scene.fail("one")
        scene.fail("other-key")
    assert scene.is_out("one", "other-key") == [True, False]
    scene.clock.now += 59
    assert scene.is_out("one") == [True]


def test_clients_own_credentials_have_circuits_and_a_rejected_one_starts_no_cooldown():
    scene = Scene(PASSED)
    target = scene.target("passed")
    scene.fail("passed", "rate_limited", 30.0, credential="mine")
    assert scene.health.outage(target, "mine") is not None
    assert scene.health.outage(target, "yours") is None
    scene.fail("passed", "credential", credential="yours")
    assert scene.health.outage(target, "yours") is None


def test_a_reload_allows_a_trial_of_a_rejected_credential():
    scene = Scene()
    scene.fail(reason="credential")
    scene.follow(config())
    assert scene.outage() is None
    scene.begin()
    assert scene.is_out("one") == [True]


def test_additional_requests_are_limited_to_a_share_of_client_requests():
    scene = Scene(ONE, SAME_KEY, ELSEWHERE, retries=Retries(budget=0.1))
    for _ in range(100):
        scene.answer()
    added = 0
    while scene.health.may_add(scene.target()):
        scene.fail("same-key", None, added=True)  # of the same provider
        added += 1
    assert added == 40
    assert scene.health.may_add(scene.target("elsewhere"))


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [(record.levelname, record.getMessage().partition(", until")[0]) for record in caplog.records]


def test_each_transition_is_a_line_with_its_reason_and_until_when(caplog):
    caplog.set_level(logging.DEBUG, "trigate.health")
    scene = Scene(ONE, SAME_KEY)
    for _ in range(7):
        scene.fail()
    scene.clock.now += 5
    scene.answer()
    scene.fail("same-key", "quota", 60.0)
    assert lines(caplog) == [
        ("WARNING", "one: in cooldown for 5.0 s"),
        ("INFO", "one: available again"),
        ("WARNING", "one, same-key: in cooldown for 60.0 s"),
    ]
    assert caplog.records[0].getMessage().endswith("Z: connection; then one request tries it")
    assert scene.health.transitions.outages == {("one", "connection"): 1, ("same-key", "quota"): 1}


def test_a_refused_credential_is_an_error_once_an_hour(caplog):
    scene = Scene()
    for _ in range(12):
        scene.fail(reason="credential")
        scene.clock.now += LASTING_COOLDOWN
    assert [level for level, _ in lines(caplog)] == (["ERROR"] + ["WARNING"] * 5) * 2


def test_unlisted_circuits_make_room():
    states = LocalStates(most=10)
    states.set_listed([b"named"])
    for key in (b"named", *(b"%d" % number for number in range(20))):
        states.update(key, lambda circuit: circuit)
    assert states.get(b"named") is not None
    assert [states.get(b"%d" % number) is not None for number in range(20)] == [False] * 10 + [True] * 10


BRITTLE = config(circuit=CircuitSettings(failures=2))
ENDS = st.sampled_from(
    ["well", "left", "cut", "quota", "credential", "gone", "rate_limited", "told", "connection", "invalid"]
)
STORY = st.lists(st.tuples(st.sampled_from(["pass", "ask", "end"]), st.integers(0, 40), ENDS), max_size=60)


def end(attempt: OpenAttempt, how: str) -> None:
    match how:
        case "well" | "cut":
            attempt.mark_started()
            if how == "cut":
                attempt.mark_failed(failure("connection"))
        case "told":
            attempt.mark_failed(failure("rate_limited", 17.0))
        case "quota" | "credential" | "gone" | "rate_limited" | "connection" | "invalid":
            attempt.mark_failed(failure(how))
    attempt.close()


@given(STORY)
def test_trials_are_exclusive_and_never_lost(story):
    """Requests may begin and end in any order, and an outage only gets longer."""
    scene = Scene(config=BRITTLE)
    under_way: list[tuple[OpenAttempt, float]] = []  # and when a trial began
    until = 0.0
    for what, number, how in story:
        state = scene.health.target_states()[0]
        match what:
            case "pass":
                scene.clock.now += number
            case "ask" if scene.outage() is None:
                under_way.append((scene.begin(), scene.clock.now if state.state == "due" else -math.inf))
            case "end" if under_way:
                end(under_way.pop(number % len(under_way))[0], how)
        tries = sum(
            scene.clock.now < int(mark_started) + TRIAL_SECONDS for _, mark_started in under_way if mark_started > 0
        )
        assert tries <= 1 or scene.outage() is None
        if scene.clock.now < until:
            outage = scene.outage()
            assert outage.until >= until
        until = outage.until if (outage := scene.outage()) and not outage.tried else 0.0
    for attempt, _ in under_way:
        attempt.close()
    scene.clock.now += LASTING_COOLDOWN
    assert scene.outage() is None


def shared(clock: SetClock) -> SharedStates:
    return SharedStates(LocalRows(100, clock))


def test_a_long_outage_is_kept_for_its_time():
    scene = Scene()
    scene.health = Health(scene.clock, shared(scene.clock))
    scene.fail(reason="quota", wait=5 * 86400.0)
    scene.clock.now += 5 * 86400.0 - 1
    assert scene.is_out("one") == [True]


class PassedNotes:
    """Notes that all ``readers`` get immediately."""

    def __init__(self) -> None:
        self.readers: dict[str, NoteReader] = {}

    def write(self, kind: str, key: bytes, value: str, seconds: float) -> None:
        self.readers[kind](key, value, seconds)

    def add_reader(self, kind: str, reader: NoteReader) -> None:
        self.readers[kind] = reader


def two_gateways() -> tuple[Scene, Scene]:
    """Return two gateways; the second one reads the notes of the first."""
    one, other = Scene(ONE, SAME_KEY), Scene(ONE, SAME_KEY)
    notes = PassedNotes()
    one.health.share_outages(notes)
    other.health.share_outages(notes)  # the last reader
    return one, other


def test_another_gateway_has_the_same_outage_until_the_same_time():
    one, other = two_gateways()
    one.fail(reason="rate_limited", wait=12.0)
    assert other.outage(alone=True) == one.outage(alone=True) == Outage("rate_limited", 1012.0)
    one.fail("same-key", reason="quota", wait=60.0)
    assert other.is_out("one", "same-key") == [True, True]
    other.clock.now += 60.0
    assert other.is_out("one", "same-key") == [False, False]


def test_an_outage_of_one_client_is_that_clients_at_another_gateway():
    keys = [{"name": name, "key": f"{name}-key-0123456789-0123456789"} for name in ("ann", "bob")]
    given = from_mapping({"version": "v0.4.0", "model_providers": [ONE], "client_keys": keys})
    one, other = Scene(config=given), Scene(config=given)
    notes = PassedNotes()
    one.health.share_outages(notes)
    other.health.share_outages(notes)
    attempt = one.health.begin(one.target(), None, added=False, client="ann")
    attempt.mark_failed(ErrorInfo("not_found", "no", reason="gone"))
    outages = [other.health.outage(other.target(), None, client=client) for client in ("ann", "bob")]
    assert outages == [one.health.outage(one.target(), None, client="ann"), None]
    assert outages[0] is not None


@pytest.mark.parametrize(("broken", "is_out"), [(2, True), (1, False)])
def test_streams_of_one_client_that_break_are_no_successes(broken, is_out):
    """Two of three that break are more than half; that each of them had begun well does not count."""
    keys = [{"name": name, "key": f"{name}-key-0123456789-0123456789"} for name in ("ann", "bob")]
    scene = Scene(config=from_mapping({"version": "v0.4.0", "model_providers": [ONE], "client_keys": keys}))
    for number in range(30):
        attempt = scene.health.begin(scene.target(), None, added=False, client="ann")
        attempt.mark_started()
        if number % 3 < broken:
            attempt.mark_failed(ErrorInfo("upstream", "it broke", reason="connection"))
        attempt.close()
    outages = [scene.health.outage(scene.target(), None, client=client) for client in ("ann", "bob")]
    assert [outage is not None for outage in outages] == [is_out, False]


def test_a_note_that_this_version_cannot_read_is_skipped():
    """The counters' task reads notes; an exception would end the gateway, at each start again."""
    scene, notes = Scene(ONE), SharedNotes(lambda: None)
    scene.health.share_outages(notes)
    outage = '["%s","quota",0,null]'
    values = [("outage:0a", outage % "x"), ("outage:x", outage % "0a"), ("outage:0b", "{")]
    place = scene.target().identity.place.hex()
    notes.receive([(name, value, 9e3) for name, value in (*values, ("outage:0c", outage % place))], 4)
    assert (notes.read_to, scene.outage()) == (4, Outage("quota", 1009.0))


def test_a_shorter_outage_of_another_gateway_changes_nothing():
    one, other = two_gateways()
    other.fail(reason="rate_limited", wait=60.0)
    one.fail(reason="rate_limited", wait=12.0)
    assert other.outage() == Outage("rate_limited", 1060.0)


@pytest.mark.parametrize(("reason", "is_out"), [("connection", False), ("timeout", False), ("overloaded", True)])
def test_recent_successes_refute_failures_of_another_gateways_network(reason, is_out):
    one, other = two_gateways()
    other.answer()
    for _ in range(5):
        one.fail(reason=reason)
    assert (one.is_out("one"), other.is_out("one")) == ([True], [is_out])
    other.clock.now += 30.0
    one.clock.now += 30.0
    one.fail(reason=reason)
    assert other.is_out("one") == [True], "without its own evidence, it believes the other"
