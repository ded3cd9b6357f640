"""The book of what ``trigate connect --write`` has put into files that are not ours, kept so that it can be taken out
again.

Remembered are the paths of the settings, what stood there before, and of what was written digests alone: keys are not
copied. What somebody has changed since is theirs and stays.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import attrs
import msgspec

from gateway.commands.client import Format
from gateway.commands.edits import MISSING, paths_of, reverted, standing
from gateway.commands.notation import Settings
from streams.surrogates import NOT_JSON

Way: TypeAlias = tuple[str, ...]


@attrs.frozen
class Replacement:
    """One setting: a digest of what was written, and what had been ``there``, if anything had."""

    path: Way
    wrote: str
    there: bool
    was: Any = None

    @property
    def before(self) -> Any:
        return self.was if self.there else MISSING


@attrs.frozen
class Written:
    """A file that was written, or would have been. ``holders`` are the mappings that were made for the settings,
    ``backups`` the names of all copies that were made beside it, ``original`` the first of them ("": there was no
    file), and ``after`` a digest of its text. ``alone``: nobody else has changed it from the first write to the
    last."""

    format: Format
    changes: tuple[Replacement, ...]
    holders: tuple[Way, ...]
    after: str
    original: str
    backups: tuple[str, ...]
    alone: bool


def noted(
    earlier: Written | None, form: Format, texts: tuple[str | None, str], settings: Settings, backup: str
) -> Written:
    """The note of a write that made the second of ``texts`` of the first, which is in ``backup``."""
    before, after = texts
    paths = paths_of(form, settings)
    stood, stands = standing(form, before or "", paths), standing(form, after, paths)
    first = {change.path: change for change in earlier.changes} if earlier else {}
    changes = {**first}
    for path in paths:
        if path not in first or first[path].wrote != _digest(stood.get(path)):
            changes[path] = Replacement(path, "", path in stood, stood.get(path))
        changes[path] = attrs.evolve(changes[path], wrote=_digest(stands[path]))
    makers = {path[:depth] for path in paths for depth in range(1, len(path))}
    made = makers - set(standing(form, before or "", makers))
    return Written(
        form,
        tuple(changes.values()),
        tuple(sorted(made.union(earlier.holders if earlier else ()))),
        _digest(after),
        earlier.original if earlier else backup,
        (*(earlier.backups if earlier else ()), *filter(None, [backup])),
        earlier is None or (earlier.alone and earlier.after == _digest(before)),
    )


def outdated(earlier: Written | None, text: str, settings: Settings) -> str:
    """``text`` without what an earlier write has put there and ``settings`` no longer have. Raises ``Unmergeable``."""
    if earlier is None or earlier.format == "yaml_list":  # where each write has an item of its own
        return text
    paths = set(paths_of(earlier.format, settings))
    gone = [change for change in earlier.changes if change.path not in paths]
    return reverted(earlier.format, text, _ours(earlier, text, gone))


def undone(written: Written, text: str) -> tuple[str, list[Way]]:
    """``text`` without what was written, and where something else stands by now, which stays. Raises
    ``Unmergeable``."""
    ours = _ours(written, text, written.changes)
    stands = standing(written.format, text, [change.path for change in written.changes])
    left = [
        change.path
        for change in written.changes
        if change.path in stands and change.path not in ours and stands[change.path] != change.before
    ]
    return reverted(written.format, text, ours, written.holders), left


def _ours(written: Written, text: str, changes: Sequence[Replacement]) -> dict[Way, Any]:
    """The values to put back where ``text`` still has what was written."""
    stands = standing(written.format, text, [change.path for change in changes])
    return {
        change.path: change.before
        for change in changes
        if change.path in stands and _digest(stands[change.path]) == change.wrote
    }


def untouched(written: Written, text: str) -> bool:
    """True if nobody has changed the file since it was written, so that ``original`` is what to put back."""
    return written.alone and written.after == _digest(text)


def _digest(value: Any) -> str:
    return hashlib.sha256(msgspec.json.encode(value, order="deterministic", enc_hook=str)).hexdigest()


# Where it is remembered


def book() -> Path:
    """For the person's own eyes, like the files that it is about."""
    folder = Path(os.environ.get("XDG_STATE_HOME", ""))
    folder = folder if folder.is_absolute() else Path.home() / ".local/state"
    return folder / "trigate/connect.json"


def remembered() -> dict[str, Written]:
    """The notes by the path of their file. A book that cannot be read is an empty one."""
    try:
        return msgspec.json.decode(book().read_bytes(), type=dict[str, Written])
    except (OSError, *NOT_JSON):
        return {}


def remember(path: Path, written: Written | None) -> None:
    """Put ``written`` into the book, or take out what is there. Raises ``OSError``."""
    kept: Mapping[str, Any] = {name: value for name, value in remembered().items() if name != str(path)}
    kept = {**kept, str(path): written} if written is not None else kept
    file = book()
    file.parent.mkdir(parents=True, exist_ok=True)
    text = msgspec.json.format(msgspec.json.encode(kept, enc_hook=str), indent=1)
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
        stream.write(text + b"\n")
