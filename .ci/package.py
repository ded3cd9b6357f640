"""Tests the package on a machine without the repository: builds an sdist, lets pip build the wheel from it, checks
their files, installs the wheel with only requirements.txt, and runs it from an empty directory.

Needs Python, git and a package index. ``python3 .ci/package.py``
"""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import venv
import zipfile
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
BUILD: Final = "from setuptools import build_meta; build_meta.build_sdist({!r})"
COMMANDS: Final = (
    "import gateway.asgi, pkgutil, importlib, gateway.commands as c\nfor m in pkgutil.iter_modules(c.__path__):"
)
IMPORTS: Final = f"{COMMANDS} importlib.import_module('gateway.commands.' + m.name)"
START_SECONDS: Final = 60.0
OURS: Final = ("configfile", "streams", "providers", "loadtest", "trigate", "gateway")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        bench = Path(folder)
        python = fresh_environment(bench / "venv")
        source = copy_sources(bench / "source")
        ours = {str(path.relative_to(source)) for package in OURS for path in (source / package).rglob("*.*")}
        sdist, wheel = build(python, source, bench / "dist")
        beside = {"PKG-INFO", "pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md"}
        check_files(names_of_sdist(sdist), "sdist", ours | beside)
        check_files(names_of_wheel(wheel), "wheel", ours | {"licenses/LICENSE", "entry_points.txt"})
        run(python, "-m", "pip", "install", "-q", "--no-deps", "--no-index", str(wheel))
        drive(python, bench / "empty")
        print(f"{sdist.name} builds {wheel.name}, which installs and serves", flush=True)


def fresh_environment(path: Path) -> Path:
    """Create an environment with only requirements.txt and the build tools, and return its interpreter."""
    venv.create(path, with_pip=True)
    python = path / "bin/python"
    pip = (python, "-m", "pip", "install", "-q")
    run(*pip, "--require-hashes", "-r", str(ROOT / "requirements.txt"), "-r", str(ROOT / "requirements-build.txt"))
    return python


def copy_sources(source: Path) -> Path:
    """Copy the files that git would commit, so that the build neither changes the repository nor includes stray
    files."""
    listed = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT)
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    return source


def build(python: Path, source: Path, dist: Path) -> tuple[Path, Path]:
    """Return the sdist, and the wheel build from it, which proves that the sdist is complete."""
    run(python, "-W", "ignore", "-c", BUILD.format(str(dist)), cwd=source)
    (sdist,) = dist.glob("*.tar.gz")
    run(python, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(dist), str(sdist))
    (wheel,) = dist.glob("*.whl")
    return sdist, wheel


def names_of_sdist(path: Path) -> set[str]:
    with tarfile.open(path) as archive:
        return {member.name.partition("/")[2] for member in archive if member.isfile()}


def names_of_wheel(path: Path) -> set[str]:
    with zipfile.ZipFile(path) as archive:
        return {re.sub(r"^[^/]*\.dist-info/", "", name) for name in archive.namelist()}


def check_files(names: set[str], kind: str, wanted: set[str]) -> None:
    """Check that all files of ours are included, and no tests."""
    assert not wanted - names, f"not in the {kind}: {sorted(wanted - names)}"
    assert {f"{package}/py.typed" for package in OURS} <= names
    assert any(name.startswith("gateway/features/live_view/pages/") and name.endswith(".html") for name in names)
    foreign = {name for name in names if name.split("/")[0] in ("tests", "bench", "docs", ".ci", ".github")}
    assert not foreign, f"in the {kind}: {sorted(foreign)}"


def drive(python: Path, cwd: Path) -> None:
    """Run the installed package in an empty directory."""
    cwd.mkdir(exist_ok=True)
    trigate = python.with_name("trigate")
    (version,) = re.findall(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.M)
    run(python, "-m", "pip", "check")
    told = run(trigate, "--version", cwd=cwd)
    assert re.fullmatch(rf"trigate, version {re.escape(version)}\nprices: genai-prices \S+, \S+\n", told), told
    run(python, "-I", "-c", IMPORTS, cwd=cwd)
    file = cwd / "trigate.yaml"
    file.write_bytes((ROOT / "config_mock_llm.yaml").read_bytes())
    run(trigate, "check", cwd=cwd)
    file.unlink()
    serving = subprocess.Popen(
        [trigate, "serve", "--demo", "--port", "0", "--pace", "0"], cwd=cwd, env=environment(), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        port = listening_on(serving)
        assert "[DONE]" in request(port, "POST", "/v1/chat/completions", {"model": "demo-messages", "stream": True})
        assert "<html" in request(port, "GET", "/ui").lower()
    finally:
        serving.send_signal(signal.SIGTERM)
        serving.communicate(timeout=START_SECONDS)
    assert serving.returncode == 0


def listening_on(serving: "subprocess.Popen[str]") -> int:
    said = ""
    for line in serving.stdout or ():
        said += line
        if found := re.search(r"listening on http://127\.0\.0\.1:(\d+)", line):
            return int(found[1])
    raise AssertionError(f"it did not start: {said}")


def request(port: int, method: str, path: str, members: dict[str, object] | None = None) -> str:
    body = members and json.dumps({**members, "messages": [{"role": "user", "content": "Hello"}]})
    deadline = time.monotonic() + START_SECONDS
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            connection.request(method, path, body, {"content-type": "application/json"} if body else {})
            reply = connection.getresponse()
            assert reply.status == 200, reply.read()
            return reply.read().decode()
        except ConnectionError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        finally:
            connection.close()


def environment() -> dict[str, str]:
    """Return the environment without variables that lead to the repository or to another configuration."""
    unwanted = {"PYTHONPATH", "TRIGATE_CONFIG", "VIRTUAL_ENV", "XDG_CONFIG_HOME"}
    return {name: value for name, value in os.environ.items() if name not in unwanted} | {"PYTHONUNBUFFERED": "1"}


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """Return the output of a command that must succeed."""
    done = subprocess.run(command, cwd=cwd, env=environment(), text=True, capture_output=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main()
