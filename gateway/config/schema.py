"""The shape of a configuration file: which keys there are and what each may hold, as classes that cattrs fills.

The keys are those of Plano's model gateway (v0.1 to v0.4) and a few of ours. What we accept without effect is marked
``LATER`` or ``OUTSIDE``; a key that is not here is a mistake.
"""

import base64
import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal, NewType, TypeVar, get_args, get_origin
from urllib.parse import urlsplit

import attrs
import cattrs
from cattrs.cols import homogenous_tuple_structure_factory, mapping_structure_factory
from cattrs.errors import ClassValidationError, ForbiddenExtraKeysError, IterableValidationError
from cattrs.gen import make_dict_structure_fn

from gateway.config.document import Path, spell
from gateway.config.settings import Scraping
from gateway.config.variables import Expanded, Unresolved
from providers.fields import generic
from providers.quirks import Quirks
from streams.events import APIS, Api

T = TypeVar("T")

VERSIONS = ("v0.1", "v0.1.0", "0.1-beta", "0.2.0", "v0.3.0", "v0.4.0")

Duration = NewType("Duration", float)  # seconds
Wait = NewType("Wait", float)  # seconds, more than none
Size = NewType("Size", int)  # bytes
Count = NewType("Count", int)
Port = NewType("Port", int)
Percent = NewType("Percent", int)
Url = NewType("Url", str)
Secret = NewType("Secret", str)  # text that no message may repeat
Digest = NewType("Digest", str)  # SHA-256 in hexadecimal
SealingKey = NewType("SealingKey", bytes)  # for AES-256; Unresolved text where nobody looked it up
Origin = NewType("Origin", str)  # of a web page, or *
Version = NewType("Version", str)
Speaking = NewType("Speaking", dict[Api, Api])
QuirkChanges = NewType("QuirkChanges", dict[str, Any])


class Wrong(ValueError):
    """What stands in the file is not what may stand there."""

    def __init__(self, found: str, expected: str, suggestion: str | None = None) -> None:
        super().__init__(found)
        self.found = found
        self.expected = expected
        self.suggestion = suggestion


ACCEPTED = "accepted"
LATER = {ACCEPTED: "accepted, not enforced yet"}
OUTSIDE = {ACCEPTED: "no part of the model gateway, ignored"}


@attrs.frozen
class RawTimeouts:
    connect: Wait | None = None
    first_byte: Duration | None = None
    idle: Duration | None = None
    total: Duration | None = None


@attrs.frozen
class RawListener:
    type: Literal["model", "prompt", "agent"] = "model"
    name: str | None = None
    port: Port | None = None
    address: str | None = None
    timeout: Duration | None = None
    max_retries: Count | None = None
    router: Any = attrs.field(default=None, metadata=OUTSIDE)
    agents: Any = attrs.field(default=None, metadata=OUTSIDE)
    filter_chain: Any = attrs.field(default=None, metadata=OUTSIDE)
    input_filters: Any = attrs.field(default=None, metadata=OUTSIDE)
    output_filters: Any = attrs.field(default=None, metadata=OUTSIDE)


@attrs.frozen
class RawTraffic:
    """A listener of the legacy form."""

    address: str | None = None
    port: Port | None = None
    message_format: Literal["openai"] | None = None
    timeout: Duration | None = None


@attrs.frozen
class RawLegacyListeners:
    ingress_traffic: RawTraffic | None = attrs.field(default=None, metadata=OUTSIDE)
    egress_traffic: RawTraffic | None = None


@attrs.frozen
class RawEntry:
    model: str
    name: str | None = None
    access_key: Secret | None = None
    default: bool = False
    base_url: Url | None = None
    passthrough_auth: bool = False
    http_host: str | None = None
    provider_interface: str | None = None
    headers: dict[str, Secret] = attrs.field(factory=dict)
    speaks: Speaking | None = None
    quirks: QuirkChanges | None = None
    timeouts: RawTimeouts | None = None
    on_disconnect: Literal["cancel", "finish"] = "cancel"
    state: Literal["ours", "upstream"] | None = None
    routing_preferences: Any = attrs.field(default=None, metadata=LATER)


@attrs.frozen
class RawAlias:
    target: str


@attrs.frozen
class RawLimits:
    request_body: Size | None = None
    event: Size | None = None
    answer: Size | None = None
    in_flight: Count | None = None
    connections: Count | None = None


@attrs.frozen
class RawStateStorage:
    type: Literal["memory", "sqlite", "postgres", "none"]
    path: str | None = None
    connection_string: Secret | None = None
    ttl: Wait | None = None
    max_bytes: Size | None = None
    encryption_key: SealingKey | None = None


@attrs.frozen
class RawMetrics:
    open: bool = False


@attrs.frozen
class RawTracing:
    random_sampling: Percent | None = None
    endpoint: Url | None = None
    opentracing_grpc_endpoint: Url | None = None
    trace_arch_internal: Any = attrs.field(default=None, metadata=OUTSIDE)
    span_attributes: Any = attrs.field(default=None, metadata=LATER)
    exporters: Any = attrs.field(default=None, metadata=LATER)


SCRAPING: Mapping[bool | RawMetrics, Scraping] = {
    False: "off", True: "keyed", RawMetrics(): "keyed", RawMetrics(open=True): "open",
}  # fmt: skip
"""Who may read them, by what stands there."""


@attrs.frozen
class RawClientKey:
    name: str
    key: Secret | None = None
    sha256: Digest | None = None
    models: tuple[str, ...] | None = None


@attrs.frozen
class RawOverrides:
    """Keys that are not here are accepted too, as Plano does, and come in ``unknown``."""

    upstream_connect_timeout: Wait | None = None
    upstream_tls_ca_path: str | None = None
    disable_signals: Any = attrs.field(default=None, metadata=OUTSIDE)
    prompt_target_intent_matching_threshold: Any = attrs.field(default=None, metadata=OUTSIDE)
    optimize_context_window: Any = attrs.field(default=None, metadata=OUTSIDE)
    use_agent_orchestrator: Any = attrs.field(default=None, metadata=OUTSIDE)
    agent_orchestration_model: Any = attrs.field(default=None, metadata=OUTSIDE)
    orchestrator_model_context_length: Any = attrs.field(default=None, metadata=OUTSIDE)
    llm_routing_model: Any = attrs.field(default=None, metadata=LATER)
    unknown: tuple[str, ...] = ()


@attrs.frozen
class RawConfig:
    version: Version | None = None
    listeners: tuple[RawListener, ...] | RawLegacyListeners | None = None
    model_providers: tuple[RawEntry | None, ...] | None = None
    llm_providers: tuple[RawEntry | None, ...] | None = None
    model_aliases: dict[str, RawAlias] = attrs.field(factory=dict)
    overrides: RawOverrides = attrs.field(factory=RawOverrides)
    limits: RawLimits = attrs.field(factory=RawLimits)
    timeouts: RawTimeouts | None = None
    drain: Duration | None = None
    drain_delay: Duration | None = None
    write_timeout: Wait | None = None
    keep_alive: Wait | None = None
    strict: bool = False
    websocket: bool = True
    client_keys: tuple[RawClientKey | None, ...] | None = None
    ui: bool = True
    ui_key: Secret | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    cors: tuple[Origin, ...] = ()
    state_storage: RawStateStorage | None = None
    metrics: bool | RawMetrics = True
    routing: Any = attrs.field(default=None, metadata=LATER)
    routing_preferences: Any = attrs.field(default=None, metadata=LATER)
    ratelimits: Any = attrs.field(default=None, metadata=LATER)
    tracing: RawTracing | None = None
    prompt_caching: Any = attrs.field(default=None, metadata=LATER)
    model_metrics_sources: Any = attrs.field(default=None, metadata=LATER)
    agents: Any = attrs.field(default=None, metadata=OUTSIDE)
    filters: Any = attrs.field(default=None, metadata=OUTSIDE)
    endpoints: Any = attrs.field(default=None, metadata=OUTSIDE)
    system_prompt: Any = attrs.field(default=None, metadata=OUTSIDE)
    prompt_targets: Any = attrs.field(default=None, metadata=OUTSIDE)
    prompt_guards: Any = attrs.field(default=None, metadata=OUTSIDE)
    mode: Any = attrs.field(default=None, metadata=OUTSIDE)


WITHOUT_EFFECT = frozenset(field.name for field in attrs.fields(RawConfig) if ACCEPTED in field.metadata)
"""Root keys that nothing here reads: no variable in them is looked up."""


def describe(value: Any) -> str:
    """What stands there, in a few words. Text that came from the environment is not repeated."""
    if isinstance(value, Expanded):
        return "what the variable holds"
    if isinstance(value, str):
        return repr(value if len(value) <= 60 else value[:60] + "…")
    if isinstance(value, bool | int | float):
        return spelled(value).lower()
    return {list: "a list", dict: "a mapping", type(None): "nothing"}.get(type(value), f"a {type(value).__name__}")


def _found(value: Any, kind: Any) -> str:
    """What stands where a ``kind`` should, if it cannot be a secret out of its place."""
    return "something else" if kind in (RawClientKey, tuple[RawClientKey | None, ...]) else describe(value)


def spelled(value: float) -> str:
    """A number as text; one that nobody writes by hand (0x and thousands of digits) is not spelled out."""
    return "a huge number" if isinstance(value, int) and value.bit_length() > 64 else str(value)


def nearest(word: str, words: Iterable[str]) -> str | None:
    """The right name that ``word`` was probably meant to be."""
    return next(iter(difflib.get_close_matches(word, tuple(words), n=1, cutoff=0.5)), None)


def one_of(words: Iterable[str]) -> str:
    return "one of " + ", ".join(words)


def _text(value: Any, _: Any) -> str:
    if isinstance(value, str):
        return value
    quote = " (put it in quotes)" if not isinstance(value, list | dict) else ""
    raise Wrong(describe(value), f"this must be text{quote}")


def _secret(value: Any, _: Any) -> str:
    if not isinstance(value, str):
        raise Wrong("something that is no text", "this must be text (put it in quotes)")
    text = value.strip()  # files and secret stores like to end with a line break
    if not isinstance(value, Unresolved) and not re.fullmatch(r"[\t\x20-\x7e]*", text):
        raise Wrong("characters that no header can carry", "this must be one line of printable ASCII")
    return text


def _digest(value: Any, _: Any) -> str:
    if isinstance(value, Unresolved):
        return value
    text = value.strip().lower() if isinstance(value, str) else ""
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise Wrong("something that is no SHA-256", "this must be 64 hexadecimal digits: printf %s KEY | sha256sum")
    return text


def _sealing_key(value: Any, _: Any) -> Any:
    if isinstance(value, Unresolved):
        return value
    try:
        key = base64.b64decode(value.strip().replace("-", "+").replace("_", "/"), validate=True)
    except (AttributeError, ValueError):
        key = b""
    if len(key) != 32:
        raise Wrong("something that is no key", "this must be 32 bytes in base64: openssl rand -base64 32")
    return key


def _origin(value: Any, _: Any) -> str:
    text = _text(value, _)
    if not isinstance(value, Unresolved) and not re.fullmatch(r"\*|[A-Za-z][A-Za-z0-9+.-]*://[!-.0-~]+", text):
        raise Wrong(describe(value), "this must be an origin such as https://app.example (no path), or *")
    return text


def _boolean(value: Any, _: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise Wrong(describe(value), "this must be true or false")


def _integer(least: int, most: int | None, what: str) -> Callable[[Any, Any], int]:
    def structure(value: Any, _: Any) -> int:
        number = int(value) if isinstance(value, str) and re.fullmatch(r"[0-9]{1,12}", value) else value
        good = isinstance(number, int) and not isinstance(number, bool) and number >= least
        if not good or (most is not None and number > most):
            raise Wrong(describe(value), f"this must be {what}")
        return int(number)

    return structure


_SECONDS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_AMOUNT = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)\s*([A-Za-z]*)")


def _amount(value: Any, units: Mapping[str, float], expected: str, least: float = 0.0) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    text = format(value, "f") if isinstance(value, float) else spelled(value) if number else value
    match = _AMOUNT.fullmatch(text) if isinstance(text, str) else None
    unit = units.get(match[2].lower()) if match else None
    if match is None or unit is None or (amount := float(match[1]) * unit) < least:
        raise Wrong(describe(value), expected)
    return amount


def _duration(value: Any, _: Any) -> float:
    return _amount(value, _SECONDS, "this must be a duration such as 30s, 0.5s or 5m")


def _wait(value: Any, _: Any) -> float:
    return _amount(value, _SECONDS, "this must be a duration above 0, such as 30s, 0.5s or 5m", 0.001)


def _size(value: Any, _: Any) -> int:
    return int(_amount(value, _BYTES, "this must be a size such as 64MiB, 500kB or a number of bytes", 1))


def _url(value: Any, _: Any) -> str:
    text = _text(value, _)
    if isinstance(value, Unresolved):
        return text
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        good = False
        parts = None
    if parts is not None and parts.username is not None:
        raise Wrong("a URL with a user name", "credentials belong in access_key or headers")
    if not good or not re.fullmatch(r"[\x21-\x7e]+", text) or "#" in text:
        raise Wrong(describe(value), "this must be a URL such as https://host:8000/v1")
    return text


def _version(value: Any, _: Any) -> str:
    text = spelled(value) if isinstance(value, int | float) else str(value)
    if text in VERSIONS:
        return text
    raise Wrong(describe(value), one_of(VERSIONS), nearest(text, ("v0.3.0", "v0.4.0", *VERSIONS)))


def _literal(value: Any, kind: Any) -> Any:
    words = get_args(kind)
    if isinstance(value, str) and value in words:
        return value
    raise Wrong(describe(value), one_of(words), nearest(value, words) if isinstance(value, str) else None)


def _speaking(value: Any, _: Any) -> dict[Api, Api]:
    """A list of the APIs that are spoken, or client API -> upstream API."""
    if isinstance(value, dict):
        return converter.structure(value, dict[Api, Api])
    spoken = converter.structure(value, tuple[Api, ...])
    if not spoken:
        raise Wrong("an empty list", f"name at least one of {', '.join(APIS)}")
    fallback = next(api for api in APIS if api in spoken)
    return {api: api if api in spoken else fallback for api in APIS}


def _quirk_changes(value: Any, _: Any) -> dict[str, Any]:
    whole = converter.structure(value, Quirks)
    return {name: getattr(whole, name) for name in value if value[name] is not None}


def _listeners(value: Any, _: Any) -> Any:
    if value is None:
        return None
    return converter.structure(value, RawLegacyListeners if isinstance(value, dict) else tuple[RawListener, ...])


def _metrics(value: Any, _: Any) -> Any:
    if isinstance(value, bool | dict):
        return converter.structure(value, RawMetrics if isinstance(value, dict) else bool)
    raise Wrong(describe(value), "this must be true, false or a mapping with the key open")


_TEXTUAL = (str, Secret, Digest, SealingKey, Url)


def _takes_text(kind: Any) -> bool:
    return kind in _TEXTUAL or any(kind == text | None for text in _TEXTUAL) or get_origin(kind) is dict


def _mapping_first(cls: Any) -> Callable[[Any, Any], Any]:
    """A class from a mapping: null members count as absent, and so do variables nobody looked up where no text goes."""
    fields = {field.name: field for field in attrs.fields(cls)}
    fill = make_dict_structure_fn(cls, converter, _cattrs_forbid_extra_keys=True)

    def absent(name: Any, value: Any) -> bool:
        if name not in fields:
            return False
        return value is None or (isinstance(value, Unresolved) and not _takes_text(fields[name].type))

    def structure(value: Any, _: Any) -> Any:
        if not isinstance(value, dict):
            raise Wrong(_found(value, cls), "this must be a mapping of keys to values")
        return fill({name: member for name, member in value.items() if not absent(name, member)}, cls)

    return structure


def _overrides(value: Any, _: Any) -> RawOverrides:
    known = {field.name for field in attrs.fields(RawOverrides)} - {"unknown"}
    if not isinstance(value, dict):
        raise Wrong(describe(value), "this must be a mapping of keys to values")
    filled: RawOverrides = _mapping_first(RawOverrides)(
        {key: member for key, member in value.items() if key in known}, RawOverrides
    )
    return attrs.evolve(filled, unknown=tuple(str(key) for key in value if key not in known))


def _strict_tuple(kind: Any, of: cattrs.Converter) -> Callable[[Any, Any], Any]:
    fill = homogenous_tuple_structure_factory(kind, of)

    def structure(value: Any, _: Any) -> Any:
        if isinstance(value, list | tuple):
            return fill(value, kind)
        raise Wrong(_found(value, kind), "this must be a list")

    return structure


def _strict_dict(kind: Any, of: cattrs.Converter) -> Callable[[Any, Any], Any]:
    fill = mapping_structure_factory(kind, of)

    def structure(value: Any, _: Any) -> Any:
        if isinstance(value, dict):
            return fill(value, kind)
        raise Wrong(describe(value), "this must be a mapping of keys to values")

    return structure


def _is(origin: Any) -> Callable[[Any], bool]:
    return lambda kind: get_origin(kind) is origin


converter = cattrs.Converter(detailed_validation=True)
converter.register_structure_hook_factory(attrs.has, _mapping_first)
converter.register_structure_hook_factory(_is(tuple), _strict_tuple)
converter.register_structure_hook_factory(_is(dict), _strict_dict)
converter.register_structure_hook_func(_is(Literal), _literal)
for _kind, _hook in (
    (str, _text), (bool, _boolean), (int, _integer(0, None, "a whole number")), (Secret, _secret),
    (Digest, _digest), (SealingKey, _sealing_key), (Origin, _origin),
    (Count, _integer(0, 10**6, "a whole number, 0 or more")), (Port, _integer(1, 65535, "a port, 1 to 65535")),
    (Percent, _integer(0, 100, "a percentage, 0 to 100")),
    (Duration, _duration), (Wait, _wait), (Size, _size), (Url, _url), (Version, _version), (Speaking, _speaking),
    (QuirkChanges, _quirk_changes), (RawOverrides, _overrides),
    (tuple[RawListener, ...] | RawLegacyListeners | None, _listeners), (bool | RawMetrics, _metrics),
):  # fmt: skip
    converter.register_structure_hook(_kind, _hook)


@attrs.frozen
class Fault:
    """A ``Wrong`` with its place."""

    path: Path
    wrong: Wrong
    missing: bool = False  # something required is not there


def structure(content: Any, kind: type[T]) -> T | tuple[Fault, ...]:
    """``content`` as a ``kind``, or everything that keeps it from being one."""
    try:
        return converter.structure(content, kind)
    except (ClassValidationError, IterableValidationError, Wrong) as error:
        return tuple(_faults(error, ()))


def _faults(error: Exception, path: Path) -> Iterator[Fault]:
    if isinstance(error, ClassValidationError | IterableValidationError):
        noted, others = error.group_exceptions()
        for inner, note in noted:
            yield from _faults(inner, (*path, note.name if hasattr(note, "name") else note.index))
        for inner in others:
            yield from _faults(inner, path)
    elif isinstance(error, ForbiddenExtraKeysError):
        names = [field.name for field in attrs.fields(error.cl)]
        for key in sorted(error.extra_fields):
            yield Fault(
                (*path, key), Wrong("unknown key", f"the keys here are {', '.join(names)}", nearest(key, names))
            )
    elif isinstance(error, Wrong):
        yield Fault(path, error)
    elif isinstance(error, KeyError):
        yield Fault(path, Wrong("missing", "this is required"), missing=True)
    else:
        raise error


def without_effect(value: Any, path: Path = ()) -> Iterator[str]:
    """One sentence for every key in a filled class that is accepted without effect."""
    if attrs.has(type(value)):
        for field in attrs.fields(type(value)):
            member, here = getattr(value, field.name), (*path, field.name)
            if member is not None and ACCEPTED in field.metadata:
                yield f"{generic(spell(here))}: {field.metadata[ACCEPTED]}"
            elif member is not None:
                yield from without_effect(member, here)
    elif isinstance(value, tuple):
        for i, member in enumerate(value):
            yield from without_effect(member, (*path, i))
