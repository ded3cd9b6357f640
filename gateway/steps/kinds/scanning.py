"""The base of kinds that search text for values: findings do not depend on how a stream is cut.

A text consists of segments, between which no value continues. A segment is checked when it is complete; a long one is
cut at positions that depend on its text alone. So the findings in a text equal those in its pieces."""

import re
from collections.abc import Iterable, Iterator
from typing import Final, TypeAlias

from gateway.steps.kinds.normal import NormalText
from trigate.steps import Check, Finding

Match: TypeAlias = tuple[str, int, int]
"""A label, and the span of a value."""

LONGEST_SEGMENT: Final = 4096
"""Characters that wait for the end of a segment."""

LONGEST_VALUE: Final = 65536
"""Characters of one value, such as a private key, which waits for its own end."""

MARGIN: Final = 512
"""Characters before a cut in which an incomplete value may begin."""


class ScanningStep:
    """A step that searches each segment of a text. ``labels`` are those that it finds."""

    labels: tuple[str, ...] = ()

    sizes: tuple[int, ...] = (LONGEST_SEGMENT, LONGEST_VALUE)
    """The lengths at which a segment, or one value in it, is cut."""

    def __call__(self, check: Check) -> list[Finding]:
        """Return the findings in text that the client does not have yet."""
        found: list[Finding] = []
        for passage in check.passages:
            if passage.text.isascii() and not self.may_match(passage.text, passage.released_length):
                continue  # most words of a stream
            normal = self.normalise(passage.text)
            text, start = normal.text, normal.position(passage.released_length)
            if self.may_match(text, start):
                for first, last in self._pieces(normal, start):
                    for label, a, b in self.search(text, first, last):
                        found.append(Finding(label, passage, *normal.span(a, b)))
        return found

    def open_tail(self, text: str, released_length: int = 0) -> int:
        """Return the position from which ``text`` may still become a part of a finding.

        The first ``released_length`` characters were checked before."""
        if text.isascii() and (tail := self.short_tail(text, released_length)) is not None:
            return tail
        normal = self.normalise(text)
        first, last = 0, -1
        for first, last in self._pieces(normal, normal.position(released_length)):  # noqa: B007  # the last one counts
            pass
        return normal.origin(first) if last >= 0 and self.is_open(normal.text, last) else len(text)

    def _pieces(self, normal: NormalText, start: int) -> Iterator[tuple[int, int]]:
        """Yield the segments after ``start``, long ones in pieces."""
        text, find = normal.text, self.segments(normal.text).search
        while (found := find(text, start)) is not None:
            first, last = found.span()
            start = last if last - first <= LONGEST_SEGMENT else self._cut(normal, first, last)
            yield first, start

    def _cut(self, normal: NormalText, first: int, last: int) -> int:
        """Return the end of the first piece of a long segment: before the value that may continue there."""
        for size in self.sizes:
            if last - first <= size:
                return last
            end = first + size
            cut = start = end - MARGIN
            for _, a, b in self.search(normal.text, first, end):
                if a < start and (b > start or b == end):
                    cut = min(cut, a)
            cut = min(cut, self.open_value(normal.text, first, end))
            cut = normal.position(normal.origin(cut))
            if cut > first:
                return cut
        return end

    def normalise(self, text: str) -> NormalText:
        """Return the copy of ``text`` to search."""
        return NormalText(text)

    def segments(self, text: str) -> re.Pattern[str]:
        """Return the pattern of a segment of ``text``."""
        raise NotImplementedError

    def short_tail(self, text: str, start: int) -> int | None:
        """Return what ``open_tail`` returns for ASCII, ``None`` if that takes more than a look at the end."""
        return None

    def is_open(self, text: str, end: int) -> bool:
        """Return whether a segment that ends at ``end`` may continue."""
        return end == len(text)

    def open_value(self, text: str, start: int, end: int) -> int:
        """Return the position of a value that is longer than ``MARGIN``, incomplete and not recognized yet, or
        ``end``."""
        return end

    def may_match(self, text: str, start: int) -> bool:
        """Return whether ``text`` may have findings after ``start``. A fast test: false is certain."""
        raise NotImplementedError

    def search(self, text: str, start: int, end: int) -> Iterable[Match]:
        """Yield the values between two positions; the text before them is context."""
        raise NotImplementedError
