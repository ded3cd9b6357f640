"""LiteLLM's proxy as a process, for tests that compare it with the gateway. It is no dependency of this project."""

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.harness import eventually, free_port, request

PROGRAM = "TRIGATE_LITELLM"
"""The environment variable with the path of the program ``litellm``, if it is not in ``PATH``."""

START_SECONDS = 180
"""LiteLLM imports hundreds of modules, and creates its tables with a program of its own."""


def program_or_skip() -> str:
    found = os.environ.get(PROGRAM) or shutil.which("litellm")
    if not found:
        pytest.skip(f"LiteLLM is not installed: pip install 'litellm[proxy]' elsewhere, and set {PROGRAM}")
    return found


@contextlib.contextmanager
def litellm_proxy(
    settings: Mapping[str, Any], env: Mapping[str, str] | None = None, files: Mapping[str, str] | None = None
) -> Iterator[str]:
    """Run the proxy with ``settings`` until the end of the block, and yield its URL. ``files`` are next to its file."""
    program, port = program_or_skip(), free_port()
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as log:
        (file := Path(folder) / "litellm.yaml").write_text(yaml.safe_dump(dict(settings)))
        for name, text in (files or {}).items():
            (Path(folder) / name).write_text(text)
        # Its list of prices comes from the package, so that it needs no network.
        own = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "NO_PROXY": "127.0.0.1", **(env or {})}
        path = os.pathsep.join((str(Path(program).parent), os.environ.get("PATH", "")))
        command = (program, "--config", str(file), "--host", "127.0.0.1", "--port", str(port))
        process = subprocess.Popen(
            command, cwd=folder, env={**os.environ, "PATH": path, **own}, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            eventually(lambda: _is_ready(process, url), START_SECONDS, what="LiteLLM's start")
            yield url
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _is_ready(process: "subprocess.Popen[bytes]", url: str) -> bool:
    assert process.poll() is None, "LiteLLM ended before it was ready"
    with contextlib.suppress(OSError):
        return request(url, "GET", "/health/liveliness").status == 200
    return False
