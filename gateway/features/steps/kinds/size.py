"""The kind ``size``: limits on the characters, messages and images of a request."""

import re
from typing import Final

import attrs

from configfile.keys import setting
from configfile.kinds import Natural
from configfile.wording import Wrong
from trigate.steps import Check, Finding, Passage

LABELS: Final = ("characters", "messages", "images")


@attrs.frozen(repr=False)
class SizeSettings:
    """The settings of ``size``."""

    characters: Natural | None = setting("The most characters.", None, shown="no limit", absent="no limit")
    messages: Natural | None = setting(
        "The most messages, or items of Responses.", None, shown="no limit", absent="no limit"
    )
    images: Natural | None = setting("The most images.", None, shown="no limit", absent="no limit")


_MESSAGE: Final = re.compile(r"(?:messages|input|contents)(?:\[\d+\])?")


class SizeStep:
    """A step with a finding for each exceeded limit. Raises ``Wrong``."""

    labels = LABELS

    def __init__(self, settings: SizeSettings) -> None:
        limits = (settings.characters, settings.messages, settings.images)
        self._limits = {label: most for label, most in zip(LABELS, limits, strict=True) if most is not None}
        if not self._limits:
            raise Wrong("there is no limit", f"give {', '.join(LABELS[:-1])} or {LABELS[-1]}")

    def __call__(self, check: Check) -> list[Finding]:
        """Return a finding at the last passage for each limit that the passages together exceed."""
        if not check.passages:
            return []
        last = check.passages[-1]
        sizes = {
            "characters": sum(len(one.text) for one in check.passages if one.part != "media"),
            "messages": _count_messages(check),
            "images": sum(_is_image(one) for one in check.passages),
        }
        return [
            Finding(label, last, 0, len(last.text), action="refuse")
            for label, most in self._limits.items()
            if sizes[label] > most
        ]


def _count_messages(check: Check) -> int:
    """Return the number of messages with a passage; those of an earlier turn have paths of their own."""
    found = [match[0] for one in check.passages if (match := _MESSAGE.match(one.path)) is not None]
    return sum(path != before for before, path in zip(["", *found], found, strict=False))


def _is_image(passage: Passage) -> bool:
    if passage.part != "media":
        return False
    if passage.media_type is not None:
        return passage.media_type.startswith("image/")
    return "image" in passage.path.lower() or "source" in passage.path
