"""Short builders for requests to Bedrock's Converse, validated by the service's own model if botocore is installed."""

import base64
import json
from functools import cache
from typing import Any

from providers.catalog.models import quirks_of
from providers.converse import CONVERSE
from providers.neutral.codec import Outgoing, Recipient
from providers.neutral.quirks import Quirks
from providers.neutral.request import Message, Parameter, Request, TextPart, Tool
from providers.neutral.seal import Issuer

OURS = Issuer("bedrock", "a1")
OTHER = Issuer("openai", "b2")
CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
ADAPTIVE = "us.anthropic.claude-sonnet-4-6"
NOVA = "us.amazon.nova-lite-v1:0"
NOVA2 = "us.amazon.nova-2-lite-v1:0"
LLAMA = "us.meta.llama3-3-70b-instruct-v1:0"
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def recipient(model: str, **changes: Any) -> Recipient:
    quirks = quirks_of(Quirks(**changes), model)
    return Recipient(model, OURS, quirks, quirks)


def outgoing(request: Request, model: str = CLAUDE, **changes: Any) -> Outgoing:
    """Return the outgoing request, validated by Bedrock's model."""
    written = CONVERSE.write_request(request, recipient(model, **changes))
    check(json.loads(written.body))
    return written


def write(request: Request, model: str = CLAUDE, **changes: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the decoded body of the outgoing request, and the dropped members."""
    written = outgoing(request, model, **changes)
    return json.loads(written.body), written.dropped


def messages(*turns: Any, model: str = CLAUDE, **fields: Any) -> list[Any]:
    """Return the messages of the outgoing request."""
    return list(write(chat(*turns, **fields), model)[0]["messages"])


def chat(*turns: Message, **fields: Any) -> Request:
    return Request("chat", "m", turns or (user("hello"),), **fields)


def user(*parts: Any, at: str = "messages[1]") -> Message:
    return Message("user", tuple(TextPart(part, at) if isinstance(part, str) else part for part in parts), at)


def assistant(*parts: Any) -> Message:
    return Message("assistant", user(*parts).parts, "messages[2]")


def system(*parts: Any) -> Message:
    return Message("system", user(*parts).parts, "messages[0]")


def controls(**values: Any) -> dict[str, Parameter]:
    return {name: Parameter(value, name) for name, value in values.items()}


WEATHER = Tool(
    "get_weather", "The weather", {"type": "object", "properties": {"city": {"type": "string"}}}, at="tools[0]"
)


# Bedrock's own model


@cache
def service() -> Any:
    """Return botocore's model of the service, or ``None`` without botocore."""
    try:
        from botocore.loaders import Loader
        from botocore.model import ServiceModel
    except ImportError:
        return None
    return ServiceModel(Loader().load_service_model("bedrock-runtime", "service-2"))


def check(body: dict[str, Any], operation: str = "Converse") -> None:
    """Fail if Bedrock's model rejects ``body``: unknown members, wrong types, missing members, short texts, unknown
    enumeration values, or ambiguous unions."""
    if service() is None:
        return
    from botocore.validate import ParamValidator

    shape = service().operation_model(operation).input_shape
    asked = {"modelId": "m", **body}
    report = ParamValidator().validate(_with_bytes(asked, shape), shape)
    assert not report.has_errors(), report.generate_report()
    assert_known(asked, shape)


def _with_bytes(value: Any, shape: Any) -> Any:
    """Return ``value`` with bytes in place of base64, as botocore needs it."""
    match shape.type_name:
        case "structure" if not shape.is_document_type:
            return {name: _with_bytes(one, shape.members[name]) if name in shape.members else one
                    for name, one in value.items()}  # fmt: skip
        case "list":
            return [_with_bytes(one, shape.member) for one in value]
        case "blob":
            return base64.b64decode(value, validate=True)
    return value


def assert_known(value: Any, shape: Any, at: str = "") -> None:
    """Check the rules that ``ParamValidator`` ignores."""
    match shape.type_name:
        case "structure" if not shape.is_document_type:
            assert not set(value) - set(shape.members), (at, value)
            assert not shape.is_tagged_union or len(value) == 1, (at, value)
            for name, one in value.items():
                assert_known(one, shape.members[name], f"{at}.{name}")
        case "list":
            assert len(value) >= shape.metadata.get("min", 0), at
            for one in value:
                assert_known(one, shape.member, f"{at}[]")
        case "string":
            assert not shape.enum or value in shape.enum, (at, value)
            assert len(value) >= shape.metadata.get("min", 0), at
