"""The command line: ``trigate`` and ``python -m gateway``."""

import sys
from pathlib import Path
from typing import Any

import click

from gateway import __version__

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@click.group(context_settings=CONTEXT)
@click.version_option(__version__, prog_name="trigate")
def main() -> None:
    """One address in front of every model.

    trigate speaks OpenAI Chat Completions, Anthropic Messages and OpenAI Responses to clients and to
    providers, streaming and not, and translates only where the two sides differ.

    \b
    Try it without a key:     trigate serve --demo
    Check a config:           trigate check
    See where a model goes:   trigate explain MODEL
    """


@main.command()
@click.argument("config", required=False, type=click.Path(path_type=Path))
@click.option("--host", help="Address to listen on; default: the config's, else 127.0.0.1.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; default: the config's, else 12000.")
@click.option("--workers", type=click.IntRange(1, 256), default=1, show_default=True, help="Processes that serve.")
@click.option("--demo", is_flag=True, help="Serve a stand-in provider: no key, no config.")
@click.option("--pace", type=float, default=0.03, show_default=True, help="Seconds between two words of the demo.")
@click.option("--fd", "fds", type=int, multiple=True, hidden=True, help="Listening sockets of the supervisor.")
def serve(config: Path | None, **options: Any) -> None:
    """Run the gateway.

    CONFIG is a file in Plano's format; without it $TRIGATE_CONFIG, trigate.yaml, config.yaml and
    plano_config.yaml are looked for in the current directory.
    """
    from gateway.command_serve import run

    sys.exit(run(config, **options))


@main.command()
@click.argument("config", required=False, type=click.Path(path_type=Path))
@click.option("--no-env", is_flag=True, help="Do not ask for the variables that the file names.")
def check(config: Path | None, no_env: bool) -> None:
    """Say whether a config is right, and what is wrong with it: all mistakes at once."""
    from gateway.commands import check as run

    sys.exit(run(config, no_env))


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=51001, show_default=True, help="Port to listen on.")
@click.option("--pace", type=float, default=0.03, show_default=True, help="Seconds between two words of a stream.")
def mock(host: str, port: int, pace: float) -> None:
    """Run a stand-in provider that speaks all three APIs."""
    from gateway.command_serve import run_mock

    sys.exit(run_mock(host, port, pace))


@main.command()
@click.argument("model")
@click.option("--api", type=click.Choice(["chat", "messages", "responses"]), default="chat", show_default=True,
              help="The API that the client speaks.")  # fmt: skip
@click.option("--config", type=click.Path(path_type=Path), help="The config; default: as for serve.")
def explain(model: str, api: Any, config: Path | None) -> None:
    """Show where a request for MODEL would go, without sending it."""
    from gateway.commands import explain as run

    sys.exit(run(model, api, config))


if __name__ == "__main__":
    main(prog_name="trigate")
