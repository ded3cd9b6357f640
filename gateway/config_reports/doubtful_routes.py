"""Warnings about routes that probably do less than intended."""

from collections.abc import Iterator
from typing import Final

from configfile.kinds import spell_duration
from gateway.config.aliases import Route
from gateway.config.attempts import Retries
from gateway.config.model_entry import ModelEntry
from gateway.config.names import Found, Names
from gateway.config.settings import Config
from gateway.config.sign_ins import SignIn

NEARLY: Final = 0.9
"""A context window of at least this fraction of a larger one counts as equal."""


def doubtful(config: Config) -> Iterator[str]:
    """Yield a warning for each doubtful route of ``config``."""
    names = Names.of(config)
    for route in config.routes.values():
        found = names.meaning(route.name).found
        for text in (
            *_shared_credentials(found),
            *_small_windows(route, found),
            *_silent_targets(route, route.retries or config.retries or Retries()),
        ):
            yield f"route {route.name}: {text}"


def _shared_credentials(found: tuple[Found, ...]) -> Iterator[str]:
    """Warn of targets that share a credential: if it is rejected or exhausted, all fail (openclaw/openclaw#30030)."""
    if len(found) > 1 and len({_credential_of(one.entry) for one in found}) == 1 and _credential_of(found[0].entry)[2]:
        yield (
            "all its targets use the same credential, so all of them fail if that is exhausted or rejected: add "
            "an entry with another `access_key` or provider after them"
        )


def _credential_of(entry: ModelEntry) -> tuple[str, str | None, str | bool | SignIn | None]:
    return entry.provider.id, entry.base_url, entry.key or entry.passthrough_auth or entry.sign_in


def _small_windows(route: Route, found: tuple[Found, ...]) -> Iterator[str]:
    """Warn of fallbacks with smaller context windows, whose errors would confuse clients (BerriAI/litellm#31557)."""
    windows = [one.entry.quirks_of(one.model).context_window for one in found]
    for i, (group, place) in enumerate(route.places):
        before = [
            window
            for window, (number, earlier) in zip(windows, route.places, strict=True)
            if number < group and not earlier.kinds
        ]
        known = [window for window in before if window is not None]
        own = windows[i]
        if own is not None and known and "context_too_long" not in place.when and own < NEARLY * max(known):
            yield (
                f"the context window of {place.target} has {own} tokens, and an earlier target has {max(known)}: "
                f"longer prompts skip {place.target}"
            )


def _silent_targets(route: Route, retries: Retries) -> Iterator[str]:
    """Warn of a wait for the first content that leaves no time for the next target."""
    if route.first_content is not None and len(route.places) > 1 and route.first_content >= retries.deadline:
        shown, deadline = (spell_duration(seconds) for seconds in (route.first_content, retries.deadline))
        yield (
            f"`first_content` ({shown}) is not shorter than `deadline` ({deadline}), so no target follows a silent one"
        )
