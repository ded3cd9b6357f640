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
import json
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
import json, re
from litellm.types.proxy.guardrails.guardrail_hooks.generic_guardrail_api import GenericGuardrailAPIRequest

def respond(body, handler):
    unknown = set(body) - set(GenericGuardrailAPIRequest.model_fields)
    if unknown:
        raise ValueError(f"members that LiteLLM does not send: {unknown}")
    asked = GenericGuardrailAPIRequest.model_validate(body)
    texts = [re.sub(r"falcon-\d+", "<HIDDEN>", text) for text in asked.texts]
    if any("forbidden" in text for text in texts):
        return json.dumps({"action": "BLOCKED", "blocked_reason": "falcon-12 is forbidden"}).encode()
    return json.dumps({"action": "NONE"} if texts == asked.texts else {
        "action": "GUARDRAIL_INTERVENED", "texts": texts,
    }).encode()
"""


@contextlib.contextmanager
def presidio_analyzer() -> Iterator[str]:
    """Run Presidio's analyzer, and yield its URL."""
    python = os.environ.get(PRESIDIO)
    if not python:
        pytest.skip(f"Presidio is not installed: pip install presidio-analyzer elsewhere, and set {PRESIDIO}")
    with _serving(python, ANALYZER) as url:
        yield url


@contextlib.contextmanager
def litellm_guard() -> Iterator[str]:
    """Run a guard that refuses each request that LiteLLM's classes do not describe, and yield its URL."""
    with _serving(str(Path(program_or_skip()).parent / "python"), GUARD) as url:
        yield url


@contextlib.contextmanager
def _serving(python: str, code: str) -> Iterator[str]:
    """Run ``code`` in a process of its own, and yield its URL."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    # Without a network: neither a list of prices nor one of domains is fetched.
    env = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "NO_PROXY": "127.0.0.1"}
    with subprocess.Popen([python, "-c", code + SERVER, str(port)], env=env, cwd=tempfile.gettempdir()) as process:

        def is_ready() -> bool:
            assert process.poll() is None, "the guard ended before it was ready"
            with contextlib.suppress(OSError):
                return request(url, "GET", "/health").status == 200
            return False

        try:
            eventually(is_ready, START_SECONDS, what="the guard's start")
            yield url
        finally:
            process.kill()
