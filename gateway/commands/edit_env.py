"""Settings put into a file of variables, one a line."""

import re

from gateway.commands.notation import Notation, Path, Settings, join_lines, restore_by, with_members

_VARIABLE = re.compile(r"\s*(?P<export>export\s+)?(?P<name>\w+)\s*=(?P<value>.*)")


def _parse_env(text: str) -> dict[str, str]:
    found = (_VARIABLE.fullmatch(line) for line in text.splitlines())
    return {one["name"]: _unquoted(one["value"].strip()) for one in found if one}


def _unquoted(value: str) -> str:
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"" else value


def _edit_env(text: str, settings: Settings) -> str:
    lines = text.splitlines()
    for (name,), value in settings:
        plain = re.fullmatch(r"[\w./:@%+,=-]*", value)
        line = f"{name}={value if plain else _quoted(value)}"
        places = [n for n, old in enumerate(lines) if (found := _VARIABLE.fullmatch(old)) and found["name"] == name]
        for number in places:
            lines[number] = (_VARIABLE.fullmatch(lines[number])["export"] or "") + line  # type: ignore[index]
        if not places:
            lines.append(line)
    return "\n".join(lines) + "\n"


def _remove_env(text: str, path: Path) -> str:
    lines = text.splitlines()
    return join_lines(
        [line for line in lines if (found := _VARIABLE.fullmatch(line)) is None or found["name"] != path[0]]
    )


def _quoted(value: str) -> str:
    """``value`` in single quotes, in which nothing is replaced. Raises ``ValueError`` where that cannot be."""
    if "'" in value or "\n" in value:
        raise ValueError("cannot be quoted")
    return f"'{value}'"


ENV = Notation(_parse_env, with_members, _edit_env, _remove_env, restore_by(_edit_env))
