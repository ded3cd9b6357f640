"""The commands ``trigate people``, ``login``, ``token`` and ``me`` with their options."""

from typing import Any, Final

import click

from gateway.commands.help import AS_JSON, BY, CONFIG, Command, Commands


@click.group(cls=Commands, short_help="List and block people, and end their sessions.")
def people() -> None:
    """List and block the people whom the issuers of the config admit, and end their sessions.

    People are clients named ISSUER:ID, such as okta:00u1. The config must have issuers and a state_storage of type
    sqlite or postgres. Gateways apply a change within half a second. The audit records who made it.
    """


@people.command(
    "list", runs="people.commands.people:show_list", short_help="List the people of the last 90 days, and all blocks."
)
@AS_JSON
@CONFIG
def list_people(**_: Any) -> None:
    """List the people that gateways have seen in the last 90 days, with group and role at that time, and all blocks."""


@people.command(
    "block",
    runs="people.commands.people:block",
    short_help="Reject all tokens and keys of a person, and end all sessions.",
)
@click.argument("name")
@click.option("--reason", default="", metavar="TEXT", help="The reason, for other operators.")
@BY
@CONFIG
def block_person(**_: Any) -> None:
    """Reject all tokens and keys of the person NAME, including future ones, and end all sessions.

    Running requests still finish.
    """


@people.command("unblock", runs="people.commands.people:unblock", short_help="Remove a block.")
@click.argument("name")
@BY
@CONFIG
def unblock_person(**_: Any) -> None:
    """Remove the block of the person NAME, and list the person's own keys, which work again.

    The person must sign in again.
    """


@people.command(
    "revoke-key", runs="people.commands.people:revoke_key", short_help="Revoke one key that a person has made."
)
@click.argument("name")
@click.argument("key")
@BY
@CONFIG
def revoke_person_key(**_: Any) -> None:
    """Revoke the key with the name KEY that the person NAME has made. Other keys and sessions stay valid.

    Running requests still finish. To prevent new keys, block the person.
    """


@people.command("sign-out", runs="people.commands.people:sign_out", short_help="End all sessions of a person.")
@click.argument("name")
@BY
@CONFIG
def sign_person_out(**_: Any) -> None:
    """End all sessions of the person NAME. The person may sign in again, and the person's own keys stay valid."""


@people.command("forget", runs="people.commands.people:forget", short_help="Delete the label of a person.")
@click.argument("name")
@BY
@CONFIG
def forget_person(**_: Any) -> None:
    """Delete the label of the person NAME, such as an e-mail address, until the gateway sees the person again."""


@people.command(
    "history",
    runs="people.commands.people:history",
    short_help="Show the changes of people, keys and raises, and who made them.",
)
@click.option("--last", type=click.IntRange(1, 10_000), default=50, show_default=True, metavar="N",
              help="The number of changes.")  # fmt: skip
@AS_JSON
@CONFIG
def people_history(**_: Any) -> None:
    """Show the last changes by the HTTP API, by trigate people and by trigate keys, with the values before and after.

    The storage keeps them for 400 days.
    """


@people.command("audit", runs="people.commands.people:audit", short_help="Find changes of the audit.")
@click.option("--verify", is_flag=True, required=True, help="Check the chain of digests.")
@click.option("--expect", metavar="NUMBER:DIGEST", help="A digest that an earlier call has printed.")
@CONFIG
def people_audit(**_: Any) -> None:
    """Find changed, added and removed rows of the audit in the state storage.

    The digest of each row includes that of the row before it, so each change breaks the chain. A person with access to
    the storage could compute a new chain, or remove the last rows: note the printed digest elsewhere, and give it with
    --expect the next time.

    Exit status: 1 if the audit is broken.
    """


@click.command(cls=Command, runs="people.commands.login:run", short_help="Sign in to a gateway.")
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


@click.command(
    cls=Command, runs="people.commands.me:run", short_help="Show your rights, limits and budgets at a gateway."
)
@click.argument("url", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def me(**_: Any) -> None:
    """Show your rights, limits and budgets at the gateway with the address URL.

    If the variable TRIGATE_API_KEY is set, me uses that key; the default for URL is then the gateway on this machine.
    Otherwise it uses your session; the default for URL is the gateway of your last sign-in.

    Exit status: 0, or 1 if the gateway does not respond or rejects the request.
    """


COMMANDS: Final = (people, login, token, me)
"""The commands of the feature."""
