"""A provider's errors as the client may see them (their shapes are in ``providers/errors/failures.py``)."""

import math
from collections.abc import Iterable

import attrs
import msgspec

from gateway.config.redaction import FETCHED, Secrets, credentials_among, findable, redact_json, redact_spelled
from gateway.config.urls import credentials_in
from gateway.http.headers import Headers, bounded_waits, passthrough_headers, translated_headers
from gateway.http.passing import to_client, translated
from gateway.routing.target import LaneName, Target
from providers.apis import CODECS
from providers.auth.credential import secret_parts
from streams.events import STATUS, Api, ErrorInfo
from streams.surrogates import NOT_JSON

MISTAKE = ErrorInfo("internal", "internal error of the gateway; its log has the details")
"""For exceptions that nobody expects."""

OVERLOADED = 529
"""A status of some vendors' that clients of other APIs do not know."""

NO_SUCH_PATH = (404, 405, 501)
"""The statuses by which a server says that it does not do what is asked for below its API: counting tokens,
compacting."""

# 401 and 403 with our own key say that the provider refused *us*: the client's key is fine, and repeating is useless
# (Claude Code repeats a 502 for minutes without the header).
_OURS = ("authentication", "permission")


def secrets_of(target: Target, given: str | None, sent: Iterable[str] = ()) -> Secrets:
    """The credentials for ``target`` that nobody may see, the log included, as far as they can be looked for; ``given``
    is the client's own credential, ``sent`` is what requests went out with."""
    own = (*secret_parts(target.credential(given)), *sent)
    bare = tuple(word.removeprefix("Bearer ").strip() for word in own)
    return findable(
        (*bare, *FETCHED.words, *credentials_among(target.configured), *credentials_in(target.entry.base_url or ""))
    )


def client_headers(response: Headers, target: Target, lane: LaneName) -> Headers:
    """Return those headers of a provider's response that its client gets, whatever the status of the response."""
    entry = target.entry
    if lane == "byte":
        return passthrough_headers(response, to_client(entry.pass_headers, entry.passthrough_auth))
    return translated_headers(response, translated(entry.pass_headers, False))


def with_passed(failed: ErrorInfo, passed: Headers) -> ErrorInfo:
    """Return ``failed`` with the headers in ``passed`` that it does not have yet."""
    known = {name for name, _ in failed.headers}
    return attrs.evolve(failed, headers=(*failed.headers, *(pair for pair in passed if pair[0] not in known)))


def public_error(failed: ErrorInfo, api: Api, target: Target, secrets: Secrets) -> ErrorInfo:
    """An upstream's failure as the client of ``api`` may see it, credentials removed. Applied twice it is the same."""
    if failed.status in target.recipient.quirks.unavailable_statuses:
        failed = attrs.evolve(failed, kind="overloaded", status=STATUS["overloaded"], reason="overloaded")
    if failed.kind in _OURS:
        if not target.entry.passthrough_auth:
            return ErrorInfo(
                "upstream",
                f"the provider rejected the gateway's credential: check {_named(target)} of {target.entry.name} in "
                "the configuration",
                headers=(("x-should-retry", "false"),),
                reason=failed.reason,
                wait=failed.wait,
            )
        if failed.reason == "credential":  # the client's own, which no other place would take
            failed = attrs.evolve(failed, reason="invalid")
    status = failed.status
    if status == 408:
        status = 504
    codec = CODECS[api]
    if status == OVERLOADED and status not in codec.wire.own_statuses:
        status = 503
    failed = codec.phrase_error(failed)
    return attrs.evolve(
        failed,
        status=status,
        message=_without(failed.message, secrets),
        param=failed.param and _without(failed.param, secrets),
        code=failed.code and _without(failed.code, secrets),
        details=redact_json(failed.details, secrets),
        headers=tuple(
            (name, _without(value, secrets)) for name, value in with_wait(failed.headers, status, failed.wait)
        ),
    )


def _named(target: Target) -> str:
    """The key of the configuration that a credential comes from."""
    return "access_key" if target.entry.sign_in is None else "sign_in"


def _without(text: str, secrets: Secrets) -> str:
    return redact_spelled(text.encode(errors="surrogatepass"), secrets).decode(errors="surrogatepass")


def passthrough_error(body: bytes, api: Api, target: Target, secrets: Secrets) -> bytes | None:
    """The body of an upstream's error response where it can go to the client as it is, credentials removed: the API is
    the client's own, and the body has its shape and the words that its clients act on."""
    if target.lane != "byte":
        return None
    try:
        value = msgspec.json.decode(body)
    except NOT_JSON:
        return None
    if not isinstance(value, dict) or not CODECS[api].is_own_error(value):
        return None
    return redact_spelled(body, secrets)


def with_wait(headers: Headers, status: int, wait: float | None) -> Headers:
    """A 429 or a translated 529 never goes without a wait: Codex gives up at once where there is none. It is the
    ``wait`` that the provider has told in whatever place; none is longer than a client can be told."""
    headers = bounded_waits(headers)
    if status in (429, 503) and not any(name in ("retry-after", "retry-after-ms") for name, _ in headers):
        return (*headers, *bounded_waits((("retry-after", str(math.ceil(wait or 1))),)))
    return headers
