"""The search for the configuration file: the named one, one in the current directory, or the user's own."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from configfile import document
from configfile.document import ConfigError, Mistake
from gateway.config.settings import Trust
from gateway.config_files.convertible import refuse_convertible
from gateway.users_files import users_folder

FILE_NAMES = ("trigate.yaml", "config.yaml", "plano_config.yaml")
FILE_VARIABLE = "TRIGATE_CONFIG"
SYSTEM_FOLDER = Path("/etc/trigate")


class NoConfig(ConfigError):
    """The error for a search without a path that finds no configuration."""


def users_file(env: Mapping[str, str]) -> Path | None:
    """Return the path of a user's own configuration, ``None`` if the environment has no home directory."""
    folder = users_folder(env)
    return None if folder is None else folder / FILE_NAMES[0]


def find_config_file(cwd: Path, env: Mapping[str, str], explicit: Path | None = None) -> Path:
    """Return the file to read: ``explicit``, ``$TRIGATE_CONFIG``, the first of ``FILE_NAMES`` in ``cwd`` that is not
    ``passed_over``, or ``users_file``.

    Raises ``ConfigError``: ``NoConfig``, which lists where it looked, if nothing gives the path."""
    named = explicit or (Path(env[FILE_VARIABLE]) if env.get(FILE_VARIABLE) else None)
    if named is not None:
        path = cwd / named
        if path.exists() or path.is_symlink():  # also a pipe: check --diff <(git show HEAD:trigate.yaml)
            return path
        source = "the command line" if explicit else f"${FILE_VARIABLE}"
        raise ConfigError((Mistake(str(named), "", f"no such file (path from {source})", "give the path of a file"),))
    others = passed_over(cwd)
    for name in FILE_NAMES:
        if (cwd / name).is_file() and name not in others:
            return cwd / name
    users = users_file(env)
    if users is not None and users.is_file():
        return users
    for name in others:
        try:
            content = document.read_file(cwd / name).content
        except ConfigError:  # also Markdown and other languages have such names
            continue
        refuse_convertible(content, name)
    looked = f"found no configuration: neither ${FILE_VARIABLE} nor {', '.join(FILE_NAMES)} in {cwd}"
    looked += f", nor {users}" if users is not None else ""
    looked += f" ({others_text(others)})" if others else ""
    raise NoConfig(
        (Mistake("", "", looked, "create one with `trigate init`, or try `trigate serve --demo`, which needs none"),)
    )


_OWN: Final = re.compile(
    rb"""model_providers|llm_providers|^[{"']{0,2}version["']?[ ]*:[ ]*["']?v?0\.\d+\.\d""", re.MULTILINE
)
"""Words in each file of trigate, also in one that is not valid YAML."""


def passed_over(cwd: Path) -> tuple[str, ...]:
    """Return those of ``FILE_NAMES`` in ``cwd`` that belong to other programs: many have a ``config.yaml``.

    Only names before the first file of trigate are included. A file that cannot be read is not passed over."""
    names: list[str] = []
    for name in FILE_NAMES:
        if (cwd / name).is_file():
            if name == FILE_NAMES[0] or not _is_others(cwd / name):
                break
            names.append(name)
    return tuple(names)


def _is_others(path: Path) -> bool:
    try:
        return not _OWN.search(document.read_bytes(path))
    except ConfigError:
        return False


def others_text(names: Sequence[str]) -> str:
    """Return the reason why ``find_config_file`` passes over the files ``names``."""
    belong = "belongs" if len(names) == 1 else "belong"
    return f"{' and '.join(names)} {belong} to another program, without `version: v0.4.0` or `model_providers`"


def trust_in(path: Path, env: Mapping[str, str], explicit: Path | None = None) -> Trust:
    """Return whether the user named ``path`` or owns it, or whether it is only in the current directory.

    Only administrators can write to ``SYSTEM_FOLDER``, the current directory of the image.
    """
    is_own = path == users_file(env) or path.parent == SYSTEM_FOLDER
    return "named" if explicit is not None or env.get(FILE_VARIABLE) or is_own else "found"
