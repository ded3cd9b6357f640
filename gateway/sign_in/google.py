"""Tokens of Google."""

from datetime import UTC
from typing import Any, Final

import google.auth
import google.auth.transport.requests

from gateway.config.sign_ins import GoogleSignIn
from gateway.sign_in.refreshed import Fetched
from providers.auth.signer import ProjectToken

TIMEOUT: Final = 10.0  # seconds for each of the library's requests


class GoogleTokens:
    """Fetches tokens from Google. Finds the credentials once, and again after a failure, because their file may have
    changed."""

    def __init__(self, sign_in: GoogleSignIn) -> None:
        self._sign_in = sign_in
        self._credentials: Any = None

    def __call__(self) -> Fetched:
        """Return a new token. Blocks."""
        request = _request_with_timeout()
        found, self._credentials = self._credentials or self._find_credentials(request), None
        found.refresh(request)
        self._credentials = found
        project = getattr(found, "quota_project_id", None)
        token = ProjectToken(found.token, project) if project else found.token
        return Fetched(token, found.expiry.replace(tzinfo=UTC).timestamp() if found.expiry else None)

    def _find_credentials(self, request: Any) -> Any:
        library: Any = google.auth
        scopes, file = list(self._sign_in.scopes), self._sign_in.credentials_file
        if file is None:
            return library.default(scopes=scopes, request=request)[0]
        return library.load_credentials_from_file(file, scopes=scopes, request=request)[0]


def _request_with_timeout() -> Any:
    """Return Google's function for HTTP requests, with a timeout of 10 s instead of two minutes."""
    library: Any = google.auth.transport.requests

    class PatientRequest(library.Request):  # type: ignore[misc]
        def __call__(self, *args: Any, **more: Any) -> Any:
            return super().__call__(*args, **{"timeout": TIMEOUT, **more})

    return PatientRequest()
