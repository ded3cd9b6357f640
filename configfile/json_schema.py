"""A JSON Schema (2020-12) of declared classes, for editors.

It has the rules of single values and keys. Rules between parts of a file need the check of the whole file.
"""

import re
from collections.abc import Mapping
from typing import Any, Final, TypeAlias, get_args, get_origin

import attrs
import msgspec

from configfile.keys import Field, Given, Shape, fixed_length, is_literal, keys_of, kind_of, present
from configfile.kinds import PLAIN, VARIABLE
from configfile.stored_secrets import STORES

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

_VARIABLE: Final = r"^(?:[^$]|\$\$|\$(?![$A-Za-z_{]))*\$(?:[A-Za-z_]|\{[A-Za-z_][A-Za-z0-9_]*\})"

Rules: TypeAlias = Mapping[type, Shape]
"""The rules for the mapping of a class beyond its keys."""


def json_schema(root: type, rules: Rules) -> dict[str, Any]:
    """Return the schema of a whole file with the root class ``root``, without a title."""
    defs: dict[str, Shape] = {
        "variable": {
            "description": "$NAME or ${NAME}: replaced from the environment. $$ is a dollar sign.",
            "type": "string",
            "pattern": _VARIABLE,
        },
        "file": {
            "description": "What the file holds, but for the line break at its end.",
            **_reference("file", "Its path."),
        },
        "stored_secret": {
            "description": "A secret in a store.",
            "anyOf": [_reference(key, f"The place in {store.name}: {store.form}") for key, store in STORES.items()],
        },
    }
    return {"$schema": DIALECT, **_Definitions(defs, rules).mapping(root), "$defs": defs}


def _reference(key: str, description: str) -> Shape:
    return {
        "type": "object",
        "properties": {key: {"description": description, "type": "string"}},
        "required": [key],
        "additionalProperties": False,
    }


@attrs.frozen
class _Definitions:
    """The schema's classes so far."""

    defs: dict[str, Shape]
    rules: Rules

    def mapping(self, cls: type) -> Shape:
        fields = keys_of(cls).values()
        required = [field.name for field in fields if field.required]
        return {
            "type": "object",
            "properties": {field.name: self._member(field) for field in fields},
            "additionalProperties": getattr(cls, "accepts_unknown_keys", False),
            **({"required": required} if required else {}),
            **self.rules.get(cls, {}),
        }

    def _member(self, field: Field) -> Shape:
        key = field.key
        if key.ignored is not None:
            return {"description": f"{key.ignored[0].upper()}{key.ignored[1:]}."}
        shape = {**self._shape(field.type), **key.shape}
        about = {"description": plain(field.meaning), **_default_member(spell_default(field))}
        return {**about, **(shape if field.required or key.needed else _or_null(shape))}

    def _shape(self, of: Any) -> Shape:
        if of is Any:
            return {}
        if isinstance(of, Given):
            return self._define(of.cls)
        of = present(of)
        kind = kind_of(of) or PLAIN.get(of)
        if kind is not None and kind.shape is not None:
            return kind.shape
        if kind is not None:
            shapes = [self._shape(part) for part in kind.parts]
            return shapes[0] if len(shapes) == 1 else {"anyOf": shapes}
        if is_literal(of):
            return {"anyOf": [{"enum": list(get_args(of))}, VARIABLE]}
        parts = get_args(of)
        if get_origin(of) is tuple:
            length = fixed_length(of)
            number = {} if length is None else {"minItems": length, "maxItems": length}
            return {"type": "array", "items": self._shape(parts[0]), **number}
        if get_origin(of) in (dict, Mapping):
            names = {} if parts[0] is str else {"propertyNames": self._shape(parts[0])}
            return {"type": "object", **names, "additionalProperties": self._shape(parts[1])}
        return self._define(of)

    def _define(self, cls: type) -> Shape:
        name = cls.__name__
        if name not in self.defs:
            self.defs[name] = {}  # a class may contain itself
            self.defs[name] = self.mapping(cls)
        return {"$ref": f"#/$defs/{name}"}


def _or_null(shape: Shape) -> Shape:
    """Allow null in a shape; a null value counts as an absent key."""
    nothing = {"type": "null"}
    return {"anyOf": [*shape["anyOf"], nothing] if set(shape) == {"anyOf"} else [shape, nothing]}


def spell_default(field: Field) -> str:
    """Return a key's default in Markdown: ``required``, a value in backticks, ``none`` if it is empty, or words."""
    if field.key.shown is not None:
        return field.key.shown
    if field.required:
        return "required"
    of = present(field.type)
    kind = kind_of(of) or PLAIN.get(of)
    if field.default in (None, (), attrs.Factory(dict)):
        return "none"
    if isinstance(field.default, str | bool | int | float):
        spelled = str(field.default) if kind is None or kind.spell is None else kind.spell(field.default)
        return f"`{spelled}`"
    return ""


def _default_member(text: str) -> Shape:
    """Return the ``default`` member of a schema, if the default is one value."""
    found = re.fullmatch(r"`([^`]+)`", text)
    if found is None:
        return {}
    literal = re.fullmatch(r"true|false|[0-9]+", found[1])
    return {"default": msgspec.json.decode(found[1]) if literal else found[1]}


def plain(markdown: str) -> str:
    """Remove links and code marks from Markdown."""
    return re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", markdown).replace("`", "").replace("; see below", "")
