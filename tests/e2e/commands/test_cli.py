"""The commands: what they print, where, and with which exit status."""

import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest

from gateway import __version__
from gateway.__main__ import main
from gateway.commands import terminal
from gateway.commands.help import GROUPS
from providers.catalog.price_list import source
from tests.support.command_line import COMMAND, Finished, environment, invoke, run, running_command
from tests.support.each_row import each_row
from tests.support.features import has_feature, needs_feature
from tests.support.harness import (
    PATIENCE,
    ROOT,
    START_SECONDS,
    STOP_SECONDS,
    Wire,
    eventually,
    free_port,
    port_is_free,
    post,
    request,
)
from tests.support.websocket_client import handshake

GOOD = """\
version: v0.3.0
model_providers:
  - model: openai/gpt-4o-mini
    access_key: $KEY_OF_OPENAI
  - model: anthropic/claude-sonnet-4-5
    access_key: sk-literal
    speaks: [messages]
  - model: vllm/*
    base_url: http://localhost:8000/v1
    headers: {x-tenant: secret-tenant}
"""
ENV = {"KEY_OF_OPENAI": "sk-from-the-environment"}
COMMANDS = ["serve", "check", "explain", "translate", "lint", "mock"]


@pytest.fixture
def folder(tmp_path):
    """Return an empty directory with a valid configuration."""
    (tmp_path / "trigate.yaml").write_text(GOOD)
    return tmp_path


# Messages


@each_row(
    "words",
    [
        ("doctor", "no-such-model"),
        ("init",),
        ("lint", "trigate.yaml"),
        ("serve", "--host", "192.0.2.7", "--open"),
        ("serve", "--record", "trigate.yaml/below"),
        ("translate", "trigate.yaml", "--from", "chat", "--to", "messages"),
    ],
)
def test_a_narrow_terminal_cuts_no_word_of_a_message(folder, monkeypatch, words):
    monkeypatch.setattr(terminal, "real_columns", lambda _: 44)
    found = invoke(*words, cwd=folder, env=ENV)
    assert found.returncode in (1, 2)
    lines = found.stderr.splitlines()
    assert len(lines) > 1
    assert [line for line in lines if len(line) > 44 and " " in line.strip()] == []


def test_commands_print_their_messages_with_say():
    """Other ways let a terminal cut words. Every command imports the listed modules, but not ``say``."""
    files = {path.name for path in (ROOT / "gateway").rglob("*.py") if "err=True" in path.read_text()}
    assert files == {"terminal.py", "help.py", "users_environment.py"}


def test_an_unknown_model_lists_the_known_ones(folder):
    for command in ("doctor", "explain"):
        found = invoke(command, "gpt-4o-mimi", cwd=folder, env=ENV)
        assert found.returncode == 2
        assert "has these models: openai/gpt-4o-mini, anthropic/claude-sonnet-4-5, vllm/*" in found.stderr


# Help


def test_help_groups_the_commands_and_cuts_no_sentence():
    for columns in ("60", "80", "120"):
        found = invoke("--help", env={"COLUMNS": columns})
        assert found.returncode == 0
        assert re.findall(r"^(\w.*):$", found.stdout, re.M) == [*GROUPS, "Options"]
        listed = re.findall(r"^  ([a-z]+)  ", found.stdout, re.M)
        assert listed == [name for names in GROUPS.values() for name in names if name in main.commands]
        assert "..." not in found.stdout.partition("\n")[2]
    assert {*listed} == {name for name, command in main.commands.items() if not command.hidden}


def test_the_help_of_each_command_shows_its_options_on_the_first_screen():
    for path, command in all_commands(main):
        lines = invoke(*path, "--help", env={"COLUMNS": "80"}).stdout.splitlines()
        assert lines[0].startswith(" ".join(["Usage: trigate", *path]))
        options = lines.index("Options:") if "Options:" in lines else 0
        assert len(lines) <= 24 or isinstance(command, click.Group) or options <= 8, path


@pytest.mark.parametrize(
    ("words", "instead"),
    [
        (("explain", "m", "--if", "*=overloaded"), "explain --if was removed: explain --url shows"),
        (("cache", "1.json", "2.json"), "cache FILE was removed: send the requests through a gateway"),
        (("cache", "--model", "m"), "cache --model was removed"),
        (("step", "test", "1.json"), "step was removed: use trigate steps try"),
    ],
)
def test_a_removed_option_or_command_states_what_replaces_it(words, instead):
    found = invoke(*words)
    assert found.returncode == 2
    assert instead in " ".join(found.stderr.split())


def all_commands(group, *path):
    for name, command in group.commands.items():
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from all_commands(command, *path, name)


@pytest.mark.process
def test_the_installed_command_and_the_module_are_the_same():
    script = os.path.join(os.path.dirname(sys.executable), "trigate")
    if not os.path.exists(script):
        pytest.skip("the package is not installed in this environment")
    found = subprocess.run([script, "--help"], env=environment(), text=True, capture_output=True, timeout=START_SECONDS)
    module = subprocess.run(
        [*COMMAND, "--help"], env=environment(), text=True, capture_output=True, timeout=START_SECONDS
    )
    assert found.stdout == module.stdout == run("--help").stdout


def test_version():
    assert invoke("--version").stdout == f"trigate, version {__version__}\nprices: {source()}\n"


@each_row(
    ("arguments", "says"),
    [
        (["serve", "--demo", "trigate.yaml"], "leave out FILE or --demo"),
        (["serve", "--demo", "--workers", "2"], "leave out --workers"),
        (["serve", "--pace", "1"], "add --demo"),
        (["serve", "--demo", "--pace", "-1"], "x>=0"),
        (["serve", "--port", "70000"], "65535"),
        (["serve", "--prot", "1"], "No such option"),
        (["explain", "m", "--api", "grpc"], "'responses'"),
        (["sevre"], "No such command"),
        (["check", "--strict", "--diff", "trigate.yaml"], "give only one"),
    ],
)
def test_a_wrong_command_line_exits_with_2_and_a_reason(arguments, says):
    found = invoke(*arguments)
    assert found.returncode == 2
    assert says in found.stderr
    assert found.stdout == ""


# Finding the configuration


def test_configurations_are_found_in_this_order(tmp_path):
    def config_name(*args: str, **env: str) -> str:
        return invoke("check", *args, cwd=tmp_path, env={**ENV, **env}).stdout.partition(":")[0]

    for name in ("plano_config.yaml", "config.yaml", "trigate.yaml", "other.yaml", "fifth.yaml"):
        (tmp_path / name).write_text(GOOD)
        if name in ("plano_config.yaml", "config.yaml", "trigate.yaml"):
            assert config_name() == name
    assert config_name(TRIGATE_CONFIG="other.yaml") == "other.yaml"
    assert config_name("fifth.yaml", TRIGATE_CONFIG="other.yaml") == "fifth.yaml"


@each_row("command", [["check"], ["serve"], ["explain", "m"]])
def test_a_missing_configuration_lists_the_searched_paths(tmp_path, command):
    found = invoke(*command, cwd=tmp_path)
    assert found.returncode == 1
    for words in ("$TRIGATE_CONFIG", "trigate.yaml, config.yaml, plano_config.yaml", "trigate serve --demo"):
        assert words in found.stderr


def test_a_config_from_a_pipe_is_read_once(folder):
    def through_a_pipe(*words: str) -> Finished:
        read, write = os.pipe()
        os.write(write, GOOD.replace("gpt-4o-mini", "gpt-4o").encode())
        os.close(write)
        try:
            return invoke(*words, f"/dev/fd/{read}", cwd=folder, env=ENV)
        finally:
            os.close(read)

    assert through_a_pipe("check").returncode == 0
    assert "gpt-4o-mini" in through_a_pipe("check", "trigate.yaml", "--diff").stdout
    served = through_a_pipe("serve")
    assert served.returncode == 1
    assert "expected a regular file" in served.stderr


@needs_feature("kept_ledger")
@needs_feature("admin")
@needs_feature("steps")
@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's devices")
@each_row(
    "words",
    [
        ["lint", "FILE"],
        ["translate", "FILE", "--from", "chat", "--to", "messages"],
        ["log", "some-id", "--log", "FILE"],
        ["load", "http://192.0.2.1", "--model", "m", "--requests", "FILE"],
        ["check", "--diff", "FILE"],
        ["serve", "--config", "FILE"],
        ["import", "FILE"],
        ["reconcile", "FILE"],
        ["keys", "import", "FILE"],
        ["steps", "try", "FILE"],
    ],
)
def test_an_endless_device_is_refused_in_one_line(tmp_path, words):
    storage = f"\nstored_keys: true\nstate_storage: {{type: sqlite, path: {tmp_path}/state}}\n"
    (tmp_path / "trigate.yaml").write_text(GOOD + storage)
    found = invoke(*(word.replace("FILE", "/dev/zero") for word in words), cwd=tmp_path, env=ENV)
    assert found.returncode in (1, 2)
    assert re.search("/dev/zero.* is a device", found.stderr, re.IGNORECASE)


@pytest.mark.process
def test_a_pipe_without_a_writer_ends_no_command_in_a_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    found = run("lint", "pipe", cwd=tmp_path)
    assert (found.returncode, found.stderr) == (2, "pipe: empty: give a captured stream or response\n")


# explain


@pytest.mark.parametrize(
    ("model", "api", "rows"),
    [
        ("gpt-4o-mini", "chat", {"lane     byte", "url      POST https://api.openai.com/v1/chat/completions",
                                 "authorization: Bearer ***", "target   openai/gpt-4o-mini (id gpt-4o-mini"}),
        ("gpt-4o-mini", "messages", {"lane     hub: translated to chat"}),
        ("gpt-4o-mini", "responses", {"lane     byte", "url      POST https://api.openai.com/v1/responses"}),
        ("claude-sonnet-4-5", "chat", {"lane     hub: translated to messages", "x-api-key: ***",
                                       "anthropic-version: 20", "url      POST https://api.anthropic.com/v1/messages"}),
        ("vllm/anything", "chat", {"url      POST http://localhost:8000/v1/chat/completions", "x-tenant: ***"}),
    ],
)  # fmt: skip
def test_explain_shows_where_a_request_goes_and_no_secret(folder, model, api, rows):
    found = invoke("explain", model, "--api", api, cwd=folder, env=ENV)
    assert found.returncode == 0, found.stderr
    for row in rows:
        assert row in found.stdout
    for secret in (*ENV.values(), "sk-literal", "secret-tenant"):
        assert secret not in found.stdout + found.stderr


# serve


@pytest.mark.process
def test_serve_prints_its_address_its_models_and_an_example(folder):
    with running_command("serve", "--port", "0", cwd=folder, env=ENV) as process:
        lines = process.banner.splitlines()
        assert re.fullmatch(r"trigate \S+ is listening on http://127\.0\.0\.1:\d+", lines[0])
        assert lines[1] == "models  openai/gpt-4o-mini, anthropic/claude-sonnet-4-5"
        assert lines[2].startswith(f'try     curl -N {process.url}/v1/chat/completions -d \'{{"model"')
        if has_feature("live_view"):
            assert process.said.readline() == f"watch   {process.url}/ui\n"
        assert "\x1b" not in process.banner
        assert process.stop() == 0


@pytest.mark.process
def test_the_example_of_serve_sends_a_key_if_the_gateway_requires_one(folder):
    file = folder / "trigate.yaml"
    file.write_text(f"{file.read_text()}\nclient_keys: [{{name: app, key: {'k' * 32}}}]\n")
    with running_command("serve", "--port", "0", cwd=folder, env=ENV) as process:
        example = process.banner.splitlines()[2].removeprefix("try     ")
        assert ' -H "Authorization: Bearer $TRIGATE_API_KEY" -d ' in example
        model = "no-such-model"
        command = example.replace("openai/gpt-4o-mini", model)
        for key, words in (("k" * 32, model), ("wrong", "key")):
            shown = subprocess.run(
                ["sh", "-c", command], env={**ENV, "TRIGATE_API_KEY": key}, capture_output=True, text=True
            )
            assert words in json.loads(shown.stdout)["error"]["message"]


@pytest.mark.process
def test_serve_on_all_addresses_prints_a_usable_url_and_warns(folder):
    with running_command("serve", "--host", "0.0.0.0", "--port", "0", "--open", cwd=folder, env=ENV) as process:
        assert process.url.startswith("http://127.0.0.1:")
        assert "all other addresses of this machine" in process.banner
        assert f"curl -N {process.url}/" in process.banner
        assert request(process.url, "GET", "/healthz").status == 200
        eventually(lambda: any("can use the provider keys" in line for line in process.log))


@pytest.mark.process
def test_a_flag_outranks_the_listeners_of_the_config(folder):
    one, two, three = free_port(), free_port(), free_port()
    listeners = f"listeners: [{{port: {one}}}, {{name: b, port: {two}, address: localhost}}]\n"
    (folder / "trigate.yaml").write_text(GOOD + listeners)
    with running_command("serve", cwd=folder, env=ENV) as process:
        for port in (one, two):
            assert f":{port}" in process.banner
            assert request(f"http://127.0.0.1:{port}", "GET", "/readyz").status == 200
    with running_command("serve", "--port", str(three), "--host", "127.0.0.1", cwd=folder, env=ENV) as process:
        assert process.url == f"http://127.0.0.1:{three}"
        assert process.banner.splitlines()[0].count("http://") == 1


@each_row("command", [["serve"], ["serve", "--demo"], ["mock"]])
def test_a_taken_port_is_reported_in_one_line(folder, command):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        found = invoke(*command, "--port", str(taken.getsockname()[1]), cwd=folder, env=ENV)
    assert found.returncode == 1
    *_, line = found.stderr.splitlines()
    assert re.fullmatch(
        r"cannot listen on 127\.0\.0\.1:\d+: .*another process is listening there.* \(.*--host or .*\)", line
    )
    assert "Traceback" not in found.stderr


@pytest.mark.parametrize("command", [["serve"], ["serve", "--workers", "2"]], ids=" ".join)
def test_serve_reports_mistakes_and_does_not_start(folder, command):
    found = invoke(*command, cwd=folder)
    assert found.returncode == 1
    assert "the environment variable KEY_OF_OPENAI is not set" in found.stderr
    assert found.stdout == ""


@pytest.mark.process
@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.soak)], ids=lambda number: number.name
)
def test_a_signal_lets_a_stream_finish_and_serve_exits_with_0(number):
    with running_command("serve", "--demo", "--port", "0", "--pace", "0.002") as process:
        body = {"model": "demo-messages", "stream": True, "messages": [{"role": "user", "content": "Hello"}]}
        with Wire.connect(int(process.url.rpartition(":")[2])) as client:
            client.send(post("/v1/chat/completions", body, {"connection": "close"}))
            client.read_until(b"data: ")
            assert process.stop(number) == 0
            assert b"data: [DONE]" in client.read_to_end()
        eventually(lambda: any("draining" in line for line in process.log))


HEEDING_SIGINT = (
    "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])"
)


@pytest.mark.process
def test_a_signal_during_the_start_prints_no_traceback():
    # A shell without job control ignores SIGINT in its background processes, and their children inherit this.
    command = [sys.executable, "-c", HEEDING_SIGINT, *COMMAND, "serve", "--demo", "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, env=environment(), stderr=subprocess.PIPE) as process:
        maps = Path(f"/proc/{process.pid}/maps")
        eventually(lambda: "libssl" in maps.read_text(), what="the middle of its imports")
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=STOP_SECONDS)[1]
    assert b"Traceback" not in said
    ends = {1: "in its imports", -signal.SIGINT: "there, too", 128 + signal.SIGINT: "behind them", 0: "it has drained"}
    assert process.returncode in ends


@pytest.mark.soak
@pytest.mark.process
def test_a_signal_after_the_drain_prints_no_traceback():
    """The worker's tasks run in a nursery, so the interrupt arrives in an exception group."""
    script = """
import signal, trio
from gateway.commands.serve import run_trio

signal.signal(signal.SIGINT, signal.SIG_DFL)  # tests in the background of a shell inherit that it is ignored

async def end():
    signal.raise_signal(signal.SIGINT)
    await trio.sleep_forever()

async def main():
    async with trio.open_nursery() as nursery:
        nursery.start_soon(end)

run_trio(main)
"""
    command = [sys.executable, "-c", script]
    found = subprocess.run(command, env=environment(), capture_output=True, timeout=START_SECONDS)
    assert (found.returncode, found.stderr) == (128 + signal.SIGINT, b"")


# Where the output goes


@pytest.mark.process
@pytest.mark.parametrize(("encoding", "arrow"), [("utf-8", "→".encode()), ("latin-1", b"?")])
def test_a_report_is_printed_in_the_encoding_of_the_terminal(tmp_path, encoding, arrow):
    (file := tmp_path / "t.yaml").write_text(
        "version: v0.4.0\nmodel_providers: [{model: openai/a, access_key: k}]\nmodel_aliases: {fast: {target: a}}\n"
    )
    command = [*COMMAND, "explain", "fast", "--config", str(file)]
    said = subprocess.run(command, cwd=ROOT, env=environment({"PYTHONIOENCODING": encoding}), capture_output=True)
    assert not said.returncode, said.stderr
    assert b"(alias fast %s a" % arrow in said.stdout


@pytest.mark.process
@pytest.mark.parametrize(
    "redirection",
    [
        *(pytest.param(one, marks=pytest.mark.soak) for one in (">&-", "2>&-", ">/dev/full 2>/dev/full", "| true")),
        "<&- >&- 2>&-",
    ],
)
def test_serve_continues_if_its_output_is_closed(redirection):
    port = free_port()
    words = f"{' '.join(COMMAND)} serve --demo --pace 0 --port {port} {redirection} & echo $!; wait"
    shell = subprocess.Popen(["bash", "-c", words], cwd=ROOT, env=environment(), stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True, start_new_session=True)  # fmt: skip
    try:
        eventually(lambda: answers(port), START_SECONDS, "an answer")
        body = {"model": "demo", "messages": [{"role": "user", "content": "Hello"}]}
        for _ in range(2):  # writing the log line of the first request fails
            assert request(f"http://127.0.0.1:{port}", "POST", "/v1/chat/completions", body).status == 200
    finally:
        os.killpg(shell.pid, signal.SIGTERM)  # the session of this shell alone
        _, complaints = shell.communicate(timeout=STOP_SECONDS)
    assert "Traceback" not in complaints


@pytest.mark.process
@pytest.mark.parametrize("command", ["check", pytest.param("serve", marks=pytest.mark.soak)])
def test_a_current_folder_that_was_removed_is_reported_in_one_line(tmp_path, command):
    words = f"mkdir gone && cd gone && rmdir ../gone && exec {' '.join(COMMAND)} {command}"
    found = subprocess.run(["sh", "-c", words], cwd=tmp_path, env=environment(), capture_output=True, text=True,
                           timeout=START_SECONDS, check=False)  # fmt: skip
    expected = "trigate: the current folder does not exist any more: change to another one\n"
    assert (found.returncode, found.stderr) == (1, expected)


@pytest.mark.process
@pytest.mark.parametrize(
    "line", ["--version", "import litellm.yaml", pytest.param("mock --faults", marks=pytest.mark.soak)]
)
def test_an_output_that_is_full_is_reported_in_one_line(tmp_path, line):
    (tmp_path / "litellm.yaml").write_text("model_list: [{model_name: a, litellm_params: {model: openai/gpt-4o}}]")
    with open("/dev/full", "w") as full:
        found = subprocess.run([*COMMAND, *line.split()], cwd=tmp_path, env=environment(), stdout=full,
                               stderr=subprocess.PIPE, text=True, timeout=START_SECONDS, check=False)  # fmt: skip
    expected = "trigate: the output cannot be written: no space left on device\n"
    assert (found.returncode, found.stderr) == (1, expected)


def answers(port: int) -> bool:
    try:
        return request(f"http://127.0.0.1:{port}", "GET", "/healthz", timeout=5).status == 200
    except OSError:
        return False


@pytest.mark.soak
@pytest.mark.process
def test_a_terminal_gets_colour_and_readable_lines():
    shown = run_demo_on_terminal()
    assert "\x1b[1mtrigate" in shown
    assert "\x1b[32m200\x1b[0m chat demo → demo/mock-large " in shown
    assert '{"event"' not in shown


def run_demo_on_terminal() -> str:
    """Run the demo on a terminal with one request until Ctrl-C, and return the output."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen([*COMMAND, "serve", "--demo", "--port", "0", "--pace", "0"], cwd=ROOT,
                               env=environment({"TERM": "xterm"}), stdin=theirs, stdout=theirs, stderr=theirs,
                               start_new_session=True)  # fmt: skip
    os.close(theirs)
    shown = b""
    try:
        shown = read_until(ours, rb"listening on \S*?(http://127[0-9.:]+).*Hello", shown)
        url = re.search(rb"(http://127[0-9.:]+)", shown)[1].decode()
        request(url, "POST", "/v1/chat/completions", {"messages": [{"role": "user", "content": "Hello"}]})
        shown = read_until(ours, rb"[0-9]s stop", shown)
        process.send_signal(signal.SIGINT)
        assert process.wait(STOP_SECONDS) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        os.close(ours)
    return shown.decode()


def read_until(fd: int, pattern: bytes, shown: bytes) -> bytes:
    deadline = time.monotonic() + PATIENCE
    while not re.search(pattern, shown, re.S):
        assert select.select([fd], [], [], max(0, deadline - time.monotonic()))[0], shown
        shown += os.read(fd, 65536)
    return shown


# The ASGI factory


@needs_feature("model_lists")
@pytest.mark.process
def test_hypercorn_serves_the_factory(folder):
    port = free_port()
    command = [sys.executable, "-m", "hypercorn", "-k", "trio", "-b", f"127.0.0.1:{port}", "gateway.asgi:application()"]
    process = subprocess.Popen(command, cwd=folder, env=environment(ENV), stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True)  # fmt: skip
    try:
        eventually(lambda: answers(port), START_SECONDS, "an answer from hypercorn")
        listed = request(f"http://127.0.0.1:{port}", "GET", "/v1/models").json["data"]
        assert [model["id"] for model in listed] == ["openai/gpt-4o-mini", "anthropic/claude-sonnet-4-5"]
        asked = {"model": "openai/sk-somebodys-key", "messages": []}
        request(f"http://127.0.0.1:{port}", "POST", "/v1/chat/completions", asked)
    finally:
        process.terminate()
        said, _ = process.communicate(timeout=STOP_SECONDS)
    assert "Logging error" not in said
    assert "sk-somebodys-key" not in said
    assert '"model":"openai/[redacted]"' in said


@pytest.mark.process
def test_hypercorn_without_trio_states_the_option_once_and_responds_with_it(folder):
    port = free_port()
    command = [sys.executable, "-m", "hypercorn", "-b", f"127.0.0.1:{port}", "gateway.asgi:application()"]
    process = subprocess.Popen(command, cwd=folder, env=environment(ENV), stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True)  # fmt: skip
    try:
        eventually(lambda: not port_is_free(port), START_SECONDS, "the listener of hypercorn")
        replies = [request(f"http://127.0.0.1:{port}", "GET", path) for path in ("/healthz", "/v1/models")]
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as websocket:
            websocket.sendall(handshake())
            assert websocket.recv(12) == b"HTTP/1.1 403"
    finally:
        process.terminate()
        said, _ = process.communicate(timeout=STOP_SECONDS)
    assert [(reply.status, b"-k trio" in reply.body) for reply in replies] == [(500, True)] * 2
    assert said.count("-k trio") == 1
    assert "Traceback" not in said
