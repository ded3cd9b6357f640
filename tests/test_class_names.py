"""A class name is unique in the code, so that it can be searched for."""

import re
from collections import defaultdict
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent
DEFINED: Final = re.compile(r"^ *class (\w+)[(:]", re.MULTILINE)
PARALLEL: Final = tuple(
    f"providers/{api}/" for api in ("chat", "messages", "responses", "gemini", "converse", "interactions")
)
"""The codecs, which use the same names for the same things."""


def classes() -> dict[str, set[str]]:
    """Return the modules that define each class. The codecs count as one."""
    found: dict[str, set[str]] = defaultdict(set)
    for package in ("configfile", "streams", "providers", "loadtest", "trigate", "gateway"):
        for path in sorted((ROOT / package).rglob("*.py")):
            module = path.relative_to(ROOT).as_posix()
            where = "a codec" if module.startswith(PARALLEL) else module
            for name in DEFINED.findall(path.read_text()):
                found[name].add(where)
    return found


def test_no_two_modules_have_a_class_of_the_same_name():
    assert {name: places for name, places in classes().items() if len(places) > 1} == {}
