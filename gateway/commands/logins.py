"""``trigate connect --login``: settings for programs that keep their own login and only change the address.

Their requests pass through an entry with ``passthrough_auth``; a key of the gateway goes in its own header. See
``docs/subscriptions.md``.
"""

from collections.abc import Callable, Mapping
from typing import Final

import attrs

from configfile.keys import keys_of, value_of
from gateway.commands.client import KEY_VARIABLE, Client, Setting
from gateway.commands.clients import CLAUDE_WAITS, CODEX_PROVIDER
from gateway.config.model_entry import ModelEntry
from gateway.config.settings import Config

OWN_KEY: Final = "x-trigate-key"
"""The header for a key of the gateway when the usual headers have the client's own login."""

CODE_ASSIST: Final = "code-assist"
"""The name of the entry that Gemini CLI's login passes through."""


@attrs.frozen
class Login:
    """The settings of a program that keeps its login.

    ``settings`` are for its file, ``environment`` is for starting it, without the variables in ``without``. ``passes``
    returns whether an entry forwards the login; ``entry`` is an example. ``key`` is the key in ``entry`` that a feature
    declares, "" if the kernel declares all."""

    settings: tuple[Setting, ...]
    environment: Mapping[str, str]
    entry: str
    passes: Callable[[ModelEntry], bool]
    without: tuple[str, ...] = ()
    key: str = ""


def _forwards_login_of(*providers: str) -> Callable[[ModelEntry], bool]:
    return lambda entry: entry.passthrough_auth and entry.provider.id in providers


def _passes_code_assist(entry: ModelEntry) -> bool:
    return entry.passthrough_auth and bool(value_of(entry, "passthrough")) and entry.name == CODE_ASSIST


_CLAUDE_ADDRESS: Final = {"ANTHROPIC_BASE_URL": "{root}", "ANTHROPIC_MODEL": "{pinned}", **CLAUDE_WAITS}
# Claude Code prefers these two to its login; empty values in its settings override exported ones.
_CLAUDE_KEYS: Final = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN")
_CLAUDE_HEADER: Final = {"ANTHROPIC_CUSTOM_HEADERS": f"{OWN_KEY}: {{key}}"}

_GEMINI_ADDRESS: Final = {"CODE_ASSIST_ENDPOINT": f"{{root}}/{CODE_ASSIST}", "GEMINI_MODEL": "{model}"}
_GEMINI_HEADER: Final = {"GEMINI_CLI_CUSTOM_HEADERS": f"{OWN_KEY}: {{key}}"}

LOGINS: Final[Mapping[str, Login]] = {
    "claude": Login(
        (
            *(Setting(("env", name), value) for name, value in _CLAUDE_ADDRESS.items()),
            *(Setting(("env", name), "") for name in _CLAUDE_KEYS),
            *(Setting(("env", name), value, "keyed") for name, value in _CLAUDE_HEADER.items()),
        ),
        {**_CLAUDE_ADDRESS, **_CLAUDE_HEADER},
        "{model: anthropic/*, passthrough_auth: true}",
        _forwards_login_of("anthropic"),
        without=_CLAUDE_KEYS,
    ),
    "codex": Login(
        (
            Setting(("model",), "{model}"),
            *CODEX_PROVIDER,
            Setting(("model_providers", "trigate", "requires_openai_auth"), True),
            Setting(("model_providers", "trigate", "env_http_headers", OWN_KEY), KEY_VARIABLE, "keyed"),
        ),
        {}, "{model: chatgpt/*, passthrough_auth: true}", _forwards_login_of("chatgpt", "openai"),
    ),
    "gemini-cli": Login(
        (
            *(Setting((name,), value) for name, value in _GEMINI_ADDRESS.items()),
            *(Setting((name,), value, "keyed") for name, value in _GEMINI_HEADER.items()),
        ),
        {**_GEMINI_ADDRESS, **_GEMINI_HEADER},
        f"{{model: openai/{CODE_ASSIST}, name: {CODE_ASSIST}, base_url: 'https://cloudcode-pa.googleapis.com', "
        "passthrough: true, passthrough_auth: true, price: subscription}",
        _passes_code_assist, without=("GOOGLE_GEMINI_BASE_URL", "GEMINI_API_KEY", "GOOGLE_API_KEY"), key="passthrough",
    ),
}  # fmt: skip


def with_login(client: Client, login: Login) -> Client:
    """Return ``client`` with the settings that keep its login."""
    assert client.file is not None, "programs with a login have a file"
    file = attrs.evolve(client.file, settings=login.settings)
    return attrs.evolve(
        client, file=file, environment=login.environment, without=login.without, chooses="own", beside=None, blanks=()
    )


def missing_entry(login: Login, config: Config | None) -> str:
    """Return a warning if no entry of ``config`` forwards the login, "" if one does or ``config`` is unknown."""
    if config is None or any(map(login.passes, config.entries)):
        return ""
    problem = f"warning: {config.path or 'the configuration'} has no entry that forwards this login"
    if login.key and login.key not in keys_of(ModelEntry):
        return f"{problem}: this installation lacks the feature with the key {login.key}."
    return f"{problem}: add `- {login.entry}` to its model_providers."
