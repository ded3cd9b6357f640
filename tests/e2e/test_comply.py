"""The public compliance tester llm-comply, run as anybody would, against each model of the demo in each of our APIs."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping

import pytest
from command_line import Started, demo, environment
from harness import START_SECONDS

MODELS = ("demo", "demo-chat", "demo-messages", "demo-responses")
FORMATS: Mapping[str, tuple[str, ...]] = {
    "open-responses": (),
    "openai-chat": (),
    "anthropic": ("--auth-header", "x-api-key", "--no-bearer", "--header", "anthropic-version:2023-06-01"),
}

# Checks that do not hold here, and why. What the tester skips itself it must skip, or it is to be struck off here.
DEFAULTED = "a request without a model is answered where the configuration has a default, as the demo's has"
LEFT_OUT: Mapping[str, str] = {
    "error-handling": DEFAULTED,
    "compact-missing-model": DEFAULTED,
    "chat-error-handling": DEFAULTED,
}
BY_NAME = "asked only of models whose names it knows; `test_open_responses_told` and `test_demo` ask for reasoning"
SKIPPED: Mapping[str, str] = {
    "reasoning-summary": BY_NAME,
    "chat-reasoning-summary": BY_NAME,
    "anth-thinking-display": BY_NAME,
}


@pytest.fixture(scope="module")
def served() -> Iterator[Started]:
    with demo() as process:
        yield process


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("model", MODELS)
def test_the_demo_complies(served, model, format):
    command = (
        sys.executable, "-m", "llm_comply.cli", "--json", "--base-url", f"{served.url}/v1", "--api-key", "unneeded",
        "--model", model, "--format", format, *FORMATS[format],
    )  # fmt: skip
    done = subprocess.run(command, env=environment(), text=True, capture_output=True, timeout=START_SECONDS)
    results = {result.pop("id"): result for result in json.loads(done.stdout)["results"]}
    assert len(results) >= 9, done.stderr
    assert {id for id, result in results.items() if result["status"] == "skipped"} == SKIPPED.keys() & results.keys()
    held = {id: result for id, result in results.items() if id not in LEFT_OUT.keys() | SKIPPED.keys()}
    assert {id: told for id, told in held.items() if told["status"] != "passed" or told.get("warnings")} == {}
    assert {results[id]["status"] for id in LEFT_OUT.keys() & results.keys()} <= {"failed"}, "it holds after all"
