"""The payers of a client's requests: a plan with the client's own login, or the key of an entry."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from configfile.document import ConfigError
from gateway.commands.choosing import CODEX_KNOWS, TIERS
from gateway.commands.client import Client
from gateway.commands.logins import LOGINS
from gateway.config.model_entry import ModelEntry
from gateway.config.settings import Config
from gateway.config_files.loading import load
from gateway.routing.plan import Candidate
from gateway.routing.router import Router
from providers.catalog.prices import SUBSCRIPTION
from streams.errors import GatewayError
from streams.events import UNAVAILABLE

_OWN_MODELS: Final = {"claude": "claude-sonnet-5-5", "codex": CODEX_KNOWS[0]}
"""Models that these clients request by names of their own."""

_MODELS: Final = ("model", "small", "pinned", *TIERS)
_VARIABLE: Final = re.compile(r"\$\{?(\w+)\}?")


def payer_lines(config: Config, client: Client, models: Mapping[str, object], *, login: bool) -> Iterator[str]:
    """Yield lines that state who pays for the ``models`` of ``client``, in the order of their targets, and how to
    choose.

    With ``login``, the client sends its own login."""
    names = list(dict.fromkeys(str(models[name]) for name in _MODELS if models.get(name)))
    if not names and client.name in _OWN_MODELS:
        names = [_OWN_MODELS[client.name]]
    targets = {name: _candidates(config, name) for name in names}
    found = _chains_text(targets, client, login=login)
    if found:
        yield f"Who pays: {found}."
    if any(_takes_login(client, entry) for entry in config.entries):
        if not login:
            yield "To use your plan: add --login."
        elif others := _chains_text(targets, client, login=False):
            yield f"Without --login: {others}."
    free = next((one.name for one in config.entries if _is_free(one) and f"{one.name} (free" not in found), None)
    if found and free is not None and not login:
        yield f"To pay nothing: --model {free}."


def _chains_text(targets: Mapping[str, Sequence[Candidate]], client: Client, *, login: bool) -> str:
    """Return the payers of each name, without the names if all have the same."""
    chains: dict[str, list[str]] = {}
    for name, candidates in targets.items():
        if chain := _chain_text([one for one in candidates if _pays(one, client, login=login)]):
            chains.setdefault(chain, []).append(name)
    if len(chains) == 1:
        return next(iter(chains))
    return "; ".join(f"{', '.join(names)}: {chain}" for chain, names in chains.items())


def _is_free(entry: ModelEntry) -> bool:
    return not entry.wildcard and entry.price is not None and entry.price.origin == "free"


def _candidates(config: Config, name: str) -> Sequence[Candidate]:
    """Return the targets of ``name``, with variables in place of their keys; none if it is unknown."""
    assert config.path is not None
    try:
        return Router(load(config.path, None)).plan(name, "chat").candidates
    except (ConfigError, GatewayError):
        return ()


def _takes_login(client: Client, entry: ModelEntry) -> bool:
    return client.name in LOGINS and LOGINS[client.name].passes(entry)


def _pays(one: Candidate, client: Client, *, login: bool) -> bool:
    """Return whether requests of ``client`` reach the target: without a login, it skips those that need one."""
    return not one.target.entry.passthrough_auth or (login and _takes_login(client, one.target.entry))


def _chain_text(candidates: Sequence[Candidate]) -> str:
    """Return the payers in their order, each once, with the failures of others or kinds of requests that lead to it."""
    payers: dict[str, str] = {}
    for one in candidates:
        free = "free" if one.target.price is not None and one.target.price.origin == "free" else ""
        after = "" if one.when >= UNAVAILABLE or not payers else f"after {', '.join(sorted(one.when))}"
        notes = "; ".join(filter(None, (free, f"for {', '.join(sorted(one.kinds))}" if one.kinds else after)))
        payers.setdefault(one.target.place if free else _payer(one), f" ({notes})" if notes else "")
    return ", then ".join(payer + notes for payer, notes in payers.items())


def _payer(one: Candidate) -> str:
    entry, key, price = one.target.entry, one.target.entry.key, one.target.price
    if entry.passthrough_auth:
        return "your plan"
    variable = _VARIABLE.fullmatch(str(key or ""))
    if variable is not None:
        source = variable[1]
    elif key is not None:
        source = f"the key of {entry.name}"
    else:
        source = f"your account at {entry.provider.display_name}"
    return f"a plan ({source})" if price is not None and price.origin == SUBSCRIPTION.origin else source
