"""Tests of the gateway as PID 1, as in its container: no parent process forwards signals or reaps children."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.harness import (
    ROOT,
    START_SECONDS,
    STOP_SECONDS,
    Wire,
    config,
    eventually,
    free_port,
    post,
    provider,
    request,
)
from tests.support.processes import may_unshare
from tests.support.upstreams import PATHS, STREAM, Raw, fake_upstream

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(
        not may_unshare("--pid", "--fork"), reason="needs unshare and the right to make a PID namespace"
    ),
]
CHUNK = b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":"one"}}]}\n\n'


def ready(port: int) -> bool:
    try:
        return request(f"http://127.0.0.1:{port}", "GET", "/readyz").status == 200
    except OSError:
        return False


def child_of(pid: int) -> int | None:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(children[0]) if children else None


@pytest.mark.parametrize("sent", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.soak)])
def test_pid_1_drains_and_exits_with_0(tmp_path, sent):
    port = free_port()
    with fake_upstream() as upstream:
        upstream.script(Raw(200, STREAM, (CHUNK,), "hang"))
        file = tmp_path / "trigate.yaml"
        settings = config([provider("openai/m", upstream.url, ["chat"])], port, drain=0.3)
        file.write_text(str(settings).replace("True", "true").replace("None", "null"))
        command = ["unshare", "--pid", "--fork", "--kill-child", sys.executable, "-m", "gateway", "serve", str(file)]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            eventually(lambda: ready(port), START_SECONDS, "the gateway is ready")
            gateway = eventually(lambda: child_of(process.pid), what="the process in the namespace")
            with Wire.connect(port) as client:
                asked = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
                client.send(post(PATHS["chat"], asked))
                client.read_until(b"one")
                os.kill(gateway, sent)
                rest = client.read_to_end()
            assert b'"error"' in rest
            assert b"[DONE]" not in rest
            assert process.wait(STOP_SECONDS) == 0
            with pytest.raises(OSError, match="refused"):
                socket.create_connection(("127.0.0.1", port), 5)
        finally:
            process.kill()
            process.wait()
