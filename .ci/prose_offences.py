"""Find the offences of one file against ``prose_rules.py``, for ``prose.py``."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

from prose_rules import LONGEST_SENTENCE, METAPHORS, NAME, NO_VERB, OPENINGS, WORDS

CODE: Final = re.compile(r"``.+?``|`[^`]+`", re.DOTALL)
COMMENT: Final = re.compile(r"(?P<alone>\s*#:? )(?P<text>.*)|.*\S\s\s+# (?!noqa|type:)(?P<trailing>.*)")
MARKUP: Final = re.compile(r"!?\[([^]]*)\]\([^)]*\)|<[^>]*>|\*\*")
SENTENCE_END: Final = re.compile(r"(?<=[.!?])(?<!e\.g\.)(?<!i\.e\.)(?<!vs\.)[\"')*_]*\s+(?=[A-Z\"'(*\[\d])|\Z")
BLOCK_START: Final = re.compile(r"\s*(?:[-*+]|\d+\.)\s+|\s*#+\s+|(?:\s*>\s*)+")
FENCE: Final = re.compile(r"\s*(?:>\s*)?(```+|~~~+)")
PAGE_WORDS: Final = (*WORDS, *METAPHORS)
FUNCTION: Final = (ast.FunctionDef, ast.AsyncFunctionDef)
BLOCKS: Final = ("body", "orelse", "finalbody", "handlers", "cases")
"""The members of syntax nodes that are lists of statements."""
VERB_ADVICE: Final = "begin with an imperative verb, such as Return"
NAME_ADVICE: Final = "name it by a verb and an object, or the value that it returns; a boolean by is_, has_"


class Offence(NamedTuple):
    line: int
    rule: str
    text: str
    advice: str


def file_offences(path: Path, text: str) -> list[Offence]:
    """Return the offences in a page, a module, or the comments of any other file."""
    if path.suffix == ".md":
        paragraphs = markdown_paragraphs(text)
        return [offence for place in paragraphs for offence in text_offences(*place, is_page=True)]
    found = [offence for place in comments(text) for offence in text_offences(*place)]
    return found + list(module_offences(text)) if path.suffix == ".py" else found


def text_offences(line: int, paragraph: str, is_page: bool = False) -> Iterator[Offence]:
    """Yield the offences in a paragraph that begins on ``line``."""
    text = CODE.sub(lambda code: "CODE" + "\n" * code[0].count("\n"), paragraph)
    text = MARKUP.sub(lambda markup: (markup[1] or "") + "\n" * markup[0][len(markup[1] or "") :].count("\n"), text)
    start = 0
    for end in SENTENCE_END.finditer(text):
        row = line + text.count("\n", 0, start + len(text[start:]) - len(text[start:].lstrip()))
        words = text[start : end.start()].split()
        sentence, size = " ".join(words), sum(any(map(str.isalnum, word)) for word in words)
        start = end.end()
        if is_page and size > LONGEST_SENTENCE:
            yield Offence(row, "long", sentence, f"{size} words, not {LONGEST_SENTENCE} at most: split it")
        for opening, advice in OPENINGS:
            if opening.match(sentence) and not sentence.endswith("?"):
                yield Offence(row, "opening", " ".join(words[:8]), advice)
    words = PAGE_WORDS if is_page else WORDS
    for match in pattern_of(words).finditer(text):
        context = " ".join(text[max(0, match.start() - 25) : match.end() + 25].split())
        advice = words[(match.lastindex or 1) - 1][1]
        yield Offence(line + text.count("\n", 0, match.start()), "word", f"{match[0]}: … {context} …", advice)


@cache
def pattern_of(words: tuple[tuple[str, str], ...]) -> re.Pattern[str]:
    """Return a pattern with a group for each of ``words``."""
    union = "|".join(f"({pattern})" for pattern, _ in words).replace(" ", r"\s+")
    return re.compile(rf"(?<![\w-])(?:{union})(?![\w-])", re.IGNORECASE)


def markdown_paragraphs(text: str) -> Iterator[tuple[int, str]]:
    """Yield the first line and the text of each paragraph, heading, item and cell outside of code blocks."""
    text = re.sub(r"<!--.*?-->", lambda comment: "\n" * comment[0].count("\n"), text, flags=re.DOTALL)
    first, lines, fence = 1, list[str](), ""
    for number, line in enumerate([*text.split("\n"), ""], 1):
        marker, block, is_row = FENCE.match(line), BLOCK_START.match(line), line.lstrip().startswith("|")
        if lines and (marker or block or is_row or not line.strip()):
            yield first, "\n".join(lines)
            lines = []
        if marker:
            fence = "" if fence and marker[1].startswith(fence) else fence or marker[1]
        elif is_row and not fence:
            yield from ((number, cell.strip()) for cell in re.split(r"(?<!\\)\|", CODE.sub("`CODE`", line)))
        elif line.strip() and not fence:
            first = first if lines else number
            lines.append(line[block.end() :] if block else line)


def comments(text: str) -> Iterator[tuple[int, str]]:
    """Yield the first line and the text of each comment. Consecutive lines are one comment."""
    first, lines = 1, list[str]()
    for number, line in enumerate([*text.split("\n"), ""], 1):
        comment = COMMENT.fullmatch(line) if "#" in line else None
        if comment and comment["alone"]:
            first = first if lines else number
            lines.append(comment["text"])
            continue
        if lines:
            yield first, "\n".join(lines)
            lines = []
        if comment:
            yield number, comment["trailing"]


def module_offences(text: str) -> Iterator[Offence]:
    """Yield the offences in a module's docstrings and in the names of its functions."""
    for node in statements(ast.parse(text)):
        if isinstance(node, FUNCTION) and NAME.fullmatch(node.name):
            yield Offence(node.lineno, "name", node.name, NAME_ADVICE)
        for statement in node.body if isinstance(node, (*FUNCTION, ast.ClassDef, ast.Module)) else ():
            match statement:
                case ast.Expr(value=ast.Constant(value=str(docstring))):
                    starts_function = isinstance(node, FUNCTION) and statement is node.body[0]
                    if starts_function and needs_verb(node) and NO_VERB.match(docstring.strip()):
                        yield Offence(statement.lineno, "verb", docstring.strip().split("\n")[0], VERB_ADVICE)
                    for offence in text_offences(statement.lineno, docstring):
                        if not (starts_function and offence[:2] == (statement.lineno, "opening")):
                            yield offence


def statements(node: ast.AST) -> Iterator[ast.AST]:
    """Yield ``node`` and the statements in it, without their expressions, which are most of a module."""
    yield node
    for block in BLOCKS:
        for inner in getattr(node, block, ()):
            yield from statements(inner)


def needs_verb(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Return whether a docstring of ``function`` needs a verb: tests and properties do not, as for ruff."""
    return not function.name.startswith("test_") and not any(
        "property" in ast.unparse(one) for one in function.decorator_list
    )
