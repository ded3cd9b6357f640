"""The first request of each kind imports nothing in the event loop, where it would delay every stream."""

import contextlib
import itertools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.admin import ADMIT, KEYS, admin_config, soon
from tests.support.features import members_of, needs_feature, rows_of
from tests.support.gateway_thread import mock_thread
from tests.support.harness import START_SECONDS, config, config_file, eventually, request
from tests.support.oidc import open_provider
from tests.support.repository import ROOT
from tests.support.wire_clients import ALL, body_of, path_of

SERVE = """
import sys, trio

def note(event, values):
    if event == "import" and trio.lowlevel.in_trio_task():
        print("imported in the loop:", values[0], flush=True)

sys.addaudithook(note)
from gateway.__main__ import main
main(["serve", sys.argv[1]])
"""
NOTED = "imported in the loop"


def requests_for(model: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the path and body of a request of each kind."""
    for api, stream in itertools.product(ALL, (False, True)):
        yield path_of(api, model, stream=stream), body_of(api, model, stream=stream)
    yield "/v1/messages/count_tokens", {"model": model, "messages": [{"role": "user", "content": "Hello"}]}
    yield "/v1/embeddings", {"model": model, "input": "Hello"}


VENDORS = {"chat": "openai", "messages": "openai", "responses": "openai", "gemini": "gemini"}
"""The provider for each API."""

pytestmark = pytest.mark.process


@needs_feature("other_endpoints")
def test_first_requests_import_nothing_in_the_event_loop(tmp_path):
    with mock_thread() as mock:
        entries = [
            {"model": f"{vendor}/{api}", "access_key": "k", "base_url": mock.url, "speaks": [api]}
            for api, vendor in VENDORS.items()
        ]
        with config_file(config(entries), 0) as (file, port), serving(str(file), tmp_path / "log") as log:
            base = f"http://127.0.0.1:{port}"
            for path in ("/healthz", "/readyz", "/metrics", "/v1/models", "/v1/nothing"):
                assert request(base, "GET", path).status in (200, 404)
            for api, vendor in VENDORS.items():
                for path, body in requests_for(f"{vendor}/{api}"):
                    reply = request(base, "POST", path, body)
                    assert reply.status == 200, (api, path, reply.body)
                    assert NOTED not in log.read_text().partition("listening on")[2], (api, path)


CALLS = (
    ("user", "GET", "/me", None),
    ("admin", "GET", "/admin/v1/keys", None),
    ("lead", "PUT", "/admin/v1/keys/x", {"group": "research", "until": soon(), "ratelimits": {"requests": "5/m"}}),
    ("lead", "PUT", "/admin/v1/keys/x", {"grup": "research"}),
    ("lead", "POST", "/admin/v1/keys/x/rotate", {}),
    ("admin", "DELETE", "/admin/v1/keys/x", None),
    ("admin", "GET", "/admin/v1/usage?by=day&format=csv", None),
    ("admin", "GET", "/admin/v1/groups", None),
    *rows_of("people", ("admin", "PUT", "/admin/v1/people/okta:x/block", {})),
    ("admin", "PUT", "/admin/v1/raises/user", {"budgets": ["40 usd/day"], "until": soon(3)}),
    ("admin", "GET", "/admin/v1/audit", None),
    ("admin", "POST", "/key/generate", {"key_alias": "y", "rpm_limit": 5}),
    ("admin", "POST", "/key/delete", {"key_aliases": ["y"]}),
    ("admin", "GET", "/team/list", None),
)


@needs_feature("admin")
def test_the_admin_api_imports_nothing_in_the_event_loop(tmp_path):
    with open_provider() as identity:
        issuer = {"name": "okta", "issuer": identity.issuer, "audience": ["trigate"], "admit": list(ADMIT)}
        settings = admin_config(tmp_path, **members_of("people", issuers=[issuer]))
        with config_file(settings, 0) as (file, port), serving(str(file), tmp_path / "log") as log:
            for caller, method, path, body in CALLS:
                headers = {"authorization": f"Bearer {KEYS[caller]}"}
                assert request(f"http://127.0.0.1:{port}", method, path, body, headers).status < 500
                assert NOTED not in log.read_text().partition("listening on")[2], (method, path)


@contextlib.contextmanager
def serving(file: str, log: Path) -> Iterator[Path]:
    """Run ``trigate serve FILE`` in a new process with the log file ``log``, and wait until it listens."""
    with log.open("wb") as output:
        process = subprocess.Popen([sys.executable, "-c", SERVE, file], cwd=ROOT, stdout=output, stderr=output)
    try:
        eventually(lambda: "listening on" in log.read_text(), START_SECONDS, "the banner")
        yield log
    finally:
        process.terminate()
        process.wait()
