"""Reasons of failed attempts, from real errors of providers."""

import json
import re
from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from providers.errors.failures import error_object, messages_error, openai_error, read_event_failure, read_failure
from providers.errors.limits import MAX_WAIT, predict_outage
from providers.errors.reasons import REASON_OF_WORD, SENTENCES
from streams.events import UNAVAILABLE, FailureReason
from tests.support.cases import case
from tests.support.each_row import each_row

QUOTA_FAILURE = "type.googleapis.com/google.rpc.QuotaFailure"


def google(status, *violations, **members):
    """Return a Google error with the ids of exceeded quotas."""
    details = [{"@type": QUOTA_FAILURE, "violations": [{"quotaId": one} for one in violations]}]
    return {"error": {"code": status, "message": "You exceeded your current quota", "details": details, **members}}


BY_STATUS = (
    (301, "bad_answer"), (400, "invalid"), (401, "credential"), (402, "quota"), (403, "credential"), (404, "gone"),
    (405, "invalid"), (407, "connection"), (408, "timeout"), (409, "invalid"), (410, "gone"), (413, "invalid"),
    (415, "invalid"), (418, "invalid"),
    (422, "invalid"), (424, "invalid"), (429, "rate_limited"), (500, "server_error"), (501, "server_error"),
    (502, "server_error"), (503, "overloaded"), (504, "timeout"), (520, "server_error"), (529, "overloaded"),
    (599, "server_error"),
)  # fmt: skip


def test_a_status_alone_is_a_reason():
    """An unknown 4xx status causes no fallback (BerriAI/litellm#10793)."""
    for status, reason in BY_STATUS:
        for body in [b"", b"null", b"[]", b'{"error":{"message":"m"}}', b'[{"error":"m"}]']:
            with case((status, reason, body)):
                assert read_failure(status, body).reason == reason


def test_codes_decide_before_the_status():
    for status, error, reason in [
        (429, {"code": "1308", "message": "已达到 5 小时的使用上限。"}, "quota"),  # Zhipu's plan (dirge-code/dirge#818)
        (429, {"code": "1113", "message": "Insufficient balance or no resource package."}, "quota"),
        (429, {"code": "1302", "message": "Rate limit reached for requests"}, "rate_limited"),  # kaitranntt/ccs#536
        # openai/codex#32341, ColeMurray/background-agents#1532, BerriAI/litellm#16092
        (429, {"type": "insufficient_quota", "code": "insufficient_quota", "message": "m"}, "quota"),
        (429, {"type": "tokens", "code": "rate_limit_exceeded", "message": "m"}, "rate_limited"),
        (429, {"type": "usage_limit_reached", "message": "m", "resets_in_seconds": 13872}, "quota"),
        (429, {"type": "rate_limit_error", "message": "m"}, "rate_limited"),
        (429, {"code": "RateLimitReached", "message": "m"}, "rate_limited"),
        (429, {"code": 429, "message": "Rate limit exceeded: free-models-per-day. Add 10 credits"}, "quota"),
        (429, {"code": 429, "message": "Rate limit exceeded: free-models-per-min. "}, "rate_limited"),
        (429, {"type": "engine_overloaded_error", "message": "m"}, "overloaded"),
        (429, {"type": "exceeded_current_quota_error", "message": "m"}, "quota"),
        (401, {"type": "insufficient_quota", "code": 401, "message": "m"}, "quota"),
        (400, {"code": "billing_hard_limit_reached", "message": "m"}, "quota"),
        (403, {"type": "permission_error", "message": "m"}, "credential"),
        (403, {"code": "insufficient_user_quota", "message": "m"}, "quota"),
        (403, {"code": 403, "message": "m", "metadata": {"reasons": ["violence"], "flagged_input": "…"}},
         "content_filter"),
        (400, {"code": "invalid_api_key", "message": "m"}, "credential"),
        (400, {"code": "model_not_found", "message": "m", "param": "model"}, "gone"),
        (400, {"code": "model_decommissioned", "message": "m"}, "gone"),
        (400, {"code": "content_policy_violation", "message": "m"}, "content_filter"),
        (400, {"code": "content_filter", "message": "m",
               "innererror": {"code": "ResponsibleAIPolicyViolation"}}, "content_filter"),
        (400, {"code": None, "message": "m", "innererror": {"code": "ResponsibleAIPolicyViolation"}}, "content_filter"),
        (400, {"code": "context_length_exceeded", "message": "m"}, "context_too_long"),
        (413, {"message": "prompt is too long: 5 tokens > 4 maximum"}, "context_too_long"),
        (400, {"type": "invalid_request_error", "message": "max_tokens: must be greater than 0"}, "invalid"),
        (403, {"code": "model_permission_blocked_project", "message": "m"}, "gone"),
        (403, {"code": "model_not_found", "message": "Project does not have access to model"}, "gone"),
        (404, {"type": "not_found_error", "message": "model: claude-0"}, "gone"),
        (404, {"code": 404, "status": "NOT_FOUND", "message": "models/x is not found for API version v1"}, "gone"),
        (404, {"type": "not_found_error", "message": "File not found: file_1"}, "invalid"),
        (410, {"message": "File file_1 not found: it has expired"}, "invalid"),
        (404, {"code": None, "param": "previous_response_id", "message": "m"}, "invalid"),
        (404, {"code": None, "param": "id", "message": "No such File object: file-abc123"}, "invalid"),
        (404, {"code": None, "message": "Vector store with id ['vs_6800'] not found."}, "invalid"),
        (404, {"type": "not_found_error", "message": "skill_id: skill_01AbCd"}, "invalid"),
        (404, {"code": 404, "message": "No endpoints found that support tool use. To learn more"}, "invalid"),
        (404, {"code": 404, "message": "No endpoints found for google/gemini-0."}, "gone"),
        (404, {"message": "The model `vs-coder` does not exist.", "type": "NotFoundError"}, "gone"),
        (404, {"message": "model 'profile-x' not found, try pulling it first"}, "gone"),
        (500, {"type": "overloaded_error", "message": "m"}, "overloaded"),
        (500, {"type": "api_error", "message": "m"}, "server_error"),
        (503, {"code": "model_not_found", "message": "no channel"}, "overloaded"),  # a router's trouble, not a model's
        (424, {"__type": "com.amazonaws#ModelNotReadyException", "message": "m"}, "overloaded"),
        (400, {"code": "tool_use_failed", "message": "m"}, "bad_answer"),
        (400, {"code": "json_validate_failed", "message": "m"}, "bad_answer"),
        (400, {"message": "Provider returned error"}, "server_error"),
        (404, {"message": "Provider returned error", "metadata": {"raw": ""}}, "server_error"),
        (401, {"message": "Provider returned error"}, "credential"),
        (429, {"message": "Provider returned error"}, "rate_limited"),
        (400, {"message": "Error from provider (Console Go): Upstream request failed"}, "server_error"),
    ]:  # fmt: skip
        with case((status, error, reason)):
            for value in ({"error": error}, [{"error": error}], {"type": "error", "error": error}):
                assert read_failure(status, json.dumps(value).encode()).reason == reason


def test_sentences_that_a_provider_has_no_code_for_are_known():
    """Anthropic's 400 for an empty account has the type of any mistake (anthropics/claude-code#66314), xAI's 403 that
    of a refused key (continuedev/continue#12670)."""
    for status, message, reason in [
        (400, "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing", "quota"),
        (400, "You have reached your specified API usage limits. You will regain access on 2026-12-01 at 00:00 UTC.",
         "quota"),
        (403, "Your team 16f2151a-40f4 has either used all available credits or reached its monthly", "quota"),
        (429, "Your team 16f2151a-40f4 has either used all available credits or reached its monthly", "quota"),
        (403, "Your newly created team doesn't have any credits or licenses yet.", "quota"),
        (403, "You have run out of credits or need a Grok subscription.", "quota"),
        (429, "Your prepayment credits are depleted.", "quota"),
        (403, "You've reached your weekly (7-day) usage limit. Your quota will reset when", "quota"),
        (403, "You've reached your usage limit for this billing cycle. Your quota will be refreshed", "quota"),
        (429, "usage limit exceeded, 5-hour usage limit reached for Token Plan Starter (0/0 used), resets at", "quota"),
        (429, "you (somebody) have reached your session usage limit, please wait or upgrade to continue", "quota"),
        (400, "API key not valid. Please pass a valid API key.", "credential"),
        (400, "Incorrect API key provided. You can obtain an API key from", "credential"),
        (400, "Output blocked by content filtering policy", "content_filter"),
        (400, "Invalid prompt: your prompt was flagged as potentially violating our usage policy.", "content_filter"),
        (400, "Content Exists Risk", "content_filter"),
        (400, "Model Not Exist", "gone"),
        (400, "The provided model identifier is invalid.", "gone"),
        (403, "You don't have access to the model with the specified model ID.", "gone"),
        (403, "Permission 'aiplatform.endpoints.predict' denied on resource '//aiplatform.googleapis.com/projects/p/"
              "locations/us-central1/publishers/google/models/gemini-1.5-flash' (or it may not exist).", "gone"),
        (429, "Rate limit exceeded: free-models-per-day.", "quota"),
    ]:  # fmt: skip
        with case((status, message, reason)):
            body = json.dumps({"error": {"message": message, "type": "invalid_request_error"}}).encode()
            assert read_failure(status, body).reason == reason
            assert any(re.match(words, message) for words, _ in SENTENCES)


def test_a_quoted_sentence_removes_no_member():
    """A refusal may quote the request, and its client could put every provider out of use for everybody."""
    for words in ("Your credit balance is too low", "API key not valid", "Model Not Exist"):
        body = json.dumps({"error": {"message": f"messages[0]: unexpected text '{words}'"}}).encode()
        assert read_failure(400, body).reason == "invalid"


def test_a_minute_and_a_day_of_google_differ_in_their_details():
    """The sentence is the same for both (diegosouzapw/OmniRoute#9504, google-gemini/gemini-cli#10925)."""
    for value, reason in [
        (google(429, "GenerateRequestsPerMinutePerProjectPerModel-FreeTier"), "rate_limited"),
        (google(429, "GenerateRequestsPerDayPerProjectPerModel-FreeTier"), "quota"),
        (google(429, "GenerateRequestsPerMinutePerProject", "GenerateRequestsPerDayPerProject"), "quota"),
        ({"error": {"code": 429, "message": "m", "details": [
            {"reason": "RATE_LIMIT_EXCEEDED", "metadata": {"quota_limit": "Gemini25ProRequestsPerDay"}}]}}, "quota"),
        ({"error": {"code": 429, "message": "m", "details": [{"reason": "QUOTA_EXHAUSTED"}]}}, "quota"),
        ({"error": {"code": 429, "message": "m", "details": "RateLimitReached"}}, "rate_limited"),
        ({"error": {"code": 429, "message": "m", "details": [None, {"violations": [None, {"quotaId": 3}]}]}},
         "rate_limited"),
    ]:  # fmt: skip
        with case((value, reason)):
            assert read_failure(429, json.dumps(value).encode()).reason == reason
            assert read_failure(429, json.dumps([value]).encode()).reason == reason


def test_googles_refused_key_is_no_mistake_of_the_client():
    details = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}]
    error = {"code": 400, "message": "m", "status": "INVALID_ARGUMENT", "details": details}
    failed = read_failure(400, json.dumps([{"error": error}]).encode())
    assert (failed.kind, failed.reason) == ("authentication", "credential")


def test_headers_report_an_exhausted_plan_window():
    """The body is that of a short limit (manaflow-ai/subrouter#24, griffinwork40/agent-afk#488)."""
    for headers, reason in [
        ((("anthropic-ratelimit-unified-status", "rejected"),
          ("anthropic-ratelimit-unified-5h-status", "rejected")), "quota"),
        ((("anthropic-ratelimit-unified-status", "allowed"),
          ("anthropic-ratelimit-unified-5h-status", "allowed")), "rate_limited"),
        ((("anthropic-ratelimit-unified-status", "rejected"),), "quota"),
        ((("x-codex-primary-used-percent", "100"),), "quota"),
        ((("x-codex-primary-used-percent", "100"), ("x-codex-credits-has-credits", "True")), "rate_limited"),
        ((("x-codex-primary-used-percent", "99.5"),), "rate_limited"),
        ((("x-codex-primary-used-percent", "?"),), "rate_limited"),
        ((("retry-after", "7"),), "rate_limited"),
    ]:  # fmt: skip
        with case((headers, reason)):
            assert read_failure(429, b'{"error":{"type":"rate_limit_error","message":"m"}}', headers).reason == reason
            assert read_failure(503, b"", headers).reason == "overloaded"


@each_row("body", [b"<!DOCTYPE html><title>Attention Required!", b"\n <html><h1>403 Forbidden"])
def test_a_403_page_of_a_firewall_does_not_reject_the_key(body):
    """It may have found SQL in what a client wrote (anthropics/claude-code#58294, BerriAI/litellm#12421): no client is
    to put the account of all others out of use."""
    failed = read_failure(403, body)
    assert (failed.reason, failed.kind, failed.status) == ("bad_answer", "invalid_request", 400)
    assert "status 403 and a web page" in failed.message
    assert read_failure(401, body).reason == "credential"


def test_exceptions_of_aws_are_reported_by_a_header():
    headers = (("x-amzn-errortype", "ModelNotReadyException:http://internal.amazon.com/coral/"),)
    assert read_failure(429, b'{"message":"m"}', headers).reason == "overloaded"
    headers = (("x-amzn-errortype", "ThrottlingException:http://internal.amazon.com/coral/"),)
    assert read_failure(429, b'{"message":"m"}', headers).reason == "rate_limited"


@each_row(
    "error, reason",
    [
        ({"type": "overloaded_error", "message": "m"}, "overloaded"),
        ({"type": "api_error", "message": "m"}, "server_error"),
        ({"type": "server_error", "code": "server_error", "message": "m"}, "server_error"),
        ({"type": "insufficient_quota", "message": "m"}, "quota"),
        ({"code": "rate_limit_exceeded", "message": "m"}, "rate_limited"),
        ({"type": "rate_limit_error", "message": "m"}, "rate_limited"),
        ({"code": "server_is_overloaded", "message": "m"}, "overloaded"),
        ({"code": 402, "message": "m"}, "quota"),
        ({"code": 429, "message": "m"}, "rate_limited"),
        ({"code": 502, "message": "Provider returned error"}, "server_error"),
        ({"code": 400, "message": "Provider returned error"}, "server_error"),
        ({"code": 503, "message": "m", "status": "UNAVAILABLE"}, "overloaded"),
        ({"code": 504, "message": "m"}, "timeout"),
        ({"type": "authentication_error", "message": "m"}, "credential"),
        ({"type": "not_found_error", "message": "m"}, "gone"),
        ({"type": "invalid_request_error", "message": "m"}, "invalid"),
        ({"code": "context_length_exceeded", "message": "m"}, "context_too_long"),
        ({"code": "content_filter", "message": "m"}, "content_filter"),
        ({"message": "m"}, "server_error"),
        ({}, "server_error"),
    ],
)
def test_an_error_inside_of_a_stream_is_as_good_as_a_status(error, reason):
    """A fallback ran for one and not for the other (BerriAI/litellm#28599, maximhq/bifrost#5395)."""
    for value in ({"error": error}, {"type": "error", "error": error}, [{"error": error}], {"type": "error", **error}):
        assert read_event_failure(value).reason == reason


def test_a_code_inside_of_a_stream_gives_the_client_a_status():
    for code, kind, status in [
        ("usage_limit_reached", "rate_limited", 429),
        ("server_is_overloaded", "overloaded", 503),
        ("account_deactivated", "authentication", 401),
        ("model_decommissioned", "not_found", 404),
        ("content_policy_violation", "invalid_request", 400),
    ]:
        with case((code, kind, status)):
            failed = read_event_failure({"type": "response.failed", "error": {"code": code, "message": "m"}})
            assert (failed.kind, failed.status) == (kind, status)


def test_codes_of_server_trouble_are_never_the_requests_fault():
    assert set(REASON_OF_WORD.values()) - UNAVAILABLE == {"content_filter"}


# Anything at all

MEMBERS = st.sampled_from(
    ["error", "errors", "message", "code", "type", "status", "details", "detail", "innererror", "metadata", "headers",
     "reasons", "flagged_input", "violations", "quotaId", "quota_limit", "retryDelay", "resets_at", "resets_in_seconds",
     "retry_after", "param", "reason", "__type"]
)  # fmt: skip
WORDS = st.sampled_from([*REASON_OF_WORD, "PerDay", "34.4s", "1e9", "nan", "#", "Please try again in 5s.", "x" * 5000])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**400), 10**400) | st.floats() | st.text(max_size=9) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(MEMBERS, inner, max_size=4),
    max_leaves=12,
)
ERRORS = st.fixed_dictionaries(
    {"code": st.just("rate_limit_exceeded")},
    optional=dict.fromkeys(("resets_in_seconds", "resets_at", "retry_after", "details", "metadata", "type"), VALUES),
)
HEADERS = st.lists(
    st.tuples(
        st.sampled_from(
            ["retry-after", "retry-after-ms", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens",
             "anthropic-ratelimit-unified-status", "anthropic-ratelimit-unified-5h-status", "x-amzn-errortype",
             "anthropic-ratelimit-unified-5h-reset", "x-codex-primary-used-percent", "x-codex-primary-reset-at"]
        ),
        st.sampled_from(["", "0", "100", "rejected", "1e400", "-1", "nan", "9" * 99, "6m0s", "0001-01-01", "ms"]),
    ),
    max_size=6,
).map(tuple)  # fmt: skip


@given(
    VALUES | st.builds(lambda error: {"error": error}, ERRORS),
    st.sampled_from([200, 302, 400, 401, 403, 404, 429, 500, 503, 599]),
    HEADERS,
)
def test_whatever_a_provider_says_has_a_reason_and_a_bounded_wait(value, status, headers):
    assert hasattr(error_object(value), "get")
    for failed in (read_failure(status, json.dumps(value).encode(), headers), read_event_failure(value)):
        assert failed.status >= 400
        assert failed.message
        json.dumps([openai_error(failed), messages_error(failed)])
        assert failed.reason in get_args(FailureReason)
        assert failed.wait is None or 0 < failed.wait <= MAX_WAIT
    outage = predict_outage(headers)
    assert outage is None or 0 < outage[1] <= MAX_WAIT
