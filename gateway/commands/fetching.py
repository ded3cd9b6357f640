"""A GET request for commands: without proxies and redirects, and with a bounded response."""

from collections.abc import Mapping

LARGEST = 2**20
"""The number of bytes of a response that are read."""


class FetchError(Exception):
    """There was no response; the message is the reason, in lower case."""


def fetch(url: str, headers: Mapping[str, str], seconds: float) -> tuple[int, bytes]:
    """Return the status and the first ``LARGEST`` bytes of the body. Raises ``FetchError``.

    It follows no redirects: ``headers`` may have a key for this host."""
    import httpx2  # takes 0.15 s, and only some commands need it

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
    """Return the operating system's message if there is one, from inside the exceptions of libraries."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, BaseExceptionGroup):  # one for each address of the host
            cause = cause.exceptions[0]
        if isinstance(cause, ConnectionRefusedError):
            return "nothing is listening there"
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror.lower()
        cause = cause.__cause__ or cause.__context__
    return (str(error) or type(error).__name__).lower()
