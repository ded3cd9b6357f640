"""``trigate me``: prints the rights, limits and budgets that a key or a session has at a gateway."""

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import click

from gateway.commands.client import KEY_VARIABLE
from gateway.commands.fetching import FetchError, fetch
from gateway.commands.finding import USUAL
from gateway.commands.sessions import SessionFailed, SessionFile, read_object, root_of, valid_token
from gateway.commands.terminal import say

PATIENCE: Final = 10.0
SHOWN: Final = 20
"""Models in one line; ``--json`` prints all."""


def run(url: str | None, *, as_json: bool) -> int:
    """Print what the gateway at ``url`` knows about the caller, and return the exit status.

    The key in the environment has precedence over the session; without a URL, it is for the gateway on this machine."""
    key = os.environ.get(KEY_VARIABLE)
    try:
        file = SessionFile.of_user()
        session = file.find(None if url is None else root_of(url))
        root = root_of(url) if url is not None else USUAL if key or session is None else session.root
        token = key or valid_token(file, root)
        found = _fetch(root, token)
    except SessionFailed as error:
        say(f"trigate me: {error}")
        return 1
    if as_json:
        json.dump(found, sys.stdout, indent=2)
        click.echo()
    else:
        for line in _lines(root, found):
            click.echo(line)
    return 0


def _fetch(root: str, token: str) -> Mapping[str, Any]:
    try:
        status, body = fetch(f"{root}/me", {"authorization": f"Bearer {token}"}, PATIENCE)
    except FetchError as error:
        raise SessionFailed(f"no response from {root}: {error}") from None
    found = read_object(body)
    if status != 200:
        about = found.get("error")
        message = about.get("message") if isinstance(about, dict) else None
        raise SessionFailed(f"{root} answers with status {status}{f': {message}' if message else ''}")
    return found


def _lines(root: str, found: Mapping[str, Any]) -> Iterator[str]:
    names = {"name": "name", "group": "group", "role": "role", "credential": "signed in with", "ends": "until"}
    rows = {"gateway": root, **{label: found[name] for name, label in names.items() if found.get(name) is not None}}
    models = [str(name) for name in _items(found, "models")]
    more = f" and {len(models) - SHOWN} more" if len(models) > SHOWN else ""
    rows["models"] = f"{', '.join(models[:SHOWN])}{more}" or "none"
    yield from (f"{label:16}{value}" for label, value in rows.items())
    for row in (*_items(found, "budgets"), *_items(found, "limits")):
        if not isinstance(row, dict):
            continue
        used = "" if row.get("used") is None else f", {row['used']} used"
        held = f", {row['reserved']} reserved" if row.get("reserved") not in (None, 0, "0") else ""
        reset = "" if row.get("reset") is None else f", more from {row['reset']}"
        yield f"{row.get('holder', ''):16}{row.get('text', '')}{used}{held}{reset}"


def _items(found: Mapping[str, Any], name: str) -> Sequence[Any]:
    """Return the list in a member of the response, empty for anything else."""
    value = found.get(name)
    return value if isinstance(value, list) else ()
