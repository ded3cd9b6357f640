"""The run of a request, by the fields in which programs state it."""

import json
from typing import Any

import pytest

from gateway.allowances.runs import run_of
from gateway.request.client_request import ClientRequest
from gateway.request.parse import read_incoming
from streams.errors import GatewayError
from tests.support.each_row import each_row

ROOT, CHILD, GRANDCHILD = (f"01950000-0000-7000-8000-00000000000{i}" for i in (1, 2, 3))


def run(headers: dict[str, str], client: str | None = "alice", **members: Any) -> str | None:
    body = {"model": "m", "input": "Hello.", **members}
    incoming = read_incoming("responses", json.dumps(body).encode())
    return run_of(ClientRequest(tuple(headers.items()), "", client), incoming)


@each_row(
    ("headers", "members", "name"),
    [
        ({"x-trigate-run": "nightly-7"}, {}, "nightly-7"),
        ({"x-trigate-run": " nightly-7 ", "x-claude-code-session-id": ROOT}, {}, "nightly-7"),
        ({"x-trigate-run": f"nightly{ROOT}x", "x-api-key": ROOT}, {}, "nightly[redacted]x"),  # logs show runs
        ({"x-claude-code-session-id": ROOT}, {"prompt_cache_key": "k"}, ROOT),
        # Claude Code's agents have the id of the session that they are in
        ({"x-claude-code-session-id": ROOT, "x-claude-code-agent-id": "b"}, {}, ROOT),
        # Codex distinguishes the session from its threads, which may be agents of agents
        ({"session-id": ROOT, "thread-id": ROOT}, {"prompt_cache_key": ROOT}, ROOT),
        ({"session-id": ROOT, "thread-id": CHILD, "x-codex-parent-thread-id": ROOT}, {"prompt_cache_key": ROOT}, ROOT),
        ({"session-id": ROOT, "thread-id": GRANDCHILD, "x-codex-parent-thread-id": CHILD}, {}, ROOT),
        # and before did not: an agent had a session of its own
        ({"session_id": CHILD, "x-codex-parent-thread-id": ROOT}, {"prompt_cache_key": CHILD}, ROOT),
        ({"session-id": CHILD, "thread-id": CHILD, "x-codex-parent-thread-id": ROOT}, {}, ROOT),
        ({"x-session-affinity": "ses_b", "x-session-id": "ses_b", "x-parent-session-id": "ses_a"}, {}, "ses_a"),
        ({"x-session-affinity": "ses_a", "x-session-id": "ses_a"}, {}, "ses_a"),
        ({}, {"prompt_cache_key": ROOT}, ROOT),
        ({}, {"metadata": {"user_id": json.dumps({"device_id": "d", "session_id": ROOT})}}, ROOT),
    ],
)  # fmt: skip
def test_the_client_names_a_run(headers, members, name):
    # Children that each opened an allowance of their own: nodetool-ai/nodetool#5489.
    assert run(headers, **members) == f"alice/{name}"


def test_runs_of_different_client_keys_are_separate():
    named = {"x-trigate-run": "a"}
    assert run(named) == "alice/a"
    assert run(named, client="bob") == "bob/a"
    assert run(named, client=None) == "a"


CLIENTS = ("a", "a/b", "a%2Fb", "a%2fb", "a%252Fb", "a%", "a/", "/a", "a//b")


def test_no_client_can_write_a_run_of_another_one():
    """A slash joins the names of a run's key and of the run, and both may contain one."""
    runs = ("x", "b/x", "2Fb/x", "/b/x", "b//x", "%2Fb/x", "/x")
    names = {run({"x-trigate-run": name}, client=client) for client in CLIENTS for name in runs}
    assert len(names) == len(CLIENTS) * len(runs)


def test_a_request_without_a_name_has_no_run():
    assert run({}, metadata={"user_id": "somebody"}) is None


@pytest.mark.parametrize("name", ["", "  ", "x" * 129, "a\x7fb"])
def test_an_invalid_run_name_is_rejected_with_its_header(name):
    with pytest.raises(GatewayError) as error:
        run({"x-trigate-run": name})
    assert (error.value.info.status, error.value.info.param) == (400, "x-trigate-run")


def test_a_long_session_is_known_by_a_digest():
    found = run({}, prompt_cache_key="k" * 500)
    assert found is not None
    assert len(found) < 64
    assert found == run({}, prompt_cache_key="k" * 500) != run({}, prompt_cache_key="k" * 499)
