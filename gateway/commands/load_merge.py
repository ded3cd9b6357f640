"""``trigate load merge``: one report of the parts that several machines made of one plan."""

from collections.abc import Sequence
from pathlib import Path

import attrs
import click

from configfile.document import ConfigError
from configfile.wording import Wrong
from gateway.commands.load import FAILED, UNUSABLE, finish
from gateway.commands.load_answers import AnswerOptions
from loadtest.figures.conditions import parse
from loadtest.plan.kinds import percentiles_in
from loadtest.reports import report_file
from loadtest.reports.parts import merged
from loadtest.reports.report_file import NoReport


def run(paths: Sequence[Path], answers: AnswerOptions, fail_if: Sequence[str], percentiles: str | None) -> int:
    """Exit status 0, 1 if a condition holds or a part is missing, 2 if the reports are no parts of one load."""
    try:
        shown = {} if percentiles is None else {"percentiles": percentiles_in(percentiles)}
        asked = tuple(map(parse, fail_if))
        with report_file.shown(*paths):
            whole = merged(paths)
            whole = attrs.evolve(whole, scenario={**whole.scenario, **shown})
            conditions = (*asked, *map(parse, whole.scenario.get("fail_if") or ()))
            answers.check(tells=bool(conditions))
            status = finish((whole,), answers, conditions)
    except ConfigError as error:
        click.echo(error.listed("mistakes"), err=True)
        return UNUSABLE
    except (NoReport, Wrong) as error:
        click.echo(f"{error.found}; {error.expected}" if isinstance(error, Wrong) else str(error), err=True)
        return UNUSABLE
    return FAILED if whole.interrupted else status
