"""The end user and the tags with which LiteLLM's clients label their requests, as fields of the log.

Sources: https://docs.litellm.ai/docs/proxy/customers and https://docs.litellm.ai/docs/proxy/request_tags."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

import msgspec

from gateway.request.client_request import ClientRequest
from gateway.request.parse import Incoming
from streams.errors import GatewayError
from streams.surrogates import decode_or

MOST_TAGS: Final = 16
LONGEST: Final = 128
"""The longest end user or tag in characters; the log omits longer ones."""

_END_USER, _TAGS = "x-litellm-end-user-id", "x-litellm-tags"
_LONGEST_MEMBER: Final = 4096
_ANY: Final = msgspec.json.Decoder()


def read_labels(client_request: ClientRequest, incoming: Incoming) -> Mapping[str, Any]:
    """Return the fields ``end_user`` and ``tags`` of a request, those that it has. Never raises."""
    headers = dict(client_request.headers)
    metadata = _mapping(incoming, "metadata")
    users = (headers.get(_END_USER), _value(incoming, "user"), metadata.get("user_id"))
    user = next((text for text in users if _is_label(text)), None)
    tags = [tag.strip() for tag in headers.get(_TAGS, "").split(",")]
    for given in (_value(incoming, "tags"), metadata.get("tags"), _mapping(incoming, "litellm_metadata").get("tags")):
        tags += given if isinstance(given, list) else []
    known = list(dict.fromkeys(filter(_is_label, tags)))[:MOST_TAGS]
    return {**({} if user is None else {"end_user": user}), **({"tags": known} if known else {})}


def refuse_blocked(labels: Mapping[str, Any], blocked: Collection[str]) -> None:
    """Raise ``GatewayError`` (403) if the end user in ``labels`` is in ``blocked``."""
    if blocked and labels.get("end_user") in blocked:
        message = f"the end user {labels['end_user']} is blocked: `blocked_end_users` of the gateway lists it"
        raise GatewayError("permission", message, param="user")


def is_litellms(metadata: Any) -> bool:
    """Return whether ``metadata`` is for LiteLLM, and not for a provider, whose metadata are texts."""
    return isinstance(metadata, dict) and any(not isinstance(value, str) for value in metadata.values())


def texts_in(metadata: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the members of ``metadata`` that a provider may get."""
    yield from ((name, value) for name, value in metadata.items() if isinstance(value, str))


def _is_label(text: Any) -> bool:
    return isinstance(text, str) and 0 < len(text) <= LONGEST and text.isprintable()


def _value(incoming: Incoming, name: str) -> Any:
    """Return a small member, ``None`` for a large or unreadable one."""
    raw = incoming.members.get(name)
    if raw is None or len(raw) > _LONGEST_MEMBER:
        return None
    return decode_or(_ANY.decode, raw, None)


def _mapping(incoming: Incoming, name: str) -> Mapping[str, Any]:
    value = _value(incoming, name)
    return value if isinstance(value, dict) else {}
