"""Tests of each model of the demo in each API with llm-comply, a public compliance tester."""

import io
import json
from collections.abc import Iterator, Mapping
from typing import Any
from unittest import mock

import pytest
from llm_comply import display
from llm_comply.cli import main

from tests.support.gateway_thread import demo_thread, gateway_thread, mock_thread
from tests.support.harness import Gateway, config, provider

pytestmark = pytest.mark.filterwarnings("ignore:jsonschema.RefResolver:DeprecationWarning")  # the tester's own

MODELS = ("demo", "demo-chat", "demo-messages", "demo-responses")
FORMATS: Mapping[str, tuple[str, ...]] = {
    "open-responses": (),
    "openai-chat": (),
    "anthropic": ("--auth-header", "x-api-key", "--no-bearer", "--header", "anthropic-version:2023-06-01"),
    "google-genai": ("--auth-header", "x-goog-api-key", "--no-bearer"),
}

# Checks that the demo does not pass, with reasons; the last test runs them on a gateway that can pass them. The tester
# itself skips the checks in ``SKIPPED``: remove a check that it does not skip.
DEFAULTED = "a request without a model is answered where the configuration has a default, as the demo's has"
LEFT_OUT: Mapping[str, str] = {
    "error-handling": DEFAULTED,
    "compact-missing-model": DEFAULTED,
    "chat-error-handling": DEFAULTED,
}
BY_NAME = "asked only of models with a name that the tester knows to reason"
SKIPPED: Mapping[str, str] = {
    "reasoning-summary": BY_NAME,
    "chat-reasoning-summary": BY_NAME,
    "anth-thinking-display": BY_NAME,
}


NAMED = "gpt-5-claude-opus-on-{}"


@pytest.fixture(scope="module")
def demo_gateway() -> Iterator[Gateway]:
    with demo_thread() as process:
        yield process


def run_checks(url: str, model: str, format: str, *flags: str) -> dict[str, dict[str, Any]]:
    """Run the tester, and return its result of each check by the check's id."""
    root = url if format == "google-genai" else f"{url}/v1"
    command = ["--json", "--base-url", root, "--api-key", "unneeded", "--model", model, "--format", format]
    out = io.StringIO()
    with mock.patch.object(display, "get_display", return_value=display.JsonDisplay(out)):
        main([*command, *FORMATS[format], *flags])
    return {result.pop("id"): result for result in json.loads(out.getvalue())["results"]}


@pytest.mark.parametrize(("format", "model"), [*zip(FORMATS, MODELS, strict=True)])
def test_the_demo_complies(demo_gateway, model, format):
    results = run_checks(demo_gateway.url, model, format)
    assert len(results) >= 9
    assert {id for id, result in results.items() if result["status"] == "skipped"} == SKIPPED.keys() & results.keys()
    held = {id: result for id, result in results.items() if id not in LEFT_OUT.keys() | SKIPPED.keys()}
    assert {id: told for id, told in held.items() if told["status"] != "passed" or told.get("warnings")} == {}
    assert {results[id]["status"] for id in LEFT_OUT.keys() & results.keys()} <= {"failed"}, "it holds after all"


@pytest.fixture(scope="module")
def gateway_without_default() -> Iterator[Gateway]:
    """Return a gateway without a default model for the demo's stand-in. The tester takes its models for reasoning
    models because of their names."""
    with mock_thread() as stand_in:
        entries = [
            provider(f"on-{api}/mock-large", stand_in.url, [api], name=NAMED.format(api))
            for api in ("chat", "messages", "responses")
        ]
        with gateway_thread(config(entries)) as found:
            yield found


@pytest.mark.parametrize(
    ("format", "api"),
    [*zip([format for format in FORMATS if format != "google-genai"], ["messages", "responses", "chat"], strict=True)],
)  # the demo passes all checks of Google's API
def test_cases_excluded_from_the_demo_comply_with_other_settings(gateway_without_default, api, format):
    left = {**LEFT_OUT, **SKIPPED}
    results = run_checks(gateway_without_default.url, NAMED.format(api), format, "--filter", ",".join(left))
    assert results
    assert results.keys() <= left.keys()
    assert {id: told for id, told in results.items() if told["status"] != "passed" or told.get("warnings")} == {}
