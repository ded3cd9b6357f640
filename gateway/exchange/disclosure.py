"""The parts of a provider's response that a client may see."""

from gateway.exchange.context import ExchangeContext
from gateway.http.headers import Headers
from gateway.http.redaction import Secrets, may_be_error, redact, redact_answer, redact_spelled
from gateway.request.public_errors import client_headers, public_error, secrets_of, with_passed_headers
from gateway.routing.target import LaneName, Target
from streams.events import ErrorInfo


class Disclosure:
    """The parts of a target's response that a client may see: errors, headers and bodies without credentials.
    ``sent_credentials`` are the credentials in sent requests."""

    def __init__(self, target: Target, context: ExchangeContext) -> None:
        self.sent_credentials: tuple[str, ...] = ()
        self._target = target
        self._context = context

    @property
    def secrets(self) -> Secrets:
        """The credentials to remove. Most responses never need them."""
        return secrets_of(self._target, self._context.client_request.credential, self.sent_credentials)

    def error(self, error: ErrorInfo) -> ErrorInfo:
        """Return ``error`` for the client."""
        return public_error(error, self._context.codec.api, self._target, self.secrets)

    def error_with_headers(self, error: ErrorInfo, headers: Headers, lane: LaneName) -> ErrorInfo:
        """Return ``error`` for the client, with the client's headers from the response that reported it."""
        return with_passed_headers(error, self.headers(headers, lane))

    def body(self, data: bytes) -> bytes:
        """Return the body of a complete response without the provider's key."""
        return redact(data, self.secrets)

    def relayed_body(self, data: bytes) -> bytes:
        """Return a part of a response that the gateway does not read, such as an event, without the provider's key."""
        return redact_answer(data, self.secrets)

    def relayed_events(self, data: bytes) -> bytes:
        """Return server-sent events that the gateway does not read, errors among them without the provider's key."""
        secrets = self.secrets
        events = data.split(b"\n\n")
        return b"\n\n".join([redact_answer(one, secrets) if may_be_error(one) else one for one in events])

    def error_body(self, data: bytes) -> bytes:
        """Return a provider's error without its key in any encoding."""
        return redact_spelled(data, self.secrets)

    def headers(self, headers: Headers, lane: LaneName, own: Headers = ()) -> Headers:
        """Return an endpoint's ``own`` headers and those of the response's ``headers`` for the client."""
        passed = (*own, *client_headers(headers, self._target, lane))
        if passed and self._may_contain_credential("".join([value for _, value in passed])):
            passed = tuple((name, self.text(value) or "") for name, value in passed)
        return passed

    def text(self, text: str | None) -> str | None:
        """Return a header's value without credentials, which are collected only if the value may contain one."""
        if text is None or not self._may_contain_credential(text):
            return text
        return redact_spelled(text.encode(), self.secrets).decode()

    def _may_contain_credential(self, text: str) -> bool:
        """Return whether ``text`` may contain a credential: the one that was sent, or another one or another
        encoding."""
        entry = self._target.entry
        for word in self.sent_credentials:
            if word in text:
                return True
        return bool(
            "%" in text
            or "\\" in text
            or entry.headers
            or (entry.base_url is not None and ("@" in entry.base_url or "?" in entry.base_url))
        )
