"""Recorded answers of Gemini's two endpoints."""

import json

import pytest

from providers.errors.failures import read_failure as read_error
from providers.gemini.reader import read_answer
from streams.events import AnswerEnd, ErrorInfo, Usage
from streams.events import ReasoningState as State
from tests.support.gemini_answers import read_recorded
from tests.support.repository import SHARED

CORPUS = SHARED / "corpus" / "gemini"
STREAMS = sorted(CORPUS.glob("*.response.sse"))
ANSWERS = sorted(CORPUS.glob("*.response.json"))
FAILED = {"streaming-failure-error-mid-stream": "server_error", "direct-binary-au.260c1e": "bad_answer"}
pytestmark = pytest.mark.skipif(not STREAMS, reason="the recorded traffic (../shared) is not here")


def chunks(path):
    """Read the chunks of a recording by hand."""
    body = path.read_text()
    if path.suffix == ".json":
        value = json.loads(body)
        return value if isinstance(value, list) else [value]
    events = body.replace("\r", "").split("\n\n")
    return [json.loads(event.strip().removeprefix("data:")) for event in events if event.strip()]


def read(path):
    body = path.read_bytes()
    return read_recorded(body, len(body)) if path.suffix == ".sse" else list(read_answer(body))


def test_every_recording_ends_as_it_did_and_its_account_adds_up():
    kept = 0
    for path in (*STREAMS, *ANSWERS):
        events, said = read(path), chunks(path)
        reason = next((reason for part, reason in FAILED.items() if part in path.name), None)
        if reason is not None:
            assert isinstance(events[-1], ErrorInfo), path.name
            assert events[-1].reason == reason, path.name
            continue
        assert isinstance(events[-1], AnswerEnd), path.name
        usage = [event for event in events if isinstance(event, Usage)]
        totals = [chunk["usageMetadata"]["totalTokenCount"] for chunk in said
                  if "totalTokenCount" in chunk.get("usageMetadata", {})]  # fmt: skip
        assert bool(usage) >= bool(totals), path.name
        if totals:
            kept += usage[-1].prompt + usage[-1].output == totals[-1]
    assert kept >= 83


def test_every_signature_is_given_to_the_client_unchanged():
    for path in (*STREAMS, *ANSWERS):
        if any(part in path.name for part in FAILED):
            continue
        parts = [
            part
            for chunk in chunks(path)
            for candidate in chunk.get("candidates", ())
            for part in (candidate.get("content") or {}).get("parts", ())
        ]
        sent = [part["thoughtSignature"] for part in parts if "thoughtSignature" in part]
        items = [event.item for event in read(path) if isinstance(event, State)]
        got = [item.get("signature") or item["native"].get("thoughtSignature") for item in items]
        assert [one for one in got if one] == sent, path.name


ERRORS = {
    "429-retry-info": ("rate_limited", 34.4),
    "test-authentication-error-stream": ("credential", None),
    "test-model-not-found": ("gone", None),
    "unary-failure-unknown-model": ("gone", None),
    "api-not-enabled": ("credential", None),
    "handles-context-length-excee": ("context_too_long", None),
    "unary-failure-api-key": ("credential", None),
    "unary-failure-quota-exceeded": ("rate_limited", None),
    "image-rejected": ("invalid", None),
}


def test_recorded_errors_are_of_their_kind():
    found = set()
    for path in sorted((SHARED / "corpus" / "error_responses").glob("*.response.json")):
        meta = json.loads(path.with_name(path.name.replace(".response.json", ".meta.json")).read_text())
        key = next((key for key in ERRORS if key in path.name), None)
        if key is None or meta["api"] != "gemini":
            continue
        body = path.read_bytes()
        for said in (body, b"[" + body + b"]"):  # an array of one, too (google-gemini/gemini-cli#5443)
            failed = read_error(meta["status"], said, (("content-type", "text/event-stream"),))
            assert (failed.reason, failed.wait) == ERRORS[key], path.name
        found.add(key)
    assert found == set(ERRORS)
