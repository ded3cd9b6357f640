"""The latest prompts of conversations as texts, in the memory of one process, if the operator enables them (``texts``).

They are the bodies that the gateway sent, after the masks of steps. They serve only the live view."""

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from gateway.features.prompt_caches.compared_values import Excerpts

_SHARE: Final = 2
"""A client has at most the memory divided by this number."""


@attrs.frozen(eq=False, repr=False)
class KnownText:
    """The ``body`` of a conversation's latest request, which was sent at ``sent``."""

    sent: float
    body: bytes


class LatestPrompts:
    """The texts of conversations, at most ``most`` bytes.

    If they are full, the client with the most bytes loses the least recently used conversation."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.is_open = True
        self._held = 0
        self._texts: dict[bytes, OrderedDict[bytes, KnownText]] = {}
        self._sizes: dict[bytes, int] = {}

    def find(self, owner: bytes, conversation: bytes, sent: float) -> bytes | None:
        """Return the body of a client's conversation, ``None`` if it is not that of the request sent at ``sent``."""
        own = self._texts.get(owner)
        known = None if own is None else own.get(conversation)
        return None if known is None or known.sent != sent else known.body

    def keep(self, owner: bytes, conversation: bytes, sent: float, body: bytes) -> None:
        """Store the ``body`` of a conversation in place of its earlier one. One that is too large is not stored."""
        self._remove(owner, conversation)
        if len(body) > self.most // _SHARE or not self.is_open:
            return
        self._texts.setdefault(owner, OrderedDict())[conversation] = KnownText(sent, body)
        self._sizes[owner] = self._sizes.get(owner, 0) + len(body)
        self._held += len(body)
        while self._sizes[owner] > self.most // _SHARE:
            self._remove_oldest(owner)
        while self._held > self.most:
            self._remove_oldest(max(self._sizes, key=self._sizes.__getitem__))

    def close(self) -> None:
        """Delete all texts, also those that viewers could see, because the operator switches them off."""
        self.is_open, self._held = False, 0
        self._texts.clear()
        self._sizes.clear()

    def _remove_oldest(self, owner: bytes) -> None:
        self._remove(owner, next(iter(self._texts[owner])))

    def _remove(self, owner: bytes, conversation: bytes) -> None:
        own = self._texts.get(owner)
        known = None if own is None else own.pop(conversation, None)
        if own is None or known is None:
            return
        self._held -= len(known.body)
        self._sizes[owner] -= len(known.body)
        if not own:
            del self._texts[owner], self._sizes[owner]


class ShownTexts:
    """The texts of an exchange that viewers may see. It refers to nothing else of the exchange, which it outlives."""

    def __init__(self, texts: LatestPrompts) -> None:
        self._texts = texts
        self._excerpts: Excerpts | None = None

    @property
    def is_open(self) -> bool:
        """Whether the operator still enables texts."""
        return self._texts.is_open

    @property
    def excerpts(self) -> "Excerpts | None":
        """The excerpts; ``None`` until they are compared, without a difference, or without the earlier text."""
        return self._excerpts if self.is_open else None

    def show(self, excerpts: "Excerpts | None") -> None:
        self._excerpts = excerpts
