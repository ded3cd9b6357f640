"""The tables of a process group: made by a supervisor, joined by its workers."""

import fcntl
import logging
import os

import pytest

from gateway.shared import memory
from gateway.shared.tables import SharedTables


def test_a_worker_that_joins_sees_the_content_of_the_tables():
    with SharedTables.make(3) as made:
        made.circuits.update(bytes(16), lambda *_: b"known", 60.0)
        joined = SharedTables.join(made.memory.fd)
        assert joined.circuits.read(bytes(16)) == b"known"
        assert joined.workers == 3


def test_a_seat_has_the_process_that_took_it():
    """The entries of a killed worker in a queue no longer count."""
    with SharedTables.make(3) as made:
        assert made.memory.has_seat(made.seat, os.getpid())
        assert not made.memory.has_seat(made.seat, os.getpid() + 1)
        assert not made.memory.has_seat(made.seat + 1, os.getpid())


def test_the_memory_allocates_only_used_pages():
    with SharedTables.make(4) as made:
        made.pins.update(bytes(16), lambda *_: b"pin", 60.0)
        status = os.fstat(made.memory.fd)
        assert status.st_blocks * 512 < 200_000 < status.st_size


def test_without_a_file_for_it_each_worker_is_on_its_own(monkeypatch, caplog):
    """A container without memory files whose temporary directory cannot be written."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.delattr(os, "memfd_create", raising=False)
    monkeypatch.setattr(memory.tempfile, "TemporaryFile", refuse)
    with SharedTables.make(3) as made:
        assert made is None
    assert caplog.messages == [
        "limits, circuits, pins and open responses are not shared between workers: Read-only file system"
    ]


def test_without_memory_files_it_is_a_temporary_file(monkeypatch, tmp_path):
    """As on macOS."""
    monkeypatch.delattr(os, "memfd_create", raising=False)
    monkeypatch.setattr(memory.tempfile, "tempdir", str(tmp_path))
    with SharedTables.make(3) as made:
        assert made.pins.update(bytes(16), lambda *_: b"pin", 60.0) == b"pin"
        assert list(tmp_path.iterdir()) == []


def test_a_worker_of_another_version_is_on_its_own(caplog):
    """A worker is replaced after an update that the supervisor has not seen yet."""
    caplog.set_level(logging.WARNING)
    with SharedTables.make(3) as made:
        os.pwrite(made.memory.fd, b"trigate10000000512345678", 0)
        assert SharedTables.join(made.memory.fd) is None
        os.pwrite(made.memory.fd, b"something else altogether", 0)
        assert SharedTables.join(made.memory.fd) is None
    assert [message.rpartition(": ")[2] for message in caplog.messages] == [
        "the shared memory of workers is from another version",
        "not the shared memory of workers",
    ]


def test_a_missing_descriptor_does_not_stop_a_worker(caplog):
    with pytest.raises(OSError, match="Bad file descriptor"):
        fcntl.fcntl(9999, fcntl.F_GETFD)
    assert SharedTables.join(9999) is None
    assert "until a restart, this worker does not share" in caplog.text
