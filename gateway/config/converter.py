"""The converter: plain content into the classes that say which keys there are, or everything that keeps it from it."""

from collections.abc import Callable, Iterator
from typing import Any, Final, Literal, TypeVar, get_args, get_origin

import attrs
import cattrs
from cattrs.cols import homogenous_tuple_structure_factory, mapping_structure_factory
from cattrs.errors import ClassValidationError, ForbiddenExtraKeysError, IterableValidationError
from cattrs.gen import make_dict_structure_fn

from configfile.document import Path
from configfile.expanded import Unresolved
from configfile.wording import Wrong, describe, described_word, nearest, one_of
from gateway.config.kinds import (
    READERS,
    SPOKEN_APIS,
    AddressPart,
    Digest,
    Dollars,
    EndpointPath,
    HeaderName,
    KeyHeader,
    QuirkChanges,
    SealingKeys,
    Secret,
    Speaking,
    SpokenApi,
    Url,
    UrlPath,
    Wait,
)
from gateway.config.schema import (
    ACCEPTED,
    EXAMPLE,
    PriceName,
    RawAcceptedKey,
    RawAwsSignIn,
    RawAzureSignIn,
    RawCacheUse,
    RawClientGroup,
    RawClientKey,
    RawEndpoint,
    RawGoogleSignIn,
    RawLegacyListeners,
    RawListener,
    RawMetrics,
    RawOverrides,
    RawPrice,
    RawQueue,
    RawRateLimits,
    RawRootLimit,
    RawRouteTarget,
    SigningIn,
)
from gateway.config.unknown import about, advice
from providers.catalog.prices import NAMED_PRICES
from providers.catalog.provider import best_for
from providers.neutral.quirks import Quirks

T = TypeVar("T")


_OF_KEYS: Final = (
    RawClientKey,
    tuple[RawClientKey | None, ...],
    RawClientGroup,
    tuple[RawClientGroup | None, ...],
    RawAcceptedKey,
    tuple[RawAcceptedKey, ...],
)


def _found(value: Any, kind: Any) -> str:
    """The value that stands where a ``kind`` should, if it cannot be a secret out of its place."""
    return "something else" if kind in _OF_KEYS else describe(value)


def _literal(value: Any, kind: Any) -> Any:
    words = get_args(kind)
    if isinstance(value, str) and value in words:
        return value
    raise Wrong(describe(value), one_of(words), nearest(value, words) if isinstance(value, str) else None)


def _speaking(value: Any, _: Any) -> dict[Any, Any]:
    """A list of the APIs that are spoken, or client API -> upstream API."""
    if isinstance(value, dict):
        return converter.structure(value, dict[SpokenApi, SpokenApi])
    spoken = converter.structure(value, tuple[SpokenApi, ...])
    if not spoken:
        raise Wrong("an empty list", f"name at least one of {', '.join(SPOKEN_APIS)}")
    return {api: best_for(api, spoken) for api in SPOKEN_APIS}


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


def _route_target(value: Any, _: Any) -> RawRouteTarget:
    """A mapping, or a target's name alone."""
    if isinstance(value, dict):
        filled: RawRouteTarget = _mapping_first(RawRouteTarget)(value, RawRouteTarget)
        return filled
    return RawRouteTarget(converter.structure(value, str))


def _place_of_route(value: Any, _: Any) -> Any:
    """One target, or a list of them: a group."""
    return converter.structure(value, tuple[RawRouteTarget, ...] if isinstance(value, list) else RawRouteTarget)


def _sticky(value: Any, _: Any) -> Any:
    if value is None or value is False:
        return value
    if isinstance(value, str):
        return converter.structure(value, HeaderName)
    raise Wrong(described_word(value), "this must be auto, false or the name of a header")


def _queue(value: Any, _: Any) -> Any:
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value == 0):
        return value
    if isinstance(value, dict):
        return converter.structure(value, RawQueue)
    raise Wrong(describe(value), "this must be a mapping such as {size: 64, wait: 3s}, or 0 for no queue")


def _root_ratelimits(value: Any, _: Any) -> Any:
    """Read a mapping of rates for everybody, or Plano's list of limits by a header."""
    if value is None:
        return value
    if isinstance(value, dict | list):
        return converter.structure(value, RawRateLimits if isinstance(value, dict) else tuple[RawRootLimit, ...])
    raise Wrong(describe(value), "this must be a mapping such as {requests: 600/m}, or a list of limits by a header")


def _cache_use(value: Any, _: Any) -> Any:
    if value is None or value is False:
        return value
    if isinstance(value, dict):
        return converter.structure(value, RawCacheUse)
    raise Wrong(describe(value), "this must be a mapping such as {ttl: 1h}, or false for no cached answers")


def _hedge_after(value: Any, _: Any) -> Any:
    if value == "p95" or isinstance(
        value, Unresolved
    ):  # a variable may well stand for it, and one of the two has to be
        return "p95"
    try:
        return converter.structure(value, Wait)
    except Wrong as wrong:
        raise Wrong(wrong.found, "this must be a duration above 0, such as 2s, or p95") from wrong


_TEXTUAL = (str, AddressPart, UrlPath, Secret, Digest, Dollars, SealingKeys, Url, Wait | Literal["p95"])


def _price(value: Any, _: Any) -> Any:
    if value is None or (isinstance(value, str) and value in NAMED_PRICES):
        return value
    if isinstance(value, dict):
        return converter.structure(value, RawPrice)
    expected = (
        "this must be free, subscription, or a mapping such as {input: 1.25, output: 10}, in dollars for a million "
        "tokens"
    )
    raise Wrong(describe(value), expected, nearest(value, NAMED_PRICES) if isinstance(value, str) else None)


def _endpoint(value: Any, _: Any) -> Any:
    """Whether it is there, its path, or a mapping with its path and shape."""
    if isinstance(value, bool):
        return value
    return converter.structure(value, RawEndpoint if isinstance(value, dict) else EndpointPath)


def _auth(value: Any, _: Any) -> Any:
    """A header, or one for each API."""
    if isinstance(value, dict):
        return converter.structure(value, dict[SpokenApi, KeyHeader])
    if value is None or isinstance(value, str):
        return None if value is None else converter.structure(value, KeyHeader)
    raise Wrong(describe(value), "this must be bearer, a header's name, or a mapping such as {messages: x-api-key}")


_SIGN_INS: Final[dict[str, type]] = {"aws": RawAwsSignIn, "google": RawGoogleSignIn, "azure": RawAzureSignIn}


def _sign_in(value: Any, _: Any) -> Any:
    """A name, or a mapping whose ``type`` says which keys it has."""
    if value is None:
        return None
    if isinstance(value, str):
        return _literal(value, Literal["aws", "google", "azure", "none"])
    if not isinstance(value, dict):
        raise Wrong(describe(value), f"this must be {', '.join(_SIGN_INS)}, or a mapping such as {{type: aws, …}}")
    kind = converter.structure(value, _OfOneType).type
    return converter.structure(value, _SIGN_INS[kind])


def _of_one_type(value: Any, _: Any) -> "_OfOneType":
    """Raises as ``converter.structure`` does, with ``type`` as the place."""
    given = {"type": value["type"]} if "type" in value else {}
    filled: _OfOneType = make_dict_structure_fn(_OfOneType, converter)(given, _OfOneType)
    return filled


@attrs.frozen
class _OfOneType:
    type: Literal["aws", "google", "azure"]


def _takes_text(kind: Any) -> bool:
    return kind in _TEXTUAL or any(kind == text | None for text in _TEXTUAL) or get_origin(kind) is dict


def _mapping_first(cls: Any) -> Callable[[Any, Any], Any]:
    """A class from a mapping: null members count as absent, and so do variables nobody looked up where no text goes."""
    fields = {field.name: field for field in attrs.fields(cls)}
    fill = make_dict_structure_fn(cls, converter, _cattrs_forbid_extra_keys=True)
    needed = next(
        (name for name, one in fields.items() if one.default is attrs.NOTHING or EXAMPLE in one.metadata), None
    )
    example = f", such as {{{needed}: …}}" if needed else " of keys to values"

    def absent(name: Any, value: Any) -> bool:
        if name not in fields:
            return False
        return value is None or (isinstance(value, Unresolved) and not _takes_text(fields[name].type))

    def structure(value: Any, _: Any) -> Any:
        if not isinstance(value, dict):
            raise Wrong(_found(value, cls), f"this must be a mapping{example}")
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
for _kind, _hook in {
    **READERS,
    Speaking: _speaking,
    QuirkChanges: _quirk_changes,
    RawOverrides: _overrides,
    tuple[RawListener, ...] | RawLegacyListeners | None: _listeners,
    bool | RawMetrics: _metrics,
    RawRouteTarget: _route_target,
    RawRouteTarget | tuple[RawRouteTarget, ...]: _place_of_route,
    Literal[False] | HeaderName | None: _sticky,
    Wait | Literal["p95"]: _hedge_after,
    RawPrice | PriceName | None: _price,
    SigningIn | None: _sign_in,
    _OfOneType: _of_one_type,
    Literal[0] | RawQueue | None: _queue,
    tuple[RawRootLimit, ...] | RawRateLimits | None: _root_ratelimits,
    Literal[False] | RawCacheUse | None: _cache_use,
    KeyHeader | dict[SpokenApi, KeyHeader] | None: _auth,
    bool | EndpointPath | RawEndpoint: _endpoint,
}.items():
    converter.register_structure_hook(_kind, _hook)


def _unknown(kind: type, key: str) -> Wrong:
    """Advice on an unknown key: what people mean by that name, else the names that look alike, else all of them."""
    names = tuple(field.name for field in attrs.fields(kind) if ACCEPTED not in field.metadata)
    if (advised := advice(kind, key)) is not None:
        return Wrong("unknown key", advised)
    if (near := nearest(key, names)) is not None:
        return Wrong("unknown key", "", near)
    advised = about(kind, key)
    return Wrong("unknown key", advised or "", known=() if advised else names)


@attrs.frozen
class ConversionFault:
    """A ``Wrong`` with its place."""

    path: Path
    wrong: Wrong
    missing: bool = False  # something required is not there


def structure(content: Any, kind: type[T]) -> T | tuple[ConversionFault, ...]:
    """``content`` as a ``kind``, or everything that keeps it from being one."""
    try:
        return converter.structure(content, kind)
    except (ClassValidationError, IterableValidationError, Wrong) as error:
        return tuple(_faults(error, ()))


def _faults(error: Exception, path: Path) -> Iterator[ConversionFault]:
    if isinstance(error, ClassValidationError | IterableValidationError):
        noted, others = error.group_exceptions()
        for inner, note in noted:
            yield from _faults(inner, (*path, note.name if hasattr(note, "name") else note.index))
        for inner in others:
            yield from _faults(inner, path)
    elif isinstance(error, ForbiddenExtraKeysError):
        for key in sorted(error.extra_fields):
            yield ConversionFault((*path, key), _unknown(error.cl, key))
    elif isinstance(error, Wrong):
        yield ConversionFault(path, error)
    elif isinstance(error, KeyError):
        yield ConversionFault(path, Wrong("missing", "this is required"), missing=True)
    else:
        raise error
