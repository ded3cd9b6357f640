"""A YAML file as a plain tree with the position of every key, and the mistakes in it.

YAML 1.1 by PyYAML's safe constructors: no Python objects. Anchors and merge keys work; duplicate keys are mistakes,
except in files of other programs, where the last one applies.
"""

import contextlib
import pathlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from itertools import chain
from typing import Any, Final, TypeAlias

import attrs
import yaml
from yaml.composer import ComposerError
from yaml.constructor import ConstructorError, SafeConstructor
from yaml.resolver import Resolver

from configfile.users_files import open_file

Path: TypeAlias = tuple[str | int, ...]
Places: TypeAlias = Mapping[Path, tuple[int, int]]

_MERGE = "tag:yaml.org,2002:merge"
_TEXT = "tag:yaml.org,2002:str"
_PLAIN = (None, "!", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")
_QUOTED = re.compile(r"('[^']{0,3}'|'<[^']*')|'[^']*'")
_SURROGATE = re.compile("[\ud800-\udfff]")
MAX_BYTES = 2**24  # reading this takes up to a minute
MAX_NODES = 100_000  # anchors expanded: far above any real file, far below a "billion laughs"


LOADERS: Final[tuple[Any, ...]] = (yaml.CSafeLoader, yaml.SafeLoader) if yaml.__with_libyaml__ else (yaml.SafeLoader,)
"""The scanners of YAML, the quickest first: libyaml's takes a sixth of the time.

Its nodes are not used: it composes them recursively in C, so deep nesting would end the process."""


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
    """A file's content, with the place of every key and element.

    ``mistakes`` are those of YAML: keys that appear twice, and values that are ``None`` because of a tag, an anchor or
    half a character."""

    file: str
    content: Any
    duplicates: tuple[str, ...] = ()
    """The places of keys that appear twice, if the reader accepts them."""
    mistakes: tuple[Mistake, ...] = ()
    find_places: Callable[[], Places] = attrs.field(default=dict, repr=False, eq=False)
    """Returns the places of keys and elements, which only mistakes need."""

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
        places = self.find_places()
        nearest = (path[:length] for length in range(len(path), -1, -1) if path[:length] in places)
        line, column = places.get(next(nearest, ()), (None, None))
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
        with open_file(path) as file:
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
        return convert(text, file, last_wins)
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


def convert(text: str, file: str, last_wins: bool = False, loaders: Sequence[Any] = LOADERS) -> Document:
    """Return the one document in ``text``. Raises ``yaml.YAMLError`` and ``RecursionError``.

    The scanner in Python has the last word and words the error: libyaml rejects a few valid texts, and its messages
    differ between versions."""
    quickest, *others = loaders
    try:
        return _Conversion(text, file, last_wins, quickest).document()
    except yaml.YAMLError:
        if not others:
            raise
    return convert(text, file, last_wins, others)


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
    words = ", ".join(part for part in (error.context, problem) if part)
    found = _QUOTED.sub(lambda quoted: quoted[1] or "'…'", words)  # a longer one may be a key
    expected = next(advice for words, advice in _SYNTAX_ADVICE if words in found)
    return _create_error(file, f"not valid YAML: {found}", expected, line, column)


_KEY_ADVICE: Final = "use text as the key, and put a value that begins with { or [ in quotes"

_SYNTAX_ADVICE: Final = (
    ("expected <block end>", "indent the line as much as the other keys or items that belong with it"),
    (
        "expected ','",
        'separate items by commas, close all brackets, put text with brackets in quotes, as "${NAME}"',
    ),
    ("mapping values are not allowed", "indent the line as much as the other keys, or put the value in quotes"),
    ("alias", "put text that begins with * in quotes"),
    ("cannot start any token", "put the text in quotes"),
    ("", "correct the syntax here or in the lines above"),
)
"""Advice by the words of PyYAML's problem; the last row fits every problem."""


class _Conversion:
    """The conversion of the events of one text, with its mistakes and, if ``notes_places``, the places of its keys and
    elements."""

    def __init__(self, text: str, file: str, last_wins: bool, loader: Any, *, notes_places: bool = False) -> None:
        self._source = text, file, last_wins, loader
        self._events: Iterator[yaml.Event] = iter(loader(text).get_event, None)
        self._scalars = SafeConstructor()
        self._plain_tag = cache(partial(Resolver().resolve, yaml.ScalarNode, implicit=(True, False)))
        self._file = file
        self._last_wins = last_wins
        self._notes_places = notes_places
        self._places: dict[Path, tuple[int, int]] = {}
        self._duplicates: list[str] = []
        self._mistakes: list[Mistake] = []
        self._anchors: dict[str, list[yaml.Event]] = {}
        self._open_nodes: set[yaml.Event] = set()
        self._nodes = 0

    def document(self) -> Document:
        """Return the one document of the text. Raises ``yaml.YAMLError``."""
        if "&" in self._source[0]:
            self._events = self._note_anchors(self._events)
        events = self._events
        next(events)  # the start of the stream
        content = None
        if not isinstance(next(events), yaml.StreamEndEvent):
            try:
                content = self._convert(next(events), events, ())
            except (ConstructorError, ConfigError):
                for event in events:  # an error of syntax is reported first
                    self._resolve_alias(event, events)
                raise
            next(events)  # the end of the document
            if not isinstance(other := next(events), yaml.StreamEndEvent):
                raise _composer_error("but found another document", other, "expected a single document in the stream")
        return Document(self._file, content, tuple(self._duplicates), tuple(self._mistakes), self._find_places)

    def _find_places(self) -> Places:
        if not self._notes_places:
            again = _Conversion(*self._source, notes_places=True)
            again.document()
            self._places, self._notes_places = again._places, True
        return self._places

    def _note_anchors(self, events: Iterator[yaml.Event]) -> Iterator[yaml.Event]:
        """Yield ``events``, and note those of each node with an anchor, which its aliases repeat."""
        depth = 0
        open_anchors: list[tuple[int, list[yaml.Event]]] = []
        for event in events:
            anchor = getattr(event, "anchor", None)
            if anchor is not None and not isinstance(event, yaml.AliasEvent):
                if anchor in self._anchors:
                    first = f"found duplicate anchor {anchor!r}; first occurrence"
                    raise _composer_error("second occurrence", event, first)
                self._anchors[anchor] = []
                open_anchors.append((depth, self._anchors[anchor]))
            for _, noted in open_anchors:
                noted.append(event)
            depth += _step(event)
            while open_anchors and open_anchors[-1][0] == depth:
                open_anchors.pop()
            yield event

    def _convert(self, event: yaml.Event, events: Iterator[yaml.Event], path: Path) -> Any:
        """Return the value of the node that begins with ``event``. Consumes its other ``events``."""
        event, events = self._resolve_alias(event, events)
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise _create_error(
                self._file, f"the file has more than {MAX_NODES} values after expanding anchors", "use fewer"
            )
        if self._notes_places:
            self._places.setdefault(path, _position(event))
        if isinstance(event, yaml.ScalarEvent):
            return self._convert_scalar(event, path)
        assert isinstance(event, yaml.CollectionStartEvent)
        if event.tag not in _PLAIN:
            self._add_mistake(event, path, "a tag changes the type of this list or mapping", "remove the tag")
            return self._skip(event, events)
        if event in self._open_nodes:
            self._add_mistake(event, path, "the anchor contains itself", "write the value out")
            return None
        self._open_nodes.add(event)
        try:
            if isinstance(event, yaml.MappingStartEvent):
                return self._convert_mapping(events, path)
            items = enumerate(_until(yaml.SequenceEndEvent, events))
            return [self._convert(item, events, (*path, i)) for i, item in items]
        finally:
            self._open_nodes.discard(event)

    def _resolve_alias(
        self, event: yaml.Event, events: Iterator[yaml.Event]
    ) -> tuple[yaml.Event, Iterator[yaml.Event]]:
        """Return the first event of a node, and the iterator of its others, which are its anchor's for an alias."""
        if not isinstance(event, yaml.AliasEvent):
            return event, events
        if event.anchor not in self._anchors:
            raise _composer_error(f"found undefined alias {event.anchor!r}", event)
        noted = iter(self._anchors[event.anchor])
        return next(noted), noted

    def _skip(self, event: yaml.Event, events: Iterator[yaml.Event]) -> None:
        """Consume the other events of the node that begins with ``event``."""
        depth = 0
        for one in chain((event,), events):
            self._resolve_alias(one, events)
            depth += _step(one)
            if not depth:
                return

    def _tag_of(self, event: yaml.ScalarEvent) -> str:
        if event.tag is not None and event.tag != "!":
            return event.tag
        return self._plain_tag(event.value) if event.implicit[0] else _TEXT

    def _convert_scalar(self, event: yaml.ScalarEvent, path: Path) -> Any:
        if (tag := self._tag_of(event)) == _TEXT:
            return self._whole_text(event, path)
        if tag != self._plain_tag(event.value):  # PyYAML's constructors raise whatever they like for !!bool x
            self._add_mistake(event, path, "a tag changes the type of this value", "remove the tag")
            return None
        try:
            return self._scalars.construct_object(yaml.ScalarNode(tag, event.value, event.start_mark))  # type: ignore[arg-type]
        except ValueError:  # a date such as 2026-99-99, a number with thousands of digits
            what = "a date" if tag.endswith(":timestamp") else "a number"
            self._add_mistake(event, path, f"this looks like {what}, but is not valid", "put it in quotes")
            return None

    def _whole_text(self, event: yaml.ScalarEvent, path: Path) -> str | None:
        """Return the text of ``event``, with each pair of ``\\u`` escapes as its one character, as JSON means it.

        Half a pair is a mistake: it has no UTF-8, so no terminal, log or provider could get it."""
        text: str = event.value
        if text.isascii() or not _SURROGATE.search(text):
            return text
        try:
            return text.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            self._add_mistake(event, path, "half of a surrogate pair is no character", "write the whole character")
            return None

    def _convert_mapping(self, events: Iterator[yaml.Event], path: Path) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        own: dict[str, Any] = {}
        keys: dict[str, yaml.Event] = {}
        is_alias = events is not self._events  # the keys of its anchor are reported
        for event in _until(yaml.MappingEndEvent, events):
            key, others = self._resolve_alias(event, events)
            if not isinstance(key, yaml.ScalarEvent):
                if not is_alias:
                    self._add_mistake(key, path, "a list or mapping cannot be a key", _KEY_ADVICE)
                self._skip(key, others)
                self._skip(next(events), events)
                continue
            if (name := self._whole_text(key, path)) is None:
                self._skip(next(events), events)
                continue
            if name not in keys:
                keys[name] = key
            elif not is_alias:
                self._report_duplicate(key, keys[name], (*path, name))
            if (name == "<<" or key.tag is not None) and self._tag_of(key) == _MERGE:
                self._merge(next(events), events, path, merged)
                continue
            place = (*path, name)
            if self._notes_places:
                self._places[place] = _position(key)
            own[name] = self._convert(next(events), events, place)
        return {**merged, **own} if merged else own

    def _report_duplicate(self, key: yaml.Event, first: yaml.Event, path: Path) -> None:
        if self._last_wins:
            self._duplicates.append(f"{spell(path)} in line {_position(key)[0]}")
        else:
            found = f"this key appears twice, first in line {_position(first)[0]}"
            self._add_mistake(key, path, found, "keep one of them")

    def _merge(self, event: yaml.Event, events: Iterator[yaml.Event], path: Path, into: dict[str, Any]) -> None:
        """Add the members of a ``<<`` key; of several sources the first one wins.

        PyYAML's own merging doubles lists, and can fill the memory.
        """
        places, self._places = self._places, {}
        event, events = self._resolve_alias(event, events)
        is_list = isinstance(event, yaml.SequenceStartEvent)
        sources = _until(yaml.SequenceEndEvent, events) if is_list else (event,)
        for source, merged in reversed([(source, self._convert(source, events, path)) for source in sources]):
            if isinstance(merged, dict):
                into.update(merged)
            else:
                found = "the merge key (<<) needs a mapping"
                self._add_mistake(self._resolve_alias(source, events)[0], path, found, "use an anchor of a mapping")
        for place, position in self._places.items():
            places.setdefault(place, position)
        self._places = places

    def _add_mistake(self, event: yaml.Event, path: Path, found: str, expected: str) -> None:
        self._mistakes.append(Mistake(self._file, spell(path), found, expected, *_position(event)))


def _step(event: yaml.Event) -> int:
    """Return by how many levels the events after ``event`` are deeper."""
    return isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)


def _until(end: type[yaml.Event], events: Iterator[yaml.Event]) -> Iterator[yaml.Event]:
    """Yield the first event of each member of a list or mapping; the caller consumes the others."""
    for event in events:
        if isinstance(event, end):
            return
        yield event


def _composer_error(problem: str, event: Any, context: str | None = None) -> yaml.MarkedYAMLError:
    """Return an error in the words of PyYAML's composer."""
    return ComposerError(context, None, problem, event.start_mark)


def _position(event: Any) -> tuple[int, int]:
    return event.start_mark.line + 1, event.start_mark.column + 1
