"""Claude Code and Codex themselves, logged in with a subscription, as ``trigate connect --login`` starts them."""

import base64
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients import install
from tests.clients.rows import Place
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import ROOT, Gateway, config, eventually, exchanges, provider
from tests.support.upstreams import Script, Seen, Upstream

pytestmark = pytest.mark.process

KEY = "the-key-of-the-gateway-0123456789"
LOGIN = "sk-ant-oat01-0123456789abcdef"


@pytest.fixture(params=["open", "with client keys"])
def gateway(upstream, request) -> Iterator[Gateway]:
    entries = []
    for model, url, api in (
        ("anthropic/*", upstream.url, "messages"),
        ("chatgpt/*", f"{upstream.url}/v1", "responses"),
    ):
        entry = provider(model, url, [api], passthrough_auth=True)
        del entry["access_key"]
        entries.append(entry)
    keys = {"client_keys": [{"name": "me", "key": KEY}]} if request.param != "open" else {}
    with gateway_thread(config(entries, **keys)) as process:
        yield process


def jwt(**claims: Any) -> str:
    parts = ({"alg": "none", "typ": "JWT"}, {"exp": int(time.time()) + 86_400, **claims})
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    return ".".join((*encoded, "c2ln"))


def log_in(home: Path) -> str:
    """Write the files that a login leaves behind. Return Codex's access token."""
    account = {"https://api.openai.com/auth": {"chatgpt_account_id": "acc-1", "chatgpt_plan_type": "plus"}}
    token = jwt(**account)
    tokens = {
        "id_token": jwt(email="a@example.org", **account), "access_token": token, "refresh_token": "r",
        "account_id": "acc-1",
    }  # fmt: skip
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    files = {
        ".claude/.credentials.json": {"claudeAiOauth": {
            "accessToken": LOGIN, "refreshToken": "sk-ant-ort01-x", "expiresAt": int((time.time() + 86_400) * 1000),
            "scopes": ["user:inference", "user:profile"], "subscriptionType": "max",
        }},
        ".codex/auth.json": {"auth_mode": "chatgpt", "OPENAI_API_KEY": None, "tokens": tokens, "last_refresh": now},
    }  # fmt: skip
    for name, content in files.items():
        (home / name).parent.mkdir(parents=True)
        (home / name).write_text(json.dumps(content))
    return token


def run(gateway: Gateway, home: Path, program: str, *arguments: str) -> str:
    if not install.has_program(program):
        pytest.skip(f"{program} is not installed: just clients {program}")
    place = Place(gateway.url, "", home, "stream")
    place.work.mkdir()
    more = {
        "PYTHONPATH": str(ROOT), "DISABLE_AUTOUPDATER": "1", "DISABLE_TELEMETRY": "1", "TRIGATE_API_KEY": KEY,
        "ANTHROPIC_API_KEY": "sk-ant-api03-of-another-account",
    }  # fmt: skip
    command = [sys.executable, "-m", "gateway", "connect", program, "--login", "--url", gateway.url, "--", *arguments]
    done = subprocess.run(
        command, cwd=place.work, env=place.environment(more), text=True, capture_output=True, timeout=90,
        stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def answered(upstream: Upstream, path: str) -> list[Seen]:
    return [seen for seen in upstream.seen if seen.path == path]


def grades(gateway: Gateway) -> set[str | None]:
    return {line.get("cost_grade") for line in exchanges(gateway.log) if line.get("attempts")}


@pytest.mark.slow
def test_claude_code_keeps_its_login(gateway, upstream, tmp_path):
    upstream.script(*[Script(text="Hello there")] * 5)
    log_in(tmp_path)
    assert "Hello there" in run(gateway, tmp_path, "claude", "-p", "Hello")
    (seen, *_) = answered(upstream, "/v1/messages")
    assert (seen.header("authorization"), seen.header("x-api-key")) == (f"Bearer {LOGIN}", None)
    assert "oauth-2025-04-20" in (seen.header("anthropic-beta") or "")
    eventually(lambda: grades(gateway) == {"subscription"}, what="a line of the subscription alone")


@pytest.mark.slow
def test_codex_keeps_its_login_over_its_websocket(gateway, upstream, tmp_path):
    upstream.script(*[Script(text="Hello there")] * 5)
    token = log_in(tmp_path)
    assert "Hello there" in run(gateway, tmp_path, "codex", "exec", "--skip-git-repo-check", "Hello")
    (seen, *_) = answered(upstream, "/v1/responses")
    assert seen.header("authorization") == f"Bearer {token}"
    assert seen.header("chatgpt-account-id") == "acc-1"
    assert {"client_metadata", "prompt_cache_key"} <= seen.json.keys()
    eventually(lambda: grades(gateway) == {"subscription"}, what="a line of the subscription alone")
