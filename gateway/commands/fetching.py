"""The HTTP client of commands. It follows no redirects, because requests may have a key for their host.

A server on another machine is reached through the proxy of the environment."""

import contextlib
import os
import platform
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import urlsplit

from gateway import __version__
from gateway.http.urls import is_loopback

if TYPE_CHECKING:
    from httpx2 import AsyncClient, Response

    HttpClient: TypeAlias = AsyncClient

LARGEST = 2**20
"""The number of bytes of a response that are read."""

_NO_TLS: Final = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE")
"""OpenSSL's reasons for a response that is not TLS, by its version."""

_NO_HEADER: Final = "headers cannot contain the key: set it as one line of printable ASCII, without spaces around it"

_UNKNOWN_ISSUER: Final = (18, 19, 20, 21)
"""OpenSSL's codes for certificates whose authority is unknown, such as self-signed ones."""


class FetchError(Exception):
    """An error: there was no response, or only a part of it. The message is the reason, in lower case."""

    @property
    def is_of_handshake(self) -> bool:
        """True if the server responded, but TLS failed, such as by a certificate that is not trusted here."""
        return isinstance(_system_error(self), ssl.SSLError)


def fetch(url: str, headers: Mapping[str, str], seconds: float, most: int = LARGEST) -> tuple[int, bytes]:
    """Return the status and the first ``most`` bytes of the response to a GET. Raises ``FetchError``."""
    return _send("GET", url, seconds, most, headers=dict(headers))


def post_form(url: str, form: Mapping[str, str], seconds: float) -> tuple[int, bytes]:
    """Return the status and the first ``LARGEST`` bytes of the response to a POST of ``form``, sent as by ``fetch``.

    The page where a person approves a sign-in shows the header ``user-agent``. Raises ``FetchError``."""
    program = f"trigate/{__version__} on {platform.node()}".encode("ascii", "replace").decode()
    return _send("POST", url, seconds, data=dict(form), headers={"user-agent": program})


def _library() -> Any:
    """Return the library, whose import takes 0.15 s. Only some commands need it."""
    import httpx2

    return httpx2


def _is_local(url: str) -> bool:
    return is_loopback(urlsplit(url).hostname or "")


def _send(method: str, url: str, seconds: float, most: int = LARGEST, **content: Any) -> tuple[int, bytes]:
    httpx2 = _library()
    with (
        _failures_reported(OSError, ImportError),
        httpx2.Client(**_settings(url, seconds)) as client,
        client.stream(method, url, **content) as response,
    ):
        body = b""
        for piece in response.iter_bytes():
            body += piece
            if len(body) >= most:
                break
        return response.status_code, body[:most]


def client_of(url: str) -> "HttpClient":
    """Return a client for the server at ``url``. Its callers limit the time of a response. Raises ``FetchError``."""
    with _failures_reported(OSError, ImportError):
        client: HttpClient = _library().AsyncClient(**_settings(url, None))
        return client


@contextlib.asynccontextmanager
async def response_to(
    client: "HttpClient", method: str, url: str, headers: Mapping[str, str], body: bytes
) -> AsyncIterator["Response"]:
    """Send a request and yield its response. Raises ``FetchError``, also while the response is read."""
    sent = {"accept-encoding": "identity", **headers}
    with _failures_reported():
        async with client.stream(method, url, headers=sent, content=body) as response:
            yield response


@contextlib.contextmanager
def _failures_reported(*more: type[Exception]) -> Iterator[None]:
    """Raise ``FetchError`` for the failures of the client, and for those in ``more``."""
    httpx2 = _library()
    failures: tuple[type[Exception], ...] = (httpx2.HTTPError, httpx2.InvalidURL, ValueError, *more)
    try:
        yield
    except failures as error:
        reason = system_reason(error) or (str(error) or type(error).__name__).lower()
        if isinstance(error, httpx2.LocalProtocolError | UnicodeEncodeError):  # its words repeat the key
            reason = _NO_HEADER
        if isinstance(error, ValueError | ImportError) and "proxy" in reason:  # without support for its scheme
            reason = "the environment's proxy is not an http or https URL: correct HTTPS_PROXY or ALL_PROXY"
        raise FetchError(reason) from error


def _settings(url: str, seconds: float | None) -> dict[str, Any]:
    return {"trust_env": not _is_local(url), "timeout": seconds, "verify": _roots(url)}


def _roots(url: str) -> Any:
    """Return the trusted certificates for ``url``: none without TLS, because loading them takes up to 0.2 s."""
    if _is_local(url) and urlsplit(url).scheme == "http":
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    own_roots = any(os.environ.get(name) for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"))
    return ssl.create_default_context() if own_roots else True


def system_reason(error: BaseException | None) -> str | None:
    """Return the operating system's message for ``error``, from inside the exceptions of libraries, ``None`` without
    any."""
    cause = _system_error(error)
    if cause is None:
        return None
    if isinstance(cause, ConnectionRefusedError):
        return "nothing is listening there"
    return _tls_reason(cause) if isinstance(cause, ssl.SSLError) else str(cause.strerror).lower()


def _system_error(error: BaseException | None) -> OSError | None:
    """Return the operating system's or OpenSSL's error inside ``error``, ``None`` if it has none with a message."""
    while error is not None:
        if isinstance(error, BaseExceptionGroup):  # one for each address of the host
            error = error.exceptions[0]
        if isinstance(error, ConnectionRefusedError | ssl.SSLError) or (isinstance(error, OSError) and error.strerror):
            return error
        error = error.__cause__ or error.__context__
    return None


def _tls_reason(error: ssl.SSLError) -> str:
    """Return why a handshake failed, without OpenSSL's own words for it where the user can fix the cause."""
    if isinstance(error, ssl.SSLCertVerificationError):
        unknown = error.verify_code in _UNKNOWN_ISSUER
        advice = "; set SSL_CERT_FILE to the certificate of its authority" if unknown else ""
        return f"its certificate is not trusted: {error.verify_message}{advice}"
    if error.reason in _NO_TLS:
        return "it does not use TLS, so its URL should begin with http:"
    return f"the TLS handshake failed: {error.reason or type(error).__name__}"
