"""Commands for people at a gateway that answers anything, and with a sessions file that others may have written."""

import contextlib
import fcntl
import json
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from gateway.commands import sessions
from gateway.features.people.commands import login
from tests.support.command_line import invoke
from tests.support.each_row import each_row
from tests.support.http_servers import QuietHandler, http_server

ESCAPES: Final = "\x1b]0;owned\x07\x1b[2J\u202e\nsecond line"
GRANT: Final = {"device_code": "d", "user_code": "WDJB-MJHT", "interval": 0.5, "expires_in": 5}
TOKEN: Final = {"access_token": "token-of-ada", "expires_in": 3600, "refresh_token": "r"}


class Clock:
    """The time of the commands, in place of the module ``time``. Only sleep advances it."""

    def __init__(self) -> None:
        self.slept = 0.0

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.slept += seconds

    def monotonic(self) -> float:
        return self.slept

    def time(self) -> float:
        return 1.8e9 + self.slept


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    for module in (login, sessions):
        monkeypatch.setattr(module, "time", found)
    return found


@contextlib.contextmanager
def gateway(
    grant: Mapping[str, Any] = {}, token: Any = TOKEN, me: Any = None, metadata: Mapping[str, str] = {}
) -> Iterator[str]:
    """Serve a sign-in whose responses are ``GRANT`` with ``grant``, ``token`` and ``me``, and yield its address."""

    class Handler(QuietHandler):
        def do_GET(self) -> None:
            root = f"http://{self.headers['host']}"
            self.read_body()
            found = {
                "/.well-known/oauth-authorization-server": {
                    "device_authorization_endpoint": f"{root}/code", "token_endpoint": f"{root}/token", **metadata,
                },
                "/code": {"verification_uri": f"{root}/device", **GRANT, **grant},
                "/token": token,
                "/me": me,
            }[self.path]  # fmt: skip
            self.respond(200, found if isinstance(found, bytes) else json.dumps(found).encode())

        do_POST = do_GET

    with http_server(Handler) as host:
        yield f"http://{host}"


def env_of(home: Path) -> dict[str, str]:
    return {"HOME": str(home), "XDG_CONFIG_HOME": "", "TRIGATE_API_KEY": ""}


def assert_plain(found: Any) -> None:
    """Check that the output has no traceback, and nothing that controls a terminal."""
    text = found.stdout + found.stderr
    assert "Traceback" not in text, text
    assert all(line.isprintable() for line in text.split("\n")), ascii(text)


@each_row("url", ["http://llm.example", "ftp://llm.example", "https://user:password@llm.example"])
def test_a_sign_in_needs_tls(tmp_path, url):
    found = invoke("login", url, env=env_of(tmp_path))
    assert found.returncode == 1
    assert "password@" not in found.stderr
    assert_plain(found)


@pytest.mark.parametrize("member", ["device_authorization_endpoint", "token_endpoint"])
def test_endpoints_of_another_server_are_refused(tmp_path, member):
    with gateway(metadata={member: "https://elsewhere.example/oauth"}) as root:
        found = invoke("login", root, env=env_of(tmp_path))
    assert found.returncode == 1
    assert "names an address of another server, elsewhere.example" in " ".join(found.stderr.split())


GRANTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "code with escapes": {"user_code": ESCAPES},
    "address with escapes": {"verification_uri_complete": f"/{ESCAPES}"},
    "address that is a number": {"verification_uri_complete": 5},
    "negative interval": {"interval": -1},
    "interval that is no number": {"interval": float("nan")},
    "infinite interval": {"interval": float("inf")},
    "interval that is a text": {"interval": "5"},
    "lifetime that is no number": {"expires_in": float("nan")},
    "infinite lifetime": {"expires_in": float("inf")},
}


@pytest.mark.parametrize("grant", GRANTS.values(), ids=GRANTS)
def test_the_grant_of_a_hostile_gateway_controls_no_terminal_and_no_clock(tmp_path, clock, grant):
    with gateway() as root:
        pass
    if str(grant.get("verification_uri_complete")).startswith("/"):
        grant = {"verification_uri_complete": f"{root}{grant['verification_uri_complete']}"}
    with gateway(grant) as root:
        found = invoke("login", root, "--no-browser", env=env_of(tmp_path))
    assert_plain(found)
    assert clock.slept <= login.SLOWER


TOKENS: Final[Mapping[str, Any]] = {
    "two lines": {**TOKEN, "access_token": "a\nb"},
    "escapes": {**TOKEN, "access_token": ESCAPES},
    "reason with escapes": {"error": "x", "error_description": ESCAPES},
    "reason that is an object": {"error": {"a": 1}},
    "lifetime that is no number": {**TOKEN, "expires_in": float("nan")},
    "infinite lifetime": b'{"access_token": "a", "expires_in": 1e999}',
    "lifetime of 5,000 digits": b'{"access_token": "a", "expires_in": 1' + b"0" * 5000 + b"}",
    "deep": b"[" * 200_000,
    "no text": b"\xff\xfe\x00",
}


@each_row("token", TOKENS.values(), ids=TOKENS)
def test_the_token_of_a_hostile_gateway_is_one_line_or_an_error(tmp_path, token):
    with gateway(token=token) as root:
        assert_plain(invoke("login", root, "--no-browser", env=env_of(tmp_path)))
        found = invoke("token", env=env_of(tmp_path))
    assert_plain(found)
    assert found.stdout.count("\n") == (1 if found.returncode == 0 else 0)


@pytest.mark.parametrize(
    "me", [{"name": ESCAPES, "models": 5, "budgets": [5], "limits": {}}, [], {"models": [ESCAPES], "budgets": None}]
)
def test_the_rights_of_a_hostile_gateway_control_no_terminal(tmp_path, me):
    with gateway(me=me) as root:
        assert invoke("login", root, "--no-browser", env=env_of(tmp_path)).returncode == 0
        assert_plain(invoke("me", env=env_of(tmp_path)))
        assert_plain(invoke("me", "--json", env=env_of(tmp_path)))


# The file

SESSIONS: Final = ".config/trigate/sessions.json"


@pytest.fixture(scope="module")
def sessions_text(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the content of the sessions file of a user who has signed in, with ROOT in place of the address."""
    home = tmp_path_factory.mktemp("home")
    with gateway() as root, pytest.MonkeyPatch.context() as patched:
        patched.setattr(login, "time", Clock())
        assert invoke("login", root, "--no-browser", env=env_of(home)).returncode == 0
    return (home / SESSIONS).read_text().replace(root, "ROOT")


@pytest.fixture
def file(tmp_path: Path, sessions_text: str) -> Iterator[Path]:
    """Return the sessions file of a user who has signed in."""
    path = tmp_path / SESSIONS
    path.parent.mkdir(mode=0o700, parents=True)
    path.touch(0o600)
    with gateway() as root:
        path.write_text(sessions_text.replace("ROOT", root))
        yield path


def change(file: Path, **members: Any) -> None:
    content = json.loads(file.read_text())
    content["sessions"][content["latest"]].update(members)
    file.write_text(json.dumps(content))


FOREIGN: Final[Mapping[str, Mapping[str, Any]]] = {
    "an end that is a text": {"expires_at": "tomorrow"},
    "a token that is a list": {"access_token": ["a"]},
    "another gateway": {"root": "https://elsewhere.example"},
    "a token endpoint that is a file": {"token_url": "file:///etc/passwd", "expires_at": 0},
}


@pytest.mark.parametrize("members", FOREIGN.values(), ids=FOREIGN)
def test_a_session_file_of_another_form_is_no_session(tmp_path, file, members):
    change(file, **members)
    found = invoke("token", env=env_of(tmp_path))
    assert_plain(found)
    assert (found.returncode, found.stdout) == (1, "")


def test_without_a_session_the_command_names_the_way_to_get_one(tmp_path):
    found = invoke("token", env=env_of(tmp_path))
    assert (found.returncode, found.stdout) == (1, "")
    assert found.stderr == "trigate token: there is no session: run trigate login URL\n"


@pytest.mark.parametrize(
    "text", ["{", "[]", "[" * 200_000, '{"sessions": 5}', '{"latest": [1], "sessions": {}}', "\x00"]
)
def test_a_damaged_file_is_an_error(tmp_path, file, text):
    file.write_text(text)
    found = invoke("token", env=env_of(tmp_path))
    assert_plain(found)
    assert (found.returncode, found.stdout) == (1, "")
    assert ("there is no session" if "latest" in text else "is damaged: delete it") in found.stderr


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_can_change_is_not_used(tmp_path, file, mode):
    """Else another user could replace the session by one at a gateway of his, which then sees all prompts."""
    file.chmod(mode)
    found = invoke("token", env=env_of(tmp_path))
    assert (found.returncode, found.stdout) == (1, "")
    assert "other users can change" in found.stderr


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files to another user")
def test_a_file_of_another_user_is_not_used(tmp_path, file):
    os.chown(file, 12345, 12345)
    found = invoke("token", env=env_of(tmp_path))
    assert (found.returncode, found.stdout) == (1, "")


def test_no_other_user_can_hold_the_lock(tmp_path, file):
    """A lock needs only read access, so a readable file would let others stop each refresh."""
    lock = file.with_name("sessions.json.lock")
    lock.touch(0o644)
    change(file, expires_at=0)
    assert invoke("token", env=env_of(tmp_path)).stdout == "token-of-ada\n"
    assert stat.S_IMODE(lock.stat().st_mode) == 0o600


@pytest.mark.parametrize("is_dangling", [True, False])
def test_a_lock_that_is_a_link_changes_no_other_file(tmp_path, file, is_dangling):
    target = tmp_path / "target"
    if not is_dangling:
        target.write_text("content")
    file.with_name("sessions.json.lock").symlink_to(target)
    change(file, expires_at=0)
    found = invoke("token", env=env_of(tmp_path))
    assert_plain(found)
    assert found.returncode == 1
    assert target.exists() is not is_dangling
    assert is_dangling or target.read_text() == "content"


def test_a_link_in_place_of_the_file_is_replaced_and_not_followed(tmp_path, file):
    target = tmp_path / "target"
    target.write_text(file.read_text())
    target.chmod(0o600)
    file.unlink()
    file.symlink_to(target)
    change(file, expires_at=0)
    before = target.read_text()
    assert invoke("token", env=env_of(tmp_path)).stdout == "token-of-ada\n"
    assert target.read_text() == before
    assert not file.is_symlink()


@pytest.mark.parametrize("is_valid", [True, False])
def test_a_held_lock_is_an_error_within_five_seconds_unless_the_token_is_valid(tmp_path, clock, file, is_valid):
    change(file, expires_at=clock.time() + 50 if is_valid else 0)
    with file.with_name("sessions.json.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = invoke("token", env=env_of(tmp_path))
    assert clock.slept < 5
    if is_valid:
        assert (found.returncode, found.stdout) == (0, "token-of-ada\n"), found.stderr
    else:
        assert (found.returncode, found.stdout) == (1, "")
        assert "another process has not finished refreshing the session" in found.stderr
