"""Failures that concern every client of an account, whatever their requests contain."""

import json
from typing import Any

from providers.errors.failures import read_event_failure, read_failure
from tests.support.cases import case
from tests.support.each_row import each_row

Headers = tuple[tuple[str, str], ...]

ACCOUNT: list[tuple[int, dict[str, Any], Headers]] = [
    (401, {"message": "invalid x-api-key", "type": "authentication_error"}, ()),
    (401, {}, ()),
    (401, {"message": "Incorrect API key provided: sk-1", "code": "invalid_api_key", "param": None}, ()),
    (400, {"message": "API key not valid. Please pass a valid API key.", "status": "INVALID_ARGUMENT"}, ()),
    (403, {"message": "no", "details": [{"reason": "API_KEY_SERVICE_BLOCKED"}]}, ()),
    (403, {"message": "no", "details": [{"reason": "CONSUMER_SUSPENDED"}]}, ()),
    # continuedev/continue#11541
    (403, {"message": "Your API key was reported as leaked. Please use another API key."}, ()),
    (403, {"message": "The API key sk-1 has been revoked"}, ()),
    # can1357/oh-my-pi#38
    (403, {"message": "OAuth token does not meet scope requirement any_of(user:inference)"}, ()),
    (403, {"message": "The security token included in the request is expired"}, ()),
    (403, {"message": "no"}, (("x-amzn-errortype", "UnrecognizedClientException:http://x"),)),
    (429, {"message": "You exceeded your current quota", "code": "insufficient_quota"}, ()),
    (400, {"message": "Your credit balance is too low to access the Anthropic API."}, ()),
]

REQUEST: list[tuple[int, dict[str, Any], Headers]] = [
    (403, {"message": "The caller does not have permission"}, ()),
    # googleapis/python-genai#1218
    (403, {"message": "You do not have permission to access the File a or it may not exist."}, ()),
    (403, {"message": "Your API key does not have permission to use the specified resource."}, ()),
    (403, {"message": "I said: Your API key was reported as leaked"}, ()),
    (
        403,
        {"message": "User: a is not authorized to perform: bedrock:InvokeModel on resource: b:foundation-model/"},
        (),
    ),
    (401, {"message": "no", "param": "tools"}, ()),
    # winfunc/opcode#358
    (401, {"message": "key not allowed", "type": "key_model_access_denied", "param": "model"}, ()),
    # OpenRouterTeam/ai-sdk-provider#24
    (401, {"message": "Provider returned error", "metadata": {"provider_name": "Anthropic"}}, ()),
    (402, {"message": "This request requires more credits, or fewer max_tokens."}, ()),
    (429, {"message": "Rate limit exceeded: free-models-per-day"}, ()),
    (429, {"message": "no", "details": [{"violations": [{"quotaId": "RequestsPerDayPerModel"}]}]}, ()),
    (429, {"message": "Request too large"}, (("retry-after", "60"),)),
    (404, {"message": "The model does not exist", "code": "model_not_found"}, ()),
    (404, {"message": "Prompt with id 'pmpt_0123' not found."}, ()),
]


def read(status: int, error: dict[str, Any], headers: Headers) -> bool:
    return read_failure(status, json.dumps({"error": error}).encode(), headers).concerns_all


@each_row("status, error, headers", ACCOUNT)
def test_words_about_the_account_concern_all(status, error, headers):
    assert read(status, error, headers)


@each_row("status, error, headers", REQUEST)
def test_other_failures_may_be_the_request_s(status, error, headers):
    assert not read(status, error, headers)


def test_an_error_within_a_stream_is_read_alike():
    assert read_event_failure({"error": {"message": "no", "code": "insufficient_quota"}}).concerns_all
    assert not read_event_failure({"error": {"message": "no", "type": "permission_error"}}).concerns_all
    assert not read_event_failure({"error": {"message": "no", "type": "overloaded_error"}}).concerns_all


def test_objects_in_the_request_are_the_client_s_to_correct():
    for message in [
        "Prompt with id 'pmpt_0123' not found.",
        "CachedContent not found",
        "You do not have permission to access the File abc or it may not exist.",
    ]:
        for status in [403, 404]:
            with case((message, status)):
                failed = read_failure(status, json.dumps({"error": {"message": message}}).encode())
                assert (failed.reason, failed.message) == ("invalid", message)
