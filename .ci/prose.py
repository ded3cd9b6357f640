"""Check the English of pages, docstrings, comments and function names, for ``.ci/lint``. The rules: ``prose_rules.py``.

``python .ci/prose.py`` fails if a folder has more offences than ``ALLOWED``, and lists those of its changed files.
``python .ci/prose.py --list PATH ...`` lists all offences in files and folders.
"""

import hashlib
import json
import re
import subprocess
import sys
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from prose_offences import VERB_ADVICE, Offence, file_offences

ALLOWED: Final = {"docs": 1, "gateway": 2, "providers": 2}
"""The offences that were in folders before this check. These numbers only fall; everything else has none."""
CACHE: Final = Path(".lint_cache/prose.json")
CHECKED: Final = re.compile(
    r"(?!tests/data/|tests/recordings/|\.ci/prose_).*(\.md|\.py|\.toml|\.ya?ml|justfile|\.ci/lint|\.ci/run)"
)
RUFF_OPTIONS: Final = ("-q", "--no-cache", "--exit-zero", "--output-format=json")
RUFF: Final = (Path(sys.executable).with_name("ruff"), "check", *RUFF_OPTIONS)
DOCSTRING_RULES: Final = "--select=D401,D404"
MOST_SHOWN: Final = 30


def main() -> int:
    parser = ArgumentParser(description="Check the English of pages, docstrings, comments and function names.")
    parser.add_argument("--list", action="store_true", help="list all offences in PATHs")
    parser.add_argument("paths", nargs="*", metavar="PATH", default=["."])
    options = parser.parse_args()
    offences = all_offences()
    if options.list:
        for path in within(offences, options.paths):
            print_offences(path, offences[path])
        return 0
    grown = grown_folders(folder_counts(offences), ALLOWED)
    changed = changed_files() if grown else set()
    for folder, (count, most) in grown.items():
        print(f"{folder or 'other files'}: {count} offences against plain English, and {most} are allowed")
        for path in (path for path in offences if folder_of(path) == folder and (not folder or path in changed)):
            print_offences(path, offences[path], MOST_SHOWN)
    if grown:
        print("See 'Plain English' in CONTRIBUTING.md.")
    return bool(grown)


def folder_of(path: str) -> str:
    """Return the folder of ``ALLOWED`` that has ``path``, or an empty string."""
    return next((folder for folder in ALLOWED if Path(path).is_relative_to(folder)), "")


def folder_counts(offences: Mapping[str, Sequence[Offence]]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for path, listed in offences.items():
        counts[folder_of(path)] += len(listed)
    return counts


def grown_folders(counts: Mapping[str, int], allowed: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    """Return the folders with more offences than allowed, with both numbers."""
    both = {folder: (count, allowed.get(folder, 0)) for folder, count in counts.items()}
    return {folder: numbers for folder, numbers in both.items() if numbers[0] > numbers[1]}


def changed_files() -> set[str]:
    """Return the files that differ from the branch ``main``, or from the last commit if there is no such branch."""
    base = run("git", "merge-base", "HEAD", "main").strip() or "HEAD"
    new = run("git", "ls-files", "--others", "--exclude-standard")
    return {*run("git", "diff", "--name-only", base).splitlines(), *new.splitlines()}


def within(files: Iterable[str], paths: list[str]) -> list[str]:
    """Return the ``files`` that are, or are in, one of ``paths``, sorted."""
    return sorted(file for file in files if any(Path(file).is_relative_to(path) for path in paths))


def all_offences() -> dict[str, list[Offence]]:
    """Return the offences of each checked file in the repository, through a cache by content."""
    listing = run("git", "ls-files", "--cached", "--others", "--exclude-standard")
    rules = b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("prose_*.py")))
    cached = json.loads(CACHE.read_text()) if CACHE.exists() else {}
    fresh, offences = {}, {}
    for path in map(Path, filter(CHECKED.fullmatch, listing.splitlines())):
        if path.is_file():
            content = path.read_bytes()
            key = hashlib.sha256(rules + path.suffix.encode() + content).hexdigest()
            fresh[key] = cached[key] if key in cached else file_offences(path, content.decode())
            offences[str(path)] = [Offence(*offence) for offence in fresh[key]]
    CACHE.parent.mkdir(exist_ok=True)
    complete = CACHE.with_suffix(".new")
    complete.write_text(json.dumps(fresh))
    complete.replace(CACHE)
    for path, offence in ruff_offences(run(*RUFF, DOCSTRING_RULES, ".")):
        add_unless_known(offences.get(path, []), offence)
    return offences


def ruff_offences(report: str) -> Iterable[tuple[str, Offence]]:
    for row in json.loads(report):
        path = Path(row["filename"]).relative_to(Path.cwd()).as_posix()
        yield path, Offence(row["location"]["row"], "verb", row["message"].partition(": ")[2].strip('"'), VERB_ADVICE)


def add_unless_known(offences: list[Offence], offence: Offence) -> None:
    if not any(known[:2] == offence[:2] for known in offences):
        offences.append(offence)


def print_offences(path: str, offences: Sequence[Offence], most: int | None = None) -> None:
    for offence in sorted(offences)[:most]:
        print(f"{path}:{offence.line}: {offence.rule}: {offence.text!r} ({offence.advice})")


def run(*command: str | Path) -> str:
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8").stdout


if __name__ == "__main__":
    sys.exit(main())
