"""The commands that look at a config and serve nothing: ``check`` and ``explain``."""

import os
from pathlib import Path

import click

from gateway.config import Config, ConfigError, discover, load
from gateway.routing import Router
from streams.errors import GatewayError
from streams.events import Api


def load_or_explain(config: Path | None, with_env: bool = True) -> Config | None:
    """The config that the command line means; ``None`` after its mistakes have been printed."""
    try:
        return load(discover(Path.cwd(), os.environ, config), os.environ if with_env else None)
    except ConfigError as error:
        click.echo(str(error), err=True)
        return None


def check(path: Path | None, no_env: bool) -> int:
    """Exit status 0 for a good config, 1 for one with mistakes."""
    config = load_or_explain(path, not no_env)
    if config is None:
        return 1
    for text in config.warnings:
        click.echo(f"warning: {text}", err=True)
    for text in config.notes:
        click.echo(f"note: {text}", err=True)
    models = len(Router(config).models())
    click.echo(f"{config.path}: good ({len(config.entries)} providers, {models} model names)")
    return 0


def explain(model: str, api: Api, path: Path | None) -> int:
    """Exit status 0 if the model is known, 1 for a bad config, 2 for a model that cannot be asked for."""
    config = load_or_explain(path)
    if config is None:
        return 1
    try:
        found = Router(config).explain(model, api)
    except GatewayError as error:
        click.echo(error.failed.message, err=True)
        return 2
    rows = {
        "asked": f"{model} by a {api} client",
        "target": f"{found.target.name} ({found.why})",
        "lane": _LANES[found.lane].format(api=found.target.api),
        "url": f"POST {found.url}",
    }
    for name, text in rows.items():
        click.echo(f"{name:8}{text}")
    for number, (name, value) in enumerate(found.headers):
        click.echo(f"{'' if number else 'headers':8}{name}: {value}")
    return 0


_LANES = {
    "byte": "byte: the provider speaks {api} too; only the model name changes",
    "hub": "hub: translated to {api}",
}
