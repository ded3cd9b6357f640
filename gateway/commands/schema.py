"""The command ``schema``: a JSON Schema (2020-12) of the configuration, from the classes that read it.

It says of a file's shape what ``trigate check`` says, so that an editor can say it while one types. What one part of a
file says about another (an alias and its model, a name that is taken) only ``check`` can tell.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias, get_args, get_origin, get_type_hints

import attrs
import click
import msgspec

from gateway.config import kinds, schema
from gateway.config.amounts import BUDGET_PATTERN
from gateway.config.reference import KEYS
from gateway.config.settings import KEEPING_KEYS
from providers.catalog.prices import UNITS
from providers.endpoints.endpoint import BODY_SHAPES, ENDPOINTS
from providers.neutral.quirks import Quirks
from streams.events import APIS

Shape: TypeAlias = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"

VARIABLE: Shape = {"$ref": "#/$defs/variable"}
"""Text that the environment decides on: it may be anything that stands in its place."""

FILE: Shape = {"$ref": "#/$defs/file"}
"""A secret in a file of its own."""

_VARIABLE = r"^(?:[^$]|\$\$|\$(?![$A-Za-z_{]))*\$(?:[A-Za-z_]|\{[A-Za-z_][A-Za-z0-9_]*\})"
_DIGITS = r"(?=[0-9]{1,12}(?![0-9]))"
_DECIMALS = r"(?=[0-9]{1,9}(?![0-9]))"
_AMOUNT = r"[0-9]{1,12}(?:\.[0-9]{1,9})?"
_SOME = rf"(?=[0-9.]*[1-9]){_AMOUNT}"
_ONE = rf"{_DIGITS}0*[1-9][0-9]*(?:\.[0-9]{{1,9}})?"  # 1 or more
_THOUSANDTH = rf"{_ONE}|{_DIGITS}0+\.{_DECIMALS}0{{0,2}}[1-9][0-9]*"  # 0.001 or more
_PORT = r"0*(?:[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
_DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_TIME = r"[0-9:.]{8,15}"
_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"


def _text(pattern: str, **more: Any) -> Shape:
    return {"type": "string", "pattern": f"^(?:{pattern})$", **more}


def _any_case(word: str) -> str:
    return "".join(f"[{letter.lower()}{letter.upper()}]" if letter.isalpha() else letter for letter in word)


def _number(least: float, **more: Any) -> Shape:
    return {"type": "number", "minimum": least, "exclusiveMaximum": 10**12, **more}


def _whole(least: int, most: int | None, digits: str) -> Shape:
    bound = {} if most is None else {"maximum": most}
    return {"anyOf": [{"type": "integer", "minimum": least, **bound}, _text(digits, maxLength=12), VARIABLE]}


_SEALING_KEY: Sequence[Shape] = (_text(r"\s*[0-9A-Za-z+/_-]{43}=\s*"), VARIABLE, FILE)

_API: Shape = {"enum": list(APIS)}

_HEADER: Shape = {"anyOf": [_text(_NAME), VARIABLE]}

SHAPES: Mapping[Any, Shape] = {
    Any: {},
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: _whole(0, None, r"[0-9]{1,12}"),
    kinds.Count: _whole(0, 10**6, r"0*(?:[0-9]{1,6}|1000000)"),
    kinds.Port: _whole(1, 65535, _PORT),
    kinds.Percent: _whole(0, 100, r"0*(?:[0-9]{1,2}|100)"),
    kinds.Natural: _whole(1, 10**6, r"0*(?:[1-9][0-9]{0,5}|1000000)"),
    kinds.Share: {"anyOf": [_text(kinds.SHARE.pattern), VARIABLE]},
    kinds.Dollars: {"anyOf": [_number(0), _text(rf"{_AMOUNT}\s*"), VARIABLE]},
    kinds.Weight: {"anyOf": [_number(0), _text(rf"{_AMOUNT}\s*"), VARIABLE]},
    kinds.RateAmount: {
        "anyOf": [
            _text(
                r"\s*(?=[0-9.]*[1-9])(?:[0-9]{1,15}(?:\.0{1,3})?|[0-9]{1,15}(?:\.[0-9]{1,3})?[kKM])"
                r"\s*/\s*(?:s|second|m|minute|h|hour|d|day)\s*"
            ),
            VARIABLE,
        ]
    },
    kinds.HeaderName: _HEADER,
    kinds.ProbePath: {"anyOf": [_text(r"/[!-~]*"), VARIABLE]},
    kinds.UnitWord: {"enum": list(UNITS)},
    kinds.EndpointWord: {"enum": list(ENDPOINTS)},
    kinds.EndpointPath: {"anyOf": [_text(kinds.ENDPOINT_PATH.pattern), VARIABLE]},
    kinds.BodyShape: {"anyOf": [{"enum": list(BODY_SHAPES)}, VARIABLE]},
    kinds.Reason: {"anyOf": [{"enum": list(kinds.REASONS)}, VARIABLE]},
    kinds.Duration: {"anyOf": [_number(0), _text(rf"{_AMOUNT}\s*(?:[mM]?[sS]|[mMhHdD])?"), VARIABLE]},
    kinds.Wait: {
        "anyOf": [
            _number(0.001),
            _text(rf"(?:{_THOUSANDTH})\s*[sS]?|{_ONE}\s*[mM][sS]|{_SOME}\s*[mMhHdD]"),
            VARIABLE,
        ]
    },
    kinds.Size: {"anyOf": [_number(1), _text(rf"{_ONE}\s*[bB]?|{_SOME}\s*[kKmMgG][iI]?[bB]"), VARIABLE]},
    kinds.Url: {
        "anyOf": [
            _text(
                r"[hH][tT][tT][pP][sS]?://(?:\[[0-9A-Fa-f:.]+\]|[!-\"$-.0-9;<=>A-Z^-~]+)"
                rf"(?::(?:{_PORT})?)?(?:[/?][!-\"$-~]*)?"
            ),
            VARIABLE,
        ]
    },
    kinds.UrlPath: {"anyOf": [_text(kinds.URL_PATH.pattern), VARIABLE]},
    kinds.KeyHeader: _HEADER,
    kinds.AddressPart: {"anyOf": [_text(kinds.ADDRESS_PART.pattern), VARIABLE]},
    kinds.Secret: {"anyOf": [_text(r"\s*[\t\x20-\x7e]*\s*"), VARIABLE, FILE]},
    kinds.Digest: {"anyOf": [_text(r"\s*[0-9a-fA-F]{64}\s*"), VARIABLE, FILE]},
    kinds.SealingKeys: {
        "anyOf": [*_SEALING_KEY, {"type": "array", "items": {"anyOf": [*_SEALING_KEY]}, "minItems": 1}]
    },
    kinds.CertificateName: {
        "anyOf": [
            _text(
                rf"\s*(?:{_any_case('cn')}|{_any_case('uri')}|{_any_case('dns')}|{_any_case('email')})\s*[:=]\s*\S(?:.*\S)?\s*"
                rf"|\s*{_any_case('sha256')}\s*[:=]\s*(?:[0-9A-Fa-f]:*){{64}}\s*"
                r"|\s*[A-Za-z][A-Za-z0-9+.-]*://\S+\s*"
            ),
            VARIABLE,
        ]
    },
    kinds.Mode: {"anyOf": [_text(r"0?[0-7]{3}"), VARIABLE]},
    kinds.Timestamp: {
        "anyOf": [_text(rf"\s*{_DATE}(?:[Tt ]{_TIME}(?:[Zz]|[+-][0-9]{{2}}:[0-9]{{2}})?)?\s*"), VARIABLE]
    },
    kinds.Budget: {"anyOf": [_text(BUDGET_PATTERN), VARIABLE]},
    kinds.ZoneName: {"anyOf": [_text(r"[A-Za-z0-9_+/-]{1,64}"), VARIABLE]},
    kinds.AuditPlace: {"type": "string", "minLength": 1},
    kinds.HostName: {"anyOf": [_text(r"[A-Za-z0-9_.-]{1,253}|[0-9A-Fa-f:.]{2,45}"), VARIABLE]},
    kinds.Network: {"anyOf": [_text(r"unix|[0-9A-Fa-f:.]+(/[0-9]{1,3})?"), VARIABLE]},
    kinds.Origin: {"anyOf": [_text(r"\*|[A-Za-z][A-Za-z0-9+.-]*://[!-.0-~]+"), VARIABLE]},
    kinds.Version: {"enum": list(kinds.VERSIONS)},
    kinds.Speaking: {
        "anyOf": [
            {"type": "array", "items": _API, "minItems": 1},
            {"type": "object", "propertyNames": _API, "additionalProperties": _API},
        ]
    },
    dict[kinds.SpokenApi, kinds.UrlPath]: {
        "type": "object",
        "propertyNames": _API,
        "additionalProperties": {"anyOf": [_text(kinds.URL_PATH.pattern), VARIABLE]},
    },
    kinds.KeyHeader | dict[kinds.SpokenApi, kinds.KeyHeader] | None: {
        "anyOf": [_text(_NAME), VARIABLE, {"type": "object", "propertyNames": _API, "additionalProperties": _HEADER}]
    },
    kinds.QuirkChanges: {"$ref": "#/$defs/Quirks"},
}
"""What a value of each type may be. Where it is not text, ``$NAME`` may stand for it."""

_TARGET: Shape = {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/RouteTarget"}]}
_GROUP: Shape = {"type": "array", "items": _TARGET, "minItems": 1}

_LENGTHS = {"pattern": f"^(?:{kinds.PROMPT_LENGTH.pattern})$"}

_KEYED: Shape = {"anyOf": [{"type": "string", "minLength": 1}, FILE]}
_GIVEN = {"not": {"type": "null"}}


def _one_of(*keys: str, given: Shape = _GIVEN) -> Shape:
    return {"oneOf": [_given(key, given) for key in keys]}


def _given(key: str, given: Shape = _GIVEN) -> Shape:
    return {"required": [key], "properties": {key: given}}


_KEYS = ("key", "sha256", "keys")


def _needs(kind: str, key: str) -> Shape:
    """The rule that storage of ``type: kind`` requires ``key``."""
    when = {"properties": {"type": {"const": kind}}, "required": ["type"]}
    return {"if": when, "then": {"required": [key], "properties": {key: _KEYED}}}


RULES: Mapping[type, Shape] = {
    schema.RawConfig: {
        "required": ["version"],
        **_one_of("model_providers", "llm_providers", given={"type": "array", "minItems": 1}),
        "if": {"properties": {"stored_keys": {"const": True}}, "required": ["stored_keys"]},
        "then": {
            "required": ["state_storage"],
            "properties": {"state_storage": {"properties": {"type": {"enum": list(KEEPING_KEYS)}}}},
        },
    },
    schema.RawPrice: {
        "anyOf": [{"required": ["input", "output"]}, _given("per", {"type": "object", "minProperties": 1})]
    },
    schema.RawAlias: _one_of("target", "targets"),
    schema.RawClientKey: {
        "anyOf": [_one_of("key", "sha256", "keys"), {**_given("certificate"), "not": {"anyOf": [*map(_given, _KEYS)]}}]
    },
    schema.RawAcceptedKey: _one_of("key", "sha256"),
    schema.RawStateStorage: {"allOf": [_needs("sqlite", "path"), _needs("postgres", "connection_string")]},
    schema.RawOverrides: {"additionalProperties": True},
}
"""What a mapping has to hold beyond its keys."""

MEMBERS: Mapping[tuple[type, str], Shape] = {
    (schema.RawEntry, "model"): {"anyOf": [_text(r"[^/]+/[\s\S]+"), VARIABLE]},
    (schema.RawEntry, "headers"): {"propertyNames": {"pattern": f"^{_NAME}$"}},
    (schema.RawPrice, "above"): {"propertyNames": _LENGTHS},
    (schema.RawTierPrice, "above"): {"propertyNames": _LENGTHS},
    (schema.RawAlias, "targets"): {"items": {"anyOf": [*_TARGET["anyOf"], _GROUP]}, "minItems": 1},
    (schema.RawRouteTarget, "when"): {"minItems": 1},
    (schema.RawClientKey, "name"): {"minLength": 1},
    (schema.RawClientKey, "models"): {"minItems": 1},
    (schema.RawClientKey, "only"): {"minItems": 1},
    (schema.RawClientGroup, "name"): {"minLength": 1},
    (schema.RawClientGroup, "models"): {"minItems": 1},
    (schema.RawClientGroup, "only"): {"minItems": 1},
    (schema.RawClientKey, "keys"): {"minItems": 1},
    (schema.RawConfig, "client_keys"): {"minItems": 1},
}
"""What a member has to be beyond its type."""


def run() -> int:
    """Print the schema; the exit status."""
    click.echo(msgspec.json.format(msgspec.json.encode(json_schema()), indent=2).decode())
    return 0


def json_schema() -> Shape:
    """The schema of a whole file."""
    defs: dict[str, Shape] = {
        "variable": {
            "description": "$NAME or ${NAME}: replaced from the environment. $$ is a dollar sign.",
            "type": "string",
            "pattern": _VARIABLE,
        },
        "file": {
            "description": "What the file holds, but for the line break at its end.",
            "type": "object",
            "properties": {"file": {"description": "Its path.", "type": "string"}},
            "required": ["file"],
            "additionalProperties": False,
        },
    }
    root = _mapping(schema.RawConfig, defs)
    _define(Quirks, defs)
    head = {"$schema": DIALECT, "title": "trigate", "description": "The configuration of trigate."}
    return {**head, **root, "$defs": defs}


def _mapping(kind: type, defs: dict[str, Shape]) -> Shape:
    hints = get_type_hints(kind)
    members = {field.name: _member(kind, field, hints[field.name], defs) for field in _fields(kind)}
    required = [field.name for field in _fields(kind) if field.default is attrs.NOTHING]
    shape: Shape = {"type": "object", "properties": members, "additionalProperties": False}
    return {**shape, **({"required": required} if required else {}), **RULES.get(kind, {})}


def _fields(kind: type) -> list["attrs.Attribute[Any]"]:
    return [field for field in attrs.fields(kind) if (kind, field.name) != (schema.RawOverrides, "unknown")]


def _member(kind: type, field: "attrs.Attribute[Any]", hint: Any, defs: dict[str, Shape]) -> Shape:
    if schema.ACCEPTED in field.metadata:
        return {"description": _sentence(field.metadata[schema.ACCEPTED])}
    key = KEYS[kind][field.name]
    shape = {**_shape(hint, defs), **MEMBERS.get((kind, field.name), {})}
    needed = field.default is attrs.NOTHING or (kind, field.name) == (schema.RawConfig, "version")
    about = {"description": plain(key.meaning), **_default(key.default)}
    return {**about, **(shape if needed else _or_nothing(shape))}


def _or_nothing(shape: Shape) -> Shape:
    """A key whose value is null counts as one that is not there."""
    nothing = {"type": "null"}
    return {"anyOf": [*shape["anyOf"], nothing] if set(shape) == {"anyOf"} else [shape, nothing]}


def _shape(kind: Any, defs: dict[str, Shape]) -> Shape:
    """Raises ``KeyError`` for a type that the table does not know."""
    if kind in SHAPES:
        return SHAPES[kind]
    if attrs.has(kind):
        return _define(kind, defs)
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Literal:
        return {"anyOf": [{"enum": list(parts)}, VARIABLE]}
    if origin is tuple:
        return {"type": "array", "items": _shape(_present(parts[0]), defs)}
    if origin is dict:
        names = {"propertyNames": SHAPES[parts[0]]} if parts[0] in (kinds.EndpointWord, kinds.UnitWord) else {}
        return {"type": "object", **names, "additionalProperties": _shape(parts[1], defs)}
    some = [part for part in parts if part is not type(None)]
    if not some:
        raise KeyError(kind)
    return _shape(some[0], defs) if len(some) == 1 else {"anyOf": [_shape(part, defs) for part in some]}


def _present(kind: Any) -> Any:
    """The type of an item that is there: an empty one is a mistake."""
    some = [part for part in get_args(kind) if part is not type(None)]
    return some[0] if some and get_origin(kind) not in (Literal, tuple, dict) else kind


def _define(kind: type, defs: dict[str, Shape]) -> Shape:
    name = kind.__name__.removeprefix("Raw")
    if name not in defs:
        defs[name] = _mapping(kind, defs)
    return {"$ref": f"#/$defs/{name}"}


def _default(text: str) -> Shape:
    """The default, where it is one value."""
    found = re.fullmatch(r"`([^`]+)`", text)
    if found is None:
        return {}
    literal = re.fullmatch(r"true|false|[0-9]+", found[1])
    return {"default": msgspec.json.decode(found[1]) if literal else found[1]}


def plain(markdown: str) -> str:
    """``markdown`` without links and code marks."""
    return re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", markdown).replace("`", "").replace("; see below", "")


def _sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}."
