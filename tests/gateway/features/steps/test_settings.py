"""The keys of ``steps``: the values in a file, and the messages about its mistakes."""

from typing import Any, get_args

import pytest

from gateway.config.credentials import secrets_in
from gateway.config.settings import Config
from gateway.config_files.loading import ConfigError, from_mapping, load
from gateway.config_reports.changes import changes
from gateway.features.steps.settings import (
    StepAction,
    StepMoment,
    StepPart,
    StepScope,
    StepSettings,
    steps_of,
)
from tests.support.command_line import invoke
from tests.support.each_row import each_row
from tests.support.features import needs_feature
from tests.support.step_files import HEAD
from trigate.steps import PARTS, Action, Moment, Part

CONTENT: dict[str, Any] = {
    "version": "v0.4.0",
    "model_providers": [{"model": "openai/gpt-5", "access_key": "k"}, {"model": "groq/*", "access_key": "k"}],
    "model_aliases": {"fast": {"target": "gpt-5"}},
    "client_groups": [{"name": "eng"}],
    "client_keys": [{"name": "app", "key": "0123456789abcdef0", "group": "eng"}],
}


def read(*steps: Any, **more: Any) -> Config:
    return from_mapping({**CONTENT, **more, "steps": list(steps)})


def read_step(**members: Any) -> StepSettings:
    return steps_of(read({"use": "./steps.py:check", **members}))[0]


def mistakes(*steps: Any, **more: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(*steps, **more)
    return [str(mistake).partition(": ")[2] for mistake in caught.value.mistakes]


def test_settings_have_the_values_of_the_types_of_steps():
    assert get_args(StepPart) == get_args(Part) == PARTS
    assert get_args(StepMoment) == get_args(Moment)
    assert get_args(StepAction) == get_args(Action)


def test_a_step_needs_no_more_than_its_use():
    step = read_step()
    assert (step.name, step.at, step.action, step.hold, step.parts) == ("check", None, None, None, None)
    assert (step.deadline, step.concurrent, step.unchecked, step.refusal.form) == (5.0, 64, "refuse", "error")
    assert step.scope == StepScope()


@pytest.mark.parametrize(
    ("use", "name"),
    [("./steps.py:check", "check"), ("acme.guards:Guard.check", "check"), ("acme-guard", "acme-guard")],
)
def test_the_default_name_comes_from_use(use, name):
    assert steps_of(read({"use": use}))[0].name == name


def test_for_is_a_word_or_a_mapping():
    assert read_step(**{"for": "on_request"}).scope == StepScope(on_request=True)
    assert read_step(**{"for": {"groups": ["*", "!eng"]}}).scope == StepScope(groups=("*", "!eng"))


def test_action_and_hold_have_several_forms():
    assert read_step(action="mask").action == "mask"
    assert read_step(action={"PERSON": "mask", "US_SSN": "refuse"}).action == {"PERSON": "mask", "US_SSN": "refuse"}
    assert [read_step(hold=hold).hold for hold in ("whole", "nothing", 64)] == ["whole", "nothing", 64]


@each_row(
    ("members", "message"),
    [
        ({"use": None}, "steps[0].use: missing; this is required."),
        ({"use": "steps.py"}, "steps[0].use: 'steps.py' names no function; add its function: ./steps.py:NAME."),
        ({"use": "a b"}, "steps[0].use: 'a b'; expected a kind such as pii, package.module:name, or ./file.py:name."),
        ({"naem": "a"}, "steps[0].naem: unknown key; did you mean name?"),
        ({"name": "a b"}, "steps[0].name: 'a b'; expected a name of at most 64 letters, digits, `.`, `_` and `-`."),
        ({"at": ["respnse"]}, "steps[0].at[0]: 'respnse'; did you mean response?"),
        ({"at": []}, "steps[0].at: the list is empty; list at least one, or remove it for the default."),
        ({"parts": ["tool"]}, "steps[0].parts[0]: 'tool'; did you mean tools?"),
        ({"action": "msk"}, "steps[0].action: 'msk'; did you mean mask?"),
        ({"action": {"a": "drop"}}, "steps[0].action.a: 'drop'; expected one of mask, refuse, report."),
        ({"action": {}}, "steps[0].action: the mapping is empty; list at least one label, or write one action."),
        ({"hold": 0}, "steps[0].hold: 0; expected whole, nothing, or a number of characters from 1 to 1000000."),
        ({"hold": True}, "steps[0].hold: true; expected whole, nothing, or a number of characters from 1 to 1000000."),
        ({"deadline": 0}, "steps[0].deadline: 0; expected a duration above 0, such as 30s, 0.5s or 5m."),
        ({"unchecked": "allow"}, "steps[0].unchecked: 'allow'; expected one of refuse, pass."),
        ({"refusal": {"as": "stopp"}}, "steps[0].refusal.as: 'stopp'; did you mean stop?"),
        ({"for": "all"}, "steps[0].for: 'all'; expected on_request, or a mapping such as {clients: [app]}."),
        ({"for": {"client": ["app"]}}, "steps[0].for.client: unknown key; did you mean clients?"),
        ({"for": {"clients": []}}, "steps[0].for.clients: the list is empty; list at least one name, or remove it"),
        (
            {"for": {"clients": ["ap"]}},
            "steps[0].for.clients[0]: no name in client_keys matches 'ap'; did you mean app",
        ),
        ({"for": {"groups": ["!engg"]}}, "steps[0].for.groups[0]: no name in client_groups matches 'engg'"),
        ({"for": {"entries": ["opnai*"]}}, "steps[0].for.entries[0]: no name in model_providers matches 'opnai*'"),
        ({"for": {"endpoints": ["embedings"]}}, "steps[0].for.endpoints[0]: no name in the endpoints matches"),
        ({"for": {"models": ["gpt-6"]}}, "steps[0].for.models[0]: 'gpt-6' is not a configured model"),
        (
            {"use": "presidio", "with": {"url": "http://127.0.0.1:5002", "entities": ["PERSON"]}},
            "steps[0].with.entities: unknown key; the settings of presidio are url, language, score, headers",
        ),
    ],
)
def test_a_mistake_states_its_place_and_the_remedy(members, message):
    written = {"use": "./steps.py:check", **members}
    found = mistakes({name: value for name, value in written.items() if value is not None})
    assert len(found) == 1
    assert found[0].startswith(message.removesuffix("."))


def test_two_steps_need_two_names():
    found = mistakes({"use": "./a.py:check"}, {"use": "./b.py:check"}, {"use": "./c.py:check", "name": "check"})
    assert found == [
        "steps[1].use: another step has the name check; give each step its own `name`.",
        "steps[2].name: another step has the name check; give each step its own `name`.",
    ]


@pytest.mark.parametrize(
    "scope",
    [
        {"clients": ["app"], "groups": ["*", "!eng"], "models": ["fast", "gpt-*"], "entries": ["openai*", "groq/*"]},
        {"endpoints": ["chat", "embeddings", "image_*"]},
        {"clients": ["*"]},
    ],
)
def test_known_names_are_no_mistakes(scope):
    assert read_step(**{"for": scope}).scope.on_request is False


@needs_feature("admin")
def test_clients_of_the_state_storage_are_not_known_in_advance(tmp_path):
    storage = {"state_storage": {"type": "sqlite", "path": f"{tmp_path}/state.db"}, "stored_keys": True}
    assert steps_of(read({"use": "./steps.py:check", "for": {"clients": ["later"]}}, **storage))


def test_the_changes_of_steps_show_no_secrets():
    old = read(
        {"use": "./steps.py:check", "with": {"key": "sk-old"}},
        {"use": "./steps.py:save", "at": ["finished"]},
        {"use": "./steps.py:gone"},
    )
    new = read(
        {"use": "./steps.py:save", "at": ["finished"]},
        {"use": "./steps.py:check", "with": {"key": "sk-new"}, "action": "mask", "deadline": "2s",
         "for": {"clients": ["app"]}},
        {"use": "./steps.py:new"},
    )  # fmt: skip
    assert [str(change) for change in changes(old, new)] == [
        "~ step check: action the default → mask; for.clients all → app; with changed; deadline 5s → 2s",
        "- step gone",
        "+ step new",
        "~ steps: order check, save, gone → save, check, new",
    ]


def test_values_of_variables_and_files_are_masked_in_every_output(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("from-a-file-0001\n")
    file = tmp_path / "trigate.yaml"
    file.write_text(
        f"{HEAD}steps:\n  - use: ./steps.py:check\n    with: {{a: [{{b: $STEP_SECRET}}], c: {{file: {secret}}}}}\n"
    )
    config = load(file, {"STEP_SECRET": "from-a-variable-0001"})
    assert steps_of(config)[0].settings == {"a": [{"b": "from-a-variable-0001"}], "c": "from-a-file-0001"}
    assert {"from-a-variable-0001", "from-a-file-0001"} <= set(secrets_in(config))
    assert not any(value in repr(config) for value in ("from-a-variable-0001", "from-a-file-0001"))


def test_a_secret_file_that_cannot_be_read_is_a_mistake_at_its_place(tmp_path):
    found = mistakes({"use": "./steps.py:check", "with": {"a": {"file": f"{tmp_path}/none"}}})
    assert found[0].startswith("steps[0].with.a: cannot read the file")


FOUND = "trigate found this file in the current directory, and it "


@each_row(
    ("step", "message"),
    [
        ("{use: './steps.py:check'}", f"steps[0].use: {FOUND}loads code"),
        ("{use: 'guards.acme:check'}", f"steps[0].use: {FOUND}loads code"),
        ("{use: acme-guard}", f"steps[0].use: {FOUND}loads code"),
        ("{use: http, with: {url: 'https://guard.evil.example'}}", f"steps[0].with.url: {FOUND}sends texts"),
        ("{use: http, with: {url: 'http://localhost.evil.example'}}", f"steps[0].with.url: {FOUND}sends texts"),
        ("{use: presidio, with: {url: 'http://10.0.0.1:3000'}}", f"steps[0].with.url: {FOUND}sends texts"),
    ],
)
def test_a_file_that_was_only_found_runs_no_code_and_reaches_no_other_machine(tmp_path, step, message):
    file = tmp_path / "trigate.yaml"
    file.write_text(f"{HEAD}steps:\n  - {step}\n")
    with pytest.raises(ConfigError) as caught:
        load(file, {}, trust="found")
    assert any(message in str(mistake) for mistake in caught.value.mistakes)


def test_a_file_that_was_only_found_is_refused_once_for_all_its_code(tmp_path):
    steps = ("./steps.py:check", "./steps.py:other", "acme-guard")
    (tmp_path / "trigate.yaml").write_text(f"{HEAD}steps:\n" + "".join(f"  - use: {use}\n" for use in steps))
    found = invoke("check", cwd=tmp_path)
    assert found.returncode == 1
    assert (found.stderr.count("it loads code"), found.stderr.count("steps[0].use")) == (1, 1), found.stderr
    assert "`--config ./trigate.yaml`" in found.stderr
    assert FOUND not in invoke("check", "--config", "./trigate.yaml", cwd=tmp_path).stderr
