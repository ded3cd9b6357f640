"""The folders of one user: of the configuration, and of the state of commands and gateways."""

from collections.abc import Mapping
from pathlib import Path


def users_folder(env: Mapping[str, str]) -> Path | None:
    """Return the folder of the user's own configuration, ``None`` if the environment has no home directory."""
    return _folder_in(env, "XDG_CONFIG_HOME", ".config")


def state_folder(env: Mapping[str, str]) -> Path | None:
    """Return the folder of the user's state, ``None`` if the environment has no home directory."""
    return _folder_in(env, "XDG_STATE_HOME", ".local/state")


def _folder_in(env: Mapping[str, str], variable: str, usual: str) -> Path | None:
    given, home = env.get(variable, ""), env.get("HOME", "")
    folders = [folder for folder in (Path(given), Path(home, usual)) if folder.is_absolute()]
    return folders[0] / "trigate" if folders else None
