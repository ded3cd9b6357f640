"""The viewers of requests, and the requests that each may see."""

import hashlib
import hmac
import math
from typing import Final

import attrs

from gateway.access.admission import Arrival
from gateway.access.authentication import Authenticator
from gateway.access.refused_keys import KeyRefused, RefusedKeys
from gateway.config.settings import Config
from gateway.config.unlisted import Caller
from gateway.http.headers import Headers
from gateway.http.pages import as_bearer
from gateway.viewing.callers import OPERATOR, caller_named
from streams.errors import GatewayError

_CHALLENGE: Final = (("www-authenticate", 'Basic realm="trigate", charset="UTF-8"'),)
_KEY_WANTED: Final = "this page requires a key: enter yours, or the ui_key, as the password, with any user name"


@attrs.frozen
class Visitor:
    """A viewer of requests. It sees the exchanges of ``client``, or all exchanges if that is ``None``.

    ``caller`` is the client, person or operator, ``None`` for anyone on this machine. ``by`` is the kind of its access
    for the audit log. The access ends in ``seconds_left``, or when the caller's rights change. Without
    ``sees_streams`` it sees no text of streams."""

    client: str | None = None
    by: str = "this machine"
    seconds_left: float = math.inf
    sees_streams: bool = True
    caller: Caller | None = None

    @property
    def name(self) -> str | None:
        """The name of the client or person."""
        return None if self.caller is None else self.caller.name


def visitor_of(caller: Caller, by: str, seconds_left: float) -> Visitor:
    """Return what a client or person may see: an admin everything, an auditor all but texts, all others their own
    requests."""
    client = None if caller.role in ("admin", "auditor") else caller.name
    return Visitor(client, by, seconds_left, sees_streams=caller.role != "auditor", caller=caller)


def page_refusal(error: GatewayError) -> str:
    """Return the message of a 401 for a page: a browser shows it after its dialog for the key is closed."""
    return _KEY_WANTED if isinstance(error, KeyRefused) and error.reason == "missing" else error.info.message


def viewer_of(arrival: Arrival, config: Config, authenticator: Authenticator, refused: RefusedKeys) -> Visitor:
    """Return the viewer of a request. Raises ``GatewayError`` (401, 429), which ``refused`` counts."""
    try:
        return admit(arrival.headers, authenticator, config.ui_key, config.asks_for_key)
    except KeyRefused as error:
        raise refused.judge(error, arrival.scope.address, arrival.asgi["path"]) from None


def admit(headers: Headers, authenticator: Authenticator, ui_key: bytes | None, has_client_keys: bool) -> Visitor:
    """Return the viewer who sent ``headers``. Raises ``GatewayError`` (401) without repeating a key.

    ``ui_key`` is the digest of the key for everything. With ``has_client_keys``,
    holders of client keys see what their role permits: by default their own exchanges."""
    if ui_key is None and not has_client_keys:
        return Visitor()
    shown = tuple(as_bearer(name, value) for name, value in headers)
    keys = [value[7:].strip() for name, value in shown if name == "authorization" and value[:7].lower() == "bearer "]
    for key in keys:
        if ui_key is not None and hmac.compare_digest(hashlib.sha256(key.encode("latin-1")).digest(), ui_key):
            return Visitor(by="ui_key", caller=OPERATOR)
    if has_client_keys:
        try:
            name = authenticator.authenticate(shown)
            seconds = authenticator.seconds_left(shown)
            return visitor_of(caller_named(authenticator, name), "client key", seconds)
        except KeyRefused as error:
            if error.info.kind == "permission":
                raise
            raise KeyRefused(page_refusal(error), error.reason, error.client, headers=_CHALLENGE) from None
    raise KeyRefused(_KEY_WANTED, "unknown" if keys else "missing", headers=_CHALLENGE)
