"""Files that users name."""

import os
import shutil
import stat
import subprocess
import sys

import pytest

from configfile.users_files import replace_file
from tests.support.each_row import each_row
from tests.support.harness import ROOT
from tests.support.processes import may_unshare

IN_PLACE = "import sys, pathlib, configfile.users_files as files; files.replace_file(pathlib.Path(sys.argv[1]), b'new')"


def test_a_new_file_has_its_mode_without_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        replace_file(tmp_path / "usual", b"new")
        replace_file(tmp_path / "secret", b"new", 0o600)
    finally:
        os.umask(before)
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {
        "usual": 0o640, "secret": 0o600,
    }  # fmt: skip


def test_a_replaced_file_keeps_its_mode_and_links(tmp_path):
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_bytes(b"old")
    file.chmod(0o604)
    link.symlink_to("file")
    replace_file(link, b"new")
    assert (file.read_bytes(), stat.S_IMODE(file.stat().st_mode)) == (b"new", 0o604)
    assert sorted(tmp_path.iterdir()) == [file, link]
    assert link.is_symlink()


@pytest.mark.process
def test_standard_output_that_is_a_pipe_is_written():
    code = "import pathlib; from configfile.users_files import *; replace_file(pathlib.Path('/dev/stdout'), b'new')"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout == b"new"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
def test_a_replaced_file_keeps_its_owner(tmp_path):
    """The service's user could not read a configuration that root had written again."""
    file = tmp_path / "file"
    file.write_bytes(b"old")
    file.chmod(0o640)
    os.chown(file, 65534, 65533)
    replace_file(file, b"new")
    there = file.stat()
    assert (file.read_bytes(), there.st_uid, there.st_gid) == (b"new", 65534, 65533)
    assert stat.S_IMODE(there.st_mode) == 0o640


def test_private_content_is_never_readable_by_others(tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.write_bytes(b"old")
    file.chmod(0o600)
    seen = []
    monkeypatch.setattr(os, "fchmod", lambda number, _: seen.append(stat.S_IMODE(os.fstat(number).st_mode)))
    replace_file(file, b"new", 0o644)
    assert seen == [0o600]


def test_a_loop_of_links_is_replaced(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    replace_file(tmp_path / "loop", b"new")
    assert (tmp_path / "loop").read_bytes() == b"new"


def test_the_longest_name_is_written(tmp_path):
    replace_file(tmp_path / ("a" * 255), b"new")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"new"]


@pytest.mark.process
@pytest.mark.skipif(not may_unshare("--mount"), reason="needs unshare and the right to make a mount namespace")
@pytest.mark.skipif(shutil.which("mount") is None, reason="needs mount")
@each_row(
    "mount",
    [
        "mount --bind $0/mounted $0/file",
        "mount --bind $0 $0 && mount --bind $0/mounted $0/file && mount -o remount,bind,ro $0",
    ],
)
def test_a_file_that_cannot_be_replaced_is_written_in_place(tmp_path, mount):
    """Containers often have a mounted configuration."""
    for name in ("file", "mounted"):
        (tmp_path / name).write_bytes(b"old")
    command = ["unshare", "--mount", "sh", "-c", f'{mount} && exec {sys.executable} -c "{IN_PLACE}" $0/file', tmp_path]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (found.returncode, found.stderr) == (0, "")
    assert (tmp_path / "mounted").read_bytes() == b"new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "mounted"]
