"""The plans with which ``trigate init`` can begin: those of programs that are signed in here."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from configfile.users_files import read_file
from gateway.commands.sessions import read_object


@attrs.frozen
class PersonalPlan:
    """A plan of a ``title``, which pays for requests of ``program`` with its own login.

    ``entry`` is the name of its entry without ``/*``. ``keyed`` is the id of the same models' provider for keys, whose
    entry has the name ``keyed_entry``. Both serve the names of ``family``. ``has_login`` returns whether the program is
    signed in."""

    title: str
    program: str
    program_title: str
    provider: str
    entry: str
    keyed: str
    keyed_entry: str
    family: str
    has_login: Callable[[Mapping[str, str]], bool]


def _has_claude_login(env: Mapping[str, str]) -> bool:
    """Return whether Claude Code has a login. On macOS its token is in the keychain, and ``.claude.json`` has the
    account."""
    if env.get("CLAUDE_CODE_OAUTH_TOKEN"):
        return True
    own = env.get("CLAUDE_CONFIG_DIR")
    folder = Path(own or Path.home() / ".claude")
    account = _read_object((folder if own else Path.home()) / ".claude.json")
    return bool(
        _read_object(folder / ".credentials.json").get("claudeAiOauth")
        or (account.get("oauthAccount") and not account.get("primaryApiKey"))  # with a key, the Console pays
    )


def _has_chatgpt_login(env: Mapping[str, str]) -> bool:
    folder = Path(env.get("CODEX_HOME") or Path.home() / ".codex")
    return bool(_read_object(folder / "auth.json").get("tokens"))  # with a key it has OPENAI_API_KEY instead


def _read_object(path: Path) -> Mapping[str, Any]:
    """Return the JSON object in ``path``, empty if there is none."""
    try:
        return read_object(read_file(path))
    except OSError:
        return {}


PLANS: Final = (
    PersonalPlan(
        "Claude", "claude", "Claude Code", "anthropic", "plan", "anthropic", "paid", "claude-*", _has_claude_login
    ),
    PersonalPlan("ChatGPT", "codex", "Codex", "chatgpt", "chatgpt", "openai", "openai", "gpt-*", _has_chatgpt_login),
)


def plans_here(env: Mapping[str, str]) -> list[PersonalPlan]:
    """Return the plans whose programs are signed in."""
    return [plan for plan in PLANS if plan.has_login(env)]
