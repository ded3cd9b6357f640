"""The entries of ``model_providers``: their derived values, and their checks."""

import re
from collections.abc import Iterable, Mapping
from typing import Final

import attrs

from configfile.document import Path
from configfile.expanded import Unresolved
from configfile.wording import describe, is_misspelling, nearest, one_of
from gateway.config.allowances import RateLimits
from gateway.config.attempts import Retries
from gateway.config.findings import Findings
from gateway.config.model_entry import Keeper, ModelEntry
from gateway.config.names import Names
from gateway.config.settings import Config
from gateway.config.sign_ins import SignIn
from gateway.config_files.allowance_checks import build_budgets, build_ratelimits
from gateway.config_files.providers import OwnProvider, id_of
from gateway.config_files.sign_ins import resolve_sign_in
from gateway.config_files.values import build_endpoints, build_price, changed_circuit, with_completed_parts
from providers.catalog import providers as catalog
from providers.catalog.provider import Provider, Speaks, api_path, is_messages_url
from streams.events import APIS, Api

_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VARIABLE_NAME = re.compile(
    r"(?:os\.environ/|process\.env\.|(?i:env[.:]))\w+|[A-Z][A-Z0-9_]*_(?:KEY|TOKEN|SECRET)|%\w+%|\$\(\w+\)|\{\{.+\}\}"
)
"""The pattern of a variable's name alone, or in the syntax of another tool."""
_ANY_ADDRESS = "set base_url (and provider_interface unless it speaks OpenAI's Chat)"
_ADDRESS_KEYS: Final = ("base_url", "region", "project", "location", "provider_interface")
_NOT_TO_SET = {"connection", "content-length", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}

_HOP: Final = "it is about one connection (RFC 9110, section 7.6.1)"
_SECRET: Final = "it holds a credential; passthrough_auth sends a client's own key on"
_WRITTEN: Final = "the gateway writes it itself"
_COMMAND: Final = "it tells a browser or a client what to do at the gateway's address"

NEVER_PASSED: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        ("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
         "trailers", "transfer-encoding", "upgrade", "expect"), _HOP
    ),
    **dict.fromkeys(
        ("authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie", "www-authenticate", "set-cookie"),
        _SECRET,
    ),
    **dict.fromkeys(
        ("host", "content-length", "content-type", "content-encoding", "accept", "accept-encoding", "date", "server",
         "cache-control", "vary", "x-accel-buffering", "x-request-id", "request-id", "x-trigate-*"), _WRITTEN
    ),
    **dict.fromkeys(
        ("clear-site-data", "nel", "report-to", "reporting-endpoints", "refresh", "link", "location",
         "content-location", "content-disposition", "content-security-policy", "strict-transport-security", "alt-svc",
         "access-control-*", "sourcemap", "x-arch-*", "x-plano-*"), _COMMAND
    ),
}  # fmt: skip
"""The headers that ``pass_headers`` cannot add, and why."""


@attrs.frozen(repr=False)
class Entries:
    """The valid entries by name, and the ``paths`` of all.

    ``names`` and ``all_entries`` also have the invalid ones, so that other parts of the file may name them. If not
    ``complete``, a name is a variable without a value, and an unknown name may be its value."""

    made: tuple[ModelEntry, ...]
    names: Names
    complete: bool
    paths: Mapping[str, Path] = attrs.field(factory=dict)
    invalid: tuple[ModelEntry, ...] = ()

    @property
    def all_entries(self) -> tuple[ModelEntry, ...]:
        return (*self.made, *self.invalid)

    def nearest(self, name: str, others: Iterable[str] = ()) -> str | None:
        """Return the entry's name, its model or the one of ``others`` that ``name`` probably means."""
        return nearest(name, (*others, *(word for entry in self.all_entries for word in (entry.name, entry.model))))


_STATEFUL: Final[tuple[Api, ...]] = ("responses", "interactions")
"""The APIs whose providers may store turns."""


def build_entries(config: Config, providers: Mapping[str, OwnProvider], findings: Findings) -> Entries:
    """Return the entries of a file, and report errors in them. ``config`` has the final defaults of entries."""
    key, items = _listed_entries(config, findings)
    entries: dict[str, ModelEntry] = {}
    paths: dict[str, Path] = {}
    invalid: list[ModelEntry] = []
    default_names: dict[str, str] = {}
    for path, item in findings.present_items(items, (key,), "add `model`"):
        entry = _build_entry(item, path, config, providers, findings)
        if entry is None:
            invalid.append(_stand_in(item.written, item.name))
            continue
        if entry.default and (first := default_names.setdefault(entry.type_of(entry.model), entry.name)) != entry.name:
            found = f"{first} is also the default"
            findings.wrong((*path, "default"), found, "set `default` for only one model of each type")
        if entry.name in entries:
            found = f"another entry has the name {entry.name}"
            findings.wrong((*path, "name" if item.name else "model"), found, "give each entry its own `name`")
        entries.setdefault(entry.name, entry)
        paths.setdefault(entry.name, path)
    invalid += (_stand_in(text) for text in findings.texts_of_dropped(key, items))
    made = tuple(entries.values())
    others = tuple(one for one in invalid if one.name not in entries and not isinstance(one.written, Unresolved))
    names = Names((*made, *others), {}, rules=config.model_names)
    is_complete = not any(isinstance(one.written, Unresolved) for one in invalid)
    return Entries(made, names, is_complete, paths, others)


def _stand_in(written: str, name: str = "") -> ModelEntry:
    """Return an entry with the names of an invalid one."""
    prefix, slash, model = written.partition("/")
    provider = catalog.find(prefix) or catalog.generic(prefix)
    return ModelEntry(written, name=name or written, provider=provider, model=model if slash else written)


def _listed_entries(config: Config, findings: Findings) -> tuple[str, tuple[ModelEntry | None, ...]]:
    if config.model_providers is not None and config.llm_providers is not None:
        findings.wrong(
            ("llm_providers",),
            "it cannot be combined with model_providers",
            "both are names of the same key: keep one",
        )
    key = "llm_providers" if config.model_providers is None and config.llm_providers is not None else "model_providers"
    items = getattr(config, key) or ()
    if not items and not findings.is_faulty((), ("model_providers", "llm_providers")):
        findings.wrong((key,), "the list is empty", "list at least one, such as `- model: openai/gpt-4o`")
    return key, items


def _build_entry(
    item: ModelEntry, path: Path, config: Config, providers: Mapping[str, OwnProvider], findings: Findings
) -> ModelEntry | None:
    """Return the entry of an ``item`` in the file."""
    prefix, slash, model = item.written.partition("/")
    if not (prefix and slash and model):
        if not isinstance(item.written, Unresolved):
            found = f"{describe(item.written)} has no provider" if not slash else describe(item.written)
            findings.wrong((*path, "model"), found, "write <provider>/<model id>, or <provider>/* for all its models")
        return None
    own = providers.get(id_of(prefix))
    item = attrs.evolve(item, name=item.name or item.written, model=model)
    item = item if own is None else _with_own_defaults(item, own)
    provider, item = _resolve_provider(item, path, prefix, own, findings)
    if provider is None:
        return None
    item = attrs.evolve(item, provider=provider)
    if item.default and model == "*":
        findings.wrong((*path, "default"), f"{item.written} is not a single model", "a wildcard cannot be the default")
    _warn_of_stars(item, findings)
    _warn_of_misspelling(item, findings)
    _check_headers(item, path, findings)
    speaks = _resolve_apis(item, path, findings)
    _check_probe(item, path, findings)
    sign_in = resolve_sign_in(item, path, findings)
    _warn_of_credentials(item, sign_in, findings)
    counts_cached = {"counts_cached": provider.quirks.counts_cached, **item.quirks}["counts_cached"]
    ratelimits = build_ratelimits(item.ratelimits, (*path, "ratelimits"), findings, counts_cached=counts_cached)
    if item.queue.size and ratelimits == RateLimits():
        findings.warn(f"{item.name}: its queue has no effect without ratelimits")
    base_url = item.base_url or (None if own is None else own.settings.base_url)
    made = attrs.evolve(
        item,
        pass_headers=tuple(name.lower() for name in item.pass_headers),
        key=None if item.passthrough_auth else item.key or None,
        sign_in=sign_in,
        speaks=speaks,
        pinned=frozenset(item.speaks),
        timeouts=findings.laid_over(config.timeouts, item.timeouts, (*path, "timeouts")),
        state=_resolve_keeper(item, path, speaks, findings),
        retries=None
        if item.retries is None
        else findings.laid_over(config.retries or Retries(), item.retries, (*path, "retries")),
        circuit=None
        if item.circuit is None
        else changed_circuit(config.circuit, item.circuit, (*path, "circuit"), findings),
        endpoints=build_endpoints(item.own_endpoints, provider, base_url, path, findings),
        ratelimits=ratelimits,
        budgets=build_budgets(item.budgets, path, findings),
        price=build_price(item.written_price, provider.id, model, (*path, "price"), findings),
    )
    return with_completed_parts(made, path, config, findings)


def _with_own_defaults(item: ModelEntry, own: OwnProvider) -> ModelEntry:
    """Return ``item`` with the defaults of its configured provider."""
    bare = item.written_sign_in is None and item.key is None and not item.passthrough_auth
    return attrs.evolve(
        item,
        headers=tuple({**dict(own.settings.headers), **dict(item.headers)}.items()),
        own_endpoints={**own.settings.own_endpoints, **item.own_endpoints},
        written_sign_in=own.settings.written_sign_in if bare else item.written_sign_in,
    )


def _resolve_provider(
    item: ModelEntry, path: Path, prefix: str, own: OwnProvider | None, findings: Findings
) -> tuple[Provider | None, ModelEntry]:
    """Return the provider row of an entry, and the entry with its whole address.

    The row is the configuration's ``own``, the catalogue's, or for an unknown provider one like its
    ``provider_interface``."""
    provider = _catalog_row(item, prefix) if own is None else own.row
    if provider is None or (provider.local and item.provider_interface is not None):
        provider = _build_row(item, path, prefix, provider, findings)
    elif item.provider_interface is not None:
        findings.warn(f"{item.written}: provider_interface is ignored, because {prefix} is a known provider")
    if provider is None:
        return None, item
    item = _complete_address(item, path, provider, findings)
    settings = _address_settings(item)
    _check_settings(settings, path, provider, findings)
    at = provider.with_settings(settings).at_base_url(item.base_url)
    at = at if item.model == "*" else at.for_model(item.model)
    if findings.is_faulty(path, _ADDRESS_KEYS):
        return (at if item.base_url is not None or at.base_url is not None else None), item  # the error is reported
    if at.base_url is None and item.base_url is None:
        like = f", such as {at.address}" if at.address else ""
        found = f"{at.display_name} has no common address"
        findings.wrong(path, f"{item.written} has no base_url", f"{found}: set yours{like}")
    elif lacking := at.missing_settings(item.base_url):
        found = f"{item.written} has no {' and no '.join(lacking)}"
        needed = f"{at.display_name}'s address needs {'it' if len(lacking) == 1 else 'them'}"
        findings.wrong(path, found, f"{needed}: set {' and '.join(f'`{name}`' for name in lacking)}, or `base_url`")
    return at, item


def _complete_address(item: ModelEntry, path: Path, provider: Provider, findings: Findings) -> ModelEntry:
    """Return ``item`` with its whole ``base_url``, and report doubts about it."""
    base_url = item.base_url
    if base_url is None or isinstance(base_url, Unresolved):
        return item
    speaks: dict[Api, Api] = {**provider.speaks, **item.speaks}
    name, apis = item.name, frozenset(speaks.values())
    if end := api_path(base_url):
        findings.warn(f"{name}: base_url ends with {end}, which the gateway adds: remove that")
    named = provider.model_in(base_url)
    if named is not None and named != item.model and not item.wildcard:
        advice = f"write `model: {item.written_provider}/{named}`"
        findings.wrong((*path, "base_url"), f"the address of {named}, not of {item.model}", advice)
    if "messages" not in apis and "messages" not in provider.places and is_messages_url(base_url):
        found = f"{name}: base_url is an address of the Messages API, but requests to it would use Chat"
        findings.warn(f"{found}: set `speaks: [messages]`")
    return attrs.evolve(item, base_url=provider.complete_base_url(base_url, apis))


def _catalog_row(item: ModelEntry, prefix: str) -> Provider | None:
    """Return the catalogue's row, ``None`` if the name means a self-hosted server.

    Such an entry has an interface and an address outside the row's: files may predate the row."""
    provider = catalog.find(prefix)
    if provider is None or item.provider_interface is None or item.base_url is None:
        return provider
    return None if provider.with_settings(_address_settings(item)).missing_settings(item.base_url) else provider


def _address_settings(item: ModelEntry) -> dict[str, str]:
    """Return the entry's settings for its provider's addresses."""
    found = {"region": item.region, "project": item.project, "location": item.location}
    return {name: value for name, value in found.items() if value is not None}


def _check_settings(settings: Mapping[str, str], path: Path, provider: Provider, findings: Findings) -> None:
    known = provider.missing_settings(None)
    for name in settings:
        if name not in known:
            found = f"{provider.display_name}'s address has no {name}"
            header = " (OpenAI's goes as a header: `headers: {openai-project: …}`)" if name == "project" else ""
            findings.wrong((*path, name), found, f"remove it{header}")


def _build_row(
    item: ModelEntry, path: Path, prefix: str, local: Provider | None, findings: Findings
) -> Provider | None:
    """Return a row for a provider that the catalogue lacks, or for a ``local`` server with another interface."""
    near = _similar_provider(prefix)
    if local is None and item.base_url is None:
        if (*path, "base_url") not in findings.faulty:
            findings.wrong((*path, "model"), f"unknown provider {prefix!r}", _ANY_ADDRESS, near)
        return None
    if local is None and near is not None and findings.first(prefix):
        findings.warn(
            f"{item.written}: {prefix} is not a known provider, so trigate assumes your own server with the Chat "
            f"API: did you mean {near}?"
        )
    interface = catalog.find(item.provider_interface) if item.provider_interface is not None else None
    if item.provider_interface is not None and interface is None:
        found = f"unknown interface {describe(item.provider_interface)}"
        known = one_of(catalog.CATALOG)
        findings.wrong((*path, "provider_interface"), found, known, _similar_provider(item.provider_interface))
    own = catalog.generic(prefix, interface, item.base_url)
    return own if local is None else attrs.evolve(own, display_name=local.display_name, base_url=local.base_url)


def _similar_provider(word: str) -> str | None:
    """Return the provider that was probably meant: it differs by a letter or two, but not the first. ``my-openai`` is a
    valid own name."""
    near = nearest(word.lower(), (*catalog.CATALOG, *catalog.ALIASES), 0.8)
    return None if near is None or near in word or near[0] != word[0].lower() else near


def _resolve_apis(item: ModelEntry, path: Path, findings: Findings) -> Speaks:
    provider = item.provider
    for upstream in dict.fromkeys(item.speaks.values()):
        if upstream not in provider.paths:
            found = f"trigate does not support {upstream} for {provider.display_name}"
            other = f", and more where base_url ends with {' or '.join(provider.by_path)}" if provider.by_path else ""
            findings.wrong((*path, "speaks"), found, f"use {', '.join(provider.paths)}{other}")
    speaks = {**provider.speaks, **item.speaks}
    return {api: speaks[api] for api in (*APIS, *provider.speaks) if api in speaks}


def _resolve_keeper(item: ModelEntry, path: Path, speaks: Speaks, findings: Findings) -> Keeper | None:
    if item.state == "upstream" and not any(speaks.get(api) == api for api in _STATEFUL):
        found = f"Responses clients use its API {speaks.get('responses') or '(none)'}, which stores no state"
        findings.wrong((*path, "state"), found, "set `ours`, or `speaks: [responses]` if it has that API")
    return item.state


def _check_probe(item: ModelEntry, path: Path, findings: Findings) -> None:
    """Report a probe of a vendor's service: the gateway sends no requests of its own there (BerriAI/litellm#7000)."""
    if item.probe is not None and item.base_url is None and not item.provider.local:
        found = f"{item.provider.display_name} is not your own server"
        findings.wrong((*path, "probe"), found, "remove it: the gateway learns its health from requests")


def _check_headers(item: ModelEntry, path: Path, findings: Findings) -> None:
    for name, _ in item.headers:
        if not _HEADER.fullmatch(name) or name.lower() in _NOT_TO_SET:
            advice = "use http_host" if name.lower() == "host" else "use a header that requests may have"
            findings.wrong((*path, "headers", name), f"{name!r} cannot be set", advice)
    for i, name in enumerate(item.pass_headers):
        if not _HEADER.fullmatch(name.removesuffix("*")):
            advice = "give the name of a header, or a prefix that ends with *"
            findings.wrong((*path, "pass_headers", i), describe(name), advice)
        elif (reason := reason_never(name.lower())) is not None:
            findings.wrong((*path, "pass_headers", i), f"{name!r} cannot be passed on", reason)
    if item.http_host is not None and not re.fullmatch(r"[\x21-\x7e]+", item.http_host):
        findings.wrong((*path, "http_host"), describe(item.http_host), "expected a host name")


def reason_never(name: str) -> str | None:
    """Return the reason why no setting can permit the header ``name``, or ``None``.

    ``name`` is in lower case and may end with ``*``."""
    for never, reason in NEVER_PASSED.items():
        ends = never.endswith("*") and name.startswith(never[:-1])
        if ends or never == name or (name.endswith("*") and never.startswith(name[:-1])):
            return reason
    return None


def _warn_of_stars(item: ModelEntry, findings: Findings) -> None:
    """Warn if a `*` is literal but looks like a pattern: only `provider/*` is one."""
    if "*" in item.model and not item.wildcard:
        every = f"{item.written_provider}/*"
        findings.warn(
            f"{item.written}: this is one model id, not a pattern; write {every} for all models of the provider"
        )
    prefix = item.name.removesuffix("/*") if item.wildcard else item.name
    if "*" in prefix and item.name != item.written:
        name = f"{prefix}/MODEL" if item.wildcard else prefix
        findings.warn(
            f"{item.name}: this name is not a pattern, so clients must request {name}; write a name without *"
        )


def _warn_of_misspelling(item: ModelEntry, findings: Findings) -> None:
    """Warn of a model that is probably a misspelled one of the catalogue, at the maker's own address."""
    models = item.provider.models if item.base_url is None and item.model != "*" else ()
    if models and item.model not in models and (near := _same_but_for_a_typo(item.model, models)) is not None:
        findings.warn(f"{item.written}: trigate knows no model {item.model}: did you mean {near}?")


def _same_but_for_a_typo(model: str, models: Iterable[str]) -> str | None:
    """Return the one of ``models`` that differs in one word, by a typing error. Another number is another version."""
    words = _WORDS.split(model)
    for other in models:
        others = _WORDS.split(other)
        pairs = [pair for pair in zip(words, others, strict=False) if pair[0] != pair[1]]
        if len(words) != len(others) or len(pairs) != 1:
            continue
        word, right = pairs[0]
        is_word = right.isalpha() and word.isalpha() and len(right) > 2
        if is_word and is_misspelling(word, right):
            return other
    return None


_WORDS: Final = re.compile(r"([-./:@])")


def _warn_of_credentials(item: ModelEntry, sign_in: SignIn | None, findings: Findings) -> None:
    if item.passthrough_auth and item.key is not None:
        findings.warn(f"{item.name}: passthrough_auth and access_key are both set, so access_key is ignored")
    if item.key and _VARIABLE_NAME.fullmatch(item.key):
        findings.warn(f"{item.name}: access_key looks like the name of a variable: write it as $NAME")
    if item.key == "":
        findings.warn(f"{item.name}: access_key is empty, so requests have no credential")
    bare = item.key is None and not item.passthrough_auth and sign_in is None
    if bare and item.written_sign_in is None and item.provider.key_required:
        hint = f" (access_key: ${item.provider.key_env})" if item.provider.key_env else ""
        findings.warn(
            f"{item.name}: neither access_key nor passthrough_auth is set, so requests have no credential{hint}"
        )
    if item.provider.note and not item.speaks:
        findings.note(f"{item.provider.id}: {item.provider.note}")
