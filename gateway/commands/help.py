"""The help of commands: the everyday commands and options first, so that the first screen answers most questions.

It also has the options of several commands."""

import errno
import functools
import inspect
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import click

from configfile.users_files import open_file
from gateway.named_imports import import_named

GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "Run": ("serve", "status", "reload", "stop", "logs", "log", "doctor"),
    "Configure": ("init", "check", "explain", "steps", "import"),
    "Clients": ("connect", "login", "token", "me"),
    "Money": ("costs", "cache", "reconcile", "ledger"),
    "Keys and people": ("keys", "people"),
    "Develop": ("mock", "compare", "replay", "translate", "lint", "schema", "load"),
}
"""The commands of ``trigate`` by purpose."""

_TWICE: Final = "start the command twice, each with half the load"
_OF_LOAD: Final = (
    ("--tools --images --texts --exact --prefix", "put it into bodies of your own, with --requests FILE"),
    ("--same-prompts --seed --order --strict --percentiles", "it has no replacement: reports have p50 to p99.9"),
    (
        "--turns --follow-up --think --think-cap --tool-results --history --trace --speed",
        "use AIPerf for conversations, traces and recordings, or --requests FILE with bodies",
    ),
    (
        "--websocket --http --streams-per-connection --connections --no-resend --dns-ttl",
        "use h2load for HTTP/2 and other connections; this tool keeps HTTP/1.1 connections",
    ),
    ("--burst --burstiness", "use --poisson"),
    ("--repeat", "run the command once for each"),
    ("--find-concurrency --max-concurrency", "use --find-rate and --max-rate"),
    ("--idle --deadline", "use --timeout, or --slo 'stall<5s'"),
    ("--until --max-tokens", "use --fail-if, and end a load with Ctrl-C"),
    ("--check --wait-ready", "run the command with -n 1 first, in a loop if the server is starting"),
    ("--probe --respect-retry-after --self-test", "it has no replacement"),
    ("--junit --csv --otlp --as --log-events --log-bodies", "convert the file of --json or --log"),
    ("--compare", "give both URLs, which one run then compares"),
    ("--processes --part --start-at --workers --secret-env", _TWICE),
    ("compare", "run `trigate load A=URL B=URL`: it alternates two servers and compares them"),
    ("merge worker", _TWICE),
)
"""Words of `trigate load`, and what to do instead."""

REMOVED: Final[Mapping[str, str]] = {
    "explain --if": "explain --url shows the targets that a running gateway skips, and a test can cause failures: "
                    "docs/routing.md lists the models of trigate mock that fail",
    "cache --model": "it belonged to the comparison of files; the log and trigate cache name the cause of each miss",
    "cache FILE": "send the requests through a gateway; its log and trigate cache name the cause of each miss",
    "replay --serve": "start trigate mock, which answers every request as a provider",
    "replay --pace": "it belonged to --serve; trigate mock has --pace",
    "init --yes": "init asks nothing; remove from the file what you do not use",
    "step": "use trigate steps try",
    "import --keys": "give --database the URL of LiteLLM's database, or of a copy of it",
    "import --teams": "give --database the URL of LiteLLM's database, or of a copy of it",
    **{f"load {word}": advice for words, advice in _OF_LOAD for word in words.split()},
}  # fmt: skip
"""The advice for each removed option, argument or command."""


def load_function(place: str) -> Callable[..., Any]:
    """Import and return the function ``module:function`` of this package, or of a feature, ``NAME.module:function``."""
    package = "gateway.features" if "." in place.partition(":")[0] else "gateway.commands"
    found: Callable[..., Any] = import_named(f"{package}.{place}")
    return found


class Command(click.Command):
    """A command whose help has one paragraph, then the options in the order of their definition, then the details.

    ``runs`` is the function to call with the options, in the words of ``load_function``. It is imported only then, so
    that ``--help`` and errors about options appear immediately; its result is the exit status. The command's own
    function may check the options, or return others. Removed options and arguments are errors that state their
    replacement."""

    def __init__(self, *args: Any, runs: str = "", **more: Any) -> None:
        super().__init__(*args, **more)
        self.runs = runs

    def invoke(self, ctx: click.Context) -> None:
        options = super().invoke(ctx)
        if self.runs:
            sys.exit(load_function(self.runs)(**(ctx.params if options is None else options)))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        first = args[0] if args else "-"
        _check_removed(ctx, f"{ctx.info_name} {first}")
        try:
            rest = super().parse_args(ctx, args)
            self._check_texts(ctx)
            return rest
        except click.NoSuchOption as error:
            _check_removed(ctx, f"{ctx.info_name} {error.option_name}")
            raise
        except click.UsageError:
            if not first.startswith("-"):
                _check_removed(ctx, f"{ctx.info_name} FILE")
            raise

    def _check_texts(self, ctx: click.Context) -> None:
        """Refuse values in other encodings, which no URL, JSON or UTF-8 file can contain. Paths may have any bytes."""
        for parameter in self.params:
            if isinstance(parameter.type, click.Path):
                continue
            value = ctx.params.get(parameter.name or "")
            try:
                for text in value if isinstance(value, tuple) else (value,):
                    str(text).encode()
            except UnicodeEncodeError:
                raise click.BadParameter("the value is not UTF-8 text.", ctx, parameter) from None

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        _write(formatter, self._paragraphs()[0])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        _write(formatter, self._paragraphs()[1])

    def _paragraphs(self) -> tuple[str, str]:
        """Return the first paragraph and the other ones."""
        first, _, others = inspect.cleandoc(self.help or "").partition("\n\n")
        return first, others


def _check_removed(ctx: click.Context, words: str) -> None:
    if words in REMOVED:
        raise click.UsageError(f"{words} was removed: {REMOVED[words]}", ctx) from None


def _write(formatter: click.HelpFormatter, text: str) -> None:
    if text:
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(text)


def _folder_exists() -> bool:
    try:
        Path.cwd()
    except FileNotFoundError:
        return False
    return True


_UNWRITABLE: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""The errors of a full or broken disk, which any command can meet."""


class Commands(click.Group):
    """A group whose help lists its commands before its options, by ``GROUPS`` or in the order of their definition."""

    command_class = Command

    def main(self, *args: Any, **more: Any) -> Any:
        try:
            return super().main(*args, **more)
        except FileNotFoundError:
            if _folder_exists():
                raise
            click.echo("trigate: the current folder does not exist any more: change to another one", err=True)
            sys.exit(1)
        except OSError as error:
            if error.errno not in _UNWRITABLE:
                raise
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Python writes the rest of its buffer at the end
            where = error.filename or "the output"
            click.echo(f"trigate: {where} cannot be written: {os.strerror(error.errno).lower()}", err=True)
            sys.exit(1)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if ctx.parent is None:
            _check_removed(ctx, args[0])
        return super().resolve_command(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        self.format_commands(ctx, formatter)
        click.Command.format_options(self, ctx, formatter)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections = GROUPS if ctx.parent is None else {"Commands": tuple(self.commands)}
        length = max(map(len, self.commands))
        for title, names in sections.items():
            there = [name for name in names if name in self.commands]  # a feature may be absent
            if not there:
                continue
            with formatter.section(title):
                formatter.write_dl(
                    [(f"{one:{length}}", self.commands[one].get_short_help_str(limit=200)) for one in there]
                )


class InputFile(click.File):
    """A file to read, ``-`` for standard input."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "-" or ctx is None:
            return super().convert(value, param, ctx)
        try:
            return ctx.with_resource(open_file(value))
        except OSError as error:
            self.fail(f"'{value}': {error.strerror}", param, ctx)


# Options of several commands

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


AS_JSON: Final = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
BY: Final = click.option(
    "--by", metavar="WHO", help="Who requested the change; recorded in the audit next to your user."
)
