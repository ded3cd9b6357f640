"""The pages of ``docs/clients``, from the rows of ``gateway/commands/clients.py``.

``python tests/client_pages.py`` writes them; ``tests/test_connect.py`` keeps them true.
"""

from pathlib import Path

from gateway.commands.clients import CLIENTS, KEY_VARIABLE, Client, Place, SettingsFile
from gateway.commands.connect import DEMO
from gateway.commands.edits import written

FOLDER = Path(__file__).parent.parent / "docs/clients"
KEYED = Place(DEMO.root, DEMO.model, DEMO.small, f"${KEY_VARIABLE}")
HIGHLIGHT = {"yaml": "yml", "yaml_list": "yml", "env": "sh"}  # "yaml" is for configurations of the gateway


def pages() -> dict[str, str]:
    """Names of files and what is in them."""
    return {"README.md": _index(), **{f"{row.name}.md": page(row) for row in CLIENTS.values()}}


def _index() -> str:
    lines = [
        "# Clients",
        "",
        "`trigate connect CLIENT` prints the settings that point a client at your gateway: its address and its",
        "default model, or those of `--url` and `--model`. With `--write` they are merged into the client's own file,",
        "after a backup beside it and with all else in it kept. With `--` the client is started with them, no file is",
        "changed, and its exit status is passed on:",
        "",
        "```sh",
        'trigate connect claude -- -p "Hello"',
        "```",
        "",
        "The pages show the settings for `trigate serve --demo`. Where a config has",
        f"[`client_keys`](../configuration.md#client_keys), clients show the key in `${KEY_VARIABLE}`.",
        "",
        "[Real programs, tried](../clients.md) has the versions that have been driven through the gateway, before",
        "providers of each API.",
        "",
        "| client | speaks | its settings are in |",
        "|---|---|---|",
        *(f"| [{row.title}]({row.name}.md) | {row.speaks} | {_where(row)} |" for row in CLIENTS.values()),
    ]
    return "\n".join(lines) + "\n"


def _where(client: Client) -> str:
    file = client.file
    if file is None or not any(row.when == "always" for row in file.settings):
        return "the program" if client.environment is not None else "a form"
    return f"`{_path(file)}`" if file.folder != "." else "the environment, or the program"


def _path(file: SettingsFile) -> str:
    if file.folder.startswith("app:"):
        return file.name
    return file.name if file.folder == "." else f"{file.folder}/{file.name}"


def page(client: Client) -> str:
    parts = [f"# {client.title}", f"It speaks {client.speaks} to the gateway."]
    if client.install:
        parts.append(_fenced("sh", client.install))
    parts += _file(client)
    if client.snippet:
        parts.append(_fenced(client.language, DEMO.fill(client.snippet)))
    if client.environment is not None:
        arguments = "ARGS" if client.program else "PROGRAM ARGS"
        starts = "it" if client.program else "a program"
        plain = client.environment or (client.file is not None and tuple(DEMO.settings(client.file.settings)))
        given = "these settings" if plain else "that key, if there is one"
        parts.append(f"This starts {starts} with {given}, and changes no file:")
        parts.append(_fenced("sh", f"trigate connect {client.name} -- {arguments}"))
    if client.then:
        parts += ["Then:", _fenced("sh", "\n".join(map(DEMO.fill, client.then)))]
    if client.notes:
        parts.append("\n".join(f"- {DEMO.fill(note)}" for note in client.notes))
    if client.troubles:
        lines = ["| what is wrong | what it says | what it does first |", "|---|---|---|"]
        lines += [f"| {cause} | {words} | {first} |" for cause, words, first in client.troubles]
        parts += ["## When something is wrong", "\n".join(lines)]
    return "\n\n".join(parts) + "\n"


def _file(client: Client) -> list[str]:
    """The file, and what is else in it where the gateway asks for a key."""
    file = client.file
    if file is None:
        return []
    plain, keyed = (tuple(place.settings(file.settings)) for place in (DEMO, KEYED))
    parts = []
    if plain:
        variable = f" (in `${file.variable}`, where that is set)" if file.variable else ""
        parts.append(f"`trigate connect {client.name} --write` puts this into `{_path(file)}`{variable}:")
        parts.append(_fenced(HIGHLIGHT.get(file.format, file.format), written(file.format, plain)))
    if more := [(path, value) for path, value in keyed if (path, value) not in plain]:
        rows = ", ".join(f"`{'.'.join(path)}` {_told(value)}" for path, value in more)
        parts.append(f"Where the gateway asks for a key, {rows}.")
    return parts


def _told(value: object) -> str:
    return "is that key" if value == KEYED.key else f"is `{value}`"


def _fenced(language: str, text: str) -> str:
    return f"```{language}\n{text.rstrip()}\n```"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text)
