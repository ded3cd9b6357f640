"""LiteLLM's guardrails become steps, and those without a counterpart are lost protection.

The settings: https://docs.litellm.ai/docs/proxy/guardrails/quick_start and the pages of each guardrail."""

import json
from typing import Any, Final

from gateway.commands.imports.litellm import Clients, convert_litellm
from gateway.commands.imports.litellm_guards import lose_closed_endpoints
from gateway.commands.imports.litellm_keys import read_keys, read_teams
from gateway.commands.imports.losses import Group
from gateway.commands.imports.result import Result, summary
from gateway.config.loading import load
from gateway.features.steps.loading import load_steps
from tests.support.each_row import each_row
from tests.support.litellm_files import file_text, item
from tests.support.quick_yaml import load_yaml

MODEL: Final = item("m", "openai/m", api_key="os.environ/OPENAI_API_KEY")
VARIABLES: Final = {
    "OPENAI_API_KEY": "sk-test-0123456789",
    "GUARD_KEY": "the-key",
    "GENERIC_GUARDRAIL_API_BASE": "http://guard.example",
    "PRESIDIO_ANALYZER_API_BASE": "http://presidio.example:3000",
}


def guard(kind: str, name: str = "g", mode: Any = "pre_call", **params: Any) -> dict[str, Any]:
    """Return an item of ``guardrails`` that applies to every request."""
    given = {"guardrail": kind, "mode": mode, "default_on": True, **params}
    return {"guardrail_name": name, "litellm_params": {key: value for key, value in given.items() if value != ...}}


def convert(*guards: dict[str, Any], clients: Clients | None = None, **sections: Any) -> Result:
    return convert_litellm({"model_list": [MODEL], "guardrails": list(guards), **sections}, clients)


def losses_of(result: Result) -> dict[str, Group]:
    return {loss.what: loss.group for loss in result.losses}


def check_loads(result: Result, folder: Any) -> None:
    """Load the new file with its steps."""
    file = folder / "trigate.yaml"
    file.write_text(file_text(result))
    config = load(file, VARIABLES, trust="named")
    assert len(load_steps(config).steps) == len(result.steps)


STEPS: Final[dict[str, tuple[dict[str, Any], list[dict[str, Any]]]]] = {
    "a service": (
        guard(
            "generic_guardrail_api", "vendor guard", ["pre_call", "post_call"], api_base="https://guard.example/v1",
            api_key="os.environ/GUARD_KEY", headers={"X-Service": "a$b"},
            additional_provider_specific_params={"threshold": 0.8, "names": ["a"]},
        ),
        [{
            "use": "http", "name": "vendor-guard", "at": ["request", "response"],
            "with": {
                "url": "https://guard.example/v1", "key": "$GUARD_KEY", "headers": {"X-Service": "a$$b"},
                "params": {"threshold": 0.8, "names": ["a"]},
            },
        }],
    ),
    "a service by environment, during the call": (
        guard("generic_guardrail_api", mode="during_call"),
        [{"use": "http", "name": "g", "at": ["during"], "with": {"url": "$GENERIC_GUARDRAIL_API_BASE"}}],
    ),
    "a service that may be down": (
        guard("generic_guardrail_api", unreachable_fallback="fail_open"),
        [{"use": "http", "name": "g", "at": ["request"], "unchecked": "pass",
          "with": {"url": "$GENERIC_GUARDRAIL_API_BASE"}}],
    ),
    "a service that may fail": (
        guard("generic_guardrail_api", fail_on_error=False, skip_system_message_in_guardrail=True),
        [{"use": "http", "name": "g", "at": ["request"], "unchecked": "pass",
          "parts": ["user", "assistant", "reasoning", "tool_calls", "tool_results", "input", "other"],
          "with": {"url": "$GENERIC_GUARDRAIL_API_BASE"}}],
    ),
    "Presidio": (
        guard("presidio", presidio_language="de", output_parse_pii=True, presidio_filter_scope="input",
              presidio_analyzer_api_base="http://presidio:3000", presidio_anonymizer_api_base="http://presidio:3001",
              presidio_score_thresholds={"ALL": 0.7},
              pii_entities_config={"PERSON": "MASK", "US_SSN": "BLOCK"}),
        [{"use": "presidio", "name": "g", "at": ["request"], "action": {"PERSON": "mask", "US_SSN": "refuse"},
          "restore": True, "with": {"url": "http://presidio:3000", "language": "de", "score": 0.7}}],
    ),
    "Presidio without entities": (
        guard("presidio", mode=["pre_call", "post_call"]),
        [{"use": "presidio", "name": "g", "at": ["request", "response"], "action": "mask",
          "with": {"url": "$PRESIDIO_ANALYZER_API_BASE"}}],
    ),
    "Presidio during the call": (
        guard("presidio", mode="during_call"),
        [{"use": "presidio", "name": "g", "at": ["request"], "action": "mask",
          "with": {"url": "$PRESIDIO_ANALYZER_API_BASE"}}],
    ),
    "Presidio that refuses, with a restoration of nothing": (
        guard("presidio", output_parse_pii=True, pii_entities_config={"US_SSN": "BLOCK"}),
        [{"use": "presidio", "name": "g", "at": ["request"], "action": {"US_SSN": "refuse"},
          "with": {"url": "$PRESIDIO_ANALYZER_API_BASE"}}],
    ),
    "Presidio for logs": (
        guard("presidio", mode="logging_only", pii_entities_config={"US_SSN": "BLOCK"}),
        [{"use": "presidio", "name": "g", "at": ["finished"], "action": {"US_SSN": "mask"},
          "with": {"url": "$PRESIDIO_ANALYZER_API_BASE"}}],
    ),
    "secrets": (
        guard("hide-secrets"),
        [{"use": "secrets", "name": "g", "at": ["request"], "action": "mask"}],
    ),
    "a content filter": (
        guard("litellm_content_filter", "filter", patterns=[
            {"pattern_type": "prebuilt", "pattern_name": "us_ssn", "action": "BLOCK"},
            {"pattern_type": "prebuilt", "pattern_name": "email", "action": "MASK"},
            {"pattern_type": "prebuilt", "pattern_name": "aws_access_key", "action": "BLOCK"},
            {"pattern_type": "regex", "pattern": r"\b[A-Z]{3}-\d{4}\b", "name": "employee id", "action": "MASK"},
        ], blocked_words=[{"keyword": "Top Secret", "action": "BLOCK"}, {"keyword": "a+b"}]),
        [
            {"use": "pii", "name": "filter-pii", "at": ["request"], "action": {"us_ssn": "refuse", "email": "mask"},
             "with": {"labels": ["us_ssn", "email"]}},
            {"use": "secrets", "name": "filter-secrets", "at": ["request"], "action": "refuse"},
            {"use": "regex", "name": "filter-regex", "at": ["request"],
             "action": {"employee_id": "mask", "word": "refuse"},
             "with": {"patterns": {"employee_id": r"\b[A-Z]{3}-\d{4}\b", "word": r"(?i:Top\ Secret|a\+b)"}}},
        ],
    ),
}  # fmt: skip


@each_row("case", STEPS)
def test_a_guardrail_becomes_steps(tmp_path, case):
    old, expected = STEPS[case]
    result = convert(old)
    assert result.steps == expected
    assert result.losses == []
    assert load_yaml(file_text(result))["steps"] == expected
    check_loads(result, tmp_path)


LOST: Final[dict[str, tuple[dict[str, Any], list[str]]]] = {
    "another vendor": (guard("lakera_v2"), ["the guardrail g (lakera_v2)"]),
    "a Python class": (guard("custom_guardrail.myGuard"), ["the guardrail g (custom_guardrail.myGuard)"]),
    "no kind": ({"guardrail_name": "g"}, ["the guardrail g"]),
    "the old form": ({"pii_masking": {"callbacks": ["presidio"]}}, ["the guardrail pii_masking"]),
    "only another mode": (
        guard("presidio", mode="pre_mcp_call"),
        ["the mode pre_mcp_call of the guardrail g (presidio)", "the guardrail g (presidio)"],
    ),
    "a mode that is none": (guard("presidio", mode=5), ["the guardrail g (presidio)"]),
    "a mode by tags": (
        guard("presidio", mode={"tags": {"a": "pre_call"}, "default": "pre_call"}),
        ["the tags of the guardrail g (presidio)"],
    ),
    "headers of clients": (
        guard("generic_guardrail_api", extra_headers=["x-request-id"]),
        ["extra_headers of the guardrail g (generic_guardrail_api)"],
    ),
    "own recognizers": (
        guard("presidio", presidio_ad_hoc_recognizers="./a.json"),
        ["presidio_ad_hoc_recognizers of the guardrail g (presidio)"],
    ),
    "categories": (
        guard("litellm_content_filter", categories=[{"category": "harmful_violence", "enabled": True}]),
        ["the guardrail g (litellm_content_filter)"],
    ),
    "rules of tools": (
        guard("tool_permission", rules=[{"id": "r", "tool_name": "Bash", "decision": "deny"}]),
        ["the guardrail g (tool_permission)"],
    ),
    "a pattern that may take long": (
        guard("litellm_content_filter", patterns=[
            {"pattern_type": "regex", "name": "a", "pattern": r"(?<!a)b"},
            {"pattern_type": "prebuilt", "pattern_name": "email"},
        ]),
        ["the pattern a of the guardrail g (litellm_content_filter)"],
    ),
}  # fmt: skip


@each_row("case", LOST)
def test_a_part_without_a_counterpart_is_lost_protection(case):
    old, names = LOST[case]
    result = convert(old)
    assert losses_of(result) == dict.fromkeys(names, Group.PROTECTION)
    assert f"protection ({len(names)})" in "\n".join(summary(result))


def test_a_guardrail_that_is_not_on_by_default_is_for_requests_that_list_it(tmp_path):
    result = convert(guard("hide-secrets", default_on=...))
    assert [step["for"] for step in result.steps] == ["on_request"]
    assert load_yaml(file_text(result))["client_routing"] == ["litellm"]
    check_loads(result, tmp_path)


def test_keys_and_teams_that_list_a_guardrail_are_its_clients(tmp_path):
    rows = [
        {"token": "a" * 64, "key_alias": "app", "metadata": {"guardrails": ["g"]}},
        {"token": "b" * 64, "key_alias": "batch", "metadata": "{}"},
        {"token": "c" * 64, "key_alias": "chat", "team_id": "t", "models": ["m"]},
    ]
    team = {"team_id": "t", "team_alias": "team", "models": ["m"], "metadata": json.dumps({"guardrails": ["g"]})}
    keys = read_keys(json.dumps(rows).encode(), "keys.json")
    teams = read_teams(json.dumps([team]).encode(), "teams.json")
    result = convert(guard("hide-secrets", default_on=False), clients=Clients(keys, teams))
    assert [step["for"] for step in result.steps] == [{"clients": ["app", "chat"]}]
    assert "client_routing" not in load_yaml(file_text(result))
    check_loads(result, tmp_path)


def test_guardrails_of_litellm_settings_follow_and_names_stay_unique(tmp_path):
    settings = {"guardrails": [guard("hide-secrets", "g")], "skip_tool_message_in_guardrail": True}
    result = convert(guard("presidio", "g"), litellm_settings=settings)
    assert [(step["use"], step["name"]) for step in result.steps] == [("presidio", "g"), ("secrets", "g-2")]
    assert all("tool_results" not in step["parts"] for step in result.steps)
    assert result.losses == []
    check_loads(result, tmp_path)


def test_credentials_in_the_file_become_variables():
    result = convert(guard("generic_guardrail_api", "vendor", api_key="sk-1", headers={"Authorization": "Bearer x1"}))
    (step,) = result.steps
    assert step["with"]["key"] == "$VENDOR_API_KEY"
    assert step["with"]["headers"] == {"Authorization": "$VENDOR_AUTHORIZATION"}
    text = file_text(result)
    assert "set the variable VENDOR_API_KEY" in text
    assert "sk-1" not in text
    assert "x1" not in text


def test_the_summary_counts_steps():
    assert next(iter(summary(convert(guard("hide-secrets"))))) == "Converted: 1 of 1 model and 1 step."


@each_row(
    ("name", "model", "closed"),
    [("w", "openai/whisper-1", "transcriptions, translations"), ("m", "openai/gpt-4o", None)],
)
def test_an_endpoint_that_the_steps_close_is_reported(name, model, closed):
    """Every transcription would get 403, and the import would report success."""
    content = {"model_list": [item(name, model)], "guardrails": [guard("hide-secrets")]}
    result = convert_litellm(content)
    assert [(loss.group, loss.what) for loss in result.losses] == (
        [(Group.NAMES, f"{closed} of {name}")] if closed else []
    )
    if closed:
        line = result.losses[0].why.rpartition("for: ")[2].rstrip("`")
        result.steps[0]["for"] = load_yaml(line)
        result.losses.clear()
        lose_closed_endpoints(result)
        assert result.losses == []
