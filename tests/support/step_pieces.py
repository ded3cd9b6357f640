"""Findings of a built-in kind in a whole text, and in the pieces of a stream."""

from collections.abc import Iterable
from typing import Any, TypeAlias

from trigate.steps import Check, Part, Passage

Span: TypeAlias = tuple[str, int, int]

CONTEXT = 256
"""Released characters that a kind sees again, as in a stream."""


def find(step: Any, text: str, part: Part = "assistant") -> list[Span]:
    """Return the findings in ``text``, in order."""
    findings = step(Check("response", (Passage(part, "content", text),)))
    return sorted({(one.label, one.start, one.end) for one in findings})


def find_texts(step: Any, text: str) -> list[tuple[str, str]]:
    """Return the labels and texts of the findings in ``text``."""
    return [(label, text[start:end]) for label, start, end in find(step, text)]


def find_in_pieces(step: Any, text: str, cuts: Iterable[int]) -> list[Span]:
    """Return the findings in a stream of ``text`` whose events end at ``cuts``. The step sees each text as in a stream:
    after some released text, up to the position from which it may continue as a finding."""
    found: set[Span] = set()
    checked = 0
    for length in (*sorted(cuts), len(text)):
        start = max(0, checked - CONTEXT)
        safe = length if length == len(text) else start + step.open_tail(text[start:length], checked - start)
        assert safe >= checked
        if safe > checked:
            passage = Passage("assistant", "content", text[start:safe], None, checked - start)
            for one in step(Check("response", (passage,))):
                assert one.start >= checked - start, "a finding begins in released text"
                found.add((one.label, one.start + start, one.end + start))
            checked = safe
    return sorted(found)


def check_cuts(step: Any, text: str, cuts: Iterable[int], shortest: int = 300) -> None:
    """Check that ``step`` finds the same in a stream cut there as in the whole, and a short text also in characters."""
    whole = find(step, text)
    assert find_in_pieces(step, text, {cut for cut in cuts if cut < len(text)}) == whole
    if len(text) < shortest:
        assert find_in_pieces(step, text, range(len(text))) == whole
