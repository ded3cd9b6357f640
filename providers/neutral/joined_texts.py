"""One text for the several texts of a message, for Chat servers that reject or lose a list of texts."""

from collections.abc import Iterable, Mapping
from typing import Final

_BETWEEN: Final[Mapping[str, str]] = {"assistant": "", "tool": "\n"}
"""The separator of texts by role. The assistant's texts are the pieces of one answer."""

_PARAGRAPH: Final = "\n\n"


def join_texts(role: str, texts: Iterable[str]) -> str:
    """Return the ``texts`` of one message of ``role`` as one."""
    return _BETWEEN.get(role, _PARAGRAPH).join(texts)
