"""``trigate cache`` over requests on disk: two turns, and the turns of a recording."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from streams.events import APIS
from tests.support.cached_prompts import SYSTEM, TARGETS, TOOL_NAMES, request_of, tool_of
from tests.support.command_line import invoke
from tests.support.each_row import each_row
from tests.support.harness import ROOT

CLAUDE = "anthropic/claude-sonnet-4-6"


def _compare(folder: Path, before: dict[str, Any], after: dict[str, Any], *options: str) -> list[str]:
    for name, body in (("1.json", before), ("2.json", after)):
        (folder / name).write_text(json.dumps(body))
    finished = invoke("cache", "1.json", "2.json", *options, cwd=folder)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.splitlines()


def test_two_requests_with_another_order_of_members(tmp_path: Path):
    tools = [tool_of("messages", name) for name in TOOL_NAMES]
    schema = {"properties": {"path": {"description": "The path for search", "type": "string"}}, "type": "object"}
    other = [*tools[:3], tool_of("messages", "search", schema=schema)]
    before, after = request_of("messages", 60, tools=tools), request_of("messages", 61, tools=other)
    differs, could, lost = _compare(tmp_path, before, after, "--model", CLAUDE)
    assert differs == "differs  tools[3].input_schema: respelled (member order), characters 2-92"
    assert could == "could    about 13,886 tokens; readable 0: no boundary before tools[3]"
    assert lost == "lost     0.0479 usd on each such turn"


@each_row("api", APIS)
def test_a_clock_in_two_requests_of_every_api(tmp_path: Path, api: str):
    provider, model = TARGETS[api]
    before, after = (request_of(api, 60, system=f"It is 09:14:0{second} now. " + SYSTEM) for second in (1, 2))
    differs, could, *_ = _compare(tmp_path, before, after, "--model", f"{provider}/{model}")
    assert differs.endswith(": changed (time), characters 13-14")
    assert could.startswith("could    about 1")


def test_the_model_of_the_request_is_the_default(tmp_path: Path):
    before, after = (request_of("messages", rounds) | {"model": "claude-sonnet-4-6"} for rounds in (60, 61))
    lines = _compare(tmp_path, before, after)
    assert lines[0] == "differs  nowhere: the second request begins with all of the first"
    assert len(lines) == 2
    before["system"][0]["text"] = "Another text. " + SYSTEM
    assert _compare(tmp_path, before, after)[2].startswith("lost     0.04")


def test_a_request_without_marks_is_explained(tmp_path: Path):
    before = json.loads(json.dumps(request_of("messages", 60)).replace(', "cache_control": {"type": "ephemeral"}', ""))
    lines = _compare(tmp_path, before, before, "--model", CLAUDE)
    assert lines[1] == "could    about 13,886 tokens; readable 0: the request has no marks"


@each_row(
    ("content", "files", "message"),
    [
        ("nonsense", ("1.json", "1.json"), "expected a request in JSON"),
        ("[]", ("1.json", "1.json"), "expected a request in JSON"),
        ("{}", ("1.json", "1.json"), "found no messages"),
        *(
            (None, files, "trigate cache: ")
            for files in (("1.json",), ("1.json", "2.json", "3.json"), ("1.json", "2.json"))
        ),
        (None, (".",), "found no recorded requests"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: str | None, files: tuple[str, ...], message: str):
    (tmp_path / "1.json").unlink(missing_ok=True)
    if content is not None:
        (tmp_path / "1.json").write_text(content)
    finished = invoke("cache", *files, cwd=tmp_path)
    assert finished.returncode == 2
    assert message in finished.stderr
    assert content is None or "1.json" in finished.stderr
    assert "Traceback" not in finished.stderr


def _record(folder: Path, name: str, at: float, body: dict[str, Any], usage: dict[str, int]) -> None:
    message = {
        "id": name, "type": "message", "role": "assistant", "model": "claude-sonnet-4-6", "stop_reason": "end_turn",
        "content": [{"type": "text", "text": "Done."}], "usage": usage,
    }  # fmt: skip
    folder = folder / "anthropic_messages"
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.request.json").write_text(json.dumps(body | {"model": "claude-sonnet-4-6"}))
    (folder / f"{name}.response.json").write_text(json.dumps(message))
    (folder / f"{name}.meta.json").write_text(
        json.dumps({"status": 200, "began": at, "content_type": "application/json", "path": "/v1/messages"})
    )


def test_the_turns_of_a_recording(tmp_path: Path):
    usage = {
        "input_tokens": 10,
        "cache_read_input_tokens": 0,
        "cache_creation_input_tokens": 20_000,
        "output_tokens": 1,
    }
    _record(tmp_path, "one", 100.0, request_of("messages", 60), usage)
    again = {**usage, "cache_read_input_tokens": 20_000, "cache_creation_input_tokens": 300}
    _record(tmp_path, "two", 130.0, request_of("messages", 61), again)
    broken = {**usage, "cache_creation_input_tokens": 20_700}
    _record(tmp_path, "three", 160.0, request_of("messages", 62, system="It is 9:14. " + SYSTEM), broken)
    finished = invoke("cache", str(tmp_path))
    assert finished.returncode == 0, finished.stderr
    lines = finished.stdout.splitlines()
    assert [line for line in lines if not line.startswith(" ")] == [
        "one  20,010 tokens, a first turn", "two  20,310 tokens", "three  20,710 tokens",
    ]  # fmt: skip
    assert lines[1:4] == [
        "two  20,310 tokens",
        "  differs  nowhere: the second request begins with all of the first",
        "  could    20,010 tokens; readable 20,010",
    ]
    assert lines[-4:] == [
        "  differs  system[0]: changed (time), characters 0-12",
        "  could    20,310 tokens; readable 0: no boundary before system[0]",
        "  read     0 tokens; missed 20,310: system",
        "  lost     0.0701 usd on each such turn",
    ]


def test_each_turn_has_the_price_of_its_hour(tmp_path: Path):
    """DeepSeek's models cost half from 16:30 to 0:30 UTC."""
    usage = {"input_tokens": 20_000, "cache_read_input_tokens": 0, "output_tokens": 1}
    hour, day = 3600.0, 86_400.0
    for number, at in enumerate((12 * hour, 12 * hour + 60, 20 * hour, day + 12 * hour)):
        system = f"It is {number}:14. " + SYSTEM
        _record(tmp_path, str(number), at, request_of("messages", 60 + number, system=system), usage)
    finished = invoke("cache", str(tmp_path), "--model", "deepseek/deepseek-chat")
    assert finished.returncode == 0, finished.stderr
    lost = [line.split()[1] for line in finished.stdout.splitlines() if line.startswith("  lost")]
    assert lost == ["0.0040", "0.0020", "0.0040"]


@pytest.mark.process
def test_a_reader_that_leaves_is_no_error(tmp_path: Path):
    usage = {"input_tokens": 10, "output_tokens": 1}
    for number in range(2):
        _record(tmp_path, str(number), 100.0 + number, request_of("messages", 60 + number), usage)
    read, write = os.pipe()
    os.close(read)
    with open(write, "wb") as closed:
        command = [sys.executable, "-m", "gateway", "cache", str(tmp_path)]
        done = subprocess.run(command, stdout=closed, stderr=subprocess.PIPE, cwd=ROOT)
    assert done.stderr == b""
