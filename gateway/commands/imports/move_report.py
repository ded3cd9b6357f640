"""The report of ``trigate import --report``: losses, changes and the remaining work; the new file has what moves."""

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import attrs

from gateway.commands.imports.losses import Group
from gateway.commands.imports.result import OMITTED, Result, group_losses, one_line
from gateway.commands.terminal import WIDTH, count_text

_MEANINGS: Final[Mapping[Group, str]] = {
    Group.NAMES: "requests fail, or clients notice other behaviour",
    Group.PROTECTION: "limits, guardrails, access and fallbacks",
    Group.RESIDENCY: "the place where providers process requests",
    Group.MONEY: "budgets, prices and caching",
    Group.LOGS: "records of requests",
    Group.TRIFLES: "clients and operators hardly notice",
    Group.UNKNOWN: "the import does not know what they do",
}
_VERDICTS: Final[Mapping[int, str]] = {
    0: "Everything important moves.",
    1: "Nothing was written, because some models cannot be converted. With --partial, all others move.",
    3: "The configuration moves, but settings that matter are lost: read each item below, then decide.",
}


ENVIRONMENT: Final = ".env"
"""The ending of the file with the values of variables."""


@attrs.frozen
class Move:
    """A conversion of ``file`` and ``database``, with its ``status``; ``write`` is the new file with ``variables``."""

    result: Result
    file: str
    database: str
    variables: Sequence[str]
    write: Path | None
    status: int

    @property
    def known_variables(self) -> list[str]:
        """The variables whose values the old configuration has."""
        return [name for name in self.variables if name in self.result.values]

    @property
    def environment(self) -> Path | None:
        """The file with these values, next to the new file."""
        if self.write is None or not self.known_variables:
            return None
        return Path(f"{self.write if self.write.suffix == ENVIRONMENT else self.write.with_suffix('')}{ENVIRONMENT}")


def report_text(move: Move) -> str:
    """Return the report in Markdown with at most 80 columns, without secrets and digests of keys; words stay whole."""
    return "\n".join(_fold_lines(_lines(move))) + "\n"


def _fold_lines(lines: Iterator[str]) -> Iterator[str]:
    for line in map(one_line, lines):
        hanging = "  " if line.startswith(("- ", "  ")) else ""
        wrapped = textwrap.wrap(line, WIDTH, subsequent_indent=hanging, break_long_words=False, break_on_hyphens=False)
        yield from ([line] if line.startswith("#") else wrapped or [""])


def _lines(move: Move) -> Iterator[str]:
    result = move.result
    sources = " and ".join(filter(None, (move.file, move.database)))
    yield from ("# The move to trigate", "", f"From {sources}.", "", _VERDICTS[move.status], "", "## Summary", "")
    yield from _summary(result)
    yield from ("", "## What is lost or differs", "", *(() if result.losses else ("Nothing.", "")))
    for group, losses in group_losses(result.losses):
        yield from (f"### {group.value.capitalize()}: {len(losses)}", "", f"That is, {_MEANINGS[group]}.", "")
        for one in losses:
            yield f"- {one.what}{': ' if one.why else ''}{one.why}"
            yield f"  In {_place(one.place, move.file)}."
            if any(name not in one.what for name in one.names):  # the text shortens the list
                yield f"  All {len(one.names)}: {', '.join(one.names)}."
        yield ""
    changes = [one for one in result.remarks if not one.startswith(OMITTED)]
    changes += [f"{entry.get('name', entry['model'])}: {note}" for notes, entry in result.entries for note in notes]
    yield from _section("What else changes", changes)
    yield from _section("What you must do", _to_do(move))
    yield from _section("Keys that were invalid already, and stay behind", result.no_longer_good)


def _place(place: str, file: str) -> str:
    """Return a place in ``file`` with its name; places in the database have the names of tables."""
    return place if place.startswith(("LiteLLM_", "the database")) else ", ".join(filter(None, (file, place)))


def _summary(result: Result) -> Iterator[str]:
    moved = result.models - len(result.missing) - result.undecrypted
    yield f"- Models: {moved} of {result.models} move."
    if keys := result.key_rows:
        imported, invalid = sum("sha256" in key for key in result.client_keys), len(result.no_longer_good)
        lost = sum(loss.what.startswith("the key ") for loss in result.losses)
        yield f"- Client keys: {imported} of {keys} move, and clients keep them unchanged."
        yield f"  {invalid} were invalid already, {lost} are lost, and {keys - imported - invalid - lost} "\
            "belong to LiteLLM's own pages or are listed twice."  # fmt: skip
    yield f"- Groups, which were teams or users: {len(result.client_groups)}."
    if spent := [float(item["spent"].split()[0]) for item in result.opening_spend]:
        yield f"- Money: {sum(spent):.9g} usd, spent in {count_text(len(spent), 'present period')}, stay counted."
    groups = [f"{len(losses)} of {group.value}" for group, losses in group_losses(result.losses)]
    yield f"- Lost settings: {', '.join(groups) or 'none'}."


def _to_do(move: Move) -> Iterator[str]:
    yield from (f"Decide: {one}" for one in move.result.choices)
    if known := move.known_variables:
        where = "with --write, a file next to the new one" if move.environment is None else move.environment.name
        yield f"Give the gateway these variables, whose values the import knows ({where} has their values): "\
            f"{', '.join(known)}"  # fmt: skip
    if unknown := [name for name in move.variables if name not in known]:
        yield f"Set these variables: {', '.join(unknown)}"
    if move.result.losses:
        yield "Go through the lost items above, and set what their texts recommend"
    yield "Run trigate check, then trigate compare with both gateways (docs/migrating.md)"


def _section(title: str, items: Iterable[str]) -> Iterator[str]:
    if lines := [f"- {item.rstrip('.')}." for item in items]:
        yield from (f"## {title}", "", *lines, "")
