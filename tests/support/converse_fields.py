"""The request of Amazon's ``Converse`` as a type, made of botocore's model of the service."""

from functools import cache
from typing import Any, Literal, NotRequired, Required, Union

from botocore.session import Session
from typing_extensions import TypedDict


@cache
def converse_shape() -> Any:
    """Return botocore's shape of a request."""
    return Session().get_service_model("bedrock-runtime").operation_model("Converse").input_shape


def converse_request() -> Any:
    """Return the type of a request."""
    return _type_of(converse_shape())


def _type_of(shape: Any) -> Any:
    if getattr(shape, "is_document_type", False):
        return Any
    match shape.type_name:
        case "structure" if getattr(shape, "is_tagged_union", False) or "ContentBlock" in shape.name:
            # one of its members, also in those of ContentBlock that the model does not mark as a union
            kinds = [TypedDict(f"{shape.name}.{name}", {name: Required[_type_of(one)]})  # type: ignore[operator]
                     for name, one in shape.members.items()]  # fmt: skip
            return Union[tuple(kinds)]  # noqa: UP007
        case "structure":
            members = {
                name: (Required if name in shape.required_members else NotRequired)[_type_of(one)]
                for name, one in shape.members.items()
            }
            return TypedDict(shape.name, members)  # type: ignore[operator]
        case "list":
            return list[_type_of(shape.member)]  # type: ignore[misc]
        case "map":
            return dict[str, _type_of(shape.value)]  # type: ignore[misc]
        case "string" if shape.enum:
            return Literal[tuple(shape.enum)] if len(shape.enum) > 1 else Literal[shape.enum[0], ""]
        case "integer" | "long":
            return int
        case "float" | "double":
            return float
        case "boolean":
            return bool
    return str
