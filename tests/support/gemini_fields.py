"""The body of Gemini's ``generateContent`` as a type, put together from the types of the google-genai package.

The package has types of the members, in Python's spelling, and none of the body.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any, Final, Literal, Required, Union, get_args, get_origin, get_type_hints

import typing_extensions
from google.genai import types
from typing_extensions import TypedDict

_CARRIED: Final = ("SchemaDict", "JSONSchemaDict")
"""Types that contain themselves. Schemas are carried whole."""
_OF_TEXT: Final = ("thought", "thoughtSignature", "partMetadata", "speechMetadata")
_DATA: Final = (
    "text", "inlineData", "fileData", "functionCall", "functionResponse", "executableCode", "codeExecutionResult",
    "toolCall", "toolResponse",
)  # fmt: skip
"""A part has one of these members."""


@cache
def wire_type(kind: Any) -> Any:
    """Return ``kind`` with the names of the wire, and words in place of enumerations."""
    if typing_extensions.is_typeddict(kind):
        return Any if kind.__name__ in _CARRIED else _wire_object(kind)
    if isinstance(kind, type) and issubclass(kind, types._common.CaseInSensitiveEnum):
        words = [word.value for word in kind if not word.value.upper().endswith("UNSPECIFIED")]
        return Literal[(*words, "")]  # a second value: a single one would be a tag
    if get_origin(kind) is Union:
        return Union[tuple(wire_type(one) for one in get_args(kind))]  # noqa: UP007  # of a computed number of types
    if get_origin(kind) is list:
        return list[wire_type(get_args(kind)[0])]  # type: ignore[misc]
    return str if kind is bytes else kind


def _wire_object(kind: Any) -> Any:
    members = {_camel(name): wire_type(hint) for name, hint in get_type_hints(kind).items()}
    return _part(members) if kind is types.PartDict else TypedDict(kind.__name__, members, total=False)


def _part(members: Mapping[str, Any]) -> Any:
    """Return a union of one type for each member of data, with the members that describe it."""
    others = [name for name in members if name not in _DATA]
    described = {"text": _OF_TEXT, "inlineData": [name for name in others if name not in _OF_TEXT]}
    made = []
    for name in _DATA:
        more = {one: members[one] for one in described.get(name, ())}
        made.append(TypedDict(f"Part.{name}", {name: Required[members[name]], **more}, total=False))
    return Union[tuple(made)]  # noqa: UP007


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


GenerateContentRequest: Final = TypedDict(
    "GenerateContentRequest",
    {
        "contents": wire_type(list[types.ContentDict]),
        "systemInstruction": wire_type(types.ContentDict),
        "tools": wire_type(list[types.ToolDict]),
        "toolConfig": wire_type(types.ToolConfigDict),
        "safetySettings": wire_type(list[types.SafetySettingDict]),
        "generationConfig": wire_type(types.GenerationConfigDict),
        "modelArmorConfig": wire_type(types.ModelArmorConfigDict),
        "cachedContent": str,
        "continuationToken": str,
        "labels": dict[str, str],
        "serviceTier": wire_type(types.ServiceTier),
        "store": bool,
    },
    total=False,
)
"""The members are those that the package's client writes into a body."""
