"""The options of ``trigate compare``, without the modules that it imports."""

from pathlib import Path
from typing import Any

import click

from gateway.commands.help import Command
from gateway.commands.load_options import APIS, NAMES


@click.command(
    cls=Command, runs="compare:run", short_help="Send the same requests to two servers, and report the differences."
)
@click.argument("sources", nargs=-1, type=click.Path(path_type=Path), metavar="[RECORDINGS|LOG…]")
@click.option("--old", required=True, metavar="URL", help="The server whose responses clients know.")
@click.option("--new", required=True, metavar="URL", help="The server that replaces it.")
@click.option("--old-key-env", metavar="NAME", help="The variable with the old server's key; default: TRIGATE_API_KEY.")
@click.option("--new-key-env", metavar="NAME", help="The variable with the new server's key; default: TRIGATE_API_KEY.")
@click.option("--model", "models", multiple=True, metavar="MODEL",
              help="Send the samples to MODEL; repeatable; `all`: every model that the old server lists.")  # fmt: skip
@click.option("--api", "apis", type=click.Choice(APIS), multiple=True, metavar="API",
              help=f"The samples' API: {NAMES}; repeatable. Default: chat, messages, responses.")  # fmt: skip
@click.option("--exact", is_flag=True, help="Require equal texts, as from a stand-in provider for both.")
@click.option("--timeout", "seconds", type=click.FloatRange(0, min_open=True), default=120, show_default=True,
              metavar="SECONDS", help="The longest wait for one response.")  # fmt: skip
@click.option("--jobs", type=click.IntRange(1, 64), default=1, show_default=True, metavar="N",
              help="Compare N requests at the same time.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def compare(sources: tuple[Path, ...], models: tuple[str, ...], apis: tuple[str, ...], **_: Any) -> None:
    """Send the same requests to two servers, and report the differences that clients notice.

    RECORDINGS is a directory written by trigate serve --record. LOG is JSON Lines with request bodies: `body` with
    `path` or `url`, LiteLLM's proxy_server_request, or bare bodies. Without both, compare sends built-in samples.

    It compares the status, the content, tool calls, finish reasons, token counts, JSON members, errors and headers that
    SDKs read, and prints the time to the first byte and costs. Models seldom repeat a text: only --exact compares it.

    Both servers process, and may bill, each request. compare sends keys only to the two servers, and never prints them.

    Exit status: 0 if no difference breaks clients, 1 if one does, 2 if nothing could be compared.
    """
    if sources and (models or apis):
        raise click.UsageError("--model and --api select samples: leave them out with RECORDINGS or LOG")
