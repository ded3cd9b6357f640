"""The options of ``trigate load``, in sections, and the commands under it."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click

APIS: Final = ("chat", "messages", "responses", "gemini", "converse")  # as in providers/apis.py, slow to import
ENDPOINTS: Final = ("embeddings", "rerank", "completions", "moderations", "images", "speech", "transcriptions")
NAMES: Final = f"{', '.join(APIS[:-1])} or {APIS[-1]}"


class _NamedFile(click.Path):
    """A path that is not empty: an empty one would be the current directory."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("an empty name: give the path of a file", param, ctx)
        return super().convert(value, param, ctx)


_FILE: Final = _NamedFile(path_type=Path)


def _option(*names: str, **more: Any) -> click.Option:
    return click.Option(names, **more)


# Names as in a scenario; `OF_REQUEST` are those of a kind of request, `OF_LOAD` those of the load.

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
OF_ANSWERS: Final = (
    "json", "form", "html", "csv", "junit", "log", "log_events", "log_bodies", "otlp",
)  # fmt: skip

SECTIONS: Final[Mapping[str, tuple[click.Option, ...]]] = {
    "Requests": (
        _option("--model", metavar="MODEL", help="The model to ask for."),
        _option("--api", type=click.Choice((*APIS, *ENDPOINTS)), metavar="API",
                     help=f"{', '.join((*APIS, *ENDPOINTS[:-1]))} or {ENDPOINTS[-1]}; default: what URL ends in, "
                          "or chat."),
        _option("--websocket", is_flag=True, default=None, help="Ask for Responses over WebSockets."),
        _option("--texts", type=int, metavar="N", help="N texts in each request for embeddings, ranks or moderations."),
        _option("--no-stream", "stream", flag_value=False, default=None, help="Ask for whole answers."),
        _option("--prompt", metavar="TOKENS",
                     help="The length of prompts: 1000, 50-2000, mean=500,stdev=100 or p50=200,p95=2000; default: 20."),
        _option("--output", metavar="TOKENS", help="The longest answer to ask for, likewise; default: 1024."),
        _option("--exact", is_flag=True, default=None, help="Ask for no shorter answer either, as vLLM can."),
        _option("--prefix", metavar="SHARE:TOKENS:N",
                     help="80%:4000:10: so many prompts begin with one of ten texts of 4,000 tokens."),
        _option("--tools", type=int, metavar="N", help="Offer N tools."),
        _option("--images", metavar="SIZE", help="An image of 512x512 or another size in each prompt."),
        _option("--requests", metavar="FILE",
                     help="Send those of FILE (JSONL: bodies, prompts, messages, ShareGPT), of a directory of "
                          "recordings, or the synthetic ones."),
        _option("--order", type=click.Choice(("file", "shuffled")), metavar="ORDER",
                     help="file (default) or shuffled."),
        _option("--same-prompts", is_flag=True, default=None,
                     help="Send the same texts in each run, to each target: a cache may know them."),
        _option("--seed", type=int, metavar="N", help="Draw lengths, order and arrivals anew; default: 1."),
        _option("--turns", metavar="N", help="Hold conversations of N turns, or N-M, each with the answers before it."),
        _option("--follow-up", metavar="TOKENS", help="What is said behind the first turn; default: as --prompt."),
        _option("--think", metavar="TIME", help="Wait before the next turn: 2s, 1s-5s, p50=2s,p95=20s."),
        _option("--think-cap", metavar="TIME", help="The longest that is waited, also where it was recorded."),
        _option("--tool-results", metavar="TEXT", help="What called tools give back: a text, or so many tokens."),
        _option("--history", type=click.Choice(("client", "server")), metavar="WHO",
                     help="client sends all turns again, server is told the last (responses); default: client."),
        _option("--key-env", metavar="NAME",
                     help="The variable with the key; without, a provider's own host gets that provider's."),
    ),
    "How much": (
        _option("--rate", metavar="N,...",
                     help="Begin N requests a second, whatever the server does; of several, a run each."),
        _option("--poisson", "spacing", flag_value="poisson",
                     help="Begin them at random, as separate clients would."),
        _option("--burstiness", metavar="B", help="Below 1 in bursts, 1 as --poisson, above ever more evenly."),
        _option("--burst", metavar="N:TIME", help="Begin N requests at once every TIME, as 32:2s."),
        _option("--concurrency", metavar="N,...",
                     help="N clients, each asks again when it was answered; of several, a run each; default: 1. "
                          "With --rate, N at once."),
        _option("--trace", metavar="FILE",
                     help="Begin requests when those of a trace came: Azure's, BurstGPT's or Mooncake's."),
        _option("--speed", type=float, metavar="N", help="N times as fast as the trace, or as recorded; default: 1."),
        _option("--seconds", metavar="TIME", help="How long what counts is begun; default: 30."),
        _option("-n", "--count", type=int, metavar="COUNT", help="End when so many that count have begun."),
        _option("--max-tokens", metavar="TOKENS", help="End when so many are used, of prompts and answers, as 2M."),
        _option("--warmup", metavar="TIME", help="Load that does not count, before; default: 0."),
    ),
    "Patience": (
        _option("--timeout", metavar="TIME", help="The longest that one exchange may take; default: 300."),
        _option("--idle", metavar="TIME", help="The longest without an event; what is silent longer is stalled."),
        _option("--deadline", metavar="TIME",
                     help="The longest from the plan on; what is older is expired, and not sent any more."),
        _option("--respect-retry-after", is_flag=True, default=None,
                     help="Clients of a closed loop wait as long as they are told, up to 60 s."),
    ),
    "Connections": (
        _option("--connections", type=click.Choice(("keep", "new")), metavar="HOW",
                     help="new: one for each request; default: keep."),
        _option("--http", type=click.Choice(("1", "1.1", "2")), metavar="VERSION",
                     help="2: exchanges share connections, as long as there is room; default: 1.1."),
        _option("--streams-per-connection", type=int, metavar="N", help="N exchanges, with HTTP/2; default: 100."),
        _option("--no-resend", "resend", flag_value=False, default=None,
                     help="Send nothing again that met a connection already closed: count it as an error."),
        _option("--dns-ttl", metavar="TIME", help="Look the name up again after that; default: never."),
    ),
    "Questions": (
        _option("--slo", multiple=True, metavar="OBJECTIVES",
                     help="What a good answer keeps, as ttft<500ms,gap.p95<50ms,duration<30s; goodput counts those."),
        _option("--find-rate", is_flag=True, default=None,
                     help="Find the most requests a second that hold: 99 % good, or by --fail-if."),
        _option("--max-rate", metavar="N", type=float, help="Try no more than N."),
        _option("--find-concurrency", is_flag=True, default=None, help="Find the most clients that hold."),
        _option("--max-concurrency", metavar="N", type=int, help="Try no more than N."),
        _option("--repeat", metavar="N", type=int, help="Run it N times, and say how far the runs differ."),
        _option("--fail-if", multiple=True, metavar="CONDITION",
                     help="Exit with 1 if it holds, as ttft.p95>500ms."),
        _option("--until", multiple=True, metavar="CONDITION",
                     help="End at once, with 1, if it holds for the last 10 s, as errors>5%."),
        _option("--check", is_flag=True, help="Ask once before the load, and end with 2 if that is not answered well."),
        _option("--wait-ready", metavar="TIME", help="Ask until it is answered well, so long at most."),
        _option("--probe", metavar="N", type=float, help="Ask for one token N times a second beside it, apart."),
        _option("--strict", is_flag=True, default=None,
                     help="Judge without waiving what providers are known to do."),
        _option("--self-test", is_flag=True,
                     help="Measure what the load tester itself costs, and do nothing else."),
    ),
    "Answers": (
        _option("--json", type=_FILE, metavar="FILE", help="Write the report as JSON; - prints it."),
        _option("--html", type=_FILE, metavar="FILE", help="Write the report as a web page."),
        _option("--junit", type=_FILE, metavar="FILE", help="Write what became of the conditions as JUnit's XML."),
        _option("--csv", type=_FILE, metavar="FILE", help="Write the report as a table."),
        _option("--as", "form", type=click.Choice(("vllm",)), metavar="FORM",
                     help="Write --json with another tool's keys: vllm."),
        _option("--percentiles", metavar="LIST", help="Show these; default: 50,95,99."),
        _option("--log", type=_FILE, metavar="FILE",
                     help="Write a line of JSON for each request, at its end; - prints it."),
        _option("--log-events", is_flag=True, help="With the times of all events in it."),
        _option("--log-bodies", type=click.Choice(("failed", "all")), metavar="WHICH",
                     help="With the answers in it: failed or all."),
        _option("--otlp", metavar="URL",
                     help="Send metrics to a collector of OpenTelemetry, or to Prometheus, while it runs."),
        _option("--compare", nargs=2, type=_FILE, metavar="A B",
                     help="Put two JSON reports side by side; load compare says how sure a difference is."),
    ),
    "Scale": (
        _option("--processes", metavar="N", help="Make the load in N processes; auto: one for each core but one."),
        _option("--part", metavar="K/N",
                     help="Make part K of N of the load, on one of N machines; load merge joins their reports."),
        _option("--start-at", metavar="TIME",
                     help="Begin then: 2026-11-23T12:00:00Z or Unix seconds, the same for all parts."),
    ),
}  # fmt: skip
"""What the help lists, section by section."""


@click.command(short_help="Make one report of the parts of a load.")
@click.argument("reports", nargs=-1, required=True, type=_FILE, metavar="REPORT...")
@click.option("--fail-if", multiple=True, metavar="CONDITION", help="Exit with 1 if it holds, as ttft.p95>500ms.")
@click.option("--percentiles", metavar="LIST", help="Show these; default: those of the parts.")
@click.option("--json", type=_FILE, metavar="FILE", help="Write the report as JSON; - prints it.")
@click.option("--html", type=_FILE, metavar="FILE", help="Write the report as a web page.")
@click.option("--junit", type=_FILE, metavar="FILE", help="Write the results of the conditions as JUnit's XML.")
@click.option("--csv", type=_FILE, metavar="FILE", help="Write the report as a table.")
@click.option(
    "--as", "form", type=click.Choice(("vllm",)), metavar="FORM", help="Write --json with another tool's keys."
)
def merge(reports: tuple[Path, ...], fail_if: tuple[str, ...], percentiles: str | None, **files: Any) -> None:
    """Make one report of the parts that machines made with --part.

    Each REPORT is the JSON of one part. Histograms are merged bucket by bucket, so the percentiles are those of the
    whole load. The conditions of the plan and those of --fail-if are judged on the whole. A missing part is reported.
    The exit status is 0, 1 if a condition holds or a part is missing, 2 if the reports are not parts of one load.
    """
    from gateway.commands.load_answers import AnswerOptions
    from gateway.commands.load_reports import merge as run

    sys.exit(run(reports, AnswerOptions(**files), fail_if, percentiles))


@click.command(hidden=True, context_settings={"ignore_unknown_options": True}, add_help_option=False)
@click.argument("words", nargs=-1)
def worker(words: tuple[str, ...]) -> None:
    """Name the replacement of a removed command."""
    from loadtest.plan.spellings import REMOVED

    click.echo(f"trigate load worker {REMOVED['worker']}", err=True)
    sys.exit(2)


@click.command(short_help="Say whether the second of two runs is slower, and how sure that is.")
@click.argument("before", type=_FILE, metavar="A")
@click.argument("after", type=_FILE, metavar="B")
@click.option("--margin", metavar="SHARE", help="Call no smaller difference one; default: 3%.")
@click.option("--percentiles", metavar="LIST", help="Compare these, and the mean; default: 50,95.")
@click.option("--html", type=_FILE, metavar="FILE", help="Write it as a web page, with both reports.")
@click.option(
    "--fail-if",
    "asked",
    multiple=True,
    metavar="WHAT",
    type=click.Choice(("slower", "faster", "errors", "worse", "different")),
    help="Exit with 1 if B is slower, faster, has more errors, worse (slower or more errors), different.",
)
def compare(before: Path, after: Path, **options: Any) -> None:
    """Say whether B is slower than A, and how sure that is.

    A and B are reports of --json, or logs of --log; where a report's log lies beside it, it is read too. What was
    asked differently is said first. Then each figure has its ratio and an interval; all intervals of a table hold
    together, so of a hundred comparisons of a server with itself 95 find no difference at all. The exit status is 0, 1
    if what --fail-if asks is so, or nothing could be compared, 2 if a file is none of these.
    """
    from gateway.commands.load_reports import compare as run

    sys.exit(run(before, after, **options))


SUBCOMMANDS: Final[dict[str, click.Command]] = {"compare": compare, "merge": merge, "worker": worker}
"""Commands by the first word behind ``trigate load``."""


class LoadCommand(click.Command):
    """Loads what its arguments name, unless the first of them names a command of its own."""

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
        """One list of options for each section."""
        listed = [option for options in SECTIONS.values() for option in options]
        others = [
            option for option in self.get_params(ctx) if isinstance(option, click.Option) and option not in listed
        ]
        for title, options in {**SECTIONS, "Help": others}.items():
            if rows := [row for option in options if (row := option.get_help_record(ctx)) and len(row) == 2]:
                with formatter.section(title):
                    formatter.write_dl(rows)
        if SUBCOMMANDS:
            with formatter.section("Commands"):
                formatter.write_dl([(name, command.get_short_help_str(70)) for name, command in SUBCOMMANDS.items()
                                    if not command.hidden])  # fmt: skip


@click.command(
    cls=LoadCommand,
    short_help="Load a server, and measure its streams.",
    params=[
        click.Argument(["targets"], nargs=-1, metavar="[URL|NAME=URL|SCENARIO]..."),
        *(option for options in SECTIONS.values() for option in options),
    ],
)
def load(targets: tuple[str, ...], **options: Any) -> None:
    """Load a server that speaks one of the five APIs, and measure its streams.

    URL is the server's, with or without the path. Several are loaded one after the other, and compared. SCENARIO is a
    YAML file for what the options cannot say. Every answer is held against its API's grammar. Ctrl-C ends the load
    early, with a report. The exit status is 0, 1 if a condition of --fail-if or --until holds, 2 if nothing could be
    run or no request had a connection.
    """
    try:
        status = _run(targets, options)
    except KeyboardInterrupt:  # before there was a load, which has a report
        click.echo("interrupted, without a report", err=True)
        status = 130
    sys.exit(status)


def _run(targets: tuple[str, ...], options: dict[str, Any]) -> int:
    from gateway.commands.load import run
    from gateway.commands.load_answers import AnswerOptions
    from gateway.commands.load_asked import LoadOptions

    request, plan, answers = ({name: value for name in names if (value := options.pop(name)) is not None}
                              for names in (OF_REQUEST, OF_LOAD, OF_ANSWERS))  # fmt: skip
    return run(LoadOptions(targets=targets, load=plan, request=request, answers=AnswerOptions(**answers), **options))
