"""``trigate connect``: the settings that point a client at this gateway, printed, merged into its own file, or used to
start it."""

import difflib
import json
import os
import re
import shutil
import socket
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

import attrs
import click

from configfile.document import sentence
from gateway.commands.client import KEY_VARIABLE, OPEN_KEY, Client, GatewayAddress, SettingsFile
from gateway.commands.clients import CLIENTS
from gateway.commands.edits import merged, written
from gateway.commands.finding import LOCAL, ConnectOptions, Refused, find
from gateway.commands.logins import LOGINS, Login, missing_entry, with_login
from gateway.commands.notation import Settings, Unmergeable
from gateway.commands.terminal import say
from gateway.commands.undoing import Written, book, noted, outdated, remember, remembered, undone, untouched

NOT_FOUND = 127  # as a shell says it
SHOWN_KEY = f"${KEY_VARIABLE}"


def run(name: str, options: ConnectOptions) -> int:
    """Print the settings of the client ``name``, write or use them. Exit status 0, 1 for a bad config or a file that
    cannot be merged, 2 for an unknown client or model or a missing key, 127 where the program is not installed; a
    client that is started gives its own."""
    try:
        client = _client(name)
        login = _login(client) if options.login else None
        if login is not None:
            client = with_login(client, login)
        found = find(options, client.chooses)
        place = found.place
        if found.source and (found.demo or options.arguments is None):
            say(found.source)
        if login is not None and (missing := missing_entry(login, found.config)):
            say(missing)
        if options.arguments is not None:
            _start(client, place, options.arguments)
        if options.write:
            return _write(client, place)
    except Refused as refused:
        say(sentence(str(refused)))
        return refused.status
    shown = place if place.key is None else attrs.evolve(place, key=SHOWN_KEY)
    _say(described(client, shown))
    return 0


def _say(text: str) -> None:
    click.echo(text, nl=False, color=False if os.environ.get("NO_COLOR") else None)


def listed() -> str:
    """A line for each client."""
    width = max(map(len, CLIENTS))
    return "".join(f"{row.name:{width}}  {row.title}  ({row.speaks})\n" for row in CLIENTS.values())


def _client(name: str) -> Client:
    if name in CLIENTS:
        return CLIENTS[name]
    near = difflib.get_close_matches(name, CLIENTS, n=1)
    advice = f"did you mean {near[0]}?" if near else "trigate connect --list shows those that are;"
    raise Refused(f"{name!r} is no client that is known here: {advice} openai-compatible is for any other", 2)


def _login(client: Client) -> Login:
    """Return the login of ``client`` that can be kept. Raises ``Refused`` for a client that has none."""
    if client.name not in LOGINS:
        which = ", ".join(LOGINS)
        raise Refused(f"{client.title} has no login of its own that trigate could keep: --login is for {which}", 2)
    return LOGINS[client.name]


def _with_key(place: GatewayAddress) -> GatewayAddress:
    """``place`` with a key that a client can show. Raises ``Refused`` where one is needed and not there."""
    if place.key == "":
        message = f"this gateway asks for a key: set {KEY_VARIABLE} to one of its client_keys, and try again"
        raise Refused(message, 2)
    return place


# Printing


def described(client: Client, place: GatewayAddress) -> str:
    """The text for a person: the settings, and what to do with them."""
    parts = [
        f"{_heading(short_path(file))}\n{written(file.format, settings)}"
        for file in client.files
        if (settings := _settings(client, file, place))
    ]
    if client.snippet:
        heading = "" if client.language == "text" else _heading("in the program" if not parts else "or in the program")
        parts.append(f"{heading}\n".lstrip("\n") + place.fill(client.snippet))
    if client.then:
        parts.append("\n".join([_heading("then"), *map(place.fill, client.then), ""]))
    parts.append(_next(client, place))
    return "\n".join(part for part in parts if part)


def _heading(text: str) -> str:
    return click.style(text, bold=True)


def _settings(client: Client, file: SettingsFile, place: GatewayAddress) -> Settings:
    """Return the settings for the client's file, with an empty text for each variable that has to be hidden."""
    settings = tuple(place.settings(file.settings))
    return (*settings, *(((*client.blanks, name), "") for name in _hidden(client))) if settings else ()


def _hidden(client: Client) -> list[str]:
    """Return the variables of this environment that the client's file has to hide from the client."""
    return [name for name in client.without if os.environ.get(name)] if client.blanks else []


def _next(client: Client, place: GatewayAddress) -> str:
    rows = []
    files = [short_path(file) for file in client.files if tuple(place.settings(file.settings))]
    if files:
        rows.append(("--write", f"merges this into {' and '.join(files)}"))
    if client.environment is not None:
        program, arguments = (client.program, "ARGS") if client.program else ("a program", "PROGRAM ARGS")
        rows.append((f"-- {arguments}", f"starts {program} with it, and changes no file"))
    lines = [f"{command:16}{says}" for command, says in rows]
    lines += [f"{name} is set here: the empty text above hides it from {client.title}" for name in _hidden(client)]
    if place.key is not None:
        values = (str(value) for file in client.files for _, value in place.settings(file.settings))
        lines.append(
            f"replace {SHOWN_KEY} above by a key of the gateway (client_keys); --write and -- read the variable"
            if any(SHOWN_KEY in value for value in values)
            else f"{KEY_VARIABLE} is to hold a key of the gateway (client_keys)"
        )
    return "".join(f"{line}\n" for line in lines)


# The client's own file


def path_of(file: SettingsFile, env: Mapping[str, str]) -> Path:
    """The file's path for this person, on this platform."""
    if file.variable and env.get(file.variable):
        return Path(env[file.variable]) / file.name
    kind, _, app = file.folder.partition("app:")
    folder = Path(click.get_app_dir(app)) if app and not kind else Path(file.folder).expanduser()
    return folder / file.name


def short_path(file: SettingsFile) -> str:
    """The path as a person would write it."""
    path, home = path_of(file, os.environ), Path.home()
    return f"~/{path.relative_to(home)}" if path.is_absolute() and path.is_relative_to(home) else str(path)


def _write(client: Client, place: GatewayAddress) -> int:
    if client.file is None:
        raise Refused(f"{client.title}: there is no file that trigate knows; enter the settings where it asks", 2)
    kept = {file.name for file in client.files}
    for file in CLIENTS[client.name].files:
        if file.name not in kept and str(path_of(file, os.environ).resolve()) in remembered():
            _undo_file(file)  # a client that keeps its login has no use for it
    changed = [_write_file(client, file, place) for file in client.files]
    if any(changed):
        for name in _hidden(client):
            why = f"because {client.title} would send it in addition to the gateway's key"
            hiding = short_path(client.file)
            click.echo(f"{name} is set in this environment: {hiding} hides it with an empty text, {why}")
        for line in (*map(place.fill, client.then), f"trigate connect {client.name} --undo takes it out again"):
            click.echo(f"then: {line}")
    return 0


def _write_file(client: Client, file: SettingsFile, place: GatewayAddress) -> bool:
    """Merge the client's settings into ``file``. Return whether that changed it."""
    secret = place.key is not None and any("{key}" in str(row.value) for row in file.settings)
    settings = _settings(client, file, _with_key(place) if secret else place)
    if not settings:
        raise Refused(f"{client.title}: nothing goes into a file; trigate connect {client.name} shows the program", 2)
    shown, path = short_path(file), path_of(file, os.environ).resolve()  # a link stays one
    before, earlier = _read(path, shown), remembered().get(str(path))
    try:
        after = merged(file.format, outdated(earlier, before or "", settings), settings)
    except Unmergeable as error:
        advice = f"{shown} is left as it is: {error}; trigate connect {client.name} prints what to put there"
        raise Refused(advice) from None
    if after == before:
        click.echo(f"{shown} has these settings already")
        return False
    _say(_diff(before or "", after, shown))
    backup = _save(path, shown, before is not None, after, secret)
    _remember(path, noted(earlier, file.format, (before, after), settings, backup))
    click.echo(f"wrote {shown}" + (f"; what was there is in {backup} beside it" if backup else ""))
    return True


def _remember(path: Path, written: Written | None) -> None:
    try:
        remember(path, written)
    except OSError as error:
        reason = (error.strerror or "unwritable").lower()
        say(f"warning: --undo will not know of this: {book()} cannot be written: {reason}.")


def undo(name: str) -> int:
    """Take out of the file of the client ``name`` what ``--write`` has put there. Exit status as of ``run``."""
    try:
        return _undo(_client(name))
    except Refused as refused:
        say(sentence(str(refused)))
        return refused.status


def _undo(client: Client) -> int:
    if client.file is None:
        raise Refused(f"{client.title}: there is no file that trigate knows, so nothing to undo", 2)
    for file in client.files:
        _undo_file(file)
    return 0


def _undo_file(file: SettingsFile) -> None:
    """Take out of ``file`` what was written there. Raises ``Refused`` where that cannot be."""
    shown, path = short_path(file), path_of(file, os.environ).resolve()
    written, text = remembered().get(str(path)), _read(path, shown)
    if written is None or text is None:
        if written is not None:
            _remember(path, None)
        backups = sorted(one.name for one in path.parent.glob(f"{path.name}.before-trigate-*"))
        beside = f"; older copies beside it: {', '.join(backups)}" if backups else ""
        click.echo(f"nothing to undo: {shown} has nothing of trigate connect{beside}")
        return
    try:
        after, left = undone(written, text)
    except Unmergeable as error:
        raise Refused(f"{shown} is left as it is: {error}; {_by_hand(written)}") from None
    if exact := untouched(written, text):
        after = _original(written, path, after)
    _say(_diff(text, after, shown))
    _put_back(path, shown, after, written)
    for copy in written.backups if exact else ():
        path.with_name(copy).unlink(missing_ok=True)
    for one in left:
        click.echo(f"{'.'.join(one)} stays: it has been changed since")
    _remember(path, None)


def _by_hand(written: Written) -> str:
    copies = f", or take one of its copies: {', '.join(written.backups)}" if written.backups else ""
    return f"take out {', '.join('.'.join(change.path) for change in written.changes)} yourself{copies}"


def _original(written: Written, path: Path, otherwise: str) -> str:
    """The file's text before the first write, from its copy; ``otherwise`` where that is gone."""
    if not written.original:
        return ""
    try:
        return path.with_name(written.original).read_bytes().decode()
    except (OSError, UnicodeDecodeError):
        return otherwise


def _put_back(path: Path, shown: str, text: str, written: Written) -> None:
    """Write ``text``, the file without the settings; remove a file that was made for them and has nothing else."""
    if not written.original and text.strip() in ("", "{}", "[]"):
        path.unlink(missing_ok=True)
        click.echo(f"removed {shown}, which trigate connect had made")
        return
    _replace(path, shown, text, secret=True)
    click.echo(f"took the settings of trigate connect out of {shown}")


def _read(path: Path, shown: str) -> str | None:
    try:
        return path.read_bytes().decode()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Refused(f"{shown} cannot be read: {(error.strerror or 'unreadable').lower()}") from None
    except UnicodeDecodeError:
        raise Refused(f"{shown} is left as it is: it is no UTF-8 text") from None


def _save(path: Path, shown: str, there: bool, text: str, secret: bool) -> str:
    """Write the file, after a backup of what was there: its name, or "" where there was nothing."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        backup = _back_up(path).name if there else ""
    except OSError as error:
        raise Refused(f"{shown} cannot be written: {(error.strerror or 'unwritable').lower()}") from None
    _replace(path, shown, text, secret)
    return backup


def _replace(path: Path, shown: str, text: str, secret: bool) -> None:
    """Write the file whole or not at all."""
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # for its owner alone
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="") as stream:
                stream.write(text)
            if path.exists():
                shutil.copymode(path, temporary)
            elif not secret:
                Path(temporary).chmod(0o644)
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise Refused(f"{shown} cannot be written: {(error.strerror or 'unwritable').lower()}") from None


def _back_up(path: Path) -> Path:
    """A copy under a name that nothing has."""
    number = 1
    while (backup := path.with_name(f"{path.name}.before-trigate-{number}")).exists():
        number += 1
    return Path(shutil.copy2(path, backup))


_SECRET = re.compile(r'(?i)((?:key|token(?!s)|secret|password|authorization)\w*["\']?\s*[:=]\s*["\']?)([^"\',\s]+)')
_NO_SECRETS = {OPEN_KEY, KEY_VARIABLE, "{env:" + KEY_VARIABLE + "}"}


def _diff(before: str, after: str, name: str) -> str:
    """The changes as a diff, with values that may be secret masked: the person's own as well."""
    old, new = (text.splitlines() for text in (before, after))
    lines = difflib.unified_diff(old, new, name, name, n=2, lineterm="")
    return "".join(f"{_coloured(_SECRET.sub(_masked, line))}\n" for line in lines)


def _masked(found: re.Match[str]) -> str:
    return found[0] if found[2] in _NO_SECRETS else f"{found[1]}***"


def _coloured(line: str) -> str:
    colour = {"+": "green", "-": "red"}.get(line[:1])
    return click.style(line, fg=colour, dim=colour is None)


# Starting it


def _start(client: Client, place: GatewayAddress, arguments: Sequence[str]) -> NoReturn:
    """Become the client's process. Raises ``Refused`` where that cannot be."""
    if client.environment is None:
        raise Refused(f"{client.title} takes no settings from outside: use trigate connect {client.name} --write", 2)
    command = [client.program, *_overrides(client, place), *arguments] if client.program else [*arguments]
    if not command:
        raise Refused(f"name the program to start: trigate connect {client.name} -- python app.py", 2)
    env = {**os.environ, **_environment(client, _with_key(place))}
    for name in client.without:
        env.pop(name, None)
    found = shutil.which(command[0])
    if found is None:
        advice = f"; install it with: {client.install}" if client.program else ""
        raise Refused(f"{command[0]} is not installed{advice}", NOT_FOUND)
    _warn_if_nobody_listens(place.root)
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        os.execve(found, command, env)  # its exit status and its signals are its own
    except OSError as error:
        raise Refused(f"{found} cannot be started: {(error.strerror or 'unknown error').lower()}", 126) from None


def _environment(client: Client, place: GatewayAddress) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in (client.environment or {}).items():
        if value == "{file}":
            assert client.file is not None, "a row that names it has it"
            found[name] = written(client.file.format, tuple(place.settings(client.file.settings)))
        elif (place.key is not None or "{key}" not in value or value == "{key}") and place.says(value):
            found[name] = str(place.fill(value))
    return found


def _overrides(client: Client, place: GatewayAddress) -> list[str]:
    """The flags that go before the person's own; without the key, since every user of the machine can read them."""
    if client.file is None:
        return []
    rows = [row for row in client.file.settings if place.key is None or "{key}" not in str(row.value)]
    settings = tuple(place.settings(rows))
    if client.whole:
        return [client.whole, written(client.file.format, settings)]
    if not client.each:
        return []
    return [word for path, value in settings for word in (client.each, f"{'.'.join(path)}={json.dumps(value)}")]


def _warn_if_nobody_listens(root: str) -> None:
    parts = urlsplit(root)
    if parts.hostname != LOCAL:
        return  # behind a name there may be a proxy, and another network
    try:
        socket.create_connection((LOCAL, parts.port or 80), timeout=2).close()
    except OSError:
        say(f"warning: nothing listens on {root}: run trigate serve in another terminal.")
