"""Steps are loaded from files and packages, and every fault of their code is a mistake at its place."""

import pytest
import trio

from gateway.config_files.loading import ConfigError
from gateway.features.steps.loaded import ClientFacts
from gateway.features.steps.loading import load_steps, try_steps
from gateway.features.steps.runner import run_step
from gateway.features.steps.settings import steps_of
from tests.support.each_row import each_row
from tests.support.step_files import step_config
from trigate.steps import Check, Passage

CODE = """
from contextlib import asynccontextmanager
from trigate.steps import Finding, step

opened = []

def plain(check):
    return [Finding("word", check.passages[0], 0, 1)]

async def awaited(check):
    return plain(check)

@step(at=["response"], action="mask", hold=64)
def declared(check):
    return []

class Words:
    def __init__(self, settings):
        self.words = settings["words"]
    def __call__(self, check):
        return [Finding(word, p, 0, 1) for word in self.words for p in check.passages if word in p.text]

@asynccontextmanager
async def opening(settings):
    opened.append(settings)
    yield awaited
    opened.append("closed")

@asynccontextmanager
async def failing(settings):
    raise ConnectionError("no database")
    yield plain

def yielding(check):
    yield plain(check)

class Yielding:
    def __call__(self, check):
        yield check.passages[0]

class YieldingLater:
    async def __call__(self, check):
        yield check.passages[0]

class WithoutSettings:
    def __call__(self, check):
        return plain(check)

class TakingMore:
    def __call__(self, check, model):
        return []

def dumped(check) -> str:
    return str(check)

async def judged(check) -> "bool":
    return True

def without_argument():
    return []

async def save(records):
    pass

nothing = None
"""


def check(*texts: str) -> Check:
    return Check("request", tuple(Passage("user", f"messages[{i}].content", text) for i, text in enumerate(texts)))


def labels(step, *texts: str) -> list[str]:
    return [one.label for one in trio.run(run_step, step, check(*texts))]


@pytest.mark.parametrize("name", ["plain", "awaited", "WithoutSettings"])
def test_a_function_or_class_of_a_file_is_a_step(tmp_path, name):
    (step,) = load_steps(step_config(tmp_path, f"  - use: ./steps.py:{name}\n", CODE)).steps
    assert (step.name, labels(step, "a")) == (name, ["word"])


def test_the_defaults_of_code_hold_and_refuse(tmp_path):
    (step,) = load_steps(step_config(tmp_path, "  - use: ./steps.py:plain\n", CODE)).steps
    assert (step.moments, step.hold, step.action_for("word")) == (("request", "response"), "whole", "refuse")
    assert not {"tools", "media"} & step.parts
    assert not step.may_mask


def test_the_author_declares_other_defaults_and_the_file_overrides_them(tmp_path):
    config = step_config(
        tmp_path, "  - use: ./steps.py:declared\n  - {use: './steps.py:declared', name: b, hold: 8}\n", CODE
    )
    first, second = load_steps(config).steps
    assert (first.moments, first.hold, first.action_for("x"), second.hold) == (("response",), 64, "mask", 8)


def test_a_class_gets_the_settings(tmp_path):
    config = step_config(tmp_path, "  - {use: './steps.py:Words', with: {words: [red, blue]}}\n", CODE)
    assert labels(load_steps(config).steps[0], "a red house", "the blue sky") == ["red", "blue"]


def test_a_context_manager_lives_as_long_as_the_steps(tmp_path):
    config = step_config(tmp_path, "  - {use: './steps.py:opening', with: {a: 1}}\n", CODE)
    steps = load_steps(config)

    async def main() -> list[str]:
        async with trio.open_nursery() as nursery:
            await steps.open(nursery)
            found = [one.label for one in await run_step(steps.steps[0], check("a"))]
            await steps.aclose()
        return found

    assert trio.run(main) == ["word"]
    assert steps.steps[0].callable is None


def test_a_context_manager_that_fails_stops_the_start(tmp_path):
    config = step_config(tmp_path, "  - use: ./steps.py:failing\n", CODE)
    with pytest.raises(ConfigError, match=r"the step failing could not start: ConnectionError .*: no database"):
        trio.run(try_steps, config)


@each_row(
    ("steps", "message"),
    [
        (
            "  - use: ./steps.py:plane\n",
            r"steps\[0\].use: ./steps.py has no function or class 'plane'; did you mean plain\?",
        ),
        ("  - use: ./other.py:plain\n", r"there is no file .*/other.py; give a path relative to the configuration"),
        ("  - use: ./steps.py:yielding\n", r"./steps.py:yielding yields its findings; return a list"),
        ("  - use: ./steps.py:Yielding\n", r"./steps.py:Yielding yields its findings; return a list"),
        ("  - use: ./steps.py:YieldingLater\n", r"./steps.py:YieldingLater yields its findings; return a list"),
        ("  - use: ./steps.py:TakingMore\n", r"./steps.py:TakingMore does not take exactly one argument"),
        ("  - use: ./steps.py:dumped\n", r"./steps.py:dumped is declared to return str; return a list of findings"),
        ("  - use: ./steps.py:judged\n", r"./steps.py:judged is declared to return bool; return a list of findings"),
        ("  - use: ./steps.py:without_argument\n", r"does not take exactly one argument"),
        ("  - use: ./steps.py:nothing\n", r"./steps.py:nothing is not a function"),
        (
            "  - {use: './steps.py:plain', with: {a: 1}}\n",
            r"steps\[0\].with: .* is a function, which takes no settings",
        ),
        (
            "  - {use: './steps.py:plain', with: {content: true}}\n",
            r"steps\[0\].with: .* is a function, which takes no",
        ),
        (
            "  - {use: './steps.py:save', at: [finished], with: {content: 1}}\n",
            r"steps\[0\].with: `content` is not true or false",
        ),
        ("  - {use: './steps.py:Words', with: {a: 1}}\n", r"steps\[0\].with: .* did not accept its settings: KeyError"),
        ("  - use: guard.steps:check\n", r"importing guard.steps failed with ModuleNotFoundError: No module named"),
        ("  - use: pi\n", r"there is no kind of step 'pi'; did you mean pii\?"),
        ("  - {use: './steps.py:declared', at: [during]}\n", r"a mask is too late with `at: during`"),
        ("  - {use: './steps.py:declared', hold: nothing}\n", r"`hold: nothing` releases text before it can be masked"),
        ("  - {use: './steps.py:plain', restore: true}\n", r"steps\[0\].restore: there is nothing to restore"),
    ],
)
def test_a_fault_of_the_code_is_a_mistake_at_its_place(tmp_path, steps, message):
    with pytest.raises(ConfigError, match=message):
        load_steps(step_config(tmp_path, steps, CODE))


@each_row(
    ("code", "fault"),
    [("import nowhere_else", r"\w+.*"), ("1 / 0", r"\w+.*"), ("raise SystemExit(3)", r"\w+.*"),
     ("import re\ndef f(:", r"SyntaxError: invalid syntax \(steps.py, line 2\); ")],
)  # fmt: skip
def test_code_that_cannot_be_imported_is_a_mistake(tmp_path, code, fault):
    with pytest.raises(ConfigError, match=f"importing ./steps.py failed with {fault}correct the code, or the path"):
        load_steps(step_config(tmp_path, "  - use: ./steps.py:plain\n", code))


def test_the_current_directory_is_not_on_the_import_path(tmp_path, monkeypatch):
    (tmp_path / "near_module.py").write_text("def plain(check): return []")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("")
    with pytest.raises(ConfigError, match="No module named 'near_module'"):
        load_steps(step_config(tmp_path, "  - use: near_module:plain\n"))


def test_a_reload_uses_the_imported_code_and_keeps_unchanged_steps(tmp_path, caplog):
    steps = "  - use: ./steps.py:plain\n  - use: ./steps.py:awaited\n"
    before = load_steps(step_config(tmp_path, steps, CODE))
    changed = "  - use: ./steps.py:plain\n  - {use: './steps.py:awaited', deadline: 1s}\n"
    caplog.set_level("INFO", "trigate.steps")
    after = load_steps(step_config(tmp_path, changed, "def plain(check): 1 / 0"), before)
    assert [labels(step, "a") for step in after.steps] == [["word"], ["word"]]
    assert after.steps[0].state is before.steps[0].state
    assert after.steps[1].state is not before.steps[1].state
    assert "the code of steps was not imported again" in caplog.text


def test_an_observer_is_code_that_only_gets_finished_requests(tmp_path):
    config = step_config(
        tmp_path,
        "  - {use: './steps.py:save', at: [finished], with: {content: true}}\n"
        "  - {use: './steps.py:plain', at: [finished], action: mask}\n",
        CODE,
    )
    observer, masking = load_steps(config).steps
    assert (observer.is_observer, observer.wants_content, masking.is_observer) == (True, True, False)


def test_only_observers_have_the_setting_content(tmp_path):
    text = "  - {use: './steps.py:Words', with: {words: [], content: [a]}}\n"
    assert load_steps(step_config(tmp_path, text, CODE)).steps[0].settings.settings["content"] == ["a"]


def test_settings_have_the_texts_of_secret_files_and_a_changed_file_changes_the_step(tmp_path):
    secret = tmp_path / "secret"
    text = f"  - {{use: './steps.py:Words', with: {{words: [{{file: {secret}}}]}}}}\n"
    secret.write_text("red\n")
    config = step_config(tmp_path, text, CODE)
    before = load_steps(config)
    assert labels(before.steps[0], "a red house") == ["red"]
    assert steps_of(config)[0].secrets == ("red",)
    secret.write_text("blue")
    after = load_steps(step_config(tmp_path, text, CODE), before)
    assert labels(after.steps[0], "a red house", "the blue sky") == ["blue"]


def facts(**more) -> ClientFacts:
    return ClientFacts(**{"client": "app", "group": "eng", "models": ("gpt-5",), "endpoint": "chat", **more})


@each_row(
    ("scope", "given", "applies"),
    [
        ("{clients: [app]}", {}, True),
        ("{clients: [app]}", {"client": "web"}, False),
        ("{clients: [app]}", {"client": None}, False),
        ("{clients: ['*']}", {"client": None}, True),
        ("{clients: ['*', '!web']}", {"client": None}, True),
        ("{groups: ['*', '!eng']}", {}, False),
        ("{groups: ['!eng']}", {"group": None}, True),
        ("{clients: [app], groups: [ops]}", {}, False),
        ("{models: ['gpt-*']}", {}, True),
        ("{models: ['openai/gpt-5']}", {"models": ("gpt-5", "openai/gpt-5")}, True),
        ("{models: ['!gpt-5']}", {"models": ("gpt-5", "openai/gpt-5")}, False),
        ("{models: ['!openai/gpt-5']}", {"models": ("gpt-5", "openai/gpt-5")}, True),
        ("{endpoints: [chat, embeddings]}", {"endpoint": "files"}, False),
        ("on_request", {}, False),
        ("on_request", {"requested": frozenset(["plain"])}, True),
        ("{on_request: true, clients: [web]}", {"requested": frozenset(["plain"])}, False),
    ],
)
def test_for_selects_requests(tmp_path, scope, given, applies):
    head = """version: v0.4.0
model_providers: [{model: openai/gpt-5, access_key: k, name: gpt-5}]
client_groups: [{name: eng}, {name: ops}]
client_keys: [{name: app, key: 0123456789abcdef0, group: eng}, {name: web, key: 0123456789abcdef1, group: ops}]
"""
    config = step_config(tmp_path, f"  - {{use: './steps.py:plain', for: {scope}}}\n", CODE, head)
    steps = load_steps(config)
    assert bool(steps.steps_for(facts(**given))) is applies
    requested = facts(**given).requested
    assert steps.unavailable_names(facts(**given)) == (() if applies or not requested else ("plain",))


def test_a_step_for_entries_applies_to_attempts_at_them(tmp_path):
    head = """version: v0.4.0
model_providers: [{model: openai/gpt-5, access_key: k}, {model: openai/local, access_key: k}]
"""
    scope = "{entries: ['openai*', '!*local']}"
    config = step_config(tmp_path, f"  - {{use: './steps.py:plain', for: {scope}}}\n", CODE, head)
    (step,) = load_steps(config).steps_for(facts())
    assert step.is_for_some_entries
    assert [step.applies_to_entry(name) for name in ("openai/gpt-5", "openai/local", "ollama/llama")] == [
        True,
        False,
        False,
    ]


@each_row(
    ("action", "label", "returned", "action_taken"),
    [
        ("refuse", "x", None, "refuse"),
        ("refuse", "x", "report", "report"),
        ("refuse", "x", "mask", "mask"),
        ("report", "x", "refuse", "report"),
        ("{x: report, y: mask}", "x", "refuse", "report"),
        ("{x: report, y: mask}", "y", None, "mask"),
        ("{x: report, y: mask}", "z", None, "refuse"),
    ],
)
def test_the_action_for_a_finding(tmp_path, action, label, returned, action_taken):
    config = step_config(tmp_path, f"  - {{use: './steps.py:plain', action: {action}}}\n", CODE)
    assert load_steps(config).steps[0].action_for(label, returned) == action_taken
