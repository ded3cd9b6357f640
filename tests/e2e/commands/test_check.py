"""Tests of ``trigate check``: settings without effect, files of other gateways, and the width of the terminal."""

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import termios

import pytest

from configfile.document import MAX_BYTES
from tests.support.command_line import COMMAND, environment, invoke, running_command
from tests.support.each_row import each_row
from tests.support.features import needs_feature, rows_of
from tests.support.harness import START_SECONDS, eventually

UNENFORCED = """version: v0.3.0
listeners: [{type: model, port: 12000}]
model_metrics_sources: []
routing: {session_ttl_seconds: 600}
model_providers:
  - {model: openai/gpt-4o, access_key: k, speaks: [chat, responses]}
"""
WARNING = "2 settings in trigate.yaml have no effect: model_metrics_sources, routing"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "trigate.yaml").write_text(UNENFORCED)
    return tmp_path


def run_on_terminal(*words: str, cwd, columns: int = 80) -> tuple[int, list[str]]:
    """Run a command on a terminal, and return its exit status and the lines that it printed."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen([*COMMAND, *words], cwd=cwd, env=environment(), stdout=theirs, stderr=theirs)
    os.close(theirs)
    seen = b""
    while True:
        try:
            chunk = os.read(ours, 65536)
        except OSError:  # Linux raises this after the last writer has closed the terminal
            break
        if not chunk:
            break
        seen += chunk
    os.close(ours)
    return process.wait(START_SECONDS), seen.decode().splitlines()


def plain(line: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", line)


@pytest.mark.process
@pytest.mark.parametrize("words", [("explain", "openai/gpt-4o"), ("mock", "--faults")])
def test_a_narrow_terminal_gets_whole_words(folder, words):
    status, lines = run_on_terminal(*words, cwd=folder)
    assert status == 0
    assert max(len(plain(line)) for line in lines) <= 80
    piped = invoke(*words, cwd=folder).stdout
    assert max(map(len, piped.splitlines())) > 80
    assert " ".join(map(plain, lines)).split() == piped.split()


@pytest.mark.process
def test_the_endpoints_of_entries_fit_a_narrow_terminal(folder):
    status, lines = run_on_terminal("check", "--endpoints", cwd=folder)
    assert status == 0
    assert any("embeddings" in line for line in lines)
    assert max(len(plain(line)) for line in lines) <= 80


def test_a_setting_without_effect_is_reported_in_a_valid_file(folder):
    found = invoke("check", cwd=folder)
    assert (found.returncode, found.stdout) == (0, "trigate.yaml: valid (1 provider, 1 model name)\n")
    warning, other, last = found.stderr.splitlines()
    assert warning == "warning: routing: accepted, not enforced yet: requests go to the model in their `model`."
    assert other.startswith("warning: model_metrics_sources: accepted, not enforced yet: requests go to the model")
    assert last == f"WARNING: {WARNING} (the reasons are above; trigate check --strict reports them as mistakes)."


def test_strict_fails_on_a_setting_without_effect(folder):
    found = invoke("check", "--strict", cwd=folder)
    assert (found.returncode, found.stdout) == (1, "")
    reason = "accepted, not enforced yet: requests go to the model in their `model`."
    assert found.stderr.splitlines() == [
        "2 settings without effect:",
        f"  trigate.yaml:3:1: model_metrics_sources: {reason}",
        f"  trigate.yaml:4:1: routing: {reason}",
    ]


@pytest.mark.process
@pytest.mark.parametrize("form", [pytest.param("text", marks=pytest.mark.soak), "json"])
def test_serve_logs_settings_without_effect_at_the_start(folder, form):
    with running_command("serve", "--port", "0", "--log-format", form, cwd=folder) as process:
        (line,) = eventually(lambda: [line for line in process.log if "no effect" in line], what="the warning")
    if form == "text":
        assert f"WARNING: {WARNING}" in line
    else:
        logged = json.loads(line)
        assert logged["level"] == "warning"
        assert logged["message"].startswith(WARNING)


@pytest.mark.parametrize("command", ["check", "serve"])
def test_the_file_of_another_gateway_is_recognised(tmp_path, command):
    (tmp_path / "config.yaml").write_text("model_list:\n  - {model_name: a, litellm_params: {model: openai/a}}\n")
    found = invoke(command, cwd=tmp_path)
    assert found.returncode == 1
    assert found.stderr == (
        "config.yaml: this is a configuration for LiteLLM's proxy; "
        "convert it: `trigate import config.yaml --write trigate.yaml`.\n"
    )


BAD = UNENFORCED + "fallbacks: [a]\nzzz: 1\nguardrails: {a: b}\ndrian: 5s\n"


@needs_feature("steps")
@pytest.mark.process
def test_a_table_has_the_width_of_the_terminal(tmp_path):
    narrow, wide = (run_on_terminal("steps", cwd=tmp_path, columns=width)[1] for width in (60, 200))
    assert max(map(len, map(plain, narrow))) <= 60
    assert max(map(len, map(plain, wide))) > 80
    assert len(narrow) > len(wide)


@pytest.mark.process
def test_a_terminal_gets_lines_that_fit_and_hang(folder):
    (folder / "trigate.yaml").write_text(BAD)
    status, lines = run_on_terminal("check", cwd=folder)
    assert status == 1
    assert max(map(len, lines)) <= 80
    assert lines[1:4] == [
        "  trigate.yaml:7:1: fallbacks: unknown key; it belongs to an alias:",
        "      `model_aliases: {NAME: {targets: [FIRST, NEXT]}}`.",
        "  trigate.yaml:8:1: zzz: unknown key.",
    ]
    assert "The keys at the root are version, listeners, model_providers, llm_providers," in lines
    unfolded = [line for line in invoke("check", cwd=folder).stderr.splitlines() if len(line) > 80]
    assert unfolded, "a program gets whole lines"


MISTAKEN = """version: v0.4.0
listeners:
- {address: 0.0.0.0, port: 12000, tls: {certificate: absent.pem, key: absent.key, client_ca: absent.ca}}
- {address: 0.0.0.0, port: 12001}
model_providers:
- {model: openai/gpt-4o, access_key: $ABSENT}
- {modle: openai/o3}
- {model: vllm/mine, base_url: "http://127.0.0.1:1", budgets: [5 usd/day]}
model_aliases: {a: {target: gpt-9}}
log_level: info
log_level: error
steps:
- {use: pij}
- {use: pii, name: settings, with: {colour: red}}
- {use: "absent_module:check"}
- {use: "./absent.py:check_more", for: {models: [gpt-10]}}
- {use: pii, name: labels, action: {colour: mask}}
"""
OF_THE_FILE = [
    "4:4: listeners[1].address: client_keys is not set",
    "7:3: model_providers[1].model: missing",
    "7:4: model_providers[1].modle: unknown key",
    "8:4: model_providers[2].model: vllm/mine has no price",
    "9:21: model_aliases.a.target: 'gpt-9' is not a configured model",
    "11:1: log_level: this key appears twice",
    "13:4: steps[0].use: there is no kind of step 'pij'",
    "14:37: steps[1].with.colour: unknown key",
    "15:4: steps[2].use: importing absent_module failed",
    "16:4: steps[3].use: there is no file",
    "16:50: steps[3].for.models[0]: 'gpt-10' is not a configured model",
    "17:4: steps[4].action: this step has no label 'colour'",
]
OF_THE_MACHINE = [
    "3:41: listeners[0].tls.certificate: absent.pem: no such file or directory",
    "3:66: listeners[0].tls.key: absent.key: no such file or directory",
    "3:83: listeners[0].tls.client_ca: absent.ca: no such file or directory",
    "6:26: model_providers[0].access_key: the environment variable ABSENT is not set",
]
OF_CODE = ("there is no kind", "importing", "there is no file", "has no label")


@needs_feature("steps")
@each_row(
    ("words", "mistakes"),
    [
        (("check",), [*OF_THE_MACHINE, *OF_THE_FILE]),
        (("serve",), [*OF_THE_MACHINE, *OF_THE_FILE]),
        (("check", "--no-env"), OF_THE_FILE),
        (("check", "--no-env", "--no-steps"), [one for one in OF_THE_FILE if not any(map(one.__contains__, OF_CODE))]),
        (("check", "--no-env", "--open"), OF_THE_FILE[1:]),
    ],
)
def test_every_mistake_is_reported_together(tmp_path, words, mistakes):
    (tmp_path / "mine.yaml").write_text(MISTAKEN)
    found = invoke(*words, "mine.yaml", cwd=tmp_path)
    assert (found.returncode, found.stdout) == (1, "")
    title, *lines = found.stderr.splitlines()
    assert title == f"{len(mistakes)} mistakes in the configuration:"
    in_order = sorted(mistakes, key=lambda one: tuple(map(int, one.split(":")[:2])))
    assert len(lines) == len(mistakes)
    for line, start in zip(lines, in_order, strict=True):
        assert line.startswith(f"  mine.yaml:{start}"), line


def test_strict_reports_settings_without_effect_besides_mistakes(folder):
    with (folder / "trigate.yaml").open("a") as file:
        file.write("colour: red\n")
    lines = invoke("check", "--strict", cwd=folder).stderr.splitlines()
    assert lines[0].startswith("trigate.yaml:7:1: colour: unknown key")
    assert lines[2] == "2 settings without effect:"


SMALL = "version: v0.4.0\nmodel_providers: [{model: openai/gpt-4o, access_key: k}]\n"
OPEN = "listeners: [{port: 12001}, {address: 0.0.0.0"
ISSUER = "{name: corp, issuer: $ISSUER, audience: [trigate], admit: [{when: {}}]}"


@each_row(
    "more",
    [
        "listeners: [{address: $HOST}]",
        f"{OPEN}}}]\nopen: $OPEN",
        *rows_of("admin", f"{OPEN}}}]\nstate_storage: {{type: sqlite, path: s.db}}\nstored_keys: $KEYS"),
        *rows_of("people", f"{OPEN}}}]\nissuers: [{ISSUER}]"),
        f"{OPEN}, serves: $SERVES}}]",
        f"{OPEN}, tls: {{certificate: $PEM, client_ca: $CA}}}}]",
    ],
)
def test_a_variable_may_decide_whether_a_listener_is_protected(tmp_path, more):
    (tmp_path / "trigate.yaml").write_text(f"{SMALL}{more}\n")
    found = invoke("check", "--no-env", cwd=tmp_path)
    assert found.returncode == 0, found.stderr


EXPOSED = "address: client_keys is not set"


@needs_feature("people")
@each_row(
    ("more", "mistakes"),
    [
        *((f"listeners: [{{address: 0.0.0.0}}]\n{misspelt}", [f"{misspelt.partition(':')[0]}: unknown key"])
          for misspelt in ("client_key: [{name: a, key: tg-0123456789abcdef}]", "stored_key: on",
                           *rows_of("people", "isuers: []"), "opne: true")),
        ("listeners: [{address: 0.0.0.0}]\ncolour: red", [f"listeners[0].{EXPOSED}", "colour: unknown key"]),
        *((f"listeners:\n- {{address: 0.0.0.0, {listener}}}\n- {{address: 0.0.0.0, port: 12001}}",
           [f"listeners[0].{mistake}", f"listeners[1].{EXPOSED}"])
          for listener, mistake in (
              ("tls: {client_ca: ca.pem}", "tls.certificate: missing"),
              ("tls: {certificate: a.pem, client_ca: 5}", "tls.client_ca: 5"),
              ("serves: helth", "serves: 'helth'"),
              ("serve: health", "serve: unknown key"),
              ("tsl: {certificate: a.pem, key: a.key, client_ca: ca.pem}", "tsl: unknown key"),
              ("tls: {certificate: a.pem, key: a.key, clientca: ca.pem}", "tls.clientca: unknown key"),
          )),
    ],
)  # fmt: skip
def test_a_listener_is_reported_as_exposed_unless_a_mistake_may_have_protected_it(tmp_path, more, mistakes):
    (tmp_path / "trigate.yaml").write_text(f"{SMALL}{more}\n")
    lines = [line for line in invoke("check", "--no-env", cwd=tmp_path).stderr.splitlines() if "trigate.yaml:" in line]
    assert len(lines) == len(mistakes)
    for line, mistake in zip(lines, mistakes, strict=True):
        assert mistake in line


def test_an_odd_file_is_described(tmp_path):
    (tmp_path / "loop.yaml").symlink_to("loop.yaml")
    (tmp_path / "gone.yaml").symlink_to("absent.yaml")
    (tmp_path / "folder.yaml").mkdir()
    with (tmp_path / "large.yaml").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    reasons = {
        "loop.yaml": "cannot be read: too many levels of symbolic links; give a readable file.",
        "gone.yaml": "cannot be read: no such file or directory; give a readable file.",
        "folder.yaml": "cannot be read: is a directory; give a readable file.",
        "large.yaml": "the file has more than 16 MiB; give a configuration.",
        "/dev/zero": "cannot be read: is a device; give a readable file.",
    }
    for words in (["check"], ["explain", "x", "--config"], ["import"]):
        for name, reason in reasons.items():
            found = invoke(*words, name, cwd=tmp_path)
            assert (found.stdout, found.stderr) == ("", f"{name}: {reason}\n"), words
            assert found.returncode in (1, 2)
