"""Endpoints whose texts steps cannot check are closed to their clients, before anything is sent.

Endpoints that silently skipped guardrails: https://github.com/BerriAI/litellm/issues/39007, #32201."""

import re
from typing import Any

import pytest

from gateway.features.steps.endpoints import CHECKED_ENDPOINTS, CHECKED_ROUTES, PARTS_BY_ENDPOINT, closes_endpoint
from gateway.features.steps.loading import load_steps
from providers.endpoints.endpoint import ENDPOINTS
from tests.support.each_row import each_row
from tests.support.features import members_of, needs_feature, rows_of
from tests.support.harness import Reply, provider
from tests.support.relay_rows import ROUTES, SESSION_PATHS
from tests.support.step_files import step_config
from tests.support.step_gateway import bearer, client_keys, own_steps, step_gateway
from tests.support.upstreams import Script

CODE = """
def check(check):
    return []
"""

STEPS: dict[str, dict[str, Any]] = {
    "all": {},
    "reports": {"action": "report"},
    "passes": {"unchecked": "pass"},
    "chats": {"for": {"endpoints": ["chat"]}},
    "tools": {"parts": ["tools"]},
    "models": {"for": {"models": ["m"]}},
    "finished": {"at": ["finished"], "action": "mask"},
}
OPEN = ("nobody", "reports", "passes", "chats", "finished")


@pytest.fixture(scope="module")
def gateway(upstream, tmp_path_factory):
    steps = own_steps(STEPS, "./steps.py:check")
    keys = client_keys((*STEPS, "nobody"))
    passed = members_of("pass_through", passthrough=True)
    entry = {**provider("openai/m", upstream.url + "/v1", ["chat"], name="m"), **passed}
    servers = members_of("mcp", mcp_servers=[{"name": "files", "base_url": upstream.url + "/mcp"}])
    more = {"client_keys": keys, "steps": steps, **servers}
    with step_gateway(tmp_path_factory.mktemp("steps"), [entry], CODE, **more) as served:
        yield served


def ask(gateway, client: str, method: str, path: str, **headers: str) -> Reply:
    return gateway.request(method, path, {"model": "m"} if method == "POST" else None, {**bearer(client), **headers})


def path_of(route: str) -> str:
    return re.sub(r"\{model\}", "m", re.sub(r"\{id\d*\}", "x1", route))


# Steps check the lines of these files, and refuse other ones.
LINES = {(method, path_of(path)) for method, path in CHECKED_ROUTES}
ROUTED = sorted({(one.endpoint, one.method, path_of(one.path)) for one in ROUTES})


def test_every_endpoint_is_in_the_table_of_parts():
    assert set(PARTS_BY_ENDPOINT) == set(ENDPOINTS)
    assert set(ENDPOINTS) >= CHECKED_ENDPOINTS


def test_an_endpoint_that_no_table_has_is_closed(tmp_path):
    """A feature of another package may add one."""
    (step,) = load_steps(step_config(tmp_path, "  - use: ./steps.py:check\n", CODE)).steps
    assert closes_endpoint(step, "new")
    assert not closes_endpoint(step, "")  # a conversation


@each_row(("endpoint", "method", "path"), ROUTED)
def test_every_path_is_closed_unless_steps_check_it(gateway, upstream, endpoint, method, path):
    upstream.seen.clear()
    for client in ("all", "models"):
        reply = ask(gateway, client, method, path)
        is_closed = reply.status == 403 and b"unchecked_endpoint" in reply.body
        if (method, path) not in LINES:
            assert is_closed == (endpoint not in CHECKED_ENDPOINTS), reply.body
    assert not upstream.seen or endpoint in CHECKED_ENDPOINTS or (method, path) in LINES


@each_row("client", OPEN)
@each_row(("method", "path"), [("POST", "/v1/audio/translations"), ("GET", "/v1/files"), ("POST", "/v1/videos")])
def test_they_are_open_to_other_clients(gateway, client, method, path):
    reply = ask(gateway, client, method, path)
    assert b"unchecked_endpoint" not in reply.body


@each_row(
    ("client", "status", "outcome"),
    [
        ("all", 403, "all=unchecked"),
        ("passes", 200, "passes=unchecked"),
        ("reports", 200, None),
        ("tools", 200, "tools=ok"),
    ],
)
def test_a_file_that_no_step_can_read_is_refused_or_reported(gateway, upstream, client, status, outcome):
    upstream.seen.clear()
    upstream.script(Script(text="fine"))
    content = [{"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBERi0xLjcA/w=="}}]
    body = {"model": "m", "messages": [{"role": "user", "content": content}]}
    reply = gateway.request("POST", "/v1/chat/completions", body, bearer(client))
    assert (reply.status, reply.headers.get("x-trigate-steps"), len(upstream.seen)) == (status, outcome, status == 200)
    assert (b"cannot read messages[0].content[0].file.file_data" in reply.body) == (status == 403), reply.body


def test_a_step_for_definitions_of_tools_does_not_concern_files(gateway):
    assert b"unchecked_endpoint" not in ask(gateway, "tools", "GET", "/v1/files").body


@needs_feature("files")
def test_a_refused_path_of_files_is_reported_with_the_checked_paths_and_a_remedy(gateway):
    message = ask(gateway, "all", "GET", "/v1/files").json["error"]["message"]
    assert "it can check only POST /v1/files, GET /v1/files/{id}/content" in message
    assert message.endswith("the gateway's operator can allow all with `unchecked: pass` in this step")


UPGRADE = {
    "connection": "Upgrade", "upgrade": "websocket", "sec-websocket-version": "13",
    "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==",
}  # fmt: skip
SESSIONS = [path.replace("<id>", "x1") for path in SESSION_PATHS]


@each_row(
    ("method", "path", "headers"),
    [
        *(("GET", f"{path}?model=m", UPGRADE) for path in rows_of("realtime", *SESSIONS)),
        *(("GET", f"{path}?model=m", UPGRADE) for path in rows_of("pass_through", "/m/v1/realtime")),
        *(("POST", path, {}) for path in rows_of("pass_through", "/m/v1/anything")),
        *((method, path, {}) for path in rows_of("mcp", "/mcp/files") for method in ("POST", "GET", "DELETE")),
    ],
)
def test_every_session_passed_path_and_mcp_server_is_closed(gateway, upstream, method, path, headers):
    upstream.seen.clear()
    reply = ask(gateway, "all", method, path, **headers)
    assert (reply.status, b"unchecked_endpoint" in reply.body) == (403, True), reply.body
    assert not upstream.seen
    assert b"unchecked_endpoint" not in ask(gateway, "nobody", method, path.replace("=m", "=none"), **headers).body


@needs_feature("other_endpoints")
def test_an_unknown_step_is_a_mistake_of_the_request(gateway):
    reply = ask(gateway, "nobody", "POST", "/v1/embeddings", **{"x-trigate-steps": "missing"})
    assert reply.status == 400
    assert b"there is no step 'missing' for this client" in reply.body
