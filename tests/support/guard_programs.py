"""Real guards as processes: Presidio's analyzer, and a guard that reads requests with LiteLLM's own classes.

Both are packages of PyPI and no dependencies of this project. The servers around them are as small as their contracts
permit: https://docs.litellm.ai/docs/adding_provider/generic_guardrail_api and
https://microsoft.github.io/presidio/api-docs/api-docs.html"""

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import attrs
import pytest

from tests.support.harness import eventually, free_port, request
from tests.support.litellm_proxy import program_or_skip

PRESIDIO: Final = "TRIGATE_PRESIDIO"
"""The environment variable with the path of a Python that has ``presidio-analyzer``."""

START_SECONDS: Final = 120
"""Both import hundreds of modules."""

SERVER: Final = """
import http.server, json, sys

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    def do_GET(self):
        self.send(200, b"ready")
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        try:
            self.send(200, respond(json.loads(body), self))
        except Exception as error:
            print("refused:", type(error).__name__, error, file=sys.stderr, flush=True)
            self.send(500, json.dumps({"error": "unreadable"}).encode())
    def send(self, status, body):
        self.send_response_only(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass

class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""

ANALYZER: Final = """
import json, os
import spacy
from presidio_analyzer import AnalyzerEngine, BatchAnalyzerEngine
from presidio_analyzer.analyzer_request import AnalyzerRequest
from presidio_analyzer.nlp_engine import SpacyNlpEngine

class Words(SpacyNlpEngine):
    # Models of spaCy are not on PyPI: with a blank one, Presidio finds what its patterns find, and no names.
    def __init__(self):
        super().__init__()
        self.nlp = {"en": spacy.blank("en")}
    def load(self):
        pass

engine = BatchAnalyzerEngine(AnalyzerEngine(nlp_engine=Words(), supported_languages=["en"]))

def respond(body, handler):
    asked = AnalyzerRequest(body)
    found = engine.analyze_iterator(
        asked.text, asked.language, entities=asked.entities, score_threshold=asked.score_threshold
    )
    return json.dumps([[one.to_dict() for one in each] for each in found]).encode()
"""

GUARD: Final = r"""
import json, os, re, threading
from litellm.types.proxy.guardrails.guardrail_hooks.generic_guardrail_api import GenericGuardrailAPIRequest

def respond(body, handler):
    unknown = set(body) - set(GenericGuardrailAPIRequest.model_fields)
    if unknown:
        raise ValueError(f"members that LiteLLM does not send: {unknown}")
    asked = GenericGuardrailAPIRequest.model_validate(body)
    match (asked.additional_provider_specific_params or {}).get("mode"):
        case "hang":
            threading.Event().wait()
        case "garbage":
            return b"\x00<html>falcon-12</html>"
        case "lie":
            return json.dumps({"action": "GUARDRAIL_INTERVENED", "texts": ["falcon-12"] * 7}).encode()
        case "other":
            return json.dumps({"action": "ALLOWED", "texts": asked.texts}).encode()
        case "die":
            os._exit(1)
    texts = [re.sub(r"falcon-\d+", "<HIDDEN>", text) for text in asked.texts]
    if any("forbidden" in text for text in texts):
        return json.dumps({"action": "BLOCKED", "blocked_reason": "falcon-12 is forbidden"}).encode()
    return json.dumps({"action": "NONE"} if texts == asked.texts else {
        "action": "GUARDRAIL_INTERVENED", "texts": texts,
    }).encode()
"""


@attrs.define
class Guard:
    """A guard at ``url`` in a process. ``pid`` changes with ``start``."""

    python: str
    code: str
    port: int
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self) -> None:
        """Start the process, again if it has ended, and wait until it serves."""
        if self.process is not None:
            self.process.wait()
        # Without a network: neither a list of prices nor one of domains is fetched.
        env = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "NO_PROXY": "127.0.0.1"}
        command = [self.python, "-c", self.code + SERVER, str(self.port)]
        self.process = subprocess.Popen(command, env=env, cwd=tempfile.gettempdir())
        eventually(self._is_ready, START_SECONDS, what="the guard's start")

    def kill(self) -> None:
        """End the process."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def has_ended(self) -> bool:
        assert self.process is not None
        return self.process.poll() is not None

    def _is_ready(self) -> bool:
        assert not self.has_ended(), "the guard ended before it was ready"
        with contextlib.suppress(OSError):
            return request(self.url, "GET", "/health").status == 200
        return False


@contextlib.contextmanager
def presidio_analyzer() -> Iterator[Guard]:
    """Run Presidio's analyzer."""
    python = os.environ.get(PRESIDIO)
    if not python:
        pytest.skip(f"Presidio is not installed: pip install presidio-analyzer elsewhere, and set {PRESIDIO}")
    with _serving(Guard(python, ANALYZER, free_port())) as guard:
        yield guard


@contextlib.contextmanager
def litellm_guard() -> Iterator[Guard]:
    """Run a guard that refuses each request that LiteLLM's classes do not describe."""
    with _serving(Guard(str(Path(program_or_skip()).parent / "python"), GUARD, free_port())) as guard:
        yield guard


@contextlib.contextmanager
def _serving(guard: Guard) -> Iterator[Guard]:
    try:
        guard.start()
        yield guard
    finally:
        guard.kill()
