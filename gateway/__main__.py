"""The command line: ``trigate`` and ``python -m gateway``."""

import gc
import io
import os
import signal
import sys
from pathlib import Path
from typing import Any

import click

from gateway import __version__
from gateway.commands.compare_options import compare
from gateway.commands.help import AS_JSON, CONFIG, Command, Commands, InputFile, load_function, takes_file
from gateway.commands.load_options import APIS, NAMES, load
from gateway.features.order import EFFECTIVE
from gateway.named_imports import import_named

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
API = click.Choice(APIS)
PORT = click.IntRange(0, 65535)
PACE = 0.03


def _show_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        from providers.catalog.price_list import source

        click.echo(f"trigate, version {__version__}\nprices: {source()}")
        context.exit()


@click.group(cls=Commands, context_settings=CONTEXT)
@click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True, callback=_show_version,
    help="Show the versions of trigate and of its price list, and exit.",
)  # fmt: skip
def main() -> None:
    """An LLM gateway: one address for the models of all providers.

    trigate speaks OpenAI Chat Completions, Anthropic Messages, OpenAI Responses, Google Gemini, Google Interactions
    and Bedrock Converse with clients and with providers. It translates only if client and provider use different
    APIs.

    \b
    Try it without a key or a config:        trigate serve --demo
    Find the mistakes in a config:           trigate check
    Show where requests for a model go:      trigate explain MODEL
    """
    _open_standard_streams()
    load_function("users_environment:load_users_environment")()


@main.command(short_help="Run the gateway.")
@takes_file
@click.option("--demo", is_flag=True, help="Serve a stand-in provider instead of FILE. Needs no key.")
@click.option("--host", metavar="ADDRESS", help="Listen on ADDRESS; default: the config's, else 127.0.0.1.")
@click.option("--port", type=PORT, metavar="PORT", help="Listen on PORT; default: the config's, else 12000.")
@click.option("--open", "is_open", is_flag=True, help="Accept clients from other machines without client_keys.")
@click.option("--workers", type=click.IntRange(1, 256), default=1, metavar="N", help="Run N worker processes.")
@click.option("--pace", type=click.FloatRange(0), metavar="SECONDS",
              help=f"Pause between two words of the demo's responses; default: {PACE}.")  # fmt: skip
@click.option("--check-streams", is_flag=True, help="For debugging: log each stream that violates its API's grammar.")
@click.option("--record", type=click.Path(file_okay=False), metavar="DIR",
              help="Record requests and responses in DIR, s3://BUCKET/PREFIX or gs://BUCKET/PREFIX, with prompts and "
                   "answers; keys are masked.")  # fmt: skip
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), metavar="LEVEL",
              help="debug, info, warning or error; default: the config's, else info.")  # fmt: skip
@click.option("--log-format", type=click.Choice(["auto", "json", "text"]), default="auto", metavar="FORMAT",
              help="json, text, or auto: text on a terminal, JSON elsewhere; default: auto.")  # fmt: skip
@click.option(
    "--fd", "fds", type=int, multiple=True, hidden=True, help="The descriptors of the supervisor's listening sockets."
)
@click.option("--copies", type=int, hidden=True, help="The descriptor of the copy of FILE that workers read.")
@click.option("--directory", type=click.Path(path_type=Path), hidden=True, help="The directory that workers share.")
@click.option("--memory", type=int, hidden=True, help="The descriptor of the memory that workers share.")
@click.option("--ready", type=int, hidden=True, help="The descriptor on which a worker reports that it is ready.")
def serve(path: Path | None, demo: bool, pace: float | None, **options: Any) -> None:
    """Run the gateway. On SIGTERM or Ctrl-C it finishes running requests, then exits.

    FILE is a YAML file in Plano's format. Without FILE, the gateway reads the first of these: the file in
    $TRIGATE_CONFIG; trigate.yaml, config.yaml or plano_config.yaml in the current directory; then
    $XDG_CONFIG_HOME/trigate/trigate.yaml (usually ~/.config/trigate/trigate.yaml). All commands read variables in the
    file environment next to that file.
    """
    if demo and path is not None:
        raise click.UsageError("--demo has its own configuration: leave out FILE or --demo")
    if demo and options["workers"] > 1:
        raise click.UsageError("--demo runs in one process: leave out --workers")
    if pace is not None and not demo:
        raise click.UsageError("--pace applies to the stand-in provider only: add --demo, or use trigate mock --pace")
    _hold_reloads()
    _load_undisturbed()
    common = {name: options.pop(name) for name in ("check_streams", "record", "log_level", "log_format")}
    made = load_function("serve:Options")(**common)
    if demo:
        place = options["host"], options["port"]
        sys.exit(load_function("stand_in:run_demo")(*place, PACE if pace is None else pace, made))
    sys.exit(load_function("serve:run")(path, made, **options))


NUMBER = click.argument("number", type=int, required=False, metavar="[PORT]")


@main.command(runs="own_gateways:status", short_help="Show the gateways that you run.")
def status() -> None:
    """Show your running gateways: address, configuration, log, streams, unavailable targets and today's spending.

    If a gateway has client_keys, set TRIGATE_API_KEY to its metrics_key to see streams and targets.

    Exit status: 0, or 3 if no gateway of yours is running.
    """


@main.command(runs="own_gateways:reload", short_help="Let your gateway read its config again.")
@NUMBER
def reload(**_: Any) -> None:
    """Let your gateway read its configuration again, and print what changed. If the file has mistakes, print these;
    the gateway then keeps the old configuration.

    PORT is needed if you run several gateways; its process number works, too.

    Exit status: 0, 1 if the gateway keeps the old configuration, 3 if no gateway of yours is running.
    """


@main.command(runs="own_gateways:stop", short_help="Stop your gateway after its running requests.")
@NUMBER
def stop(**_: Any) -> None:
    """Stop your gateway. It finishes its running requests first; a second stop ends them.

    PORT is needed if you run several gateways; its process number works, too.

    Exit status: 0, 1 if it still runs, 3 if no gateway of yours is running.
    """


@main.command(runs="own_gateways:logs", short_help="Show the log of your gateway.")
@NUMBER
@click.option("-f", "--follow", is_flag=True, help="Continue with new lines until Ctrl-C.")
def logs(**_: Any) -> None:
    """Show the last lines of your gateway's log, and where the log is: a file, the journal or a terminal.

    PORT is needed if you run several gateways; its process number works, too.
    """


@main.command("log", runs="request_story:run", short_help="Print the story of one request.")
@click.argument("request_id", metavar="REQUEST_ID")
@click.option("--to", "url", metavar="URL", help="The gateway's URL; default: your running gateways.")
@click.option("--log", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Read this log in JSON instead.")  # fmt: skip
@AS_JSON
def log_of_request(**_: Any) -> None:
    """Print the story of one request: attempts, waits, tokens, cost, caches, dropped fields, and for a failure the
    provider's own words. REQUEST_ID is the x-request-id of its response.

    The gateway keeps its last requests, and the last hundred failures with their texts. Your key in TRIGATE_API_KEY
    shows your own requests; an admin's key and the ui_key show all. Otherwise the line comes from the gateway's log.

    Exit status: 0, or 1 if nothing is known about the request.
    """


@main.command(runs="init:run", short_help="Write a first config for your plans and keys.")
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
def init(**_: Any) -> None:
    """Write a commented config for your plans, the providers whose keys are in the environment, and a local Ollama.

    A plan is the login of Claude Code or Codex on this machine. FILE is trigate.yaml by default. It gets no keys, only
    the names of variables. Exit status: 1 if the file exists already.
    """


@main.command(short_help="List every mistake in a config.")
@takes_file
@click.option("--no-env", is_flag=True, help="Accept unset environment variables.")
@click.option("--strict", is_flag=True, help="Report settings that have no effect as mistakes.")
@click.option("--diff", "old", type=click.Path(path_type=Path), metavar="OLD", help="List the changes since OLD.")
@click.option("--endpoints", is_flag=True, help="List the endpoints of each entry besides conversations.")
@click.option("--no-steps", is_flag=True, help="Do not import the code of steps.")
@click.option(
    "--secrets", "reads_secrets", is_flag=True, help="Read each secret from its store, and print its length and age."
)
@click.option(
    "--open", "is_open", is_flag=True, help="Accept clients from other machines without client_keys, as serve."
)
def check(path: Path | None, no_env: bool, strict: bool, old: Path | None, no_steps: bool, **options: Any) -> None:
    """List every mistake in a config, with its line and the nearest valid name.

    The default for FILE is the same as for serve. --diff OLD lists the changes in words and shows no secrets.

    Without --no-steps, the check imports the code of steps, and so runs it. Without --secrets, it contacts no secret
    store.

    Exit status: 0 for a valid config; 1 for mistakes or, with --secrets, for a secret that cannot be read. With --diff:
    0 for no changes, 1 for changes, 2 for mistakes.
    """
    if options["reads_secrets"] and (no_env or old is not None):
        raise click.UsageError("--secrets reads the secrets of one file: leave out --no-env and --diff")
    if strict and old is not None:
        raise click.UsageError("--diff compares two files and --strict checks one: give only one of these options")
    if old is not None:
        sys.exit(load_function("check:check_difference")(old, path, no_env))
    sys.exit(load_function("check:check")(path, no_env, strict, imports_steps=not no_steps, **options))


for _line in EFFECTIVE:
    if _line.has_commands:
        for _command in import_named(f"gateway.features.{_line.name}.options:COMMANDS"):
            main.add_command(_command)


@main.command(runs="explaining:explain", short_help="Show where a model's requests go, without sending one.")
@click.argument("model")
@click.option("--api", type=API, default="chat", show_default=True, metavar="API",
              help=f"The client's API: {NAMES}.")  # fmt: skip
@CONFIG
@click.option("--no-env", is_flag=True, help="Accept unset environment variables.")
@click.option("--key", metavar="NAME", help="Apply the rights and limits of this client key, stored client or person.")
@click.option("--url", metavar="URL", help="Show the current state of targets and limits in the gateway at URL.")
def explain(**_: Any) -> None:
    """Show where requests for MODEL go, without sending one.

    The output lists the targets in order, whether requests are translated, the URL and headers of the provider's
    request (secrets masked), prices, limits and budgets.

    --url shows the current state of the targets in a running gateway. If that gateway needs a key, set TRIGATE_API_KEY.

    Exit status: 0, 1 for an invalid config, 2 if clients cannot request MODEL.
    """


@main.command("import", runs="importing:run", short_help="Convert the config of LiteLLM or claude-code-router.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--write", type=click.Path(path_type=Path), metavar="NEW", help="Write the result to NEW, which must not exist yet."
)
@click.option(
    "--database",
    metavar="NAME",
    help="Import keys, teams and budgets from LiteLLM's database: a variable with its URL.",
)
@click.option(
    "--report",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write all that changes, is lost or left to do to FILE: JSON if it ends in .json, else text.",
)
@click.option("--partial", is_flag=True, help="Write the result even if some models cannot be converted.")  # fmt: skip
def import_config(**_: Any) -> None:
    """Convert FILE, the config of a LiteLLM proxy or of claude-code-router, and print the result.

    Comments and a summary list the settings that trigate cannot convert, and the consequences. A model that cannot
    be converted is an error, because requests for it might reach another provider; --partial accepts that.

    --database imports the hashes of keys, so clients keep their keys. The connection to the database is read-only.

    Exit status: 0 if everything important was converted, 3 if model names, protection or money settings were lost,
    1 if there is no result.
    """


@main.command(runs="schema:run", short_help="Print a JSON Schema of the config, for editors.")
def schema() -> None:
    """Print a JSON Schema (2020-12) of the config, for editors.

    \b
    trigate schema > trigate.schema.json, and as the first line of the config:
    # yaml-language-server: $schema=trigate.schema.json
    """


@main.command(runs="doctor:run", short_help="Test each model with real requests.")
@click.argument("models", nargs=-1, metavar="[MODEL…]")
@click.option("--api", "apis", type=API, multiple=True, metavar="API",
              help=f"Send requests in this API: {NAMES}; repeatable. Default: one that needs no "
                   "translation.")  # fmt: skip
@CONFIG
@click.option("--timeout", type=click.FloatRange(0, min_open=True), default=60, show_default=True, metavar="SECONDS",
              help="The longest wait for one response.")  # fmt: skip
@click.option("--jobs", type=click.IntRange(1, 64), default=4, show_default=True, metavar="N",
              help="Test N models at the same time.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
def doctor(**_: Any) -> None:
    """Test each model with real requests: plain, streamed, with tools, thinking and a JSON schema, and token counts.

    Without MODEL, doctor tests every entry, every target of every alias and route, and one model of each wildcard.
    It lists skipped models with the reason. It starts its own gateway with the config, and stops it afterwards. Each
    model costs a few hundred tokens.

    Exit status: 0 if all models answer and stream, 1 if one does not or the config is invalid, 2 for an unknown
    model.
    """


@main.command(runs="translate:run", short_help="Translate a request from one API to another.")
@click.argument("file", type=InputFile("rb"))
@click.option("--from", "source", type=API, required=True, metavar="API",
              help=f"The API of the request in FILE: {NAMES}.")  # fmt: skip
@click.option("--to", "target", type=API, required=True, metavar="API", help="The API to translate to.")
@click.option("--model", metavar="MODEL", help="The provider's model; default: the model in FILE.")
@click.option("--provider", metavar="ID", help="Leave out fields that this provider rejects, such as mistral.")
@click.option("--strict", is_flag=True, help="Exit with 1 if the translation loses a field.")
def translate(**_: Any) -> None:
    """Translate the request in FILE (- for standard input) from one API to another, without sending it.

    The translated body goes to standard output, and the list of lost fields to standard error.
    """


@main.command(runs="lint:run", short_help="Check a captured stream against its API's grammar.")
@click.argument("file", type=InputFile("rb"))
@click.option("--api", type=API, metavar="API", help=f"{NAMES}; default: detected from FILE.")
@click.option("--tolerant", is_flag=True, help="Accept known deviations of real providers.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def lint(**_: Any) -> None:
    """Check a captured stream or response, of any gateway or provider, against the grammar of its API.

    FILE may be - for standard input. The output names the first broken rule and its line.

    Exit status: 0 if FILE is well formed, 1 if it breaks a rule, 2 if it cannot be read or its API is not clear.
    """


class ThenArguments(Command):
    """A command that keeps the words after ``--`` apart, in ``ctx.obj``; without ``--`` that is None."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--" in args:
            place = args.index("--")
            args, ctx.obj = args[:place], tuple(args[place + 1 :])
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return [*super().collect_usage_pieces(ctx), "[-- ARGS]"]


@main.command(cls=ThenArguments, short_help="Point a client such as Claude Code or Codex at the gateway.")
@click.argument("client", required=False)
@click.option("--list", "listing", is_flag=True, help="List the known clients, and exit.")
@click.option("--write", is_flag=True, help="Merge the settings into the client's own file, after a backup.")
@click.option("--undo", is_flag=True, help="Remove the settings that --write added to that file.")
@click.option("--login", is_flag=True, help="Keep the client's own login, such as a subscription.")
@click.option("--model", metavar="MODEL", help="The client's model; default: the client's own, or the config's.")
@click.option("--small", metavar="MODEL", help="The model for small tasks, such as titles; default: fast, or MODEL.")
@click.option("--url", metavar="URL", help="The gateway's address; default: the config's, or 127.0.0.1:12000.")
@click.option("--config", type=click.Path(path_type=Path), metavar="FILE",
              help="Read the models from FILE, not from the running gateway.")  # fmt: skip
@click.pass_context
def connect(
    ctx: click.Context, /, client: str | None, listing: bool, write: bool, undo: bool, login: bool, **options: Any
) -> None:
    """Print the settings that point CLIENT at the gateway.

    connect asks the running gateway which models it serves. If no gateway runs, it reads the config that serve would
    use. The gateway's key comes from $TRIGATE_API_KEY.

    --write merges the settings into the client's own file. With --, connect starts the client with the settings and
    changes no file: trigate connect claude -- -p "Hello". If no gateway is listening, it first starts yours. With
    --login, Claude Code, Codex and Gemini CLI keep their own login, and only their address changes.
    """
    if listing:
        click.echo(load_function("clients:client_list")(), nl=False)
        return
    if client is None:
        raise click.UsageError("no CLIENT given; list all clients with: trigate connect --list")
    if write and ctx.obj is not None:
        raise click.UsageError("--write changes the client's file, and -- only starts the client: give only one")
    if undo and (write or ctx.obj is not None or login or any(value is not None for value in options.values())):
        raise click.UsageError("--undo takes no other options: trigate connect CLIENT --undo")
    if undo:
        sys.exit(load_function("connect:undo")(client))
    chosen = load_function("running_gateways:ConnectOptions")(write=write, login=login, arguments=ctx.obj, **options)
    sys.exit(load_function("connect:run")(client, chosen))


@main.command(short_help="Run a stand-in provider that speaks all six APIs.")
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Listen on ADDRESS.")
@click.option("--port", type=PORT, default=51001, show_default=True, metavar="PORT", help="Listen on PORT.")
@click.option("--pace", type=click.FloatRange(0), default=PACE, metavar="SECONDS",
              help=f"Pause between two words of a stream; default: {PACE}.")  # fmt: skip
@click.option("--faults", is_flag=True, help="List the models that simulate failures, and exit.")
def mock(host: str, port: int, pace: float, faults: bool) -> None:
    """Run a stand-in provider that speaks all six APIs.

    It accepts every model name and needs no key. To use it in a config, set base_url: http://127.0.0.1:51001/v1.
    Any path before /v1 works too, such as http://127.0.0.1:51001/second/v1, so one stand-in can be several providers.

    It streams text word by word, thinks on request and fills JSON schemas. It calls a tool once for each question, if a
    read-only tool is offered or tool_choice requires a call. Models named fault/… simulate failures: fault/quota always
    fails, fault/quota-2 fails twice, then answers the third request, and so on.
    """
    if faults:
        from gateway.mock.failures import fault_descriptions

        width = load_function("terminal:columns")(sys.stdout)
        load_function("terminal:print_rows")(fault_descriptions().items(), 32, width, indent="")
        return
    _load_undisturbed()
    sys.exit(load_function("stand_in:run_mock")(host, port, pace))


@main.command(runs="replay:run", short_help="Send a failed or recorded request again.")
@click.argument("file", type=click.Path(path_type=Path), metavar="REQUEST_ID|FILE")
@click.option("--to", "url", metavar="URL", help="The server's URL; default: your running gateways, or for FILE "
              "http://127.0.0.1:12000.")  # fmt: skip
@click.option("--model", metavar="MODEL", help="Request this model instead of the recorded one.")
@click.option("--key-env", metavar="NAME", help="The environment variable with the key; default: TRIGATE_API_KEY.")
def replay(file: Path, **_: Any) -> None:
    """Send a request again, and print the response as it arrives. It costs as any other request.

    With REQUEST_ID, replay gets the request from the gateway, which keeps the last hundred failed ones. Your key in
    TRIGATE_API_KEY decides which you can see, and pays; --key-env lets another key of yours pay.

    FILE is any file of a recording that serve --record wrote.

    Exit status: 0 for an answer, 1 for an error or an incomplete stream, 2 if the request could not be sent.
    """
    if file == Path():  # such as an unset variable of a script
        raise click.UsageError("REQUEST_ID is empty: give the id in x-request-id of the response, or a FILE")


main.add_command(compare)
main.add_command(load)


def _open_standard_streams() -> None:
    """Open /dev/null for each closed standard stream (``2>&-``): otherwise the next socket would get its number.

    Standard output writes `?` for characters that its encoding lacks, such as the arrows and lines of reports."""
    for fd, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is fd
            setattr(sys, name, open(fd, "w" if fd else "r", closefd=False))  # noqa: SIM115  # as long as the process
    if isinstance(sys.stdout, io.TextIOWrapper) and not sys.stdout.encoding.lower().startswith("utf"):
        sys.stdout.reconfigure(errors="replace")


def _hold_reloads() -> None:
    """Block SIGHUP, which would end the process, until ``gateway.serving.lifecycle`` can handle it."""
    if hasattr(signal, "pthread_sigmask"):  # not on Windows
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})


def _load_undisturbed() -> None:
    """Switch off garbage collection, a sixth of the start-up time, and let Ctrl-C end the process by its signal.

    Python's import system can lose a ``KeyboardInterrupt`` in its callbacks, and the process would continue."""
    gc.disable()
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # a shell's `&` makes processes ignore it
        signal.signal(signal.SIGINT, signal.SIG_DFL)


if __name__ == "__main__":
    main(prog_name="trigate")
