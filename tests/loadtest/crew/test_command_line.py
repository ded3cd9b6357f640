"""What the command line says of loads by several processes."""

import pytest

from gateway.__main__ import main
from loadtest.crew.opening import open_file_limit
from tests.support.cases import case

URL = ("load", "http://127.0.0.1:9", "--model", "m", "--rate", "1")


def said(capsys, *words: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as caught:
        main(words)
    return caught.value.code, capsys.readouterr().err


def test_mistakes_are_reported_before_anything_is_started(capsys):
    part = (*URL, "--start-at", "2990-01-01T00:00:00Z", "--part")
    for words, expected in (
        ((*URL, "--processes", "0"), "--processes: 0; expected a number of processes, 1 to 256, or auto"),
        (
            (*URL, "--concurrency", "2", "--processes", "3"),
            "--concurrency: 2 concurrent requests are too few for 3 processes",
        ),
        ((*part, "0/3"), "--part: '0/3'; expected a part and the number of parts, such as 2/5"),
        ((*part, "4/3"), "--part: '4/3'; expected"),
        ((*URL, "--part", "1/3"), "--part: --start-at is missing; give all parts the same"),
        ((*URL, "--start-at", "2026-11-23T12:00:00"), "expected a time with its zone, such as"),
        ((*URL, "--start-at", "soon"), "--start-at: 'soon'; expected a time"),
        ((*URL, "--start-at", "2001-01-01T00:00:00Z"), "2001-01-01T00:00:00Z is in the past; give a future time"),
        ((*part, "1/2", "--until", "errors>5%"), "--part: not possible in parts: --until; use --fail-if"),
        ((*part, "1/2", "--max-tokens", "50000"), "--part: not possible in parts: --max-tokens; use -n or --seconds"),
        ((*part, "1/2", "--repeat", "2"), "--part: not possible in parts: several runs"),
        ((*part, "1/2", "http://127.0.0.1:10"), "--part: not possible in parts: several targets"),
        ((*part, "1/2", "--find-rate"), "--part: not possible in parts: a search"),
        ((*part, "1/3", "--concurrency", "2"), "--part: not possible in parts: 2 concurrent requests for 3 processes"),
    ):
        status, text = said(capsys, *words)
        assert status == 2, words
        assert expected in text


IN_PARTS = "was removed: run `trigate load ... --part K/N --start-at TIME --json FILE` on each of N machines"


def test_removed_words_end_in_one_line_that_names_the_replacement(capsys):
    for words, replacement in [
        (("load", "worker", "--listen", "0.0.0.0:7071"), f"trigate load worker {IN_PARTS}"),
        ((*URL, "--workers", "a:1,b:1"), f"--workers {IN_PARTS}"),
        ((*URL, "--workers=a:1"), f"--workers {IN_PARTS}"),
        ((*URL, "--secret-env", "NAME"), f"--secret-env {IN_PARTS}"),
        ((*URL, "--remote-write", "http://127.0.0.1:9090"), "--remote-write was removed: send the metrics with --otlp"),
    ]:
        with case((words, replacement)):
            status, text = said(capsys, *words)
            assert status == 2
            assert text.startswith(replacement)
            assert text.count("\n") == 1


@pytest.mark.skipif(open_file_limit() is None or open_file_limit() > 10**5, reason="there is no limit to meet")
def test_more_clients_than_files_are_a_mistake_before_the_load(capsys):
    status, text = said(capsys, *URL[:-2], "--concurrency", "900000", "--processes", "2")
    assert status == 2
    assert "--concurrency: 900000 clients need 450064 open files, but a process may have" in text
