"""The commands ``trigate login``, ``token`` and ``me`` with their options. Each imports its modules when run."""

import sys

import click


@click.command(short_help="Sign in to a gateway.")
@click.argument("url")
@click.option("--no-browser", is_flag=True, help="Do not open the page, only print its address.")
def login(url: str, no_browser: bool) -> None:
    """Sign in to the gateway with the address URL, and save the session for token, me and connect.

    You approve the sign-in on a page of the gateway. Exit status: 1 if the sign-in fails.
    """
    from gateway.commands.login import run

    sys.exit(run(url, opens_browser=not no_browser))


@click.command(short_help="Print the token of your session at a gateway.")
@click.argument("url", required=False)
def token(url: str | None) -> None:
    """Print a valid token of your session at URL, by default of your last sign-in. If necessary, refresh it first.

    Programs such as Claude Code (with apiKeyHelper) run this command to get their key. It takes at most four seconds.
    Exit status: 1 without a valid session; the reason is on standard error.
    """
    from gateway.commands.sessions import print_token

    sys.exit(print_token(url))


@click.command(short_help="Show your rights, limits and budgets at a gateway.")
@click.argument("url", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def me(url: str | None, as_json: bool) -> None:
    """Show your rights, limits and budgets at the gateway with the address URL.

    If the variable TRIGATE_API_KEY is set, me uses that key; the default for URL is then the gateway on this machine.
    Otherwise it uses your session; the default for URL is the gateway of your last sign-in.

    Exit status: 0, or 1 if the gateway does not respond or rejects the request.
    """
    from gateway.commands.me import run

    sys.exit(run(url, as_json=as_json))
