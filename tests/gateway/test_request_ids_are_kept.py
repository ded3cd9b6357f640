"""The ledger and the log have the provider's request id of each request: support and finance ask for it.

The tests call each route of the tables with a provider that returns a different id in every response."""

import contextlib
import json
import sqlite3
from pathlib import Path
from typing import Any, Final

import pytest

from gateway.http.headers import UPSTREAM_IDS
from tests.support.any_answer import ANSWER
from tests.support.cases import case
from tests.support.every_route import ONE_OF_EACH, ordinary_request, send_to_route, settings
from tests.support.features import has_feature
from tests.support.gateway_thread import gateway_thread
from tests.support.hostile_bodies import HostileAnswer, HostileBody
from tests.support.set_answer import SetAnswer, set_answer_provider
from tests.support.upstreams import STREAMS, Script

CONVERSATIONS: Final = ("chat", "messages", "responses", "gemini", "converse", "interactions")
ENDPOINTS: Final = tuple(key for key in ONE_OF_EACH if "." in key)


@pytest.fixture
def numbered(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Make the provider number its responses, and return the ids that it has sent."""
    sent: list[str] = []
    headers, end_headers = sorted(UPSTREAM_IDS), SetAnswer.end_headers

    def with_id(self: SetAnswer) -> None:
        sent.append(f"up-{len(sent)}")
        self.send_header(headers[len(sent) % len(headers)], sent[-1])
        end_headers(self)

    monkeypatch.setattr(SetAnswer, "end_headers", with_id)
    return sent


def kept_ids(file: Path) -> list[tuple[str | None, ...]]:
    """Return the request id and the provider's id of each attempt that a provider received."""
    with contextlib.closing(sqlite3.connect(file)) as db:
        return db.execute(
            "SELECT request, upstream_request_id FROM ledger LEFT JOIN ledger_ids USING (began, line, attempt) "
            "WHERE target IS NOT NULL ORDER BY line"
        ).fetchall()


def logged_ids(lines: list[str]) -> dict[str, str | None]:
    found = [json.loads(one) for one in lines if '"event":"exchange"' in one]
    return {one["request_id"]: one.get("upstream_request_id") for one in found if one.get("attempts")}


def settings_with_ledger(url: str, folder: Path) -> tuple[dict[str, Any], Path]:
    file = folder / "state.sqlite"
    return {**settings(url), "state_storage": {"type": "sqlite", "path": str(file)}}, file


def test_the_id_of_each_routes_response_is_kept(numbered, tmp_path):
    SetAnswer.answer = ANSWER
    sent: dict[str, list[str]] = {}
    answered: set[str] = set()
    with set_answer_provider() as url:
        content, file = settings_with_ledger(url, tmp_path)
        with gateway_thread(content) as served:
            for key in (*CONVERSATIONS, *ENDPOINTS):
                before, route = len(numbered), ONE_OF_EACH[key]
                if send_to_route(served.port, route, ordinary_request(route)) == 200:
                    answered.add(key)
                sent[key] = numbered[before:]
    assert len(answered) >= (20 if has_feature("files") else 15), (
        "no failure takes the provider away from the requests that follow"
    )
    logged, kept = logged_ids(served.log), kept_ids(file)
    in_log, in_ledger = {*logged.values()}, {id for _, id in kept}
    for key, ids in sent.items():
        with case(key):
            assert bool(in_log & {*ids}) == bool(ids), "a request that reached the provider is in the log"
            assert key not in answered or key not in CONVERSATIONS or in_ledger & {*ids}
    assert in_log <= {*numbered}
    assert dict(kept) == {request: logged[request] for request, _ in kept}


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("api", CONVERSATIONS)
def test_the_id_of_a_stream_is_kept(numbered, tmp_path, api, fails):
    provider_api = "messages" if api == "messages" else "gemini" if api == "gemini" else "chat"
    events = b"".join(STREAMS[provider_api](Script(text="Hello."), {"model": "m", "stream": True}))
    SetAnswer.answer = HostileAnswer(events, "text/event-stream")
    SetAnswer.status = 500 if fails else 200
    try:
        with set_answer_provider() as url:
            content, file = settings_with_ledger(url, tmp_path)
            with gateway_thread(content) as served:
                send_to_route(served.port, ONE_OF_EACH[api], ordinary_request(ONE_OF_EACH[api]))
    finally:
        SetAnswer.status = 200
    assert [id for _, id in kept_ids(file)] == numbered
    assert set(logged_ids(served.log).values()) == set(numbered[-1:])


def test_without_a_header_the_id_of_the_answer_is_kept(tmp_path):
    """Gemini has no request id in a header; its answers have a ``responseId``."""
    SetAnswer.answer = ANSWER
    with set_answer_provider() as url:
        content, file = settings_with_ledger(url, tmp_path)
        with gateway_thread(content) as served:
            for api in ("chat", "messages", "gemini"):
                send_to_route(served.port, ONE_OF_EACH[api], HostileBody(*_whole_request(api)))
    assert [id for _, id in kept_ids(file)] == ["answer-1"] * 3
    assert set(logged_ids(served.log).values()) == {"answer-1"}


def _whole_request(api: str) -> tuple[bytes, dict[str, str]]:
    row = ONE_OF_EACH[api].row
    return json.dumps({"model": row.model, **row.body}).encode(), {"content-type": "application/json"}
