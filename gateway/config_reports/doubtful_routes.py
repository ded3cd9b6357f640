"""Warnings about routes and wildcards that probably do less than intended."""

import re
from collections.abc import Iterator
from typing import Final

from gateway.config.aliases import Route
from gateway.config.attempts import Retries
from gateway.config.model_entry import ModelEntry, entry_price
from gateway.config.names import Found, Names
from gateway.config.settings import Config
from gateway.config.sign_ins import SignIn
from gateway.config_reports.spelling import spelled_value
from streams.events import UNAVAILABLE

_CHARACTERS: Final = re.compile(r"\[[^]]*\]")
"""A set of characters in a family of ids, such as ``gpt-[!o]*``."""

NEARLY: Final = 0.9
"""A context window of at least this fraction of a larger one counts as equal."""


def doubtful(config: Config) -> Iterator[str]:
    """Yield a warning for each doubtful route and each group of wildcards with common ids of ``config``."""
    names = Names.of(config)
    for route in config.routes.values():
        found = names.meaning(route.name).found
        for text in (
            *_conditional_first_targets(route),
            *_shared_credentials(found),
            *_small_windows(route, found),
            *_missing_prices(route, found),
            *_short_limits(route, route.retries or config.retries or Retries()),
        ):
            yield f"route {route.name}: {text}"
    for id, entries in names.shared_ids().items():
        family = next((_CHARACTERS.sub("", one) for one in entries[0].provider.families if one.endswith("*")), id)
        name = f"'{family}'" if "*" in family else family
        targets = ", ".join(f"{entry.prefixes[0]}/{family}" for entry in entries)
        yield (
            f"{' and '.join(entry.name for entry in entries)} serve the same models, so clients get 400 for a name "
            f"without a prefix, such as {id.replace('*', 'MODEL')}: add this under `model_aliases`: "
            f"`{name}: {{targets: [{targets}]}}`"
        )


def _conditional_first_targets(route: Route) -> Iterator[str]:
    for group, place in route.places:
        if group == 0 and place.when != UNAVAILABLE and not place.kinds:
            yield f"{place.target} is among the first targets, which always get requests: its `when` has no effect"


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
        if own is None or not known:
            continue
        if "context_too_long" in place.when and len(known) == len(before) and own <= max(known):
            yield (
                f"`context_too_long` leads to {place.target}, whose context window is no larger than those before it "
                f"({own} tokens)"
            )
        elif "context_too_long" not in place.when and own < NEARLY * max(known):
            yield (
                f"the context window of {place.target} has {own} tokens, and an earlier target has {max(known)}: "
                f"longer prompts skip {place.target}"
            )


def _missing_prices(route: Route, found: tuple[Found, ...]) -> Iterator[str]:
    if route.balance == "cheapest":
        for one in found:
            if "*" not in one.model and entry_price(one.entry, one.model) is None:
                yield (
                    f"{one.entry.provider.id}/{one.model} has no price, so targets with a price come first: set "
                    "`price` in its entry"
                )


def _short_limits(route: Route, retries: Retries) -> Iterator[str]:
    several = len(route.places) > 1
    deadline = spelled_value("deadline", retries.deadline)
    if several and retries.attempts == 1:
        yield "one attempt is too few for its other targets: set `retries: {attempts: 2}` or more"
    if route.first_content is not None and several and route.first_content >= retries.deadline:
        shown = spelled_value("first_content", route.first_content)
        yield (
            f"`first_content` ({shown}) is not shorter than `deadline` ({deadline}), so no target follows a silent one"
        )
    if route.hedge is not None and route.hedge.after != "p95":
        patience = retries.deadline if route.first_content is None else route.first_content
        if route.hedge.after >= patience:
            yield "`hedge.after` is not shorter than the timeout of a target, so there is never a second request"
