"""Environment variables, files of secrets and secrets in stores in the values of a configuration."""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import attrs

from configfile.document import Path
from configfile.expanded import Expanded, Unresolved
from configfile.secret_files import SecretFile, SecretFiles, SecretReference, UnreadFiles, secret_path
from configfile.stored_secrets import StoredSecret, StoreReference, stored_secret
from configfile.wording import Wrong, nearest

_VARIABLE = re.compile(r"\$(?:(\$)|\{([^}]*)\}|([A-Za-z_][A-Za-z0-9_]*))")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@attrs.frozen(repr=False)
class Use:
    """One use of a variable or file: its ``name``, its place and the whole text."""

    name: str
    path: Path
    text: str

    @property
    def is_whole(self) -> bool:
        return self.text in (f"${self.name}", f"${{{self.name}}}")


class Variables:
    """The variables of a configuration: ``$NAME`` and ``${NAME}``, with ``$$`` for a dollar.

    They are expanded after parsing, so that no value can change the file's structure. With ``files``, ``NAME_FILE`` in
    the environment replaces ``NAME``, and ``{file: PATH}`` and ``{STORE: PLACE}`` become ``SecretReference``s.
    """

    def __init__(
        self,
        env: Mapping[str, str] | None,
        skip: Collection[str] = (),
        files: SecretFiles | None = None,
        within: Collection[str] | None = None,
    ) -> None:
        """Expand only the keys ``within`` of the root, or all with ``None``."""
        self._within = within
        self._env = env
        self._skip = skip
        self._files = files
        self.used: list[Use] = []
        self.files: list[Use] = []
        self.stored: list[tuple[Path, StoredSecret]] = []
        self._missing: dict[str, Path] = {}
        self._faults: list[tuple[Path, tuple[str, str]]] = []

    @property
    def has_values(self) -> bool:
        """Whether any text may have the mark of a value that was inserted (see ``Expanded``)."""
        return bool(self.used or self.files or self.stored)

    @property
    def mistakes(self) -> Iterator[tuple[Path, tuple[str, str, str | None]]]:
        """The mistakes, with every missing variable once, at its first use, and the variable that is probably meant."""
        yield from ((path, (*words, None)) for path, words in self._faults)
        for name, path in self._missing.items():
            near = nearest(name, self._env or ())
            expected = f"set {name}, or write $$ for a dollar sign"
            yield path, (f"the environment variable {name} is not set", expected, near)

    def expand(self, value: Any, path: Path) -> Any:
        """Return a copy of ``value`` with its variables expanded."""
        if isinstance(value, str):
            return self._expand_text(value, path) if "$" in value else value
        if isinstance(value, dict):
            if len(value) == 1 and (reference := self._reference(value, path)) is not None:
                return reference
            return {
                key: member if not path and key in self._skip else self.expand(member, (*path, key))
                for key, member in value.items()
            }
        if isinstance(value, list | tuple):
            return [self.expand(member, (*path, i)) for i, member in enumerate(value)]
        return value

    def _reference(self, value: dict[str, Any], path: Path) -> SecretReference | None:
        """Return the secret that ``value`` names in place of a text, ``None`` for other mappings."""
        if self._files is None:
            return None
        read_files = self._files if self._is_read(path) else UnreadFiles()
        if (written := secret_path(value)) is not None:
            file = self.expand(written, (*path, "file"))
            self.files.append(Use(file, path, written))
            return SecretFile(file, written, read_files)
        if (secret := stored_secret(value)) is not None:
            found = StoredSecret(secret.store, self.expand(secret.place, (*path, secret.store)))
            self.stored += [(path, found)] if read_files is self._files else ()
            return StoreReference(found, secret.place, read_files)
        return None

    def _expand_text(self, text: str, path: Path) -> str:
        whole = True

        def replace(match: re.Match[str]) -> str:
            nonlocal whole
            if match[1]:
                return "$"
            name = match[2] if match[2] is not None else match[3]
            self.used.append(Use(name, path, text))
            value = self._find_value(name, path)
            whole = whole and value is not None
            return match[0] if value is None else value

        if self._env is None or not self._is_read(path):
            return Unresolved(text) if _VARIABLE.search(text) else text
        known = len(self.used)
        expanded = _VARIABLE.sub(replace, text)
        if len(self.used) == known:  # only dollar signs
            return expanded
        return Expanded(expanded) if whole else Unresolved(expanded)

    def _is_read(self, path: Path) -> bool:
        return self._within is None or not path or path[0] in self._within

    def _find_value(self, name: str, path: Path) -> str | None:
        assert self._env is not None
        if not _NAME.fullmatch(name):
            words = (f"${{{name}}} is not a valid variable", "write ${NAME}; default values are not supported")
            self._faults.append((path, words))
            return None
        if name not in self._env and self._files is not None and (file := self._env.get(f"{name}_FILE")):
            return self._read_secret_file(file, name, path, self._files)
        value = self._env.get(name)
        if value is None:
            self._missing.setdefault(name, path)
        elif not value.isascii() and not _is_text(value):
            self._faults.append((path, (f"the environment variable {name} is not UTF-8 text", f"set {name} as UTF-8")))
            return None
        return value

    def _read_secret_file(self, file: str, name: str, path: Path, files: SecretFiles) -> str | None:
        try:
            return files.read(file, f"that {name}_FILE names")
        except Wrong as wrong:
            self._faults.append((path, (wrong.found, wrong.expected)))
            return None


def _is_text(value: str) -> bool:
    """Return whether UTF-8 can encode ``value``; Python reads other bytes of the environment as lone surrogates."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
