"""Temporary files in memory stay within a container's memory limit."""

import contextlib
import http.client
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.features import needs_feature
from tests.support.harness import config, running
from tests.support.multipart import KIND

MIB = 2**20
LIMIT = 384 * MIB
GROUPS = (
    (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"),
    (Path("/sys/fs/cgroup"), "memory.max"),
)
SHARED_MEMORY = Path("/dev/shm")

pytestmark = pytest.mark.process


@pytest.fixture
def group() -> Iterator[Path]:
    """Return a new cgroup with the memory limit ``LIMIT``."""
    for root, name in GROUPS:
        with contextlib.suppress(OSError):
            path = Path(tempfile.mkdtemp(prefix="trigate-test-", dir=root))
            try:
                (path / name).write_text(str(LIMIT))
                yield path
                return
            finally:
                path.rmdir()
    pytest.skip("this process cannot create a cgroup with a memory limit")


@pytest.fixture
def in_memory(monkeypatch) -> None:
    if not SHARED_MEMORY.is_dir():
        pytest.skip("there is no /dev/shm")
    monkeypatch.setenv("TMPDIR", str(SHARED_MEMORY))


def upload(port: int, size: int) -> tuple[int, bytes]:
    """Send a form with a file of ``size`` bytes before the field ``model``, and return the response."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    boundary = KIND.partition("boundary=")[2]
    head = f'--{boundary}\r\ncontent-disposition: form-data; name="file"; filename="a.png"\r\n\r\n'.encode()
    connection.putrequest("POST", "/v1/images/edits")
    connection.putheader("content-type", KIND)
    connection.putheader("content-length", str(len(head) + size))
    connection.endheaders(head)
    with contextlib.suppress(ConnectionError):  # the response comes before the end of the upload
        for _ in range(size // MIB):
            connection.send(bytes(MIB))
    response = connection.getresponse()
    return response.status, response.read()


@needs_feature("other_endpoints")
def test_an_upload_larger_than_the_containers_memory_does_not_end_the_gateway(group, in_memory):
    """The kernel counts a tmpfs as memory of the group that writes to it, and ends the process beyond the limit."""
    with running(config([{"model": "openai/gpt-image-1", "access_key": "k"}])) as gateway:
        (group / "cgroup.procs").write_text(str(gateway.pid))
        status, body = upload(gateway.port, LIMIT + 64 * MIB)
        assert (status, b"limits.spool" in body) == (413, True)
        assert str(LIMIT // 8).encode() in body
        assert gateway.request("GET", "/healthz").status == 200
