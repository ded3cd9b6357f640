"""The latest prompts of conversations as texts, in the memory of one process, if the operator enables them (``texts``).

They are the bodies that the gateway sent, after the masks of steps. They serve only the live view."""

from typing import TYPE_CHECKING, Final

import attrs

from gateway.shared.owned_entries import OwnedEntries

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
        self._texts: OwnedEntries[bytes, bytes, KnownText] = OwnedEntries(most, most_of_owner=most // _SHARE)

    def find(self, owner: bytes, conversation: bytes, sent: float) -> bytes | None:
        """Return the body of a client's conversation, ``None`` if it is not that of the request sent at ``sent``."""
        known = self._texts.get(owner, conversation)
        return None if known is None or known.sent != sent else known.body

    def keep(self, owner: bytes, conversation: bytes, sent: float, body: bytes) -> None:
        """Store the ``body`` of a conversation in place of its earlier one. One that is too large is not stored."""
        if len(body) > self.most // _SHARE or not self.is_open:
            self._texts.remove(owner, conversation)
        else:
            self._texts.put(owner, conversation, KnownText(sent, body), len(body))

    def close(self) -> None:
        """Delete all texts, also those that viewers could see, because the operator switches them off."""
        self.is_open = False
        self._texts.clear()


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
