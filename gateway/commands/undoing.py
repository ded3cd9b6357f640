"""Notes on the settings that ``trigate connect --write`` added to other programs' files, for ``--undo``.

A note has the paths of the settings, their previous values, and digests of the written values: it copies no keys.
``--undo`` keeps values that were changed since.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import attrs
import msgspec

from configfile.users_files import replace_file
from gateway.commands.client import Format
from gateway.commands.edits import paths_of, revert, values_at
from gateway.commands.notation import MISSING, Settings
from gateway.users_files import state_folder
from streams.surrogates import NOT_JSON

Way: TypeAlias = tuple[str, ...]


@attrs.frozen
class Replacement:
    """One written setting: a digest of the new value, and the previous value ``was`` if one was ``there``."""

    path: Way
    wrote: str
    there: bool
    was: Any = None

    @property
    def before(self) -> Any:
        return self.was if self.there else MISSING


@attrs.frozen
class WrittenFile:
    """A file with written settings.

    ``holders`` are the mappings that were created for them, ``backups`` the names of all backups, ``original`` the
    first backup ("" if there was no file), ``after`` a digest of the text. ``alone``: only trigate changed the file
    between the first write and the last."""

    format: Format
    changes: tuple[Replacement, ...]
    holders: tuple[Way, ...]
    after: str
    original: str
    backups: tuple[str, ...]
    alone: bool


def note_of_write(
    earlier: WrittenFile | None,
    form: Format,
    texts: tuple[str | None, str],
    settings: Settings,
    backup: str,
) -> WrittenFile:
    """Return the note for a write that changed ``texts[0]``, which ``backup`` has, into ``texts[1]``."""
    before, after = texts
    paths = paths_of(form, settings)
    stood, stands = values_at(form, before or "", paths), values_at(form, after, paths)
    first = {change.path: change for change in earlier.changes} if earlier else {}
    changes = {**first}
    for path in paths:
        if path not in first or first[path].wrote != _digest(stood.get(path)):
            changes[path] = Replacement(path, "", path in stood, stood.get(path))
        changes[path] = attrs.evolve(changes[path], wrote=_digest(stands[path]))
    makers = {path[:depth] for path in paths for depth in range(1, len(path))}
    made = makers - set(values_at(form, before or "", makers))
    return WrittenFile(
        form,
        tuple(changes.values()),
        tuple(sorted(made.union(earlier.holders if earlier else ()))),
        _digest(after),
        earlier.original if earlier else backup,
        (*(earlier.backups if earlier else ()), *filter(None, [backup])),
        earlier is None or (earlier.alone and earlier.after == _digest(before)),
    )


def remove_stale(earlier: WrittenFile | None, text: str, settings: Settings) -> str:
    """Return ``text`` without settings of an earlier write that ``settings`` lacks.

    Raises ``Unmergeable``."""
    if earlier is None or earlier.format == "yaml_list":  # there, each write has its own item
        return text
    paths = set(paths_of(earlier.format, settings))
    gone = [change for change in earlier.changes if change.path not in paths]
    return revert(earlier.format, text, _values_to_restore(earlier, text, gone))


def revert_write(written: WrittenFile, text: str) -> tuple[str, list[Way]]:
    """Return ``text`` without the written settings, and the paths whose values were changed since and stay.

    Raises ``Unmergeable``."""
    ours = _values_to_restore(written, text, written.changes)
    stands = values_at(written.format, text, [change.path for change in written.changes])
    kept = [
        change.path
        for change in written.changes
        if change.path in stands and change.path not in ours and stands[change.path] != change.before
    ]
    return revert(written.format, text, ours, written.holders), kept


def _values_to_restore(written: WrittenFile, text: str, changes: Sequence[Replacement]) -> dict[Way, Any]:
    """Return the values to restore, by path, for settings that are unchanged in ``text``."""
    stands = values_at(written.format, text, [change.path for change in changes])
    return {
        change.path: change.before
        for change in changes
        if change.path in stands and _digest(stands[change.path]) == change.wrote
    }


def is_unchanged(written: WrittenFile, text: str) -> bool:
    """Return whether the file is unchanged since the write, so that ``original`` can be restored."""
    return written.alone and written.after == _digest(text)


def _digest(value: Any) -> str:
    return hashlib.sha256(msgspec.json.encode(value, order="deterministic", enc_hook=str)).hexdigest()


# The file of notes


def notes_path() -> Path:
    """Return the path of the notes, in the user's state directory."""
    return (state_folder(os.environ) or Path.home() / ".local/state/trigate") / "connect.json"


def read_notes() -> dict[str, WrittenFile]:
    """Return the notes by the path of the file they describe; nothing if the notes cannot be read."""
    try:
        return msgspec.json.decode(notes_path().read_bytes(), type=dict[str, WrittenFile])
    except (OSError, *NOT_JSON):
        return {}


def save_note(path: Path, written: WrittenFile | None) -> None:
    """Save the note on ``path``, or delete it if ``written`` is None. Raises ``OSError``."""
    kept: Mapping[str, Any] = {name: value for name, value in read_notes().items() if name != str(path)}
    kept = {**kept, str(path): written} if written is not None else kept
    file = notes_path()
    file.parent.mkdir(parents=True, exist_ok=True)
    text = msgspec.json.format(msgspec.json.encode(kept, enc_hook=str), indent=1)
    replace_file(file, text + b"\n", 0o600)
