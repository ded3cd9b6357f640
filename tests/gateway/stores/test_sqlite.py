"""The SQLite store's file: unusable paths, its permissions, and its version."""

import contextlib
import os
import sqlite3
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.stores.errors import Unavailable
from tests.support.nodes import node
from tests.support.stores import sqlite_store


@pytest.fixture
def as_nobody() -> Iterator[Callable[[], contextlib.AbstractContextManager[None]]]:
    """Return a context without root's privilege to write read-only files."""

    @contextlib.contextmanager
    def without_privilege() -> Iterator[None]:
        if os.geteuid() != 0:
            yield
            return
        os.seteuid(65534)
        try:
            yield
        finally:
            os.seteuid(0)

    return without_privilege


@pytest.fixture
def directory() -> Iterator[Path]:
    """Yield a directory that the user ``nobody`` may enter."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        inner = Path(name) / "state"
        inner.mkdir(mode=0o777)
        inner.chmod(0o777)
        yield inner


async def test_a_file_that_cannot_be_made_is_unavailable(tmp_path):
    (tmp_path / "text").write_text("no database " * 1000)
    for path, words in (
        (tmp_path / "none" / "state.sqlite", "No such file or directory"),
        (tmp_path / "text" / "state.sqlite", "Not a directory"),
        (tmp_path, "unable to open"),
        (tmp_path / "text", "not a database"),
    ):
        store = sqlite_store(path, 100, None)
        for attempt in (store.open(), store.put([node("a")]), store.get("alice", "a"), store.sweep()):
            with pytest.raises(Unavailable, match=words) as caught:
                await attempt
            assert str(tmp_path) not in str(caught.value)
        await store.aclose()


async def test_a_missing_directory_is_unavailable_until_it_exists_again(directory):
    store = sqlite_store(directory / "state.sqlite", 100, None)
    await store.put([node("a")])
    for path in directory.iterdir():
        path.unlink()
    directory.rmdir()
    for attempt in (store.put([node("b")]), store.get("alice", "a")):
        with pytest.raises(Unavailable, match="No such file"):
            await attempt
    directory.mkdir()
    await store.put([node("b")])
    assert await store.get("alice", "a") is None
    assert await store.get("alice", "b") is not None
    await store.aclose()


async def test_a_directory_that_can_only_be_read_is_unavailable(directory, as_nobody):
    with as_nobody():
        directory.chmod(0o555) if os.geteuid() != 65534 else None
        store = sqlite_store(directory / "none" / "state.sqlite", 100, None)
        with pytest.raises(Unavailable):
            await store.put([node("a")])
        await store.aclose()
    directory.chmod(0o555)
    with as_nobody():
        store = sqlite_store(directory / "state.sqlite", 100, None)
        with pytest.raises(Unavailable, match="Permission denied"):
            await store.put([node("a")])
        await store.aclose()
    directory.chmod(0o777)


async def test_a_file_that_can_only_be_read_is_unavailable(directory, as_nobody):
    path = directory / "state.sqlite"
    store = sqlite_store(path, 100, None)
    await store.put([node("a")])
    await store.aclose()
    path.chmod(0o444)
    with as_nobody():
        store = sqlite_store(path, 100, None)
        with pytest.raises(Unavailable, match="readonly database"):
            await store.put([node("b")])
        await store.aclose()
    path.chmod(0o644)


async def test_the_sqlite_files_are_private(tmp_path):
    before = os.umask(0)
    try:
        store = sqlite_store(tmp_path / "state.sqlite", 100, None)
        await store.put([node("a")])
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
        assert modes == dict.fromkeys(("state.sqlite", "state.sqlite-wal", "state.sqlite-shm"), 0o600)
        await store.aclose()
    finally:
        os.umask(before)


async def test_a_file_of_a_later_version_stays_unchanged(tmp_path):
    store = sqlite_store(tmp_path / "state.sqlite", 100, None)
    await store.put([node("a")])
    await store.aclose()
    with contextlib.closing(sqlite3.connect(tmp_path / "state.sqlite")) as db:
        db.execute("PRAGMA user_version = 99")
    store = sqlite_store(tmp_path / "state.sqlite", 100, None)
    with pytest.raises(Unavailable, match="newer version of trigate"):
        await store.get("alice", "a")
    await store.aclose()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files to another user")
async def test_a_file_that_another_user_put_into_a_shared_directory_is_refused(directory):
    path = directory / "state.sqlite"
    path.touch()
    os.chown(path, 12345, 12345)
    with pytest.raises(Unavailable, match="another user put it where everyone can write"):
        await sqlite_store(path, 100, None).open()
    directory.chmod(0o755)
    store = sqlite_store(path, 100, None)
    await store.open()
    await store.aclose()
