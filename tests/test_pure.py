"""``pytest --pure``: which files it takes, and that what they must not do is stopped."""

import subprocess
import sys

import pytest

from tests.support import pure
from tests.support.pure import TESTS, is_pure
from tests.support.repository import ROOT


@pytest.mark.parametrize(
    "name",
    [
        "streams/test_sse.py",
        "providers/grammar/test_grammar.py",
        "gateway/routing/test_router.py",
        "providers/test_recorded_requests.py",
    ],
)
def test_what_only_computes_is_pure(name):
    assert is_pure(TESTS / name)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("gateway/serving/test_server.py", "imports socket"),
        ("gateway/commands/test_litellm.py", "imports a module of tests that starts processes"),
        ("gateway/endpoints/test_responses.py", "imports an SDK, whose client connects"),
        ("test_pure.py", "imports subprocess"),
        ("e2e/test_state.py", "drives the real thing"),
    ],
)
def test_what_does_more_is_not(name, why):
    assert not is_pure(TESTS / name), why


def written(folder, monkeypatch, text):
    monkeypatch.setattr(pure, "TESTS", folder)
    (folder / "conftest.py").write_text("import pytest\n\n\n@pytest.fixture\ndef served(): ...\n")
    file = folder / "test_it.py"
    file.write_text(text)
    return file


def test_who_asks_for_a_server_is_not_pure(tmp_path, monkeypatch):
    pure._servers.cache_clear()
    try:
        assert not is_pure(written(tmp_path, monkeypatch, "def test_it(served): ...\n"))
        given = "@pytest.mark.parametrize('served', [1])\ndef test_it(served): ...\n"
        assert is_pure(written(tmp_path, monkeypatch, given))
    finally:
        pure._servers.cache_clear()


@pytest.mark.parametrize(
    "deed",
    [
        "socket.create_connection(('127.0.0.1', 9))",
        "socket.create_server(('127.0.0.1', 0))",
        "subprocess.run(['true'])",
        "os.system('true')",
    ],
)
def test_what_reaches_out_all_the_same_is_stopped(deed):
    program = f"import os, socket, subprocess; from tests.support import pure; pure.stop_what_is_not(); {deed}"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "NotPure" in done.stderr
    assert "tests/support/pure.py" in done.stderr
