"""The reports of ``trigate compare`` for terminals and as JSON."""

import textwrap
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

import attrs
import click
import msgspec

from gateway.commands.compared_answers import cost_of, median_first_byte, total_cost
from gateway.commands.server_requests import ServerRequest, ServerResponse
from gateway.commands.tables import TableColumn, table_lines
from gateway.commands.terminal import some_of
from gateway.logs.masking import escape
from streams.answer_differences import AnswerDifference, Effect

_TITLES: Final[Mapping[Effect, tuple[str, str]]] = {
    "breaks": ("breaks clients", "red"),
    "differs": ("differs", "yellow"),
    "lacks": ("only the old server sends", "yellow"),
    "better": ("fails only on the old server", "green"),
}

_HARMLESS: Final[frozenset[Effect]] = frozenset({"lacks", "better"})


@attrs.frozen
class ComparedPair:
    """A request with both responses and their differences."""

    request: ServerRequest
    old: ServerResponse
    new: ServerResponse
    differences: tuple[AnswerDifference, ...]


@attrs.frozen
class ServerComparison:
    """The URLs of the servers, the compared requests, and the number of skipped ones by reason."""

    old: str
    new: str
    pairs: Sequence[ComparedPair]
    skipped: Mapping[str, int]
    exact: bool

    @property
    def good(self) -> bool:
        """Whether no difference breaks clients."""
        return not any(one.effect == "breaks" for pair in self.pairs for one in pair.differences)

    @property
    def alike(self) -> int:
        """The number of requests without any difference."""
        return sum(not pair.differences for pair in self.pairs)

    @property
    def alike_for_clients(self) -> int:
        """The number of requests at which the new server only lacks what few clients read, or succeeds for once."""
        return sum(all(one.effect in _HARMLESS for one in pair.differences) for pair in self.pairs)

    def requests_by_difference(self) -> dict[AnswerDifference, list[str]]:
        """Return the names of the requests of each difference."""
        found: dict[AnswerDifference, list[str]] = {}
        for pair in self.pairs:
            for one in pair.differences:
                found.setdefault(one, []).append(pair.request.name)
        return found


def json_report(found: ServerComparison) -> str:
    """Return the report as JSON, with the differences, times and costs of each request, without their content."""
    content = {
        "good": found.good,
        "exact": found.exact,
        "alike": found.alike,
        "alike_for_clients": found.alike_for_clients,
        **{
            side: {"url": url, "first_byte_ms": median_first_byte(responses), "cost": _dollars(total_cost(responses))}
            for side, url, responses in _sides(found)
        },
        "requests": [
            {
                "name": pair.request.name,
                "api": pair.request.api,
                "path": pair.request.path.partition("?")[0],
                "stream": pair.request.stream,
                "old": _response_report(pair.old),
                "new": _response_report(pair.new),
                "differences": [attrs.asdict(one) for one in pair.differences],
            }
            for pair in found.pairs
        ],
        "skipped": dict(found.skipped),
    }
    return msgspec.json.format(msgspec.json.encode(content), indent=2).decode()


def _sides(found: ServerComparison) -> Sequence[tuple[str, str, list[ServerResponse]]]:
    return (
        ("old", found.old, [pair.old for pair in found.pairs]),
        ("new", found.new, [pair.new for pair in found.pairs]),
    )


def _response_report(response: ServerResponse) -> dict[str, Any]:
    return {
        "status": response.status or None,
        "problem": response.problem or None,
        "first_byte_ms": response.first_byte_ms,
        "ms": response.ms,
        "cost": _dollars(cost_of(response)),
    }


def _dollars(cost: Decimal | None) -> str | None:
    return None if cost is None else f"{cost:f}"


def text_report(found: ServerComparison) -> str:
    """Return the report for a terminal: the differences by effect, then times and costs."""
    grouped = found.requests_by_difference()
    lines = [_summary(found)]
    for effect, (title, colour) in _TITLES.items():
        of_effect = {one: names for one, names in grouped.items() if one.effect == effect}
        if of_effect:
            lines += ["", click.style(f"{title} ({len(of_effect)}):", fg=colour)]
            lines += [_difference_line(one, names) for one, names in of_effect.items()]
    if not grouped:
        lines += ["", click.style("no differences that clients notice", fg="green")]
    return "\n".join([*lines, "", *_figures(found)])


def _summary(found: ServerComparison) -> str:
    skipped = "".join(f"; {count:,} skipped: {escape(why)}" for why, count in found.skipped.items())
    count = len(found.pairs)
    alike = f"{found.alike_for_clients:,} alike for clients, {found.alike:,} without any difference"
    return f"{found.old} -> {found.new}: {count:,} request{'s' * (count != 1)}, {alike}{skipped}"


def _difference_line(one: AnswerDifference, names: Sequence[str]) -> str:
    if one.effect == "lacks":
        count = len(names)
        return f"  {escape(one.part)}, in {count} response{'s' * (count != 1)}"
    line = f"{escape(one.part)}: {escape(one.old)} -> {escape(one.new)}"
    return textwrap.indent(f"{line}\n  in {some_of([*map(escape, names)], 3)}", "  ")


def _figures(found: ServerComparison) -> list[str]:
    """Return the table of times and costs."""
    sides = [responses for _, _, responses in _sides(found)]
    times = [median_first_byte(responses) for responses in sides]
    both = [pair for pair in found.pairs if cost_of(pair.old) is not None and cost_of(pair.new) is not None]
    costs = [total_cost(responses) for responses in ([pair.old for pair in both], [pair.new for pair in both])]
    rows = [
        ("first byte, median", *("-" if one is None else f"{one:g} ms" for one in times)),
        (f"costs of {len(both)} responses", *("-" if one is None else f"${one:.6f}" for one in costs)),
    ]
    return table_lines((TableColumn("", "name"), TableColumn("old", "figure"), TableColumn("new", "figure")), rows)
