"""``trigate load compare`` tests whether the second of two runs is slower; ``trigate load merge`` combines parts."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import attrs
import click

from configfile.document import ConfigError
from configfile.wording import Wrong
from gateway.commands.load_outputs import OutputOptions
from loadtest.figures.conditions import parse_condition
from loadtest.plan.kinds import parse_percentiles
from loadtest.reports import comparison_text, report_file
from loadtest.reports.compared_runs import LoadComparison, Question, compare_reports
from loadtest.reports.comparing import MARGIN, PERCENTILES
from loadtest.reports.parts import merge_parts
from loadtest.reports.report_file import InvalidReport, write_atomically

GOOD, FAILED, UNUSABLE = 0, 1, 2
_MARGIN: Final = re.compile(r"(\d{1,2}(?:\.\d{1,4})?)\s*(%?)")


def compare(
    before: Path, after: Path, margin: str | None, percentiles: str | None, html: Path | None, asked: Sequence[Question]
) -> int:
    """Compare two runs and return the exit status.

    It is 0, 1 if a condition in ``asked`` is true for any target, 2 if a file cannot be used."""
    try:
        shares = PERCENTILES if percentiles is None else parse_percentiles(percentiles)
        wide = _parse_margin(margin)
        with report_file.reject_misread(before, after):
            found = compare_reports(before, after, margin=wide, percentiles=shares)
            if not found.targets:
                raise InvalidReport(f"{before} and {after} have no common target: compare runs of the same target")
            click.echo(comparison_text.text(found))
            if html is not None:
                write_atomically(html, _html_page(before, after, found).encode())
    except (InvalidReport, Wrong) as error:
        return _report_unusable(error)
    except OSError as error:
        click.echo(f"cannot write {error.filename}: {(error.strerror or 'unusable').lower()}", err=True)
        return UNUSABLE
    failures = [(question, target) for question in asked for target in found.targets if target.meets(question)]
    for question, target in failures:
        click.echo(f"failed: {question}: {comparison_text.headline(target, found.names)}", err=True)
    return FAILED if failures else GOOD


def _report_unusable(error: InvalidReport | Wrong) -> int:
    click.echo(f"{error.found}; {error.expected}" if isinstance(error, Wrong) else str(error), err=True)
    return UNUSABLE


def _parse_margin(given: str | None) -> float:
    """Return the margin as a share. Raises ``Wrong``."""
    if given is None:
        return MARGIN
    found = _MARGIN.fullmatch(given.strip())
    if found is None or (not found[2] and float(found[1]) >= 1):
        raise Wrong(f"--margin {given!r} is not valid", "give a share, such as 3% or 0.03")
    return float(found[1]) / (100 if found[2] else 1)


def _html_page(before: Path, after: Path, found: LoadComparison) -> str:
    from loadtest.reports.page import page

    try:
        runs = report_file.side_by_side(report_file.load(before), report_file.load(after), (before.stem, after.stem))
    except InvalidReport:  # logs have no runs to show
        runs = ()
    return page(runs, above=comparison_text.html(found))


def merge(paths: Sequence[Path], outputs: OutputOptions, fail_if: Sequence[str], percentiles: str | None) -> int:
    """Combine reports of parts, and return the exit status.

    It is 0, 1 if a condition is true or a part is missing, 2 if the reports are not parts of one load."""
    from gateway.commands.load import finish  # not needed to compare

    try:
        shown = {} if percentiles is None else {"percentiles": parse_percentiles(percentiles)}
        asked = tuple(map(parse_condition, fail_if))
        with report_file.reject_misread(*paths):
            whole = merge_parts(paths)
            whole = attrs.evolve(whole, scenario={**whole.scenario, **shown})
            conditions = (*asked, *map(parse_condition, whole.scenario.get("fail_if") or ()))
            outputs.check(has_conditions=bool(conditions))
            status = finish((whole,), outputs, conditions)
    except ConfigError as error:
        click.echo(error.list_mistakes("mistakes"), err=True)
        return UNUSABLE
    except (InvalidReport, Wrong) as error:
        return _report_unusable(error)
    return FAILED if whole.interrupted else status
