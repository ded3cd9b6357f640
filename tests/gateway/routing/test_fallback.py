"""The policy of routes as tables: the failures, the targets that are out, and the next step."""

from collections.abc import Collection, Mapping, Sequence

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.attempts import Retries
from gateway.config_files.loading import from_mapping
from gateway.routing.fallback import BACKOFF, LONGEST_BACKOFF, fall_back
from gateway.routing.most_useful import ORDER
from gateway.routing.plan import Candidate, GiveUp, Outage, Outcome, Plan, Send, Stage
from gateway.routing.router import Router
from gateway.routing.target import Target
from streams.events import UNAVAILABLE, ErrorInfo, FailureReason
from tests.support.each_row import each_row
from tests.support.moment import Moment

NAMES = ("a", "b", "c", "d")
ROUTER = Router(
    from_mapping(
        {
            "version": "v0.3.0",
            "model_providers": [{"model": f"openai/{name}", "name": name, "access_key": "k"} for name in NAMES],
        }
    )
)
TARGETS = {name: ROUTER.resolve(name, "chat") for name in NAMES}
REASONS: Sequence[FailureReason] = ORDER


def plan(*groups: str | tuple[str, ...], whens: Mapping[str, Collection[FailureReason]] | None = None, **more) -> Plan:
    candidates = [
        Candidate(TARGETS[name], number, when=frozenset((whens or {}).get(name, UNAVAILABLE)))
        for number, group in enumerate(groups)
        for name in ((group,) if isinstance(group, str) else group)
    ]
    return Plan(tuple(candidates), fall_back, **{"retries": Retries(), "skips_unavailable": True, **more})


def fail(name: str, reason: FailureReason = "overloaded", wait: float | None = None, **more) -> Outcome:
    return Outcome(TARGETS[name], ErrorInfo("upstream", f"{name} failed", reason=reason, wait=wait), **more)


def step(of: Plan, *outcomes: Outcome, **conditions) -> Send | GiveUp:
    return fall_back(of, outcomes, Moment(**conditions))


def place(step: Send | GiveUp) -> str | None:
    return step.target.place if isinstance(step, Send) else None


@each_row(
    ("groups", "outcomes", "next_one"),
    [
        (("a", "b"), (), "a"),
        (("a", "b"), ("a",), "b"),
        ((("a", "b"), "c"), ("a",), "b"),
        ((("a", "b"), "c"), ("a", "b"), "c"),
        (("a", "b"), ("a", "b"), "a"),
        (("a", "b"), ("a", "b", "a"), "b"),
        (("a",), ("a",), "a"),
        (("a", "b"), ("a", "b", "a", "b"), None),
    ],
)
def test_all_targets_are_tried_in_order_then_again(groups, outcomes, next_one):
    # deltawi/deltallm#247
    assert place(step(plan(*groups), *map(fail, outcomes))) == next_one


def test_a_target_gets_only_one_more_request_after_bad_answers():
    bad = fail("a", "bad_answer")
    assert place(step(plan("a"), bad)) == "a"
    assert place(step(plan("a"), bad, bad)) is None
    assert place(step(plan("a"), fail("a"), fail("a"))) == "a"


@each_row("reason", REASONS)
def test_only_failures_of_the_target_lead_to_another(reason):
    found = step(plan("a", "b"), fail("a", reason))
    assert place(found) == ("b" if reason in UNAVAILABLE else None)


def test_internal_errors_lead_to_no_other_target():
    assert place(step(plan("a", "b"), Outcome(TARGETS["a"], ErrorInfo("internal", "ours")))) is None


@each_row(
    ("outcomes", "out", "next_one"),
    [
        ((), {}, "a"),
        ((fail("a", "rate_limited"),), {}, "c"),
        ((fail("a", "quota"),), {}, "b"),
        ((fail("a", "rate_limited"), fail("c", "quota")), {}, "a"),  # failures after it do not lead to it
        ((), {"a": Outage("quota", 200.0)}, "b"),
        ((), {"a": Outage("rate_limited", 200.0)}, "c"),
        ((fail("a", "quota"),), {"b": Outage("overloaded", 101.0)}, "c"),
    ],
)
def test_a_target_for_some_reasons_is_used_for_these_only(outcomes, out, next_one):
    # openai/codex#32341, ColeMurray/background-agents#1532
    reserved = plan("a", "b", "c", whens={"b": ["quota"]})
    assert place(step(reserved, *outcomes, out=out)) == next_one


@pytest.mark.parametrize("reason", ["context_too_long", "content_filter"])
def test_failures_of_the_request_lead_only_to_targets_that_list_them(reason):
    # BerriAI/litellm#40406
    listed = plan("a", "b", "c", whens={"c": [reason]})
    assert place(step(listed, fail("a", reason))) == "c"
    assert place(step(listed, fail("a"), fail("b", reason))) == "c"
    end = step(listed, fail("a", reason), fail("c"), fail("c"), fail("c"))
    assert end.error.reason == reason


def test_if_all_are_out_unsteady_targets_are_tried():
    """With three targets that failed 40 % of their requests, a route had more failures than plain retries."""
    shaky, gone = Outage("overloaded", 109.0, tried=True, unsteady=True), Outage("overloaded", 109.0)
    out = {"a": gone, "b": shaky, "c": shaky}
    asked = plan("a", "b", "c")
    assert step(asked, out=out) == Send(TARGETS["b"])
    assert step(asked, fail("b"), out=out) == Send(TARGETS["c"])
    assert place(step(asked, fail("b"), fail("c"), out=out)) in ("b", "c")
    assert place(step(asked, out={**out, "c": None})) == "c"
    assert place(step(asked, fail("b"), out={**out, "a": None})) == "a"


def test_if_all_are_out_one_request_waits_for_the_first_that_is_due():
    # BerriAI/litellm#3646
    out = {"a": Outage("overloaded", 109.0), "b": Outage("rate_limited", 104.0)}
    assert step(plan("a", "b"), out=out) == Send(TARGETS["b"], after=4.0)
    end = step(plan("a", "b"), out={**out, "b": attrs.evolve(out["b"], tried=True)})
    assert (end.error.status, end.error.headers) == (503, (("retry-after", "4"),))
    assert "a is in cooldown (overloaded, for 9 s)" in end.error.message


def test_failures_that_waiting_does_not_fix_come_with_advice():
    # mnfst/llm-gateway#1180
    out = {"a": Outage("credential", 700.0, tried=True), "b": Outage("quota", 700.0)}
    end = step(plan("a", "b"), out=out)
    assert end.error.message == (
        "a is in cooldown (credential, tried by another request; check its credential), "
        "b is in cooldown (quota, for 600 s): try again in 600 s"
    )


def test_failures_that_only_people_can_fix_are_not_repeated():
    out = {"a": Outage("credential", 700.0, tried=True), "b": Outage("gone", 700.0, tried=True)}
    end = step(plan("a", "b"), out=out)
    assert dict(end.error.headers)["x-should-retry"] == "false"


def test_a_failed_request_waits_only_for_a_rate_limit():
    both = fail("a"), fail("b", "rate_limited", 3.0)
    out = {"a": Outage("overloaded", 101.0), "b": Outage("rate_limited", 103.0)}
    assert step(plan("a", "b"), *both, out=out) == Send(TARGETS["b"], after=3.0)
    assert place(step(plan("a", "b"), *both, out={**out, "b": Outage("server_error", 101.0)})) is None


def test_if_all_are_rate_limited_the_client_gets_a_429():
    out = {"a": Outage("rate_limited", 160.0), "b": Outage("quota", 170.5)}
    end = step(plan("a", "b"), out=out)
    assert (end.error.status, dict(end.error.headers)["retry-after"]) == (429, "60")


@pytest.mark.parametrize(("out", "deadline"), [(121.0, 1000.0), (110.0, 105.0)])
def test_no_wait_exceeds_the_limit(out, deadline):
    # BerriAI/litellm#7669, Helicone/helicone#5687
    assert place(step(plan("a", "b", deadline=deadline), out=dict.fromkeys("ab", Outage("overloaded", out)))) is None
    told = fail("a", "rate_limited", out - 100.0)
    assert place(step(plan("a", deadline=deadline), told)) is None
    assert place(step(plan("a", "b", deadline=100.0), fail("a"))) is None


def test_a_stated_wait_is_the_minimum():
    assert step(plan("a"), fail("a", "rate_limited", 7.0), random=0.0) == Send(TARGETS["a"], after=7.0)


@given(rounds=st.integers(1, 12), jitter=st.floats(0, 1))
def test_waits_double_with_full_jitter(rounds, jitter):
    found = step(plan("a", retries=Retries(attempts=99)), *[fail("a")] * rounds, random=jitter)
    assert isinstance(found, Send)
    assert found.after == pytest.approx(jitter * min(LONGEST_BACKOFF, BACKOFF * 2 ** (rounds - 1)))


def test_a_target_with_the_cached_conversation_is_retried_first():
    # openclaw/openclaw#126843
    found = step(plan("a", "b"), fail("a"), warm=["a"])
    assert (place(found), found.after <= 1.0) == ("a", True)
    assert place(step(plan("a", "b"), fail("a"), fail("a"), warm=["a"])) == "b"
    assert place(step(plan("a", "b"), fail("a", "server_error"), warm=["a"])) == "b"
    assert place(step(plan("a", "b"), fail("a", wait=5.0), warm=["a"])) == "b"
    assert place(step(plan("a", "b"), fail("a"), warm=["a"], out={"a": Outage("overloaded", 105.0)})) == "b"


def test_beyond_the_budget_the_first_failure_is_the_answer():
    # bman654/clodex#81, ray-project/ray#64399
    end = step(plan("a", "b"), fail("a"), full=["a", "b"])
    assert end.error.message == "a failed"


@each_row(
    ("outcomes", "conditions", "note"),
    [
        (("a",), {"full": ["a", "b", "c"]}, " (not tried because of the retry budget: b, c)"),
        (("a", "a", "a", "a"), {"full": ["b"]}, " (not tried because of the retry budget: b)"),
        (
            ("a",),
            {"full": ["a", "b", "c"], "out": {"b": Outage("gone", 900.0)}},
            " (not tried because of the retry budget: c)",
        ),
        (("a", "b", "c"), {"full": ["a", "b", "c"]}, " (tried: a: overloaded, b: overloaded, c: overloaded)"),
    ],
)
def test_the_log_names_the_targets_that_the_budget_excluded(outcomes, conditions, note):
    """Otherwise an operator sees an error next to an available target, without a reason."""
    end = step(plan("a", "b", "c"), *(fail(name) for name in outcomes), **conditions)
    assert end.error.loggable_message.endswith(f"failed{note}")
    assert "budget" not in end.error.message


def test_a_request_that_cannot_be_written_goes_to_the_next_target():
    unprepared = fail("a", "invalid", stage=Stage.PREPARING)
    assert place(step(plan("a", "b"), unprepared)) == "b"
    end = step(plan("a", "b"), unprepared, fail("b", "invalid", stage=Stage.PREPARING))
    assert end.error.message == "a failed"


def test_the_most_useful_failure_lists_the_reasons_of_every_target():
    end = step(plan("a", "b", retries=Retries(attempts=2)), fail("a", "rate_limited", 9.0), fail("b", "connection"))
    assert end.error.message == "a failed (tried: a: rate_limited, b: connection)"


def test_a_target_that_soon_answers_again_is_more_useful_than_one_that_needs_money():
    limited = Outcome(TARGETS["a"], ErrorInfo("rate_limited", "a failed", reason="rate_limited", wait=9.0))
    spent = Outcome(TARGETS["b"], ErrorInfo("billing", "b failed", reason="quota"), Stage.WAITING, requests=0)
    for outcomes in ((limited, spent), (spent, limited)):
        end = step(plan("a", "b", retries=Retries(attempts=2, wait=1.0)), *outcomes)
        assert (end.error.status, dict(end.error.headers)["retry-after"]) == (429, "9")


@given(
    st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True),
    st.integers(1, 9),
    st.lists(st.sampled_from(REASONS), min_size=9, max_size=9),
)
def test_every_plan_ends_within_its_attempts(names, attempts, reasons):
    # BerriAI/litellm#26015
    of, outcomes = plan(*names, retries=Retries(attempts=attempts)), []
    while isinstance(found := step(of, *outcomes), Send):
        outcomes.append(fail(found.target.place, reasons[len(outcomes)]))
        assert len(outcomes) <= attempts
    assert found.error in [outcome.error for outcome in outcomes] or "tried:" in found.error.message


@pytest.mark.parametrize("when", [["quota"], ["rate_limited"]])
def test_a_step_checks_each_target_at_most_twice(when):
    """A client may list the names of many large routes, all of whose places are out (BerriAI/litellm#873)."""
    targets = [attrs.evolve(TARGETS["a"], model=str(number)) for number in range(200)]
    candidates = [Candidate(one, number // 50, when=frozenset(when)) for number, one in enumerate(targets)]
    looked = []

    class Limited(Moment):
        def outage(self, target: Target, *, alone: bool) -> Outage | None:
            looked.append(target)
            return Outage("rate_limited", 1000.0)

    of = Plan(tuple(candidates), fall_back, retries=Retries(), skips_unavailable=True)
    assert isinstance(fall_back(of, (), Limited()), GiveUp)
    last = Outcome(targets[0], ErrorInfo("upstream", "failed", reason="rate_limited"))
    assert isinstance(fall_back(of, (last,), Limited()), GiveUp)
    assert len(looked) <= 2 * 2.5 * len(targets)
