"""Every handler of JSON that cannot be decoded handles all exceptions of the decoder.

For invalid UTF-8 it raises ``UnicodeDecodeError``, for deep nesting ``RecursionError``; ``MsgspecError`` has neither.
"""

import ast
import re
from pathlib import Path

from tests.support.repository import ROOT

HOUSES = ("streams", "providers", "gateway", "loadtest")
NAMES = frozenset(("MsgspecError", "DecodeError"))
ATTRIBUTE = re.compile(rf"\.\s*({'|'.join(NAMES)})\b")


def test_handlers_of_undecodable_json_use_the_one_list_of_exceptions():
    """Otherwise a token count with invalid UTF-8 would be an internal error."""
    sources = [path for house in HOUSES for path in sorted((ROOT / house).rglob("*.py"))]
    found = [f"{path.relative_to(ROOT)}:{line}" for path in sources for line in incomplete_handlers(path)]
    assert [one for one in found if not one.startswith("streams/surrogates.py:")] == [], "use NOT_JSON"


def incomplete_handlers(path: Path) -> list[int]:
    """Return the lines that name a general exception of msgspec."""
    text = path.read_text()
    nodes = ast.walk(ast.parse(text)) if ATTRIBUTE.search(text) else ()
    return [node.lineno for node in nodes if isinstance(node, ast.Attribute) and node.attr in NAMES]
