"""Allowances of ``ratelimits``, and the error for a request that exceeds one."""

import attrs
import msgspec

from gateway.allowances.allowance import Holder
from gateway.allowances.rates import RateAllowance, rate_allowances
from gateway.allowances.refusals import refusal_error
from gateway.config.allowances import Rate, RateLimits
from gateway.counters.counter import Debit, RateCounter, Shortage
from providers.apis import CODECS
from tests.support.each_row import each_row

ALICE = Holder("client_keys", "alice")
LIMITS = RateLimits(Rate(60, 60, "60/m"), Rate(400_000, 60, "400k/m"), concurrent=2, count_cached=True)


def allowances(limits: RateLimits = LIMITS, holder: Holder = ALICE) -> dict[str, RateAllowance]:
    return {one.measure: one for one in rate_allowances(holder, limits)}


def short(allowance: RateAllowance, wait: float | None) -> tuple[RateAllowance, Shortage]:
    return allowance, Shortage(Debit(allowance.counter(0, None), 1), wait, 0, 0)


def test_a_counter_is_the_same_in_every_process_and_another_where_its_limit_is():
    keys = {measure: one.counter(0, None).key for measure, one in allowances().items()}
    assert all(len(key) == 16 for key in keys.values())
    assert keys == {measure: one.counter(5, "run").key for measure, one in allowances().items()}
    other = allowances(RateLimits(Rate(61, 60, "61/m"), LIMITS.tokens, concurrent=3))
    assert other["requests"].counter(0, None).key != keys["requests"]
    assert other["tokens"].counter(0, None).key == keys["tokens"]
    assert other["concurrent"].counter(0, None).key == keys["concurrent"], "what is under way goes on counting"


@each_row(
    ("rate", "burst"),
    [
        (Rate(10, 1, "10/s"), 10),
        (Rate(600, 60, "600/m"), 600),
        (Rate(3600, 3600, "3600/h"), 60),
        (Rate(50_000, 86400, "50k/d"), 34),
        (Rate(100, 86400, "100/d"), 1),
    ],
)
def test_a_burst_is_one_unit_of_time_at_most_a_minute(rate, burst):
    counter = allowances(RateLimits(rate))["requests"].counter(0, None)
    assert isinstance(counter, RateCounter)
    assert (counter.amount, counter.seconds, counter.burst) == (rate.amount, rate.seconds, burst)


def test_a_refusal_without_room_for_another_run_has_advice():
    allowance, found = short(allowances()["tokens"], 60.0)
    error = refusal_error([(allowance, attrs.evolve(found, cause="no_row"))])
    assert error.message.startswith("The gateway counts as many runs and header values as it can. Use fewer")
    assert (error.status, dict(error.headers)["retry-after"]) == (429, "60")


def test_all_limits_that_are_violated_are_reported_with_the_longest_wait():
    # maximhq/bifrost#3500
    agents = Holder("client_groups", "agents")
    of_group = allowances(RateLimits(concurrent=20), agents)["concurrent"]
    found = refusal_error([short(allowances()["requests"], 3.0), short(of_group, None)])
    told = "client key alice: 60 requests/m; client group agents: 20 concurrent requests"
    assert found.message == f"Rate limit of this gateway reached: {told}. Try again in 3s."
    assert dict(found.headers) == {
        "retry-after": "3",
        "x-trigate-limit": "client_keys.alice.requests, client_groups.agents.concurrent",
    }


@each_row(("wait", "told"), [(None, 1), (0.004, 1), (1.0000000004, 1), (1.2, 2), (86400.0, 86400)])
def test_a_wait_is_rounded_up_to_whole_seconds(wait, told):
    # Clients retried a refusal without a wait immediately (lidge-jun/opencodex#4653).
    assert dict(refusal_error([short(allowances()["requests"], wait)]).headers)["retry-after"] == str(told)


@each_row("api", CODECS)
def test_programs_find_the_code_where_their_api_has_it(api):
    body = msgspec.json.decode(CODECS[api].write_error(refusal_error([short(allowances()["tokens"], 2)]), "id"))
    match api:
        case "gemini":
            assert (body["error"]["code"], body["error"]["status"]) == (429, "RESOURCE_EXHAUSTED")
        case "converse":
            assert body["__type"] == "ThrottlingException"
        case "interactions":
            assert body["error"]["code"] == "too_many_requests"
        case "messages":
            assert body["error"]["type"] == "rate_limit_error"
            details = {"code": "rate_limit_exceeded", "limits": ["client_keys.alice.tokens"]}
            assert body["error"]["details"] == details
        case _:
            found = (body["error"]["type"], body["error"]["code"])
            assert found == ("rate_limit_error", "rate_limit_exceeded")


def test_a_name_cannot_break_a_header():
    odd = Holder("client_keys", "ünï\r\nset-cookie: a")
    found = refusal_error([short(allowances(LIMITS, odd)["tokens"], 2)])
    assert dict(found.headers)["x-trigate-limit"] == "client_keys.?n???set-cookie: a.tokens"
