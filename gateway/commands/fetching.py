"""Requests of a command's own, to a server that is near: no proxy, no redirect, a bounded answer."""

from collections.abc import Mapping

LARGEST = 2**20
"""Bytes of an answer that are read."""


class FetchError(Exception):
    """No answer came. The text says why, in a few words of lower case."""


def fetch(url: str, headers: Mapping[str, str], seconds: float) -> tuple[int, bytes]:
    """The status and the body's first ``LARGEST`` bytes. Redirects are not followed: what ``headers`` hold is for this
    host. Raises ``FetchError``."""
    import httpx2  # a seventh of a second, which only some commands need

    limits = httpx2.Timeout(seconds)
    try:
        with (
            httpx2.Client(trust_env=False, timeout=limits) as client,
            client.stream("GET", url, headers=dict(headers)) as response,
        ):
            body = b""
            for piece in response.iter_bytes():
                body += piece
                if len(body) >= LARGEST:
                    break
            return response.status_code, body[:LARGEST]
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError, OSError) as error:
        raise FetchError(_reason(error)) from error


def _reason(error: BaseException) -> str:
    """The operating system's word for it where there is one, behind whatever the libraries have wrapped around it."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, BaseExceptionGroup):  # of all addresses of a name
            cause = cause.exceptions[0]
        if isinstance(cause, ConnectionRefusedError):
            return "nothing listens there"
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror.lower()
        cause = cause.__cause__ or cause.__context__
    return (str(error) or type(error).__name__).lower()
