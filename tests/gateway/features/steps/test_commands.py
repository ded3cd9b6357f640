"""``trigate check``, ``explain`` and ``steps`` on a configuration with steps."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import invoke
from tests.support.each_row import each_row
from tests.support.features import rows_of

CODE = """
from contextlib import asynccontextmanager

from trigate.steps import Finding

def projects(check):
    return [
        Finding("project", p, at, at + 6)
        for p in check.passages for at in range(len(p.text)) if p.text[at:].startswith("apollo")
    ]

@asynccontextmanager
async def unreachable(settings):
    raise OSError("no words at " + settings["url"])
    yield

async def judge(check):
    return []

def crash(check):
    raise ValueError(check.passages[0].text)

def save(records):
    pass
"""

HEAD = """version: v0.4.0
model_providers:
  - {model: openai/gpt-5, access_key: k}
  - {model: anthropic/claude-opus-4, access_key: k, speaks: [messages]}
model_aliases: {both: {targets: [gpt-5, claude-opus-4]}}
client_groups: [{name: eng}]
client_keys: [{name: app, key: 0123456789abcdef0, group: eng}, {name: web, key: 0123456789abcdef1}]
"""


@pytest.fixture
def file(tmp_path):
    """Return a function that writes a configuration with steps and returns its path."""

    def write(steps: str, head: str = HEAD) -> str:
        (tmp_path / "steps.py").write_text(CODE)
        path = tmp_path / "trigate.yaml"
        path.write_text(f"{head}steps:\n{steps}")
        return str(path)

    return write


MASK = "  - {use: './steps.py:projects', action: mask, restore: true}\n"
JUDGE = "  - {use: './steps.py:judge'}\n"
CLOSED = "no step checks ([a-z_, ]*), so clients of .* get 403 there"
PASSING = HEAD.replace("access_key: k}", "access_key: k, name: own, passthrough: true}", 1)
SERVERS = 'mcp_servers: [{name: files, base_url: "http://127.0.0.1:9/mcp"}]\n'
SIGNED = "signing_key: AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"


@each_row(
    ("steps", "head", "says", "never"),
    [
        (
            f"{MASK}  - {{use: './steps.py:judge', hold: nothing, for: {{endpoints: [chat]}}}}\n", HEAD,
            ["no step checks [a-z_, ]*files,", "so clients of projects get 403 there",
             r"projects may change responses, so streams are translated \(lane hub\)",
             "masks change with each restart: set signing_key",
             "judge with `hold: nothing` detects, and does not prevent", "no step reads text inside pictures"], [],
        ),
        (MASK, f"{HEAD}state_storage: {{type: sqlite, path: state.db}}\n",
         ["stored turns contain the values that masks hide"], []),
        (MASK, f"{HEAD}{SIGNED}", [], ["masks change with each restart"]),
        (MASK, HEAD, [], ["in later turns"]),
        (MASK.replace("}", ", latest: true}"), HEAD, ["projects masks only the latest messages .* in later turns"], []),
        (MASK.replace("}", ", parts: [user]}"), HEAD, ["projects restores values in answers, .* in later turns"], []),
        (JUDGE.replace("}", ", latest: true}"), HEAD, [], ["in later turns"]),
        (JUDGE, HEAD, [], ["no step checks [a-z_, ]*(passthrough|mcp)"]),
        *rows_of("pass_through", (JUDGE, PASSING, ["no step checks [a-z_, ]*passthrough"], [])),
        *rows_of("mcp", (JUDGE, f"{HEAD}{SERVERS}", ["no step checks [a-z_, ]*mcp"], [])),
        ("  - {use: './steps.py:judge', parts: [system]}\n", HEAD, ["checks [a-z_, ]*live", "checks [a-z_, ]*realtime"],
         ["no step checks [a-z_, ]*embeddings"]),
        *((f"  - {{use: './steps.py:judge', {more}}}\n", HEAD, [], [CLOSED])
          for more in ("action: report", "unchecked: pass", "for: {endpoints: [chat, messages]}")),
        ("  - {use: './steps.py:save', at: [finished]}\n", HEAD, [], [CLOSED]),
    ],
)  # fmt: skip
def test_check_reports_the_consequences_of_steps(file, steps, head, says, never):
    result = invoke("check", file(steps, head))
    assert result.returncode == 0, result.stderr
    for one in says:
        assert re.search(one, result.stderr)
    for one in never:
        assert not re.search(one, result.stderr)


def test_check_reports_a_step_that_cannot_be_loaded(file):
    path = file("  - use: ./steps.py:project\n")
    result = invoke("check", path)
    assert result.returncode == 1
    assert "steps[0].use: ./steps.py has no function or class 'project'; did you mean projects?" in result.stderr
    assert invoke("check", path, "--no-steps").returncode == 0


def test_explain_has_a_line_for_each_step_of_the_client(file):
    steps = """  - {use: './steps.py:projects', action: mask, at: [request], for: {groups: [eng]}}
  - {use: './steps.py:judge', at: [during, response], hold: 100, for: {entries: ['openai*']}}
  - {use: './steps.py:judge', name: anthropic, for: {entries: ['anthropic*']}}
  - {use: './steps.py:judge', name: wanted, at: [response], for: on_request}
"""
    path = file(steps)
    result = invoke("explain", "gpt-5", "--config", path, "--key", "app").stdout
    assert "steps    1. projects: masks; request: runs before the request is sent, at most 5 s" in result
    assert "2. judge (for attempts at openai*): refuses; request: runs before the request is sent" in result
    assert "text arrives 100 characters later (hold: 100)" in result
    assert "3. wanted (if the request lists it): refuses; response: the first token waits" in result
    assert "lane     byte" in result
    other = invoke("explain", "gpt-5", "--config", path, "--key", "web").stdout
    assert "projects" not in other
    assert "steps    1. judge" in other


def test_explain_reports_the_lane_that_a_step_changes(file):
    path = file("  - {use: './steps.py:projects', action: mask}\n")
    result = invoke("explain", "gpt-5", "--config", path).stdout
    assert "lane     hub: projects may change the response, which is read and written in chat" in result


def test_steps_lists_kinds():
    result = invoke("steps")
    assert result.returncode == 0
    assert "pii       request            mask" in result.stdout
    assert "ENTRY POINT" in result.stdout or "No installed package has a step" in result.stdout


def test_exempt_lists_the_strings_that_no_step_sees():
    result = invoke("steps", "exempt", "--api", "chat")
    assert result.returncode == 0
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["chat", "model"] in lines
    assert {api for api, _ in lines} == {"chat"}
    assert not [path for _, path in lines if path.endswith(".content")]
    assert len(invoke("steps", "exempt").stdout.splitlines()) > len(lines)


REQUESTS = {
    "chat": {"messages": [{"role": "user", "content": "about apollo"}], "n": 1},
    "messages": {"max_tokens": 9, "system": "be kind", "messages": [{"role": "user", "content": "about apollo"}]},
    "responses": {"input": "about apollo"},
}


@pytest.mark.parametrize("api", REQUESTS)
def test_a_captured_request_is_tried_without_printing_its_texts(file, tmp_path, api):
    path = file("  - {use: './steps.py:projects', action: mask}\n  - {use: './steps.py:projects', name: later}\n")
    captured = tmp_path / "captured.json"
    captured.write_text(json.dumps({"model": "gpt-5", **REQUESTS[api]}))
    result = invoke("steps", "try", str(captured), "--config", path)
    assert result.returncode == 0
    assert result.stdout.split()[:2] == ["request:", "2" if api == "messages" else "1"]
    assert "projects  mask  project  " in result.stdout
    assert "6-12" in result.stdout
    assert "later" not in result.stdout  # it sees the mask
    assert "apollo" not in result.stdout + result.stderr
    assert "'apollo'" in invoke("steps", "try", str(captured), "--config", path, "--texts").stdout


def test_a_refusal_and_a_failure_are_reported_with_status_1(file, tmp_path):
    captured = tmp_path / "captured.json"
    captured.write_text(json.dumps({"model": "gpt-5", **REQUESTS["chat"]}))
    refused = invoke("steps", "try", str(captured), "--config", file("  - use: ./steps.py:projects\n"))
    assert refused.returncode == 1
    assert "The gateway would refuse this request, because of projects." in refused.stdout
    failed = invoke("steps", "try", str(captured), "--config", file("  - use: ./steps.py:crash\n"))
    assert failed.returncode == 1
    assert "crash  failed: it raised ValueError (steps.py, line" in failed.stdout
    assert "apollo" not in failed.stdout + failed.stderr


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (None, (), "cannot read"),
        ("no json", (), "cannot detect the API; set it with --api"),
        ('{"choices": [', ("--api", "chat"), "the JSON object is incomplete or invalid; give a request or a response"),
        ("no json", ("--api", "chat"), "neither JSON nor a stream of events; give a request or a response"),
        ('{"choices": 5}', ("--api", "chat"), "choices is not an array"),
        ('{"messages": [{"role": "user", "content": "a"}]}', ("--key", "ap"), "no client key 'ap'; did you mean app?"),
    ],
)
def test_an_unusable_file_or_key_is_a_message_with_status_2(file, tmp_path, content, options, message):
    captured = Path(tmp_path, "captured.json")
    if content is not None:
        captured.write_text(content)
    result = invoke("steps", "try", str(captured), "--config", file("  - use: ./steps.py:projects\n"), *options)
    assert (result.returncode, message in result.stderr) == (2, True)


def test_a_step_that_cannot_start_is_a_message_with_status_2(file, tmp_path):
    captured = tmp_path / "captured.json"
    captured.write_text(json.dumps({"model": "gpt-5", **REQUESTS["chat"]}))
    path = file("  - {use: './steps.py:unreachable', with: {url: words.example}}\n")
    result = invoke("steps", "try", str(captured), "--config", path)
    assert result.returncode == 2
    assert "steps[0].use: the step unreachable could not start: OSError (steps.py, line" in result.stderr
    assert "Traceback" not in result.stderr


def chat_response(*texts: str, **more: Any) -> dict[str, Any]:
    choices = [
        {"index": at, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        for at, text in enumerate(texts)
    ]
    return {"id": "c", "object": "chat.completion", "created": 1, "model": "gpt-5", "choices": choices, **more}


def chat_stream(*texts: str) -> str:
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "gpt-5"}
    chunks = [{"index": 0, "delta": {"content": text}, "finish_reason": None} for text in texts]
    ends = [{"index": 0, "delta": {}, "finish_reason": "stop"}]
    events = [f"data: {json.dumps({**head, 'choices': [one]})}\n\n" for one in (*chunks, *ends)]
    return "".join((*events, "data: [DONE]\n\n"))


MESSAGE = {
    "id": "m", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn", "stop_sequence": None,
    "content": [{"type": "text", "text": "about apollo"}], "usage": {"input_tokens": 1, "output_tokens": 1},
}  # fmt: skip


@pytest.mark.parametrize(
    ("content", "places"),
    [
        (json.dumps(chat_response("about apollo")), ["6-12"]),
        (json.dumps(chat_response("fine", "about apollo")), ["6-12"]),
        (json.dumps(chat_response("fine", unknown={"note": "apollo"})), ["0-6"]),
        (chat_stream("about ap", "oll", "o and apollo"), ["6-12", "17-23"]),
        (json.dumps(MESSAGE), ["6-12"]),
    ],
    ids=["complete", "second choice", "unknown member", "stream", "messages"],
)
def test_a_captured_response_is_tried(file, tmp_path, content, places):
    captured = tmp_path / "captured"
    captured.write_text(content)
    result = invoke("steps", "try", str(captured), "--config", file("  - use: ./steps.py:projects\n"))
    assert result.returncode == 1, result.stderr
    assert result.stdout.startswith("response: ")
    lines = [line.split() for line in result.stdout.splitlines() if line.startswith("  ")]
    assert [line[:3] + line[4:] for line in lines] == [["projects", "refuse", "project", place] for place in places]
    assert "The gateway would refuse this response, because of projects." in result.stdout
    assert "apollo" not in result.stdout + result.stderr


def test_a_recording_is_tried_with_its_request_and_response(file, tmp_path):
    folder = tmp_path / "openai_chat"
    folder.mkdir()
    (folder / "one.request.json").write_text(json.dumps({"model": "gpt-5", **REQUESTS["chat"]}))
    (folder / "one.response.sse").write_text(chat_stream("about apo", "llo"))
    path = file("  - {use: './steps.py:projects', action: report}\n")
    result = invoke("steps", "try", str(folder / "one.request.json"), "--config", path)
    assert result.returncode == 0, result.stderr
    assert [line for line in result.stdout.splitlines() if not line.startswith("  ")] == [
        "request: 1 text",
        "response: 1 text",
    ]
    assert result.stdout.count("projects  report  project") == 2


def test_a_check_without_variables_leaves_out_steps_that_need_them(file, tmp_path):
    (tmp_path / "secret").write_text("word")
    (tmp_path / "secret").chmod(0o600)
    steps = f"""  - {{use: './steps.py:Needs', with: {{word: $STEP_WORD}}}}
  - {{use: './steps.py:Needs', name: other, with: {{word: {{file: {tmp_path}/secret}}}}}}
"""
    path = file(steps)
    assert invoke("check", path, "--no-env").returncode == 0
    assert "STEP_WORD is not set" in invoke("check", path).stderr
    assert "has no function or class 'Needs'" in invoke("check", path, env={"STEP_WORD": "word"}).stderr


def install(folder: Path, name: str, *lines: str) -> None:
    """Write the metadata of a package with entry points."""
    place = folder / f"{name.replace('-', '_')}-1.2.dist-info"
    place.mkdir(parents=True)
    (place / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
    (place / "entry_points.txt").write_text("\n".join(("[trigate.steps]", *lines)))


def test_entry_points_of_installed_packages_are_steps(file, tmp_path, monkeypatch):
    installed = tmp_path / "installed"
    install(installed, "acme-guards", "acme-guard = acme_guards.steps:check", "pii = acme_guards.steps:check")
    (installed / "acme_guards").mkdir()
    (installed / "acme_guards" / "steps.py").write_text("async def check(check):\n    return []\n")
    monkeypatch.syspath_prepend(str(installed))
    listed = invoke("steps").stdout
    assert "acme-guard   acme_guards.steps:check  acme-guards 1.2" in listed
    assert listed.count("pii ") == 1  # a package cannot replace a built-in kind
    assert invoke("check", file("  - use: acme-guard\n")).returncode == 0
    assert "did you mean acme-guard?" in invoke("check", file("  - use: acme-gard\n")).stderr
    install(installed, "other-guards", "acme-guard = other_guards:check")
    assert "several packages have a step acme-guard" in invoke("check", file("  - use: acme-guard\n")).stderr
