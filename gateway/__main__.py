"""The command line: ``trigate`` and ``python -m gateway``.

Every command imports what it needs when it runs: ``--help`` and mistyped options answer at once.
"""

import functools
import gc
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from gateway import __version__
from gateway.commands.key_options import CONFIG as _CONFIG
from gateway.commands.key_options import CommandsInOrder, keys
from gateway.commands.load_options import APIS, NAMES, load

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
API = click.Choice(APIS)
PORT = click.IntRange(0, 65535)
PACE = 0.03
COSTS_BY = ("key", "client", "group", "model", "target", "run", "endpoint", "day")


def _takes_file(command: Callable[..., None]) -> Callable[..., None]:
    """Give ``command`` the configuration that is written as ``--config FILE``, or as ``FILE`` alone."""

    @click.argument("file", required=False, type=click.Path(path_type=Path), metavar="[FILE]")
    @_CONFIG
    @functools.wraps(command)
    def takes_file(file: Path | None, config: Path | None, **options: Any) -> None:
        if file is not None and config is not None:
            raise click.UsageError(f"two configurations, {file} and {config}: leave out one")
        command(config=config or file, **options)

    return takes_file


def _show_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        from providers.catalog.price_list import source

        click.echo(f"trigate, version {__version__}\nprices: {source()}")
        context.exit()


@click.group(cls=CommandsInOrder, context_settings=CONTEXT)
@click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True, callback=_show_version,
    help="Show the version, and that of the prices, and exit.",
)  # fmt: skip
def main() -> None:
    """One address in front of every model.

    trigate speaks OpenAI Chat Completions, Anthropic Messages, OpenAI Responses, Google Gemini and Bedrock
    Converse, to clients and to providers, streaming and not, and translates only where the two sides differ.

    \b
    Try it, without a key or a config:   trigate serve --demo
    See what is wrong with a config:     trigate check
    See where a model's requests go:     trigate explain MODEL
    """
    _open_standard_streams()


@main.command(short_help="Run the gateway.")
@_takes_file
@click.option("--demo", is_flag=True, help="Serve a stand-in provider instead of FILE; needs no key.")
@click.option("--host", metavar="ADDRESS", help="Listen on ADDRESS; default: the config's, else 127.0.0.1.")
@click.option("--port", type=PORT, metavar="PORT", help="Listen on PORT; default: the config's, else 12000.")
@click.option("--open", "is_open", is_flag=True, help="Let everybody in who can connect, without client_keys.")
@click.option("--workers", type=click.IntRange(1, 256), default=1, metavar="N", help="Serve with N processes.")
@click.option("--pace", type=click.FloatRange(0), metavar="SECONDS",
              help=f"Pause between two words of the demo; default: {PACE}.")  # fmt: skip
@click.option("--check-streams", is_flag=True, help="For debugging: log every stream that breaks its API's grammar.")
@click.option("--record", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
              help="Write what clients and providers send to DIR: prompts and answers, keys masked.")  # fmt: skip
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), metavar="LEVEL",
              help="debug, info, warning or error; default: the config's, else info.")  # fmt: skip
@click.option("--log-format", type=click.Choice(["auto", "json", "text"]), default="auto", metavar="FORMAT",
              help="json, text, or auto: text on a terminal, JSON elsewhere; default: auto.")  # fmt: skip
@click.option("--fd", "fds", type=int, multiple=True, hidden=True, help="Listening sockets of the supervisor.")
@click.option("--copies", type=int, hidden=True, help="What its workers read in place of FILE: a descriptor.")
@click.option("--directory", type=click.Path(path_type=Path), hidden=True, help="What its workers share.")
@click.option("--memory", type=int, hidden=True, help="What its workers know in common: a descriptor.")
@click.option("--ready", type=int, hidden=True, help="Where a worker reports that it answers: a descriptor.")
def serve(config: Path | None, demo: bool, pace: float | None, **options: Any) -> None:
    """Run the gateway until SIGTERM or Ctrl-C; then answers that are under way may still finish.

    FILE is a YAML file in Plano's format. Without it, the first of these is taken: the file named by
    $TRIGATE_CONFIG, trigate.yaml, config.yaml and plano_config.yaml in the current directory, and your own,
    $XDG_CONFIG_HOME/trigate/trigate.yaml (~/.config/trigate/trigate.yaml).
    """
    if demo and config is not None:
        raise click.UsageError("--demo has a configuration of its own: leave out FILE or --demo")
    if demo and options["workers"] > 1:
        raise click.UsageError("--demo is one process: leave out --workers")
    if pace is not None and not demo:
        raise click.UsageError("--pace is for the stand-in provider: add --demo, or use trigate mock --pace")
    _hold_reloads()
    _load_undisturbed()
    from gateway.commands.serve import Options, run, run_demo

    common = Options(**{name: options.pop(name) for name in ("check_streams", "record", "log_level", "log_format")})
    if demo:
        place = options["host"], options["port"]
        sys.exit(run_demo(*place, PACE if pace is None else pace, common))
    sys.exit(run(config, common, **options))


@main.command(short_help="Write a first config, with the providers whose keys are set.")
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--yes", is_flag=True, help="Ask nothing, and take every provider whose key is in the environment.")
@click.option("--force", is_flag=True, help="Overwrite a file that is there.")
def init(file: Path | None, yes: bool, force: bool) -> None:
    """Write a commented config to FILE (trigate.yaml), with the providers whose keys are in the environment.

    On a terminal it asks which of them to take. No key is written into the file. The exit status is 1 if the file is
    there already.
    """
    from gateway.commands.init import run

    sys.exit(run(file, yes, force))


@main.command(short_help="Show every mistake in a config.")
@_takes_file
@click.option("--no-env", is_flag=True, help="Do not ask for the environment variables that it names.")
@click.option("--strict", is_flag=True, help="A setting that is accepted without effect is a mistake, too.")
@click.option("--diff", "old", type=click.Path(path_type=Path), metavar="OLD", help="Say what differs from OLD, too.")
@click.option("--endpoints", is_flag=True, help="Say what each entry has beside conversations, and where.")
def check(config: Path | None, no_env: bool, strict: bool, old: Path | None, endpoints: bool) -> None:
    """Show every mistake in a config, with its line and the nearest right name.

    FILE is found as by serve. The exit status is 0 for a good one and 1 for a bad one; with --strict also for
    one that sets what has no effect. With --diff OLD what would change is said in words, keys by their names alone;
    the status is 0 if nothing would, 1 if something would, and 2 if one of the two is bad.
    """
    from gateway.commands.check import check as run
    from gateway.commands.check import check_difference

    if strict and old is not None:
        raise click.UsageError("--diff compares two files, --strict judges one: leave out one")
    sys.exit(run(config, no_env, strict, endpoints=endpoints) if old is None else check_difference(old, config, no_env))


@main.command(short_help="Add up what requests have cost.")
@_takes_file
@click.option("--by", multiple=True, type=click.Choice(list(COSTS_BY)), metavar="WHAT",
              help=f"{', '.join(COSTS_BY)}; repeatable; default: key, or model without client_keys.")  # fmt: skip
@click.option("--since", default="30d", show_default=True, metavar="WHEN",
              help="The start: today, 7d (today and six days before), 24h, or a date such as 2026-11-01.")  # fmt: skip
@click.option("--until", metavar="WHEN", help="The end, a date to its last moment; default: now.")
@click.option("--format", "form", type=click.Choice(["table", "csv", "json"]), default="table", metavar="FORMAT",
              help="table, csv or json, the last two exact to a nano-dollar; default: table.")  # fmt: skip
def costs(config: Path | None, by: tuple[Any, ...], since: str, until: str | None, form: Any) -> None:
    """Add up what requests have cost, from the ledger in the state storage of FILE.

    FILE is found as by serve; its state_storage is sqlite or postgres, and a gateway may be running. Days are
    those of its timezone. By model and by target attempts are counted, of which a request may have had several. The
    exit status is 1 for a bad config and 2 if the ledger cannot be read.
    """
    from gateway.commands.costs import run

    sys.exit(run(config, by, since, until, form))


@main.command(short_help="Show where a model's requests go, without sending one.")
@click.argument("model")
@click.option("--api", type=API, default="chat", show_default=True, metavar="API",
              help=f"What the client speaks: {NAMES}.")  # fmt: skip
@_CONFIG
@click.option("--no-env", is_flag=True, help="Do not ask for the environment variables that the config names.")
@click.option("--if", "supposed", multiple=True, metavar="TARGET=REASON,…",
              help="Suppose that targets fail, such as a=overloaded,b=timeout or '*=connection'.")  # fmt: skip
@click.option("--key", metavar="NAME", help="Whose request it is: the name of a client key, whose limits are shown.")
@click.option("--url", metavar="URL", help="Say where its targets and limits stand now in the gateway that runs there.")
def explain(
    model: str,
    api: Any,
    config: Path | None,
    no_env: bool,
    supposed: tuple[str, ...],
    key: str | None,
    url: str | None,
) -> None:
    """Show where requests for MODEL go, without sending one.

    That is the provider and its model, whether the bytes pass or are translated, and the URL and the headers of
    the outgoing request, secrets masked; of a name with several targets all of them in their order; what it costs, and
    the limits and budgets that hold for it, with --key also those of a client. With --if it says
    what follows: which targets are tried, with which waits, and what the client gets; with --url from where they stand
    in a gateway that runs, whose key, if it takes one, is TRIGATE_API_KEY. The exit status is 1 for a bad config and 2
    for a model that cannot be asked for.
    """
    from gateway.commands.explaining import explain as run

    sys.exit(run(model, api, config, no_env, supposed, url, key))


@main.command("import", short_help="Convert a LiteLLM proxy's config.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--write", type=click.Path(path_type=Path), metavar="NEW", help="Write it to NEW, which must not exist.")
@click.option(
    "--keys",
    type=click.Path(path_type=Path),
    metavar="EXPORT",
    help="Take over the keys in an export of its table LiteLLM_VerificationToken, CSV or JSON.",
)
@click.option(
    "--teams",
    type=click.Path(path_type=Path),
    metavar="EXPORT",
    help="Take over the teams of these keys, from an export of LiteLLM_TeamTable.",
)
@click.option("--partial", is_flag=True, help="Write a file although models have no entry in it.")  # fmt: skip
def import_config(file: Path, write: Path | None, keys: Path | None, teams: Path | None, partial: bool) -> None:
    """Convert FILE, the config of a LiteLLM proxy, and print the result.

    What has no counterpart is named in comments where it stood, and in a summary by what is lost with it. A model that
    cannot be carried over is an error, because its name might lead to another provider; --partial accepts that.

    The exit status is 0 if nothing or only trifles are lost, 3 if names that clients ask for, protection or money are,
    and 1 if there is no result. Keys are taken over by their hashes: clients keep theirs.
    """
    from gateway.commands.importing import run

    sys.exit(run(file, write, keys, teams, partial))


main.add_command(keys)


@main.command(short_help="Print a JSON Schema of the config, for editors.")
def schema() -> None:
    """Print a JSON Schema (2020-12) of the config, for editors.

    \b
    trigate schema > trigate.schema.json, and as the first line of the config:
    # yaml-language-server: $schema=trigate.schema.json
    """
    from gateway.commands.schema import run

    sys.exit(run())


@main.command(short_help="Try each model live, and show what works.")
@click.argument("models", nargs=-1, metavar="[MODEL…]")
@click.option("--api", "apis", type=API, multiple=True, metavar="API",
              help=f"Ask as a client of it: {NAMES}; repeatable. Default: as suits it.")  # fmt: skip
@_CONFIG
@click.option("--timeout", type=click.FloatRange(0, min_open=True), default=60, show_default=True, metavar="SECONDS",
              help="For one answer.")  # fmt: skip
@click.option("--jobs", type=click.IntRange(1, 64), default=4, show_default=True, metavar="N", help="Models at once.")
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON.")
def doctor(models: tuple[str, ...], apis: Any, config: Path | None, timeout: float, jobs: int, as_json: bool) -> None:
    """Try each model live: an answer, a stream, a tool call, thinking, structured output, a count of tokens.

    Without MODEL each entry is tried, each target of each alias and route, and one model of each wildcard; what is
    skipped is listed with the reason. A gateway with the config is started for it, tried, and stopped; it costs a few
    hundred tokens for each model. The exit status is 0 if all answer and stream, 1 if one does not or for a bad config,
    and 2 for an unknown model.
    """
    from gateway.commands.doctor import run

    sys.exit(run(models, config, apis, timeout, jobs, as_json))


@main.command(short_help="Translate a request from one API to another.")
@click.argument("file")
@click.option("--from", "source", type=API, required=True, metavar="API",
              help=f"The API that FILE is a request of: {NAMES}.")  # fmt: skip
@click.option("--to", "target", type=API, required=True, metavar="API", help="The API that it is translated to.")
@click.option("--model", metavar="MODEL", help="The provider's model; default: the one that FILE names.")
@click.option("--provider", metavar="ID", help="Mind what this provider is known to refuse, such as mistral.")
@click.option("--strict", is_flag=True, help="Fail if something of the request is lost.")
def translate(file: str, **options: Any) -> None:
    """Translate the request in FILE (- for standard input) from one API to another, without sending it.

    The outgoing body goes to standard output, and what of the request is lost to standard error.
    """
    from gateway.commands.translate import run

    sys.exit(run(file, **options))


@main.command(short_help="Hold a captured stream against its API's grammar.")
@click.argument("file")
@click.option("--api", type=API, metavar="API", help=f"{NAMES}; default: what FILE looks like.")
@click.option("--tolerant", is_flag=True, help="Waive what real providers are known to do.")
@click.option("--json", "as_json", is_flag=True, help="Print the verdict as JSON.")
def lint(file: str, api: Any, tolerant: bool, as_json: bool) -> None:
    """Hold a captured stream or answer (- for standard input), of any gateway or provider, against its API's grammar.

    The exit status is 0 if it is well formed, 1 if it breaks a rule, which is named with its line, and 2 if it
    cannot be read or does not say which API it is.
    """
    from gateway.commands.lint import run

    sys.exit(run(file, api, tolerant, as_json))


class ThenArguments(click.Command):
    """``COMMAND … -- ARGS``: what stands behind the dashes, also nothing, is kept apart; click forgets the dashes."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--" in args:
            place = args.index("--")
            args, ctx.obj = args[:place], tuple(args[place + 1 :])
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return [*super().collect_usage_pieces(ctx), "[-- ARGS]"]


@main.command(cls=ThenArguments, short_help="Point a client such as Claude Code or Codex at the gateway.")
@click.argument("client", required=False)
@click.option("--list", "listing", is_flag=True, help="List the clients, and do nothing else.")
@click.option("--write", is_flag=True, help="Merge the settings into the client's own file, after a backup.")
@click.option("--undo", is_flag=True, help="Take out of that file what --write has put there.")
@click.option("--login", is_flag=True, help="Keep the client's own login, such as a subscription's.")
@click.option("--model", metavar="MODEL", help="The model to ask for; default: the client's own, or the config's.")
@click.option("--small", metavar="MODEL", help="The model for small tasks, such as titles; default: fast, or the same.")
@click.option("--url", metavar="URL", help="Where the gateway is; default: as the config says, or 127.0.0.1:12000.")
@click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help="Read FILE, and ask no gateway.")
@click.pass_context
def connect(
    ctx: click.Context, /, client: str | None, listing: bool, write: bool, undo: bool, login: bool, **options: Any
) -> None:
    """Print the settings that point CLIENT at the gateway, from any folder.

    The gateway that runs is asked what it serves; where none does, the config is taken that serve would find. With
    --write the settings are merged into the client's own file. With -- the client is started with them, and no file
    is changed: trigate connect claude -- -p "Hello". Where the gateway asks for a key it is taken from
    $TRIGATE_API_KEY. With --login Claude Code, Codex and Gemini CLI keep their own login and get the address alone.
    """
    from gateway.commands import connect as command
    from gateway.commands.finding import ConnectOptions

    if listing:
        click.echo(command.listed(), nl=False)
        return
    if client is None:
        raise click.UsageError("name a client; trigate connect --list shows them")
    if write and ctx.obj is not None:
        raise click.UsageError("--write changes the client's file, -- starts it without that: leave out one")
    if undo and (write or ctx.obj is not None or login or any(value is not None for value in options.values())):
        raise click.UsageError("--undo stands alone: trigate connect CLIENT --undo")
    chosen = ConnectOptions(write=write, login=login, arguments=ctx.obj, **options)
    sys.exit(command.undo(client) if undo else command.run(client, chosen))


@main.command(short_help="Run a stand-in provider that speaks all five APIs.")
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Listen on ADDRESS.")
@click.option("--port", type=PORT, default=51001, show_default=True, metavar="PORT", help="Listen on PORT.")
@click.option("--pace", type=click.FloatRange(0), default=PACE, metavar="SECONDS",
              help=f"Pause between two words of a stream; default: {PACE}.")  # fmt: skip
@click.option("--faults", is_flag=True, help="List the models that fail on request, and do nothing else.")
def mock(host: str, port: int, pace: float, faults: bool) -> None:
    """Run a stand-in provider that speaks all five APIs.

    It streams text word by word, thinks when it is asked to, fills JSON schemas, and calls a tool once, if one is
    offered that changes nothing, or if tool_choice says so. It takes every model name and needs no key: a config
    points at it with base_url: http://localhost:51001. Models named fault/… fail on request, each in its own way:
    fault/quota fails always, fault/quota-2 answers every third request.
    """
    if faults:
        from gateway.mock.failures import listed

        for name, says in listed().items():
            click.echo(f"{name:<32}{says}")
        return
    _load_undisturbed()
    from gateway.commands.serve import run_mock

    sys.exit(run_mock(host, port, pace))


@main.command(short_help="Send a recorded request again, or serve a recorded answer.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--to", "url", metavar="URL", help="The server to ask; default: http://127.0.0.1:12000.")
@click.option("--model", metavar="MODEL", help="Ask for another model.")
@click.option("--key-env", metavar="NAME", help="The variable with the key; default: TRIGATE_API_KEY, if it is set.")
@click.option("--serve", "port", type=PORT, metavar="PORT", help="Be the provider: answer every request on PORT.")
@click.option("--pace", type=click.FloatRange(0), default=0.0, metavar="SECONDS",
              help="With --serve: the pause between two events; default: 0.")  # fmt: skip
def replay(file: Path, port: int | None, pace: float, **options: Any) -> None:
    """Send the request of a recording again, and print the answer as it comes.

    FILE is any file of a recording that serve --record has written. With --serve its answer is given to every POST
    instead, with its status. The exit status is 0 for a good answer, 1 for an error and 2 if nothing could be sent.
    """
    from gateway.commands.replay import run, run_server

    if port is not None:
        if any(options.values()):
            raise click.UsageError("--serve waits for requests: leave out --to, --model and --key-env")
        sys.exit(run_server(file, port, pace))
    sys.exit(run(file, **options))


main.add_command(load)


def _open_standard_streams() -> None:
    """Give a standard stream that was closed (``2>&-``) to /dev/null: else the next socket would, and be written to."""
    for fd, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is fd
            setattr(sys, name, open(fd, "w" if fd else "r", closefd=False))  # noqa: SIM115  # as long as the process


def _hold_reloads() -> None:
    """Block SIGHUP, which would end the process, until it can reload: ``gateway.serving.lifecycle`` accepts it then."""
    if hasattr(signal, "pthread_sigmask"):  # not on Windows
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})


def _load_undisturbed() -> None:
    """Prepare to import much, until the loop runs. Nothing is collected, which takes a sixth of the start-up. Ctrl-C
    ends the process by the signal: as an exception it is lost where it falls into a callback of Python's import system,
    and the process would go on."""
    gc.disable()
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # and is not ignored, as behind a shell's `&`
        signal.signal(signal.SIGINT, signal.SIG_DFL)


if __name__ == "__main__":
    main(prog_name="trigate")
