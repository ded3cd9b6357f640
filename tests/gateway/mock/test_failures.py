"""The stand-in provider's models for the reasons on which routing decides: each fails for its reason, on every API,
streamed and whole."""

import json

import pytest

from gateway.mock.failures import FAILURES, REFUSALS
from gateway.mock.faults import Fault
from providers.apis import CODECS
from providers.errors.failures import array_failure
from streams.events import UNAVAILABLE, ErrorInfo
from tests.support.apis import OLDER
from tests.support.cases import case
from tests.support.lanes import reply_for
from tests.support.provider_streams import read_stream

SAYS_IT = [(name, row) for name, row in FAILURES.items() if row.refusals or row.error_events]


def read(api: str, row: Fault, *, stream: bool) -> ErrorInfo | None:
    """Return the error that the gateway reads from the row's failure."""
    codec = CODECS[api]
    if api in row.refusals:
        sent = row.refusals[api]
        return codec.read_error(sent.status, row.body(codec.write_error(sent, "req_1")), sent.headers)
    if not stream:
        found = codec.read_answer(codec.write_error(row.error_events[api], "req_1"))[-1]
        return found if isinstance(found, ErrorInfo) else None
    events = read_stream(codec, codec.writer(reply_for(api)).send(row.error_events[api]))
    return next((event for event in events if isinstance(event, ErrorInfo)), None)


def test_a_model_fails_for_the_reason_that_it_is_named_after():
    for stream in [True, False]:
        for api in OLDER:
            for name, row in SAYS_IT:
                with case((name, api, stream)):
                    failed = read(api, row, stream=stream)
                    assert failed.reason == name.partition("-")[0]


def test_all_reasons_can_be_tried():
    others = {"connection", "bad_answer"}
    assert {*REFUSALS} | others == UNAVAILABLE | {"context_too_long", "content_filter", "invalid"}
    assert others <= {*FAILURES}


def test_a_window_of_a_plan_reports_its_reset():
    for api in OLDER:
        failed = read(api, FAILURES["quota-window"], stream=False)
        assert (failed.reason, failed.wait) == ("quota", 5)


@pytest.mark.parametrize("api", OLDER)
def test_an_array_may_be_the_body_of_an_answer(api):
    """Google's endpoint for Chat (langroid/langroid#988)."""
    body = json.dumps([{"error": {"message": "m", "code": 429, "status": "RESOURCE_EXHAUSTED"}}]).encode()
    failed = array_failure(body)
    assert failed.reason == "rate_limited"
