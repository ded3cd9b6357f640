"""The options of ``trigate keys``, and the commands under it. Each imports what it needs when it runs."""

import sys
from pathlib import Path
from typing import Any, Final

import click


class CommandsInOrder(click.Group):
    """A group that lists its commands in the order in which they were added."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


CONFIG: Final = click.option(
    "--config", type=click.Path(path_type=Path), metavar="FILE", help="The configuration; default: as for serve."
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
_UNTIL = click.option("--until", metavar="TIME", help="Its end: a date, such as 2027-01-31, or a time.")
_FOR = click.option("--for", "lasting", metavar="TIME", help="Its end, from now on, such as 30d.")
_BY = click.option("--by", metavar="WHO", help="For whom you make the change; the audit has it beside your user.")
_WISHES: Final = (
    click.option("--group", metavar="GROUP", help="Its group, one of client_groups."),
    click.option("--models", multiple=True, metavar="MODEL", help="A model that it may use; repeatable."),
    click.option("--only", multiple=True, metavar="ENTRY", help="An entry that may serve it; repeatable."),
    click.option("--ratelimit", "ratelimits", multiple=True, metavar="NAME=RATE",
                 help="One of its ratelimits, such as requests=600/m or concurrent=8; repeatable."),
    click.option("--budget", "budgets", multiple=True, metavar="AMOUNT",
                 help='One of its budgets, such as "20 usd/day"; repeatable.'),
    click.option("--limit", "limits", multiple=True, metavar="NAME=AMOUNT",
                 help="One of its limits, such as in_flight=8; repeatable."),
)  # fmt: skip
_SETTINGS: Final = ("group", "models", "only", "ratelimits", "budgets", "limits", "until")


def _wishes(command: Any) -> Any:
    """Give ``command`` the options for everything that a client may use."""
    for option in reversed(_WISHES):
        command = option(command)
    return command


@click.group(cls=CommandsInOrder, short_help="Make, change and revoke keys of clients while it runs.")
def keys() -> None:
    """Make, change, rotate and revoke keys of clients while the gateway runs, beside those in its config.

    They are kept in its state_storage, of type sqlite or postgres, and let in where the config says stored_keys: true.
    Every process that serves from that takes a change in within a second. Who has made it is written down with it.
    """


@keys.command("add", short_help="Make a key for a new client, and print it.")
@click.argument("name")
@_wishes
@_UNTIL
@_FOR
@click.option("--sha256", metavar="DIGEST", help="The SHA-256 of a key that exists already: no key is made.")
@_BY
@_JSON
@CONFIG
def add_key(
    name: str, until: str | None, lasting: str | None, sha256: str | None, by: str | None, as_json: bool,
    config: Path | None, **wishes: Any,
) -> None:  # fmt: skip
    """Make a key for the client NAME, and print it: the only time that it is shown.

    What it may use is said as in an item of client_keys, and checked as there; without options it may use all. With
    --sha256 the client keeps a key that it has. The exit status is 0, or 1 if no client was added.
    """
    from gateway.commands.keys import AskedClient, add

    _check_end(until, lasting)
    sys.exit(add(config, name, AskedClient(**wishes), until, lasting, sha256, as_json, by))


@keys.command("set", short_help="Change what a client may use, and when it ends.")
@click.argument("name")
@_wishes
@_UNTIL
@_FOR
@click.option("--without", multiple=True, type=click.Choice(_SETTINGS), metavar="SETTING",
              help=f"A setting to remove: {', '.join(_SETTINGS)}; repeatable.")  # fmt: skip
@_BY
@_JSON
@CONFIG
def set_key(
    name: str, until: str | None, lasting: str | None, without: tuple[str, ...], by: str | None, as_json: bool,
    config: Path | None, **wishes: Any,
) -> None:  # fmt: skip
    """Change what the client NAME may use. Its key stays.

    Each option replaces that setting: with --budget the budgets are those given, and no others. Settings without an
    option stay. What was spent counts on. The exit status is 0, or 1 if nothing was changed.
    """
    from gateway.commands.changed_keys import change
    from gateway.commands.keys import AskedClient

    _check_end(until, lasting)
    sys.exit(change(config, name, AskedClient(**wishes), until, lasting, without, as_json, by))


@keys.command("import", short_help="Move client_keys of a file into the storage.")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("names", nargs=-1, metavar="[NAME…]")
@_BY
@CONFIG
def import_keys(file: Path, names: tuple[str, ...], by: str | None, config: Path | None) -> None:
    """Keep the client_keys of FILE in the storage, where they can be rotated, changed and revoked.

    FILE is a configuration, such as one that trigate import has written. Clients keep their keys. With NAMEs only
    these clients are taken. Names that are stored already are left as they are, and so are clients whose keys are in
    variables or files. The exit status is 1 if a client could not be taken; then nothing is stored.
    """
    from gateway.commands.changed_keys import take_from_file

    sys.exit(take_from_file(config, file, names, by))


@keys.command("list", short_help="List the clients, those of the config too, without their keys.")
@_JSON
@CONFIG
def list_keys(as_json: bool, config: Path | None) -> None:
    """List the clients that may come in, those of the config first: what each may use, its end, and who has made it.

    The state is good, ended, or refused, with the reason: what is kept does not fit the config any longer.
    """
    from gateway.commands.keys import show_list

    sys.exit(show_list(config, as_json))


@keys.command("revoke", short_help="Let a client in no longer.")
@click.argument("name")
@_BY
@CONFIG
def revoke_key(name: str, by: str | None, config: Path | None) -> None:
    """Let the client NAME in no longer, from the next second on.

    Answers that are under way still finish, websockets with what they were asked.
    """
    from gateway.commands.keys import revoke

    sys.exit(revoke(config, name, by))


@keys.command("rotate", short_help="Give a client a new key, and keep the old one for a while.")
@click.argument("name")
@click.option("--keep-old", default="24h", show_default=True, metavar="TIME",
              help="How long the old key is still good; 0 ends it at once.")  # fmt: skip
@_UNTIL
@_FOR
@_BY
@_JSON
@CONFIG
def rotate_key(
    name: str, keep_old: str, until: str | None, lasting: str | None, by: str | None, as_json: bool,
    config: Path | None,
) -> None:  # fmt: skip
    """Make another key for the client NAME, and print it; the old one is still good for a while.

    All else of the client stays, its end too if there is no new one.
    """
    from gateway.commands.keys import rotate

    _check_end(until, lasting)
    sys.exit(rotate(config, name, keep_old, until, lasting, as_json, by))


@keys.command("history", short_help="Show who has changed which key.")
@click.option("--last", type=click.IntRange(1, 10_000), default=50, show_default=True, metavar="N",
              help="How many changes.")  # fmt: skip
@_JSON
@CONFIG
def key_history(last: int, as_json: bool, config: Path | None) -> None:
    """Show the last changes, of which 10,000 are kept: when, which client, and the user of which machine made it."""
    from gateway.commands.keys import history

    sys.exit(history(config, last, as_json))


def _check_end(until: str | None, lasting: str | None) -> None:
    if until is not None and lasting is not None:
        raise click.UsageError("--until and --for are two ways to say one thing: leave out one")
