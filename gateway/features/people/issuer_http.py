"""Requests to issuers: their discovery document, keys and userinfo, and the tokens of a sign-in.

Each request has a deadline and a limit on its response's size, follows no redirect, and reaches no link-local
address."""

import base64
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote_plus, urlencode

import attrs
import msgspec
import trio

from gateway.features.people.discovery import (
    WELL_KNOWN,
    BadDocument,
    IssuerMetadata,
    is_permitted_address,
    read_metadata,
    runs_on_this_machine,
    url_problem,
)
from gateway.features.people.settings import TrustedIssuer
from gateway.features.people.signing_keys import LARGEST_SET, BadKeySet, KeySet, parse_key_set
from gateway.features.people.token_format import TokenRefused, read_object
from gateway.http.offload import read_in_thread
from gateway.http.threads import call_in_thread
from gateway.upstream.client import Upstream
from gateway.upstream.network import NO_ROOTS
from gateway.upstream.request import UpstreamRequest
from streams.errors import GatewayError
from streams.structure import has_more_elements
from streams.surrogates import NOT_JSON

FETCH_SECONDS: Final = 5.0
"""Seconds for each request."""

REFRESH_SECONDS: Final = 3.5
"""Seconds that a refresh waits: Claude Code waits for ours a little longer."""

LATE_SECONDS: Final = 8.0
"""Seconds in which the response to a refresh may still arrive: less than ``session_rows.CLAIM_SECONDS``."""

LARGEST_DOCUMENT: Final = 256 * 1024
MOST_ELEMENTS: Final = 5000
METADATA_SECONDS: Final = 3600.0
"""Seconds after which the discovery document is fetched again."""
RETRY_SECONDS: Final = 5.0
"""Seconds after which it is fetched again after a failure."""

_ENDED: Final = frozenset(
    {"invalid_grant", "access_denied", "interaction_required", "login_required", "consent_required"}
)
"""Error codes that concern the person. All others concern the gateway's registration, or a failing issuer."""

_MAX_AGE: Final = re.compile(r"(?:^|[,\s])max-age\s*=\s*\"?([0-9]{1,9})", re.I)


class IssuerUnavailable(Exception):
    """An error: the issuer sent no usable response. The message is the reason, for logs, without credentials."""


class IssuerRefused(Exception):
    """An error: the issuer ended a person's access, or the person denied it. ``code`` is the issuer's error code."""

    def __init__(self, code: str) -> None:
        super().__init__(f"the issuer refused: {code}")
        self.code = code


@attrs.frozen(repr=False)
class IssuerTokens:
    """The tokens of a sign-in, ``None`` for those that the issuer did not send. They are unverified, and secret."""

    access_token: str | None
    id_token: str | None
    refresh_token: str | None


@attrs.frozen(repr=False)
class FetchedKeys:
    """A key set that was fetched, and the seconds for which the issuer lets it be cached, ``None`` if unstated."""

    keys: KeySet
    max_age: float | None


class IssuerConnections(trio.abc.AsyncResource):
    """The connections to issuers, apart from those to providers, so that full pools there do not delay sign-ins."""

    def __init__(self, ca_path: str | None) -> None:
        self._ca_path = ca_path
        self._upstreams: dict[tuple[str | None, int], Upstream] = {}

    async def upstream(self, ca: Path | None) -> Upstream:
        """Return the client that trusts the present certificates in ``ca``, or else those of providers."""
        path, version = self._ca_path, 0
        if ca is not None:
            path, version = str(ca), await read_in_thread(partial(_changed_at, ca))
        if (path, version) not in self._upstreams:
            self._upstreams[path, version] = Upstream(
                max_connections=_CONNECTIONS,
                max_chunk=LARGEST_DOCUMENT,
                ca_path=path,
                permits_address=is_permitted_address,
            )
        return self._upstreams[path, version]

    async def aclose(self) -> None:
        for one in self._upstreams.values():
            await one.aclose()


_CONNECTIONS: Final = 64


def _changed_at(file: Path) -> int:
    """Return the time of the last change of ``file``, 0 if it is missing."""
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return 0


class IssuerClient:
    """The requests to one issuer. ``clock`` is monotonic.

    Every method raises ``IssuerUnavailable``."""

    def __init__(
        self, issuer: TrustedIssuer, connections: IssuerConnections, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.issuer = issuer
        self._connections = connections
        self._clock = clock
        self._is_local = runs_on_this_machine(issuer.issuer)
        self._metadata: IssuerMetadata | None = None
        self._due = float("-inf")
        self._error = ""
        self._lock = trio.Lock()

    # Documents

    async def metadata(self) -> IssuerMetadata:
        """Return the issuer's endpoints, from its discovery document of the last hour. While the issuer is unavailable,
        an older document is used."""
        async with self._lock:
            if self._clock() >= self._due:
                try:
                    self._set_metadata(await self._fetch_metadata())
                except IssuerUnavailable as error:
                    self._due, self._error = self._clock() + RETRY_SECONDS, str(error)
            if self._metadata is None:
                raise IssuerUnavailable(self._error)
            return self._metadata

    def _set_metadata(self, metadata: IssuerMetadata) -> IssuerMetadata:
        self._metadata, self._due = metadata, self._clock() + METADATA_SECONDS
        return metadata

    async def fetch_keys(self) -> FetchedKeys:
        """Fetch the issuer's keys, from the place that the configuration or its discovery document states."""
        with _deadline(2 * FETCH_SECONDS):
            place = self.issuer.jwks
            if isinstance(place, Path):
                return FetchedKeys(await self._parse_keys(await _read_file(place, LARGEST_SET)), None)
            if place is None:
                place = self._set_metadata(await self._fetch_metadata()).jwks_uri
            if place is None:
                raise IssuerUnavailable("its discovery document has no `jwks_uri`")
            reply = (await self._request("GET", place, await self._fetch_headers())).require_success()
            return FetchedKeys(await self._parse_keys(reply.body), _max_age(reply.headers))

    async def _fetch_metadata(self) -> IssuerMetadata:
        url = self.issuer.issuer.removesuffix("/") + WELL_KNOWN
        reply = await self._request("GET", url, await self._fetch_headers())
        try:
            return read_metadata(reply.value(), self.issuer.issuer)
        except BadDocument as error:
            raise IssuerUnavailable(f"its discovery document is not usable: {error}") from None

    async def _fetch_headers(self) -> tuple[tuple[str, str], ...]:
        """Return the credential for keys, which Kubernetes requires and replaces every hour."""
        file = self.issuer.fetch.token
        if file is None:
            return ()
        token = (await _read_file(file, 64 * 1024)).decode("latin-1").strip()
        return (("authorization", f"Bearer {token}"),)

    async def _parse_keys(self, body: bytes) -> KeySet:
        try:
            return await call_in_thread(partial(parse_key_set, body))
        except BadKeySet as error:
            raise IssuerUnavailable(f"its key set is not usable: {error}") from None

    # Sign-in

    async def exchange_code(self, code: str, verifier: str, redirect_uri: str) -> IssuerTokens:
        """Return the tokens for an authorization code, with the PKCE ``verifier``. Raises ``IssuerRefused``."""
        form = {"grant_type": "authorization_code", "code": code, "code_verifier": verifier}
        return await self._request_tokens({**form, "redirect_uri": redirect_uri}, FETCH_SECONDS)

    async def refresh(self, refresh_token: str) -> IssuerTokens:
        """Return new tokens. Raises ``IssuerRefused`` if the issuer has ended the person's access."""
        return await self._request_tokens({"grant_type": "refresh_token", "refresh_token": refresh_token}, LATE_SECONDS)

    async def userinfo(self, access_token: str, seconds: float = FETCH_SECONDS) -> Mapping[str, Any]:
        """Return the claims of userinfo, ``{}`` if the issuer has no such endpoint. The caller compares ``sub``.

        They have the limits of a token's claims, because rules and databases read both."""
        with _deadline(seconds):
            url = (await self.metadata()).userinfo_endpoint
            if url is None:
                return {}
            reply = await self._request("GET", url, (("authorization", f"Bearer {access_token}"),))
        try:
            return read_object(reply.require_success().body, "userinfo")
        except TokenRefused as error:
            raise IssuerUnavailable(error.message) from None

    async def _request_tokens(self, form: Mapping[str, str], seconds: float) -> IssuerTokens:
        login = self.issuer.login
        assert login is not None, "sign-in is configured"
        with _deadline(seconds):
            metadata = await self.metadata()
            if metadata.token_endpoint is None:
                raise IssuerUnavailable("its discovery document has no `token_endpoint`")
            headers: tuple[tuple[str, str], ...] = ()
            if login.client_secret is None:
                form = {**form, "client_id": login.client_id}
            elif metadata.wants_secret_in_body:
                form = {**form, "client_id": login.client_id, "client_secret": login.client_secret}
            else:
                headers = (_basic(login.client_id, login.client_secret),)
            return (await self._request("POST", metadata.token_endpoint, headers, form, seconds)).tokens()

    # HTTP

    async def _request(
        self, method: str, url: str, headers: tuple[tuple[str, str], ...], form: Mapping[str, str] | None = None,
        seconds: float | None = None,
    ) -> "_Reply":  # fmt: skip
        problem = url_problem(url, may_be_local=self._is_local or url == self.issuer.jwks)
        if problem is not None:
            raise IssuerUnavailable(f"the gateway does not request its URL: {problem}")
        own = (("accept", "application/json"), ("accept-encoding", "identity"), ("user-agent", "trigate"), *headers)
        if form is not None:
            own = (*own, ("content-type", "application/x-www-form-urlencoded"))
        body = b"" if form is None else urlencode(form).encode("ascii")
        seconds = FETCH_SECONDS if seconds is None else seconds
        try:
            with _deadline(seconds):
                upstream = await self._connections.upstream(self.issuer.fetch.ca)
                async with await upstream.send(UpstreamRequest(method, url, own, body, seconds)) as response:
                    return _Reply(response.status, dict(response.headers), await response.read(LARGEST_DOCUMENT))
        except GatewayError as error:
            ca, message = self.issuer.fetch.ca, error.info.message
            if message == NO_ROOTS and ca is not None:
                raise IssuerUnavailable(f"cannot load the certificates in {ca} (`fetch.ca`)") from None
            raise IssuerUnavailable(message.replace("the provider", "the issuer")) from None


@attrs.frozen(repr=False)
class _Reply:
    """A complete response of an issuer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def require_success(self) -> "_Reply":
        """Return the response if its status is 200. Raises ``IssuerUnavailable``."""
        if 300 <= self.status < 400:
            raise IssuerUnavailable(f"it redirects (status {self.status}), which the gateway does not follow")
        if self.status != 200:
            raise IssuerUnavailable(f"it returns status {self.status}")
        return self

    def value(self) -> Any:
        """Return the decoded body of a successful response. Raises ``IssuerUnavailable``."""
        return _decode(self.require_success().body)

    def tokens(self) -> IssuerTokens:
        """Return the tokens in a token endpoint's response (RFC 6749, section 5). Raises ``IssuerRefused`` too."""
        if 400 <= self.status < 500 and self.status != 429:  # too many requests are no mistake of the file
            found = _decode(self.body)
            code = _text(found.get("error")) if isinstance(found, dict) else None
            if code is not None and code in _ENDED:
                raise IssuerRefused(code)
            shown = code if code is not None and re.fullmatch("[a-z_]{1,60}", code) else "no error code"
            raise IssuerUnavailable(f"it refuses the gateway's request (status {self.status}, {shown}): check `login`")
        found = self.value()
        if not isinstance(found, dict):
            raise IssuerUnavailable("its token response is not a JSON object")
        tokens = IssuerTokens(*(_text(found.get(name)) for name in ("access_token", "id_token", "refresh_token")))
        if tokens.access_token is None and tokens.id_token is None:  # some issuers send errors with status 200
            raise IssuerUnavailable("its token response has no token")
        return tokens


@contextmanager
def _deadline(seconds: float) -> Iterator[None]:
    """Raise ``IssuerUnavailable`` if the block takes longer than ``seconds``."""
    try:
        with trio.fail_after(seconds):
            yield
    except trio.TooSlowError:
        raise IssuerUnavailable(f"no response within {seconds:g} s") from None


def _decode(body: bytes) -> Any:
    if has_more_elements(body, MOST_ELEMENTS):
        raise IssuerUnavailable("its response has too many members")
    try:
        return msgspec.json.decode(body)
    except NOT_JSON:
        raise IssuerUnavailable("its response is not JSON") from None


def _basic(client_id: str, secret: str) -> tuple[str, str]:
    """Return the header of client authentication, with both parts form-encoded (RFC 6749, section 2.3.1)."""
    pair = f"{quote_plus(client_id)}:{quote_plus(secret)}".encode("ascii")
    return "authorization", "Basic " + base64.b64encode(pair).decode("ascii")


def _max_age(headers: Mapping[str, str]) -> float | None:
    found = _MAX_AGE.search(headers.get("cache-control", ""))
    return None if found is None else float(found[1])


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


async def _read_file(path: Path, limit: int) -> bytes:
    """Return the content of a file that its owner replaces. Raises ``IssuerUnavailable``."""

    def read() -> bytes:
        with path.open("rb") as file:
            return file.read(limit + 1)

    try:
        return await read_in_thread(read)
    except OSError as error:
        raise IssuerUnavailable(f"cannot read {path}: {error.strerror}") from None
