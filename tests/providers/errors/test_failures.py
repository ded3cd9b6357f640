"""Readers of any upstream error, and errors in the client's words."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.apis import CODECS
from providers.errors.failures import (
    KIND_OF_STATUS,
    MESSAGES_TYPE,
    OPENAI_TYPE,
    kind_of,
    messages_error,
    openai_error,
    read_event_failure,
    read_failure,
)
from streams.errors import GatewayError
from streams.events import STATUS, ErrorInfo
from tests.support.cases import case
from tests.support.each_row import each_row
from tests.support.repository import SHARED

CORPUS = SHARED / "corpus" / "error_responses"
RECORDED = [
    path for path in sorted(CORPUS.glob("*.meta.json")) if path.with_name(path.name[:-9] + "response.json").exists()
]


@pytest.mark.skipif(not RECORDED, reason="the recorded provider errors are not here")
def test_recorded_errors_keep_their_status_and_their_message():
    for path in RECORDED:
        body = path.with_name(path.name[:-9] + "response.json").read_bytes()
        status = json.loads(path.read_bytes())["status"]
        failed = read_failure(status, body)
        assert failed.status == status, path.name
        assert "no readable error" not in failed.message, path.name
        words = json.dumps(json.loads(body), ensure_ascii=False)
        assert json.dumps(failed.message, ensure_ascii=False)[1:-1] in words, path.name


@each_row("status, kind", sorted(KIND_OF_STATUS.items()))
def test_a_status_alone_gives_kind_and_status(status, kind):
    failed = read_failure(status, b"")
    assert (failed.kind, failed.status) == (kind, status)
    assert str(status) in failed.message


@each_row(("status", "kind"), [(418, "invalid_request"), (499, "invalid_request"), (599, "upstream")])
def test_other_statuses_fall_to_their_class(status, kind):
    assert read_failure(status, b"").kind == kind


@each_row("status", [301, 302, 307])
def test_a_redirect_is_a_502(status):
    """Its ``base_url`` is wrong, and Claude Code would repeat the request for minutes."""
    failed = read_failure(status, b"", (("location", "https://example.com/"),))
    assert (failed.status, failed.headers) == (502, (("x-should-retry", "false"),))
    assert failed.message.endswith(f"returned status {status} without a readable error: {ADDRESS}")


ADDRESS = "check that base_url is the address of its API"


@each_row("body", [b"", b"<html>", b"404 page not found\n", b'{"detail":"Not Found"}', b'{"error":{"message":"m"}}'])
def test_a_404_without_a_reason_advises_to_check_the_address(body):
    """FastAPI's, Go's and other servers' words for a path that they do not have (sigoden/aichat#1100)."""
    failed = read_failure(404, body, (("content-type", "text/plain"),))
    assert (failed.kind, failed.status) == ("not_found", 404)
    assert failed.message.endswith(ADDRESS) == (b'"m"' not in body)


def test_an_unreadable_body_is_described_and_never_raises():
    for body in [
        b"", b"<html>502 Bad Gateway</html>", b"\xff\xfe", b"null", b"[]", b"3", b'"x"', b"{", b'{"error":null}',
        b'{"error":{"message":null}}', b'{"error":{"message":{"a":1}}}', b'{"error":[]}', b"[" * 100_000,
    ]:  # fmt: skip
        with case(body):
            failed = read_failure(502, body)
            assert failed.message == "the provider returned status 502 without a readable error"
            assert failed.status == 502


def test_the_message_is_found_wherever_the_provider_put_it():
    """Google's OpenAI endpoint answers with an array (FuzzAnything/PromptFuzz#42, langroid/langroid#988)."""
    for body, message, code in [
        ({"error": {"message": "m", "type": "t", "param": "p", "code": "c"}}, "m", "c"),
        ({"type": "error", "error": {"type": "overloaded_error", "message": "m"}}, "m", None),
        ({"error": "m", "code": "The caller does not have permission"}, "m", "The caller does not have permission"),
        ({"error": {"message": "m", "code": 402}}, "m", None),
        ({"message": "m", "object": "error", "type": "x"}, "m", None),
        ({"detail": "m"}, "m", None),
        ({"detail": {"message": "m", "code": "c"}}, "m", "c"),  # omeryasirkucuk/amx#185
        ({"detail": {"error": "m"}}, "m", None),
        ([{"error": {"message": "m", "code": 400, "status": "INVALID_ARGUMENT"}}], "m", None),
        ({"errors": [{"message": "m", "code": 10000}, {"message": "n"}]}, "m", None),
        ({"errors": ["m"]}, "m", None),
        ({"error": ["m", "n"]}, "m", None),
        ({"error": [{"message": "m", "code": "c"}]}, "m", "c"),
        ({"message": "m", "errors": []}, "m", None),
        ({"message": "m", "errors": {"max_tokens": ["n"]}}, "m", None),
        ({"code": 401, "msg": "m", "success": False}, "m", None),
        ({"error_code": 336006, "error_msg": "m"}, "m", None),
        ({"errorMessage": "m", "errorType": "x"}, "m", None),
        ({"error": "invalid_client", "error_description": "m"}, "m", None),
    ]:
        with case((body, message, code)):
            failed = read_failure(400, json.dumps(body).encode())
            assert (failed.message, failed.code) == (message, code)


@each_row("kind", ["text/plain", "Text/Plain; charset=utf-8"])
def test_a_short_text_is_the_message(kind):
    """Proxies, and servers without errors of their own, send only such a text."""
    failed = read_failure(503, b" no healthy upstream\n", (("content-type", kind),))
    assert (failed.kind, failed.message) == ("overloaded", "no healthy upstream")


def test_html_pages_and_long_texts_are_not_error_messages():
    for body, kind in [
        (b"<html>502 Bad Gateway</html>", "text/plain"),
        (b"\n<!DOCTYPE html>", "text/plain"),
        (b"502 Bad Gateway", "text/html"),
        (b"no healthy upstream", "application/octet-stream"),
        (b"line\n" * 1000, "text/plain"),
        (b" \n", "text/plain"),
    ]:
        with case((body, kind)):
            failed = read_failure(502, body, (("content-type", kind),))
            assert failed.message == "the provider returned status 502 without a readable error"


def test_only_useful_headers_are_kept():
    headers = (("retry-after", "3"), ("set-cookie", "a=b"), ("x-should-retry", "false"), ("retry-after-ms", "9"))
    assert dict(read_failure(429, b"", headers).headers) == {
        "retry-after": "3",
        "x-should-retry": "false",
        "retry-after-ms": "9",
    }


def test_unknown_members_of_an_error_are_discarded():
    failed = read_failure(500, b'{"error":{"message":"m","inner":"sk-secret"}}')
    assert failed.message == "m"
    assert "sk-secret" not in repr(failed)


def test_the_words_of_a_500_determine_its_kind():
    body = b'{"type":"error","error":{"type":"overloaded_error","message":"m"}}'
    assert read_failure(500, body).kind == "overloaded"
    assert read_failure(400, body).kind == "invalid_request"


def test_the_words_of_an_error_within_a_stream_determine_its_status():
    for error, kind, status in [
        ({"type": "overloaded_error", "message": "m"}, "overloaded", 503),
        ({"code": "rate_limit_exceeded", "message": "m"}, "rate_limited", 429),
        ({"type": "insufficient_quota", "code": "insufficient_quota", "message": "m"}, "rate_limited", 429),
        ({"code": 503, "message": "m"}, "overloaded", 503),
        ({"type": "nobody_knows", "message": "m"}, "upstream", 502),
        ({"message": "m"}, "upstream", 502),
    ]:
        with case((error, kind, status)):
            failed = read_event_failure({"error": error})
            assert (failed.kind, failed.status, failed.message) == (kind, status, "m")


def test_the_code_decides_before_the_type():
    assert kind_of({"code": "model_not_found", "type": "invalid_request_error"}, "upstream") == "not_found"


@given(st.binary(), st.integers(300, 599))
def test_any_bytes_are_an_error(body, status):
    for headers in ((), (("content-type", "text/plain"),)):
        assert read_failure(status, body, headers).message


def test_every_kind_can_be_written():
    assert set(MESSAGES_TYPE) == set(OPENAI_TYPE) == set(STATUS)


def test_openai_errors_have_all_four_members():
    for failed, error in [
        (
            ErrorInfo("invalid_request", "m", param="messages[0]"),
            {"message": "m", "type": "invalid_request_error", "param": "messages[0]", "code": None},
        ),
        (
            ErrorInfo("authentication", "m"),
            {"message": "m", "type": "invalid_request_error", "param": None, "code": "invalid_api_key"},
        ),
        (
            ErrorInfo("rate_limited", "m", code="insufficient_quota"),
            {"message": "m", "type": "rate_limit_error", "param": None, "code": "insufficient_quota"},
        ),
        (
            ErrorInfo("overloaded", "m", status=529),
            {"message": "m", "type": "server_error", "param": None, "code": "overloaded"},
        ),
    ]:
        with case((failed, error)):
            assert openai_error(failed) == error


def test_messages_errors_have_details_only_if_there_are_any():
    assert messages_error(ErrorInfo("not_found", "m")) == {"type": "not_found_error", "message": "m"}
    assert messages_error(ErrorInfo("invalid_request", "m", details={"error_code": "x"})) == {
        "type": "invalid_request_error",
        "message": "m",
        "details": {"error_code": "x"},
    }


def test_types_of_messages_errors_match_the_sdk():
    for kind, word in [
        ("invalid_request", "invalid_request_error"), ("authentication", "authentication_error"),
        ("billing", "billing_error"), ("permission", "permission_error"), ("not_found", "not_found_error"),
        ("too_large", "request_too_large"), ("rate_limited", "rate_limit_error"), ("overloaded", "overloaded_error"),
        ("timeout", "timeout_error"), ("upstream", "api_error"), ("internal", "api_error"),
    ]:  # fmt: skip
        with case((kind, word)):
            assert messages_error(ErrorInfo(kind, "m"))["type"] == word


@each_row("texts, api", itertools.product([True, False], CODECS))
def test_an_array_with_an_error_is_that_error_in_every_api(texts, api):
    """With status 200, as with any other (Google; langroid/langroid#988, BerriAI/litellm#28599)."""
    error = {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE", "type": "overloaded_error"}
    *_, failed = CODECS[api].read_answer(json.dumps([{"error": error}]).encode(), texts)
    assert isinstance(failed, ErrorInfo)
    assert (failed.reason, failed.message) == ("overloaded", "The model is overloaded.")
    with pytest.raises(GatewayError) as raised:
        tuple(CODECS[api].read_answer(b"[1]", texts))
    assert raised.value.info.reason == "bad_answer"


@each_row("texts, api", itertools.product([True, False], ["chat", "messages", "responses", "interactions"]))
def test_an_error_with_status_200_and_no_other_mark_keeps_its_message(texts, api):
    """Zhipu's, in Chat and Messages (songoao25/dsh-bottom-info-bar#25)."""
    body = {"code": 401, "msg": "token expired or incorrect", "success": False}
    (failed,) = CODECS[api].read_answer(json.dumps(body).encode(), texts)
    assert isinstance(failed, ErrorInfo)
    assert failed.message == "token expired or incorrect"


ANTHROPIC_CODES = (
    ("compaction_block_misplaced", 400, "invalid_request_error"),
    ("compaction_unavailable", 529, "overloaded_error"),
    ("thread_not_found", 404, "not_found_error"),
    ("thread_limit_error", 429, "rate_limit_error"),
    ("available_tools_limit_exceeded", 400, "invalid_request_error"),
    ("request_body_timeout", 400, "invalid_request_error"),
)
"""Source: the classes of errors of the anthropic package, 2.12."""


@each_row("code, status, type", ANTHROPIC_CODES)
def test_anthropics_own_codes_reach_its_clients(code, status, type):
    details = {"error_code": code, "extra": 1}
    body = json.dumps({"type": "error", "error": {"type": type, "message": "m", "details": details}}).encode()
    found = CODECS["messages"].read_error(status, body, ())
    assert (found.status, found.details) == (status, details)
    written = json.loads(CODECS["messages"].write_error(found, "req"))["error"]
    assert (written["type"], written["details"]) == (type, details)
    (event,) = CODECS["messages"].reader().read_event("error", body)
    assert event.details == details


@each_row(
    "status, type",
    [(400, "invalid_request_error"), (404, "not_found_error"), (429, "rate_limit_error"), (503, "overloaded_error")],
)
def test_an_unknown_type_of_error_becomes_the_type_of_its_status(status, type):
    body = json.dumps({"type": "error", "error": {"type": "something_new", "message": "m"}}).encode()
    found = CODECS["messages"].read_error(status, body, ())
    assert json.loads(CODECS["messages"].write_error(found, "req"))["error"]["type"] == type
