"""``trigate steps``: lists the kinds of steps, and tries a configuration's steps on a captured request."""

from collections.abc import Collection

import click

from gateway.commands.tables import TableColumn, print_table
from gateway.commands.terminal import wrap_sentences
from gateway.features.steps.exemptions import exemptions
from gateway.features.steps.kinds import KINDS
from gateway.features.steps.loading import installed_steps


def list_kinds() -> int:
    """Print the built-in kinds and the installed entry points, and return the exit status."""
    kinds = [(row.name, ", ".join(row.at), row.action or "the service's", row.meaning) for row in KINDS.values()]
    print_table(
        (TableColumn("KIND", "name"), TableColumn("AT"), TableColumn("ACTION", "word"), TableColumn("FINDS")), kinds
    )
    found = installed_steps()
    click.echo()
    if not found:
        nothing = "No installed package has a step (an entry point of the group trigate.steps)."
        click.echo("\n".join(wrap_sentences([nothing])))
        return 0
    rows = [
        (name, one.value, "" if one.dist is None else f"{one.dist.name} {one.dist.version}")
        for name, points in sorted(found.items())
        for one in points
    ]
    print_table((TableColumn("ENTRY POINT", "name"), TableColumn("CODE", "name"), TableColumn("PACKAGE")), rows)
    return 0


def list_exempt(apis: Collection[str]) -> int:
    """Print the strings of requests that no step sees, of all APIs or of ``apis``, and return the exit status."""
    for api, path in exemptions():
        if not apis or api in apis:
            click.echo(f"{api:10} {path}")
    return 0
