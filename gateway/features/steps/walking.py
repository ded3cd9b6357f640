"""The walk over a request with a table (``gateway.features.steps.tables``), which finds its texts."""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import attrs

from gateway.features.steps.attachments import Attachment
from gateway.features.steps.joined_texts import JoinedPassage, seams_between
from gateway.features.steps.json_texts import (
    JsonDocument,
    Route,
    document_text,
    is_document,
    raw_text,
    string_text,
    without_surrogates,
)
from gateway.features.steps.shapes import ANYTHING, EXEMPT, OTHER, Leaf, Scope, Shape
from gateway.features.steps.text_pieces import Form, Removal, TextPiece, read_summary
from providers.responses.tools import is_own_id
from trigate.steps import Part, Passage


@attrs.define(eq=False)  # created for each item; cheaper than a frozen value
class TextContext:
    """The facts that apply to the values in an object."""

    part: Part = "other"
    tool: str | None = None
    media_type: str | None = None
    removal: Removal | None = None
    turn: int | None = None
    item: tuple[Route, int] | None = None
    """The route of the enclosing array and the index in it."""

    def in_item(self, item: tuple[Route, int] | None) -> "TextContext":
        """Return the context of an item of an array."""
        return TextContext(self.part, self.tool, self.media_type, self.removal, self.turn, item)


@attrs.define(eq=False)
class PassageDraft:
    """A passage whose text may continue in the next item."""

    part: Part
    path: str
    tool: str | None
    pieces: list[TextPiece]
    turn: int | None = None
    removal: Removal | None = None
    item: tuple[Route, int] | None = None
    media_type: str | None = None
    data: bytes | None = None

    def passage(self) -> Passage:
        if len(self.pieces) == 1:
            text = self.pieces[0].text
        else:
            texts = [piece.text for piece in self.pieces]
            text = "".join(texts)
            if seams := seams_between(texts):
                return JoinedPassage(self.part, self.path, text, self.tool, seams=seams)
        if self.data is None:
            return Passage(self.part, self.path, text, self.tool)
        digest = hashlib.sha256(self.data).hexdigest()
        return Passage(self.part, self.path, text, self.tool, 0, self.media_type, len(self.data), digest, self.data)


class TextWalk:
    """A walk over a request with a table, which collects drafts of passages."""

    def __init__(
        self, document: JsonDocument, parts: frozenset[str], spell: Callable[[str], str] | None, most: int | None = None
    ) -> None:
        """Begin a walk that finds at most ``most`` texts; the others count as unreadable."""
        self.drafts: list[PassageDraft] = []
        self.unreadable: dict[str, Part | None] = {}
        self.last_answer = -1
        self.has_turns = False
        self._document = document
        self._body = document.data
        self._parts = parts
        self._spell = spell
        self._most = most
        self._tools: dict[str, str] = {}  # names by the ids of calls
        self._joining: PassageDraft | None = None  # the last text that the next item may continue

    def value(self, value: Any, shape: Shape, path: str, context: TextContext, route: Route = ()) -> None:
        """Collect the texts of ``value``, which is at ``route``."""
        first = _FIRST.get(type(value)) or self._document.first_byte(value)
        if shape.leaf.kind == "tokens" and first != b'"' and self._is_numbers(route):
            self.unreadable[path] = None
        elif first == b"{" and (shape.members is not None or shape.cases is not None):
            self._object(value, shape, path, context, route)
        elif first == b"{" and shape.items is not None:  # one object in place of a list, as Google's examples have it
            if shape.turns:
                context = self._in_turn(0, context.in_item(None))
            self.value(value, shape.items, path, context, route)
        elif first == b"[" and shape.items is not None:
            for index, inner in enumerate(self._document.items(value)):
                inside = context.in_item((route, index))
                if shape.turns:
                    inside = self._in_turn(index, inside)
                self.value(inner, shape.items, f"{path}[{index}]", inside, (*route, index))
        elif first == b'"':
            self._string(value, shape.leaf, path, context, route)
        elif first in (b"{", b"["):
            if first == b"{" and shape.scope is not None:
                context = self._enter(shape.scope, self._document.members(value), context, route)
            self._container(shape.leaf, path, context, route)
        elif first and shape.leaf.kind in _WITH_NUMBERS and first in b"-0123456789":
            self._add(shape.leaf, path, context, route, "document")

    def _object(self, value: Any, shape: Shape, path: str, context: TextContext, route: Route) -> None:
        members, spell = self._document.members(value), self._spell
        spelled = members if spell is None else [(spell(name), member) for name, member in members]
        while shape.cases is not None:
            words = {self._word(member) for name, member in spelled if name == shape.cases.by}
            shape = shape.cases.shape_of(words)
        known, scope, count = shape.members or {}, shape.scope, len(self.drafts)
        if scope is not None:
            context = self._enter(scope, members, context, route)
        prefix = path + "." if path else ""
        for index, (name, member) in enumerate(members):
            inner = known.get(spelled[index][0])
            if inner is EXEMPT and (type(member) in _SCALARS or self._document.first_byte(member) not in (b"{", b"[")):
                continue
            if inner is None:
                name = without_surrogates(name)
                self._add(OTHER, prefix + name, _NO_CONTEXT, (*route, index), "key", name)
                inner = ANYTHING
            self.value(member, inner, prefix + name, context, (*route, index))
        if scope is not None and scope.tool and context.tool and not self._shows_tool(context.tool, count):
            self._add(Leaf("text", scope.part), path, context, route, "none")

    def _shows_tool(self, name: str, first: int) -> bool:
        """Return whether a draft from number ``first`` on has the tool ``name``, other than its pictures."""
        return any(draft.tool == name and draft.part in _OF_TOOLS for draft in self.drafts[first:])

    def _in_turn(self, index: int, context: TextContext) -> TextContext:
        self.has_turns = True
        context.turn = index
        return context

    def _enter(
        self, scope: Scope, members: Sequence[tuple[str, Any]], context: TextContext, route: Route
    ) -> TextContext:
        """Return the context of the object's values."""
        part = scope.part or context.part
        if part in _ANSWERS and context.turn is not None:
            self.last_answer = max(self.last_answer, context.turn)
        if scope.is_plain:
            tool = context.tool if scope.tool_name is None else scope.tool_name
            return TextContext(part, tool, context.media_type, context.removal, context.turn, context.item)
        names = self._by_name(members)
        tool = self._tool_name(scope, names) or context.tool
        media_type, removal = None, context.removal
        for member in scope.media:
            if member in names:
                media_type = self._media_type(scope, names, member)
                break
        for path in scope.sealed:
            if self._find(names, path) is not None:
                removal = self._removal(scope, context, route)
                break
        return TextContext(part, tool, media_type or context.media_type, removal, context.turn, context.item)

    def _tool_name(self, scope: Scope, names: dict[str, Any]) -> str | None:
        """Return the name of the tool that an object calls or defines, or the result is from."""
        tool = scope.tool_name
        for path in scope.tool:
            if name := self._find_text(names, path):
                tool = name
                break
        for member in scope.call_id:
            if tool is not None and (id := self._find_text(names, member)):
                self._tools[id] = tool
        for member in scope.result_of:
            if tool is None and (id := self._find_text(names, member)):
                tool = self._tools.get(id)
        return tool

    def _removal(self, scope: Scope, context: TextContext, route: Route) -> Removal | None:
        if scope.removes:
            return Removal(route, names=scope.removes)
        return None if context.item is None else Removal(*context.item)

    def _media_type(self, scope: Scope, names: dict[str, Any], member: str) -> str | None:
        word = self._find_text(names, member)
        if word is None:
            return None
        types = scope.media_types
        return types + word if isinstance(types, str) else types.get(word, "application/octet-stream")

    # Values

    def _string(self, value: Any, leaf: Leaf, path: str, context: TextContext, route: Route) -> None:
        match leaf.kind:
            case "text" | "tokens":
                self._add(leaf, path, context, route, "string", value)
            case "json":
                self._add(leaf, path, context, route, "quoted", value)
            case "url" | "data":
                self._file(value, leaf, path, context, route)
            case "summary":
                text = read_summary(self._text(value))
                if text is not None:
                    self._add(leaf, path, context, route, "summary", text)
            case "name":
                if self._text(value) != context.tool:
                    self._add(leaf, path, context, route, "string", value)
            case "foreign":
                if not is_own_id(self._text(value)):  # those of the gateway are not sent
                    self.unreadable[path] = None

    def _container(self, leaf: Leaf, path: str, context: TextContext, route: Route) -> None:
        """Add an object or array that the table does not describe, as JSON text."""
        if leaf.kind == "echo" or (leaf.kind in ("data", "exempt") and self._is_numbers(route)):
            return
        if leaf.kind == "exempt" and leaf.part is None:
            leaf = OTHER
        self._add(leaf, path, context, route, "document")

    def _is_numbers(self, route: Route) -> bool:
        """Return whether the value at ``route`` is a number, or consists of arrays of numbers."""
        return _NUMBERS.fullmatch(self._body, *self._document.span(route)) is not None

    def _file(self, value: Any, leaf: Leaf, path: str, context: TextContext, route: Route) -> None:
        """Add the file in a string: its text, or a medium, or content that no step can read. A URL is text."""
        file = Attachment.of(self._content(value), context.media_type)
        if leaf.kind == "url" and not file.prefix:
            self._add(Leaf("text", leaf.part or "media"), path, context, route, "string", value)
            return
        part = leaf.part or context.part
        text = file.read_text() if part in self._parts else None
        if text is not None:
            self._add(Leaf("text", part), path, context, route, "file", text)
            return
        if part in self._parts and part != "media" and not file.is_media:
            self.unreadable[path] = part
        if file.has_stray_characters:
            self._add(OTHER, path, context, route, "string", value)
        elif "media" in self._parts:
            draft = PassageDraft("media", path, context.tool, [TextPiece(route, "file", "")], context.turn)
            draft.media_type, draft.data = file.media_type, file.data
            self.drafts.append(draft)

    def _content(self, value: Any) -> bytes:
        """Return the bytes of a string without escapes. A file may have megabytes."""
        if type(value) is str:
            return without_surrogates(value).encode()
        written = self._body[value.start + 1 : value.end - 1]
        return string_text(written).encode() if b"\\" in written else written

    def _add(
        self,
        leaf: Leaf,
        path: str,
        context: TextContext,
        route: Route,
        form: Form,
        value: Any = None,
    ) -> None:
        """Add the text ``value`` at ``route``, or the texts of the JSON document there."""
        part = leaf.part or context.part
        if part not in self._parts:
            return
        if len(self.drafts) == self._most:
            self.unreadable[f"more than {self._most:,} texts"] = None
            return
        removal = context.removal
        if removal is not None and removal.names and part != "reasoning":
            removal = None
        pieces = []
        if form != "none":
            pieces.append(self._piece(route, form, value))
        last = self._joining
        if leaf.joins and last is not None and removal is None and _continues(last, part, context):
            last.pieces += pieces
            last.item = context.item
            return
        tool = context.tool if part in _OF_TOOLS else None
        draft = PassageDraft(part, path, tool, pieces, context.turn, removal, context.item)
        self.drafts.append(draft)
        if leaf.joins:
            self._joining = draft

    def _piece(self, route: Route, form: Form, value: Any) -> TextPiece:
        """Return the text ``value`` at ``route``, or the JSON text there."""
        if form == "document":
            start, end = self._document.span(route)
            return TextPiece(route, form, document_text(raw_text(self._body[start:end])))
        text = value if type(value) is str and value.isascii() else self._text(value)
        if form == "quoted":
            if is_document(text):
                return TextPiece(route, form, document_text(text))
            form = "string"
        return TextPiece(route, form, text)

    # Members

    def _by_name(self, members: Sequence[tuple[str, Any]]) -> dict[str, Any]:
        return dict(members) if self._spell is None else {self._spell(name): value for name, value in members}

    def _text(self, value: Any) -> str:
        return without_surrogates(self._document.text(value))

    def _word(self, value: Any) -> str:
        """Return a string's text or a literal, and no word for any other value."""
        if type(value) is str:
            return value
        if self._document.first_byte(value) == b'"':
            return self._text(value)
        return _LITERALS.get(str(value), _NO_WORD)

    def _find_text(self, names: dict[str, Any], path: str) -> str | None:
        found = self._find(names, path)
        return self._text(found) if found is not None and self._document.first_byte(found) == b'"' else None

    def _find(self, names: dict[str, Any], path: str) -> Any:
        """Return the member at ``path``, whose names are separated by dots, ``None`` for null and empty ones."""
        name, _, rest = path.partition(".")
        value = names.get(name)
        if value is None or value == "" or value == []:
            return None
        if not rest:
            return value
        if self._document.first_byte(value) != b"{":
            return None
        return self._find(self._by_name(self._document.members(value)), rest)


_FIRST: Final[Mapping[type, bytes]] = {str: b'"', tuple: b"{", list: b"["}
_SCALARS: Final = frozenset((str, float, bool, type(None)))
_LITERALS: Final = {"True": "true", "False": "false", "None": "null"}
_NO_WORD: Final = "\0"
_NO_CONTEXT: Final = TextContext()
_WITH_NUMBERS: Final = frozenset(("text", "json", "name", "url"))
"""The kinds of values whose place may have a number, which is text, too."""
_OF_TOOLS: Final = frozenset(("tool_calls", "tool_results", "tools"))
_ANSWERS: Final = frozenset(("assistant", "reasoning", "tool_calls"))
_NUMBERS: Final = re.compile(rb"[\[ \t\r\n]*+[0-9-][\[\]0-9,. \t\r\n+eE-]*+")


def _continues(last: PassageDraft, part: Part, context: TextContext) -> bool:
    """Return whether the next text continues ``last``: the same part and tool in the next item of an array."""
    if last.item is None or context.item is None or last.part != part or last.tool != context.tool:
        return False
    return last.removal is None and last.item[0] == context.item[0] and last.item[1] + 1 == context.item[1]
