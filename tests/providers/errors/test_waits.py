"""Wait times in providers' errors, in every place and form."""

import json

import pytest

from providers.errors.failures import find_delay, read_event_failure, read_failure
from providers.errors.limits import MAX_WAIT, predict_outage, seconds
from tests.support.cases import case

NOW = 1_790_000_000.0  # 2026-09-21 14:13:20 UTC
HEAD = "anthropic-ratelimit-"


def test_moments_and_durations_are_read():
    for text, wait in [
        ("7", 7), ("0.5", 0.5), ("6ms", 0.006), ("1.2s", 1.2), ("1m2.5s", 62.5), ("6m0s", 360), ("1h2m3s", 3723),
        ("2d3h", 183_600), ("34.429760048s", 34.429760048), (" 12 ", 12), ("1790000060", 60), ("1790000060000", 60),
        ("2026-09-21T14:14:20Z", 60), ("2026-09-21T14:14:20.5+00:00", 60.5), ("2026-09-21T16:14:20+02:00", 60),
        ("2026-09-21T14:14:20", 60), ("Mon, 21 Sep 2026 14:14:20 GMT", 60),
        # values without a usable time
        ("", None), ("0", None), ("-3", None), ("0s", None), ("soon", None), ("nan", None), ("s", None), ("1x", None),
        ("1789999999", None), ("2026-09-21T14:13:19Z", None), ("Mon, 21 Sep 2026 14:13:00 GMT", None),
        ("9" * 400, None), ("9999-99-99", None), ("Mon, 99 Sep 2026 14:14:20 GMT", None),
    ]:  # fmt: skip
        with case((text, wait)):
            assert seconds(text, NOW) == (wait if wait is None else pytest.approx(wait, abs=1e-6))


def test_headers_state_when_a_limit_ends():
    for headers, wait in [
        ({"retry-after": "7"}, 7),
        ({"retry-after": "Mon, 21 Sep 2026 14:15:20 GMT"}, 120),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after": "1", "retry-after-ms": "0"}, 1),  # Azure
        ({"retry-after": "2", "retry-after-ms": "1600"}, 2),
        ({"retry-after": "inf"}, MAX_WAIT),
        ({"retry-after": "99999999"}, MAX_WAIT),
        ({"retry-after": "x"}, None),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1m2s"}, 62),
        ({"x-ratelimit-remaining-requests": "3", "x-ratelimit-reset-requests": "1m2s"}, None),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1s",
          "x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "6m0s"}, 360),
        ({"retry-after": "3", "x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "6m0s"}, 3),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1790000030"}, 30),
        ({HEAD + "tokens-remaining": "0", HEAD + "tokens-reset": "2026-09-21T14:13:50Z"}, 30),
        ({HEAD + "tokens-remaining": "0"}, None),
        # several windows are all waited for (gsd-build/gsd-2#125, lidge-jun/opencodex#3809)
        ({HEAD + "unified-status": "rejected", HEAD + "unified-reset": "1790000010",
          HEAD + "unified-5h-status": "rejected", HEAD + "unified-5h-reset": "1790000010",
          HEAD + "unified-7d-status": "rejected", HEAD + "unified-7d-reset": "1790086400"}, 86_400),
        ({HEAD + "unified-status": "rejected", HEAD + "unified-5h-status": "rejected",
          HEAD + "unified-5h-reset": "1790000010", HEAD + "unified-7d-status": "allowed",
          HEAD + "unified-7d-reset": "1790086400", "retry-after": "10"}, 10),
        # a rejected overage until the end of the month is not a limit of the plan (Yeachan-Heo/gajae-code#2444)
        ({HEAD + "unified-status": "rejected", HEAD + "unified-reset": "1790000010",
          HEAD + "unified-5h-status": "rejected", HEAD + "unified-5h-reset": "1790000010",
          HEAD + "unified-overage-status": "rejected", HEAD + "unified-overage-reset": "1790800000"}, 10),
        ({"x-codex-primary-used-percent": "100", "x-codex-primary-reset-after-seconds": "13873",
          "x-codex-secondary-used-percent": "80", "x-codex-secondary-reset-after-seconds": "316705"}, 13_873),
        ({"x-codex-primary-used-percent": "100", "x-codex-primary-reset-at": "1790000100"}, 100),
    ]:  # fmt: skip
        with case((headers, wait)):
            assert find_delay("rate_limited", {}, tuple(headers.items()), NOW) == wait


def test_bodies_state_when_a_limit_ends():
    """Codex' plans and Google state the wait in the body (openai/codex#32341, router-for-me/CLIProxyAPI#1666)."""
    for error, wait in [
        ({"details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.4s"}]}, 34.4),
        ({"type": "usage_limit_reached", "resets_at": 1_790_013_872, "resets_in_seconds": 13_872}, 13_872),
        ({"resets_at": 1_790_000_050}, 50),
        ({"resets_at": "2026-09-21T14:14:20Z"}, 60),
        ({"resets_at": None, "resets_in_seconds": "soon"}, None),
        ({"resets_in_seconds": True}, None),
        ({"resets_in_seconds": 10**400, "resets_at": 10**400}, None),
        ({"metadata": {"headers": {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1790000060000"}}}, 60),
        ({"message": "Rate limit reached for gpt-5 in organization o on tokens per min (TPM): Limit 30000. "
                     "Please try again in 11.054s. Visit the page to learn more."}, 11.054),
        ({"message": "Rate limit reached. Please try again in 7m12s."}, 432),
        ({"message": "Rate limit reached. Please try again in 20ms."}, 0.02),
        ({"message": "You exceeded your current quota.\n* Quota exceeded, limit: 20\nPlease retry in 36.42s."}, 36.42),
        ({"message": "You have reached your specified API usage limits. You will regain access on 2026-09-22 at 00:00 "
                     "UTC."}, 35_200),
        ({"message": "usage limit exceeded, 5-hour usage limit reached for Token Plan Starter (0/0 used), resets at "
                     "2026-09-21T15:00:00Z (2056)"}, 2800),
        ({"message": "Please try again later."}, None),
        ({"message": 3}, None),
        ({}, None),
    ]:  # fmt: skip
        with case((error, wait)):
            told = find_delay("rate_limited", error, (), NOW)
            assert told == (wait if wait is None else pytest.approx(wait, abs=1e-6))


def test_limit_headers_are_no_wait_after_other_failures():
    headers = (("x-ratelimit-remaining-tokens", "0"), ("x-ratelimit-reset-tokens", "6m0s"))
    assert find_delay("server_error", {"message": "Please try again in 5s."}, headers, NOW) is None
    assert find_delay("overloaded", {}, (*headers, ("retry-after", "3")), NOW) == 3


def test_failures_carry_their_wait():
    error = {"type": "usage_limit_reached", "message": "m", "resets_in_seconds": 60}
    body = json.dumps({"error": error}).encode()
    assert read_failure(429, body).wait == 60
    assert read_failure(429, body, (("retry-after", "90"),)).wait == 90
    assert read_failure(503, b"", (("retry-after", "2"),)).wait == 2
    assert read_failure(500, b"").wait is None
    assert read_event_failure({"error": error}).wait == 60


def test_a_provider_may_announce_that_it_will_refuse():
    """The gateway uses a provider's reported limits before the provider rejects a request (openai/codex#32341)."""
    for headers, outage in [
        ({}, None),
        ({"content-length": "0", "age": "100"}, None),
        ({"x-ratelimit-remaining-requests": "5", "x-ratelimit-reset-requests": "1m2s"}, None),
        ({"x-ratelimit-remaining-requests": "0"}, None),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1m2s"}, ("rate_limited", 62)),
        ({HEAD + "requests-remaining": "0", HEAD + "requests-reset": "2026-09-21T14:13:50Z"}, ("rate_limited", 30)),
        ({HEAD + "unified-status": "allowed", HEAD + "unified-5h-reset": "1790000010"}, None),
        ({HEAD + "unified-status": "rejected", HEAD + "unified-5h-status": "rejected",
          HEAD + "unified-5h-reset": "1790000010"}, ("quota", 10)),
        ({"x-codex-primary-used-percent": "100", "x-codex-primary-reset-after-seconds": "60"}, ("quota", 60)),
        ({"x-codex-primary-used-percent": "100.0", "x-codex-primary-reset-after-seconds": "60"}, ("quota", 60)),
        ({"x-codex-primary-used-percent": "100", "x-codex-primary-reset-after-seconds": "60",
          "x-codex-credits-unlimited": "true"}, None),
        ({"x-codex-primary-used-percent": "12", "x-codex-primary-reset-after-seconds": "60"}, None),
        ({"x-codex-other-primary-used-percent": "100", "x-codex-other-primary-reset-after-seconds": "60"}, None),
    ]:  # fmt: skip
        with case((headers, outage)):
            assert predict_outage(tuple(headers.items()), NOW) == outage
