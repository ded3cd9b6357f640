"""Sign-ins: credentials that are fetched, and end.

``RefreshedCredential`` keeps one and renews it in time, for all requests together. The libraries of AWS, Google and
Azure fetch them, in threads; ``sources_of`` makes those that a configuration needs.
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
from providers.auth.credential import AwsKeys, Credential, ProjectToken, secret_parts
from streams.errors import GatewayError
from streams.events import ErrorInfo

log = logging.getLogger("trigate.sign_in")

EARLY: Final = 300.0
"""Seconds before its end from which a credential is renewed."""
PATIENCE: Final = 20.0
"""Seconds that a fetch may take."""
REST: Final = 10.0
"""Seconds from the end of one fetch to the beginning of another that nobody has to wait for: what fetches may give the
same credential until its end is near (Google's metadata server does), and what refuses may refuse every one."""
THREADS: Final = 2
"""Fetches that may be under way though nobody waits any longer: they end when the vendor's library gives up."""
LONGEST_MESSAGE: Final = 500  # characters of a library's message in the log

Validity: TypeAlias = Literal["good", "due", "ended"]


@attrs.frozen(eq=False)
class Fetched:
    """A credential and its end in Unix seconds; ``None`` where nobody has said when that is."""

    credential: Credential = attrs.field(repr=False)
    until: float | None = None

    def validity(self, now: float) -> Validity:
        """``due``: it holds, and is to be renewed."""
        if self.until is None or now < self.until - EARLY:
            return "good"
        return "due" if now < self.until else "ended"


class RefreshedCredential:
    """A ``CredentialSource`` over ``fetch``, which blocks, and is called in a thread, by nobody's task: who waits may
    leave. ``sign_in`` is whose it is, ``clock`` tells Unix seconds. Whatever ``fetch`` raises
    is a sign-in that failed."""

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
        self._held: Fetched | None = None
        self._failed: ErrorInfo | None = None  # of the last fetch, if that failed
        self._running: trio.Event | None = None
        self._ended_at = float("-inf")  # the last fetch
        self._limiter = trio.CapacityLimiter(THREADS)

    async def credential(self) -> Credential:
        """As ``CredentialSource`` says. One that still holds is given at once, also while it is being renewed."""
        held, now = self._held, self.clock()
        validity: Validity = "ended" if held is None else held.validity(now)
        if held is None or validity == "ended":
            return await self._fetched()
        if validity == "due" and self._running is None and now >= self._ended_at + REST:
            self._begin()
        return held.credential

    async def renewed(self, refused: Credential) -> Credential | None:
        """As ``CredentialSource`` says."""
        if self._is_other(refused) and self._held is not None:
            return self._held.credential
        if self._running is None and self.clock() < self._ended_at + REST:
            return None
        given = await self._fetched()
        return None if given == refused else given

    def _is_other(self, refused: Credential) -> bool:
        return self._held is not None and self._held.credential != refused

    async def _fetched(self) -> Credential:
        """What the fetch that is under way brings, or a new one. Raises ``GatewayError``."""
        await (self._begin() if self._running is None else self._running).wait()
        if self._failed is not None:
            raise GatewayError.of(self._failed)
        assert self._held is not None
        return self._held.credential

    def _begin(self) -> trio.Event:
        self._running = done = trio.Event()
        trio.lowlevel.spawn_system_task(self._refresh, done)
        return done

    async def _refresh(self, done: trio.Event) -> None:
        """Raises nothing: it is a task of the process."""
        try:
            with trio.fail_after(self._patience):
                fetched = await trio.to_thread.run_sync(self._fetch, abandon_on_cancel=True, limiter=self._limiter)
            FETCHED.hide(secret_parts(fetched.credential))
            self._held, self._failed = fetched, None
        except trio.TooSlowError:
            self._fail(f"no response within {self._patience:g} s")
        except Exception as error:  # the border: a vendor's library raises what it likes
            self._fail(f"{type(error).__name__}: {error}")
        finally:
            self._ended_at = self.clock()
            self._running = None
            done.set()

    def _fail(self, words: str) -> None:
        still = self._held is not None and self._held.validity(self.clock()) != "ended"
        log.warning(
            "%s: sign-in failed%s: %s",
            self.sign_in.account.strip(),
            ", so the current credential stays in use" if still else "",
            " ".join(words.split())[:LONGEST_MESSAGE],
        )
        self._failed = ErrorInfo(
            "upstream",
            "the gateway could not sign in to the provider: see its log, and check sign_in of the entry",
            reason="credential",
            wait=REST,
        )


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


_PATIENCE: Final = {"retry_total": 2, "connection_timeout": 5, "read_timeout": 10}


def fetch_azure(sign_in: AzureSignIn) -> Fetched:
    """A token that no cache has given. Blocks."""
    with _identity(sign_in) as identity:
        token = identity.get_token(sign_in.scope)
    return Fetched(token.token, float(token.expires_on))


def _identity(sign_in: AzureSignIn) -> Any:
    import azure.identity

    library: Any = azure.identity
    # An authority that somebody has named is not to be vouched for by the public cloud's.
    where = {} if sign_in.authority is None else {"authority": sign_in.authority, "disable_instance_discovery": True}
    more: dict[str, Any] = {**_PATIENCE, **where}
    client = {} if sign_in.client_id is None else {"client_id": sign_in.client_id}
    tenant = {} if sign_in.tenant_id is None else {"tenant_id": sign_in.tenant_id}
    if sign_in.client_secret is not None:
        return library.ClientSecretCredential(sign_in.tenant_id, sign_in.client_id, sign_in.client_secret, **more)
    match sign_in.identity or "default":
        case "managed":
            return library.ManagedIdentityCredential(**client, **_PATIENCE)
        case "workload":
            return library.WorkloadIdentityCredential(**client, **tenant, **more)
        case "default":
            own = {} if sign_in.client_id is None else {"managed_identity_client_id": sign_in.client_id}
            theirs = {} if sign_in.tenant_id is None else {"workload_identity_tenant_id": sign_in.tenant_id}
            return library.DefaultAzureCredential(**own, **theirs, **more)


LONGEST: Final = 7 * 86400  # seconds that keys are asked about; what lasts longer does not end
BEARER: Final = "AWS_BEARER_TOKEN_BEDROCK"
_NOTHING: Final = (
    "found no AWS credentials in the environment, shared files, SSO, web identity, container or instance metadata"
)


class NoAwsCredentials(Exception):
    """Nothing in the vendor's chain has credentials."""


def fetch_aws(sign_in: AwsSignIn) -> Fetched:
    """Keys, or the Bedrock API key of the environment, as the vendor's programs take it. Blocks."""
    if (token := os.environ.get(BEARER)) and not (sign_in.keys or sign_in.profile or sign_in.role_arn):
        return Fetched(token)
    import botocore.session

    session: Any = botocore.session.Session(profile=sign_in.profile)
    if sign_in.keys is not None:
        session.set_credentials(sign_in.keys.id, sign_in.keys.secret, sign_in.keys.token)
    region = sign_in.region or session.get_config_variable("region")
    if sign_in.role_arn is not None:
        return _as_role(session, sign_in, region)
    found = session.get_credentials()
    if found is None:
        raise NoAwsCredentials(_NOTHING)
    keys = found.get_frozen_credentials()
    return Fetched(AwsKeys(keys.access_key, keys.secret_key, keys.token, region), _end(found))


def _as_role(session: Any, sign_in: AwsSignIn, region: str | None) -> Fetched:
    from botocore.config import Config

    timeouts = Config(connect_timeout=5, read_timeout=10, retries={"total_max_attempts": 2})
    client = session.create_client("sts", region_name=region or "us-east-1", config=timeouts)
    more = {"ExternalId": sign_in.external_id} if sign_in.external_id else {}
    name = sign_in.session_name or "trigate"
    given = client.assume_role(RoleArn=sign_in.role_arn, RoleSessionName=name, **more)["Credentials"]
    keys = AwsKeys(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"], region)
    return Fetched(keys, given["Expiration"].timestamp())


def _end(found: Any) -> float | None:
    """The end of credentials, which say of themselves only whether they end within so many seconds."""
    if not hasattr(found, "refresh_needed") or not found.refresh_needed(refresh_in=LONGEST):
        return None
    return time.time() + bisect_left(range(LONGEST), True, key=lambda seconds: found.refresh_needed(refresh_in=seconds))


def sources_of(config: Config, before: Mapping[str, CredentialSource]) -> dict[str, CredentialSource]:
    """The sources by the names of entries, one for all that sign in alike. Those of the configuration ``before`` go on
    with what they have."""
    known = {one.sign_in: one for one in before.values() if isinstance(one, RefreshedCredential)}
    found: dict[str, CredentialSource] = {}
    for entry in config.entries:
        if (sign_in := entry.sign_in) is not None:
            found[entry.name] = known.setdefault(sign_in, RefreshedCredential(sign_in, _fetch(sign_in)))
    return found


def _fetch(sign_in: SignIn) -> Callable[[], Fetched]:
    match sign_in:
        case AwsSignIn():
            return partial(fetch_aws, sign_in)
        case GoogleSignIn():
            return GoogleTokens(sign_in)
        case AzureSignIn():
            return partial(fetch_azure, sign_in)
        case _:
            assert_never(sign_in)
