"""``trigate connect``: prints the settings that point a client at the gateway, writes them, or starts the client."""

import difflib
import json
import os
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn
from urllib.parse import quote

import attrs
import click

from configfile.document import sentence
from configfile.users_files import read_file, replace_file
from gateway import OPEN_KEY
from gateway.commands import undoing
from gateway.commands.background import require_gateway
from gateway.commands.client import KEY_VARIABLE, Client, GatewayAddress, Setting, SettingsFile
from gateway.commands.clients import CLIENTS
from gateway.commands.edits import merge, settings_text
from gateway.commands.logins import LOGINS, Login, missing_entry, with_login
from gateway.commands.notation import Settings, Unmergeable
from gateway.commands.payers import payer_lines
from gateway.commands.running_gateways import ConnectFailed, ConnectOptions, Destination, find
from gateway.commands.terminal import echo_styled, say
from gateway.commands.users_environment import shell_environment, shell_lacks
from gateway.http.headers import PROJECT

NOT_FOUND = 127  # the exit status of shells
SHOWN_KEY = f"${KEY_VARIABLE}"


def run(name: str, options: ConnectOptions) -> int:
    """Print or write the settings of the client ``name``, or start it with them. Return the exit status.

    It is 0, 1 for an invalid config or a file that cannot be edited, 2 for an unknown client or model or a missing
    key, and 127 if the program is not installed. A started client sets its own."""
    try:
        client = _find_client(name)
        login = _login_settings(client) if options.login else None
        if login is not None:
            client = with_login(client, login)
        found = find(options, client.chooses)
        address = found.address
        if found.source and options.arguments is None:
            say(found.source)
        if found.config is not None and found.config.path is not None:
            for line in payer_lines(found.config, client, address.models, login=login is not None):
                say(line)
        if login is not None and (missing := missing_entry(login, found.config)):
            say(missing)
        if options.arguments is not None:
            _start_client(client, found, options)
        if options.write:
            return _write(client, address)
    except ConnectFailed as error:
        say(sentence(str(error)))
        return error.status
    shown = address if address.key is None else attrs.evolve(address, key=SHOWN_KEY)
    echo_styled(describe(client, shown), nl=False)
    return 0


def _find_client(name: str) -> Client:
    if name in CLIENTS:
        return CLIENTS[name]
    near = difflib.get_close_matches(name, CLIENTS, n=1)
    advice = f"did you mean {near[0]}?" if near else "trigate connect --list shows all clients;"
    raise ConnectFailed(f"unknown client {name!r}: {advice} openai-compatible fits any other client", 2)


def _login_settings(client: Client) -> Login:
    """Return the settings with which ``client`` keeps its login. Raises ``ConnectFailed`` for a client without one."""
    if client.name not in LOGINS:
        which = ", ".join(LOGINS)
        raise ConnectFailed(f"--login does not support {client.title}: it supports only {which}", 2)
    return LOGINS[client.name]


def _require_key(address: GatewayAddress) -> GatewayAddress:
    """Return ``address``. Raises ``ConnectFailed`` if the gateway needs a key and none is set."""
    if address.key == "":
        message = f"this gateway requires a key: set {KEY_VARIABLE} to one of its client_keys, and try again"
        raise ConnectFailed(message, 2)
    return address


# Printing


def describe(client: Client, address: GatewayAddress) -> str:
    """Return the text to print: the settings, and how to use them."""
    parts = [
        f"{_heading(short_path(file))}\n{settings_text(file.format, settings)}"
        for file in client.files
        if (settings := _file_settings(client, file, address))
    ]
    if client.file is None and client.environment:
        variables = [((name,), value) for name, value in _client_environment(client, address).items()]
        parts.append(f"{_heading('in the environment')}\n{settings_text('env', variables)}")
    if client.snippet:
        heading = "" if client.language == "text" else _heading("in the program" if not parts else "or in the program")
        parts.append(f"{heading}\n".lstrip("\n") + address.fill(client.snippet))
    if client.then:
        parts.append("\n".join([_heading("then"), *map(address.fill, client.then), ""]))
    parts.append(_next_step(client, address))
    return "\n".join(part for part in parts if part)


def _heading(text: str) -> str:
    return click.style(text, bold=True)


def _file_settings(client: Client, file: SettingsFile, address: GatewayAddress) -> Settings:
    """Return the settings for the client's file, with an empty value for each variable to hide."""
    settings = tuple(address.settings(file.settings))
    return (*settings, *(((*client.blanks, name), "") for name in _variables_to_hide(client))) if settings else ()


def _variables_to_hide(client: Client) -> list[str]:
    """Return the variables of this environment that the client's file must hide from the client."""
    return [name for name in client.without if shell_environment().get(name)] if client.blanks else []


def _next_step(client: Client, address: GatewayAddress) -> str:
    rows = []
    files = [short_path(file) for file in client.files if tuple(address.settings(file.settings))]
    if files:
        rows.append(("--write", f"merges these settings into {' and '.join(files)}"))
    if client.environment is not None:
        program, arguments = (client.program, "ARGS") if client.program else ("a program", "PROGRAM ARGS")
        rows.append((f"-- {arguments}", f"starts {program} with these settings and changes no file"))
    lines = [f"{command:16}{says}" for command, says in rows]
    lines += [
        f"{name} is set: the empty value above hides it from {client.title}" for name in _variables_to_hide(client)
    ]
    if address.token_arguments:
        if client.file is None or not address.uses_session(client.file.settings):
            command = " ".join(("trigate", *address.token_arguments))
            lines.append(f"set {KEY_VARIABLE} to the output of `{command}`, which is valid for an hour at most")
    elif address.key is not None:
        values = (str(value) for file in client.files for _, value in address.settings(file.settings))
        lines.append(
            f"replace {SHOWN_KEY} above with one of the gateway's client_keys; --write and -- read the variable"
            if any(SHOWN_KEY in value for value in values)
            else f"run {client.stores_key}, and enter one of the gateway's client_keys"
            if client.stores_key
            else f"set {KEY_VARIABLE} to one of the gateway's client_keys"
        )
    return "".join(f"{line}\n" for line in lines)


# The client's own file


def path_of(file: SettingsFile, env: Mapping[str, str]) -> Path:
    """Return the path of the file for the current user and platform."""
    folder = _folder_of(file, env)
    overrides = file.override and (folder / file.override).exists()
    return folder / (file.override if overrides else file.name)


def _folder_of(file: SettingsFile, env: Mapping[str, str]) -> Path:
    variable, _, below = file.variable.partition("/")
    if variable and env.get(variable):
        return Path(env[variable]) / below
    kind, _, app = file.folder.partition("app:")
    return Path(click.get_app_dir(app)) if app and not kind else Path(file.folder).expanduser()


def _is_noted(file: SettingsFile) -> bool:
    """Return whether ``--write`` has changed the file."""
    return str(path_of(file, os.environ).resolve()) in undoing.read_notes()


def short_path(file: SettingsFile) -> str:
    """Return the path with ``~`` for the home directory."""
    path, home = path_of(file, os.environ), Path.home()
    return f"~/{path.relative_to(home)}" if path.is_absolute() and path.is_relative_to(home) else str(path)


def _write(client: Client, address: GatewayAddress) -> int:
    if client.file is None:
        raise ConnectFailed(
            f"{client.title} has no settings file: use the settings that trigate connect {client.name} prints",
            2,
        )
    kept = {file.name for file in client.files}
    for file in CLIENTS[client.name].files:
        if file.name not in kept and _is_noted(file):
            _undo_file(client, file)  # a client that keeps its login does not need this file
    for file in client.files:
        for one in file.versions:
            if path_of(one, os.environ) != path_of(file, os.environ) and _is_noted(one):
                _undo_file(client, one)  # another file overrides it since
    changed = [_write_file(client, file, address) for file in client.files]
    if any(changed):
        for name in _variables_to_hide(client):
            why = f"because {client.title} would send it in addition to the gateway's key"
            hiding = short_path(client.file)
            click.echo(f"{name} is set in this environment: {hiding} hides it with an empty value, {why}")
        values = (str(value) for file in client.files for _, value in address.settings(file.settings))
        if any(KEY_VARIABLE in value for value in values) and shell_lacks(KEY_VARIABLE):
            click.echo(f"first: set {KEY_VARIABLE} in your shell: {client.title} reads its key there")
        if client.stores_key and address.key is not None:
            click.echo(f"first: {client.stores_key}")
        for line in map(address.fill, client.then):
            click.echo(f"then: {line}")
        click.echo(f"undo: trigate connect {client.name} --undo")
    return 0


def _write_file(client: Client, file: SettingsFile, address: GatewayAddress) -> bool:
    """Merge the client's settings into ``file``. Return whether that changed it."""
    secret = address.key is not None and any("{key}" in str(row.value) for row in file.settings)
    settings = _file_settings(client, file, _require_key(address) if secret else address)
    shown, path = short_path(file), path_of(file, os.environ).resolve()  # keeps symbolic links
    before, earlier = _read_file(path, shown), undoing.read_notes().get(str(path))
    try:
        after = merge(file.format, undoing.remove_stale(earlier, before or "", settings), settings)
    except Unmergeable as error:
        advice = f"{shown} is not changed: {error}; trigate connect {client.name} prints the settings to add yourself"
        raise ConnectFailed(advice) from None
    if after == before:
        click.echo(f"{shown} has these settings already")
        return False
    backup = _write_with_backup(path, shown, before is not None, after, secret)
    echo_styled(_diff(before or "", after, shown), nl=False)
    _save_note(path, undoing.note_of_write(earlier, file.format, (before, after), settings, backup))
    click.echo(f"wrote {shown}" + (f"; backup: {backup} in the same directory" if backup else ""))
    return True


def _save_note(path: Path, written: undoing.WrittenFile | None) -> None:
    try:
        undoing.save_note(path, written)
    except OSError as error:
        reason = (error.strerror or "unwritable").lower()
        say(f"warning: --undo will not work for this change: cannot write {undoing.notes_path()}: {reason}.")


def undo(name: str) -> int:
    """Remove the settings that ``--write`` added for the client ``name``. Return the exit status, as ``run`` does."""
    try:
        client = _find_client(name)
        if client.file is None:
            raise ConnectFailed(f"nothing to undo: trigate knows no settings file of {client.title}", 2)
        for file in client.files:
            for one in tuple(filter(_is_noted, file.versions)) or (file,):
                _undo_file(client, one)
        return 0
    except ConnectFailed as error:
        say(sentence(str(error)))
        return error.status


def _undo_file(client: Client, file: SettingsFile) -> None:
    """Remove the settings that ``--write`` added to ``file`` for ``client``.

    Raises ``ConnectFailed`` if the file cannot be edited."""
    shown, path = short_path(file), path_of(file, os.environ).resolve()
    written, text = undoing.read_notes().get(str(path)), _read_file(path, shown)
    if written is None or text is None:
        if written is not None:
            _save_note(path, None)
        backups = sorted(one.name for one in path.parent.glob(f"{path.name}.before-trigate-*"))
        older = f"; older backups: {', '.join(backups)}" if backups else ""
        click.echo(f"nothing to undo: {shown} has no settings of trigate connect {client.name}{older}")
        return
    try:
        after, left = undoing.revert_write(written, text)
    except Unmergeable as error:
        raise ConnectFailed(f"{shown} is not changed: {error}; {_manual_steps(written)}") from None
    if exact := undoing.is_unchanged(written, text):
        after = _original_text(written, path, after)
    result = _restore_file(path, shown, after, written)
    echo_styled(_diff(text, after, shown), nl=False)
    click.echo(result)
    for copy in written.backups if exact else ():
        _delete_file(path.with_name(copy), copy)
    for one in left:
        click.echo(f"kept {'.'.join(one)}: its value was changed after --write")
    _save_note(path, None)


def _manual_steps(written: undoing.WrittenFile) -> str:
    copies = f", or restore a backup: {', '.join(written.backups)}" if written.backups else ""
    return f"remove {', '.join('.'.join(change.path) for change in written.changes)} yourself{copies}"


def _original_text(written: undoing.WrittenFile, path: Path, otherwise: str) -> str:
    """Return the file's text before the first write, from its backup, or ``otherwise`` if that is missing."""
    if not written.original:
        return ""
    try:
        return path.with_name(written.original).read_bytes().decode()
    except (OSError, UnicodeDecodeError):
        return otherwise


def _restore_file(path: Path, shown: str, text: str, written: undoing.WrittenFile) -> str:
    """Write ``text``, the file's text without the settings, or delete the file if they created it; return a report."""
    if not written.original and text.strip() in ("", "{}", "[]"):
        _delete_file(path, shown)
        return f"removed {shown}, which trigate connect had created"
    _replace_file(path, shown, text, secret=True)
    return f"removed the settings of trigate connect from {shown}"


def _delete_file(path: Path, shown: str) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise ConnectFailed(f"cannot remove {shown}: {(error.strerror or 'undeletable').lower()}") from None


def _read_file(path: Path, shown: str) -> str | None:
    try:
        return read_file(path).decode()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConnectFailed(f"cannot read {shown}: {(error.strerror or 'unreadable').lower()}") from None
    except UnicodeDecodeError:
        raise ConnectFailed(f"{shown} is not changed: it is not UTF-8 text") from None


def _write_with_backup(path: Path, shown: str, there: bool, text: str, secret: bool) -> str:
    """Write the file after a backup. Return the backup's name, or "" if there was no file."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        backup = _back_up(path).name if there else ""
    except OSError as error:
        raise ConnectFailed(f"cannot write {shown}: {(error.strerror or 'unwritable').lower()}") from None
    _replace_file(path, shown, text, secret)
    return backup


def _replace_file(path: Path, shown: str, text: str, secret: bool) -> None:
    """Write or replace the file as a whole."""
    try:
        replace_file(path, text.encode(), 0o600 if secret else 0o644)
    except OSError as error:
        raise ConnectFailed(f"cannot write {shown}: {(error.strerror or 'unwritable').lower()}") from None


def _back_up(path: Path) -> Path:
    """Copy the file to an unused name next to it, and return that path."""
    number = 1
    while (backup := path.with_name(f"{path.name}.before-trigate-{number}")).exists():
        number += 1
    return Path(shutil.copy2(path, backup))


_SECRET = re.compile(r'(?i)((?:key|token(?!s)|secret|password|authorization)\w*["\']?\s*[:=]\s*["\']?)([^"\',\s]+)')
_NO_SECRETS = {OPEN_KEY, KEY_VARIABLE, "{env:" + KEY_VARIABLE + "}", "trigate"}  # the last prints a token


def _diff(before: str, after: str, name: str) -> str:
    """Return the changes as a diff; masks every value that may be secret, also the user's own."""
    old, new = (text.splitlines() for text in (before, after))
    lines = difflib.unified_diff(old, new, name, name, n=2, lineterm="")
    masked = (_SECRET.sub(lambda one: one[0] if one[2] in _NO_SECRETS else f"{one[1]}***", line) for line in lines)
    return "".join(f"{_colour_diff_line(line)}\n" for line in masked)


def _colour_diff_line(line: str) -> str:
    colour = {"+": "green", "-": "red"}.get(line[:1])
    return click.style(line, fg=colour, dim=colour is None)


# Starting it


def _start_client(client: Client, found: Destination, options: ConnectOptions) -> NoReturn:
    """Replace this process by the client, after the start of a gateway if none listens. Raises ``ConnectFailed`` if
    either cannot start."""
    address, arguments = found.address, options.arguments or ()
    if client.environment is None and client.file is None:
        raise ConnectFailed(
            f"trigate cannot start {client.title}: enter the settings that trigate connect {client.name} prints in the "
            "program's own form",
            2,
        )
    if client.environment is None:
        raise ConnectFailed(
            f"{client.title} reads settings only from its file: use trigate connect {client.name} --write", 2
        )
    if (project := _project_name()) and client.headers and client.file is not None:
        row = Setting((*client.headers, PROJECT), project)
        client = attrs.evolve(client, file=attrs.evolve(client.file, settings=(*client.file.settings, row)))
    command = [client.program, *_override_flags(client, address), *arguments] if client.program else [*arguments]
    if not command:
        raise ConnectFailed(f"no program given: add one after --: trigate connect {client.name} -- python app.py", 2)
    env = {**shell_environment(), **_client_environment(client, _require_key(address))}
    if client.headers_variable is not None and project:
        variable, between = client.headers_variable
        if PROJECT not in (own := env.get(variable, "")).lower():
            env[variable] = between.join(filter(None, (own, f"{PROJECT}: {project}")))
    for name in client.without:
        env.pop(name, None)
    program = shutil.which(command[0])
    if program is None:
        advice = f"; install it with: {client.install}" if client.program else ""
        raise ConnectFailed(f"{command[0]} is not installed{advice}", NOT_FOUND)
    require_gateway(found, options)
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        os.execve(program, command, env)  # the client sets the exit status and handles signals
    except OSError as error:
        raise ConnectFailed(f"cannot start {program}: {(error.strerror or 'unknown error').lower()}", 126) from None


def _project_name() -> str:
    """Return the name of the root directory of this directory's repository for a header, "" outside of one.

    A linked worktree has the name of its repository. A repository of the whole home directory is no project."""
    try:
        folder = Path.cwd()
        root = next((one for one in (folder, *folder.parents) if (one / ".git").exists()), None)
        if root is None or root == Path.home():
            return ""
        if (root / ".git").is_file():
            pointer = (root / ".git").read_text(errors="replace").removeprefix("gitdir:").strip()
            if (main := pointer.partition("/.git/worktrees/"))[1]:
                root = Path(main[0])
    except (OSError, RuntimeError):  # a directory that was deleted or cannot be read, a user without a home
        return ""
    return quote(os.fsencode(root.name), safe="")


def _client_environment(client: Client, address: GatewayAddress) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in (client.environment or {}).items():
        if value == "{file}":
            assert client.file is not None, "a row with {file} has a file"
            found[name] = settings_text(client.file.format, tuple(address.settings(client.file.settings)))
        elif "{key}" in value and client.file is not None and address.uses_session(client.file.settings):
            continue  # the client gets tokens from a command
        elif (address.key is not None or "{key}" not in value or value == "{key}") and address.has_value(value):
            found[name] = str(address.fill(value))
    return found


def _override_flags(client: Client, address: GatewayAddress) -> list[str]:
    """Return the flags to put before the user's own. They omit the key, because other users of the machine can read
    flags."""
    if client.file is None:
        return []
    rows = [row for row in client.file.settings if address.key is None or "{key}" not in str(row.value)]
    settings = tuple(address.settings(rows))
    if client.whole:
        return [client.whole, settings_text(client.file.format, settings)]
    if not client.each:
        return []
    return [word for path, value in settings for word in (client.each, f"{'.'.join(path)}={json.dumps(value)}")]
