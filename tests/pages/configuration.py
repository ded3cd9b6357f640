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
from gateway.config_files.unknown import ABSENT
from gateway.features.known import features
from gateway.named_imports import import_named
from providers.endpoints.embeddings.traits import EmbeddingTraits
from providers.neutral.quirks import Quirks
from streams.timeouts import Timeouts
from tests.pages.tables import table
from tests.support.features import rows_of
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
    "providers": own_providers.ProviderSettings,
    "aws": sign_ins.AwsSignIn,
    "google": sign_ins.GoogleSignIn,
    "azure": sign_ins.AzureSignIn,
    "price": price_table.PriceTable,
    "model_aliases": aliases.Route,
    "targets": aliases.RouteTarget,
    "model_names": patterns.ModelNames,
    "retries": attempts.Retries,
    "circuit": attempts.CircuitSettings,
    "ratelimits": allowances.RateLimits,
    "Limits by a header": allowances.HeaderLimit,
    "routing_preferences": aliases.RoutingPreference,
    "client_keys": clients.ClientKey,
    "client_groups": clients.ClientGroup,
    "opening_spend": amounts.OpeningSpend,
    "Several keys": clients.AcceptedKey,
    "counters": state_storage.CounterSettings,
    "state_storage": state_storage.StateStorage,
    "timeouts": Timeouts,
    "limits": limits.Limits,
    "Shares": limits.ClientLimits,
    "overrides": settings.Overrides,
}

OF_FEATURES: Mapping[str, str] = {
    "prompt_cache of an entry": "cache_acts.changes:EntryPromptCache",
    "shadow": "shadow.feature:Shadow",
    "request": "request_members.settings:RequestMembers",
    "issuers": "people.settings:TrustedIssuer",
    "admit": "people.settings:AdmitRule",
    "login": "people.settings:IssuerLogin",
    "mcp_servers": "mcp.feature:McpServer",
    "notify": "notices.feature:Receiver",
    "steps": "steps.settings:StepSettings",
    "for": "steps.settings:StepScope",
    "web_search": "web_search.feature:WebSearchSettings",
    "cache": "answer_cache.settings:AnswerCacheSettings",
    "cache of a name or a client": "answer_cache.settings:CacheUse",
    "ui": "live_view.feature:UiSettings",
    "prompt_cache": "prompt_caches.feature:PromptCacheSettings",
    "prompt_caching": "cache_acts.changes:PlanoPromptCaching",
    "secret_stores": "secret_stores.feature:SecretStoreSettings",
    "tracing": "tracing.feature:TracingSettings",
}
"""The classes of features whose heading is not the name of a key, below ``gateway.features``."""


INLINED_OF_FEATURES: Collection[str] = (
    "realtime.feature:RealtimeLimits", "realtime.feature:RealtimeGrant", "request_members.settings:Instructions",
    "people.settings:OwnKeyLimits", "people.settings:ClaimNames", "people.settings:IssuerFetch",
    "people.settings:SessionSettings", "steps.settings:StepRefusal", "kept_ledger.settings:KeptLedgerSettings",
    "secret_stores.feature:VaultSettings", "metrics.feature:MetricsSettings", "tracing.feature:TraceDestination",
)  # fmt: skip


def _import_of_feature(name: str) -> tuple[Any, ...]:
    """Return the object with ``name`` below ``gateway.features``, none if the gateway does not have its feature."""
    return tuple(map(import_named, rows_of(name.partition(".")[0], f"gateway.features.{name}")))


LIKE_CLIENTS: Collection[type] = (clients.ClientGroup, *_import_of_feature("people.settings:AdmitRule"))
"""Classes that share keys with a client."""

INLINED: Collection[type] = (
    attempts.Hedge, allowances.QueueSettings, allowances.HeaderSelector, allowances.TokenLimit,
    aliases.SelectionPolicy, aliases.EntryPreference,
    *(found for name in INLINED_OF_FEATURES for found in _import_of_feature(name)),
)  # fmt: skip
"""Classes whose keys are in the table of the class above, such as `hedge.after`."""

KINDS: Mapping[str, Any] = dict(pair for found in _import_of_feature("steps.kinds:KINDS") for pair in found.items())
"""The kinds of steps."""

KNOWN: Mapping[str, type] = {
    **DECLARED,
    **{heading: found for heading, name in OF_FEATURES.items() for found in _import_of_feature(name)},
    **{row.name: row.settings_class for row in KINDS.values()},
}


def classes_of_features() -> Iterator[tuple[str, type]]:
    """Yield the name and the class of each mapping that a feature adds to another class."""
    for keys in (keys for feature in features() for keys in feature.keys):
        for field in keys_of(keys.keys).values():
            for kind in (field.type, *get_args(field.type)):
                if isinstance(kind, type) and attrs.has(kind) and kind not in {*KNOWN.values(), *INLINED}:
                    yield field.name, kind


CLASSES: Mapping[str, type] = {**KNOWN, **dict(classes_of_features())}
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
    **{f"{heading}.": KNOWN[heading] for heading in ("tracing", "prompt_caching") if heading in KNOWN},
}


def read_keys(cls: type) -> list[Field]:
    """Return the keys of a class that have an effect."""
    return [field for field in keys_of(cls).values() if field.key.ignored is None]


def tables() -> dict[str, str]:
    """Return the table under each heading."""
    found = {heading: table(HEAD, rows(kind)) for heading, kind in CLASSES.items()}
    found["Kinds of steps"] = table(("kind", "at", "action", "finds"), [*_kinds()])
    ignored: dict[str, list[str]] = {}
    for prefix, cls in WITHOUT_EFFECT.items():
        for field in keys_of(cls).values():
            if field.key.ignored is not None:
                ignored.setdefault(field.key.ignored, []).append(f"`{prefix}{field.name}`")
    found["Accepted without effect"] = table(("keys", "why"), [(", ".join(keys), why) for why, keys in ignored.items()])
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


def page(text: str) -> str:
    """Return ``text`` with the present tables of keys. Raise ``LookupError`` for a heading without a table."""
    for heading, made in tables().items():
        pattern = rf"(^##+ {re.escape(heading)}\n(?:(?!^#|^\|).*\n)*)(?:^\|.*\n)+"
        text, count = re.subn(pattern, lambda match, made=made: match[1] + made, text, count=1, flags=re.M)
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
