"""The texts in which steps found nothing before, so that a resent history is not checked again."""

from collections import OrderedDict
from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

from trigate.steps import Passage

REMEMBERED: Final = 65536


class CleanTexts:
    """The digests of the texts that were clean most recently, at most ``REMEMBERED`` of all steps together."""

    def __init__(self, most: int = REMEMBERED) -> None:
        self._most = most
        self._digests: OrderedDict[bytes, None] = OrderedDict()

    def unknown(self, owner: str, passages: Sequence[Passage]) -> dict[int, bytes]:
        """Return the digests of the passages that were not clean before, by their index. ``owner`` identifies the step
        and the client."""
        found: dict[int, bytes] = {}
        for i, passage in enumerate(passages):
            digest = _digest(owner, passage)
            if digest in self._digests:
                self._digests.move_to_end(digest)
            else:
                found[i] = digest
        return found

    def add(self, digest: bytes) -> None:
        """Remember a text that was clean."""
        self._digests[digest] = None
        if len(self._digests) > self._most:
            self._digests.popitem(last=False)


CLEAN_TEXTS: Final = CleanTexts()
"""The clean texts of this process."""


def _digest(owner: str, passage: Passage) -> bytes:
    words = f"{owner}\0{passage.part}\0{passage.tool or ''}\0{passage.sha256 or ''}\0"
    return blake2b((words + passage.text).encode("utf-8", "surrogatepass"), digest_size=16).digest()
