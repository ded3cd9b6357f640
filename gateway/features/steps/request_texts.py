"""The texts of a request: passages for steps, and the request with spans of them replaced."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Final, Self

from gateway.features.steps.json_texts import JsonDocument, Member, splice
from gateway.features.steps.masks import PassageEdit
from gateway.features.steps.tables import TextTable, table_for
from gateway.features.steps.text_pieces import Removal, find_cuts, is_within, piece_changes
from gateway.features.steps.walking import PassageDraft, TextContext, TextWalk
from gateway.http.offload import offload
from trigate.steps import PARTS, Part, Passage

MOST_TEXTS: Final = 50_000
"""The most texts of a request. A request with a history of years has fewer."""


class RequestTexts:
    """The passages of a request, in the order of its bytes. ``body`` are these bytes.

    ``unreadable`` are the paths of content that no step can read, such as token ids, with the part that a file belongs
    to."""

    def __init__(self, table: TextTable, body: bytes, parts: Collection[str] = PARTS, most: int | None = None) -> None:
        """Read the texts of ``body``, a request or a response, that belong to ``parts``.

        More than ``most`` texts are unreadable. Raises ``NotJson``."""
        self.body = body
        self._table, self._parts, self._most = table, parts, most
        self._document = JsonDocument(body)
        walk = TextWalk(self._document, frozenset(parts), table.spell, most)
        walk.value(self._document.root(), table.shape, "", TextContext(table.part))
        self.passages: Sequence[Passage] = tuple([draft.passage() for draft in walk.drafts])
        self.unreadable: Mapping[str, Part | None] = walk.unreadable
        self._walked = walk.drafts
        self._last_answer = walk.last_answer
        self._has_turns = walk.has_turns

    @classmethod
    def of(cls, api: str, body: bytes, parts: Collection[str] = PARTS, most: int | None = None) -> Self:
        """Return the texts of ``body``, a request of ``api`` or of an endpoint. Raises ``NotJson``."""
        return cls(table_for(api), body, parts, most)

    @cached_property
    def _drafts(self) -> dict[Passage, PassageDraft]:
        return dict(zip(self.passages, self._walked, strict=True))

    def is_latest(self, passage: Passage) -> bool:
        """Return whether ``passage`` is in a message after the last answer of the model."""
        if (draft := self._drafts.get(passage)) is None:  # it belongs to an earlier turn, which the gateway stores
            return False
        return not self._has_turns or (draft.turn is not None and draft.turn > self._last_answer)

    def replace(self, edits: Iterable[PassageEdit]) -> bytes:
        """Return the request with each span replaced, which must not overlap; all other bytes are unchanged.

        A span of several pieces has its replacement in the first of them. Signed reasoning is removed with its whole
        block, and so is a tool's definition whose whole text is replaced by nothing. Raises ``KeyMasked`` for a mask
        that JSON cannot express."""
        by_passage: dict[Passage, list[tuple[int, int, str]]] = {}
        for passage, start, end, text in edits:
            by_passage.setdefault(passage, []).append((start, end, text))
        changes: list[tuple[int, int, bytes]] = []
        removals: list[Removal] = []
        for passage, spans in by_passage.items():
            draft = self._drafts[passage]
            if draft.removal is not None:
                removals.append(draft.removal)
            elif passage.part != "tools" or list(spans) != [(0, len(passage.text), "")]:
                changes += piece_changes(self._document, draft.pieces, sorted(spans))
            elif draft.item is not None:
                removals.append(Removal(*draft.item))
            elif passage.path.isidentifier():
                removals.append(Removal((), names=(passage.path,)))
            else:
                changes += piece_changes(self._document, draft.pieces, sorted(spans))
        cuts = sorted(find_cuts(self._document, removals))
        kept = [change for change in changes if not is_within(cuts, change[0])]
        body = splice(self._document.data, sorted((*kept, *((start, end, b"") for start, end in cuts))))
        return _without_empty_tools(body) if any(passage.part == "tools" for passage in by_passage) else body

    async def with_edits(self, edits: Sequence[PassageEdit]) -> Self:
        return await offload(
            len(self.body), lambda: type(self)(self._table, self.replace(edits), self._parts, self._most)
        )


_NO_TOOLS: Final = re.compile(rb'\[\]|\[\{"function_?[dD]eclarations":\[\]\}\]|\{"tools":\[\].*', re.DOTALL)
_LISTS: Final = ("tools", "functions", "plugins", "toolConfig")
_CHOICES: Final = ("tool_choice", "toolConfig", "tool_config", "function_call", "parallel_tool_calls")


def _without_empty_tools(body: bytes) -> bytes:
    """Return a request without an empty list of tools and the choice among them, which providers reject."""
    document = JsonDocument(body)
    empty = [
        member.name
        for member in document.elements(())
        if isinstance(member, Member)
        and member.name in _LISTS
        and _NO_TOOLS.fullmatch(b"".join(body[member.start : member.end].split()))
    ]
    if not empty:
        return body
    cuts = find_cuts(document, [Removal((), names=(*empty, *_CHOICES))])
    return splice(body, sorted((first, last, b"") for first, last in cuts))
