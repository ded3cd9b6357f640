"""A YAML file as a plain tree with the position of every key, and the mistakes in it.

YAML 1.1 by PyYAML's safe constructors: no Python objects. Anchors and merge keys work; duplicate keys are mistakes,
except in files of other programs, where the last one applies.
"""

import contextlib
import pathlib
import re
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import attrs
import yaml

from configfile.nodes import Scalars, compose

Path: TypeAlias = tuple[str | int, ...]

_MERGE = "tag:yaml.org,2002:merge"
_TEXT = "tag:yaml.org,2002:str"
_PLAIN = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")
_QUOTED = re.compile(r"'(?!<)[^']{4,}'")
MAX_BYTES = 2**24  # reading this takes up to a minute
MAX_NODES = 100_000  # anchors expanded: far above any real file, far below a "billion laughs"


@attrs.frozen(repr=False)
class Mistake:
    """One mistake in a file.

    ``line`` and ``column`` count from 1. ``suggestion`` is the nearest valid name. ``known`` are the valid keys of the
    place, listed once for all its mistakes.
    """

    file: str
    path: str
    found: str
    expected: str
    line: int | None = None
    column: int | None = None
    suggestion: str | None = None
    known: tuple[str, ...] = ()

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part)
        where = ": ".join(part for part in (place, self.path) if part)
        text = f"{where}: {self.found}" if where else self.found
        if self.suggestion is not None:
            return f"{text}; did you mean {self.suggestion}?"
        return sentence("; ".join(part for part in (text, self.expected) if part))


class ConfigError(Exception):
    """The error for a configuration with ``mistakes``; its text lists them all, one a line."""

    def __init__(self, mistakes: tuple[Mistake, ...]) -> None:
        super().__init__(mistakes)
        self.mistakes = mistakes

    def __str__(self) -> str:
        return self.list_mistakes("mistakes in the configuration")

    def list_mistakes(self, what: str) -> str:
        """List the mistakes, under the title ``what`` if there are several."""
        keys = tuple(dict.fromkeys(f"The keys {_describe_parent(one.path)} are {', '.join(one.known)}."
                                   for one in self.mistakes if one.known))  # fmt: skip
        if len(self.mistakes) == 1:
            return "\n".join((str(self.mistakes[0]), *keys))
        return "\n".join((f"{len(self.mistakes)} {what}:", *(f"  {mistake}" for mistake in self.mistakes), *keys))


def sentence(text: str) -> str:
    return text if text.endswith((".", "?", "!", "…", ":")) else f"{text}."


def _describe_parent(path: str) -> str:
    """Return words for the mapping that has the key at ``path``; all items of a list have the same keys."""
    holder, dot, _ = re.sub(r"\[\d+\]", "[]", re.sub(r"\['.*'\]$", ".x", path)).rpartition(".")
    return f"of {holder}" if dot and holder else "at the root"


@attrs.frozen
class Document:
    """A file's content, with the line and column of every key and element.

    ``mistakes`` are those of YAML: keys that appear twice, and values that are ``None`` because of a tag or an
    anchor."""

    file: str
    content: Any
    places: Mapping[Path, tuple[int, int]] = attrs.field(factory=dict, repr=False)
    duplicates: tuple[str, ...] = ()
    """The places of keys that appear twice, if the reader accepts them."""
    mistakes: tuple[Mistake, ...] = ()

    def at(self, path: Path) -> Any:
        """Return the content at ``path``, or ``None``."""
        found = self.content
        for step in path:
            try:
                found = found[step]
            except (LookupError, TypeError):
                return None
        return found

    def mistake(
        self, path: Path, found: str, expected: str, suggestion: str | None = None, known: tuple[str, ...] = ()
    ) -> Mistake:
        """Return a mistake at ``path``, with the position of its content or of the nearest parent."""
        line, column = None, None
        for length in range(len(path), -1, -1):
            if path[:length] in self.places:
                line, column = self.places[path[:length]]
                break
        return Mistake(self.file, spell(path), found, expected, line, column, suggestion, known)


def spell(path: Path) -> str:
    """Spell a path as ``model_providers[2].access_key``, with quotes around unusual keys."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif step.replace("_", "a").replace("-", "a").isalnum():
            text += f".{step}" if text else step
        else:
            text += f"[{step!r}]"
    return text


def read_file(path: pathlib.Path) -> Document:
    """Read the document in the file ``path``. Raises ``ConfigError``, also for an unreadable file."""
    return read(read_bytes(path), str(path))


def read_bytes(path: pathlib.Path) -> bytes:
    """Return the content of the file ``path``, at most a byte more than ``MAX_BYTES``. Raises ``ConfigError`` for an
    unreadable file."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        reason = (error.strerror or "unreadable").lower()
        raise ConfigError((Mistake(str(path), "", f"cannot be read: {reason}", "give a readable file"),)) from None


def read(data: bytes, file: str, last_wins: bool = False) -> Document:
    """Read the one document in ``data``. Raises ``ConfigError`` for invalid or unsupported YAML.

    With ``last_wins``, the last of several equal keys applies, as in most YAML parsers; otherwise it is a mistake."""
    found = parse(data, file, last_wins)
    if found.mistakes:
        raise ConfigError(found.mistakes)
    return found


def parse(data: bytes, file: str, last_wins: bool = False) -> Document:
    """Return the one document in ``data`` with its ``mistakes``. Raises ``ConfigError`` for invalid YAML."""
    if len(data) > MAX_BYTES:
        raise _create_error(file, f"the file has more than {MAX_BYTES >> 20} MiB", "give a configuration")
    try:
        text = _replace_tabs(data.decode("utf-8-sig"))
        node = compose(text)
        return Document(file, None) if node is None else _Conversion(file, last_wins).document(node)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _create_error(file, "the file is not UTF-8 text", "save the file as UTF-8", line) from None
    except yaml.MarkedYAMLError as error:
        if (quote := _open_quote(text, error)) is not None:
            place = quote.line + 1, quote.column + 1
            raise _create_error(file, "not valid YAML: the quote has no end on its line", "close it", *place) from None
        raise _syntax_error(file, error) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise _create_error(file, "the file has a control character", "remove it", line) from None
    except RecursionError:
        raise _create_error(file, "the nesting is too deep", "use fewer levels") from None


def _replace_tabs(text: str) -> str:
    """Replace the tabs of indented JSON, the only JSON that is not YAML."""
    return re.sub(r"^\t+", lambda tabs: " " * len(tabs[0]), text, flags=re.M) if text.lstrip()[:1] == "{" else text


def _create_error(
    file: str, found: str, expected: str, line: int | None = None, column: int | None = None
) -> ConfigError:
    return ConfigError((Mistake(file, "", found, expected, line, column),))


def _open_quote(text: str, error: yaml.MarkedYAMLError) -> yaml.Mark | None:
    """Return the place of a quote whose text continues in later lines, to the end of the file or to the ``error``.

    YAML permits such texts, so its errors have the place of the next quote or of the end of the file."""
    found: yaml.Mark | None = None
    if error.context == "while scanning a quoted scalar":
        found = error.context_mark
    elif (at := error.problem_mark) is not None:
        with contextlib.suppress(yaml.YAMLError):
            for token in yaml.scan(text):
                if (token.start_mark.line, token.start_mark.column) >= (at.line, at.column):
                    break
                if isinstance(token, yaml.ScalarToken) and token.style in ("'", '"'):
                    found = token.start_mark if token.start_mark.line < token.end_mark.line == at.line else None
    return found


def _syntax_error(file: str, error: yaml.MarkedYAMLError) -> ConfigError:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (None, None)
    problem = error.problem or "unreadable"
    if "'\\t'" in problem:
        return _create_error(
            file, "the line has a tab", "YAML does not allow tabs here: indent with spaces", line, column
        )
    found = _QUOTED.sub("'…'", ", ".join(part for part in (error.context, problem) if part))  # it may be a key
    expected = next(advice for words, advice in _SYNTAX_ADVICE if words in found)
    return _create_error(file, f"not valid YAML: {found}", expected, line, column)


_KEY_ADVICE: Final = "use text as the key, and put a value that begins with { or [ in quotes"

_SYNTAX_ADVICE: Final = (
    ("expected <block end>", "indent the line as much as the other keys or items that belong with it"),
    ("mapping values are not allowed", "indent the line as much as the other keys, or put the value in quotes"),
    ("alias", "put text that begins with * in quotes"),
    ("cannot start any token", "put the text in quotes"),
    ("", "correct the syntax here or in the lines above"),
)
"""Advice by the words of PyYAML's problem; the last row fits every problem."""


class _Conversion:
    """The conversion of one node graph, with its mistakes."""

    def __init__(self, file: str, last_wins: bool) -> None:
        self._scalars = Scalars()
        self._file = file
        self._last_wins = last_wins
        self._duplicates: list[str] = []
        self._places: dict[Path, tuple[int, int]] = {}
        self._mistakes: list[Mistake] = []
        self._checked_nodes: set[int] = set()
        self._open_nodes: set[int] = set()
        self._nodes = 0

    def document(self, node: yaml.Node) -> Document:
        content = self._convert(node, ())
        return Document(self._file, content, self._places, tuple(self._duplicates), tuple(self._mistakes))

    def _convert(self, node: yaml.Node, path: Path) -> Any:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise _create_error(
                self._file, f"the file has more than {MAX_NODES} values after expanding anchors", "use fewer"
            )
        self._places.setdefault(path, _position(node))
        if isinstance(node, yaml.ScalarNode):
            return self._convert_scalar(node, path)
        if node.tag not in _PLAIN:
            self._add_mistake(node, path, "a tag changes the type of this list or mapping", "remove the tag")
            return None
        if id(node) in self._open_nodes:
            self._add_mistake(node, path, "the anchor contains itself", "write the value out")
            return None
        self._open_nodes.add(id(node))
        try:
            if isinstance(node, yaml.SequenceNode):
                return [self._convert(item, (*path, i)) for i, item in enumerate(node.value)]
            assert isinstance(node, yaml.MappingNode)
            return self._convert_mapping(node, path)
        finally:
            self._open_nodes.discard(id(node))

    def _convert_scalar(self, node: yaml.ScalarNode, path: Path) -> Any:
        if node.tag == _TEXT:
            return node.value
        if node.tag != self._scalars.plain_tag(node):  # PyYAML's constructors raise whatever they like for !!bool x
            self._add_mistake(node, path, "a tag changes the type of this value", "remove the tag")
            return None
        try:
            return self._scalars.construct_object(node)
        except ValueError:  # a date such as 2026-99-99, a number with thousands of digits
            what = "a date" if node.tag.endswith(":timestamp") else "a number"
            self._add_mistake(node, path, f"this looks like {what}, but is not valid", "put it in quotes")
            return None

    def _convert_mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        self._check_keys(node, path)
        found: dict[str, Any] = {}
        for key, value in node.value:
            if key.tag == _MERGE:
                self._merge(value, path, found)
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != _MERGE:
                self._places[*path, key.value] = _position(key)
                found[key.value] = self._convert(value, (*path, key.value))
        return found

    def _merge(self, node: yaml.Node, path: Path, into: dict[str, Any]) -> None:
        """Add the members of a ``<<`` key; of several sources the first one wins.

        PyYAML's own merging doubles lists, and can fill the memory.
        """
        for source in reversed(node.value if isinstance(node, yaml.SequenceNode) else [node]):
            merged = self._convert(source, path)
            if isinstance(merged, dict):
                into.update(merged)
            else:
                self._add_mistake(source, path, "the merge key (<<) needs a mapping", "use an anchor of a mapping")

    def _check_keys(self, node: yaml.MappingNode, path: Path) -> None:
        if id(node) in self._checked_nodes:
            return
        self._checked_nodes.add(id(node))
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._add_mistake(key, path, "a list or mapping cannot be a key", _KEY_ADVICE)
            elif key.value in lines and self._last_wins:
                self._duplicates.append(f"{spell((*path, key.value))} in line {key.start_mark.line + 1}")
            elif key.value in lines:
                first = f"this key appears twice, first in line {lines[key.value]}"
                self._add_mistake(key, (*path, key.value), first, "keep one of them")
            else:
                lines[key.value] = key.start_mark.line + 1

    def _add_mistake(self, node: yaml.Node, path: Path, found: str, expected: str) -> None:
        self._mistakes.append(Mistake(self._file, spell(path), found, expected, *_position(node)))


def _position(node: yaml.Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1
