"""The models that can be asked for: the entries of ``model_providers``."""

import re
from collections.abc import Mapping
from typing import Final

import attrs

from configfile.document import Path
from configfile.expanded import Unresolved
from configfile.wording import describe, nearest, one_of
from gateway.config.attempts import changed_circuit, changed_retries
from gateway.config.budgets import build_budgets
from gateway.config.endpoints import build_endpoints, embedding_traits
from gateway.config.findings import Findings
from gateway.config.kinds import Url
from gateway.config.names import Names
from gateway.config.own_providers import OwnProvider, id_of
from gateway.config.prices import build_price
from gateway.config.ratelimits import build_queue, build_ratelimits
from gateway.config.schema import RawConfig, RawEntry, given
from gateway.config.settings import CircuitSettings, Keeper, ModelEntry, RealtimeLimits, Retries, SignIn
from gateway.config.sign_ins import build_sign_in
from gateway.config.timeouts import changed
from gateway.http.passing import reason_never
from providers.catalog import providers as catalog
from providers.catalog.provider import Provider, Speaks, api_path, is_of_messages
from streams.events import APIS, Api
from streams.pipe import Timeouts

_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_ANY_ADDRESS = "give it a base_url (and a provider_interface unless it speaks OpenAI's Chat)"
_NOT_TO_SET = {"connection", "content-length", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}


@attrs.frozen
class Entries:
    """The entries that could be made, with the ``paths`` of where they stand, by their names. Where they are not
    ``complete``, a name that is none of theirs may be good."""

    made: tuple[ModelEntry, ...]
    names: Names
    complete: bool
    paths: Mapping[str, Path] = attrs.field(factory=dict)


TAKEN_STEPS: Final = frozenset(
    ("v1", "v2", "v1beta", "v1alpha", "v1beta1", "ui", "metrics", "healthz", "readyz", "livez", "health", "ready",
     "live", "upload", "download", "ws", "model", "models", "chat", "messages", "responses", "conversations",
     "projects", "publishers", "")
)  # fmt: skip
"""Steps with which paths of the gateway's own begin, so that no entry's can."""

_PATH_NAME: Final = re.compile(r"[A-Za-z0-9._-]+(?:/(?:[A-Za-z0-9._:@-]+|\*))*")


@attrs.frozen
class EntryDefaults:
    """What holds for an entry that says nothing else: the root's settings."""

    timeouts: Timeouts
    retries: Retries | None
    circuit: CircuitSettings
    providers: Mapping[str, OwnProvider] = attrs.field(factory=dict)


def build_entries(raw: RawConfig, defaults: EntryDefaults, findings: Findings) -> Entries:
    key, items = _items(raw, findings)
    entries: dict[str, ModelEntry] = {}
    paths: dict[str, Path] = {}
    complete = True
    default_names: dict[str, str] = {}
    for i, item in enumerate(items):
        path = (key, i)
        if item is None and path not in findings.faulty:
            findings.wrong(path, "an empty item", "each item needs a model")
        entry = None if item is None else _entry(item, path, defaults, findings)
        if item is None or entry is None:
            complete = False
            continue
        if entry.default and (first := default_names.setdefault(entry.type_of(entry.model), entry.name)) != entry.name:
            found = f"{first} is the default already"
            findings.wrong((*path, "default"), found, "only one model of a type can be the default")
        if entry.name in entries:
            found = f"the name {entry.name} is taken already"
            findings.wrong((*path, "name" if item.name else "model"), found, "give each a `name` of its own")
        entries.setdefault(entry.name, entry)
        paths.setdefault(entry.name, path)
    made = tuple(entries.values())
    return Entries(made, Names(made, {}), complete, paths)


def _items(raw: RawConfig, findings: Findings) -> tuple[str, tuple[RawEntry | None, ...]]:
    if raw.model_providers is not None and raw.llm_providers is not None:
        findings.wrong(("llm_providers",), "given beside model_providers", "they are two names for one key: keep one")
    key = "llm_providers" if raw.model_providers is None and raw.llm_providers is not None else "model_providers"
    items = getattr(raw, key) or ()
    if not items and not any(path[0] in ("model_providers", "llm_providers") for path in findings.faulty):
        findings.wrong((key,), "no providers", "list at least one, such as `- model: openai/gpt-4o`")
    return key, items


def _entry(raw: RawEntry, path: Path, defaults: EntryDefaults, findings: Findings) -> ModelEntry | None:
    prefix, slash, model = raw.model.partition("/")
    if not (prefix and slash and model):
        if not isinstance(raw.model, Unresolved):
            found = f"{describe(raw.model)} names no provider" if not slash else describe(raw.model)
            findings.wrong((*path, "model"), found, "write <provider>/<model id>, or <provider>/* for all its models")
        return None
    own = defaults.providers.get(id_of(prefix))
    raw = raw if own is None else own.of_entry(raw)
    provider, raw = _provider(raw, path, prefix, own, findings)
    if provider is None:
        return None
    if raw.default and model == "*":
        findings.wrong((*path, "default"), f"{raw.model} is no single model", "a wildcard cannot be the default")
    _check_headers(raw, path, findings)
    name = raw.name or raw.model
    speaks = _speaks(raw, path, provider, findings)
    _check_probe(raw, path, provider, findings)
    sign_in = build_sign_in(raw, path, provider, findings)
    _note(name, raw, provider, sign_in, findings)
    counts_cached = {"counts_cached": provider.quirks.counts_cached, **(raw.quirks or {})}["counts_cached"]
    ratelimits = build_ratelimits(raw.ratelimits, (*path, "ratelimits"), findings, counts_cached=counts_cached)
    return ModelEntry(
        name=name,
        provider=provider,
        model=model,
        key=None if raw.passthrough_auth else raw.access_key or None,
        sign_in=sign_in,
        base_url=raw.base_url,
        default=raw.default,
        passthrough_auth=raw.passthrough_auth,
        passthrough=_passes(name, raw, path, findings),
        headers=tuple(raw.headers.items()),
        http_host=raw.http_host,
        pass_headers=tuple(name.lower() for name in raw.pass_headers),
        speaks=speaks,
        pinned=frozenset(raw.speaks or ()),
        quirks=raw.quirks or {},
        timeouts=changed(defaults.timeouts, raw.timeouts),
        on_disconnect=raw.on_disconnect,
        state=_keeper(raw, path, speaks, findings),
        usage=raw.usage,
        retries=None if raw.retries is None else changed_retries(defaults.retries, raw.retries),
        realtime=RealtimeLimits(**given(raw.realtime)),
        circuit=None
        if raw.circuit is None
        else changed_circuit(defaults.circuit, raw.circuit, (*path, "circuit"), findings),
        probe=raw.probe,
        endpoints=build_endpoints(
            raw.endpoints, provider, raw.base_url or (None if own is None else own.given.base_url), path, findings
        ),
        embeddings=embedding_traits(raw.embeddings),
        inlines_images=raw.images.inline,
        ratelimits=ratelimits,
        queue=build_queue(raw.queue, name, ratelimits, findings),
        budgets=build_budgets(raw.budgets, path, findings),
        price=build_price(raw.price, provider.id, model, (*path, "price"), findings),
        written=raw.model,
        type=raw.type,
    )


def _passes(name: str, raw: RawEntry, path: Path, findings: Findings) -> bool:
    """Whether any request passes to it, at a path that begins with its name."""
    if not raw.passthrough:
        return False
    start = name.split("/")[0]
    if start in TAKEN_STEPS or not _PATH_NAME.fullmatch(name):
        found = f"{name} cannot stand at the beginning of a path"
        advice = "give the entry a `name` of letters, digits, `-`, `_` and `.` that no path of the gateway begins with"
        findings.wrong((*path, "passthrough"), found, advice)
    return True


def _provider(
    raw: RawEntry, path: Path, prefix: str, own: OwnProvider | None, findings: Findings
) -> tuple[Provider | None, RawEntry]:
    """Return the configuration's ``own`` row or the catalogue's for the address of an entry, or for an unknown provider
    one that speaks like its ``provider_interface``; and the entry with its whole address."""
    provider = _known(raw, prefix) if own is None else own.row
    if provider is None or (provider.local and raw.provider_interface is not None):
        provider = _own_provider(raw, path, prefix, provider, findings)
    elif raw.provider_interface is not None:
        findings.warn(f"{raw.model}: provider_interface is ignored, {prefix} is a known provider")
    if provider is None:
        return None, raw
    raw = _addressed(raw, provider, findings)
    settings = _settings(raw)
    _check_settings(settings, path, provider, findings)
    at = _of_entry(provider.settled(settings).at(raw.base_url), raw)
    if path in findings.faulty:
        return (at if raw.base_url is not None or at.base_url is not None else None), raw  # the mistake is reported
    if at.base_url is None and raw.base_url is None:
        like = f", such as {at.address}" if at.address else ""
        found = f"{at.display_name} has no address that is the same for all"
        findings.wrong(path, f"{raw.model} has no base_url", f"{found}: give it yours{like}")
    elif lacking := at.lacking(raw.base_url):
        found = f"{raw.model} has no {' and no '.join(lacking)}"
        findings.wrong(path, found, f"{at.display_name}'s address needs it: give it yours, or a base_url")
    return at, raw


def _addressed(raw: RawEntry, provider: Provider, findings: Findings) -> RawEntry:
    """Return ``raw`` with the whole of its ``base_url``, and report what is doubtful about that."""
    base_url = raw.base_url
    if base_url is None or isinstance(base_url, Unresolved):
        return raw
    speaks: dict[Api, Api] = {**provider.speaks, **dict((raw.speaks or {}).items())}
    name, spoken = raw.name or raw.model, frozenset(speaks.values())
    if end := api_path(base_url):
        findings.warn(f"{name}: base_url ends with {end}, the path of an API, which the gateway adds: leave that out")
    if "messages" not in spoken and "messages" not in provider.places and is_of_messages(base_url):
        found = f"{name}: base_url is an address for the Messages API, and requests to it are in Chat"
        findings.warn(f"{found}: write `speaks: [messages]`")
    return attrs.evolve(raw, base_url=Url(provider.completed(base_url, spoken)))


def _known(raw: RawEntry, prefix: str) -> Provider | None:
    """The catalogue's row; ``None`` where the name is a server's of one's own, which has an interface and an address
    that is none of the row's: files have such names from before there was a row."""
    provider = catalog.find(prefix)
    if provider is None or raw.provider_interface is None or raw.base_url is None:
        return provider
    return None if provider.settled(_settings(raw)).lacking(raw.base_url) else provider


def _settings(raw: RawEntry) -> dict[str, str]:
    """What the entry says for the addresses of its provider."""
    found = {"region": raw.region, "project": raw.project, "location": raw.location}
    return {name: value for name, value in found.items() if value is not None}


def _check_settings(settings: Mapping[str, str], path: Path, provider: Provider, findings: Findings) -> None:
    known = provider.lacking(None)
    for name in settings:
        if name not in known:
            found = f"{provider.display_name}'s address has no {name}"
            header = " (OpenAI's goes as a header: `headers: {openai-project: …}`)" if name == "project" else ""
            findings.wrong((*path, name), found, f"leave it out{header}")


def _of_entry(row: Provider, raw: RawEntry) -> Provider:
    """``row`` for the entry's model, where it has one alone."""
    model = raw.model.partition("/")[2]
    return row if model == "*" else row.of_model(model)


def _own_provider(
    raw: RawEntry, path: Path, prefix: str, local: Provider | None, findings: Findings
) -> Provider | None:
    """A provider that the catalogue does not know, or a ``local`` server that is said to speak otherwise."""
    near = _near(prefix)
    if local is None and raw.base_url is None:
        if path not in findings.faulty:
            findings.wrong((*path, "model"), f"unknown provider {prefix!r}", _ANY_ADDRESS, near)
        return None
    if local is None and near is not None and findings.first(prefix):
        findings.warn(
            f"{raw.model}: no provider is called {prefix}, so this is taken for a server of your own that speaks "
            f"Chat: did you mean {near}?"
        )
    interface = catalog.find(raw.provider_interface) if raw.provider_interface is not None else None
    if raw.provider_interface is not None and interface is None:
        found = f"unknown interface {describe(raw.provider_interface)}"
        known = one_of(catalog.CATALOG)
        findings.wrong((*path, "provider_interface"), found, known, _near(raw.provider_interface))
    own = catalog.generic(prefix, interface)
    return own if local is None else attrs.evolve(own, display_name=local.display_name, base_url=local.base_url)


def _near(word: str) -> str | None:
    """The provider that was probably meant: it differs in a letter or two, and not in the first. ``my-openai`` is a
    name of one's own."""
    near = nearest(word.lower(), (*catalog.CATALOG, *catalog.ALIASES), 0.8)
    return None if near is None or near in word or near[0] != word[0].lower() else near


def _speaks(raw: RawEntry, path: Path, provider: Provider, findings: Findings) -> Speaks:
    for upstream in dict.fromkeys((raw.speaks or {}).values()):
        if upstream not in provider.paths:
            found = f"{provider.display_name} cannot be asked in {upstream} here"
            other = f", and more where base_url ends with {' or '.join(provider.by_path)}" if provider.by_path else ""
            findings.wrong((*path, "speaks"), found, f"it speaks {', '.join(provider.paths)}{other}")
    own: dict[Api, Api] = dict((raw.speaks or {}).items())
    speaks = {**provider.speaks, **own}
    return {api: speaks[api] for api in (*APIS, *provider.speaks) if api in speaks}


def _keeper(raw: RawEntry, path: Path, speaks: Speaks, findings: Findings) -> Keeper | None:
    if raw.state == "upstream" and (api := speaks.get("responses")) != "responses":
        found = f"it is asked in {api or 'no API'} for Responses clients, which keeps no state"
        findings.wrong((*path, "state"), found, "write `ours`, or `speaks: [responses]` if it has that API")
    return raw.state


def _check_probe(raw: RawEntry, path: Path, provider: Provider, findings: Findings) -> None:
    """A provider is asked nothing that no client has asked for (BerriAI/litellm#7000)."""
    if raw.probe is not None and raw.base_url is None and not provider.local:
        found = f"{provider.display_name} is nobody's own server"
        findings.wrong((*path, "probe"), found, "leave it out: its health is known by the requests that it gets")


def _check_headers(raw: RawEntry, path: Path, findings: Findings) -> None:
    for name in raw.headers:
        if not _HEADER.fullmatch(name) or name.lower() in _NOT_TO_SET:
            advice = "use http_host" if name.lower() == "host" else "name a header that may be set on a request"
            findings.wrong((*path, "headers", name), f"{name!r} cannot be set", advice)
    for i, name in enumerate(raw.pass_headers):
        if not _HEADER.fullmatch(name.removesuffix("*")):
            advice = "name a header, with a * at its end for all that begin so"
            findings.wrong((*path, "pass_headers", i), describe(name), advice)
        elif (reason := reason_never(name.lower())) is not None:
            findings.wrong((*path, "pass_headers", i), f"{name!r} cannot be passed", reason)
    if raw.http_host is not None and not re.fullmatch(r"[\x21-\x7e]+", raw.http_host):
        findings.wrong((*path, "http_host"), describe(raw.http_host), "this must be a host name")


def _note(name: str, raw: RawEntry, provider: Provider, sign_in: SignIn | None, findings: Findings) -> None:
    if raw.passthrough_auth and raw.access_key is not None:
        findings.warn(f"{name}: passthrough_auth and access_key are both set: access_key is ignored")
    if raw.access_key == "":
        findings.warn(f"{name}: access_key is empty: no credential will be sent")
    bare = raw.access_key is None and not raw.passthrough_auth and sign_in is None
    if bare and raw.sign_in is None and provider.key_required:
        hint = f" (access_key: ${provider.key_env})" if provider.key_env else ""
        findings.warn(f"{name}: neither access_key nor passthrough_auth: no credential will be sent{hint}")
    if provider.note and raw.speaks is None:
        findings.note(f"{provider.id}: {provider.note}")
