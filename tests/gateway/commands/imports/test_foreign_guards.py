"""The guardrails of Portkey and Bifrost become steps, and everything else in their files is a loss.

The files: https://portkey.ai/docs/product/guardrails/creating-raw-guardrails-in-json and
https://docs.getbifrost.ai/deployment-guides/config-json/guardrails"""

import json
from typing import Any, Final

import pytest

from gateway.commands.imports.command import run
from gateway.commands.imports.foreign_guards import read_foreign_guards
from gateway.commands.imports.losses import Group
from tests.support.each_row import each_row
from tests.support.quick_yaml import load_yaml

PORTKEY: Final[dict[str, Any]] = {
    "targets": [{"provider": "openai", "input_guardrails": ["id-of-a-guard"]}],
    "before_request_hooks": [
        {
            "type": "guardrail",
            "id": "secret words",
            "checks": [
                {"id": "default.contains", "parameters": {"operator": "none", "words": ["a+b", "apollo"]}},
                {"id": "default.regexMatch", "parameters": {"rule": r"\d{6}", "not": True}},
                {"id": "default.regexMatch", "parameters": {"rule": "hello"}},
                {"id": "default.webhook", "parameters": {"webhookURL": "https://example.com"}},
            ],
            "deny": True,
        },
        {"type": "mutator", "id": "redact", "checks": [{"id": "default.regexReplace", "parameters": {"rule": "x+y"}}]},
    ],
    "output_guardrails": [
        {"default.contains": {"operator": "none", "words": ["apollo"]}, "deny": True, "async": True},
        {"default.contains": {"operator": "any", "words": ["thanks"]}, "deny": True},
        "id-in-the-account",
    ],
}

BIFROST: Final[dict[str, Any]] = {
    "providers": {"openai": {"keys": [{"value": "env.OPENAI_API_KEY"}]}},
    "plugins": [{"name": "own", "path": "./own.so", "enabled": True}, {"name": "otel", "enabled": True}],
    "guardrails_config": {
        "guardrail_providers": [
            {
                "id": 1,
                "provider_name": "regex",
                "policy_name": "block-secrets",
                "enabled": True,
                "config": {"patterns": [{"pattern": "sk-[a-z]{20,}"}, {"pattern": "gh[ps]_[a-z]{36}", "flags": "i"}]},
            },
            {"id": 2, "provider_name": "secrets", "policy_name": "leaks", "enabled": True, "config": {}},
            {"id": 3, "provider_name": "bedrock", "policy_name": "content", "enabled": True, "config": {}},
        ],
        "guardrail_rules": [
            {"id": 1, "name": "in", "enabled": True, "apply_to": "input", "provider_config_ids": [1, 3]},
            {
                "id": 2, "name": "both", "enabled": True, "apply_to": "both", "provider_config_ids": [2],
                "cel_expression": 'model == "gpt-5"',
            },
            {"id": 3, "name": "off", "enabled": False, "apply_to": "both", "provider_config_ids": [1]},
        ],
    },
}  # fmt: skip


def protection(guards: Any) -> list[str]:
    return [loss.what for loss in guards.losses if loss.group is Group.PROTECTION]


def test_portkeys_hooks_become_patterns():
    guards = read_foreign_guards(PORTKEY)
    assert guards is not None
    assert guards.steps == [
        {"use": "regex", "name": "secret-words", "at": ["request"], "action": "refuse",
         "with": {"patterns": {"contains_1": r"a\+b|apollo", "regexMatch_2": r"\d{6}"}}},
        {"use": "regex", "name": "redact", "at": ["request"], "action": "mask",
         "with": {"patterns": {"regexReplace_1": "x+y"}}},
        {"use": "regex", "name": "output_guardrails-1", "at": ["response"], "action": "report",
         "with": {"patterns": {"contains_1": "apollo"}}},
    ]  # fmt: skip
    assert protection(guards) == [
        "default.regexMatch of secret words",
        "default.webhook of secret words",
        "default.contains of output_guardrails-2",
        "the guardrail id-in-the-account",
        "input_guardrails of a target",
    ]
    guards.check()


def test_bifrosts_regex_and_secrets_become_steps():
    guards = read_foreign_guards(BIFROST)
    assert guards is not None
    assert guards.steps == [
        {"use": "regex", "name": "block-secrets", "at": ["request"], "action": "refuse",
         "with": {"patterns": {"pattern_1": "sk-[a-z]{20,}", "pattern_2": "(?i:gh[ps]_[a-z]{36})"}}},
        {"use": "secrets", "name": "leaks", "at": ["request", "response"], "action": "refuse"},
    ]  # fmt: skip
    assert protection(guards) == [
        "the guardrail content (bedrock)",
        "the condition of the rule both",
        "the plugin own",
    ]
    guards.check()


@pytest.mark.parametrize("content", [PORTKEY, BIFROST])
def test_the_command_writes_the_section_and_exits_with_3(tmp_path, capsys, content):
    file, new = tmp_path / "config.json", tmp_path / "steps.yaml"
    file.write_text(json.dumps(content))
    assert run(file, new) == 3
    guards = read_foreign_guards(content)
    assert guards is not None
    assert load_yaml(new.read_text())["steps"] == guards.steps
    assert all(f"# not converted: {what}" in new.read_text() for what in protection(guards))
    assert "protection" in capsys.readouterr().err


@each_row("content", [{}, [], {"model_list": [], "guardrails_config": {}}, {"version": "v0.4.0"}])
def test_other_files_are_not_of_them(content):
    assert read_foreign_guards(content) is None


@pytest.mark.parametrize("depth", [1, 2])
def test_guardrails_of_a_target_alone_are_lost_protection(depth):
    content: dict[str, Any] = {"provider": "openai", "output_guardrails": ["id-in-the-account"]}
    for _ in range(depth):
        content = {"targets": [content]}
    found = read_foreign_guards(content)
    assert found is not None
    assert (Group.PROTECTION, "output_guardrails of a target") in [(loss.group, loss.what) for loss in found.losses]
