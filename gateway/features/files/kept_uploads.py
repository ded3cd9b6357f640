"""Google's resumable uploads: clients send a file's bytes to a URL of the gateway with a token instead of a key."""

import time
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import parse_qsl, urlsplit, urlunsplit

import attrs

from gateway.exchange.service import Service
from gateway.features.files.kept import KeptRequest, member_of
from gateway.features.files.opening import stored_objects_of
from gateway.http.headers import Headers
from gateway.http.response import Response
from gateway.kept_objects.accounts import Account
from gateway.kept_objects.ids import GOOD_FOR, UploadToken, read_token, write_token
from gateway.kept_objects.owned_ids import FoundId, unsigned_error
from gateway.relay.relaying import InboundRequest, RelayedRequest
from gateway.routing.target import Target
from gateway.serving.incoming_request import IncomingRequest
from streams.errors import GatewayError

_URL_HEADER: Final = "x-goog-upload-url"
_TOKEN_PARAMETER: Final = "upload_id"
_PASSED_HEADERS: Final = ("x-goog-upload-status", "x-goog-upload-chunk-granularity", "x-goog-upload-size-received")
_ELSEWHERE: Final = "the provider's upload URL is on another server, which must not get the key: nothing was uploaded"
_UPLOAD_ENDED: Final = "this upload has ended, or was not started here: start it again"


class UploadRequest(KeptRequest):
    """One request of an upload: its start, or bytes with the upload's ``token``."""

    token: UploadToken | None = None

    def continue_with(self, token: UploadToken) -> None:
        """Act for the owner and client of the upload that ``token`` identifies."""
        self.token = token
        self.owner = token.owner
        self.query = []
        self.ids = self.stored.accounts.ids_of(token.owner, token.client, self.form.shapes)

    @property
    def _passed_headers(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.inbound.headers if name.startswith("x-goog-upload-"))

    def _select_account(self, found: tuple[FoundId, ...]) -> Account:
        if (token := self.token) is None:
            return super()._select_account(found)
        account = next((one for one in self.usable_accounts() if one.entry.name == token.entry), None)
        if account is None:
            raise GatewayError("not_found", _UPLOAD_ENDED)
        return account

    def _target(self, account: Account, found: tuple[FoundId, ...]) -> Target:
        target = super()._target(account, found)
        parts = urlsplit(target.url)
        own = f"/upload{parts.path}?{parts.query}" if self.token is None else self.token.path
        path, _, query = own.partition("?")
        return attrs.evolve(target, url=urlunsplit((parts.scheme, parts.netloc, path, query, "")))

    def steps_after_root(self) -> list[str]:
        return []

    @property
    def may_include_file(self) -> bool:
        return True

    @property
    def is_json(self) -> bool:
        return self.token is None and super().is_json

    async def store_object(self, body: bytes) -> None:
        await super().store_object(member_of(body, "file"))

    def _extra_headers(self, account: Account, headers: Mapping[str, str]) -> Headers:
        passed = tuple((name, headers[name]) for name in _PASSED_HEADERS if name in headers)
        if _URL_HEADER not in headers:
            return passed
        return (*passed, (_URL_HEADER, self._gateway_url(account, headers[_URL_HEADER])))

    def _gateway_url(self, account: Account, url: str) -> str:
        """Return the gateway's URL for an upload to the provider's ``url``.

        Raises ``GatewayError`` if the URL is another server's, which would receive the provider's key."""
        if self.stored.accounts.is_forgeable(account):
            raise unsigned_error(account)
        own = urlsplit(self._target(account, ()).url)
        try:
            parts = urlsplit(url)
        except ValueError:
            raise GatewayError("upstream", _ELSEWHERE) from None
        if (parts.scheme, parts.netloc) != (own.scheme, own.netloc) or not parts.path.startswith("/upload/"):
            raise GatewayError("upstream", _ELSEWHERE)
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        token = UploadToken(self.owner, self.client, account.entry.name, path, int(time.time()) + GOOD_FOR)
        return f"{self.origin}/upload/v1beta/files?{_TOKEN_PARAMETER}={write_token(token, account.secrets[0])}"


def _read_token(service: Service, query: str) -> UploadToken | None:
    text = dict(parse_qsl(query)).get(_TOKEN_PARAMETER)
    if text is None:
        return None

    def secrets_of(entry: str) -> Iterable[bytes]:
        found = stored_objects_of(service).accounts.of_entry(entry)
        return () if found is None else found.secrets

    return read_token(text, secrets_of, time.time())


def admit_step(service: Service, incoming: IncomingRequest) -> str | None:
    """Admit an upload request by the token in its query, or else by its key, and return the client.

    Raises ``GatewayError``, also if the token's client no longer exists."""
    if _TOKEN_PARAMETER not in dict(parse_qsl(incoming.query)):
        return service.admission.admit(incoming)
    token = _read_token(service, incoming.query)
    if token is None or (token.client is not None and not service.authenticator.knows(token.client)):
        raise GatewayError("not_found", _UPLOAD_ENDED)
    service.admission.admit_as(token.owner, incoming)
    return token.client


async def read_step(inbound: InboundRequest, names: Mapping[str, str]) -> RelayedRequest | Response:
    request = UploadRequest(inbound, "files", ())
    token = _read_token(request.service, inbound.arrival.query)
    if token is not None:
        request.continue_with(token)
    return await request.answer()
