"""Memory that is moved to large pages."""

import subprocess
import sys

import pytest

from gateway.processes.huge_pages import private_memory
from tests.support.repository import ROOT

MAPS = """\
5581c0600000-5581c0601000 r-xp 00000000 fe:00 1234 /usr/bin/python3.11
5581c0601000-5581c0602000 rw-p 00001000 fe:00 1234 /usr/bin/python3.11
5581c2000000-5581c2400000 rw-p 00000000 00:00 0                          [heap]
7f0000000000-7f0000100000 rw-p 00000000 00:00 0 
7f0000200000-7f0000300000 rw-s 00000000 00:01 99 /memfd:shared (deleted)
7f0000400000-7f0000500000 ---p 00000000 00:00 0 
7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0                          [stack]
"""  # noqa: W291  # as the system writes it


def test_only_private_memory_without_a_file_is_moved():
    assert list(private_memory(MAPS)) == [
        (0x5581C2000000, 0x5581C2400000),
        (0x7F0000000000, 0x7F0000100000),
    ]


PROGRAM = """
from gateway.processes.huge_pages import use_huge_pages
kept = [bytes([number % 251]) * 4096 for number in range(4096)]
use_huge_pages()
assert kept == [bytes([number % 251]) * 4096 for number in range(4096)]
"""


@pytest.mark.process
def test_moved_memory_keeps_its_content():
    """A process of its own has less memory to move than that of the tests."""
    subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, check=True, timeout=60)
