"""The commands ``trigate costs``, ``cache`` and ``reconcile`` with their options."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

import click

from gateway.commands.help import CONFIG, Command, Commands, takes_file

COSTS_BY = (
    "key", "client", "label", "group", "model", "target", "run", "project", "endpoint", "day", "month", "request_id",
    "upstream_request_id",
)  # fmt: skip
Option: TypeAlias = Callable[[Any], Any]
"""A decorator that gives a command an option."""

FORMAT = click.Choice(["table", "csv", "json"])


def _read_once(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> str | None:
    """Return the value of an option that may occur once. Otherwise the last of several would count."""
    if len(values) > 1:
        is_month_of_costs = (context.command.name, parameter.name) == ("costs", "month")
        advice = "; for several months, use --since and --until" if is_month_of_costs else ""
        raise click.UsageError(f"give {parameter.opts[0]} once, not {' and '.join(values)}{advice}")
    return values[0] if values else None


UNTIL = click.option("--until", "--to", "until", multiple=True, callback=_read_once, metavar="WHEN",
                     help="The end; includes all of a date. Default: now.")  # fmt: skip
IN_FORMAT = click.option(
    "--format", "form", type=FORMAT, default="table", metavar="FORMAT",
    help="table, csv or json; csv and json are exact to a nano-dollar. Default: table.",
)  # fmt: skip


def group_option(words: Sequence[str]) -> Option:
    """Return the option ``--by`` for ``words``."""
    choice = click.Choice(list(words))

    def read(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
        parts = (part.strip() for value in values for part in value.split(","))
        return tuple(choice.convert(part, parameter, context) for part in parts if part)

    return click.option("--by", multiple=True, callback=read, metavar="WHAT",
                        help=f"Group by {', '.join(words[:-1])} or {words[-1]}; repeatable, or several with commas. "
                             "Default: key, or model without client_keys.")  # fmt: skip


def since_option(default: str) -> Option:
    """Return the option ``--since`` with the text of its ``default``."""
    return click.option("--since", "--from", "since", multiple=True, callback=_read_once, metavar="WHEN",
                        help="The start: today, 7d (today and six days before), 24h, or a date, such as 2026-11-01. "
                             f"Default: {default}.")  # fmt: skip


@click.command(cls=Command, runs="kept_ledger.commands.costs:run", short_help="Sum up the costs of requests.")
@takes_file
@group_option(COSTS_BY)
@click.option("--month", multiple=True, callback=_read_once, metavar="MONTH", help="A whole month, such as 2026-10.")
@since_option("30d")
@UNTIL
@click.option("--only", multiple=True, metavar="NAME=VALUE",
              help="Only requests with this value of key, group, model, target, run, project, endpoint, "
                   "request_id or upstream_request_id, such as group=research; repeatable.")  # fmt: skip
@IN_FORMAT
@click.option(
    "--at-list-price", is_flag=True, help="Add what the requests that a plan paid for would have cost at list price."
)
def costs(**_: Any) -> None:
    """Sum up the costs of requests, from the ledger in the state storage of FILE.

    The default for FILE is the same as for serve. Its state_storage must be of type sqlite or postgres. The gateway
    may be running. Days and months follow the config's timezone. --by model and --by target count attempts, and one
    request may have several. --by label uses the labels that the identity provider sends for people.

    Exit status: 0, 1 for an invalid config, 2 if the ledger cannot be read.
    """


CACHE_BY = ("key", "group", "model", "target", "run", "project", "cause", "day")


@click.command(
    cls=Command,
    runs="kept_ledger.commands.cache_report:run",
    short_help="Report what providers' prompt caches missed, and why.",
)
@CONFIG
@group_option(CACHE_BY)
@since_option("7d")
@UNTIL
@click.option("--only", multiple=True, metavar="NAME=VALUE",
              help="Only requests with this value of key, group, model, target, run or project, such as "
                   "group=research; repeatable.")  # fmt: skip
@IN_FORMAT
def cache(**_: Any) -> None:
    """Report how much providers' prompt caches served, how much they could have served, and the causes and costs of
    misses.

    The report comes from the ledger in the state storage of the configuration, which must be of type sqlite or
    postgres. The gateway may be running. The command sends nothing.

    Exit status: 0, 1 for an invalid config, 2 if the ledger cannot be read.
    """


@click.command(
    cls=Command,
    runs="kept_ledger.commands.reconcile:run",
    short_help="Compare providers' invoices with the costs in the ledger.",
)
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE…")
@CONFIG
@click.option("--month", multiple=True, callback=_read_once, metavar="MONTH",
              help="A whole month (UTC), such as 2026-10. Default: all days in the files.")  # fmt: skip
@click.option("--tolerance", multiple=True, metavar="PART",
              help="The difference to accept for each model, such as 2% or 0.50usd; repeatable. The larger one "
                   "counts. Default: 1% and 0.01usd.")  # fmt: skip
@click.option("--format", "form", type=FORMAT, default="table", metavar="FORMAT",
              help="table, csv or json; csv and json are exact. Default: table.")  # fmt: skip
def reconcile(**_: Any) -> None:
    """Compare providers' invoices with the ledger in the state storage, by day and model.

    FILE is a page of OpenAI's costs or usage, of Anthropic's cost_report or usage_report, OpenRouter's activity, a
    FOCUS export (AWS, Azure, Google), or CSV with the columns day, model and usd. The format is recognized by the
    content. Give several files to combine them: cost files have the dollars, usage files the tokens. Days are in UTC.

    The command changes nothing. Exit status: 0 if every model is within the tolerance, 3 if one is not, pages are
    missing or nothing was compared, 1 if something cannot be read.
    """


@click.group(cls=Commands, short_help="Complete the ledger from the log.")
def ledger() -> None:
    """Complete the ledger in the state storage of the config."""


@ledger.command(
    "add",
    runs="kept_ledger.commands.adding:run",
    short_help="Store the requests that a killed process has only logged.",
)
@click.argument("logs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="LOG…")
@CONFIG
def add_logged(**_: Any) -> None:
    """Store the requests that a killed process has only logged, so that `trigate costs` shows no ≥ for it.

    LOG is the gateway's log in JSON; - is standard input. Give the logs of all gateways with this ledger. Requests that
    the ledger has are skipped, so that you can repeat the command. The log has no runs, and one cost for all attempts
    of a request, which its last attempt gets.

    Exit status: 0, 1 for an invalid config or log, 2 if the ledger cannot be read or written, 3 if a gap stays.
    """


COMMANDS: Final = (costs, cache, reconcile, ledger)
"""The commands of the feature."""
