"""``trigate connect CLIENT --`` starts the user's gateway if none listens, or ends with advice."""

import pytest

from gateway.commands import running_gateways
from tests.support.certificates import LOOPBACK, Authority
from tests.support.command_line import invoke as trigate
from tests.support.each_row import each_row
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import config, free_port, provider

FILE = """\
version: v0.4.0
listeners: [{{type: model, name: m, address: 127.0.0.1, port: {port}}}]
model_providers: [{{model: openai/gpt-6, access_key: $OPENAI_API_KEY}}]
"""
START = ("connect", "openai-python", "--", "sh", "-c", "true")


@pytest.fixture
def usual(monkeypatch):
    """Return a port that replaces the usual one, where nothing listens."""
    port = free_port()
    monkeypatch.setattr(running_gateways, "USUAL", f"http://127.0.0.1:{port}")
    return port


@pytest.fixture
def env(home, usual):
    """Return the environment of a user without a configuration, in a home with an empty project."""
    (home / "project").mkdir()
    return {"HOME": str(home), "XDG_CONFIG_HOME": "", "XDG_STATE_HOME": str(home / "state")}


def own_file(home, port):
    path = home / ".config/trigate/trigate.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(FILE.format(port=port))
    return path


@pytest.mark.process
def test_the_users_gateway_is_started_once_and_outlives_the_client(home, env):
    port = free_port()
    path = own_file(home, port)
    (home / ".config/trigate/environment").write_text("OPENAI_API_KEY=sk-own\n")
    try:
        found = trigate(*START, cwd=home / "project", env=env)
        assert (found.returncode, found.argv) == (0, ["sh", "-c", "true"])
        assert f"Started a gateway on http://127.0.0.1:{port} with {path}" in found.stderr
        assert "OPENAI_API_KEY" not in found.env or found.env["OPENAI_API_KEY"] == "any"
        shown = trigate("status", cwd=home / "project", env=env).stdout
        assert f"on http://127.0.0.1:{port}, process" in shown
        assert f"{home}/state/trigate/trigate.log" in shown.replace("~", str(home))
        again = trigate(*START, cwd=home / "project", env=env)
        assert again.argv
        assert "Started" not in again.stderr
        log = trigate("logs", "--follow", cwd=home, env=env)
        assert log.argv == ["tail", "-n", "40", "-F", f"{home}/state/trigate/trigate.log"]
    finally:
        assert trigate("stop", cwd=home, env=env).returncode == 0


@pytest.mark.process
def test_a_gateway_that_does_not_start_is_explained(home, env, usual):
    """No other gateway gets the requests instead, such as one of another user at the usual address."""
    own_file(home, free_port())
    with gateway_thread(config([provider("vllm/a", "http://127.0.0.1:9")], usual), usual):
        found = trigate(*START, cwd=home, env=env)
    assert (found.returncode, found.argv) == (1, ())
    assert "the gateway did not start" in found.stderr
    assert "the environment variable OPENAI_API_KEY is not set" in found.stderr


@pytest.mark.process
def test_no_client_is_started_before_its_gateway_serves(home, env):
    """A gateway listens first and reads its storage later, which may fail."""
    path = own_file(home, free_port())
    (home / "a folder").mkdir()
    path.write_text(path.read_text() + f"state_storage: {{type: sqlite, path: {home}/a folder}}\n")
    found = trigate(*START, cwd=home, env={**env, "OPENAI_API_KEY": "sk-own"})
    assert (found.returncode, found.argv) == (1, ()), found.stderr
    assert "the gateway did not start" in found.stderr
    assert "state_storage" in found.stderr


@pytest.mark.process
def test_a_gateway_whose_certificate_only_the_client_trusts_has_started(home, env):
    pair = Authority(home).pair("server", *LOOPBACK)
    path = own_file(home, free_port())
    tls = f"tls: {{certificate: {pair.certificate}, key: {pair.key}}}"
    path.write_text(path.read_text().replace("address: 127.0.0.1", f"address: 127.0.0.1, {tls}"))
    env = {**env, "OPENAI_API_KEY": "sk-own"}
    try:
        found = trigate(*START, cwd=home, env=env)
        assert (found.returncode, found.argv) == (0, ["sh", "-c", "true"]), found.stderr
        assert "Started a gateway on https://127.0.0.1" in found.stderr
    finally:
        assert trigate("stop", cwd=home, env=env).returncode == 0


@each_row(
    ("words", "says"),
    [
        ((), "and you have no configuration: run trigate init, or trigate serve --demo"),
        (("--url", "http://127.0.0.1:{port}", "--model", "m"), "start it, or leave out --url"),
    ],
)
def test_nothing_is_started_without_a_file_or_at_another_address(home, env, usual, words, says):
    words = [word.format(port=usual) for word in words]
    found = trigate(*START[:2], *words, *START[2:], cwd=home, env=env)
    assert (found.returncode, found.argv) == (1, ())
    assert f"no gateway is listening on http://127.0.0.1:{usual}" in found.stderr
    assert says in found.stderr


def test_no_gateway_is_started_with_a_file_that_may_be_a_strangers(home, env):
    (home / "project/trigate.yaml").write_text(FILE.format(port=free_port()))
    found = trigate(*START, cwd=home / "project", env=env)
    assert (found.returncode, found.argv) == (1, ())
    assert f"if you trust {home}/project/trigate.yaml, run trigate serve here" in found.stderr


def test_no_client_is_sent_to_a_server_that_is_no_gateway(home, env, httpserver):
    own_file(home, httpserver.port)
    found = trigate(*START, cwd=home, env=env)
    assert (found.returncode, found.argv) == (1, ())
    assert f"the server on http://127.0.0.1:{httpserver.port} is no gateway (status 500)" in found.stderr
