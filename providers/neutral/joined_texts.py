"""One text for the several texts of a message, for Chat servers that reject or lose a list of texts."""

from collections.abc import Iterable, Mapping
from typing import Final

_BETWEEN: Final[Mapping[str, str]] = {"assistant": "", "tool": "\n"}
"""What separates the texts of a role. Those of an answer are its pieces, as its Chat client received them."""

_PARAGRAPH: Final = "\n\n"


def join_texts(role: str, texts: Iterable[str]) -> str:
    """Return the ``texts`` of one message of ``role`` as one."""
    return _BETWEEN.get(role, _PARAGRAPH).join(texts)
