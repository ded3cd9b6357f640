"""Environment variables in the values of a configuration."""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from gateway.config.document import Path

_VARIABLE = re.compile(r"\$(?:(\$)|\{([^}]*)\}|([A-Za-z_][A-Za-z0-9_]*))")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Expanded(str):
    """Text that an environment variable went into: a message never repeats it."""

    __slots__ = ()


class Unresolved(Expanded):
    """Text with a variable in it that has no value (or that nobody looked up)."""

    __slots__ = ()


class Variables:
    """``$NAME`` and ``${NAME}`` in values, ``$$`` for a dollar; expanded after parsing, so that no value can change the
    file's structure."""

    def __init__(self, env: Mapping[str, str] | None, skip: Collection[str] = ()) -> None:
        self._env = env
        self._skip = skip
        self._missing: dict[str, Path] = {}
        self._unnamed: list[tuple[Path, tuple[str, str]]] = []

    @property
    def mistakes(self) -> Iterator[tuple[Path, tuple[str, str]]]:
        """Complaints: every missing variable once, where it is first used."""
        yield from self._unnamed
        for name, path in self._missing.items():
            yield path, (f"the environment variable {name} is not set", f"set {name}, or write $$ for a dollar sign")

    def expand(self, value: Any, path: Path) -> Any:
        """A copy of ``value`` with its variables expanded."""
        if isinstance(value, dict):
            return {
                key: member if not path and key in self._skip else self.expand(member, (*path, key))
                for key, member in value.items()
            }
        if isinstance(value, list | tuple):
            return [self.expand(member, (*path, i)) for i, member in enumerate(value)]
        return self._text(value, path) if isinstance(value, str) and "$" in value else value

    def _text(self, text: str, path: Path) -> str:
        whole = True

        def replace(match: re.Match[str]) -> str:
            nonlocal whole
            if match[1]:
                return "$"
            value = self._value(match[2] if match[2] is not None else match[3], path)
            whole = whole and value is not None
            return match[0] if value is None else value

        if self._env is None:
            return Unresolved(text) if _VARIABLE.search(text) else text
        expanded = _VARIABLE.sub(replace, text)
        return Expanded(expanded) if whole else Unresolved(expanded)

    def _value(self, name: str, path: Path) -> str | None:
        assert self._env is not None
        if not _NAME.fullmatch(name):
            words = (f"${{{name}}} names no variable", "write ${NAME}; defaults and the like are not supported")
            self._unnamed.append((path, words))
            return None
        if name not in self._env:
            self._missing.setdefault(name, path)
        return self._env.get(name)
