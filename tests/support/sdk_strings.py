"""Values of an SDK's types with a marker in one of their strings, and all other members as small as possible."""

import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Final, Literal, NotRequired, Required, Union, get_args, get_origin, get_type_hints
from typing import NotRequired as NotRequiredExtension
from typing import Required as RequiredExtension

import pydantic
from botocore.model import ListShape, MapShape, Shape, StructureShape
from typing_extensions import TypeAliasType, is_typeddict

MARKER: Final = "MARKERq7Zx"

_WRAPPERS: Final = (Required, NotRequired, RequiredExtension, NotRequiredExtension, Annotated)
_DISCRIMINATORS: Final = frozenset(("type", "role"))


def plant(kind: Any, seen: frozenset[Any] = frozenset(), *, full: bool = False) -> Iterator[tuple[str, Any]]:
    """Yield the path of each string in the type ``kind``, and a value of that type with ``MARKER`` there.

    Paths have ``[]`` for every item of a list, and ``{}`` for the members of a map. Types within themselves are left
    out. A literal also counts, unless it decides what its object is. ``full``: the objects around the marker have all
    their members."""
    kind = _unwrap(kind)
    origin = get_origin(kind)
    if kind is str:
        yield "", MARKER
    elif kind in (object, Any):
        yield from (("", MARKER), ("", {"k": [MARKER]}), ("", {MARKER: 1}))
    elif origin is Literal:
        if isinstance(get_args(kind)[0], str):
            yield "", MARKER
    elif origin in (Union, types.UnionType):
        for one in get_args(kind):
            yield from plant(one, seen, full=full)
    elif fields := _fields(kind):
        if kind not in seen:
            yield from _plant_in_fields(fields, seen | {kind}, full=full)
    elif _is_map(kind, origin):
        yield "{}", {MARKER: smallest(get_args(kind)[1], seen)}
        yield from (("{}" + path, {"k": value}) for path, value in plant(get_args(kind)[1], seen, full=full))
    elif _is_list(kind, origin):
        yield from (("[]" + path, [value]) for path, value in plant(get_args(kind)[0], seen, full=full))


def _plant_in_fields(
    fields: Mapping[str, tuple[Any, bool]], seen: frozenset[Any], *, full: bool
) -> Iterator[tuple[str, Any]]:
    needed = {
        name: smallest(one, seen, full=full) for name, (one, is_required) in fields.items() if is_required or full
    }
    for name, (one, _) in fields.items():
        if name in _DISCRIMINATORS and get_origin(_unwrap(one)) in (Literal, Union):
            continue
        for path, value in plant(one, seen, full=full):
            yield f".{name}{path}", {**needed, name: value}


def smallest(kind: Any, seen: frozenset[Any] = frozenset(), *, full: bool = False) -> Any:
    """Return a value of the type with its required members only, or ``full`` with all."""
    kind = _unwrap(kind)
    origin = get_origin(kind)
    if origin is Literal:
        return get_args(kind)[0]
    if origin in (Union, types.UnionType):
        options = [one for one in get_args(kind) if _unwrap(one) not in seen]
        return smallest(options[0], seen, full=full) if options else None
    if fields := _fields(kind):
        if kind in seen:
            return {}
        inner = seen | {kind}
        chosen = {name: one for name, (one, is_required) in fields.items() if is_required or full}
        return {name: smallest(one, inner, full=full) for name, one in chosen.items()}
    if _is_map(kind, origin):
        return {}
    if _is_list(kind, origin):
        return [smallest(get_args(kind)[0], seen, full=full)] if full else []
    return {str: "x", int: 1, float: 1.0, bool: True, type(None): None}.get(kind, {})


def _unwrap(kind: Any) -> Any:
    while True:
        if get_origin(kind) in _WRAPPERS:
            kind = get_args(kind)[0]
        elif isinstance(kind, TypeAliasType):
            kind = kind.__value__
        elif hasattr(kind, "__supertype__"):
            kind = kind.__supertype__
        else:
            return kind


def _fields(kind: Any) -> dict[str, tuple[Any, bool]]:
    """Return the type of each field by its name in JSON, and whether it is required."""
    if is_typeddict(kind):
        hints = get_type_hints(kind, include_extras=True)
        found = {}
        for name, hint in hints.items():
            alias = next((one.alias for one in _metadata(hint) if getattr(one, "alias", None)), name)
            found[alias] = (hint, name in kind.__required_keys__)
        return found
    if isinstance(kind, type) and issubclass(kind, pydantic.BaseModel):
        return {
            field.alias or name: (field.annotation, field.is_required()) for name, field in kind.model_fields.items()
        }
    return {}


def _metadata(hint: Any) -> Iterable[Any]:
    while get_origin(hint) in _WRAPPERS:
        if get_origin(hint) is Annotated:
            return get_args(hint)[1:]
        hint = get_args(hint)[0]
    return ()


def _is_map(kind: Any, origin: Any) -> bool:
    return isinstance(origin, type) and issubclass(origin, Mapping) and len(get_args(kind)) == 2


def _is_list(kind: Any, origin: Any) -> bool:
    return len(get_args(kind)) >= 1 and origin is not None and not _is_map(kind, origin)


def plant_in_value(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the path of each string in an example, and the example with ``MARKER`` there."""
    if isinstance(value, str):
        yield "", MARKER
    elif isinstance(value, dict):
        for name, one in value.items():
            if name not in _DISCRIMINATORS or not isinstance(one, str):
                yield from ((f".{name}{path}", {**value, name: new}) for path, new in plant_in_value(one))
    elif isinstance(value, list):
        for i, one in enumerate(value):
            yield from (("[]" + path, [*value[:i], new, *value[i + 1 :]]) for path, new in plant_in_value(one))


# Amazon's service models


def plant_in_shape(shape: Shape, seen: frozenset[str] = frozenset()) -> Iterator[tuple[str, Any]]:
    """Yield what ``plant`` yields, for a shape of botocore."""
    if shape.name in seen:
        return
    inner = seen | {shape.name}
    if isinstance(shape, StructureShape):
        if getattr(shape, "is_document_type", False):
            yield from plant(object)
        needed = {name: smallest_of_shape(shape.members[name]) for name in shape.required_members}
        for name, member in shape.members.items():
            for path, value in plant_in_shape(member, inner):
                rest = {} if getattr(shape, "is_tagged_union", False) else needed
                yield f".{name}{path}", {**rest, name: value}
    elif isinstance(shape, ListShape):
        yield from (("[]" + path, [value]) for path, value in plant_in_shape(shape.member, inner))
    elif isinstance(shape, MapShape):
        yield "{}", {MARKER: smallest_of_shape(shape.value)}
        yield from (("{}" + path, {"k": value}) for path, value in plant_in_shape(shape.value, inner))
    elif shape.type_name in ("string", "blob"):
        yield "", MARKER


def smallest_of_shape(shape: Shape) -> Any:
    """Return a value of the shape with its required members only."""
    if isinstance(shape, StructureShape):
        return {name: smallest_of_shape(shape.members[name]) for name in shape.required_members}
    if shape.type_name == "string":
        return (getattr(shape, "enum", None) or ["x"])[0]
    return {"list": [], "map": {}, "integer": 1, "long": 1, "float": 1.0, "double": 1.0, "boolean": True}.get(
        shape.type_name, "eHh4"
    )
