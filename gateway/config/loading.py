"""The configuration file: YAML to frozen values, or every mistake in it at once.

The format is that of Plano's model gateway, v0.1 to v0.4, with a few keys of our own. ``load`` reads a file,
``from_mapping`` the same content from a program, ``discover`` finds the file.
"""

import shlex
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import attrs

from configfile import document
from configfile.document import ConfigError, Document, Mistake
from configfile.secret_files import SecretFiles, UnreadFiles
from configfile.variables import Variables
from configfile.wording import describe, nearest
from gateway.config import weak_secrets
from gateway.config.attempts import build_retries, changed_circuit
from gateway.config.budgets import build_budgets, doubtful_budgets
from gateway.config.caching import build_answer_cache
from gateway.config.client_access import access_names
from gateway.config.client_keys import build_client_keys, build_client_limits, build_operator_key
from gateway.config.collector import collector
from gateway.config.converter import ConversionFault, structure
from gateway.config.counters import build_counters
from gateway.config.doubtful_routes import doubtful
from gateway.config.entries import Entries, EntryDefaults, build_entries
from gateway.config.findings import Findings
from gateway.config.foreign import recognised
from gateway.config.found_file import check_found
from gateway.config.listening import build_listeners
from gateway.config.own_providers import build_providers, check_used
from gateway.config.prices import ADVICE, uncounted, unpriced
from gateway.config.ratelimits import build_header_limits, build_rates_of_all
from gateway.config.routes import build_aliases
from gateway.config.schema import (
    SCRAPING,
    WITHOUT_EFFECT,
    RawCircuit,
    RawConfig,
    RawLimits,
    RawOverrides,
    given,
    without_effect,
)
from gateway.config.settings import (
    KEEPING_KEYS,
    CircuitSettings,
    Config,
    Limits,
    Listener,
    ModelEntry,
    StateStorage,
    Trust,
)
from gateway.config.state_storage import build_state_storage
from gateway.config.timeouts import build_timeouts
from streams.pipe import Timeouts

__all__ = [
    "Config",
    "ConfigError",
    "Limits",
    "Listener",
    "Mistake",
    "ModelEntry",
    "Timeouts",
    "discover",
    "from_mapping",
    "load",
    "users_file",
]  # fmt: skip

FILE_NAMES = ("trigate.yaml", "config.yaml", "plano_config.yaml")
FILE_VARIABLE = "TRIGATE_CONFIG"


def users_file(env: Mapping[str, str]) -> Path | None:
    """The path of a person's own configuration, for all folders; None where nothing says where a person's files are."""
    given, home = env.get("XDG_CONFIG_HOME", ""), env.get("HOME", "")
    folders = [folder for folder in (Path(given), Path(home, ".config")) if folder.is_absolute()]
    return folders[0] / "trigate" / FILE_NAMES[0] if folders else None


def discover(cwd: Path, env: Mapping[str, str], explicit: Path | None = None) -> Path:
    """The file to read: ``explicit``, else what ``$TRIGATE_CONFIG`` names, else the first of ``FILE_NAMES`` in ``cwd``,
    else ``users_file``.

    Raises ``ConfigError`` that says what was looked for."""
    named = explicit or (Path(env[FILE_VARIABLE]) if env.get(FILE_VARIABLE) else None)
    if named is not None:
        path = cwd / named
        if path.exists():  # a pipe, too: check --diff <(git show HEAD:trigate.yaml)
            return path
        source = "the command line" if explicit else f"${FILE_VARIABLE}"
        raise ConfigError((Mistake(str(named), "", f"no such file (named by {source})", "give the path of a file"),))
    for name in FILE_NAMES:
        if (cwd / name).is_file():
            return cwd / name
    users = users_file(env)
    if users is not None and users.is_file():
        return users
    looked = f"no configuration found: looked for ${FILE_VARIABLE} and for {', '.join(FILE_NAMES)} in {cwd}"
    looked += f", and for {users}" if users is not None else ""
    raise ConfigError(
        (Mistake("", "", looked, "write one with `trigate init`, or try it without: `trigate serve --demo`"),)
    )


def trust_in(path: Path, env: Mapping[str, str], explicit: Path | None = None) -> Trust:
    """Whether ``discover`` has taken ``path`` because somebody named it, or it is a person's own, or because it lies in
    the current directory: then it may be anybody's."""
    named = explicit is not None or bool(env.get(FILE_VARIABLE)) or path == users_file(env)
    return "named" if named else "found"


def load(
    path: Path,
    env: Mapping[str, str] | None,
    data: bytes | None = None,
    files: SecretFiles | None = None,
    trust: Trust = "named",
    within: Collection[str] | None = None,
) -> Config:
    """The configuration in ``path`` with variables from ``env``; with None variables are neither expanded nor required,
    nor are files of secrets, and with ``within`` only those below these keys of the root. ``data`` is what stands
    there, and ``files`` what those hold, if it has been read already. A file that was only ``found`` may not have
    everything (``found_file``).

    Raises ``ConfigError`` with every mistake in the file, and nothing else."""
    read = document.read_file(path) if data is None else document.read(data, str(path))
    files = UnreadFiles() if env is None else files or SecretFiles()
    config = configure(read, env, files, path if trust == "found" else None, within)
    warnings = (*config.warnings, *weak_secrets.readable(read.content, path))
    return attrs.evolve(config, path=path, trust=trust, warnings=warnings)


def from_mapping(content: Mapping[str, Any]) -> Config:
    """The configuration that a file with ``content`` would give. Values are taken as they are: no variables, but files
    of secrets.

    Raises ``ConfigError``."""
    return configure(Document("configuration", _with_text_as_keys(dict(content))), None, SecretFiles())


def _with_text_as_keys(value: Any) -> Any:
    """``value`` with keys as a file has them: other readers of YAML take ``on`` for true there, too."""
    if isinstance(value, dict):
        return {_key(key): _with_text_as_keys(member) for key, member in value.items()}
    return [_with_text_as_keys(item) for item in value] if isinstance(value, list | tuple) else value


def _key(key: Any) -> str:
    return key if isinstance(key, str) else str(key).lower()


def configure(
    read: Document,
    env: Mapping[str, str] | None,
    files: SecretFiles,
    unnamed: Path | None = None,
    within: Collection[str] | None = None,
) -> Config:
    """A document checked and read, with the variables of ``env`` and the secrets in ``files``; ``unnamed`` is its path
    where nobody has named it. Raises ``ConfigError``."""
    if not isinstance(read.content, dict) or not read.content:
        found = "empty" if not read.content else f"{describe(read.content)} where keys should be"
        raise ConfigError((read.mistake((), found, "a configuration starts with `version: v0.3.0`"),))
    if (foreign := recognised(read.content)) is not None:
        found = f"this is a configuration of {foreign.owner}"
        raise ConfigError((Mistake(read.file, "", found, foreign.advice.format(file=shlex.quote(read.file))),))
    variables = Variables(env, WITHOUT_EFFECT, files, within)
    content = variables.expand(read.content, ())
    mistakes = [read.mistake(path, *words) for path, words in variables.mistakes]
    raw, faults = _structured(content)
    mistakes += (read.mistake(fault.path, *fault.wrong.words) for fault in faults)
    findings = Findings(read, mistakes, {fault.path[:2] for fault in faults})
    if unnamed is not None:
        check_found(content, variables.used, variables.files, unnamed, findings)
    for warning in files.warnings:
        findings.warn(warning)
    config, entries = _config(raw, findings)
    for one in unpriced(config):
        place = entries.paths[one.entry.name]
        if place not in findings.faulty:  # its price may be what is wrong
            findings.wrong((*place, "model"), one.found, ADVICE)
    if findings.mistakes:
        raise ConfigError(tuple(sorted(dict.fromkeys(findings.mistakes), key=_place)))
    doubts = (*doubtful(config), *doubtful_budgets(config), *uncounted(config), *weak_secrets.weak(config))
    return attrs.evolve(config, warnings=(*config.warnings, *doubts))


def _place(mistake: Mistake) -> tuple[int, int]:
    return mistake.line or 0, mistake.column or 0


# Structure


def _structured(content: Any) -> tuple[RawConfig, tuple[ConversionFault, ...]]:
    """The filled classes and what was wrong; what was wrong is left out of them, so that the rest can be checked."""
    result = structure(content, RawConfig)
    faults = result if isinstance(result, tuple) else ()
    while isinstance(result, tuple):
        for fault in result:
            _prune(content, fault)
        result = structure(content, RawConfig)
    return result, faults


def _prune(content: Any, fault: ConversionFault) -> None:
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


# From the filled classes to values; what the shape alone cannot tell is found here


def _limits(raw: RawLimits) -> Limits:
    per_client = build_client_limits(raw.per_client)
    return attrs.evolve(Limits(), **{**given(raw), "per_client": per_client})


def _config(raw: RawConfig, findings: Findings) -> tuple[Config, Entries]:
    for path, why in without_effect(raw):
        findings.no_effect(path, why)
    if raw.version is None and ("version",) not in findings.faulty:
        findings.wrong(("version",), "missing", "start the file with `version: v0.3.0`")
    listeners, common = build_listeners(raw, findings)
    timeouts = build_timeouts(raw, common)
    _warn_of_overrides(raw.overrides, findings)
    retries = build_retries(raw.retries, common)
    circuit = changed_circuit(CircuitSettings(), raw.circuit or RawCircuit(), ("circuit",), findings)
    providers = build_providers(raw, findings)
    entries = build_entries(raw, EntryDefaults(timeouts, retries, circuit, providers), findings)
    check_used(providers, frozenset(entry.provider.id for entry in entries.made), findings)
    aliases = build_aliases(raw, retries, entries, findings)
    names = access_names(raw, entries, findings)
    client_keys = build_client_keys(raw, names, findings)
    state_storage = build_state_storage(raw.state_storage, findings)
    _check_stored_keys(raw, state_storage, findings)
    config = Config(
        version=raw.version or "",
        listeners=listeners,
        entries=entries.made,
        aliases=aliases.single,
        routes=aliases.routes,
        retries=retries,
        circuit=circuit,
        client_routing=raw.client_routing,
        ratelimits=build_rates_of_all(raw, findings),
        header_limits=build_header_limits(raw, entries.names, findings),
        budgets=build_budgets(raw.budgets, (), findings),
        unpriced=raw.unpriced,
        limits=_limits(raw.limits),
        timeouts=timeouts,
        strict=raw.strict,
        websocket=raw.websocket,
        client_keys=client_keys,
        client_groups=tuple(names.groups.values()),
        stored_keys="unread" if raw.stored_keys else "off",
        signing_key=tuple(key for key in raw.signing_key or () if isinstance(key, bytes)),
        public_url=raw.public_url,
        open=raw.open,
        ui=raw.ui,
        ui_key=build_operator_key("ui_key", raw.ui_key, findings),
        metrics_key=build_operator_key("metrics_key", raw.metrics_key, findings),
        ui_keep=raw.ui_keep,
        ui_prompts=raw.ui_prompts,
        log_level=raw.log_level,
        cors=raw.cors,
        hosts=raw.hosts,
        audit=raw.audit,
        trusted_proxies=raw.trusted_proxies,
        state_storage=state_storage,
        counters=build_counters(raw.counters, findings),
        cache=build_answer_cache(raw, findings),
        timezone=raw.timezone or "UTC",
        reserve=raw.reserve,
        charge_undelivered=raw.charge_undelivered,
        metrics=SCRAPING[raw.metrics],
        tracing=collector(raw.tracing, findings.warn),
        ca_path=Path(raw.overrides.upstream_tls_ca_path) if raw.overrides.upstream_tls_ca_path else None,
        ineffective=tuple(sorted(findings.ineffective, key=_place)),
        warnings=tuple(dict.fromkeys(findings.warnings)),
        notes=tuple(dict.fromkeys(findings.notes)),
        **{
            name: value
            for name in ("drain", "drain_delay", "keep_alive", "websocket_idle", "write_timeout")
            if (value := getattr(raw, name)) is not None
        },
    )
    return config, entries


def _check_stored_keys(raw: RawConfig, kept: StateStorage | None, findings: Findings) -> None:
    faulty = any(place[0] == "state_storage" for place in findings.faulty)
    if raw.stored_keys and (kept is None or kept.type not in KEEPING_KEYS) and not faulty:
        found = f"state_storage is {'not given' if kept is None else kept.type}, which keeps no keys"
        findings.wrong(("stored_keys",), found, "give state_storage the type sqlite or postgres")


def _warn_of_overrides(raw: RawOverrides, findings: Findings) -> None:
    for key in raw.unknown:
        near = nearest(key, (field.name for field in attrs.fields(RawOverrides)))
        findings.no_effect(("overrides", key), "unknown, ignored" + (f" (did you mean {near}?)" if near else ""))
