"""Sign-ins at AWS, Google and Azure: credentials that the clouds' own libraries fetch, and that expire.

``RefreshedCredential`` stores one credential for all requests, and renews it before it expires. The libraries run in
threads. ``sources_of`` makes the sources that a configuration needs.
"""

import logging
import os
import time
from bisect import bisect_left
from collections.abc import Callable, Mapping
from datetime import UTC
from functools import partial
from typing import Any, Final, Literal, TypeAlias, assert_never

import attrs
import trio

from gateway.config.redaction import FETCHED
from gateway.config.settings import Config
from gateway.config.sign_ins import AwsSignIn, AzureSignIn, GoogleSignIn, SignIn
from gateway.upstream.request import CredentialSource
from providers.auth.signer import AwsKeys, Credential, ProjectToken, secret_parts
from streams.errors import GatewayError
from streams.events import ErrorInfo

log = logging.getLogger("trigate.sign_in")

EARLY: Final = 300.0
"""Seconds before its expiry at which a credential is renewed."""
PATIENCE: Final = 20.0
"""Seconds that a fetch may take."""
PAUSE: Final = 10.0
"""Seconds between two fetches, unless a request has no valid credential. Google's metadata server returns the same
credential until it nearly expires, and a failing server would get a request for each of ours."""
THREADS: Final = 2
"""Concurrent fetches of a credential. A fetch that timed out still occupies a thread until its library gives up."""
LONGEST_MESSAGE: Final = 500  # characters of a library's message in the log

Validity: TypeAlias = Literal["good", "due", "expired"]


@attrs.frozen(eq=False)
class Fetched:
    """A credential and its expiry in Unix seconds, ``None`` if that is unknown."""

    credential: Credential = attrs.field(repr=False)
    expiry: float | None = None

    def validity(self, now: float) -> Validity:
        """Return the validity at ``now`` (Unix seconds); ``due`` is valid, but needs a renewal."""
        if self.expiry is None or now < self.expiry - EARLY:
            return "good"
        return "due" if now < self.expiry else "expired"


class RefreshedCredential:
    """A ``CredentialSource`` that calls ``fetch`` for its credential.

    ``fetch`` may block, because it runs in a thread, and outside the requests, which may be cancelled meanwhile. Any
    exception from it is a failed sign-in. ``clock`` returns Unix seconds."""

    def __init__(
        self,
        sign_in: SignIn,
        fetch: Callable[[], Fetched],
        clock: Callable[[], float] = time.time,
        patience: float = PATIENCE,
    ) -> None:
        self.sign_in = sign_in
        self._fetch = fetch
        self.clock = clock
        self._patience = patience
        self._current: Fetched | None = None
        self._error: ErrorInfo | None = None  # of the last fetch
        self._running: trio.Event | None = None
        self._fetch_ended = float("-inf")
        self._limiter = trio.CapacityLimiter(THREADS)

    async def credential(self) -> Credential:
        """Return the current credential without waiting while it is valid, also during its renewal."""
        current, now = self._current, self.clock()
        validity: Validity = "expired" if current is None else current.validity(now)
        if current is None or validity == "expired":
            return await self._await_fetch()
        if validity == "due" and self._running is None and now >= self._fetch_ended + PAUSE:
            self._start_fetch()
        return current.credential

    async def renew(self, refused: Credential) -> Credential | None:
        """Return another credential than ``refused``, or ``None`` if a fetch returned the same one or just ended."""
        if self._current is not None and self._current.credential != refused:
            return self._current.credential
        if self._running is None and self.clock() < self._fetch_ended + PAUSE:
            return None
        fetched = await self._await_fetch()
        return None if fetched == refused else fetched

    async def _await_fetch(self) -> Credential:
        """Return the credential of the running fetch, or of a new one. Raises ``GatewayError``."""
        await (self._start_fetch() if self._running is None else self._running).wait()
        if self._error is not None:
            raise GatewayError.of(self._error)
        assert self._current is not None
        return self._current.credential

    def _start_fetch(self) -> trio.Event:
        self._running = done = trio.Event()
        trio.lowlevel.spawn_system_task(self._run_fetch, done)
        return done

    async def _run_fetch(self, done: trio.Event) -> None:
        """Fetch a credential and set ``done``. Never raises, because an error in a system task ends the process."""
        try:
            with trio.fail_after(self._patience):
                fetched = await trio.to_thread.run_sync(self._fetch, abandon_on_cancel=True, limiter=self._limiter)
            FETCHED.hide(secret_parts(fetched.credential))
            self._current, self._error = fetched, None
        except trio.TooSlowError:
            self._fail(f"no response within {self._patience:g} s")
        except Exception as error:  # the boundary: a cloud's library may raise anything
            self._fail(f"{type(error).__name__}: {error}")
        finally:
            self._fetch_ended = self.clock()
            self._running = None
            done.set()

    def _fail(self, words: str) -> None:
        """Log a failed sign-in, and set the error for waiting requests."""
        is_valid = self._current is not None and self._current.validity(self.clock()) != "expired"
        log.warning(
            "%s: sign-in failed%s: %s",
            self.sign_in.account.strip(),
            ", so the current credential stays in use" if is_valid else "",
            " ".join(words.split())[:LONGEST_MESSAGE],
        )
        self._error = ErrorInfo(
            "upstream",
            "the gateway could not sign in to the provider: see its log, and check sign_in of the entry",
            reason="credential",
            wait=PAUSE,
            concerns_all=True,
        )


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
        import google.auth

        library: Any = google.auth
        scopes, file = list(self._sign_in.scopes), self._sign_in.credentials_file
        if file is None:
            return library.default(scopes=scopes, request=request)[0]
        return library.load_credentials_from_file(file, scopes=scopes, request=request)[0]


def _request_with_timeout() -> Any:
    """Return Google's function for HTTP requests, with a timeout of 10 s instead of two minutes."""
    import google.auth.transport.requests

    library: Any = google.auth.transport.requests

    class PatientRequest(library.Request):  # type: ignore[misc]
        def __call__(self, *args: Any, **more: Any) -> Any:
            return super().__call__(*args, **{"timeout": TIMEOUT, **more})

    return PatientRequest()


_AZURE_TIMEOUTS: Final = {"retry_total": 2, "connection_timeout": 5, "read_timeout": 10}


def fetch_azure(sign_in: AzureSignIn) -> Fetched:
    """Fetch a new token from Azure, without a cache. Blocks."""
    with _azure_credential(sign_in) as identity:
        token = identity.get_token(sign_in.scope)
    return Fetched(token.token, float(token.expires_on))


def _azure_credential(sign_in: AzureSignIn) -> Any:
    import azure.identity

    library: Any = azure.identity
    # The public cloud's servers need not confirm a configured authority.
    where = {} if sign_in.authority is None else {"authority": sign_in.authority, "disable_instance_discovery": True}
    more: dict[str, Any] = {**_AZURE_TIMEOUTS, **where}
    client = {} if sign_in.client_id is None else {"client_id": sign_in.client_id}
    tenant = {} if sign_in.tenant_id is None else {"tenant_id": sign_in.tenant_id}
    if sign_in.client_secret is not None:
        return library.ClientSecretCredential(sign_in.tenant_id, sign_in.client_id, sign_in.client_secret, **more)
    match sign_in.identity or "default":
        case "managed":
            return library.ManagedIdentityCredential(**client, **_AZURE_TIMEOUTS)
        case "workload":
            return library.WorkloadIdentityCredential(**client, **tenant, **more)
        case "default":
            own = {} if sign_in.client_id is None else {"managed_identity_client_id": sign_in.client_id}
            theirs = {} if sign_in.tenant_id is None else {"workload_identity_tenant_id": sign_in.tenant_id}
            return library.DefaultAzureCredential(**own, **theirs, **more)


LONGEST: Final = 7 * 86400  # seconds; keys that are valid for longer count as unlimited
BEARER: Final = "AWS_BEARER_TOKEN_BEDROCK"
_NOTHING: Final = (
    "found no AWS credentials in the environment, shared files, SSO, web identity, container or instance metadata"
)


class NoAwsCredentials(Exception):
    """AWS's credential chain found no credentials."""


def fetch_aws(sign_in: AwsSignIn) -> Fetched:
    """Fetch AWS keys, or return the environment's Bedrock API key if ``sign_in`` sets no other account. Blocks."""
    if (token := os.environ.get(BEARER)) and not (sign_in.keys or sign_in.profile or sign_in.role_arn):
        return Fetched(token)
    import botocore.session

    session: Any = botocore.session.Session(profile=sign_in.profile)
    if sign_in.keys is not None:
        session.set_credentials(sign_in.keys.id, sign_in.keys.secret, sign_in.keys.token)
    region = sign_in.region or session.get_config_variable("region")
    if sign_in.role_arn is not None:
        return _assume_role(session, sign_in, region)
    found = session.get_credentials()
    if found is None:
        raise NoAwsCredentials(_NOTHING)
    keys = found.get_frozen_credentials()
    return Fetched(AwsKeys(keys.access_key, keys.secret_key, keys.token, region), _expiry_of(found))


def _assume_role(session: Any, sign_in: AwsSignIn, region: str | None) -> Fetched:
    from botocore.config import Config

    timeouts = Config(connect_timeout=5, read_timeout=10, retries={"total_max_attempts": 2})
    client = session.create_client("sts", region_name=region or "us-east-1", config=timeouts)
    more = {"ExternalId": sign_in.external_id} if sign_in.external_id else {}
    name = sign_in.session_name or "trigate"
    given = client.assume_role(RoleArn=sign_in.role_arn, RoleSessionName=name, **more)["Credentials"]
    keys = AwsKeys(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"], region)
    return Fetched(keys, given["Expiration"].timestamp())


def _expiry_of(found: Any) -> float | None:
    """Return the expiry of AWS credentials, found by bisection: they only report whether they expire within a time."""
    if not hasattr(found, "refresh_needed") or not found.refresh_needed(refresh_in=LONGEST):
        return None
    return time.time() + bisect_left(range(LONGEST), True, key=lambda seconds: found.refresh_needed(refresh_in=seconds))


def sources_of(config: Config, before: Mapping[str, CredentialSource]) -> dict[str, CredentialSource]:
    """Return the credential sources by the names of entries; entries with equal sign-ins share one.

    A sign-in that is also in ``before``, the sources of the previous configuration, keeps its source."""
    known = {one.sign_in: one for one in before.values() if isinstance(one, RefreshedCredential)}
    found: dict[str, CredentialSource] = {}
    for entry in config.entries:
        if (sign_in := entry.sign_in) is not None:
            found[entry.name] = known.setdefault(sign_in, RefreshedCredential(sign_in, fetch_function(sign_in)))
    return found


def fetch_function(sign_in: SignIn) -> Callable[[], Fetched]:
    """Return the function that fetches a credential of ``sign_in``. It blocks, and may raise anything."""
    match sign_in:
        case AwsSignIn():
            return partial(fetch_aws, sign_in)
        case GoogleSignIn():
            return GoogleTokens(sign_in)
        case AzureSignIn():
            return partial(fetch_azure, sign_in)
        case _:
            assert_never(sign_in)
