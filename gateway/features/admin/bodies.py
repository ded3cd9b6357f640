"""JSON bodies of requests: one object, small, without duplicate members."""

import json
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any, Final, NoReturn

from configfile.wording import nearest
from gateway.serving.incoming_request import IncomingRequest
from streams.errors import GatewayError, invalid
from streams.surrogates import describe_json_error

MAX_BODY: Final = 64 * 1024
"""The largest body in bytes."""

_MOST_LEVELS: Final = 32
_MOST_VALUES: Final = 2000
"""Values in a body: each may need advice on its spelling."""


async def read_object(incoming: IncomingRequest, *, is_optional: bool = False) -> dict[str, Any]:
    """Return the JSON object in the body of a request. Raises ``GatewayError``.

    Without a body it is empty if the body ``is_optional``."""
    headers = dict(incoming.headers)
    if headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise invalid("send the body without content-encoding", status=415)
    length = headers.get("content-length", "")
    if length.isdecimal() and int(length[:20]) > MAX_BODY:
        raise _too_large()
    body = await incoming.read(_count)
    if not body and not is_optional:  # a lost body must not remove settings
        raise invalid("the body is missing: send a JSON object, {} for one without members", code="invalid_json")
    return parse_object(body or b"{}")


def _count(size: int) -> None:
    if size > MAX_BODY:
        raise _too_large()


def _too_large() -> GatewayError:
    return GatewayError("too_large", f"the body is larger than {MAX_BODY // 1024} KiB, the limit of these paths")


def parse_object(body: bytes) -> dict[str, Any]:
    """Return the object in ``body``. Raises ``GatewayError`` (400)."""
    try:
        found = json.loads(body, object_pairs_hook=_unique_members, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise invalid(f"the body is not valid JSON: {describe_json_error(error)}", code="invalid_json") from None
    if not isinstance(found, dict):
        raise invalid("the body must be a JSON object", code="invalid_json")
    _check_values(found)
    return found


def _unique_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        (doubled, _), *_ = Counter(name for name, _ in pairs).most_common(1)
        raise invalid(f"the member {doubled[:100]} is in the body twice: send it once", doubled[:100])
    return found


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")


def _check_values(value: dict[str, Any]) -> None:
    """Raise ``GatewayError`` (400) for more values or levels than a client's settings need, and for NUL characters,
    which PostgreSQL does not accept in a text."""
    count, level = 0, list[Any]([value])
    for _ in range(_MOST_LEVELS):
        values = [one for parent in level for one in (parent.values() if isinstance(parent, dict) else parent)]
        count += len(values)
        if any("\0" in one for one in values if isinstance(one, str)):
            raise invalid(
                "the body has a NUL character (\\u0000), which no setting has: remove it", code="invalid_json"
            )
        level = [one for one in values if isinstance(one, dict | list)]
        if count > _MOST_VALUES:
            raise invalid(f"the body has more than {_MOST_VALUES} values", code="invalid_json")
        if not level:
            return
    raise invalid(f"the body has more than {_MOST_LEVELS} levels", code="invalid_json")


def check_members(body: dict[str, Any], known: Collection[str]) -> None:
    """Check that ``body`` has only ``known`` members. Raises ``GatewayError`` (400), with the nearest name."""
    for name in body:
        if name not in known:
            near = nearest(name[:100], known)
            advice = f"did you mean {near}?" if near else f"the members are {', '.join(sorted(known))}"
            raise invalid(f"unknown member {name[:100]}; {advice}", name[:100], code="unknown_member")


def read_text(body: Mapping[str, Any], name: str) -> str | None:
    """Return a member that is text, ``None`` without it. Raises ``GatewayError`` (400)."""
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise invalid(f"{name} must be text", name)
    return value
