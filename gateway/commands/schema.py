"""``trigate schema``: prints a JSON Schema of the configuration, generated from the classes of its sections."""

from collections.abc import Mapping
from typing import Any, Final

import click
import msgspec

from configfile import json_schema
from configfile.keys import Shape
from configfile.kinds import SECRET
from gateway.config.aliases import Route
from gateway.config.clients import AcceptedKey, ClientKey
from gateway.config.price_table import PriceTable
from gateway.config.settings import Config
from gateway.config.state_storage import StateStorage
from gateway.features.known import features
from gateway.named_imports import import_named

_KEYED: Final[Shape] = {"anyOf": [{"type": "string", "minLength": 1}, SECRET]}
_GIVEN: Final[Shape] = {"not": {"type": "null"}}
_KEYS: Final = ("key", "sha256", "keys")


def _require_one_of(*keys: str, given: Shape = _GIVEN) -> Shape:
    return {"oneOf": [_require_key(key, given) for key in keys]}


def _require_key(key: str, given: Shape = _GIVEN) -> Shape:
    return {"required": [key], "properties": {key: given}}


def _storage_rule(kind: str, key: str) -> Shape:
    """Return the rule that storage of ``type: kind`` requires ``key``."""
    when = {"properties": {"type": {"const": kind}}, "required": ["type"]}
    return {"if": when, "then": {"required": [key], "properties": {key: _KEYED}}}


RULES: Final[Mapping[type, Shape]] = {
    Config: {
        "required": ["version"],
        **_require_one_of("model_providers", "llm_providers", given={"type": "array", "minItems": 1}),
    },
    PriceTable: {
        "anyOf": [{"required": ["input", "output"]}, _require_key("per", {"type": "object", "minProperties": 1})]
    },
    Route: _require_one_of("target", "targets"),
    ClientKey: {
        "anyOf": [
            _require_one_of("key", "sha256", "keys"),
            {**_require_key("certificate"), "not": {"anyOf": [*map(_require_key, _KEYS)]}},
        ]
    },
    AcceptedKey: _require_one_of("key", "sha256"),
    StateStorage: {"allOf": [_storage_rule("sqlite", "path"), _storage_rule("postgres", "connection_string")]},
}
"""Constraints on a mapping besides the types of its keys."""


def run() -> int:
    """Print the schema and return the exit status."""
    click.echo(msgspec.json.format(msgspec.json.encode(schema()), indent=2).decode())
    return 0


def schema() -> dict[str, Any]:
    """Return the schema of a whole file."""
    rows = features()  # with their keys
    found = json_schema.json_schema(Config, RULES)
    for place in filter(None, (feature.schema for feature in rows)):
        import_named(place)(found)
    head = {"$schema": found["$schema"], "title": "trigate", "description": "The configuration of trigate."}
    return {**head, **found}
