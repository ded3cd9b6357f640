"""Recognition of rejected credentials that a new one may replace: expired or revoked."""

import re
from typing import Final

from providers.errors.limits import Headers
from streams.events import ErrorInfo

UNAUTHORIZED: Final = 401
_REFUSED: Final = (400, 403)  # AWS uses these, too

_AWS: Final = frozenset(
    ("ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException")
)
"""https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-troubleshooting.html"""
_SENTENCE: Final = re.compile(r"The security token included in the request is (?:expired|invalid)")


def may_accept_new_credential(status: int, error: ErrorInfo, headers: Headers) -> bool:
    """Return whether the provider that sent ``status`` and ``error`` may accept a newer credential."""
    if status == UNAUTHORIZED:
        return True
    if status not in _REFUSED:
        return False
    kind = next((value.partition(":")[0] for name, value in headers if name == "x-amzn-errortype"), error.code)
    return kind in _AWS or _SENTENCE.match(error.message) is not None
