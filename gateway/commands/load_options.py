"""The command ``trigate load`` with its options."""

from pathlib import Path
from typing import Any, Final

import click

from gateway.commands.help import Command

# providers/apis.py has them too, but is slow to import
APIS: Final = ("chat", "messages", "responses", "gemini", "converse", "interactions")
NAMES: Final = f"{', '.join(APIS[:-1])} or {APIS[-1]}"

_FILE: Final = click.Path(path_type=Path)
_COUNT: Final = click.IntRange(1, 10**6)
_RATE: Final = click.FloatRange(0, 10**6, min_open=True)


def _option(*names: str, **more: Any) -> click.Option:
    return click.Option(names, **more)


_OPTIONS: Final = [
    _option("--model", metavar="MODEL", help="The model. Only --requests can omit it."),
    _option("--api", type=click.Choice(APIS), metavar="API",
            help=f"{NAMES}; default: from the path of URL, else chat."),
    _option("--no-stream", "stream", flag_value=False, default=True, help="Request responses without streaming."),
    _option("--prompt", metavar="TOKENS", help="The length of prompts, such as 1000 or 50-2000; default: 20."),
    _option("--output", metavar="TOKENS", help="The maximum length of answers; default: 1024."),
    _option("--requests", type=_FILE, metavar="FILE",
            help="Send the bodies in FILE, one per line, instead of made prompts."),
    _option("--key-env", metavar="NAME",
            help="The variable with the API key; without it, no key is sent."),
    _option("--rate", type=_RATE, metavar="N", help="Start N requests per second, even if the server is slow."),
    _option("--poisson", is_flag=True, help="Start them at random times, as independent clients do."),
    _option("--concurrency", type=_COUNT, metavar="N",
            help="Run N clients; each sends its next request after a response. Default: 1."),
    _option("--seconds", metavar="TIME",
            help="How long to start measured requests; default: 30, without limit with -n."),
    _option("-n", "--count", type=_COUNT, metavar="COUNT", help="Stop after COUNT measured requests."),
    _option("--warmup", metavar="TIME", help="Send load for TIME before measuring; default: 0."),
    _option("--timeout", metavar="TIME", help="The longest time for one exchange; default: 300."),
    _option("--leave", metavar="SHARE:AFTER",
            help="Let this share of clients disconnect, such as 10%:2s or 10%:20tokens."),
    _option("--rounds", type=_COUNT, metavar="N",
            help="Alternate between two servers in N rounds; default: 10 with two servers."),
    _option("--slo", multiple=True, metavar="OBJECTIVES",
            help="What a good answer needs, such as ttft<500ms,gap.p95<50ms,duration<30s."),
    _option("--find-rate", is_flag=True,
            help="Find the highest rate at which 99% of answers meet --slo, or no --fail-if is true."),
    _option("--max-rate", type=_RATE, metavar="N", help="The highest rate to try."),
    _option("--fail-if", multiple=True, metavar="CONDITION",
            help="Exit with 1 if the condition is true, such as ttft.p95>500ms or errors>0."),
    _option("--json", type=_FILE, metavar="FILE", help="Write the report as JSON; - prints it."),
    _option("--html", type=_FILE, metavar="FILE", help="Write the report as a web page with charts."),
    _option("--log", type=_FILE, metavar="FILE", help="Write one line of JSON per request; - prints it."),
]  # fmt: skip


@click.command(
    cls=Command,
    runs="load:run",
    short_help="Load-test a server, and measure its streams.",
    params=[click.Argument(["targets"], nargs=-1, metavar="[NAME=]URL..."), *_OPTIONS],
)
def load(**options: Any) -> None:
    """Load-test a server that speaks one of the six APIs, and measure its streams.

    URL is the server's URL, with or without the path of the API. Two servers are loaded in turns and compared. Every
    response is checked against the grammar of its API. Ctrl-C stops the load early and still writes the report.

    Exit status: 0, 1 if a condition of --fail-if is true, 2 if no load could run or no request got a connection.
    """
