"""Lists the test files that a run on a bare machine skipped in part. ``python .ci/rest.py REPORT.xml``

These are the files with a skipped test in pytest's report (``--junitxml``), and the files that read the recorded
traffic next to the checkout, because it adds cases.
"""

import re
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import Final

TESTS: Final = Path("tests")
READS_SHARED: Final = re.compile(r"^from tests\.support\.repository import .*\bSHARED\b", re.MULTILINE)


def main() -> None:
    files = {*skipped_files(Path(sys.argv[1])), *readers_of_shared()}
    print(*sorted(map(str, files)), sep="\n")


def skipped_files(report: Path) -> Iterator[Path]:
    """Yield the file of each skipped test. A file that is skipped as a whole has its name in place of a test's."""
    for case in ElementTree.parse(report).iter("testcase"):
        if case.find("skipped") is not None:
            module = case.get("classname") or case.get("name") or ""
            yield Path(*module.split(".")).with_suffix(".py")


def readers_of_shared() -> Iterator[Path]:
    """Yield the test files that read the shared folder, directly or through ``tests/support``."""
    texts = {path: path.read_text(encoding="utf-8") for path in TESTS.rglob("*.py")}
    readers = {path for path, text in texts.items() if READS_SHARED.search(text)}
    while True:
        names = "|".join(path.stem for path in readers if path.parent.name == "support")
        imports = re.compile(rf"^from tests\.support(\.({names})\b| import .*\b({names})\b)", re.MULTILINE)
        more = {path for path, text in texts.items() if imports.search(text)} - readers
        if not more:
            break
        readers |= more
    yield from (path for path in readers if path.name.startswith("test_"))


if __name__ == "__main__":
    main()
