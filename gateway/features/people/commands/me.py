"""``trigate me`` prints the rights, limits and budgets that a key or a session has at a gateway."""

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import click

from gateway.commands.client import KEY_VARIABLE
from gateway.commands.fetching import FetchError, fetch
from gateway.commands.running_gateways import local_url
from gateway.commands.sessions import SessionFailed, SessionFile, read_object, root_of, valid_token
from gateway.commands.terminal import columns, print_rows, say, some_of

PATIENCE: Final = 10.0
SHOWN: Final = 20
"""Models in one line; ``--json`` prints all."""
_LABELS: Final = 16
"""The width of the labels."""


def run(url: str | None, *, as_json: bool) -> int:
    """Print the caller's rights, limits and budgets at the gateway at ``url``, and return the exit status.

    The key in the environment has precedence over the session; without a URL, it is for the gateway on this machine.
    Without both, the caller is everybody, whom only a gateway without keys answers."""
    key = os.environ.get(KEY_VARIABLE)
    try:
        file = SessionFile.of_user()
        session = file.find(None if url is None else root_of(url))
        root = root_of(url) if url is not None else local_url() if key or session is None else session.root
        token = key or (None if session is None else valid_token(file, root))
        found = _fetch(root, token)
    except SessionFailed as error:
        say(f"trigate me: {error}")
        return 1
    if as_json:
        json.dump(found, sys.stdout, indent=2)
        click.echo()
    else:
        print_rows(_rows(root, found), _LABELS, columns(sys.stdout), indent="")
    return 0


def _fetch(root: str, token: str | None) -> Mapping[str, Any]:
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    try:
        status, body = fetch(f"{root}/me", headers, PATIENCE)
    except FetchError as error:
        advice = "" if token is not None else "; for another gateway, run trigate login URL"
        raise SessionFailed(f"no response from {root}: {error}{advice}") from None
    if status == 401 and token is None:
        raise SessionFailed(f"no session at {root}: run trigate login {root}, or set {KEY_VARIABLE} to your key")
    found = read_object(body)
    if status != 200:
        about = found.get("error")
        message = about.get("message") if isinstance(about, dict) else None
        raise SessionFailed(f"{root} returned status {status}{f': {message}' if message else ''}")
    return found


def _rows(root: str, found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield labels with texts."""
    names = {"name": "name", "group": "group", "role": "role", "credential": "signed in with", "ends": "until"}
    if found.get("name") is None and found.get("credential") != "operator":  # a gateway without keys
        names = {}
    rows = {"gateway": root, **{label: found[name] for name, label in names.items() if found.get(name) is not None}}
    models = [str(name) for name in _items(found, "models")]
    rows["models"] = some_of(models, SHOWN) or "none"
    yield from ((label, str(value)) for label, value in rows.items())
    for label, member in (("budget", "budgets"), ("limit", "limits")):
        yield from ((label, _level(row)) for row in _items(found, member) if isinstance(row, dict))
    if found.get("shared_limits"):
        yield "shared", "limits or budgets of all clients together also apply"


def _level(row: Mapping[str, Any]) -> str:
    """Return one limit or budget with its level: ``20 usd/day (client): 0.0031 used, more available from …``."""
    parts = [f"raised to {_amount(row.get('amount'))} {row.get('unit')}"] if row.get("raised") is True else []
    if row.get("used") is not None:
        parts.append(f"{_amount(row['used'])} used")
    if (reserved := _amount(row.get("reserved") or 0)) != "0":
        parts.append(f"{reserved} reserved by running requests")
    if row.get("reset") is not None:
        parts.append(f"more available from {row['reset']}")
    levels = f": {', '.join(parts)}" if parts else ""
    text = " ".join(str(row[name]) for name in ("limit", "text") if row.get(name) is not None)
    return f"{text} ({row.get('holder', '')}){levels}"


def _amount(value: object) -> str:
    """Return a number of tokens or requests, or decimal dollars without zeros at the end."""
    text = str(value)
    return text.rstrip("0").rstrip(".") if "." in text else text


def _items(found: Mapping[str, Any], name: str) -> Sequence[Any]:
    """Return the list in a member of the response, empty for anything else."""
    value = found.get(name)
    return value if isinstance(value, list) else ()
