"""Writers of two generated texts: the tables of keys in ``docs/configuration-reference.md``, from the classes that
declare the keys, and the README's list of missing features, from the table that ``trigate check`` uses.

``python -m tests.pages.configuration`` writes them; ``tests/docs/test_configuration.py`` keeps them true.
"""

import re
import textwrap
from collections.abc import Collection, Iterator, Mapping
from typing import Any, get_args, get_origin

import attrs

from configfile.json_schema import spell_default
from configfile.keys import Field, is_literal, keys_of, kind_of, present
from configfile.kinds import PLAIN
from gateway.config import (
    aliases,
    allowances,
    amounts,
    attempts,
    clients,
    endpoints,
    limits,
    listening,
    model_entry,
    own_providers,
    patterns,
    price_table,
    settings,
    sign_ins,
    state_storage,
)
from gateway.config.unknown import ABSENT
from gateway.features.answer_cache import settings as cached_answers
from gateway.features.cache_acts import changes as cache_acts
from gateway.features.kept_ledger import settings as kept_ledger
from gateway.features.known import features
from gateway.features.live_view import feature as live_view
from gateway.features.mcp import feature as mcp_settings
from gateway.features.metrics import feature as metrics_settings
from gateway.features.notices import feature as notices
from gateway.features.people import settings as people
from gateway.features.prompt_caches import feature as prompt_caches
from gateway.features.realtime import feature as realtime
from gateway.features.request_members import settings as request_members
from gateway.features.secret_stores import feature as secret_stores
from gateway.features.shadow import feature as shadow
from gateway.features.steps import settings as steps
from gateway.features.steps.kinds import KINDS
from gateway.features.tracing import feature as tracing_settings
from gateway.features.web_search.feature import WebSearchSettings
from providers.endpoints.embeddings.traits import EmbeddingTraits
from providers.neutral.quirks import Quirks
from streams.timeouts import Timeouts
from tests.support.repository import ROOT

PAGE = ROOT / "docs/configuration-reference.md"
README = ROOT / "README.md"
HEAD = ("key", "type (default)", "meaning")
AS_CLIENTS = "As a client's."
PLURALS = {
    "number of dollars": "dollar amounts",
    "path": "paths",
    "text": "texts",
    "text or file": "texts or files",
    "whole number": "whole numbers",
}

DECLARED: Mapping[str, type] = {
    "Root": settings.Config,
    "listeners": listening.Listener,
    "tls": listening.TlsSettings,
    "model_providers": model_entry.ModelEntry,
    "quirks": Quirks,
    "endpoints": endpoints.EndpointPlace,
    "embeddings": EmbeddingTraits,
    "images": endpoints.ImageSettings,
    "prompt_cache of an entry": cache_acts.EntryPromptCache,
    "providers": own_providers.ProviderSettings,
    "aws": sign_ins.AwsSignIn,
    "google": sign_ins.GoogleSignIn,
    "azure": sign_ins.AzureSignIn,
    "price": price_table.PriceTable,
    "model_aliases": aliases.Route,
    "targets": aliases.RouteTarget,
    "shadow": shadow.Shadow,
    "model_names": patterns.ModelNames,
    "retries": attempts.Retries,
    "circuit": attempts.CircuitSettings,
    "ratelimits": allowances.RateLimits,
    "request": request_members.RequestMembers,
    "Limits by a header": allowances.HeaderLimit,
    "routing_preferences": aliases.RoutingPreference,
    "client_keys": clients.ClientKey,
    "client_groups": clients.ClientGroup,
    "opening_spend": amounts.OpeningSpend,
    "Several keys": clients.AcceptedKey,
    "issuers": people.TrustedIssuer,
    "admit": people.AdmitRule,
    "login": people.IssuerLogin,
    "mcp_servers": mcp_settings.McpServer,
    "notify": notices.Receiver,
    "steps": steps.StepSettings,
    "for": steps.StepScope,
    **{row.name: row.settings_class for row in KINDS.values()},
    "counters": state_storage.CounterSettings,
    "web_search": WebSearchSettings,
    "cache": cached_answers.AnswerCacheSettings,
    "cache of a name or a client": cached_answers.CacheUse,
    "ui": live_view.UiSettings,
    "prompt_cache": prompt_caches.PromptCacheSettings,
    "prompt_caching": cache_acts.PlanoPromptCaching,
    "state_storage": state_storage.StateStorage,
    "secret_stores": secret_stores.SecretStoreSettings,
    "tracing": tracing_settings.TracingSettings,
    "timeouts": Timeouts,
    "limits": limits.Limits,
    "Shares": limits.ClientLimits,
    "overrides": settings.Overrides,
}


LIKE_CLIENTS: Collection[type] = (clients.ClientGroup, people.AdmitRule)
"""Classes that share keys with a client."""

INLINED: Collection[type] = (
    realtime.RealtimeLimits,
    realtime.RealtimeGrant,
    attempts.Hedge,
    allowances.QueueSettings,
    allowances.HeaderSelector,
    allowances.TokenLimit,
    request_members.Instructions,
    aliases.SelectionPolicy,
    aliases.EntryPreference,
    people.OwnKeyLimits,
    people.ClaimNames,
    people.IssuerFetch,
    people.SessionSettings,
    steps.StepRefusal,
    kept_ledger.KeptLedgerSettings,
    secret_stores.VaultSettings,
    metrics_settings.MetricsSettings,
)
"""Classes whose keys are in the table of the class above, such as `hedge.after`."""


def classes_of_features() -> Iterator[tuple[str, type]]:
    """Yield the name and the class of each mapping that a feature adds to another class."""
    for keys in (keys for feature in features() for keys in feature.keys):
        for field in keys_of(keys.keys).values():
            for kind in (field.type, *get_args(field.type)):
                if isinstance(kind, type) and attrs.has(kind) and kind not in {*DECLARED.values(), *INLINED}:
                    yield field.name, kind


CLASSES: Mapping[str, type] = {**DECLARED, **dict(classes_of_features())}
"""The class whose keys the first table under each heading lists."""

PARTS: Mapping[type, type] = {
    price_table.TierPrice: price_table.PriceTable,
    price_table.TokenPrice: price_table.TierPrice,
}
"""Classes whose keys another class has too, which describes them."""

HEADINGS: Mapping[type, str] = {cls: heading for heading, cls in CLASSES.items()}

OWN_HEADINGS: Mapping[str, str] = {
    "budgets": "budgets",
    "cors": "Browsers",
    "hosts": "Browsers",
    "pass_headers": "Passed headers",
    "sign_in": "sign_in",
    "speaks": "speaks",
    "stored_keys": "stored_keys",
}
"""Sections that explain a key, if its type does not lead there."""

TYPES: Mapping[str, str] = {
    "true or false": "boolean",
    "whole number": "integer",
    "whole number, above 0": "integer > 0",
    "duration, above 0": "duration > 0",
    "number of dollars": "dollars",
    "list of texts": "texts",
    "mapping of texts": "mapping",
    "mapping of dollar amounts": "mapping",
    "depends on the model": "by model",
    "depends on the provider": "by provider",
    "none": "",
}
"""Shorter words in the tables, which the page explains first."""

WITHOUT_EFFECT: Mapping[str, type] = {
    "": settings.Config,
    "listeners[].": listening.Listener,
    "listeners.": listening.LegacyListeners,
    "model_providers[].routing_preferences[].": aliases.EntryPreference,
    "routing_preferences[].": aliases.RoutingPreference,
    "overrides.": settings.Overrides,
    "tracing.": tracing_settings.TracingSettings,
    "prompt_caching.": cache_acts.PlanoPromptCaching,
}


def read_keys(cls: type) -> list[Field]:
    """Return the keys of a class that have an effect."""
    return [field for field in keys_of(cls).values() if field.key.ignored is None]


def tables() -> dict[str, str]:
    """Return the table under each heading."""
    found = {heading: _table(HEAD, rows(kind)) for heading, kind in CLASSES.items()}
    found["Kinds of steps"] = _table(("kind", "at", "action", "finds"), [*_kinds()])
    ignored: dict[str, list[str]] = {}
    for prefix, cls in WITHOUT_EFFECT.items():
        for field in keys_of(cls).values():
            if field.key.ignored is not None:
                ignored.setdefault(field.key.ignored, []).append(f"`{prefix}{field.name}`")
    found["Accepted without effect"] = _table(
        ("keys", "why"), [(", ".join(keys), why) for why, keys in ignored.items()]
    )
    return found


def _kinds() -> Iterator[tuple[str, ...]]:
    """Yield the defaults of each built-in kind of step."""
    for row in KINDS.values():
        at = " and ".join(f"`{moment}`" for moment in row.at)
        yield f"`{row.name}`", at, "the service's" if row.action is None else f"`{row.action}`", row.meaning


def rows(cls: type) -> list[tuple[str, ...]]:
    """Return the rows of a class, with one for all keys that work as those of a client."""
    found = [*_rows(cls, "", needed=True)]
    clients_own = {*_rows(clients.ClientKey, "", needed=True)} if cls in LIKE_CLIENTS else set()
    same = [row[0] for row in found if row in clients_own or row[2] == AS_CLIENTS]
    merged = (", ".join(same), "as in [client_keys](#client_keys)", AS_CLIENTS)
    return [merged if row[0] in same[:1] else row for row in found if row[0] not in same[1:]]


def _rows(cls: type, above: str, *, needed: bool) -> Iterator[tuple[str, ...]]:
    """Yield the rows of a class below the key ``above``. The keys of an inlined mapping replace its own row."""
    for field in read_keys(cls):
        described = describe_type(field.type)
        default = _shorten(spell_default(field))
        inlined = dict.fromkeys(kind for kind in _classes_in(field.type) if kind in INLINED)
        if not (inlined and described in ("mapping", "list")):
            shown = f"required in `{above.rstrip('[].')}`" if default == "required" and not needed else default
            type_and_default = _shorten(described) + (f" ({shown})" if shown else "")
            yield _linked_name(field, above), type_and_default, _meaning_of(field)
        for kind in inlined:
            item = "[]" if described == "list" else ""
            yield from _rows(kind, f"{above}{field.name}{item}.", needed=needed and field.required)


def _shorten(words: str) -> str:
    return TYPES.get(words, words)


def _linked_name(field: Field, above: str) -> str:
    """Return the name of a key with a link to the section about its value, if there is one."""
    heading = OWN_HEADINGS.get(field.name)
    heading = heading or next((HEADINGS[cls] for cls in _classes_in(field.type) if cls in HEADINGS), None)
    name = f"`{above}{field.name}`"
    return f"[{name}](#{heading.lower().replace(' ', '-')})" if heading else name


def _classes_in(of: Any) -> Iterator[type]:
    """Yield the classes of keys in a type."""
    if isinstance(of, type) and attrs.has(of):
        yield of
    for part in (*get_args(of), *(part for kind in (kind_of(of),) if kind is not None for part in kind.parts)):
        yield from _classes_in(part)


def _meaning_of(field: Field) -> str:
    return " ".join(filter(None, (field.key.meaning, "*Restart.*" if field.key.restart else "")))


def describe_type(of: Any) -> str:
    """Return a description of the values of a type, for the page."""
    of = present(of)
    kind = kind_of(of) or PLAIN.get(of)
    if kind is not None:
        return kind.words
    parts = get_args(of)
    if is_literal(of):
        quoted = [f"`{word}`" for word in parts]
        return " or ".join(filter(None, (", ".join(quoted[:-1]), quoted[-1])))
    if get_origin(of) is tuple:
        item = _describe_item(parts[0])
        return f"list of {item}" if item else "list"
    if get_origin(of) in (dict, Mapping):
        item = _describe_item(parts[1])
        return f"mapping of {item}" if item else "mapping"
    assert attrs.has(of), of
    return "mapping"


def _describe_item(of: Any) -> str:
    """Return a description of items that are one kind of value, else an empty text."""
    kind = kind_of(of) or PLAIN.get(of)
    return "" if kind is None else PLURALS.get(kind.words, kind.words)


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ("|" + "|".join(f" {cell} " if cell else " " for cell in map(_escape_pipes, row)) + "|" for row in rows)
    return "\n".join(lines) + "\n"


def _escape_pipes(cell: str) -> str:
    return cell.replace("|", "\\|")


def page(text: str) -> str:
    """Return ``text`` with the present tables of keys. Raise ``LookupError`` for a heading without a table."""
    for heading, table in tables().items():
        pattern = rf"(^##+ {re.escape(heading)}\n(?:(?!^#|^\|).*\n)*)(?:^\|.*\n)+"
        text, count = re.subn(pattern, lambda match, new=table: match[1] + new, text, count=1, flags=re.M)
        if not count:
            raise LookupError(f"no table under {heading}")
    return text


def defaults(cls: type) -> dict[str, Any]:
    """Return the keys whose default is one value, with that value as a file would have it."""
    shown = {field.name: spell_default(field) for field in read_keys(cls)}
    return {name: text.strip("`") for name, text in shown.items() if re.fullmatch(r"`[^`]+`", text)}


def readme(text: str) -> str:
    """Return ``text`` with its list of missing features renewed. Raises ``LookupError`` if it has no such list."""
    lines = [textwrap.fill(f"- **{row.title}**: {row.says}.", 120, subsequent_indent="  ") for row in ABSENT]
    written = "".join(f"{line}\n" for line in lines)
    place = r"(^## Missing features\n(?:(?!^#|^-).*\n)*)(?:^(?:-|  ).*\n)+"
    text, count = re.subn(place, lambda match: match[1] + written, text, flags=re.M)
    if not count:
        raise LookupError("no list of missing features")
    return text


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
    README.write_text(readme(README.read_text()))
