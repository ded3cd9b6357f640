"""Writes the pages of ``docs/clients`` from the rows of ``gateway/commands/clients.py``. Sections under headings are
written by hand and stay.

``python -m tests.pages.clients`` writes them; ``tests/gateway/commands/test_connect.py`` checks them.
"""

import itertools
from collections.abc import Mapping

import attrs

from gateway.commands.client import KEY_VARIABLE, Client, GatewayAddress, SettingsFile
from gateway.commands.clients import CLIENTS
from gateway.commands.edits import settings_text
from gateway.commands.logins import LOGINS
from gateway.commands.running_gateways import demo
from tests.support.repository import ROOT

FOLDER = ROOT / "docs/clients"
KEY = f"${KEY_VARIABLE}"
HIGHLIGHT = {"yaml": "yml", "yaml_list": "yml", "env": "sh"}  # "yaml" is for configurations of the gateway


def pages() -> dict[str, str]:
    """Return the content of each page by its file name."""
    return {"README.md": _index(), **{f"{row.name}.md": page(row) for row in CLIENTS.values()}}


def _index() -> str:
    """Return the page that lists all clients: its text stays, its table is generated."""
    text = (FOLDER / "README.md").read_text()
    lines = [
        "| client | API | settings in |",
        "|---|---|---|",
        *(f"| [{row.title}]({row.name}.md) | {row.speaks} | {_where(row)} |" for row in CLIENTS.values()),
    ]
    return text[: text.index(lines[0])] + "\n".join(lines) + "\n"


def _where(client: Client) -> str:
    if client.file is not None:
        return f"`{_path(client.file)}`"
    if client.environment:
        return "the environment, or the program"
    return "a form" if client.environment is None else "the program"


def _path(file: SettingsFile) -> str:
    return file.name if file.folder.startswith("app:") else f"{file.folder}/{file.name}"


def page(client: Client) -> str:
    """Return the page of ``client``: the generated part, then its own sections."""
    place = demo(client.chooses)
    place = attrs.evolve(place, models={name: _first_of(value) for name, value in place.models.items()})
    parts = [f"# {client.title}", f"**API**: {client.speaks}"]
    if client.install:
        parts.append(_code_block("sh", client.install))
    parts += _file(client, place)
    if client.file is None and client.environment:
        parts += _variables(client.environment, place)
    if client.snippet:
        parts.append(_code_block(client.language, place.fill(client.snippet)))
    tries = [_code_block("sh", "\n".join(map(place.fill, client.then)))] if client.then else []
    if client.files and tries:
        parts += ["After `--write`, try it:", *tries]
    if client.environment is not None:
        arguments = "ARGS" if client.program else "PROGRAM ARGS"
        starts = client.title if client.program else "a program"
        parts.append(f"To start {starts} without changing a file:")
        parts.append(_code_block("sh", f"trigate connect {client.name} -- {arguments}"))
    if tries and not client.files:
        parts += ["Then try it:", *tries]
    file = FOLDER / f"{client.name}.md"
    if file.exists() and (own := file.read_text().partition("\n## "))[1]:
        parts.append(f"## {own[2].rstrip()}")
    return "\n\n".join(parts) + "\n"


def _variables(environment: Mapping[str, str], place: GatewayAddress) -> list[str]:
    """Return the parts about the variables that programs read."""
    rows = [((name,), place.fill(value)) for name, value in environment.items()]
    parts = ["Programs read these variables:", _code_block("sh", settings_text("env", rows))]
    if keys := " and ".join(f"`{name}`" for name, value in environment.items() if value == "{key}"):
        parts.append(f"If the gateway requires a key, set {keys} to your key.")
    return parts


def _first_of(value: object) -> object:
    """Return only the first model of a mapping of models: one shows the form."""
    return dict(itertools.islice(value.items(), 1)) if isinstance(value, dict) else value


def _file(client: Client, place: GatewayAddress) -> list[str]:
    """Return the parts about settings files, and about keys."""
    parts: list[str] = []
    for file in client.files:
        parts += _one_file(client, file, place)
    if client.name in LOGINS:
        parts += _login(client)
    return parts


def _login(client: Client) -> list[str]:
    """Return the parts for a program that keeps its own login."""
    return [
        f"`trigate connect {client.name} --login --write` sets only the address, and the program keeps its own login. "
        "[Subscriptions](../subscriptions.md) shows the entry that this needs, and what the provider's terms allow."
    ]


def _one_file(client: Client, file: SettingsFile, place: GatewayAddress) -> list[str]:
    plain, keyed = (tuple(one.settings(file.settings)) for one in (place, attrs.evolve(place, key=KEY)))
    parts = []
    if plain:
        variable = f" (in the folder `${file.variable}`, if set)" if file.variable else ""
        override = f", or to `{file.override}` if it exists" if file.override else ""
        parts.append(f"`trigate connect {client.name} --write` adds this to `{_path(file)}`{variable}{override}:")
        parts.append(_code_block(HIGHLIGHT.get(file.format, file.format), settings_text(file.format, plain)))
    if more := [(path, value) for path, value in keyed if (path, value) not in plain]:
        names: dict[str, list[str]] = {}
        for path, value in more:
            names.setdefault(_describe_value(value), []).append(f"`{'.'.join(path)}`")
        rows = " and ".join(f"{' and '.join(listed)} to {value}" for value, listed in names.items())
        written = f"`trigate connect {client.name} --write` sets {rows} in `{_path(file)}`"
        parts.append(f"If the gateway requires a key, {f'set {rows}' if plain else written}.")
    return parts


def _describe_value(value: object) -> str:
    return "your key" if value == KEY else f"`{value}`"


def _code_block(language: str, text: str) -> str:
    return f"```{language}\n{text.rstrip()}\n```"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text)
