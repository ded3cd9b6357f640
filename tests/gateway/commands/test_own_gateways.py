"""The gateways that a user runs: their registry, and the commands that show, reload and stop them."""

import json
import os
import re
import signal

import pytest

from gateway.commands.registry import registered
from gateway.config_files.loading import load
from tests.support.command_line import invoke as trigate
from tests.support.command_line import running_command
from tests.support.harness import free_port, request

pytestmark = pytest.mark.process

FILE = """\
version: v0.4.0
listeners: [{{type: model, name: m, address: 127.0.0.1, port: {port}}}]
model_providers: [{{model: vllm/a, base_url: 'http://127.0.0.1:9/v1', price: free}}]
state_storage: {{type: sqlite, path: {folder}/state.sqlite}}
"""


@pytest.fixture
def env(home):
    """Return the environment of a user with a configuration."""
    folder = home / ".config/trigate"
    folder.mkdir(parents=True)
    (folder / "trigate.yaml").write_text(FILE.format(port=free_port(), folder=home))
    return {"HOME": str(home), "XDG_CONFIG_HOME": "", "XDG_STATE_HOME": str(home / "state")}


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_gateway_is_shown_reloaded_and_stopped_from_every_directory(home, env, workers):
    (home / "project").mkdir()
    file = home / ".config/trigate/trigate.yaml"
    with running_command("serve", "--workers", workers, cwd=home, env=env) as served:
        shown = trigate("status", cwd=home / "project", env=env)
        assert (shown.returncode, shown.stderr) == (0, "")
        lines = dict(line.strip().split(maxsplit=1) for line in shown.stdout.splitlines()[1:])
        assert shown.stdout.startswith(f"trigate 0.3.0 on {served.url}, process {served.process.pid}\n")
        assert lines["file"] == "~/.config/trigate/trigate.yaml"
        assert lines["log"] == "a pipe or /dev/null"
        assert lines["streams"].startswith("0 running")
        assert (lines["targets"], lines["spent"]) == ("available", "$0.00 today")

        file.write_text(file.read_text() + "budgets: [5 usd/day]\n")
        os.utime(file, (2**32, 2**32))
        assert "changed since, so run trigate reload" in trigate("status", cwd=home, env=env).stdout
        good = trigate("reload", cwd=home / "project", env=env)
        assert (good.returncode, good.stderr) == (0, "")
        assert good.stdout == "reloaded ~/.config/trigate/trigate.yaml: ~ budgets none → 5 usd/day\n"

        file.write_text(file.read_text().replace("model_providers", "model_provider"))
        bad = trigate("reload", cwd=home, env=env)
        assert (bad.returncode, bad.stdout) == (1, "")
        assert "unknown key; did you mean model_providers?" in bad.stderr
        assert "keeps its previous configuration" in bad.stderr
        assert "failed: " in trigate("status", cwd=home, env=env).stdout

        log = trigate("logs", cwd=home, env=env)
        assert log.returncode == 1
        assert f"The log of the gateway on {served.url}: a pipe or /dev/null\nTo keep it" in log.stderr

        file.write_text(file.read_text().replace("model_provider:", "model_providers:"))
        stopped = trigate("stop", cwd=home, env=env)
        assert (stopped.returncode, stopped.stdout) == (0, f"stopped the gateway on {served.url}\n")
        assert served.process.wait(30) == 0
    assert list((home / "state/trigate/gateways").iterdir()) == []
    gone = trigate("stop", cwd=home, env=env)
    assert gone.returncode == 3
    assert "No gateway of yours is running: run trigate serve" in gone.stderr


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_path_of_a_file_may_have_any_bytes(home, env, workers):
    folder = home / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    (folder / "trigate.yaml").write_text(FILE.format(port=free_port(), folder=home))
    with running_command("serve", "--workers", workers, cwd=folder, env=env) as served:
        shown = trigate("status", cwd=home, env=env)
        assert (shown.returncode, shown.stderr) == (0, "")
        assert re.search(r"^  file +~/caf\ufffd/trigate\.yaml$", shown.stdout, re.MULTILINE)
        done = trigate("reload", cwd=home, env=env)
        assert (done.returncode, done.stdout) == (0, "reloaded ~/caf\ufffd/trigate.yaml: no changes\n")
        stopped = trigate("stop", cwd=home, env=env)
        assert (stopped.returncode, stopped.stdout) == (0, f"stopped the gateway on {served.url}\n")


def test_one_of_several_gateways_is_chosen_by_its_port_or_its_configuration(home, env):
    with (
        running_command("serve", cwd=home, env=env) as own,
        running_command("serve", "--demo", "--port", "0", env=env) as demo,
    ):
        assert trigate("status", cwd=home, env=env).stdout.count("process") == 2
        assert trigate("reload", cwd=home, env=env).returncode == 0, "the one whose file serve would use here"
        there = {**env, "XDG_CONFIG_HOME": str(home / "none")}
        which = trigate("stop", cwd=home, env=there)
        assert which.returncode == 2
        assert f"{own.url} (process {own.process.pid}), {demo.url} (process {demo.process.pid})" in which.stderr
        port = demo.url.rpartition(":")[2]
        assert trigate("reload", port, cwd=home, env=there).stderr == "The demo has no configuration to reload.\n"
        assert trigate("stop", port, cwd=home, env=there).stdout == f"stopped the gateway on {demo.url}\n"
        assert trigate("stop", "1", cwd=home, env=there).returncode == 2
        assert trigate("status", cwd=home, env=env).stdout.count("process") == 1


def test_no_process_is_signalled_that_only_has_the_number_of_a_dead_gateway(home, env):
    """The number may belong to any process by then: here it is the test's own."""
    with running_command("serve", cwd=home, env=env) as served:
        (entry,) = (home / "state/trigate/gateways").iterdir()
        text = entry.read_bytes().replace(str(served.process.pid).encode(), str(os.getpid()).encode())
        served.process.kill()
    entry.rename(entry.with_name(f"{os.getpid()}.json"))
    entry.with_name(f"{os.getpid()}.json").write_bytes(text)
    received = []
    before = signal.signal(signal.SIGTERM, lambda number, _: received.append(number))
    try:
        assert trigate("stop", cwd=home, env=env).returncode == 3
    finally:
        signal.signal(signal.SIGTERM, before)
    assert received == []
    assert list(entry.parent.iterdir()) == [], "its entry is deleted"


def test_a_log_in_the_journal_is_shown_by_journalctl(home, env, monkeypatch):
    """systemd identifies the stream that it connects to standard error."""
    found = os.fstat(2)
    monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
    monkeypatch.setenv("XDG_STATE_HOME", env["XDG_STATE_HOME"])
    with registered(load(home / ".config/trigate/trigate.yaml", {}), ["http://127.0.0.1:12000"]):
        (entry,) = (home / "state/trigate/gateways").iterdir()
        log = json.loads(entry.read_bytes())["log"]
    assert re.fullmatch(r"journalctl (--user )?(-u \S+\.service|_PID=[0-9]+)", log)


def test_a_folder_that_cannot_be_written_stops_no_gateway(home, env):
    with running_command("serve", cwd=home, env={**env, "XDG_STATE_HOME": "/dev/null"}) as served:
        assert trigate("status", cwd=home, env=env).returncode == 3
        assert f"the one on {served.url} belongs to another user" in trigate("stop", cwd=home, env=env).stderr


def test_a_command_without_a_file_reports_that_the_running_demo_has_none(home, env):
    (home / ".config/trigate/trigate.yaml").unlink()
    with running_command("serve", "--demo", "--port", "0", cwd=home, env=env) as served:
        for words in (("explain", "demo", "--url", served.url), ("costs",)):
            found = trigate(*words, cwd=home, env=env)
            assert found.returncode == 1
            assert f"\nThe demo on {served.url} has none either: this command needs one.\n" in found.stderr
    assert "The demo" not in trigate("costs", cwd=home, env=env).stderr


def test_an_unavailable_wildcard_has_one_row_for_all_its_models(home, env):
    with running_command("serve", "--demo", "--port", "0", cwd=home, env=env) as served:
        for model in ("fault/gone", "fault/500", "fault/401"):
            question = {"model": model, "messages": [{"role": "user", "content": "Hello"}]}
            request(served.url, "POST", "/v1/chat/completions", question)
        rows = trigate("status", cwd=home, env=env).stdout.partition("  targets   ")[2].splitlines()
    assert [re.sub(r" for .*? \(", " (", row.strip()) for row in rows] == ["fault/*: unavailable (credential)"], rows


def test_connect_finds_the_only_gateway_of_the_user_on_any_port(home, env):
    """It printed the settings of the demo's usual port, while ``trigate status`` showed this gateway."""
    (home / ".config/trigate/trigate.yaml").unlink()
    with running_command("serve", "--demo", "--port", "0", cwd=home, env=env) as served:
        found = trigate("connect", "claude", cwd=home, env=env)
        assert f'"ANTHROPIC_BASE_URL": "{served.url}"' in found.stdout
        assert f"The gateway on {served.url} serves" in found.stderr
        with running_command("serve", "--demo", "--port", "0", cwd=home, env=env):
            assert served.url not in trigate("connect", "claude", cwd=home, env=env).stdout
