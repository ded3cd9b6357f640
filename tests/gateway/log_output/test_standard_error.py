"""The log and the audit while their readers are stopped (moby/moby#22502)."""

import logging
import os
import resource
import select
import sys
import threading
import tty
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from gateway.log_output.audit_file import AuditFile
from gateway.log_output.standard_error import MOST_WAITING, open_handler
from tests.support.command_line import environment
from tests.support.harness import request
from tests.support.repository import ROOT
from tests.support.warm_start import forked_with_streams

LINES = 3000


@contextmanager
def standard_error(kind: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[logging.Logger, int]]:
    """Return a log on a new standard error of a ``kind``, and the end of its reader."""
    near, far = os.openpty() if kind == "terminal" else os.pipe()
    if kind == "terminal":
        tty.setraw(far)  # which leaves line ends unchanged
    os.set_blocking(far, kind != "non-blocking pipe")
    log = logging.Logger("test")
    with open(far, "w") as stream, open(near, "rb", 0):
        monkeypatch.setattr(sys, "stderr", stream)
        log.addHandler(open_handler())
        yield log, near


@contextmanager
def audit(path: Path) -> Iterator[tuple[logging.Logger, int]]:
    """Return an audit in a new named pipe at ``path``, and the end of its reader."""
    os.mkfifo(path)
    log, near = logging.Logger("test"), os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with open(near, "rb", 0):
        log.addHandler(AuditFile(str(path)))
        yield log, near


def open_log(
    kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> AbstractContextManager[tuple[logging.Logger, int]]:
    return audit(folder / "audit") if kind == "audit" else standard_error(kind, monkeypatch)


each_kind = pytest.mark.parametrize("kind", ["pipe", "non-blocking pipe", "terminal", "audit"])


def finishes(work: Callable[[], object]) -> bool:
    """Return whether ``work`` ends soon, in a thread of its own."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(20)
    return not thread.is_alive()


def read_lines(near: int, end: str) -> list[str]:
    """Return the next lines up to one that ends with ``end``, or those that arrived before a long silence."""
    pieces = [b""]
    while not b"".join(pieces[-2:]).endswith(f"{end}\n".encode()) and select.select([near], [], [], 10)[0]:
        pieces.append(os.read(near, 1 << 16))
    return b"".join(pieces).decode().splitlines()


@each_kind
def test_lines_wait_for_a_reader_in_order(kind, tmp_path, monkeypatch):
    lines = [f"{number} ".ljust(100 + number % 7 * 1000, ".") for number in range(LINES)]
    with open_log(kind, tmp_path, monkeypatch) as (log, near):
        assert finishes(lambda: [log.info(line) for line in lines]), "a logging call waits for the reader"
        assert read_lines(near, lines[-1]) == lines
        log.info("later")
        assert read_lines(near, "later") == ["later"]


@each_kind
def test_lines_beyond_the_limit_are_lost_and_counted(kind, tmp_path, monkeypatch):
    size, count = MOST_WAITING // 16, 30
    with open_log(kind, tmp_path, monkeypatch) as (log, near):
        assert finishes(lambda: [log.info(chr(97 + number) * size) for number in range(count)])
        cause = "the audit file was not writable" if kind == "audit" else "standard error was not read"
        *lines, last = read_lines(near, cause)
        assert last == f"{count - len(lines)} lines of the log were lost, because {cause}"
        begun = [line[0] for line in lines]  # the thread may make room for one between two that are lost
        assert begun == sorted(set(begun))
        assert {len(line) for line in lines} == {size}


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Refuse bytes of files beyond ``size``, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("kind", ["log", "audit"])
def test_lines_that_a_full_disk_refuses_are_counted_and_spoil_no_other(kind, tmp_path, monkeypatch):
    """Half of a line stayed at the end, and the next one followed it in the same line."""
    path, log = tmp_path / "log", logging.Logger("test")
    with open(path, "w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        handler = AuditFile(str(path)) if kind == "audit" else open_handler()
        log.addHandler(handler)
        with files_of_at_most(150):
            for word in ("first", "second", "third", "fourth"):
                log.info(word.ljust(99, "."))
            handler.flush()
        log.info("fifth")
        handler.flush()
        lines = path.read_text().splitlines()
        handler.close()
    cause = "the audit file" if kind == "audit" else "standard error"
    assert [line.rstrip(".") for line in lines[:3]] == ["first", "second", "fifth"]
    assert lines[3].startswith(f"3 lines of the log were lost, because {cause} was not writable")
    assert len(lines) == 4


@pytest.mark.process
def test_a_gateway_whose_log_is_not_read_answers_and_stops(tmp_path: Path):
    """Each stream stopped after 127 requests, and SIGTERM changed nothing (containerd/containerd#9342)."""
    arguments = ("serve", "--demo", "--port", "0", "--pace", "0", "--log-format", "json")
    process, said, complained = forked_with_streams(arguments, ROOT, environment({"HOME": str(tmp_path)}))
    with said, complained:
        try:
            url = next(word for word in said.readline().split() if word.startswith("http"))
            question = {"model": "demo", "messages": [{"role": "user", "content": "Hello"}]}
            answers = [request(url, "POST", "/v1/chat/completions", question) for _ in range(300)]
            assert {one.status for one in answers} == {200}
            process.terminate()
            assert process.wait(20) == 0
        finally:
            process.kill()
