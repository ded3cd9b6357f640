"""The secrets in stores, for ``trigate check`` and the commands that need them."""

import os
import time
from collections.abc import Collection, Mapping
from pathlib import Path

import attrs
import click
import trio

from configfile.document import ConfigError, Mistake
from configfile.stored_secrets import StoredSecret
from gateway.commands.terminal import count_text, say
from gateway.config.settings import Config, Trust
from gateway.config_files.loading import load
from gateway.open_features import open_secrets, read_secrets
from gateway.seams.secrets import SecretSize


def load_with_stores(config: Config, file: Path, trust: Trust, within: Collection[str] | None) -> Config:
    """Return ``config`` with its secrets in stores. Raises ``ConfigError``."""
    files = trio.run(read_secrets, config)
    loaded = load(file, os.environ, None, files, trust, within)
    for name, why in files.unreadable.items():
        raise ConfigError((Mistake(str(file), "", f"cannot read the secret {name}: {why}", "check the store"),))
    return attrs.evolve(loaded, stored_secrets=())


def print_secrets(config: Config) -> int:
    """Read the secrets in stores, print a line without its text for each, and return the exit status."""

    async def read() -> Mapping[StoredSecret, SecretSize | str]:
        async with open_secrets(config) as secrets:
            return await secrets.measure(config.stored_secrets)

    try:
        found = trio.run(read) if config.stored_secrets else {}
    except ConfigError as error:
        say(str(error))
        return 1
    for secret in config.stored_secrets:
        if isinstance(size := found[secret], str):
            say(f"  {secret}: cannot be read: {size}")
            continue
        days = None if size.created is None else int((time.time() - size.created) // 86400)
        age = "" if days is None else f", {count_text(days, 'day')} old"
        click.echo(f"  {secret}: {count_text(size.length, 'character')}{age}")
    return 0 if all(isinstance(one, SecretSize) for one in found.values()) else 1
