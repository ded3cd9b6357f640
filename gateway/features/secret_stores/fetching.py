"""Requests to secret stores, and the values in their responses."""

from collections.abc import Mapping
from typing import Any, Final

import attrs
import msgspec
import trio

from configfile.secret_files import LONGEST
from configfile.stored_secrets import StoredSecret
from gateway.http.redaction import FETCHED, redact_spelled
from gateway.upstream.client import Upstream
from gateway.upstream.request import UpstreamRequest
from streams.errors import GatewayError
from streams.surrogates import NOT_JSON

PATIENCE: Final = 10.0
"""Seconds for a request."""
MAX_RESPONSE: Final = 1024 * 1024
_LONGEST_MESSAGE: Final = 200  # characters of a store's error in the log


class SecretUnreadable(Exception):
    """An error: a secret could not be read. The message is the reason, without a secret, for the end of a sentence.

    ``temporary`` means that the store did not respond, or its response was unusable."""

    def __init__(self, message: str, *, temporary: bool = False) -> None:
        super().__init__(message)
        self.temporary = temporary


@attrs.frozen(repr=False)
class SecretVersion:
    """A secret's current value in its store, and its creation time in Unix seconds, ``None`` if that is unknown."""

    text: str
    created: float | None = None

    def member(self, secret: StoredSecret) -> "SecretVersion":
        """Return the member that ``secret`` names, or the whole value without one. Raises ``SecretUnreadable``."""
        text = self.text
        if secret.member is not None:
            try:
                found: Any = msgspec.json.decode(text, type=dict[str, Any])
            except NOT_JSON:
                raise SecretUnreadable("its value is no JSON object, so it has no members") from None
            if not isinstance(text := found.get(secret.member), str):
                raise SecretUnreadable(f"it has no member {secret.member} with a text")
        text = text.rstrip("\r\n")
        if not text.strip() or len(text.encode()) > LONGEST:
            raise SecretUnreadable("its value is empty" if not text.strip() else f"it is longer than {LONGEST} bytes")
        return attrs.evolve(self, text=text)


async def fetch_json(upstream: Upstream, request: UpstreamRequest) -> tuple[int, Mapping[str, Any]]:
    """Return the status of the response and its JSON object, empty if it has another body.

    Raises ``SecretUnreadable`` if the store does not answer."""
    try:
        with trio.fail_after(PATIENCE):
            async with await upstream.send(request) as response:
                body = await response.read(MAX_RESPONSE)
    except GatewayError as error:
        raise SecretUnreadable(error.info.message, temporary=True) from None
    except trio.TooSlowError:
        raise SecretUnreadable(f"no response within {PATIENCE:g} s", temporary=True) from None
    try:
        return response.status, msgspec.json.decode(body, type=dict[str, Any])
    except NOT_JSON:
        return response.status, {}


def refusal(status: int, message: object = None) -> SecretUnreadable:
    """Return the error of a response with ``status``; ``message`` is the store's own, which may repeat a token."""
    text = " ".join(message.split()) if isinstance(message, str) else ""
    words = redact_spelled(text.encode(errors="replace"), FETCHED.words).decode(errors="replace")[:_LONGEST_MESSAGE]
    found = f"the store returns status {status}{f': {words}' if words else ''}"
    return SecretUnreadable(found, temporary=status == 429 or status >= 500)
