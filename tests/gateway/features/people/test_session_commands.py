"""``trigate login``, ``token``, ``me`` and ``connect`` for people who sign in at a gateway.

Codex waits five seconds for the token of a command (openai/codex#16288); Claude Code runs ``apiKeyHelper``."""

import contextlib
import json
import re
import stat
import subprocess
import time
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest

from gateway.commands.sessions import root_of
from gateway.features.people.commands import me
from tests.support.admin import KEYS, admin_config
from tests.support.command_line import COMMAND, Finished, environment, invoke
from tests.support.each_row import each_row
from tests.support.features import needs_feature
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import config
from tests.support.people_browser import PeopleBrowser
from tests.support.people_gateway import PROVIDERS, PeopleGateway, people_gateway

pytestmark = [pytest.mark.process, needs_feature("people")]


@attrs.frozen
class SignedIn:
    """A user with a session at ``gateway``; ``env`` has the home directory, ``said`` is the output of the sign-in."""

    gateway: PeopleGateway
    env: Mapping[str, str]
    said: str

    @property
    def file(self) -> Path:
        return Path(self.env["HOME"], ".config/trigate/sessions.json")

    def run(self, *args: str) -> Finished:
        return invoke(*args, cwd=Path(self.env["HOME"]), env=self.env)

    def change(self, **members: Any) -> None:
        """Change members of the saved session."""
        content = json.loads(self.file.read_text())
        content["sessions"][self.gateway.url].update(members)
        self.file.write_text(json.dumps(content))

    def session(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.file.read_text())["sessions"][self.gateway.url]
        return found


@contextlib.contextmanager
def signed_in(gateway: PeopleGateway, home: Path) -> Iterator[SignedIn]:
    env = {"HOME": str(home), "XDG_CONFIG_HOME": "", "CODEX_HOME": "", "CLAUDE_CONFIG_DIR": "", "TRIGATE_API_KEY": ""}
    login = subprocess.Popen(
        [*COMMAND, "login", gateway.url, "--no-browser"], cwd=home, env=environment(env), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert login.stdout is not None
    lines: list[str] = []
    for line in login.stdout:
        lines.append(line)
        if "code:" in line:
            break
    link = re.search(r"http://\S+", "".join(lines))
    assert link is not None, lines
    gateway.provider.signed_in = "ada"
    browser = PeopleBrowser()
    browser.open(link[0])
    browser.submit()
    browser.press("decision", "approve")
    rest = login.communicate(timeout=30)[0]
    assert login.returncode == 0, rest
    yield SignedIn(gateway, env, "".join(lines) + rest)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SignedIn]:
    home = tmp_path_factory.mktemp("home")
    with people_gateway(tmp_path_factory.mktemp("gateway")) as gateway, signed_in(gateway, home) as found:
        yield found


@pytest.fixture
def user(shared: SignedIn) -> SignedIn:
    """Return the shared user, whose token is valid for an hour."""
    return shared


def test_only_the_user_can_read_the_saved_session(user):
    assert stat.S_IMODE(user.file.stat().st_mode) == 0o600
    assert f"Signed in to {user.gateway.url}." in user.said
    assert user.session()["access_token"] not in user.said


def test_token_prints_only_the_token(user):
    found = user.run("token")
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout == user.session()["access_token"] + "\n"
    assert user.run("token", user.gateway.url).stdout == found.stdout


def test_me_shows_rights_and_budgets(user):
    found = user.run("me")
    assert found.returncode == 0, found.stderr
    assert "okta:00u1" in found.stdout
    assert re.search(r"^budget +20 usd/day \(client\): 0 used, more available from \d{4}-", found.stdout, re.M)
    assert "research" in found.stdout
    whole = json.loads(user.run("me", "--json").stdout)
    assert whole["name"] == "okta:00u1"


def test_a_token_is_refreshed_a_minute_before_its_end_by_one_process(user):
    before = user.session()
    user.change(expires_at=time.time() + 50)
    processes = [
        subprocess.Popen([*COMMAND, "token"], env=environment(user.env), stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    tokens = {process.communicate(timeout=30)[0].strip() for process in processes}
    assert [process.returncode for process in processes] == [0] * 2
    after = user.session()
    assert tokens - {before["access_token"]} == {after["access_token"]}  # the earlier one if the machine is slow
    assert after["access_token"] != before["access_token"]
    assert after["refresh_token"] != before["refresh_token"]
    assert after["expires_at"] > time.time() + 3000


@needs_feature("model_lists")
def test_connect_gives_codex_a_command_and_no_key(user):
    found = user.run("connect", "codex", "--write", "--model", "gpt-4o")
    assert found.returncode == 0, found.stderr
    written = tomllib.loads(Path(user.env["HOME"], ".codex/config.toml").read_text())["model_providers"]["trigate"]
    assert written["auth"] == {"command": "trigate", "args": ["token"]}
    assert written["base_url"] == f"{user.gateway.url}/v1"
    assert "env_key" not in written


@needs_feature("model_lists")
def test_connect_gives_claude_code_a_helper_and_no_key(user):
    found = user.run("connect", "claude", "--write")
    assert found.returncode == 0, found.stderr
    assert '"apiKeyHelper": "trigate token"' in found.stdout + found.stderr
    written = Path(user.env["HOME"], ".claude/settings.json").read_text()
    assert json.loads(written)["apiKeyHelper"] == "trigate token"
    assert "ANTHROPIC_AUTH_TOKEN" not in written
    assert user.session()["access_token"] not in written


@needs_feature("model_lists")
def test_connect_tells_other_clients_how_to_get_a_key(user):
    found = user.run("connect", "openai-python")
    assert found.returncode == 0, found.stderr
    assert "set TRIGATE_API_KEY to the output of `trigate token`" in found.stdout


def test_a_key_in_the_environment_has_precedence(user):
    found = invoke("me", user.gateway.url, env={**user.env, "TRIGATE_API_KEY": "key-of-ci-0123456789abcdef"})
    assert found.returncode == 0, found.stderr
    assert "ci" in found.stdout
    assert "okta" not in found.stdout


def test_a_valid_token_stays_in_use_while_the_gateway_is_down(user):
    before = user.session()
    try:
        user.change(expires_at=time.time() + 30, token_url="http://127.0.0.1:9/oauth/token")
        assert user.run("token").stdout.strip() == before["access_token"]
        user.change(expires_at=time.time() - 1)
        began = time.monotonic()
        found = user.run("token")
        assert (found.returncode, found.stdout) == (1, "")
        assert "no response from" in found.stderr
        assert time.monotonic() - began < 10
    finally:
        user.change(**before)


def test_a_session_that_was_ended_is_forgotten(user):
    before = user.file.read_text()
    user.change(refresh_token="tgr_unknown", expires_at=time.time() - 1)
    try:
        found = user.run("token")
        assert found.returncode == 1
        assert f"the session has ended: run trigate login {user.gateway.url}" in found.stderr
        assert "there is no session" in user.run("token").stderr
    finally:
        user.file.write_text(before)


def test_the_configuration_in_the_current_folder_has_the_port_of_the_local_gateway(tmp_path):
    file = tmp_path / "trigate.yaml"
    file.write_text(
        "version: v0.4.0\nmodel_providers: [{model: openai/m, access_key: k}]\n"
        "listeners: [{type: model, name: m, port: 9}]\n"
    )
    env = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": "", "TRIGATE_API_KEY": "k"}
    assert "trigate me: no response from http://127.0.0.1:9: " in invoke("me", env=env, cwd=tmp_path).stderr
    file.write_text(file.read_text().replace("port: 9", "port: 9, address: 192.0.2.1"))
    assert "no response from http://127.0.0.1:12000: " in invoke("me", env=env, cwd=tmp_path).stderr


def test_me_without_a_session_and_a_gateway_advises_a_login(tmp_path):
    env = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": "", "TRIGATE_API_KEY": ""}
    found = invoke("me", "http://127.0.0.1:1", env=env)
    assert found.returncode == 1
    assert "trigate me: no response from http://127.0.0.1:1: " in found.stderr
    assert found.stderr.endswith("; for another gateway, run trigate login URL\n")


def test_me_shows_the_role_of_the_operator(tmp_path):
    key = "key-of-the-operator-0123456789"
    env = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": "", "TRIGATE_API_KEY": key}
    with gateway_thread(config(PROVIDERS, ui_key=key)) as gateway:
        found = invoke("me", f"http://127.0.0.1:{gateway.port}", env=env)
    assert (found.returncode, found.stderr) == (0, "")
    assert re.search(r"^role +auditor$", found.stdout, re.M), found.stdout
    assert re.search(r"^signed in with +operator$", found.stdout, re.M), found.stdout


def test_me_aligns_long_rows_below_their_texts(tmp_path, monkeypatch):
    monkeypatch.setattr(me, "columns", lambda _: 60)
    env = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": "", "TRIGATE_API_KEY": ""}
    models = [{"model": f"openai/model-number-{i}", "access_key": "k"} for i in range(6)]
    with gateway_thread(config(models, budgets=["5 usd/day"], unpriced="allow")) as gateway:
        lines = invoke("me", f"http://127.0.0.1:{gateway.port}", env=env).stdout.splitlines()
    assert max(map(len, lines)) <= 60
    assert {line[:16].strip() for line in lines} == {"gateway", "models", "budget", ""}
    assert "".join(lines).count("model-number") == len(models)


@each_row("keys", [{}, {"client_keys": [{"name": "ci", "key": "key-of-ci-0123456789abcdef"}]}], ids=["open", "keyed"])
def test_me_needs_no_key_if_the_gateway_needs_none(tmp_path, keys):
    """A personal budget applies to every client that can connect."""
    env = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": "", "TRIGATE_API_KEY": ""}
    with gateway_thread(config(PROVIDERS, budgets=["5 usd/day"], **keys)) as gateway:
        url = f"http://127.0.0.1:{gateway.port}"
        found = invoke("me", url, env=env)
    if keys:
        advice = f"run trigate login {url}, or set TRIGATE_API_KEY to your key"
        assert (found.returncode, found.stderr) == (1, f"trigate me: no session at {url}: {advice}\n")
    else:
        assert (found.returncode, found.stderr) == (0, "")
        assert re.search(r"^budget +5 usd/day \(everybody\)", found.stdout, re.M), found.stdout
        assert "signed in" not in found.stdout


def test_an_address_of_this_machine_without_a_scheme_means_http(tmp_path):
    env = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": "", "TRIGATE_API_KEY": "k"}
    for address in ("127.0.0.1:1", "localhost:1", "[::1]:1"):
        assert f"trigate me: no response from http://{address}: " in invoke("me", address, env=env).stderr
    assert root_of("https://127.0.0.1:1") == "https://127.0.0.1:1"
    assert root_of("gateway.example/v1") == "https://gateway.example"


@needs_feature("admin")
def test_a_raised_budget_shows_its_amount(tmp_path):
    with gateway_thread(admin_config(tmp_path)) as gateway:
        body = {"budgets": ["40 usd/day"], "until": time.strftime("%Y-%m-%d", time.gmtime(time.time() + 86400))}
        headers = {"authorization": f"Bearer {KEYS['admin']}"}
        assert gateway.request("PUT", "/admin/v1/raises/user", body, headers).status == 201
        found = invoke("me", gateway.url, env={"TRIGATE_API_KEY": KEYS["user"], "HOME": str(tmp_path)})
    assert "20 usd/day (client): raised to 40 usd, 0 used, " in found.stdout
    assert "3000 usd/month (group): 0 used, " in found.stdout
