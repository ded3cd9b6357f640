"""The configuration file: YAML to immutable values, or all its errors together.

The format is that of Plano's model gateway, v0.1 to v0.4, with additional keys. ``load`` reads a file, ``from_mapping``
the same content from a program."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import attrs

from configfile import document
from configfile.document import ConfigError, Document, Mistake
from configfile.expanded import Unresolved, without_marks
from configfile.keys import keys_of
from configfile.reading import Reading, read
from configfile.secret_files import SecretFiles, UnreadFiles
from configfile.stored_secrets import StoredSecret
from configfile.variables import Variables
from configfile.wording import Wrong, describe
from gateway.config.allowances import RateLimits
from gateway.config.attempts import CircuitSettings
from gateway.config.findings import Findings
from gateway.config.settings import Config, Trust
from gateway.config_files.allowance_checks import (
    PRICE_ADVICE,
    build_budgets,
    build_header_limits,
    build_ratelimits,
    check_opening_spend,
    unpriced_models,
)
from gateway.config_files.building import Building, BuildKeys
from gateway.config_files.client_access import access_names
from gateway.config_files.client_keys import build_client_keys
from gateway.config_files.convertible import refuse_convertible
from gateway.config_files.entries import Entries, build_entries
from gateway.config_files.listeners import ActiveListeners, build_listeners
from gateway.config_files.providers import build_providers
from gateway.config_files.readable_secrets import warn_of_readable_secrets
from gateway.config_files.routes import build_aliases
from gateway.config_files.storage import build_state_storage, check_counters
from gateway.config_files.values import build_retries, changed_circuit
from gateway.features.known import features, features_of, import_early_features, other_feature
from gateway.features.order import EFFECTIVE
from gateway.named_imports import import_named
from streams.timeouts import Timeouts

__all__ = ["Config", "ConfigError", "Mistake", "from_mapping", "load"]

import_early_features()  # adds their keys to the classes above


@attrs.frozen(eq=False, repr=False)
class Examined:
    """The valid parts of a configuration, all mistakes in its file, and the file with expanded variables.

    ``findings`` know the places in the file that could not be read."""

    config: Config
    mistakes: tuple[Mistake, ...]
    document: Document
    findings: Findings

    def valid(self) -> Config:
        """Return the configuration. Raises ``ConfigError`` if it has mistakes."""
        if self.mistakes:
            raise ConfigError(self.mistakes)
        return self.config


def load(
    path: Path,
    env: Mapping[str, str] | None,
    data: bytes | None = None,
    files: SecretFiles | None = None,
    trust: Trust = "named",
    within: Collection[str] | None = None,
) -> Config:
    """Return the configuration in ``path``, with variables from ``env``.

    With ``env`` of ``None``, variables are neither expanded nor required, and secret files are not read; with
    ``within``, only those below these root keys are. ``data`` and ``files`` are contents read earlier. A file that was
    only ``found`` is restricted (``untrusted_file``). Raises ``ConfigError`` with every error in the file, and nothing
    else."""
    return examine(path, env, data, files, trust, within).valid()


def examine(
    path: Path,
    env: Mapping[str, str] | None,
    data: bytes | None = None,
    files: SecretFiles | None = None,
    trust: Trust = "named",
    within: Collection[str] | None = None,
) -> Examined:
    """Return the configuration in ``path`` with all mistakes, for checks that find others; arguments as for ``load``.

    Raises ``ConfigError`` if it is not readable as keys and values."""
    written = document.parse(document.read_bytes(path) if data is None else data, str(path))
    files = UnreadFiles() if env is None else files or SecretFiles()
    found = _examine(written, env, files, path if trust == "found" else None, within)
    warnings = (*found.config.warnings, *warn_of_readable_secrets(written.content, path, found.config))
    return attrs.evolve(found, config=attrs.evolve(found.config, path=path, trust=trust, warnings=warnings))


def from_mapping(content: Mapping[str, Any]) -> Config:
    """Return the configuration of a file with ``content``.

    Values are used unchanged: variables are not expanded, secret files are read. Raises ``ConfigError``."""
    return configure(Document("configuration", _with_text_as_keys(dict(content))), None, SecretFiles())


def _with_text_as_keys(value: Any) -> Any:
    """Return ``value`` with keys as text: other YAML readers turn the key ``on`` into true."""
    if isinstance(value, dict):
        return {_key_text(key): _with_text_as_keys(member) for key, member in value.items()}
    return [_with_text_as_keys(item) for item in value] if isinstance(value, list | tuple) else value


def _key_text(key: Any) -> str:
    return key if isinstance(key, str) else str(key).lower()


def configure(written: Document, env: Mapping[str, str] | None, files: SecretFiles) -> Config:
    """Return the configuration of a document, with the variables of ``env`` and the secrets in ``files``.

    Raises ``ConfigError``."""
    return _examine(written, env, files).valid()


def _examine(
    written: Document,
    env: Mapping[str, str] | None,
    files: SecretFiles,
    unnamed: Path | None = None,
    within: Collection[str] | None = None,
) -> Examined:
    """Return the configuration of a document; ``unnamed`` is its path if it was only found."""
    if not isinstance(written.content, dict) or not written.content:
        found = "empty" if not written.content else f"expected keys and values, found {describe(written.content)}"
        raise ConfigError((*written.mistakes, written.mistake((), found, "start the file with `version: v0.4.0`")))
    refuse_convertible(written.content, written.file)
    variables = Variables(env, WITHOUT_EFFECT, files, within)
    content = variables.expand(written.content, ())
    mistakes = [written.mistake(path, *words) for path, words in variables.mistakes]
    imported = _import_features(written) if unnamed is None else {}  # a file that was only found loads no code
    mistakes += filter(None, imported.values())
    reading = _with_imported(_read(content), imported)
    mistakes += (written.mistake(fault.path, *fault.wrong.words) for fault in reading.faults)
    expanded = attrs.evolve(written, content=content)
    findings = Findings(expanded, mistakes, reading.faults, reading.given, reading.unknown)
    for warning in files.warnings:
        findings.warn(warning)
    config, entries = _build_config(reading, variables.stored, findings)
    if unnamed is not None:
        import_named("gateway.config_files.untrusted_file:check_untrusted")(content, variables, unnamed, findings)
    for one in unpriced_models(config):
        place = entries.paths[one.entry.name]
        if (*place, "price") not in findings.faulty:
            findings.wrong((*place, "model"), one.problem, PRICE_ADVICE)
    if findings.mistakes or written.mistakes:
        mistakes = [*written.mistakes, *_without_reported(findings.mistakes, expanded)]
        return Examined(config, in_order(mistakes), expanded, findings)
    # Most files have few variables, and a walk through the whole configuration takes a sixth of the time to read it.
    return Examined(without_marks(config) if variables.has_values else config, (), expanded, findings)


class _UnknownKey(Exception):
    """A key that no feature read so far declares."""


def _read(content: Any) -> Reading[Config]:
    """Read a file. If a key is unknown, read it again with the keys of late features."""

    def stop(place: type, name: str) -> Wrong:
        raise _UnknownKey

    try:
        return read(content, Config, stop)
    except _UnknownKey:
        features()
        return read(content, Config, advise)


def _import_features(written: Document) -> dict[str, Mistake | None]:
    """Import the features of other packages that a file names, because they declare keys. Return their mistakes."""
    names = written.content.get("features")
    found: dict[str, Mistake | None] = {}
    taken = {line.name for line in EFFECTIVE}
    for i, name in enumerate(names if isinstance(names, list) else ()):
        if isinstance(name, str) and ":" in name:  # others have the wrong type, which the reading reports
            found[name] = _import_feature(name, ("features", i), written, taken)
    return found


def _import_feature(name: str, path: document.Path, written: Document, taken: set[str]) -> Mistake | None:
    try:
        feature = other_feature(name)
        if feature.name in taken:  # it would replace that one, and what it checks
            raise Wrong(f"another feature has the name {feature.name}", "remove one of them, or rename yours")
        taken.add(feature.name)
    except Wrong as wrong:
        return written.mistake(path, *wrong.words[:3])
    except Exception as error:  # the boundary to code of others
        found = f"{describe(name)} cannot be imported: {type(error).__name__}: {error}"
        return written.mistake(path, found, "install its package for the gateway, or correct the name")
    return None


def _with_imported(reading: Reading[Config], found: Mapping[str, Mistake | None]) -> Reading[Config]:
    """Return ``reading`` with the features alone that were imported."""
    if reading.value is None or not reading.value.features:
        return reading
    names = tuple(name for name in reading.value.features if found.get(name, True) is None)
    return attrs.evolve(reading, value=attrs.evolve(reading.value, features=names))


def _without_reported(mistakes: Iterable[Mistake], written: Document) -> Iterator[Mistake]:
    """Yield ``mistakes`` except those about values that are absent because of a mistake of YAML."""
    reported = {one.path for one in written.mistakes}
    yield from (one for one in mistakes if one.path not in reported or one.found not in _ABSENT)


_ABSENT: Final = ("missing", "nothing", "this item is empty")


def in_order(mistakes: Iterable[Mistake]) -> tuple[Mistake, ...]:
    """Return ``mistakes`` once each, in the order of the file."""
    return tuple(sorted(dict.fromkeys(mistakes), key=_position))


def _position(mistake: Mistake) -> tuple[int, int]:
    return mistake.line or 0, mistake.column or 0


WITHOUT_EFFECT: Final = frozenset(name for name, field in keys_of(Config).items() if field.key.ignored is not None)
"""Root keys without effect, whose variables are not expanded."""


def advise(place: type, name: str) -> Wrong:
    """Return the advice on an unknown key; its tables are imported only when needed."""
    found: Wrong = import_named("gateway.config_files.unknown:wrong_key")(place, name)
    return found


# Checks beyond types


def _build_config(
    reading: Reading[Config], stored: Sequence[tuple[document.Path, StoredSecret]], findings: Findings
) -> tuple[Config, Entries]:
    """Return the configuration, with what follows from its parts together."""
    assert reading.value is not None  # no key of the root is required
    config = reading.value
    for path, why in reading.ignored:
        findings.no_effect(path, why)
    if config.version is None and ("version",) not in findings.faulty:
        findings.wrong(("version",), "missing", "start the file with `version: v0.4.0`")
    common = build_listeners(config.listeners, findings)
    config = attrs.evolve(
        config,
        timeouts=_build_timeouts(config, common, findings),
        retries=build_retries(config.retries, common.max_retries, findings),
        circuit=changed_circuit(CircuitSettings(), config.circuit, ("circuit",), findings),
    )
    providers = build_providers(config.providers, findings)
    entries = build_entries(config, providers, findings)
    used = {entry.provider.id for entry in entries.made}
    for id in providers:
        if id not in used:
            findings.warn(f"providers.{id}: no entry uses it: add one, such as `- model: {id}/*`")
    aliases = build_aliases(config, entries, findings)
    names = access_names(config, entries, findings)
    rates = config.written_ratelimits if isinstance(config.written_ratelimits, RateLimits) else RateLimits()
    made = attrs.evolve(
        config,
        listeners=common.listeners,
        model_providers=None,
        llm_providers=None,
        entries=entries.made,
        aliases=aliases.single,
        routes=aliases.routes,
        client_keys=build_client_keys(config.client_keys, config.listeners, names, findings),
        client_groups=tuple(names.groups.values()),
        state_storage=build_state_storage(config.state_storage, config, findings),
        signing_key=tuple(key for key in config.signing_key if isinstance(key, bytes)),
        stored_secrets=tuple(dict.fromkeys(secret for _, secret in stored)),
        ratelimits=build_ratelimits(rates, ("ratelimits",), findings),
        header_limits=build_header_limits(config.written_ratelimits, config.model_aliases, entries.names, findings),
        budgets=build_budgets(config.budgets, (), findings),
    )
    _check_public_url(config.public_url, findings)
    check_counters(config.counters, findings)
    made = _build_features(made, Building(findings, entries, names, stored))
    check_opening_spend(made, findings)
    return attrs.evolve(
        made,
        ineffective=tuple(sorted(findings.ineffective, key=_position)),
        warnings=tuple(dict.fromkeys(findings.warnings)),
        notes=tuple(dict.fromkeys(findings.notes)),
    ), entries


def _build_features(config: Config, building: Building) -> Config:
    """Return ``config`` with the keys of features completed that the file has."""
    given = building.findings.given_attributes(())
    for feature in features_of(config):
        if feature.build and (feature.has_keys_in(given) or feature.is_wanted(config)):
            build: BuildKeys = import_named(feature.build)
            config = build(config, building)
    return config


def _build_timeouts(config: Config, common: ActiveListeners, findings: Findings) -> Timeouts:
    """Return the time limits for providers.

    A listener's ``timeout`` limits the wait for the first byte and later silence, never a whole response: long streams
    are not cut."""
    base = Timeouts()
    if common.timeout is not None:
        base = attrs.evolve(base, first_byte=common.timeout or None, idle=common.timeout or None)
    if config.overrides.upstream_connect_timeout is not None:
        base = attrs.evolve(base, connect=config.overrides.upstream_connect_timeout)
    return findings.laid_over(base, config.timeouts, ("timeouts",))


_PATH: Final = re.compile(r"(?:/(?!\.\.?(?:/|$))[A-Za-z0-9._~-]+)*/?")
_OWN_STEPS: Final = ("model", "v1beta")
"""The first steps of conversations' paths, besides ``v1``. Without them, the rest would have another meaning."""


def _check_public_url(url: str | None, findings: Findings) -> None:
    """Report a path that routes, links or cookies cannot have."""
    if url is None or isinstance(url, Unresolved):
        return
    parts = urlsplit(url)
    if "?" in url or _PATH.fullmatch(parts.path) is None:
        advice = "write it like https://host/path, with letters, digits and `.`, `_`, `~`, `-`"
        findings.wrong(("public_url",), describe(url), advice)
    elif (step := parts.path.split("/")[1:2]) and step[0] in {*_OWN_STEPS, *_first_steps()}:
        found = f"/{step[0]} is one of the gateway's own paths"
        findings.wrong(("public_url",), found, "remove it, or use another path, such as https://host/llm")


def _first_steps() -> Iterator[str]:
    """Yield the first steps of the paths of features."""
    for feature in features():
        yield from feature.first_steps
