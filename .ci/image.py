"""Tests the image without a container engine: runs the Dockerfile's commands in a scratch root over this machine's,
then starts the server and its health check.

This machine's tools replace those of the base image, so differences between the two are missed. Needs root,
``unshare``, overlayfs and a package index; without them it prints a message and succeeds. ``python3 .ci/image.py``
"""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.support.image_file import Line, Stage, context, read_image, values_of  # noqa: E402

PYTHON: Final = "/image-python"  # the Python of the base image
PATH: Final = f"{PYTHON}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
START_SECONDS: Final = 30
INSIDE: Final = "--inside"
CONFIG: Final = """
version: v0.3.0
client_keys: [{name: image, key: a-key-for-trying-the-image}]
model_providers: [{model: openai/gpt-4o-mini, access_key: none}]
"""


def main() -> None:
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        print("The Dockerfile's lines are not tried: that takes root and unshare")
        return
    # The mounts are invisible to other processes, and end with this one.
    sys.exit(subprocess.run(["unshare", "--mount", sys.executable, __file__, INSIDE]).returncode)


def build() -> None:
    with tempfile.TemporaryDirectory(prefix="trigate-image-") as folder:
        if not can_mount("-t", "tmpfs", "trigate-image", folder):
            return
        try:
            stages: dict[str, Scratch] = {}
            for number, stage in enumerate(read_image((ROOT / "Dockerfile").read_text())):
                image = Scratch(Path(folder) / str(number), stages)
                if not image.lay():
                    return
                image.build(stage)
                stages[stage.name or str(number)] = image
            image.serve()
        finally:
            subprocess.run(["umount", "--recursive", "--lazy", folder], check=True)


def can_mount(*options: str) -> bool:
    done = subprocess.run(["mount", *options], capture_output=True, text=True)
    if done.returncode != 0:
        print(f"The Dockerfile's lines are not tried: {done.stderr.strip()}")
    return done.returncode == 0


class Scratch:
    """The root of one stage: this machine's, with an overlay for the stage's files."""

    def __init__(self, place: Path, stages: "dict[str, Scratch]") -> None:
        self.root = place / "root"
        self._place = place
        self._stages = stages
        self._env = {"PATH": PATH, "HOME": "/root", **{k: v for k, v in os.environ.items() if k.startswith("PIP_")}}
        self._cwd = "/"
        self._user = "0:0"
        self._command: dict[str, list[str]] = {}

    def lay(self) -> bool:
        for name in ("upper", "work", "root"):
            (self._place / name).mkdir(parents=True)
        layers = f"lowerdir=/,upperdir={self._place}/upper,workdir={self._place}/work"
        if not can_mount("-t", "overlay", "overlay", "-o", layers, str(self.root)):
            return False
        for name in ("proc", "dev"):
            subprocess.run(["mount", "--rbind", f"/{name}", str(self.root / name)], check=True)
        (self.root / "root").chmod(0o711)  # it may contain an interpreter, and the image's user is not root
        self._lay_python(self._place.parent / "python")
        return True

    def _lay_python(self, made: Path) -> None:
        """Copy the base image's Python for a stage. It is created once, because unpacking pip is slow."""
        inside = str(self.root / PYTHON.lstrip("/"))
        if made.exists():
            subprocess.run(["cp", "-a", str(made), inside], check=True)
        else:
            self.run([sys.executable, "-m", "venv", PYTHON])
            subprocess.run(["cp", "-a", inside, str(made)], check=True)

    def build(self, stage: Stage) -> None:
        for line in stage.lines:
            self._follow(line)
        ran = sum(line.word == "RUN" for line in stage.lines)
        print(f"Dockerfile, stage {stage.name or 'last'}: {ran} RUN lines pass", flush=True)

    def _follow(self, line: Line) -> None:
        match line.word:
            case "RUN":
                self.run(["sh", "-ec", line.rest])
            case "COPY":
                self._copy(line)
            case "WORKDIR":
                self._cwd = line.rest
                self._inside(line.rest).mkdir(parents=True, exist_ok=True)
            case "ARG" | "ENV":
                for name, value in values_of(line.rest).items():
                    self._env[name] = value.replace("$PATH", self._env["PATH"])
            case "USER":
                self._user = line.rest
            case "ENTRYPOINT" | "CMD":
                self._command[line.word] = json.loads(line.rest)
            case "HEALTHCHECK":
                self._command[line.word] = json.loads(line.rest.partition("CMD ")[2])
            case "EXPOSE":
                pass
            case word:
                raise NotImplementedError(f"{word} in the Dockerfile is not known here")

    def _inside(self, path: str) -> Path:
        return self.root / os.path.join(self._cwd, path).lstrip("/")

    def _copy(self, line: Line) -> None:
        if line.stage is not None:
            (source,) = line.sources
            source = str(self._stages[line.stage].root / source.lstrip("/"))
            subprocess.run(["cp", "-a", source, str(self._inside(line.target))], check=True)
            return
        for source in line.sources:
            files = [path for path in context() if path.as_posix() == source or Path(source) in path.parents]
            assert files, f"COPY {source}: nothing of it reaches the builder"
            for path in files:
                within = path.relative_to(source) if path.as_posix() != source else Path(path.name)
                target = self._inside(line.target) / within
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / path, target)

    def run(self, command: list[str]) -> None:
        done = self.start(command, stderr=subprocess.STDOUT)
        output = done.communicate()[0]
        assert done.returncode == 0, f"{shlex.join(command)}\n{output}"

    def start(self, command: list[str], **options: int) -> "subprocess.Popen[str]":
        uid, gid = self._user.split(":")
        inside = ["env", "-C", self._cwd, "-i", *(f"{k}={v}" for k, v in self._env.items()), *command]
        chroot = ["chroot", f"--userspec={uid}:{gid}", str(self.root), *inside]
        return subprocess.Popen(chroot, stdout=subprocess.PIPE, text=True, **options)

    def serve(self) -> None:
        """Start the server, wait for its health check, and stop it as an engine does."""
        self._inside("trigate.yaml").write_text(CONFIG)
        server = self.start([*self._command["ENTRYPOINT"], *self._command["CMD"]], stderr=subprocess.STDOUT)
        until = time.monotonic() + START_SECONDS
        try:
            while (check := self.start(self._command["HEALTHCHECK"], stderr=subprocess.DEVNULL)).wait() != 0:
                assert server.poll() is None, server.communicate()[0]
                assert time.monotonic() < until, f"not healthy: {self._command['HEALTHCHECK']}"
                time.sleep(0.1)
            assert check.returncode == 0
        finally:
            server.send_signal(signal.SIGTERM)
            output = server.communicate(timeout=START_SECONDS)[0]
        assert server.returncode == 0, output
        print("The image's command serves as its user, and is healthy")


if __name__ == "__main__":
    build() if INSIDE in sys.argv else main()
