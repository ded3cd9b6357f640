"""The command ``trigate load`` with its options, and the commands under it."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click

# providers/apis.py has them too, but is slow to import
APIS: Final = ("chat", "messages", "responses", "gemini", "converse", "interactions")
ENDPOINTS: Final = ("embeddings", "rerank", "completions", "moderations", "images", "speech", "transcriptions")
NAMES: Final = f"{', '.join(APIS[:-1])} or {APIS[-1]}"


class _NonEmptyPath(click.Path):
    """A path that is not empty: an empty path would mean the current directory."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("the path is empty: give the path of a file", param, ctx)
        return super().convert(value, param, ctx)


_FILE: Final = _NonEmptyPath(path_type=Path)


def _option(*names: str, **more: Any) -> click.Option:
    return click.Option(names, **more)


# The names of options in a scenario: `OF_REQUEST` in a kind of request, `OF_LOAD` in the load.

OF_REQUEST: Final = (
    "model", "api", "stream", "prompt", "output", "exact", "prefix", "tools", "images", "texts", "websocket",
    "requests", "order", "turns", "follow_up", "think", "think_cap", "tool_results", "history",
)  # fmt: skip
OF_LOAD: Final = (
    "rate", "spacing", "burstiness", "burst", "concurrency", "find_rate", "max_rate", "find_concurrency",
    "max_concurrency", "repeat", "trace", "speed", "seconds", "count", "warmup", "timeout", "idle", "deadline",
    "respect_retry_after", "connections", "http", "streams_per_connection", "resend", "dns_ttl", "max_tokens",
    "key_env", "strict", "seed", "same_prompts", "probe",
)  # fmt: skip
OF_OUTPUTS: Final = (
    "json", "form", "html", "csv", "junit", "log", "log_events", "log_bodies", "otlp",
)  # fmt: skip

_FAIL_IF: Final = _option("--fail-if", multiple=True, metavar="CONDITION",
                          help="Exit with 1 if the condition is true, such as ttft.p95>500ms.")  # fmt: skip
_REPORTS: Final = (
    _option("--json", type=_FILE, metavar="FILE", help="Write the report as JSON; - prints it."),
    _option("--html", type=_FILE, metavar="FILE", help="Write the report as a web page."),
    _option("--junit", type=_FILE, metavar="FILE", help="Write the results of the conditions as JUnit XML."),
    _option("--csv", type=_FILE, metavar="FILE", help="Write the report as CSV."),
    _option("--as", "form", type=click.Choice(("vllm",)), metavar="FORM",
            help="Use the keys of another tool in --json: vllm."),
)  # fmt: skip
"""The options for the files of a report."""

SECTIONS: Final[Mapping[str, tuple[click.Option, ...]]] = {
    "Requests": (
        _option("--model", metavar="MODEL", help="The model of all requests."),
        _option("--api", type=click.Choice((*APIS, *ENDPOINTS)), metavar="API",
                     help=f"{', '.join((*APIS, *ENDPOINTS[:-1]))} or {ENDPOINTS[-1]}; default: from the path of URL, "
                          "else chat."),
        _option("--websocket", is_flag=True, default=None, help="Send Responses requests over WebSockets."),
        _option("--texts", type=int, metavar="N",
                     help="The number of texts in each embeddings, rerank or moderations request."),
        _option("--no-stream", "stream", flag_value=False, default=None, help="Request responses without streaming."),
        _option("--prompt", metavar="TOKENS",
                     help="The length of prompts: 1000, 50-2000, mean=500,stdev=100 or p50=200,p95=2000; default: 20."),
        _option("--output", metavar="TOKENS",
                     help="The maximum length of answers, written like --prompt; default: 1024."),
        _option("--exact", is_flag=True, default=None,
                     help="Make answers exactly that long; the server must support it, as vLLM does."),
        _option("--prefix", metavar="SHARE:TOKENS:N",
                     help="80%:4000:10 starts 80% of the prompts with one of 10 texts of 4,000 tokens."),
        _option("--tools", type=int, metavar="N", help="Offer N tools."),
        _option("--images", metavar="SIZE", help="Add an image of this size to each prompt, such as 512x512."),
        _option("--requests", metavar="FILE",
                     help="Send the requests in FILE (JSONL: bodies, prompts, messages or ShareGPT), in a directory "
                          "of recordings, or synthetic."),
        _option("--order", type=click.Choice(("file", "shuffled")), metavar="ORDER",
                     help="The order of these requests: file (default) or shuffled."),
        _option("--same-prompts", is_flag=True, default=None,
                     help="Send the same prompts in each run and to each target; caches may then hit."),
        _option("--seed", type=int, metavar="N", help="The seed for random lengths, order and arrivals; default: 1."),
        _option("--turns", metavar="N", help="Send conversations of N turns, or N-M, with all earlier answers."),
        _option("--follow-up", metavar="TOKENS", help="The prompt length after the first turn; default: --prompt."),
        _option("--think", metavar="TIME", help="The pause before the next turn: 2s, 1s-5s, p50=2s,p95=20s."),
        _option("--think-cap", metavar="TIME", help="The longest pause, also for recorded pauses."),
        _option("--tool-results", metavar="TEXT", help="The result of tool calls: a text, or a number of tokens."),
        _option("--history", type=click.Choice(("client", "server")), metavar="WHO",
                     help="client sends all turns, server only the last (Responses, Interactions); default: client."),
        _option("--key-env", metavar="NAME",
                     help="The variable with the API key; default: the usual variable of the provider in URL."),
    ),
    "Load": (
        _option("--rate", metavar="N,...",
                     help="Start N requests per second, even if the server is slow. Several numbers: one run each."),
        _option("--poisson", "spacing", flag_value="poisson",
                     help="Start requests at random times, as independent clients do."),
        _option("--burstiness", metavar="B", help="Below 1: in bursts; 1: like --poisson; above 1: more evenly."),
        _option("--burst", metavar="N:TIME", help="Start N requests together every TIME, such as 32:2s."),
        _option("--concurrency", metavar="N,...",
                     help="Run N clients; each sends its next request after a response. Several numbers: one run each. "
                          "Default: 1. With --rate: the limit of concurrent requests."),
        _option("--trace", metavar="FILE",
                     help="Start requests at the times in a trace of Azure, BurstGPT or Mooncake."),
        _option("--speed", type=float, metavar="N", help="Replay a trace or recording N times as fast; default: 1."),
        _option("--seconds", metavar="TIME", help="How long to start measured requests; default: 30."),
        _option("-n", "--count", type=int, metavar="COUNT", help="Stop after COUNT measured requests."),
        _option("--max-tokens", metavar="TOKENS",
                     help="Stop after this many tokens of prompts and answers, such as 2M."),
        _option("--warmup", metavar="TIME", help="Send load for TIME before measuring; default: 0."),
    ),
    "Timeouts": (
        _option("--timeout", metavar="TIME", help="The longest time for one exchange; default: 300."),
        _option("--idle", metavar="TIME",
                     help="The longest time without an event; after it, a stream counts as stalled."),
        _option("--deadline", metavar="TIME",
                     help="The longest time after the planned start; then a request expires, or is not sent at all."),
        _option("--respect-retry-after", is_flag=True, default=None,
                     help="Let clients of --concurrency wait for retry-after, up to 60 s."),
    ),
    "Connections": (
        _option("--connections", type=click.Choice(("keep", "new")), metavar="HOW",
                     help="keep reuses connections, new opens one for each request; default: keep."),
        _option("--http", type=click.Choice(("1", "1.1", "2")), metavar="VERSION",
                     help="1.1 or 2; with 2, exchanges share connections. Default: 1.1."),
        _option("--streams-per-connection", type=int, metavar="N",
                     help="Exchanges per connection with HTTP/2; default: 100."),
        _option("--no-resend", "resend", flag_value=False, default=None,
                     help="Count a request on a closed connection as an error; do not send it again."),
        _option("--dns-ttl", metavar="TIME", help="Resolve the host name again after TIME; default: never."),
    ),
    "Objectives": (
        _option("--slo", multiple=True, metavar="OBJECTIVES",
                     help="The objectives for goodput, such as ttft<500ms,gap.p95<50ms,duration<30s."),
        _option("--find-rate", is_flag=True, default=None,
                     help="Find the highest rate that meets --slo for 99% of requests, or meets --fail-if."),
        _option("--max-rate", metavar="N", type=float, help="The highest rate to try."),
        _option("--find-concurrency", is_flag=True, default=None,
                     help="Find the highest number of clients, by the same criteria."),
        _option("--max-concurrency", metavar="N", type=int, help="The highest number of clients to try."),
        _option("--repeat", metavar="N", type=int, help="Repeat the run N times, and report the variation."),
        _FAIL_IF,
        _option("--until", multiple=True, metavar="CONDITION",
                     help="Stop with exit status 1 if the condition is true for the last 10 s, such as errors>5%."),
        _option("--check", is_flag=True,
                     help="Send one request first; exit with 2 if its response is not good."),
        _option("--wait-ready", metavar="TIME", help="Repeat that request for up to TIME until its response is good."),
        _option("--probe", metavar="N", type=float,
                     help="Also send N requests per second for one token, reported separately."),
        _option("--strict", is_flag=True, default=None,
                     help="Report known deviations of providers as errors, too."),
        _option("--self-test", is_flag=True,
                     help="Measure the overhead of the load tester itself, and exit."),
    ),
    "Output": (
        *_REPORTS,
        _option("--percentiles", metavar="LIST", help="The percentiles to show; default: 50,95,99."),
        _option("--log", type=_FILE, metavar="FILE",
                     help="Write one line of JSON per finished request; - prints it."),
        _option("--log-events", is_flag=True, help="Add the times of all events to --log."),
        _option("--log-bodies", type=click.Choice(("failed", "all")), metavar="WHICH",
                     help="Add the response bodies to --log: failed or all."),
        _option("--otlp", metavar="URL",
                     help="Send metrics to an OpenTelemetry collector or to Prometheus during the run."),
        _option("--compare", nargs=2, type=_FILE, metavar="A B",
                     help="Show two JSON reports side by side; load compare adds confidence intervals."),
    ),
    "Scale": (
        _option("--processes", metavar="N", help="Use N processes; auto: the number of cores minus one."),
        _option("--part", metavar="K/N",
                     help="Run part K of N on this machine; load merge combines the reports of all parts."),
        _option("--start-at", metavar="TIME",
                     help="Start at this time, the same for all parts: 2026-11-23T12:00:00Z or Unix seconds."),
    ),
}  # fmt: skip
"""The sections of the help, with their options."""


@click.command(
    short_help="Combine the reports of the parts of a load.",
    params=[
        click.Argument(["reports"], nargs=-1, required=True, type=_FILE, metavar="REPORT..."),
        _FAIL_IF,
        _option("--percentiles", metavar="LIST", help="The percentiles to show; default: those of the parts."),
        *_REPORTS,
    ],
)
def merge(reports: tuple[Path, ...], fail_if: tuple[str, ...], percentiles: str | None, **files: Any) -> None:
    """Combine the reports of the parts that machines ran with --part.

    Each REPORT is the JSON report of one part. The percentiles are those of the whole load, because histograms are
    merged bucket by bucket. The conditions of the plan and of --fail-if apply to the whole load.

    Exit status: 0, 1 if a condition is true or a part is missing, 2 if the reports are not parts of one load.
    """
    from gateway.commands.load_outputs import OutputOptions
    from gateway.commands.load_reports import merge as run

    sys.exit(run(reports, OutputOptions(**files), fail_if, percentiles))


@click.command(hidden=True, context_settings={"ignore_unknown_options": True}, add_help_option=False)
@click.argument("words", nargs=-1)
def worker(words: tuple[str, ...]) -> None:
    """Report the replacement of the removed command ``trigate load worker``."""
    from loadtest.plan.spellings import REMOVED

    click.echo(f"trigate load worker {REMOVED['worker']}", err=True)
    sys.exit(2)


@click.command(short_help="Test whether the second of two runs is slower.")
@click.argument("before", type=_FILE, metavar="A")
@click.argument("after", type=_FILE, metavar="B")
@click.option("--margin", metavar="SHARE", help="Ignore smaller differences; default: 3%.")
@click.option("--percentiles", metavar="LIST", help="The percentiles to compare besides the mean; default: 50,95.")
@click.option("--html", type=_FILE, metavar="FILE", help="Write a web page with the comparison and both reports.")
@click.option(
    "--fail-if",
    "asked",
    multiple=True,
    metavar="WHAT",
    type=click.Choice(("slower", "faster", "errors", "worse", "different")),
    help="Exit with 1 if B is slower, faster or different, has more errors, or is worse (slower or more errors).",
)
def compare(before: Path, after: Path, **options: Any) -> None:
    """Test whether B is slower than A, with confidence intervals.

    A and B are reports from --json or logs from --log. compare also reads the log of a report if it is in the same
    directory. The output first lists differences between the two loads, then the ratio and interval of each figure.
    In 95 of 100 comparisons of a server with itself, no figure differs.

    Exit status: 0, 1 if --fail-if applies or nothing is comparable, 2 if a file is not a report or log.
    """
    from gateway.commands.load_reports import compare as run

    sys.exit(run(before, after, **options))


SUBCOMMANDS: Final[dict[str, click.Command]] = {"compare": compare, "merge": merge, "worker": worker}
"""The commands under ``trigate load``, by name."""


class LoadCommand(click.Command):
    """The command ``trigate load``; runs one of ``SUBCOMMANDS`` if that is the first argument."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        if args and args[0] in SUBCOMMANDS:
            return SUBCOMMANDS[args[0]].make_context(f"{info_name} {args[0]}", args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            from loadtest.plan.spellings import ADVICE_ELSEWHERE, OPTIONS_ELSEWHERE, REMOVED

            name = error.option_name
            if name in REMOVED:
                click.echo(f"{name} {REMOVED[name]}", err=True)
                ctx.exit(2)
            ours, advice = OPTIONS_ELSEWHERE.get(name), ADVICE_ELSEWHERE.get(name)
            if any(ours in option.opts for option in self.params):
                advice = f"did you mean {ours}?"
            if advice is None:
                raise
            raise click.NoSuchOption(name, f"No such option '{name}': {advice}", ctx=ctx) from None

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, section by section."""
        listed = [option for options in SECTIONS.values() for option in options]
        others = [
            option for option in self.get_params(ctx) if isinstance(option, click.Option) and option not in listed
        ]
        for title, options in {**SECTIONS, "Help": others}.items():
            if rows := [row for option in options if (row := option.get_help_record(ctx)) and len(row) == 2]:
                with formatter.section(title):
                    formatter.write_dl(rows)
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.get_short_help_str(70)) for name, command in SUBCOMMANDS.items()
                                if not command.hidden])  # fmt: skip


@click.command(
    cls=LoadCommand,
    short_help="Load-test a server, and measure its streams.",
    params=[
        click.Argument(["targets"], nargs=-1, metavar="[URL|NAME=URL|SCENARIO]..."),
        *(option for options in SECTIONS.values() for option in options),
    ],
)
def load(targets: tuple[str, ...], **options: Any) -> None:
    """Load-test a server that speaks one of the six APIs, and measure its streams.

    URL is the server's URL, with or without the path of the API. Several servers run one after the other, and the
    report compares them. SCENARIO is a YAML file for more complex loads. Every response is checked against the
    grammar of its API. Ctrl-C stops the load early and still writes the report.

    Exit status: 0, 1 if a condition of --fail-if or --until is true, 2 if no load could run or no request got a
    connection.
    """
    try:
        status = _run(targets, options)
    except KeyboardInterrupt:  # an interrupted load writes a report; here none had begun
        click.echo("interrupted; no report", err=True)
        status = 130
    sys.exit(status)


def _run(targets: tuple[str, ...], options: dict[str, Any]) -> int:
    from gateway.commands.load import run
    from gateway.commands.load_outputs import OutputOptions
    from gateway.commands.load_plan import LoadOptions

    request, plan, outputs = ({name: value for name in names if (value := options.pop(name)) is not None}
                              for names in (OF_REQUEST, OF_LOAD, OF_OUTPUTS))  # fmt: skip
    return run(LoadOptions(targets=targets, load=plan, request=request, outputs=OutputOptions(**outputs), **options))
