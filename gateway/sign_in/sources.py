"""The sources of credentials that a configuration needs."""

import os
import time
from bisect import bisect_left
from collections.abc import Callable, Mapping
from datetime import UTC
from functools import partial
from typing import Any, Final, assert_never

from gateway.config.settings import AwsSignIn, AzureSignIn, Config, GoogleSignIn, SignIn
from gateway.sign_in.refreshed import Fetched, RefreshedCredential
from gateway.upstream.request import CredentialSource
from providers.auth.credential import AwsKeys, ProjectToken

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
    match sign_in.identity:
        case "secret":
            return library.ClientSecretCredential(sign_in.tenant_id, sign_in.client_id, sign_in.client_secret, **more)
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
    "no AWS credentials were found in the environment, in shared files, by SSO, web identity, a container or an "
    "instance's metadata"
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
