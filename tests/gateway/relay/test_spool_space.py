"""The default size of the spool fits the disk, or the memory limit if temporary files are in memory."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from gateway.access.held_bytes import ByteShares, HeldBytes
from gateway.config_files.loading import from_mapping
from gateway.relay.spool import LARGEST, SpoolAccount, memory_limit, spool_size
from streams.errors import GatewayError

MIB = 2**20
CONFIG = from_mapping({"version": "v0.3.0", "model_providers": [{"model": "openai/m", "access_key": "k"}]})


def files(folder: Path, contents: Mapping[str, str]) -> Path:
    for name, text in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def proc(tmp_path: Path, kind: str = "tmpfs", cgroup: str = "0::/\n") -> Path:
    """Return a folder like ``/proc`` in which the file system of ``tmp_path`` is of this kind."""
    device = os.stat(tmp_path).st_dev
    mount = f"21 1 0:999 / / rw - ext4 x rw\n22 21 {os.major(device)}:{os.minor(device)} / /tmp rw - {kind} x rw\n"
    return files(tmp_path / "proc", {"self/mountinfo": mount, "self/cgroup": cgroup})


CGROUPS = {
    "container": ("0::/\n", {"memory.max": "536870912\n"}),
    "service": ("0::/a/b\n", {"a/b/memory.max": "max\n", "a/memory.max": "536870912\n"}),
    "version 1": ("9:name=systemd:/x\n4:memory:/a\n", {"memory/a/memory.limit_in_bytes": "536870912\n"}),
    "version 1 in a container": ("4:memory:/docker/a\n", {"memory/memory.limit_in_bytes": "536870912\n"}),
}


@pytest.mark.parametrize(("cgroup", "contents"), CGROUPS.values(), ids=CGROUPS)
def test_temporary_files_in_memory_get_an_eighth_of_the_memory_limit(tmp_path, cgroup, contents):
    """The kernel counts a tmpfs as memory of the group that writes to it (docs.kernel.org, cgroup-v2, "shmem")."""
    groups = files(tmp_path / "cgroup", contents)
    assert memory_limit(proc(tmp_path, cgroup=cgroup), groups) == 512 * MIB
    assert spool_size(tmp_path, proc(tmp_path, cgroup=cgroup), groups) == 64 * MIB


def test_a_disk_has_the_largest_default(tmp_path):
    assert spool_size(tmp_path, proc(tmp_path, "ext4"), tmp_path) == LARGEST
    assert spool_size(tmp_path, tmp_path / "no proc", tmp_path) == LARGEST


def test_without_a_cgroup_the_limit_is_the_machines_memory(tmp_path):
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert memory_limit(tmp_path, tmp_path) == memory
    assert spool_size(tmp_path, proc(tmp_path), tmp_path) == min(LARGEST, memory // 8)


async def test_uploads_leave_half_of_the_free_space_alone():
    """Several workers, and other programs, write to the same disk."""
    held, shares, free = HeldBytes(), ByteShares(CONFIG, "spool"), [100 * MIB]
    account = SpoolAccount(held, shares, "", None, lambda: free[0] - held.total)
    await account.take(40 * MIB)
    for size in (11 * MIB, 60 * MIB):
        with pytest.raises(GatewayError) as refused:
            await account.take(size)
        assert (refused.value.info.status, "half of the free disk space" in refused.value.info.message) == (503, True)
    await account.take(10 * MIB)
    free[0] = 0
    await SpoolAccount(held, shares, "", 100 * MIB, lambda: free[0]).take(10 * MIB)
    account.release(50 * MIB)
    assert held.total == 10 * MIB
