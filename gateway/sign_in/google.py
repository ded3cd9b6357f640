"""Tokens of Google, as its own library gets them: https://cloud.google.com/docs/authentication/application-default-credentials"""

from datetime import UTC
from typing import Any, Final

from gateway.config.settings import GoogleSignIn
from gateway.sign_in.refreshed import Fetched
from providers.auth.credential import ProjectToken

TIMEOUT: Final = 10.0  # seconds for each of the library's requests


class GoogleTokens:
    """Fetches one token after the other. Credentials are looked for once, and again after a failure: their file may be
    another one since."""

    def __init__(self, sign_in: GoogleSignIn) -> None:
        self._sign_in = sign_in
        self._found: Any = None

    def __call__(self) -> Fetched:
        """Blocks."""
        request = _transport()
        found, self._found = self._found or self._look(request), None
        found.refresh(request)
        self._found = found
        project = getattr(found, "quota_project_id", None)
        token = ProjectToken(found.token, project) if project else found.token
        return Fetched(token, found.expiry.replace(tzinfo=UTC).timestamp() if found.expiry else None)

    def _look(self, request: Any) -> Any:
        import google.auth

        library: Any = google.auth
        scopes, file = list(self._sign_in.scopes), self._sign_in.credentials_file
        if file is None:
            return library.default(scopes=scopes, request=request)[0]
        return library.load_credentials_from_file(file, scopes=scopes, request=request)[0]


def _transport() -> Any:
    """The library's own, which waits for two minutes otherwise."""
    import google.auth.transport.requests

    library: Any = google.auth.transport.requests

    class PatientRequest(library.Request):  # type: ignore[misc]
        def __call__(self, *args: Any, **more: Any) -> Any:
            return super().__call__(*args, **{"timeout": TIMEOUT, **more})

    return PatientRequest()
