"""Claude Code's managed settings: a rule's merged with the base (code.claude.com, "Claude apps gateway"), and warnings
of settings that run commands."""

from gateway.features.people.managed_settings import COMMANDS, merged_settings
from tests.support.each_row import each_row


def test_a_rules_allow_list_replaces_the_bases_and_deny_lists_are_united():
    base = {"permissions": {"allow": ["Read"], "deny": ["WebFetch", "Bash(curl *)"], "defaultMode": "plan"}}
    rule = {"permissions": {"allow": ["Bash"], "deny": ["Bash(rm *)", "WebFetch"]}}
    assert merged_settings(base, rule) == {
        "permissions": {
            "allow": ["Bash"],
            "deny": ["WebFetch", "Bash(curl *)", "Bash(rm *)"],
            "defaultMode": "plan",
        }
    }


def test_variables_are_merged_and_hooks_are_united():
    one, other = ({"hooks": [{"type": "command", "command": name}]} for name in ("a", "b"))
    base = {"env": {"A": "1", "B": "2"}, "hooks": {"Stop": [one], "PreToolUse": [one]}}
    rule = {"env": {"B": "3"}, "hooks": {"Stop": [other, one]}, "model": "opus"}
    assert merged_settings(base, rule) == {
        "env": {"A": "1", "B": "3"},
        "hooks": {"Stop": [one, other], "PreToolUse": [one]},
        "model": "opus",
    }


@each_row("name", ["deny", "hooks"])
@each_row("value", ["text", 5, {"a": 1}, [], None])
def test_values_of_any_type_are_merged_without_an_error(name, value):
    for other in ("text", ["x"], {"b": ["y"]}):
        found = merged_settings({name: value}, {name: other})
        assert set(found) == {name}
        assert merged_settings({name: other}, {}) == {name: other}


@each_row("name", COMMANDS)
def test_check_warns_of_settings_that_run_commands(name):
    from gateway.config_files.loading import from_mapping

    content = {"version": "v0.4.0", "model_providers": [{"model": "openai/a", "access_key": "k"}]}
    assert not from_mapping({**content, "claude_code": {"model": "opus"}}).warnings
    (warning,) = from_mapping({**content, "claude_code": {name: {"command": "x"}}}).warnings
    assert f"claude_code: {name} runs commands on the machine of each person" in warning
