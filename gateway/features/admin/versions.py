"""Versions of objects: ``ETag`` of what a caller reads, ``If-Match`` of what it changes, ``If-None-Match: *``."""

import hashlib
from collections.abc import Callable
from typing import TypeVar

from gateway.features.admin.calls import AdminCall
from gateway.features.admin.errors import conflict
from gateway.http.headers import Headers
from gateway.stores.errors import Changed

T = TypeVar("T")


def entity_tag(text: str | None) -> Headers:
    """Return the header with the version of an object, which is stored as ``text``."""
    return () if text is None else (("etag", f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'),)


def check_match(call: AdminCall, text: str | None, kind: str) -> None:
    """Check that the stored ``text`` is the version that the caller read, if it sends one, or that there is none.

    Raises ``GatewayError`` (409)."""
    if text is not None and (call.header("if-none-match") or "").strip() == "*":
        raise conflict(
            f"the {kind} {next(iter(call.names.values()))[:200]!r} exists already: choose another name", "exists"
        )
    if (wanted := call.header("if-match")) is None:
        return
    tags = [one.strip() for one in wanted.split(",")]
    if text is None or ("*" not in tags and dict(entity_tag(text))["etag"] not in tags):
        raise conflict(f"the {kind} has changed since you read it: read it again, and repeat the change", "changed")


def check_unchanged_since(
    before: T | None, version: Callable[[T | None], object] = lambda stored: stored
) -> Callable[[T | None], None]:
    """Return a check that the stored object is still the one that was read."""

    def check(present: T | None) -> None:
        if version(present) != version(before):
            raise Changed

    return check
