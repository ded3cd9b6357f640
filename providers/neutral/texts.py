"""Texts: those of instructions; one for the several texts of a message, for Chat servers that reject or lose a list;
text that OpenAI's models encrypt for each other, in requests of Codex; the links that an answer's text cites, and the
positions of cited text for the APIs of Google, which count bytes."""

import re
from collections.abc import Iterable, Iterator, Mapping
from io import StringIO
from typing import Any, Final

from providers.neutral.fields import Drops, join_path
from providers.neutral.request import ImagePart, MarkedPart, Message, NativePart, TextPart
from providers.neutral.values import as_object
from streams.errors import invalid
from streams.events import Citation

_BETWEEN: Final[Mapping[str, str]] = {"assistant": "", "tool": "\n"}
"""The separator of texts by role. The assistant's texts are the pieces of one answer."""

_PARAGRAPH: Final = "\n\n"

FIRST_TEXT: Final = "(The conversation begins here.)"
"""The user's first message, for an API that requires one, in a conversation that lacks it."""


def instruction_texts(message: Message, drops: Drops) -> Iterator[TextPart]:
    """Yield the texts of instructions. Parts that only other APIs can express are dropped.

    Raises ``GatewayError`` (400) for other content."""
    for part in message.parts:
        if isinstance(part, TextPart):
            yield part
        elif isinstance(part, NativePart):
            drops.add(part.at)
        else:
            raise invalid(f"{part.at} must be text: this model's provider supports nothing else there", part.at)


def drop_marks(part: MarkedPart, drops: Drops) -> None:
    """Report the marks and the detail of ``part`` as dropped, because an API cannot express them."""
    drops.add(*(join_path(part.at, mark) for mark in part.marks))
    if isinstance(part, ImagePart) and part.detail not in (None, "auto"):
        drops.add(join_path(part.at, "detail"))


def join_texts(role: str, texts: Iterable[str]) -> str:
    """Return the ``texts`` of one message of ``role`` as one."""
    return _BETWEEN.get(role, _PARAGRAPH).join(texts)


CIPHERTEXT: Final = r"gAAAA[\w-]+=*"
_CIPHERTEXT: Final = re.compile(CIPHERTEXT)


def is_ciphertext(text: str) -> bool:
    """Return whether ``text`` is content that only OpenAI can read."""
    return _CIPHERTEXT.fullmatch(text) is not None


MAX_CITED: Final = 2**20
"""Characters of a text that are kept to convert positions; longer texts are cited as a whole."""


class CitedText:
    """The text of an open block, kept only from its first character outside ASCII on."""

    __slots__ = ("_ascii", "_kept", "_size")

    def __init__(self) -> None:
        self._ascii = 0  # characters before the kept ones
        self._kept: StringIO | None = None  # a list of small pieces would take far more memory
        self._size = 0

    def add(self, text: str) -> None:
        if self._kept is None:
            if text.isascii():
                self._ascii += len(text)
                return
            self._kept = StringIO()
        if self._size <= MAX_CITED:
            self._kept.write(text)
            self._size += len(text)

    def clear(self) -> None:
        """Forget the text, at the end of its block."""
        self._ascii = self._size = 0
        self._kept = None

    def byte_positions(self, places: Iterable[int]) -> dict[int, int]:
        """Return the byte positions by the character positions ``places``, without those outside the text."""
        if self._size > MAX_CITED:
            return {place: place for place in places if 0 <= place <= self._ascii}
        tail = "" if self._kept is None else self._kept.getvalue()
        found: dict[int, int] = {}
        before = count = 0
        for place in sorted({place for place in places if 0 <= place <= self._ascii + len(tail)}):
            at = max(place - self._ascii, 0)
            count += len(tail[before:at].encode("utf-8", "surrogatepass"))
            before, found[place] = at, min(place, self._ascii) + count
        return found


def link_of(citation: Citation) -> Mapping[str, Any]:
    """Return the object with ``url``, ``title`` and positions in characters, as far as ``citation`` has them."""
    item = as_object(citation.item)
    return as_object(item.get("url_citation", item)) if citation.api == "chat" else item


def is_unplaced(link: Mapping[str, Any]) -> bool:
    """Return whether ``link`` is a page of a list of sources, with the empty range that OpenRouter gives it: no text
    cites it."""
    start, end = link.get("start_index"), link.get("end_index")
    return type(start) is int and type(end) is int and start >= end
