"""The directory that workers share: it is deleted with the last process, however each process ends."""

import os
import stat
from pathlib import Path

import pytest

from gateway.processes.shared_directory import PREFIX, SharedDirectory, shared_directory


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def kill(directory: SharedDirectory) -> None:
    """End a part in ``directory`` as the end of its process does."""
    os.close(directory._lock)


def test_the_shared_directory_is_private():
    with shared_directory() as path:
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert not path.exists()


def test_the_last_that_leaves_removes_it():
    made = SharedDirectory.make()
    (made.path / "state.sqlite").write_text("what was said")
    one, other = SharedDirectory.join(made.path), SharedDirectory.join(made.path)
    made.leave()
    one.leave()
    assert (made.path / "state.sqlite").exists()
    other.leave()
    assert not made.path.exists()


def test_a_worker_removes_the_files_of_a_killed_supervisor():
    made = SharedDirectory.make()
    worker = SharedDirectory.join(made.path)
    kill(made)
    worker.leave()
    assert not made.path.exists()


def test_the_next_supervisor_removes_only_the_files_of_killed_processes(temporary):
    left, used = SharedDirectory.make(), SharedDirectory.make()
    kill(left)
    (temporary / f"{PREFIX}unfinished").mkdir()
    (temporary / f"{PREFIX}elsewhere").symlink_to(temporary / "none")
    with shared_directory():
        assert not left.path.exists()
        assert used.path.exists()
        assert (temporary / f"{PREFIX}unfinished").exists()
    used.leave()


def test_a_lock_that_is_a_link_is_not_followed(temporary):
    hostile = temporary / f"{PREFIX}hostile"
    hostile.mkdir()
    (hostile / "lock").symlink_to(temporary / "victim")
    with shared_directory():
        assert hostile.exists()
    assert not (temporary / "victim").exists()
