"""The commands ``trigate keys`` with their options."""

from pathlib import Path
from typing import Any, Final

import click

from gateway.commands.help import AS_JSON, BY, CONFIG, Commands

_UNTIL = click.option("--until", metavar="TIME", help="When the client expires: a date, such as 2027-01-31, or a time.")
_FOR = click.option("--for", "lasting", metavar="TIME", help="How long the client is valid from now on, such as 30d.")
_CLIENT_OPTIONS: Final = (
    click.option("--group", metavar="GROUP", help="The client's group, one of client_groups."),
    click.option("--models", multiple=True, metavar="MODEL", help="A model that the client may use; repeatable."),
    click.option("--only", multiple=True, metavar="ENTRY", help="An entry that may serve the client; repeatable."),
    click.option("--ratelimit", "ratelimits", multiple=True, metavar="NAME=RATE",
                 help="A rate limit, such as requests=600/m or concurrent=8; repeatable."),
    click.option("--budget", "budgets", multiple=True, metavar="AMOUNT",
                 help='A budget, such as "20 usd/day"; repeatable.'),
    click.option("--limit", "limits", multiple=True, metavar="NAME=AMOUNT",
                 help="A limit, such as in_flight=8; repeatable."),
)  # fmt: skip
_SETTINGS: Final = ("group", "models", "only", "ratelimits", "budgets", "limits", "until")


def _with_client_options(command: Any) -> Any:
    """Add the options that set the permissions and limits of a client to ``command``."""
    for option in reversed(_CLIENT_OPTIONS):
        command = option(command)
    return command


@click.group(cls=Commands, short_help="Create, change and revoke client keys at run time.")
def keys() -> None:
    """Create, change, rotate and revoke client keys while the gateway runs.

    These clients are in addition to client_keys in the config. They are stored in state_storage, of type sqlite or
    postgres, and the config must set stored_keys: true. Gateways apply a change within a second. The audit records
    who made it.
    """


@keys.command("add", runs="admin.commands.keys:add", short_help="Create a key for a new client, and print it.")
@click.argument("name")
@_with_client_options
@_UNTIL
@_FOR
@click.option("--sha256", metavar="DIGEST", help="The SHA-256 of an existing key; no new key is created.")
@BY
@AS_JSON
@CONFIG
def add_key(**_: Any) -> None:
    """Create a key for the client NAME, and print it. trigate shows the key only once.

    The options correspond to the settings of client_keys. Without options, the client may use every model. With
    --sha256, the client keeps its existing key.

    Exit status: 0, or 1 if no client was added.
    """


@keys.command(
    "set", runs="admin.commands.changed_keys:change", short_help="Change the permissions, limits or expiry of a client."
)
@click.argument("name")
@_with_client_options
@_UNTIL
@_FOR
@click.option("--without", multiple=True, type=click.Choice(_SETTINGS), metavar="SETTING",
              help=f"A setting to remove: {', '.join(_SETTINGS)}; repeatable.")  # fmt: skip
@BY
@AS_JSON
@CONFIG
def set_key(**_: Any) -> None:
    """Change the permissions, limits or expiry of the client NAME. Its key stays valid.

    Each option replaces the whole setting: --budget replaces all budgets. Other settings stay the same. Budgets still
    count earlier spending.

    Exit status: 0, or 1 if nothing changed.
    """


@keys.command(
    "import",
    runs="admin.commands.changed_keys:import_clients",
    short_help="Copy the clients of a file into the storage; they keep their keys.",
)
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("names", nargs=-1, metavar="[NAME…]")
@BY
@CONFIG
def import_keys(**_: Any) -> None:
    """Copy the clients of FILE into the storage, where you can rotate, change and revoke them.

    FILE is a configuration, such as one from trigate import, whose client_keys are copied. Or it is a CSV file with a
    header line and the columns name, sha256, group, models, budgets and until, or with those of LiteLLM's table
    LiteLLM_VerificationToken. Clients keep their keys.

    With NAMEs, import copies only these clients. It skips clients that are stored already, and clients whose keys are
    in variables or files.

    Exit status: 0, or 1 if a client is not valid; then nothing is stored.
    """


@keys.command("list", runs="admin.commands.keys:show_list", short_help="List all clients, without their keys.")
@AS_JSON
@CONFIG
def list_keys(**_: Any) -> None:
    """List all clients, those of the config first, with permissions, limits, expiry and creator.

    The state is good, ended or refused. A client is refused if its settings no longer fit the config; the list shows
    the reason.
    """


@keys.command("revoke", runs="admin.commands.keys:revoke", short_help="Revoke the keys of a client.")
@click.argument("name")
@BY
@CONFIG
def revoke_key(**_: Any) -> None:
    """Revoke all keys of the client NAME, within a second.

    Running requests still finish. WebSocket connections finish the requests that they have received.
    """


@keys.command(
    "rotate", runs="admin.commands.keys:rotate", short_help="Create a new key for a client; the old one expires later."
)
@click.argument("name")
@click.option("--keep-old", default="24h", show_default=True, metavar="TIME",
              help="How long the old key stays valid; 0 revokes it immediately.")  # fmt: skip
@_UNTIL
@_FOR
@BY
@AS_JSON
@CONFIG
def rotate_key(**_: Any) -> None:
    """Create a new key for the client NAME, and print it. The old key stays valid for the time of --keep-old.

    The client's other settings stay the same.
    """


@keys.command("history", runs="admin.commands.keys:history", short_help="Show who changed which client, when and how.")
@click.argument("name", required=False)
@click.option("--last", type=click.IntRange(1, 10_000), default=50, show_default=True, metavar="N",
              help="The number of changes.")  # fmt: skip
@AS_JSON
@CONFIG
def key_history(**_: Any) -> None:
    """Show the last changes: the time, the client, the user and machine, and the settings before and after.

    With NAME, only the changes of this client. The storage keeps 10,000 changes.
    """


COMMANDS: Final = (keys,)
"""The commands of the feature."""
