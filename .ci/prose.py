"""Check the English of pages, docstrings, comments and function names, for ``.ci/lint``. The rules: ``prose_rules.py``.

``python .ci/prose.py`` fails if a file has more offences than ``.ci/prose-ratchet.txt`` allows, and lists the new ones.
``python .ci/prose.py --list PATH ...`` lists all offences in files and folders.
``python .ci/prose.py --lower [PATH ...]`` lowers the ratchet to the present counts. It never raises a count.
"""

import hashlib
import json
import re
import subprocess
import sys
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from prose_offences import VERB_ADVICE, Offence, file_offences

RATCHET: Final = Path(".ci/prose-ratchet.txt")
"""A line ``PATH COUNT`` for each file. Git merges by keeping the lines of both sides; the lowest count applies."""
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
    parser.add_argument("--lower", action="store_true", help="lower the ratchet for PATHs")
    parser.add_argument("paths", nargs="*", metavar="PATH", default=["."])
    options = parser.parse_args()
    offences = all_offences()
    counts = {path: len(listed) for path, listed in offences.items()}
    if options.list:
        for path in within(offences, options.paths):
            print_offences(path, offences[path])
        return 0
    if options.lower:
        allowed = lowered(read_ratchet(RATCHET.read_text()), counts, options.paths) if RATCHET.exists() else counts
        RATCHET.write_text("".join(f"{path} {count}\n" for path, count in sorted(allowed.items())))
        return 0
    allowed = read_ratchet(RATCHET.read_text())
    grown = grown_files(counts, allowed)
    for path in grown:
        print(f"{path}: {counts[path]} offences against plain English; {RATCHET} allows {allowed.get(path, 0)}. New:")
        new = without(offences[path], earlier_offences(path))
        print_offences(path, new or offences[path], MOST_SHOWN)
    if grown:
        print("See 'Plain English' in CONTRIBUTING.md.")
    elif (spare := sum(allowed.values()) - sum(counts.values())) > 0:
        print(f"Plain English: {spare} offences fewer than allowed; lower the ratchet: python .ci/prose.py --lower")
    return bool(grown)


def read_ratchet(text: str) -> dict[str, int]:
    allowed: dict[str, int] = {}
    for path, count in (line.rsplit(" ", 1) for line in text.splitlines()):
        allowed[path] = min(int(count), allowed.get(path, int(count)))
    return allowed


def grown_files(counts: dict[str, int], allowed: dict[str, int]) -> list[str]:
    """Return the files with more offences than allowed.

    Files that are not in the ratchet may have as many as all other files have fewer than allowed: text moves to them.
    """
    grown = [path for path, count in counts.items() if count > allowed.get(path, count)]
    new = [path for path, count in counts.items() if count and path not in allowed]
    spare = sum(max(0, count - counts.get(path, 0)) for path, count in allowed.items())
    return sorted(grown if sum(counts[path] for path in new) <= spare else grown + new)


def lowered(allowed: dict[str, int], counts: dict[str, int], paths: list[str]) -> dict[str, int]:
    """Return the ratchet with the present counts of new files and of files in ``paths``. No count grows."""
    grown = set(grown_files(counts, allowed))
    kept = allowed.keys() - within(allowed, paths) | (grown & allowed.keys())
    return {path: counts[path] for path in counts.keys() - grown} | {path: allowed[path] for path in kept}


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


def earlier_offences(path: str) -> list[Offence]:
    """Return the offences of the file at the commit that last changed the ratchet, or none if that is unknown."""
    commit = run("git", "log", "-1", "--format=%H", "--", str(RATCHET)).strip()
    text = run("git", "show", f"{commit}:{path}")
    offences = file_offences(Path(path), text)
    if path.endswith(".py"):
        for _, offence in ruff_offences(run(*RUFF, DOCSTRING_RULES, f"--stdin-filename={path}", "-", text=text)):
            add_unless_known(offences, offence)
    return offences


def without(offences: list[Offence], earlier: list[Offence]) -> list[Offence]:
    """Return the offences whose text was not there earlier."""
    known = Counter((offence.rule, offence.text) for offence in earlier)
    new = []
    for offence in offences:
        known[offence.rule, offence.text] -= 1
        if known[offence.rule, offence.text] < 0:
            new.append(offence)
    return new


def print_offences(path: str, offences: list[Offence], most: int | None = None) -> None:
    for offence in sorted(offences)[:most]:
        print(f"{path}:{offence.line}: {offence.rule}: {offence.text!r} ({offence.advice})")


def run(*command: str | Path, text: str | None = None) -> str:
    return subprocess.run(command, input=text, capture_output=True, text=True, encoding="utf-8").stdout


if __name__ == "__main__":
    sys.exit(main())
