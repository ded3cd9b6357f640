"""Bedrock's error responses, with the type in a header before its colon, and only a message in the body."""

import json
from pathlib import Path

import pytest

from providers.converse import CONVERSE
from providers.errors.member_paths import CACHE_POINTS, remove_path
from providers.errors.rejected import find_rejected, find_sole_rejected, may_omit
from streams import event_stream
from streams.events import ErrorInfo
from tests.support.cases import case
from tests.support.each_row import each_row
from tests.support.provider_streams import read_stream
from tests.support.recordings import ABSENT, CORPUS

ERRORS = sorted((CORPUS / "error_responses").glob("*.meta.json"))


def read(status: int, kind: str, message: str, at: str = "x-amzn-errortype") -> ErrorInfo:
    headers = ((at, f"{kind}:http://internal.amazon.com/coral/com.amazon.bedrock/"), ("retry-after", "3"))
    return CONVERSE.read_error(status, json.dumps({"message": message}).encode(), headers)


def test_the_type_of_an_error_determines_its_kind():
    """crewAIInc/crewAI#7417 and the service's own list of exceptions."""
    for status, kind, message, expected, reason in [
        (429, "ThrottlingException", "Too many tokens, please wait", "rate_limited", "rate_limited"),
        (429, "ModelNotReadyException", "The model is not ready", "rate_limited", "overloaded"),
        (400, "ServiceQuotaExceededException", "Your request exceeds the service quota", "rate_limited", "quota"),
        (402, "ServiceQuotaExceededException", "Your request exceeds the service quota", "billing", "quota"),
        (403, "AccessDeniedException", "User is not authorized to perform this", "permission", "credential"),
        (403, "AccessDeniedException", "You don't have access to the model with the specified model ID.",
         "permission", "gone"),
        (403, "ExpiredTokenException", "The security token included in the request is expired", "permission",
         "credential"),
        (404, "ResourceNotFoundException", "The requested resource is not found", "not_found", "gone"),
        (408, "ModelTimeoutException", "Model has timed out", "timeout", "timeout"),
        (424, "ModelErrorException", "The model has failed", "upstream", "server_error"),
        (500, "InternalServerException", "Internal", "upstream", "server_error"),
        (503, "ServiceUnavailableException", "Not now", "overloaded", "overloaded"),
        (400, "ValidationException", "The value is wrong", "invalid_request", "invalid"),
        (400, "ValidationException", "The provided model identifier is invalid.", "invalid_request", "gone"),
        (400, "ValidationException", "Input is too long for requested model.", "invalid_request", "context_too_long"),
    ]:  # fmt: skip
        with case((status, kind, message, expected, reason)):
            failed = read(status, kind, message)
            assert (failed.kind, failed.reason, failed.message) == (expected, reason, message)
            assert failed.wait == 3.0 or reason == "context_too_long"


@each_row("shape", ["whole", "exception", "error"])
def test_an_exception_with_status_200_counts_as_with_its_own(shape):
    """Its type determines the kind, in each of Amazon's spellings."""
    for status, kind in [
        (429, "ThrottlingException"), (429, "ModelNotReadyException"), (503, "ServiceUnavailableException"),
        (408, "ModelTimeoutException"), (400, "ValidationException"), (403, "AccessDeniedException"),
        (404, "ResourceNotFoundException"), (400, "ServiceQuotaExceededException"), (500, "InternalServerException"),
    ]:  # fmt: skip
        own = read(status, kind, "no")
        for spelled in (kind, f"com.amazon.coral.service#{kind}", kind[0].lower() + kind[1:]):
            headers = {":message-type": "error", ":error-code": spelled, ":error-message": "no"}
            with case((kind, spelled)):
                if shape == "whole":
                    (failed,) = CONVERSE.read_answer(json.dumps({"__type": spelled, "Message": "no"}).encode())
                elif shape == "error":
                    (failed,) = read_stream(CONVERSE, event_stream.build_frame(headers, b""))
                else:
                    (failed,) = read_stream(CONVERSE, event_stream.exception_frame(spelled, b'{"message":"no"}'))
                assert isinstance(failed, ErrorInfo)
                assert (failed.reason, failed.message) == (own.reason, "no")
                assert failed.kind == own.kind or kind == "ModelNotReadyException"
    (bare,) = CONVERSE.read_answer(b'{"__type": "ThrottlingException"}')
    assert isinstance(bare, ErrorInfo)
    assert bare.kind == "rate_limited"


def test_an_exhausted_quota_is_not_the_clients_fault():
    assert read(400, "ServiceQuotaExceededException", "no").status == 429


@pytest.mark.skipif(not ERRORS, reason=ABSENT)
def test_recorded_errors_have_their_reason():
    found = {}
    for file in ERRORS:
        meta = json.loads(file.read_bytes())
        body = Path(str(file).replace(".meta.", ".response."))
        if meta["api"] == "bedrock_converse" and body.exists():
            headers = tuple(meta["response_headers"].items())
            failed = CONVERSE.read_error(meta["status"], body.read_bytes(), headers)
            found[file.name.partition(".")[0], meta["status"]] = failed.reason
    assert found["dd-trace-py", 403] == "credential"
    assert found["opentelemetry-python-contrib", 400] == "gone"
    assert found["ruby_llm", 400] == "context_too_long"
    assert found["pydantic-ai", 400] == "invalid"


def test_other_responses_raise_nothing():
    for body in (b"", b"<html>", b"[]", b'{"Message": "x"}', b'{"__type": "a#ThrottlingException"}', b"\xff"):
        assert CONVERSE.read_error(403, body, ()).status >= 400
    assert CONVERSE.read_error(400, b'{"Message": "capital"}', ()).message == "capital"


UNCACHED = (
    "You invoked an unsupported model or your request did not allow prompt caching. See the documentation for more "
    "information."
)


def test_a_request_is_resent_without_rejected_cache_points():
    """It comes as a 403, and is no matter of a credential (BerriAI/litellm#39210, anomalyco/opencode#782)."""
    failed = read(403, "AccessDeniedException", UNCACHED)
    assert (failed.kind, failed.status, failed.reason) == ("invalid_request", 400, "invalid")
    assert find_rejected(failed) == find_sole_rejected(failed) == (CACHE_POINTS,)
    point, arguments = {"cachePoint": {"type": "default"}}, {"points": [{"cachePoint": 1, "b": 2}]}
    body = {
        "toolConfig": {"tools": [{"toolSpec": {"name": "a"}}, point]},
        "system": [{"text": "a"}, point],
        "messages": [
            {"role": "user", "content": [{"text": "b"}, point]},
            {"role": "assistant", "content": [{"toolUse": {"input": arguments}}]},
        ],
    }
    left, places = remove_path(body, CACHE_POINTS)
    assert left == {
        "toolConfig": {"tools": [{"toolSpec": {"name": "a"}}]},
        "system": [{"text": "a"}],
        "messages": [{"role": "user", "content": [{"text": "b"}]}, body["messages"][1]],
    }
    assert places == {"toolConfig.tools[].cachePoint", "system[].cachePoint", "messages[].content[].cachePoint"}
    assert all(may_omit(place, body) for place in places)
    assert remove_path(left, CACHE_POINTS) == (left, set())


def test_a_quoted_rejection_teaches_nothing():
    failed = read(400, "ValidationException", f"messages.0: {UNCACHED}")
    assert find_sole_rejected(failed) == ()
