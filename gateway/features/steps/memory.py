"""The texts in which steps found nothing before, so that a resent history is not checked again."""

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Final

from gateway.features.steps.joined_texts import JoinedPassage
from gateway.shared.owned_entries import OwnedEntries
from trigate.steps import Passage

REMEMBERED: Final = 65536


class CleanTexts:
    """The digests of the texts that were clean most recently, at most ``REMEMBERED`` of all steps together.

    Without room, the client with the most digests loses its oldest one."""

    def __init__(self, most: int = REMEMBERED) -> None:
        self._digests: OwnedEntries[bytes, bool] = OwnedEntries(most)

    def unknown(self, client: str | None, digests: Iterable[tuple[int, bytes]]) -> dict[int, bytes]:
        """Return those of ``digests``, by the index of their texts, that were not clean for ``client`` before."""
        found: dict[int, bytes] = {}
        for i, digest in digests:
            if self._digests.get(client or "", digest):
                self._digests.put(client or "", digest, True)
            else:
                found[i] = digest
        return found

    def add(self, client: str | None, digest: bytes) -> None:
        """Remember a text that was clean for ``client``."""
        self._digests.put(client or "", digest, True)


CLEAN_TEXTS: Final = CleanTexts()
"""The clean texts of this process."""


def digests_of(step: str, passages: Sequence[Passage]) -> list[bytes]:
    return [_digest(step, passage) for passage in passages]


def _digest(step: str, passage: Passage) -> bytes:
    seams = passage.seams if isinstance(passage, JoinedPassage) else ""
    words = f"{step}\0{passage.part}\0{passage.tool or ''}\0{passage.sha256 or ''}\0{seams}\0"
    return blake2b((words + passage.text).encode("utf-8", "surrogatepass"), digest_size=16).digest()
