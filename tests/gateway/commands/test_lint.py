"""``trigate lint``: what it prints and how it exits."""

import io
import json
import sys

import pytest

from gateway.__main__ import main
from gateway.commands.lint import run
from streams import sse
from tests.support.command_line import invoke
from tests.support.each_row import each_row

HEAD = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 5, "model": "m"}


def chunk(delta, reason=None):
    return sse.data(HEAD | {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]})


GOOD = chunk({"role": "assistant", "content": ""}) + chunk({"content": "Hi"}) + chunk({}, "stop") + b"data: [DONE]\n\n"
ROLES = GOOD.replace(b'{"content":"Hi"}', b'{"role":"assistant","content":"Hi"}')
FAILED = chunk({"role": "assistant"}) + sse.data(
    {"error": {"message": "no", "type": "server_error", "param": None, "code": None}}
)


@pytest.fixture
def lint(tmp_path, capsys):
    """Return a function that lints a body and returns the exit status, standard output and standard error."""

    def lint(body, api=None, tolerant=False, as_json=False):
        path = tmp_path / "answer.sse"
        path.write_bytes(body)
        with path.open("rb") as file:
            status = run(file, api, tolerant, as_json)
        said = capsys.readouterr()
        return status, said.out.replace(f"{tmp_path}/", ""), said.err

    return lint


@each_row(
    ("body", "options", "status", "says"),
    [
        (GOOD, {}, 0, "answer.sse: a chat stream of 4 events, well formed; it is complete\n"),
        (b"data: [DONE]\n\n", {"api": "chat"}, 1, ": a chat stream of 1 event breaks "),
        (FAILED, {}, 0, "it ends with an error"),
        (ROLES.replace(b"\n", b"\r\n"), {}, 1, "answer.sse:3:"),
        (ROLES.replace(b"\n", b"\r"), {}, 1, "answer.sse:3:"),
        (ROLES, {"tolerant": True}, 0, "waived   chat.role.once"),
        (GOOD[: len(GOOD) // 2], {}, 1, "it is incomplete"),
        (b'{"object": "chat.completion", "id": 1}', {}, 1, "a chat response breaks chat.whole.shape"),
        (GOOD, {"api": "messages"}, 1, "breaks messages."),
    ],
)
def test_the_verdict_is_the_exit_status_and_is_printed(lint, body, options, status, says):
    found, out, err = lint(body, **options)
    assert (found, err) == (status, "")
    assert says in out


def test_the_report_of_a_broken_stream_has_file_line_event_and_rule(lint):
    status, out, _ = lint(ROLES)
    assert status == 1
    first, *rest = out.splitlines()
    assert first.startswith("answer.sse:3: a chat stream of 4 events breaks chat.role.once, in event 2 (byte ")
    assert [line.split()[0] for line in rest] == ["found", "expected", "source"]
    assert "no later chunk has a role" in out
    assert "Portkey-AI/gateway#1000" in out


def test_the_json_output_contains_the_whole_verdict(lint):
    status, out, _ = lint(ROLES, as_json=True)
    verdict = json.loads(out)
    assert status == 1
    assert verdict["broken"].pop("found")
    assert verdict["broken"] == {
        "rule": "chat.role.once",
        "event": 2,
        "offset": ROLES.index(b"data:", 5),
        "line": 3,
        "want": "no later chunk has a role",
        "source": "Portkey-AI/gateway#1000",
    }
    assert (verdict["api"], verdict["streamed"], verdict["outcome"], verdict["events"]) == ("chat", True, "complete", 4)
    good = json.loads(lint(GOOD, as_json=True)[1])
    assert good["broken"] is None


def test_an_unknown_api_exits_with_2_and_advice(lint):
    status, out, err = lint(b"data: {}\n\n")
    assert (status, out) == (2, "")
    assert "--api" in err


def test_a_file_may_be_missing_or_standard_input(tmp_path, monkeypatch, capsys):
    missing = invoke("lint", str(tmp_path / "nothing"))
    assert (missing.returncode, "No such file or directory" in missing.stderr) == (2, True)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(GOOD)))
    with pytest.raises(SystemExit) as ended:
        main(["lint", "-"])
    assert (ended.value.code, capsys.readouterr().out[:29]) == (0, "standard input: a chat stream")


@pytest.mark.parametrize("api", [None, "chat", "messages", "responses"])
@pytest.mark.parametrize(
    "body",
    [
        b"", b"\xff\xfe\x00\x9b", b"[" * 100_000, b'data: {"a":' * 9000 + b"\n\n", GOOD[:70], GOOD[:-20],
        b"data: 1e999\n\n",
        b'data: {"id": "\\ud800"}\n\n', b'data: {"type": 5, "choices": {}}\n\n', b"event: \xff\ndata: \xff\n\n",
    ],
)  # fmt: skip
def test_a_damaged_file_is_judged_or_reported_without_a_traceback(lint, api, body):
    for as_json in (True, False):
        status, out, err = lint(body, api, as_json=as_json)
        assert status in (1, 2)
        assert bool(out) == (status == 1)
        assert bool(err) == (status == 2)
