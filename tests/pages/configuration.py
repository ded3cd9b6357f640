"""The tables of keys in ``docs/configuration.md``, from the classes that read them and what is said of each key, and
the README's list of what is not here, from the table that ``trigate check`` answers from.

``python -m tests.pages.configuration`` writes them; ``tests/docs/test_configuration.py`` keeps them true.
"""

import re
import textwrap
from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin, get_type_hints

import attrs

from gateway.config import kinds, schema
from gateway.config.reference import KEYS
from gateway.config.unknown import ABSENT
from providers.neutral.quirks import Quirks
from tests.support.repository import ROOT

PAGE = ROOT / "docs/configuration.md"
README = ROOT / "README.md"
HEAD = ("key", "type", "default", "meaning")

PLACES: Mapping[str, type] = {
    "Root": schema.RawConfig,
    "listeners": schema.RawListener,
    "tls": schema.RawListenerTls,
    "model_providers": schema.RawEntry,
    "quirks": Quirks,
    "endpoints": schema.RawEndpoint,
    "embeddings": schema.RawEmbeddings,
    "images": schema.RawImages,
    "realtime": schema.RawRealtime,
    "providers": schema.RawProvider,
    "aws": schema.RawAwsSignIn,
    "google": schema.RawGoogleSignIn,
    "azure": schema.RawAzureSignIn,
    "price": schema.RawPrice,
    "tiers": schema.RawTierPrice,
    "above": schema.RawTokenPrice,
    "model_aliases": schema.RawAlias,
    "targets": schema.RawRouteTarget,
    "hedge": schema.RawHedge,
    "retries": schema.RawRetries,
    "circuit": schema.RawCircuit,
    "ratelimits": schema.RawRateLimits,
    "queue": schema.RawQueue,
    "Limits by a header": schema.RawRootLimit,
    "selector": schema.RawSelector,
    "limit": schema.RawTokenLimit,
    "routing_preferences": schema.RawPreference,
    "selection_policy": schema.RawSelectionPolicy,
    "Of an entry": schema.RawEntryPreference,
    "client_keys": schema.RawClientKey,
    "client_groups": schema.RawClientGroup,
    "Several keys": schema.RawAcceptedKey,
    "Past the gateway": schema.RawRealtimeGrant,
    "counters": schema.RawCounters,
    "cache": schema.RawAnswerCache,
    "Of a name or a client": schema.RawCacheUse,
    "state_storage": schema.RawStateStorage,
    "ledger": schema.RawKeptLedger,
    "metrics": schema.RawMetrics,
    "tracing": schema.RawTracing,
    "timeouts": schema.RawTimeouts,
    "limits": schema.RawLimits,
    "Shares": schema.RawClientLimits,
    "overrides": schema.RawOverrides,
}
"""The heading that the table of a class stands under."""

WITHOUT_EFFECT: Mapping[str, type] = {
    "": schema.RawConfig,
    "listeners[].": schema.RawListener,
    "listeners.": schema.RawLegacyListeners,
    "model_providers[].routing_preferences[].": schema.RawEntryPreference,
    "routing_preferences[].": schema.RawPreference,
    "overrides.": schema.RawOverrides,
    "tracing.": schema.RawTracing,
}

_WORDS: Mapping[Any, str] = {
    **dict.fromkeys((str, kinds.Version, kinds.Origin, kinds.HostName, kinds.AuditPlace, kinds.Network), "text"),
    kinds.AddressPart: "text",
    kinds.UrlPath: "path",
    kinds.KeyHeader | dict[kinds.SpokenApi, kinds.KeyHeader] | None: "`bearer`, the name of a header, or mapping",
    kinds.Secret: "text or file",
    kinds.SealingKeys: "text or file, or a list",
    **dict.fromkeys((int, kinds.Count), "whole number"),
    kinds.Natural: "whole number, above 0",
    kinds.Share: "percentage",
    kinds.Weight: "number",
    kinds.Dollars: "number of dollars",
    schema.RawPrice | Literal["free"] | None: "mapping, or `free`",
    schema.SigningIn | None: "`aws`, `google`, `azure`, `none` or mapping",
    kinds.RateAmount: "amount for a time",
    Literal[0] | schema.RawQueue | None: "mapping, or `0`",
    Literal[False] | schema.RawCacheUse | None: "mapping, or `false`",
    kinds.HeaderName: "name of a header",
    kinds.ProbePath: "path",
    dict[kinds.UnitWord, kinds.Dollars]: "mapping of number of dollars",
    kinds.EndpointPath: "path or URL",
    kinds.BodyShape: "text",
    dict[kinds.EndpointWord, bool | kinds.EndpointPath | schema.RawEndpoint]: "mapping",
    kinds.Reason: "text",
    Literal[False] | kinds.HeaderName | None: "`auto`, `false` or the name of a header",
    kinds.Wait | Literal["p95"]: "duration, or `p95`",
    tuple[schema.RawRouteTarget | tuple[schema.RawRouteTarget, ...], ...]: "list of names, mappings and lists",
    bool: "true or false",
    bool | schema.RawMetrics: "true, false or mapping",
    kinds.Url: "URL",
    kinds.Digest: "64 hexadecimal digits",
    kinds.Port: "1 to 65535",
    kinds.Percent: "0 to 100",
    kinds.CertificateName: "text",
    kinds.Mode: "three octal digits",
    kinds.Timestamp: "date or time",
    tuple[kinds.Budget, ...]: "list of amounts",
    kinds.ZoneName: "name of a time zone",
    kinds.Duration: "duration",
    kinds.Wait: "duration, above 0",
    kinds.Size: "size",
    kinds.Speaking: "list or mapping",
    kinds.QuirkChanges: "mapping",
}
"""What a value of each kind looks like."""


def effective(kind: type) -> tuple[str, ...]:
    """The keys of a class that are read."""
    return tuple(
        field.name for field in attrs.fields(kind) if schema.ACCEPTED not in field.metadata and field.name != "unknown"
    )


def tables() -> dict[str, str]:
    """The table under each heading."""
    found = {heading: _table(HEAD, _rows(kind)) for heading, kind in PLACES.items()}
    older = [*_rows(schema.RawLegacyListeners), *_rows(schema.RawTraffic, "egress_traffic.")]
    found["The older form"] = _table(HEAD, older)
    found["Accepted without effect"] = _table(
        ("key", "why"),
        [
            (f"`{prefix}{field.name}`", field.metadata[schema.ACCEPTED])
            for prefix, kind in WITHOUT_EFFECT.items()
            for field in attrs.fields(kind)
            if schema.ACCEPTED in field.metadata
        ],
    )
    return found


def _rows(kind: type, prefix: str = "") -> list[tuple[str, ...]]:
    hints = get_type_hints(kind)
    return [(f"`{prefix}{name}`", in_words(hints[name]), key.default, key.meaning) for name, key in KEYS[kind].items()]


def in_words(kind: Any) -> str:
    """What a value of ``kind`` looks like, as the page says it. Raises ``KeyError`` for a kind that is not known."""
    if kind in _WORDS:
        return _WORDS[kind]
    if attrs.has(kind):
        return "mapping"
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Literal:
        quoted = [f"`{word}`" for word in parts]
        return " or ".join(filter(None, (", ".join(quoted[:-1]), quoted[-1])))
    if origin is tuple:
        return f"list of {in_words(parts[0])}" if parts[0] in _WORDS else "list"
    if origin is dict:
        return f"mapping of {in_words(parts[1])}" if parts[1] in _WORDS else "mapping"
    if origin is not None and type(None) in parts:
        return in_words(next(part for part in parts if part is not type(None)))
    raise KeyError(kind)


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ("|" + "|".join(f" {cell} " if cell else " " for cell in map(_escaped, row)) + "|" for row in rows)
    return "\n".join(lines) + "\n"


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|")


def page(text: str) -> str:
    """``text`` with every table of keys as it should be. Raises ``LookupError`` for a heading without one."""
    for heading, table in tables().items():
        pattern = rf"(^##+ {re.escape(heading)}\n(?:(?!^#|^\|).*\n)*)(?:^\|.*\n)+"
        text, count = re.subn(pattern, lambda match, new=table: match[1] + new, text, count=1, flags=re.M)
        if not count:
            raise LookupError(f"no table under {heading}")
    return text


def defaults(kind: type) -> dict[str, Any]:
    """The keys of a class whose default is one value, and that as it would be written in the file."""
    return {name: key.default.strip("`") for name, key in KEYS[kind].items() if re.fullmatch(r"`[^`]+`", key.default)}


def readme(text: str) -> str:
    """``text`` with the list of what is not here as it should be. Raises ``LookupError`` where it has no place."""
    lines = [textwrap.fill(f"- **{row.title}**: {row.says}.", 125, subsequent_indent="  ") for row in ABSENT]
    written = "".join(f"{line}\n" for line in lines)
    place = r"(^## Not here \(yet\)\n(?:(?!^#|^-).*\n)*)(?:^(?:-|  ).*\n)+"
    text, count = re.subn(place, lambda match: match[1] + written, text, flags=re.M)
    if not count:
        raise LookupError("no list of what is not here")
    return text


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
    README.write_text(readme(README.read_text()))
