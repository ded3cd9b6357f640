"""The report of ``trigate import --report``: losses, changes and the remaining work; the new file has what moves."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs
import msgspec

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


def report_of(move: Move) -> dict[str, Any]:
    """Return the whole report, without secrets and digests of keys."""
    result = move.result
    invalid = list(result.no_longer_good)
    lost_keys = [loss for loss in result.losses if loss.what.startswith("the key ")]
    imported = sum("sha256" in key for key in result.client_keys)
    spent = [float(item["spent"].split()[0]) for item in result.opening_spend]
    return {
        "source": {"file": move.file, "database": move.database},
        "written": {
            "file": "" if move.write is None else move.write.name,
            "environment": "" if move.environment is None else move.environment.name,
            "exit_status": move.status,
        },
        "verdict": _VERDICTS[move.status],
        "counts": {
            "models": {"all": result.models, "moved": result.models - len(result.missing) - result.undecrypted},
            "client_keys": {
                "all": result.key_rows, "moved": imported, "invalid_already": len(invalid), "lost": len(lost_keys),
                "not_counted": result.key_rows - imported - len(invalid) - len(lost_keys),
            },
            "groups": len(result.client_groups),
            "opening_spend": {"items": len(spent), "usd": round(sum(spent), 9)},
            "lost": {group.value: len(losses) for group, losses in group_losses(result.losses)},
        },
        "lost": [
            {"category": one.group.value, "what": one.what, "why": one.why, "place": _place(one.place, move.file),
             "names": [*one.names]}
            for _, losses in group_losses(result.losses) for one in losses
        ],
        "changes": [one for one in result.remarks if not one.startswith(OMITTED)] + [
            f"{entry.get('name', entry['model'])}: {note}" for notes, entry in result.entries for note in notes
        ],
        "to_do": {
            "decide": [*result.choices],
            "variables_with_values": move.known_variables,
            "variables_to_set": [name for name in move.variables if name not in move.known_variables],
        },
        "invalid_keys": invalid,
    }  # fmt: skip


def _place(place: str, file: str) -> str:
    """Return a place in ``file`` with its name; places in the database have the names of tables."""
    return place if place.startswith(("LiteLLM_", "the database")) else ", ".join(filter(None, (file, place)))


def json_text(report: Mapping[str, Any]) -> str:
    return msgspec.json.format(msgspec.json.encode(report), indent=2).decode() + "\n"


def markdown_text(report: Mapping[str, Any]) -> str:
    """Return the report for readers, in Markdown with at most 80 columns; words stay whole."""
    return "\n".join(_fold_lines(_lines(report))) + "\n"


def _fold_lines(lines: Iterator[str]) -> Iterator[str]:
    for line in map(one_line, lines):
        hanging = "  " if line.startswith(("- ", "  ")) else ""
        wrapped = textwrap.wrap(line, WIDTH, subsequent_indent=hanging, break_long_words=False, break_on_hyphens=False)
        yield from ([line] if line.startswith("#") else wrapped or [""])


def _lines(report: Mapping[str, Any]) -> Iterator[str]:
    source, written = report["source"], report["written"]
    sources = " and ".join(filter(None, (source["file"], source["database"])))
    yield from ("# The move to trigate", "", f"From {sources}.", "", report["verdict"], "", "## Summary", "")
    yield from _summary(report["counts"])
    yield from ("", "## What is lost or differs", "", *(() if report["lost"] else ("Nothing.", "")))
    for group, meaning in _MEANINGS.items():
        if items := [one for one in report["lost"] if one["category"] == group.value]:
            yield from (f"### {group.value.capitalize()}: {len(items)}", "", f"That is, {meaning}.", "")
            for one in items:
                yield f"- {one['what']}{': ' if one['why'] else ''}{one['why']}"
                yield f"  In {one['place']}."
                yield from _all_names(one)
            yield ""
    yield from _section("What else changes", report["changes"])
    yield from _section("What you must do", _to_do(report["to_do"], written, bool(report["lost"])))
    yield from _section("Keys that were invalid already, and stay behind", report["invalid_keys"])


def _all_names(loss: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names of a loss that its text shortens."""
    if any(name not in loss["what"] for name in loss["names"]):
        yield f"  All {len(loss['names'])}: {', '.join(loss['names'])}."


def _summary(counts: Mapping[str, Any]) -> Iterator[str]:
    models, keys, spend = counts["models"], counts["client_keys"], counts["opening_spend"]
    yield f"- Models: {models['moved']} of {models['all']} move."
    if keys["all"]:
        yield f"- Client keys: {keys['moved']} of {keys['all']} move, and clients keep them unchanged."
        yield f"  {keys['invalid_already']} were invalid already, {keys['lost']} are lost, and {keys['not_counted']} "\
            "belong to LiteLLM's own pages or are listed twice."  # fmt: skip
    yield f"- Groups, which were teams or users: {counts['groups']}."
    if spend["items"]:
        yield f"- Money: {spend['usd']:.9g} usd, spent in {count_text(spend['items'], 'present period')}, stay counted."
    lost = [f"{number} of {group}" for group, number in counts["lost"].items()]
    yield f"- Lost settings: {', '.join(lost) or 'none'}."


def _to_do(to_do: Mapping[str, Any], written: Mapping[str, Any], has_lost: bool) -> Iterator[str]:
    yield from (f"Decide: {one}" for one in to_do["decide"])
    if known := to_do["variables_with_values"]:
        where = f"{written['environment'] or 'with --write, a file next to the new one'} has their values"
        yield f"Give the gateway these variables, whose values the import knows ({where}): {', '.join(known)}"
    if unknown := to_do["variables_to_set"]:
        yield f"Set these variables: {', '.join(unknown)}"
    if has_lost:
        yield "Go through the lost items above, and set what their texts recommend"
    yield "Run trigate check, then trigate compare with both gateways (docs/migrating.md)"


def _section(title: str, items: Sequence[str] | Iterator[str]) -> Iterator[str]:
    if lines := [f"- {item.rstrip('.')}." for item in items]:
        yield from (f"## {title}", "", *lines, "")
