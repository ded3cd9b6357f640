"""Installation of the real programs, at the versions pinned in this folder, outside the project.

``$TRIGATE_CLIENTS``, else ``~/.cache/trigate/clients``, holds ``node`` (packages of npm), ``python`` and ``aider``
(virtual environments: aider pins versions that conflict with all others).
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
CACHE = Path(os.environ.get("TRIGATE_CLIENTS") or Path.home() / ".cache/trigate/clients")
POSTINSTALLS = {"@anthropic-ai/claude-code": "install.cjs", "opencode-ai": "postinstall.mjs"}
"""The scripts that complete two of the packages: npm no longer runs scripts by default."""


def node() -> Path:
    """Return the folder with ``node_modules`` and a copy of the programs, from which Node finds the packages."""
    folder = CACHE / "node"
    pins = HERE / "package.json"
    if _stale(folder, pins):
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(pins, folder)
        command = ["npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts", "--silent"]
        subprocess.run(command, cwd=folder, check=True)
        for package, script in POSTINSTALLS.items():
            subprocess.run(["node", script], cwd=folder / "node_modules" / package, check=True)
        _mark_installed(folder, pins)
    shutil.copytree(HERE / "programs", folder / "programs", dirs_exist_ok=True)
    return folder


def python(name: str) -> Path:
    """Return the virtual environment ``name``, with the packages of ``NAME.txt``."""
    folder, pins = CACHE / name, HERE / f"{name}.txt"
    if _stale(folder, pins):
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        command = [folder / "bin/pip", "install", "-q", "--require-hashes", "-r", pins]
        subprocess.run(command, check=True)
        _mark_installed(folder, pins)
    return folder


def _stale(folder: Path, pins: Path) -> bool:
    mark = folder / "installed"
    return not mark.exists() or mark.read_text() != _digest(pins)


def _mark_installed(folder: Path, pins: Path) -> None:
    (folder / "installed").write_text(_digest(pins))


def _digest(pins: Path) -> str:
    return hashlib.sha256(pins.read_bytes()).hexdigest()


def version(package: str, lives: str) -> str:
    """Return the version pinned for ``node`` or a virtual environment, as both may have a package of that name."""
    if lives == "node":
        return str(json.loads((HERE / "package.json").read_text())["dependencies"][package])
    for line in (HERE / f"{lives}.txt").read_text().splitlines():
        name, _, rest = line.partition("==")
        if name == package:
            return rest.split(" ")[0]
    raise KeyError(package)
