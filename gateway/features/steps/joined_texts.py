"""Passages that join adjacent text parts of a message.

A value may be split between two parts, and it may end where another part begins with a letter: ``4111 1111 1111 1111``
before ``Thanks`` is no card number in the joined text. So a step has to search the joined text and each part."""

from collections.abc import Iterator, Sequence

import attrs

from trigate.steps import Finding, Passage


@attrs.frozen(eq=False)
class JoinedPassage(Passage):
    """A passage of several parts. ``seams`` are the positions in its text at which a part ends and the next begins."""

    seams: tuple[int, ...] = ()


def seams_between(texts: Sequence[str]) -> tuple[int, ...]:
    """Return the positions in the joined ``texts`` at which a value of one may run into the next.

    No value does so at a line break."""
    found: list[int] = []
    at, last = 0, "\n"
    for text in filter(None, texts):
        if last != "\n" and text[0] != "\n":
            found.append(at)
        at, last = at + len(text), text[-1]
    return tuple(found)


def part_spans(passage: Passage) -> Iterator[tuple[int, int]]:
    """Yield the start and end of each part of ``passage``, none if it has only one."""
    if isinstance(passage, JoinedPassage):
        ends = (*passage.seams, len(passage.text))
        yield from zip((0, *passage.seams), ends, strict=True)


def without_repetitions(findings: Sequence[Finding]) -> list[Finding]:
    """Return each of ``findings`` once: a joined text and its parts, or copies of a text, may have the same."""
    return list({(one.label, id(one.passage), one.start, one.end, one.replacement): one for one in findings}.values())
