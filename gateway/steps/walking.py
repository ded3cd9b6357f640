"""The walk over a request's bytes with a table (``gateway.steps.tables``), which finds its texts."""

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Sequence
from typing import Final

import attrs

from gateway.steps import json_texts
from gateway.steps.json_texts import Member, document_text, is_document, raw_text, string_text
from gateway.steps.shapes import ANYTHING, EXEMPT, OTHER, Leaf, Scope, Shape
from gateway.steps.text_pieces import Form, Removal, TextPiece, read_summary
from providers.responses.ids import is_own_id
from trigate.steps import Part, Passage


@attrs.define(eq=False)  # created for each item; cheaper than a frozen value
class TextContext:
    """The facts that apply to the values in an object."""

    part: Part = "other"
    tool: str | None = None
    media_type: str | None = None
    removal: Removal | None = None
    turn: int | None = None
    item: tuple[int, int] | None = None
    """The start of the enclosing array and the index in it."""

    def in_item(self, item: tuple[int, int] | None) -> "TextContext":
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
    item: tuple[int, int] | None = None
    media_type: str | None = None
    data: bytes | None = None

    def passage(self) -> Passage:
        text = self.pieces[0].text if len(self.pieces) == 1 else "".join(piece.text for piece in self.pieces)
        if self.data is None:
            return Passage(self.part, self.path, text, self.tool)
        digest = hashlib.sha256(self.data).hexdigest()
        return Passage(self.part, self.path, text, self.tool, 0, self.media_type, len(self.data), digest, self.data)


class TextWalk:
    """A walk over a request with a table, which collects drafts of passages."""

    def __init__(self, body: bytes, parts: frozenset[str], spell: Callable[[str], str] | None) -> None:
        self.drafts: list[PassageDraft] = []
        self.unreadable: list[str] = []
        self.held: list[tuple[str, str]] = []
        self.last_answer = -1
        self.has_turns = False
        self._body = body
        self._parts = parts
        self._spell = spell
        self._tools: dict[str, str] = {}  # names by the ids of calls
        self._joining: PassageDraft | None = None  # the last text that the next item may continue

    def value(self, start: int, end: int, shape: Shape, path: str, context: TextContext) -> None:
        """Collect the texts of the value between ``start`` and ``end``."""
        first = self._body[start : start + 1]
        if shape.leaf.kind == "tokens" and _NUMBERS.fullmatch(self._body, start, end) is not None:
            self.unreadable.append(path)
        elif first == b"{" and (shape.members is not None or shape.cases is not None):
            self._object(start, end, shape, path, context)
        elif first == b"{" and shape.items is not None:  # one object in place of a list, as Google's examples have it
            if shape.turns:
                context = self._in_turn(0, context.in_item(None))
            self.value(start, end, shape.items, path, context)
        elif first == b"[" and shape.items is not None:
            self._array(start, end, shape, path, context)
        elif first == b'"':
            self._string(start + 1, end - 1, shape.leaf, path, context)
        elif first in (b"{", b"["):
            if first == b"{" and shape.scope is not None:
                context = self._enter(shape.scope, json_texts.read_members(self._body, start, end), context, start, end)
            self._container(start, end, shape.leaf, path, context)
        elif shape.leaf.kind == "text" and shape.leaf.part != "other" and first in b"-0123456789":
            self._add(shape.leaf, path, context, start, end, "document")

    def _object(self, start: int, end: int, shape: Shape, path: str, context: TextContext) -> None:
        members = json_texts.read_members(self._body, start, end)
        while shape.cases is not None:
            kinds = {self._word(member) for member in members if self._spell_name(member) == shape.cases.by}
            only = kinds.pop() if len(kinds) == 1 else ""
            shape = shape.cases.shapes.get(only, shape.cases.default)
        known, scope, count = shape.members or {}, shape.scope, len(self.drafts)
        if scope is not None:
            context = self._enter(scope, members, context, start, end)
        prefix = path + "." if path else ""
        spell, body = self._spell, self._body
        for member in members:
            inner = known.get(member.name if spell is None else spell(member.name))
            if inner is None:
                self._unknown_name(member, prefix + member.name)
                inner = ANYTHING
            elif inner is EXEMPT and body[member.start] not in b"{[":
                continue
            self.value(member.start, member.end, inner, prefix + member.name, context)
        if scope is not None and scope.tool and context.tool and len(self.drafts) == count:
            self._add(Leaf("text", scope.part), path, context, start, start, "none")

    def _array(self, start: int, end: int, shape: Shape, path: str, context: TextContext) -> None:
        assert shape.items is not None
        for index, (first, last) in enumerate(json_texts.read_items(self._body, start, end)):
            inner = context.in_item((start, index))
            if shape.turns:
                inner = self._in_turn(index, inner)
            self.value(first, last, shape.items, f"{path}[{index}]", inner)

    def _in_turn(self, index: int, context: TextContext) -> TextContext:
        self.has_turns = True
        context.turn = index
        return context

    def _enter(
        self, scope: Scope, members: Sequence[Member], context: TextContext, start: int, end: int
    ) -> TextContext:
        """Return the context of the object's values."""
        part = scope.part or context.part
        if part in _ANSWERS and context.turn is not None:
            self.last_answer = max(self.last_answer, context.turn)
        if scope.is_plain:
            tool = context.tool if scope.tool_name is None else scope.tool_name
            return TextContext(part, tool, context.media_type, context.removal, context.turn, context.item)
        names = {member.name if self._spell is None else self._spell(member.name): member for member in members}
        tool = self._tool_name(scope, names) or context.tool
        media_type, removal = None, context.removal
        for member in scope.media:
            if member in names:
                media_type = self._media_type(scope, names, member)
                break
        for path in scope.sealed:
            if self._find(names, path) is not None:
                removal = self._removal(scope, context, start, end)
                break
        return TextContext(part, tool, media_type or context.media_type, removal, context.turn, context.item)

    def _tool_name(self, scope: Scope, names: dict[str, Member]) -> str | None:
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

    def _removal(self, scope: Scope, context: TextContext, start: int, end: int) -> Removal | None:
        if scope.removes:
            return Removal(start, end, names=scope.removes)
        return None if context.item is None else Removal(context.item[0], end, context.item[1])

    def _media_type(self, scope: Scope, names: dict[str, Member], member: str) -> str | None:
        word = self._find_text(names, member)
        if word is None:
            return None
        types = scope.media_types
        return types + word if isinstance(types, str) else types.get(word, "application/octet-stream")

    # Values

    def _string(self, start: int, end: int, leaf: Leaf, path: str, context: TextContext) -> None:
        match leaf.kind:
            case "text" | "tokens":
                self._add(leaf, path, context, start, end, "string")
            case "json":
                self._add(leaf, path, context, start, end, "quoted")
            case "url":
                self._url(start, end, leaf, path, context)
            case "data":
                self._data(start, end, leaf, path, context)
            case "summary":
                text = read_summary(string_text(self._body[start:end]))
                if text is not None:
                    self._add(leaf, path, context, start, end, "summary", text)
            case "name":
                if string_text(self._body[start:end]) != context.tool:
                    self._add(leaf, path, context, start, end, "string")
            case "foreign":
                if not is_own_id(string_text(self._body[start:end])):  # those of the gateway are not sent
                    self.unreadable.append(path)
            case "held":
                self.held.append((path, string_text(self._body[start:end])))

    def _container(self, start: int, end: int, leaf: Leaf, path: str, context: TextContext) -> None:
        """Add an object or array that the table does not describe, as JSON text."""
        if leaf.kind == "echo" or (
            leaf.kind in ("data", "exempt") and _NUMBERS.fullmatch(self._body, start, end) is not None
        ):
            return
        if leaf.kind == "exempt" and leaf.part is None:
            leaf = OTHER
        self._add(leaf, path, context, start, end, "document")

    def _url(self, start: int, end: int, leaf: Leaf, path: str, context: TextContext) -> None:
        found = _DATA_URL.match(self._body, start, end)
        if found is None:
            self._add(Leaf("text", leaf.part or "media"), path, context, start, end, "string")
            return
        media_type = found[1].decode("latin-1").lower() or "text/plain"
        self._media(found.end(), end, leaf, path, attrs.evolve(context, media_type=media_type))

    def _data(self, start: int, end: int, leaf: Leaf, path: str, context: TextContext) -> None:
        if _DATA_URL.match(self._body, start, end) is None:
            self._media(start, end, leaf, path, context)
        else:
            self._url(start, end, leaf, path, context)

    def _media(self, start: int, end: int, leaf: Leaf, path: str, context: TextContext) -> None:
        """Add base64 data: a text file as text, anything else as media."""
        written = self._body[start:end]
        if written.translate(None, _BASE64):
            self._add(OTHER, path, context, start, end, "string")
            return
        is_text = _is_text_type(context.media_type)
        part: Part = (leaf.part or context.part) if is_text else "media"
        if part not in self._parts:
            return
        data = _decode_base64(written)
        text = _decode_text(data) if is_text else None
        if text is not None:
            self._add(Leaf("text", part), path, context, start, end, "base64", text)
            return
        if "media" in self._parts:
            draft = PassageDraft("media", path, context.tool, [TextPiece(start, end, "base64", "")], context.turn)
            draft.media_type, draft.data = context.media_type, data
            self.drafts.append(draft)

    def _unknown_name(self, member: Member, path: str) -> None:
        end = json_texts.end_of_string(self._body, member.name_start)
        self._add(OTHER, path, _NO_CONTEXT, member.name_start + 1, end - 1, "key")

    def _add(
        self, leaf: Leaf, path: str, context: TextContext, start: int, end: int, form: Form, text: str | None = None
    ) -> None:
        part = leaf.part or context.part
        if part not in self._parts:
            return
        removal = context.removal
        if removal is not None and removal.names and part != "reasoning":
            removal = None
        pieces = []
        if form != "none":
            pieces.append(self._read(start, end, form) if text is None else TextPiece(start, end, form, text))
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

    def _read(self, start: int, end: int, form: Form) -> TextPiece:
        """Return the piece between ``start`` and ``end``."""
        data = self._body[start:end]
        if form == "document":
            return TextPiece(start, end, form, document_text(raw_text(data)))
        text = string_text(data)
        if form != "quoted":
            return TextPiece(start, end, form, text)
        if is_document(text):
            return TextPiece(start, end, form, document_text(text))
        return TextPiece(start, end, "string", text)

    # Members

    def _spell_name(self, member: Member) -> str:
        return member.name if self._spell is None else self._spell(member.name)

    def _word(self, member: Member) -> str:
        """Return the value as a word: a string's text, or the literal."""
        data = self._body[member.start : min(member.end, member.start + _LONGEST_WORD)]
        return string_text(data[1:-1]) if data[:1] == b'"' else raw_text(data)

    def _find_text(self, names: dict[str, Member], path: str) -> str | None:
        found = self._find(names, path)
        if found is None or self._body[found.start : found.start + 1] != b'"':
            return None
        return string_text(self._body[found.start + 1 : found.end - 1])

    def _find(self, names: dict[str, Member], path: str) -> Member | None:
        """Return the member at ``path``, whose names are separated by dots, unless it is null or empty."""
        name, _, rest = path.partition(".")
        member = names.get(name)
        if member is None or self._body[member.start : min(member.end, member.start + 5)] in (b"null", b'""', b"[]"):
            return None
        if not rest:
            return member
        if self._body[member.start : member.start + 1] != b"{":
            return None
        members = json_texts.read_members(self._body, member.start, member.end)
        return self._find({self._spell_name(inner): inner for inner in members}, rest)


_NO_CONTEXT: Final = TextContext()
_OF_TOOLS: Final = frozenset(("tool_calls", "tool_results", "tools"))
_ANSWERS: Final = frozenset(("assistant", "reasoning", "tool_calls"))
_LONGEST_WORD: Final = 256
_NUMBERS: Final = re.compile(rb"[\[ \t\r\n]*+[0-9-][\[\]0-9,. \t\r\n+eE-]*+")
_DATA_URL: Final = re.compile(rb"[dD][aA][tT][aA]:([^;,\"]{0,200}+)(?:;[^;,\"]{1,200})*?;[bB][aA][sS][eE]64,")
_TEXT_TYPES: Final = re.compile(r"text/|application/(?:.*[+.])?(?:json|xml|yaml|javascript|csv|x-ndjson|sql)\b|.*\+xml")


def _is_text_type(media_type: str | None) -> bool:
    return media_type is not None and _TEXT_TYPES.match(media_type.lower()) is not None


def _decode_base64(data: bytes) -> bytes:
    """Return the decoded data of a JSON string in either alphabet of base64; nothing for data that is cut off."""
    plain = data.replace(rb"\/", b"/").replace(rb"\n", b"").replace(rb"\r", b"").translate(_STANDARD, b" \r\n=")
    try:
        return base64.b64decode(plain + b"=" * (-len(plain) % 4))
    except binascii.Error:
        return b""


_BASE64: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_= \r\n\\"
"""The characters of base64 in a JSON string, which may escape line ends and slashes."""
_STANDARD: Final = bytes.maketrans(b"-_", b"+/")


def _decode_text(data: bytes) -> str | None:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def _continues(last: PassageDraft, part: Part, context: TextContext) -> bool:
    """Return whether the next text continues ``last``: the same part and tool in the next item of an array."""
    if last.item is None or context.item is None or last.part != part or last.tool != context.tool:
        return False
    return last.removal is None and last.item[0] == context.item[0] and last.item[1] + 1 == context.item[1]
