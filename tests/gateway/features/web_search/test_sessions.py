"""Sessions in which Claude Code and Codex search the web, sent again through a Chat model of the stand-in."""

import json

import pytest

from tests.support.features import needs_feature
from tests.support.gateway_thread import gateway_thread, mock_thread
from tests.support.harness import config, provider
from tests.support.session_replay import Replay, read_session, searching_clients

PAGE = b"https://news.example/1"


@needs_feature("responses_websocket")
def test_both_clients_have_recorded_sessions():
    assert searching_clients() == ["claude-search", "codex-search"]


@pytest.mark.parametrize("client", searching_clients())
def test_a_session_with_a_search_completes(client):
    with mock_thread() as mock:
        entry = provider("groq/mock-small", f"{mock.url}/v1", ["chat"], name="m", price={"input": 1, "output": 2})
        search = {"url": f"{mock.url}/search", "price": 0.005}
        with gateway_thread(config([entry], web_search=search), check_streams=True) as gateway:
            answers = list(Replay(gateway, "m").run(read_session(client)))
    lines = [json.loads(line) for line in gateway.log if '"exchange"' in line]
    for answer in answers:
        assert answer.status in (101, 200), answer.said[:500]
        assert (answer.verdict.broken, answer.verdict.outcome) == (None, "complete")
    assert any(PAGE in answer.said for answer in answers)
    assert sum(line.get("units", {}).get("search", 0) for line in lines) == 1
