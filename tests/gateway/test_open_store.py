"""The store that a configuration opens, and the errors if it cannot be opened."""

import base64
import builtins
import stat
import sys
from pathlib import Path

import attrs
import pytest

from gateway.config_files.loading import Config, ConfigError, from_mapping
from gateway.open_store import WORKERS_FILE, open_store, shared_by_workers
from gateway.processes.shared_directory import shared_directory
from gateway.stores.encrypted import EncryptedStore
from gateway.stores.errors import Unavailable
from gateway.stores.memory import MemoryStore
from gateway.stores.sql import SqlStore
from gateway.stores.store import Node

KEY = base64.b64encode(bytes(32)).decode()
NODE = Node("r1", "", "response", b"{}")


def config(**storage) -> Config:
    more = {"state_storage": storage} if storage else {}
    return from_mapping(
        {"version": "v0.3.0", "model_providers": [{"model": "openai/gpt-4o", "access_key": "k"}], **more}
    )


async def test_state_is_in_memory_by_default(monkeypatch):
    monkeypatch.delenv(WORKERS_FILE, raising=False)
    store = await open_store(config())
    assert isinstance(store, MemoryStore)
    await store.put([NODE])
    assert await store.get("", "r1") == NODE
    await store.aclose()


async def test_state_can_be_switched_off():
    assert await open_store(config(type="none")) is None


@pytest.mark.parametrize("storage", [{}, {"type": "memory"}], ids=["default", "memory"])
async def test_workers_share_a_file_that_is_deleted_with_them(monkeypatch, storage):
    with shared_directory() as directory:
        path = Path(shared_by_workers(config(**storage), directory)[WORKERS_FILE])
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        monkeypatch.setenv(WORKERS_FILE, str(path))
        one, other = await open_store(config(**storage)), await open_store(config(**storage))
        assert isinstance(one, SqlStore)
        await one.put([NODE])
        assert await other.get("", "r1") == NODE
        await one.aclose()
        await other.aclose()
    assert not path.parent.exists()


async def test_memory_settings_apply_to_the_file_shared_by_workers(monkeypatch, tmp_path):
    storage = config(type="memory", max_bytes="4KiB", encryption_key=KEY)
    env = shared_by_workers(storage, tmp_path)
    monkeypatch.setenv(WORKERS_FILE, env[WORKERS_FILE])
    store = await open_store(storage)
    assert isinstance(store, EncryptedStore)
    assert (await store.size()).limit == 4096
    await store.put([attrs.evolve(NODE, body=b"what was said")])
    await store.aclose()
    assert b"what was said" not in Path(env[WORKERS_FILE]).read_bytes()  # noqa: ASYNC240


@pytest.mark.parametrize("type", ["none", "sqlite", "postgres"])
async def test_workers_with_remote_state_get_no_shared_file(type, tmp_path):
    places = {"sqlite": {"path": str(tmp_path / "s")}, "postgres": {"connection_string": "postgresql://h/d"}}
    assert shared_by_workers(config(type=type, **places.get(type, {})), tmp_path) == {}


def test_workers_start_even_if_no_folder_is_writable(monkeypatch, caplog):
    def refuse(**_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    with shared_directory() as directory:
        assert shared_by_workers(config(), directory) == {}
    assert "each worker stores its own state: set state_storage" in caplog.text


async def test_state_in_a_file_outlives_the_process(tmp_path):
    storage = {"type": "sqlite", "path": str(tmp_path / "state.sqlite"), "encryption_key": KEY}
    first = await open_store(config(**storage))
    assert isinstance(first, EncryptedStore)
    await first.put([NODE])
    await first.aclose()
    second = await open_store(config(**storage))
    assert await second.get("", "r1") == NODE
    await second.aclose()


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("none/state.sqlite", "give a file in a writable directory."), (".", "give a file in a writable directory."),
        ("text", "if this one is damaged, restore a backup, or move it away to start empty."),
    ],
)  # fmt: skip
async def test_an_unusable_file_is_reported_with_its_path(tmp_path, name, advice):
    (tmp_path / "text").write_text("no database " * 1000)
    path = tmp_path / name
    with pytest.raises(ConfigError) as caught:
        await open_store(config(type="sqlite", path=str(path)))
    assert str(caught.value).startswith(f"state_storage.path: cannot use {path}: ")
    assert str(caught.value).endswith(advice)


async def test_a_server_that_is_down_at_the_start_is_a_warning(caplog, tmp_path):
    store = await open_store(config(type="postgres", connection_string=f"postgresql://u:hunter2@/d?host={tmp_path}"))
    assert "the state storage is unreachable" in caplog.text
    assert "hunter2" not in caplog.text
    with pytest.raises(Unavailable, match="is unreachable"):
        await store.put([NODE])
    await store.aclose()


@pytest.mark.server
async def test_an_available_server_is_used(database):
    store = await open_store(config(type="postgres", connection_string=database))
    await store.put([NODE])
    assert await store.get("", "r1") == NODE
    await store.aclose()


@pytest.mark.parametrize(
    ("storage", "package", "module", "words"),
    [
        ({"type": "postgres", "connection_string": "postgresql://h/d"}, "psycopg", "postgres",
         "state_storage.type: postgres needs another package; pip install 'trigate[postgres]'"),
        ({"type": "memory", "encryption_key": KEY}, "cryptography", "encrypted",
         "state_storage.encryption_key: encryption needs another package; pip install 'trigate[encryption]'"),
    ],
)  # fmt: skip
async def test_a_missing_package_is_reported(monkeypatch, storage, package, module, words):
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, f"gateway.stores.{module}", raising=False)
    true_import = builtins.__import__

    def without(name: str, *rest):
        if name.partition(".")[0] == package:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return true_import(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError) as caught:
        await open_store(config(**storage))
    assert str(caught.value) == f"{words}."
