"""The commands ``trigate keys``, ``people``, ``login``, ``token`` and ``me`` with their options."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from gateway.commands.help import Command, Commands

CONFIG: Final = click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The configuration file; by default, the one that trigate serve finds.",
)


def takes_file(command: Callable[..., Any]) -> Callable[..., Any]:
    """Let ``command`` accept its configuration as ``--config FILE`` or as the argument ``FILE``."""

    @click.argument("file", required=False, type=click.Path(path_type=Path), metavar="[FILE]")
    @CONFIG
    @functools.wraps(command)
    def takes_file(file: Path | None, path: Path | None, **options: Any) -> Any:
        if file is not None and path is not None:
            raise click.UsageError(f"two configurations, {file} and {path}: give only one")
        options["path"] = path or file
        changed = command(**options)
        return options if changed is None else changed

    return takes_file


_JSON = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
_UNTIL = click.option("--until", metavar="TIME", help="When the client expires: a date, such as 2027-01-31, or a time.")
_FOR = click.option("--for", "lasting", metavar="TIME", help="How long the client is valid from now on, such as 30d.")
_BY = click.option("--by", metavar="WHO", help="Who requested the change; recorded in the audit next to your user.")
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


@keys.command("add", runs="keys:add", short_help="Create a key for a new client, and print it.")
@click.argument("name")
@_with_client_options
@_UNTIL
@_FOR
@click.option("--sha256", metavar="DIGEST", help="The SHA-256 of an existing key; no new key is created.")
@_BY
@_JSON
@CONFIG
def add_key(**_: Any) -> None:
    """Create a key for the client NAME, and print it. trigate shows the key only once.

    The options correspond to the settings of client_keys. Without options, the client may use every model. With
    --sha256, the client keeps its existing key.

    Exit status: 0, or 1 if no client was added.
    """


@keys.command("set", runs="changed_keys:change", short_help="Change the permissions, limits or expiry of a client.")
@click.argument("name")
@_with_client_options
@_UNTIL
@_FOR
@click.option("--without", multiple=True, type=click.Choice(_SETTINGS), metavar="SETTING",
              help=f"A setting to remove: {', '.join(_SETTINGS)}; repeatable.")  # fmt: skip
@_BY
@_JSON
@CONFIG
def set_key(**_: Any) -> None:
    """Change the permissions, limits or expiry of the client NAME. Its key stays valid.

    Each option replaces the whole setting: --budget replaces all budgets. Other settings stay the same. Budgets still
    count earlier spending.

    Exit status: 0, or 1 if nothing changed.
    """


@keys.command(
    "import",
    runs="changed_keys:import_clients",
    short_help="Copy the clients of a file into the storage; they keep their keys.",
)
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("names", nargs=-1, metavar="[NAME…]")
@_BY
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


@keys.command("list", runs="keys:show_list", short_help="List all clients, without their keys.")
@_JSON
@CONFIG
def list_keys(**_: Any) -> None:
    """List all clients, those of the config first, with permissions, limits, expiry and creator.

    The state is good, ended or refused. A client is refused if its settings no longer fit the config; the list shows
    the reason.
    """


@keys.command("revoke", runs="keys:revoke", short_help="Revoke the keys of a client.")
@click.argument("name")
@_BY
@CONFIG
def revoke_key(**_: Any) -> None:
    """Revoke all keys of the client NAME, within a second.

    Running requests still finish. WebSocket connections finish the requests that they have received.
    """


@keys.command("rotate", runs="keys:rotate", short_help="Create a new key for a client; the old one expires later.")
@click.argument("name")
@click.option("--keep-old", default="24h", show_default=True, metavar="TIME",
              help="How long the old key stays valid; 0 revokes it immediately.")  # fmt: skip
@_UNTIL
@_FOR
@_BY
@_JSON
@CONFIG
def rotate_key(**_: Any) -> None:
    """Create a new key for the client NAME, and print it. The old key stays valid for the time of --keep-old.

    The client's other settings stay the same.
    """


@keys.command("history", runs="keys:history", short_help="Show who changed which client, when and how.")
@click.argument("name", required=False)
@click.option("--last", type=click.IntRange(1, 10_000), default=50, show_default=True, metavar="N",
              help="The number of changes.")  # fmt: skip
@_JSON
@CONFIG
def key_history(**_: Any) -> None:
    """Show the last changes: the time, the client, the user and machine, and the settings before and after.

    With NAME, only the changes of this client. The storage keeps 10,000 changes.
    """


# People


@click.group(cls=Commands, short_help="List and block people, and end their sessions.")
def people() -> None:
    """List and block the people whom the issuers of the config admit, and end their sessions.

    People are clients named ISSUER:ID, such as okta:00u1. The config must have issuers and a state_storage of type
    sqlite or postgres. Gateways apply a change within half a second. The audit records who made it.
    """


@people.command(
    "list", runs="people.commands:show_list", short_help="List the people of the last 90 days, and all blocks."
)
@_JSON
@CONFIG
def list_people(**_: Any) -> None:
    """List the people that gateways have seen in the last 90 days, with group and role at that time, and all blocks."""


@people.command(
    "block", runs="people.commands:block", short_help="Reject all tokens and keys of a person, and end all sessions."
)
@click.argument("name")
@click.option("--reason", default="", metavar="TEXT", help="The reason, for other operators.")
@_BY
@CONFIG
def block_person(**_: Any) -> None:
    """Reject all tokens and keys of the person NAME, including future ones, and end all sessions.

    Running requests still finish.
    """


@people.command("unblock", runs="people.commands:unblock", short_help="Remove a block.")
@click.argument("name")
@_BY
@CONFIG
def unblock_person(**_: Any) -> None:
    """Remove the block of the person NAME, and list the person's own keys, which work again.

    The person must sign in again.
    """


@people.command("revoke-key", runs="people.commands:revoke_key", short_help="Revoke one key that a person has made.")
@click.argument("name")
@click.argument("key")
@_BY
@CONFIG
def revoke_person_key(**_: Any) -> None:
    """Revoke the key with the name KEY that the person NAME has made. Other keys and sessions stay valid.

    Running requests still finish. To prevent new keys, block the person.
    """


@people.command("sign-out", runs="people.commands:sign_out", short_help="End all sessions of a person.")
@click.argument("name")
@_BY
@CONFIG
def sign_person_out(**_: Any) -> None:
    """End all sessions of the person NAME. The person may sign in again, and the person's own keys stay valid."""


@people.command("forget", runs="people.commands:forget", short_help="Delete the label of a person.")
@click.argument("name")
@_BY
@CONFIG
def forget_person(**_: Any) -> None:
    """Delete the label of the person NAME, such as an e-mail address, until the gateway sees the person again."""


@people.command(
    "history",
    runs="people.commands:history",
    short_help="Show the changes of people, keys and raises, and who made them.",
)
@click.option("--last", type=click.IntRange(1, 10_000), default=50, show_default=True, metavar="N",
              help="The number of changes.")  # fmt: skip
@_JSON
@CONFIG
def people_history(**_: Any) -> None:
    """Show the last changes by the HTTP API, by trigate people and by trigate keys, with the values before and after.

    The storage keeps them for 400 days.
    """


# Sessions


@click.command(cls=Command, runs="login:run", short_help="Sign in to a gateway.")
@click.argument("url")
@click.option("--no-browser", is_flag=True, help="Do not open the page, only print its address.")
def login(**_: Any) -> None:
    """Sign in to the gateway with the address URL, and save the session for token, me and connect.

    You approve the sign-in on a page of the gateway. Exit status: 1 if the sign-in fails.
    """


@click.command(cls=Command, runs="sessions:print_token", short_help="Print the token of your session at a gateway.")
@click.argument("url", required=False)
def token(**_: Any) -> None:
    """Print a valid token of your session at URL, by default of your last sign-in. If necessary, refresh it first.

    Programs such as Claude Code (with apiKeyHelper) run this command to get their key. It takes at most four seconds.
    Exit status: 1 without a valid session; the reason is on standard error.
    """


@click.command(cls=Command, runs="me:run", short_help="Show your rights, limits and budgets at a gateway.")
@click.argument("url", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def me(**_: Any) -> None:
    """Show your rights, limits and budgets at the gateway with the address URL.

    If the variable TRIGATE_API_KEY is set, me uses that key; the default for URL is then the gateway on this machine.
    Otherwise it uses your session; the default for URL is the gateway of your last sign-in.

    Exit status: 0, or 1 if the gateway does not respond or rejects the request.
    """
