"""The configuration file: YAML to frozen values, or every mistake in it at once.

The format is that of Plano's model gateway, v0.1 to v0.4, with a few keys of our own. ``load`` reads a file,
``from_mapping`` the same content from a program, ``discover`` finds the file.
"""

import hashlib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import attrs

from gateway.config import document, schema
from gateway.config.document import ConfigError, Document, Mistake
from gateway.config.schema import (
    RawClientKey,
    RawConfig,
    RawEntry,
    RawLegacyListeners,
    RawListener,
    RawStateStorage,
    RawTimeouts,
)
from gateway.config.settings import (
    STORAGE,
    ClientKey,
    Config,
    Entry,
    Keeper,
    Limits,
    Listener,
    StateStorage,
    StorageType,
)
from gateway.config.variables import Unresolved, Variables
from gateway.names import Names
from gateway.observing.collector import collector
from providers import catalog
from providers.catalog import Provider, Speaks
from streams.errors import GatewayError
from streams.events import APIS
from streams.pipe import Timeouts

__all__ = [
    "Config", "ConfigError", "Entry", "Limits", "Listener", "Mistake", "Timeouts", "discover", "from_mapping", "load",
]  # fmt: skip

T = TypeVar("T")

FILE_NAMES = ("trigate.yaml", "config.yaml", "plano_config.yaml")
FILE_VARIABLE = "TRIGATE_CONFIG"


def discover(cwd: Path, env: Mapping[str, str], explicit: Path | None = None) -> Path:
    """The file to read: ``explicit``, else what ``$TRIGATE_CONFIG`` names, else the first of ``FILE_NAMES`` in ``cwd``.

    Raises ``ConfigError`` that says what was looked for."""
    named = explicit or (Path(env[FILE_VARIABLE]) if env.get(FILE_VARIABLE) else None)
    if named is not None:
        path = cwd / named
        if path.is_file():
            return path
        source = "the command line" if explicit else f"${FILE_VARIABLE}"
        raise ConfigError((Mistake(str(named), "", f"no such file (named by {source})", "give the path of a file"),))
    for name in FILE_NAMES:
        if (cwd / name).is_file():
            return cwd / name
    looked = f"no configuration found: looked for ${FILE_VARIABLE} and for {', '.join(FILE_NAMES)} in {cwd}"
    raise ConfigError((Mistake("", "", looked, "write one, or try it without: trigate serve --demo"),))


def load(path: Path, env: Mapping[str, str] | None, data: bytes | None = None) -> Config:
    """The configuration in ``path`` with variables from ``env``; with None variables are neither expanded nor required.
    ``data`` is what stands there, if it has been read already.

    Raises ``ConfigError`` with every mistake in the file, and nothing else."""
    try:
        data = path.read_bytes() if data is None else data
    except OSError as error:
        reason = (error.strerror or "unreadable").lower()
        raise ConfigError((Mistake(str(path), "", f"cannot be read: {reason}", "give a readable file"),)) from None
    return attrs.evolve(_configure(document.read(data, str(path)), env), path=path)


def from_mapping(content: Mapping[str, Any]) -> Config:
    """The configuration that a file with ``content`` would give. Values are taken as they are: no variables.

    Raises ``ConfigError``."""
    return _configure(Document("configuration", dict(content)), None)


def _configure(read: Document, env: Mapping[str, str] | None) -> Config:
    if not isinstance(read.content, dict) or not read.content:
        found = "empty" if not read.content else f"{schema.describe(read.content)} where keys should be"
        raise ConfigError((read.mistake((), found, "a configuration starts with `version: v0.3.0`"),))
    variables = Variables(env, schema.WITHOUT_EFFECT)
    content = variables.expand(read.content, ())
    mistakes = [read.mistake(path, *words) for path, words in variables.mistakes]
    raw, faults = _structured(content)
    mistakes += (read.mistake(f.path, f.wrong.found, f.wrong.expected, f.wrong.suggestion) for f in faults)
    builder = _Builder(read, mistakes, {fault.path[:2] for fault in faults})
    config = builder.config(raw)
    if mistakes:
        raise ConfigError(tuple(sorted(dict.fromkeys(mistakes), key=lambda mistake: mistake.line or 0)))
    return config


# Structure


def _structured(content: Any) -> tuple[RawConfig, tuple[schema.Fault, ...]]:
    """The filled classes and what was wrong; what was wrong is left out of them, so that the rest can be checked."""
    result = schema.structure(content, RawConfig)
    faults = result if isinstance(result, tuple) else ()
    while isinstance(result, tuple):
        for fault in result:
            _prune(content, fault)
        result = schema.structure(content, RawConfig)
    return result, faults


def _prune(content: Any, fault: schema.Fault) -> None:
    """Take out what the fault is about: a key, or else what holds it."""
    path = fault.path[:-1] if fault.missing else fault.path
    while path:
        holder: Any = content
        for step in path[:-1]:
            if not _holds(holder, step):
                return  # already gone with another fault
            holder = holder[step]
        if holder is None:
            return
        if isinstance(holder, dict):
            holder.pop(path[-1], None)
            return
        if isinstance(step := path[-1], int) and len(path) == 2 and holder[step] is not None:
            holder[step] = None  # an entry: the others keep their numbers
            return
        path = path[:-1]


def _holds(holder: Any, step: str | int) -> bool:
    return step in holder if isinstance(holder, dict) else isinstance(holder, list) and isinstance(step, int)


def _given(raw: Any) -> dict[str, Any]:
    """The members of a filled class that the file gives."""
    return {} if raw is None else attrs.asdict(raw, recurse=False, filter=lambda _, value: value is not None)


def _timeouts(base: Timeouts, raw: RawTimeouts | None) -> Timeouts:
    """0 is no limit, as in Envoy."""
    changes: dict[str, Any] = {name: value or None for name, value in _given(raw).items()}
    return attrs.evolve(base, **changes)


class _Builder:
    """From filled classes to values; adds to ``mistakes`` what the shape alone cannot tell."""

    def __init__(self, read: Document, mistakes: list[Mistake], faulty: set[document.Path]) -> None:
        self._read = read
        self._mistakes = mistakes
        self._faulty = faulty
        self._warnings: list[str] = []
        self._notes: list[str] = []
        self._entry_left_out = False

    def config(self, raw: RawConfig) -> Config:
        self._warnings += schema.without_effect(raw)
        if raw.version is None and ("version",) not in self._faulty:
            self._wrong(("version",), "missing", "start the file with `version: v0.3.0`")
        listeners, common = self._listeners(raw)
        timeouts = self._root_timeouts(raw, common)
        key, items = self._items(raw)
        entries = self._entries(key, items, timeouts)
        aliases = self._aliases(raw, entries)
        client_keys = self._client_keys(raw, entries)
        if common.max_retries:
            self._warnings.append("listeners[].max_retries: accepted, not enforced yet")
        return Config(
            version=raw.version or "",
            listeners=listeners,
            entries=entries,
            aliases=aliases,
            limits=attrs.evolve(Limits(), **_given(raw.limits)),
            timeouts=timeouts,
            max_retries=common.max_retries or 0,
            strict=raw.strict,
            websocket=raw.websocket,
            client_keys=client_keys,
            ui=raw.ui,
            ui_key=self._ui_key(raw.ui_key),
            log_level=raw.log_level,
            cors=raw.cors,
            state_storage=self._state_storage(raw.state_storage),
            metrics=schema.SCRAPING[raw.metrics],
            tracing=collector(raw.tracing, self._warnings.append),
            ca_path=Path(raw.overrides.upstream_tls_ca_path) if raw.overrides.upstream_tls_ca_path else None,
            warnings=tuple(dict.fromkeys(self._warnings)),
            notes=tuple(dict.fromkeys(self._notes)),
            **{
                name: value
                for name in ("drain", "drain_delay", "keep_alive", "write_timeout")
                if (value := getattr(raw, name)) is not None
            },
        )

    def _wrong(self, path: document.Path, found: str, expected: str, suggestion: str | None = None) -> None:
        self._mistakes.append(self._read.mistake(path, found, expected, suggestion))

    # Listeners and timeouts

    def _listeners(self, raw: RawConfig) -> tuple[tuple[Listener, ...], RawListener]:
        """The model listeners, and what they have in common: one timeout, one number of retries."""
        found = tuple(self._model_listeners(raw.listeners))
        values = tuple(
            Listener(**{k: v for k, v in _given(item).items() if k in ("name", "address", "port")}) for _, item in found
        )
        places: dict[tuple[str, int], str] = {}
        for (path, _), listener in zip(found, values, strict=True):
            first = places.setdefault((listener.address, listener.port), listener.name)
            if first != listener.name or list(values).count(listener) > 1:
                self._wrong(
                    path, f"{listener.address}:{listener.port} is taken twice", "give each listener its own port"
                )
        return values or (Listener(),), RawListener(
            timeout=self._common(found, "timeout"), max_retries=self._common(found, "max_retries")
        )

    def _model_listeners(self, raw: Any) -> Iterator[tuple[document.Path, RawListener]]:
        if isinstance(raw, RawLegacyListeners):
            traffic = raw.egress_traffic
            if traffic is not None:
                shape = RawListener(address=traffic.address, port=traffic.port, timeout=traffic.timeout)
                yield ("listeners", "egress_traffic"), shape
            return
        for i, item in enumerate(raw or ()):
            if item.type == "model":
                yield ("listeners", i), item
            else:
                self._warnings.append(f"listeners of type {item.type}: no part of the model gateway, ignored")

    def _common(self, found: Iterable[tuple[document.Path, RawListener]], name: str) -> Any:
        given = [(path, value) for path, item in found if (value := getattr(item, name)) is not None]
        for path, value in given:
            if value != given[0][1]:
                self._wrong((*path, name), "differs from another listener's", "all model listeners share one value")
        return given[0][1] if given else None

    def _root_timeouts(self, raw: RawConfig, common: RawListener) -> Timeouts:
        """A listener's ``timeout`` limits the wait for the first byte and any silence after it, never a whole answer:
        long streams are not cut."""
        base = Timeouts()
        if common.timeout is not None:
            limit = common.timeout or None
            base = attrs.evolve(base, first_byte=limit, idle=limit)
        base = _timeouts(base, RawTimeouts(connect=raw.overrides.upstream_connect_timeout))
        for key in raw.overrides.unknown:
            near = schema.nearest(key, (field.name for field in attrs.fields(schema.RawOverrides)))
            self._warnings.append(f"overrides.{key}: unknown, ignored" + (f" (did you mean {near}?)" if near else ""))
        return _timeouts(base, raw.timeouts)

    # Entries

    def _items(self, raw: RawConfig) -> tuple[str, tuple[RawEntry | None, ...]]:
        if raw.model_providers is not None and raw.llm_providers is not None:
            self._wrong(("llm_providers",), "given beside model_providers", "they are two names for one key: keep one")
        key = "llm_providers" if raw.model_providers is None and raw.llm_providers is not None else "model_providers"
        items = getattr(raw, key) or ()
        if not items and not any(path[0] in ("model_providers", "llm_providers") for path in self._faulty):
            self._wrong((key,), "no providers", "list at least one, such as `- model: openai/gpt-4o`")
        return key, items

    def _entries(self, key: str, items: tuple[RawEntry | None, ...], timeouts: Timeouts) -> tuple[Entry, ...]:
        entries: dict[str, Entry] = {}
        default = None
        for i, item in enumerate(items):
            path = (key, i)
            if item is None:
                self._entry_left_out = True
                if path not in self._faulty:
                    self._wrong(path, "an empty item", "each item needs a model")
                continue
            entry = self._entry(path, item, timeouts)
            if entry is None:
                self._entry_left_out = True
                continue
            if entry.default and default is not None:
                self._wrong(
                    (*path, "default"), f"{default} is the default already", "only one model can be the default"
                )
            default = entry.name if entry.default else default
            if entry.name in entries:
                advice = "give each a `name` of its own"
                self._wrong(
                    (*path, "name" if item.name else "model"), f"the name {entry.name} is taken already", advice
                )
            entries.setdefault(entry.name, entry)
        return tuple(entries.values())

    def _entry(self, path: document.Path, raw: RawEntry, timeouts: Timeouts) -> Entry | None:
        prefix, slash, model = raw.model.partition("/")
        if not (prefix and slash and model):
            if not isinstance(raw.model, Unresolved):
                found = f"{schema.describe(raw.model)} names no provider" if not slash else schema.describe(raw.model)
                self._wrong((*path, "model"), found, "write <provider>/<model id>, or <provider>/* for all its models")
            return None
        provider = self._provider(path, raw, prefix)
        if provider is None:
            return None
        if raw.default and model == "*":
            self._wrong((*path, "default"), f"{raw.model} is no single model", "a wildcard cannot be the default")
        self._check_headers(path, raw)
        name = raw.name or raw.model
        speaks = self._speaks(path, raw, provider)
        self._note(name, raw, provider)
        return Entry(
            name=name,
            provider=provider,
            model=model,
            key=None if raw.passthrough_auth else raw.access_key or None,
            base_url=raw.base_url,
            default=raw.default,
            passthrough_auth=raw.passthrough_auth,
            headers=tuple(raw.headers.items()),
            http_host=raw.http_host,
            speaks=speaks,
            quirks=raw.quirks or {},
            timeouts=_timeouts(timeouts, raw.timeouts),
            on_disconnect=raw.on_disconnect,
            state=self._keeper(path, raw, speaks),
            written=raw.model,
        )

    def _provider(self, path: document.Path, raw: RawEntry, prefix: str) -> Provider | None:
        """The catalogue's row, or for an unknown provider one that speaks like its ``provider_interface``."""
        provider = catalog.find(prefix)
        known = (*catalog.CATALOG, *catalog.ALIASES)
        if provider is not None and raw.provider_interface is not None:
            self._warnings.append(f"{raw.model}: provider_interface is ignored, {prefix} is a known provider")
        elif raw.base_url is None and path in self._faulty and (provider is None or provider.base_url is None):
            return None  # it was wrong and is reported
        elif provider is None and raw.base_url is None:
            advice = "give it a base_url (and a provider_interface unless it speaks OpenAI's Chat)"
            self._wrong((*path, "model"), f"unknown provider {prefix!r}", advice, schema.nearest(prefix, known))
            return None
        elif provider is None:
            interface = catalog.find(raw.provider_interface) if raw.provider_interface is not None else None
            if raw.provider_interface is not None and interface is None:
                near = schema.nearest(raw.provider_interface, known)
                found = f"unknown interface {schema.describe(raw.provider_interface)}"
                self._wrong((*path, "provider_interface"), found, schema.one_of(catalog.CATALOG), near)
            return catalog.generic(prefix, interface)
        if provider.base_url is None and raw.base_url is None:
            self._wrong(
                path, f"{raw.model} has no base_url", f"{provider.display_name} has no address of its own: give one"
            )
        return provider

    def _speaks(self, path: document.Path, raw: RawEntry, provider: Provider) -> Speaks:
        for upstream in dict.fromkeys((raw.speaks or {}).values()):
            if upstream not in provider.paths:
                found = f"{provider.display_name} cannot be asked in {upstream} here"
                self._wrong((*path, "speaks"), found, f"it speaks {', '.join(provider.paths) or 'no API that we know'}")
        speaks = {**provider.speaks, **(raw.speaks or {})}
        return {api: speaks[api] for api in APIS if api in speaks}

    def _keeper(self, path: document.Path, raw: RawEntry, speaks: Speaks) -> Keeper | None:
        if raw.state == "upstream" and (api := speaks.get("responses")) != "responses":
            found = f"it is asked in {api or 'no API'} for Responses clients, which keeps no state"
            self._wrong((*path, "state"), found, "write `ours`, or `speaks: [responses]` if it has that API")
        return raw.state

    def _check_headers(self, path: document.Path, raw: RawEntry) -> None:
        for name in raw.headers:
            if not _HEADER.fullmatch(name) or name.lower() in _NOT_TO_SET:
                advice = "use http_host" if name.lower() == "host" else "name a header that may be set on a request"
                self._wrong((*path, "headers", name), f"{name!r} cannot be set", advice)
        if raw.http_host is not None and not re.fullmatch(r"[\x21-\x7e]+", raw.http_host):
            self._wrong((*path, "http_host"), schema.describe(raw.http_host), "this must be a host name")

    def _note(self, name: str, raw: RawEntry, provider: Provider) -> None:
        if raw.passthrough_auth and raw.access_key is not None:
            self._warnings.append(f"{name}: passthrough_auth and access_key are both set: access_key is ignored")
        if raw.access_key == "":
            self._warnings.append(f"{name}: access_key is empty: no credential will be sent")
        if raw.access_key is None and not raw.passthrough_auth and provider.key_required:
            hint = f" (access_key: ${provider.key_env})" if provider.key_env else ""
            self._warnings.append(f"{name}: neither access_key nor passthrough_auth: no credential will be sent{hint}")
        if not provider.speaks and not raw.speaks:
            self._warnings.append(f"{name}: {provider.display_name}'s API is not spoken yet: requests for it get 501")
        if raw.base_url is not None and raw.base_url.rstrip("/").endswith(tuple(catalog.STANDARD_PATHS.values())):
            self._warnings.append(f"{name}: base_url should end before the path of the API, which is added to it")
        if provider.note and raw.speaks is None:
            self._notes.append(f"{provider.id}: {provider.note}")

    # Aliases

    def _aliases(self, raw: RawConfig, entries: tuple[Entry, ...]) -> dict[str, str]:
        names = Names(entries, {})
        aliases: dict[str, str] = {}
        for alias, item in raw.model_aliases.items():
            path = ("model_aliases", alias, "target")
            try:
                if names.direct(item.target) is not None:
                    aliases[alias] = item.target
                elif not self._entry_left_out:  # the target may be among those
                    known = (entry.name for entry in entries)
                    found = f"{schema.describe(item.target)} is no configured model"
                    self._wrong(path, found, "name one of model_providers", schema.nearest(item.target, known))
            except GatewayError as error:
                self._wrong(path, str(error), "name one of them")
        return aliases

    # State

    def _state_storage(self, raw: RawStateStorage | None) -> StateStorage | None:
        if raw is None:
            return None
        for kind, key in _PLACES.items():
            given = getattr(raw, key) is not None
            if raw.type == kind and not getattr(raw, key) and ("state_storage", key) not in self._faulty:
                found = f"{raw.type} needs a {key}" if not given else "empty"
                self._wrong(("state_storage", key), found, f"give it one, such as {_PLACES_SUCH_AS[kind]}")
            elif raw.type != kind and given:
                self._warnings.append(f"state_storage.{key}: {raw.type} has no use for it, ignored")
        changes = _given(raw)
        changes["path"] = Path(raw.path) if raw.path else None
        if isinstance(changes.get("encryption_key"), Unresolved):
            del changes["encryption_key"]
        return attrs.evolve(STORAGE[raw.type], **changes)

    # Clients

    def _client_keys(self, raw: RawConfig, entries: tuple[Entry, ...]) -> tuple[ClientKey, ...]:
        """An empty list is a mistake and not an open door."""
        if raw.client_keys == ():
            self._wrong(("client_keys",), "an empty list", "list at least one key, or leave it out to let everybody in")
        others = {*raw.model_aliases, *(entry.name for entry in entries if entry.wildcard)}
        names = Names(entries, {})
        keys: dict[bytes, ClientKey] = {}
        for i, item in enumerate(raw.client_keys or ()):
            path = ("client_keys", i)
            if item is None and path not in self._faulty:
                self._wrong(path, "an empty item", "each item needs a name, and a key or its sha256")
            if item is not None:
                self._check_models((*path, "models"), item.models, names, others)
            key = None if item is None else self._client_key(path, item)
            if key is None:
                continue
            if any(key.name == other.name for other in keys.values()):
                self._wrong((*path, "name"), f"the name {key.name} is taken already", "give each key its own name")
            first = keys.setdefault(key.digest, key)
            if first is not key:
                self._wrong(path, f"the same key as {first.name}'s", "each client needs a key of its own")
        return tuple(keys.values())

    def _ui_key(self, key: str | None) -> bytes | None:
        if key == "":
            self._wrong(("ui_key",), "an empty key", "give one that nobody can guess: openssl rand -hex 32")
        return hashlib.sha256(key.encode()).digest() if key else None

    def _client_key(self, path: document.Path, raw: RawClientKey) -> ClientKey | None:
        if not raw.name:
            self._wrong((*path, "name"), "an empty name", "name the client: it stands in the log")
        if (raw.key is None) == (raw.sha256 is None):
            if path not in self._faulty:
                found = "neither key nor sha256" if raw.key is None else "key and sha256"
                self._wrong(path, found, "give one of the two")
            return None
        if raw.sha256 is not None:
            known = not isinstance(raw.sha256, Unresolved)
            digest = bytes.fromhex(raw.sha256) if known else raw.sha256.encode()
        elif raw.key:
            digest = hashlib.sha256(raw.key.encode()).digest()
        else:
            self._wrong((*path, "key"), "an empty key", "give one that nobody can guess: openssl rand -hex 32")
            return None
        return ClientKey(raw.name, digest, raw.models)

    def _check_models(
        self, path: document.Path, models: tuple[str, ...] | None, names: Names, others: Collection[str]
    ) -> None:
        if models == ():
            self._wrong(path, "an empty list", "name at least one model, or leave it out to allow all")
        for i, model in enumerate(models or ()):
            try:
                known = isinstance(model, Unresolved) or model in others or names.direct(model) is not None
            except GatewayError as error:
                self._wrong((*path, i), str(error), "name one of them")
                continue
            if not known and not self._entry_left_out:
                found = f"{schema.describe(model)} is no configured model"
                self._wrong((*path, i), found, "name one of model_providers or model_aliases")


_PLACES: Mapping[StorageType, str] = {"sqlite": "path", "postgres": "connection_string"}
_PLACES_SUCH_AS: Mapping[StorageType, str] = {
    "sqlite": "/var/lib/trigate/state.sqlite",
    "postgres": "postgresql://trigate:$PASSWORD@db.example:5432/trigate",
}
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NOT_TO_SET = {"connection", "content-length", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
