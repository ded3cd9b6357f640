"""What the command line says of loads by several processes."""

import socket

import pytest

from gateway.__main__ import main
from loadtest.crew.capacity import most_files

URL = ("load", "http://127.0.0.1:9", "--model", "m", "--rate", "1")
SECRET = "TRIGATE_TEST_SECRET"


def said(capsys, *words: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as caught:
        main(words)
    return caught.value.code, capsys.readouterr().err


def test_mistakes_are_told_before_anything_is_started(capsys, monkeypatch):
    monkeypatch.setenv(SECRET, "short")
    for words, expected in (
        ((*URL, "--processes", "0"), "--processes: 0; this must be a number of processes, 1 to 256, or auto"),
        ((*URL, "--concurrency", "2", "--processes", "3"), "--concurrency: 2 at once for 3 processes"),
        ((*URL, "--workers", "a:b"), "--workers: 'a:b'; this must be host:port"),
        ((*URL, "--workers", "a", "--secret-env", "NOT_SET"), "--secret-env: no variable NOT_SET"),
        ((*URL, "--workers", "a", "--secret-env", SECRET), f"the environment variable {SECRET} has 5 characters"),
        ((*URL, "--secret-env", SECRET), "add --workers host:port"),
        ((*URL, "--workers", "127.0.0.1:9"), "127.0.0.1:9: no worker there (connection refused)"),
        (("load", "worker", "--listen", "0.0.0.0:7071"), "where other machines can have this one load any server"),
        (("load", "worker", "--listen", "x y"), "--listen: 'x y'; this must be host:port"),
        (("load", "worker", "--listen", "192.0.2.1:1", "--secret-env", SECRET), "has 5 characters"),
    ):
        status, text = said(capsys, *words)
        assert status == 2, words
        assert expected in text


@pytest.mark.skipif(most_files() is None or most_files() > 10**5, reason="there is no limit to meet")
def test_more_clients_than_files_are_a_mistake_before_the_load(capsys):
    status, text = said(capsys, *URL[:-2], "--concurrency", "900000", "--processes", "2")
    assert status == 2
    assert "--concurrency: 900000 clients, which need 450064 open files in a process that may have" in text


def test_a_port_that_is_taken_is_told(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        status, text = said(capsys, "load", "worker", "--listen", address)
    assert status == 2
    assert f"{address}: cannot be listened on" in text
