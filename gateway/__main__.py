"""The command line: ``trigate`` and ``python -m gateway``.

Every command imports what it needs when it runs: ``--help`` and mistyped options answer at once.
"""

import gc
import os
import sys
from pathlib import Path
from typing import Any

import click

from gateway import __version__

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
API = click.Choice(["chat", "messages", "responses"])  # as streams.events.APIS, which would cost an import
PORT = click.IntRange(0, 65535)
PACE = 0.03


class InOrder(click.Group):
    """Lists its commands as they stand here: first what is needed first."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=InOrder, context_settings=CONTEXT)
@click.version_option(__version__, prog_name="trigate")
def main() -> None:
    """One address in front of every model.

    trigate speaks OpenAI Chat Completions, Anthropic Messages and OpenAI Responses, to clients and to
    providers, streaming and not, and translates only where the two sides differ.

    \b
    Try it, without a key or a config:   trigate serve --demo
    See what is wrong with a config:     trigate check
    See where a model's requests go:     trigate explain MODEL
    """
    _open_standard_streams()


@main.command(short_help="Run the gateway.")
@click.argument("config", required=False, type=click.Path(path_type=Path))
@click.option("--demo", is_flag=True, help="Serve a stand-in provider instead of CONFIG; needs no key.")
@click.option("--host", metavar="ADDRESS", help="Listen on ADDRESS; default: the config's, else 127.0.0.1.")
@click.option("--port", type=PORT, metavar="PORT", help="Listen on PORT; default: the config's, else 12000.")
@click.option("--workers", type=click.IntRange(1, 256), default=1, metavar="N", help="Serve with N processes.")
@click.option("--pace", type=click.FloatRange(0), metavar="SECONDS",
              help=f"Pause between two words of the demo; default: {PACE}.")  # fmt: skip
@click.option("--check-streams", is_flag=True, help="For debugging: log every stream that breaks its API's grammar.")
@click.option("--fd", "fds", type=int, multiple=True, hidden=True, help="Listening sockets of the supervisor.")
def serve(config: Path | None, demo: bool, pace: float | None, **options: Any) -> None:
    """Run the gateway until SIGTERM or Ctrl-C; then answers that are under way may still finish.

    CONFIG is a YAML file in Plano's format. Without it, the first of these is taken: the file named by
    $TRIGATE_CONFIG, and trigate.yaml, config.yaml and plano_config.yaml in the current directory.
    """
    if demo and config is not None:
        raise click.UsageError("--demo has a configuration of its own: leave out CONFIG or --demo")
    if demo and options["workers"] > 1:
        raise click.UsageError("--demo is one process: leave out --workers")
    if pace is not None and not demo:
        raise click.UsageError("--pace is for the stand-in provider: add --demo, or use trigate mock --pace")
    gc.disable()  # until all is loaded: collecting during the imports takes a sixth of the start-up
    from gateway.command_serve import run, run_demo

    if demo:
        place = options["host"], options["port"]
        sys.exit(run_demo(*place, PACE if pace is None else pace, options["check_streams"]))
    sys.exit(run(config, **options))


@main.command(short_help="Show every mistake in a config.")
@click.argument("config", required=False, type=click.Path(path_type=Path))
@click.option("--no-env", is_flag=True, help="Do not ask for the environment variables that it names.")
def check(config: Path | None, no_env: bool) -> None:
    """Show every mistake in a config, with its line and the nearest right name.

    CONFIG is looked for as by serve. The exit status is 0 for a good one and 1 for a bad one.
    """
    from gateway.commands import check as run

    sys.exit(run(config, no_env))


@main.command(short_help="Show where a model's requests go, without sending one.")
@click.argument("model")
@click.option("--api", type=API, default="chat", show_default=True, metavar="API",
              help="What the client speaks: chat, messages or responses.")  # fmt: skip
@click.option("--config", type=click.Path(path_type=Path), metavar="CONFIG", help="The config; default: as for serve.")
@click.option("--no-env", is_flag=True, help="Do not ask for the environment variables that the config names.")
def explain(model: str, api: Any, config: Path | None, no_env: bool) -> None:
    """Show where requests for MODEL go, without sending one.

    That is the provider and its model, whether the bytes pass or are translated, and the URL and the headers of
    the outgoing request, secrets masked. The exit status is 1 for a bad config and 2 for a model that cannot be
    asked for.
    """
    from gateway.commands import explain as run

    sys.exit(run(model, api, config, no_env))


@main.command(short_help="Translate a request from one API to another.")
@click.argument("file")
@click.option("--from", "source", type=API, required=True, metavar="API",
              help="The API that FILE is a request of: chat, messages or responses.")  # fmt: skip
@click.option("--to", "target", type=API, required=True, metavar="API", help="The API that it is translated to.")
@click.option("--model", metavar="MODEL", help="The provider's model; default: the one that FILE names.")
@click.option("--provider", metavar="ID", help="Mind what this provider is known to refuse, such as mistral.")
@click.option("--strict", is_flag=True, help="Fail if something of the request is lost.")
def translate(file: str, **options: Any) -> None:
    """Translate the request in FILE (- for standard input) from one API to another, without sending it.

    The outgoing body goes to standard output, and what of the request is lost to standard error.
    """
    from gateway.command_translate import run

    sys.exit(run(file, **options))


@main.command(short_help="Hold a captured stream against its API's grammar.")
@click.argument("file")
@click.option("--api", type=API, metavar="API", help="chat, messages or responses; default: what FILE looks like.")
@click.option("--tolerant", is_flag=True, help="Waive what real providers are known to do.")
@click.option("--json", "as_json", is_flag=True, help="Print the verdict as JSON.")
def lint(file: str, api: Any, tolerant: bool, as_json: bool) -> None:
    """Hold a captured stream or answer (- for standard input), of any gateway or provider, against its API's grammar.

    The exit status is 0 if it is well formed, 1 if it breaks a rule, which is named with its line, and 2 if it
    cannot be read or does not say which API it is.
    """
    from gateway.command_lint import run

    sys.exit(run(file, api, tolerant, as_json))


@main.command(short_help="Run a stand-in provider that speaks all three APIs.")
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Listen on ADDRESS.")
@click.option("--port", type=PORT, default=51001, show_default=True, metavar="PORT", help="Listen on PORT.")
@click.option("--pace", type=click.FloatRange(0), default=PACE, metavar="SECONDS",
              help=f"Pause between two words of a stream; default: {PACE}.")  # fmt: skip
@click.option("--faults", is_flag=True, help="List the models that fail on request, and do nothing else.")
def mock(host: str, port: int, pace: float, faults: bool) -> None:
    """Run a stand-in provider that speaks all three APIs.

    It streams text word by word, calls the first tool of a request that offers tools, and thinks when it is asked
    to. It takes every model name and needs no key: a config points at it with base_url: http://localhost:51001.
    Models named fault/… fail on request, each in its own way.
    """
    if faults:
        from gateway.faults import listed

        for name, says in listed().items():
            click.echo(f"{name:<26}{says}")
        return
    gc.disable()
    from gateway.command_serve import run_mock

    sys.exit(run_mock(host, port, pace))


def _open_standard_streams() -> None:
    """Where one was closed (``2>&-``), /dev/null takes its number: else the next socket would, and be written to."""
    for fd, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is fd
            setattr(sys, name, open(fd, "w" if fd else "r", closefd=False))  # noqa: SIM115  # as long as the process


if __name__ == "__main__":
    main(prog_name="trigate")
