"""The commands ``trigate steps`` with their options."""

import sys
from pathlib import Path
from typing import Any, Final

import click

from gateway.commands.help import CONFIG, Commands, load_function
from gateway.commands.load_options import APIS, NAMES


@click.group(cls=Commands, invoke_without_command=True, short_help="List the kinds of steps, and try yours.")
@click.pass_context
def steps(context: click.Context) -> None:
    """List the kinds of steps: the built-in ones, and those of installed packages.

    Steps check, mask, refuse or record requests and responses; see docs/steps.md.
    """
    if context.invoked_subcommand is None:
        sys.exit(load_function("steps.commands.listing:list_kinds")())


@steps.command(
    "exempt", runs="steps.commands.listing:list_exempt", short_help="List the members of requests that no step sees."
)
@click.option("--api", "apis", type=click.Choice(APIS), multiple=True, metavar="API",
              help=f"Only this API: {NAMES}; repeatable.")  # fmt: skip
def exempt(**_: Any) -> None:
    """List the members of requests that steps do not check, such as model names, ids and signatures.

    Each line has an API and a path. Steps see every other string of a request.
    """


@steps.command(
    "try", runs="steps.commands.trying:run", short_help="Run the steps of a config on a captured request or response."
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--api", type=click.Choice(APIS), metavar="API",
              help=f"{NAMES}; default: detected from FILE.")  # fmt: skip
@CONFIG
@click.option("--key", metavar="NAME", help="The client key that sends the request; default: a client without a key.")
@click.option("--texts", is_flag=True, help="Print the found texts, too.")
def try_steps(**_: Any) -> None:
    """Run the steps of a config on FILE, a captured request or response, or a recording of both. Sends nothing to a
    model.

    FILE is a JSON body, a captured stream, or a file that `serve --record` wrote. Each line of the output is a finding:
    the step, its action, the label, and the position: a path and offsets in its text. Services that steps use, such as
    Presidio, get the texts.

    Exit status: 0 without a refusal, 1 if a step refuses or fails, 2 if FILE or the config cannot be used.
    """


COMMANDS: Final = (steps,)
"""The commands of the feature."""
