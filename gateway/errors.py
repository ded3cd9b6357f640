"""Which of an upstream's errors the client is told, and how (the shapes are ``providers/failures.py``'s business)."""

from typing import Any

import attrs
import msgspec

from gateway.routing import Target
from streams.events import Api, Failed

REDACTED = "[redacted]"

# 401 and 403 with our own key say that the provider refused *us*: the client's key is fine, and repeating is useless
# (Claude Code repeats a 502 for minutes without the header).
_OURS = ("authentication", "permission")


def told(failed: Failed, api: Api, target: Target) -> Failed:
    """What the client of ``api`` is told of an upstream's failure, credentials removed."""
    if failed.kind in _OURS and not target.entry.passthrough_auth:
        return Failed(
            "upstream",
            f"the credential for provider {target.entry.name} was refused by it: the gateway's configuration is wrong",
            headers=(("x-should-retry", "false"),),
        )
    status = failed.status
    if 300 <= status < 400:
        return Failed("upstream", f"the provider answered with a redirect ({status})")
    if status == 408:
        status = 504
    if status == 529 and api != "messages":
        status = 503
    return attrs.evolve(
        failed,
        status=status,
        message=redact(failed.message, target),
        details=_redact_json(failed.details, target),
        headers=with_wait(failed.headers, status),
    )


def passes(body: bytes, api: Api, target: Target) -> bytes | None:
    """The body of an upstream's error response where it can go to the client as it is, credentials removed: the API is
    the client's own and the body has its shape."""
    if target.lane != "byte":
        return None
    try:
        value = msgspec.json.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or not isinstance(value.get("error"), dict):
        return None
    if not isinstance(value["error"].get("message"), str) or (api == "messages" and value.get("type") != "error"):
        return None
    return redact(body.decode("utf-8", "replace"), target).encode()


def with_wait(headers: tuple[tuple[str, str], ...], status: int) -> tuple[tuple[str, str], ...]:
    """A 429 or a translated 529 never goes without a wait: Codex gives up at once where there is none."""
    if status in (429, 503) and not any(name in ("retry-after", "retry-after-ms") for name, _ in headers):
        return (*headers, ("retry-after", "1"))
    return headers


def redact(text: str, target: Target) -> str:
    """``text`` without the provider's credential, which some providers echo in their errors."""
    key = target.entry.key
    return text.replace(key, REDACTED) if key else text


def _redact_json(value: Any, target: Target) -> Any:
    if value is None:
        return None
    return msgspec.json.decode(redact(msgspec.json.encode(value).decode(), target))
