"""The secret stores of AWS, Google and Azure. The gateway authenticates as this machine, as for models.

https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html,
https://cloud.google.com/secret-manager/docs/reference/rest/v1/projects.secrets.versions/access,
https://learn.microsoft.com/rest/api/keyvault/secrets/get-secret/get-secret.
"""

import base64
import os
import re
import time
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import attrs
import msgspec

from configfile.stored_secrets import StoredSecret
from gateway.config.sign_ins import AwsSignIn, AzureSignIn, GoogleSignIn, SignIn
from gateway.features.secret_stores.fetching import SecretUnreadable, SecretVersion, fetch_json, refusal
from gateway.sign_in.refreshed import RefreshedCredential
from gateway.sign_in.sources import fetch_function
from gateway.upstream.client import Upstream
from gateway.upstream.request import UpstreamRequest
from providers.auth.signer import AwsKeys, Credential, Signer, UnsignedRequest
from providers.auth.sigv4 import SigV4
from streams.errors import GatewayError

GOOGLE_URL: Final = "https://secretmanager.googleapis.com"
AZURE_VERSION: Final = "7.4"

_AZURE_SCOPES: Final[Mapping[str, str]] = {
    "vault.azure.net": "https://vault.azure.net/.default",
    "vault.azure.cn": "https://vault.azure.cn/.default",
    "vault.usgovcloudapi.net": "https://vault.usgovcloudapi.net/.default",
}
"""The scopes of tokens by the vaults' domains (https://learn.microsoft.com/azure/key-vault/general/about-keys-secrets-certificates)."""

_ARN: Final = re.compile(r"arn:aws[a-z-]*:secretsmanager:([a-z0-9-]+):")


@attrs.frozen(repr=False)
class CloudRequest:
    """A request for a secret, unsigned, with the sign-in for it and the function that reads its response."""

    sign_in: SignIn
    make: Callable[[Credential], tuple[UnsignedRequest, Signer]]
    read: Callable[[Mapping[str, Any]], SecretVersion]


class CloudStores:
    """Reads secrets through ``upstream``, and keeps the credentials of this machine."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._sources: dict[SignIn, RefreshedCredential] = {}

    async def read(self, secret: StoredSecret) -> SecretVersion:
        """Return the current version. Raises ``SecretUnreadable``."""
        request = _REQUESTS[secret.store](secret)
        source = self._sources.get(request.sign_in)
        if source is None:
            source = self._sources[request.sign_in] = RefreshedCredential(
                request.sign_in, fetch_function(request.sign_in)
            )
        try:
            credential = await source.credential()
            status, found = await self._send(request, credential)
            # AWS rejects a replaced or expired credential with 400 or 403 (aws/aws-sdk-go#253)
            if status in (400, 401, 403) and (renewed := await source.renew(credential)) is not None:
                status, found = await self._send(request, renewed)
        except GatewayError as error:
            raise SecretUnreadable(error.info.message, temporary=True) from None
        if status != 200:
            raise _make_error(status, found)
        return request.read(found)

    async def _send(self, request: CloudRequest, credential: Credential) -> tuple[int, Mapping[str, Any]]:
        unsigned, signer = request.make(credential)
        headers = (*unsigned.headers, *signer.sign(unsigned, credential, time.time()))
        return await fetch_json(self._upstream, UpstreamRequest(unsigned.method, unsigned.url, headers, unsigned.body))


def aws_request(secret: StoredSecret, env: Mapping[str, str] = os.environ) -> CloudRequest:
    """Return the request for a secret of AWS. The variables of AWS's own tools set another endpoint."""
    id, named = secret.path, _ARN.match(secret.path)
    endpoint = env.get("AWS_ENDPOINT_URL_SECRETS_MANAGER") or env.get("AWS_ENDPOINT_URL")

    def make(credential: Credential) -> tuple[UnsignedRequest, Signer]:
        region = named[1] if named is not None else credential.region if isinstance(credential, AwsKeys) else None
        if region is None:
            raise SecretUnreadable("its region is unknown: set AWS_REGION, or write the secret's ARN")
        domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
        url = (endpoint or f"https://secretsmanager.{region}.{domain}").rstrip("/") + "/"
        target = ("x-amz-target", "secretsmanager.GetSecretValue")
        headers = (
            ("host", urlsplit(url).netloc), ("content-type", "application/x-amz-json-1.1"), target,
            ("accept-encoding", "identity"),
        )  # fmt: skip
        body = msgspec.json.encode({"SecretId": id})
        return UnsignedRequest("POST", url, headers, body), SigV4(region, "secretsmanager")

    return CloudRequest(AwsSignIn(), make, _read_aws)


def _read_aws(found: Mapping[str, Any]) -> SecretVersion:
    created = found.get("CreatedDate")
    when = float(created) if isinstance(created, int | float) else None
    if isinstance(text := found.get("SecretString"), str):
        return SecretVersion(text, when)
    return SecretVersion(_decode_text(found.get("SecretBinary")), when)


def google_request(secret: StoredSecret, base: str = GOOGLE_URL) -> CloudRequest:
    """Return the request for a secret of Google: its latest version, unless the secret's path states one."""
    path = secret.path if "/versions/" in secret.path else f"{secret.path}/versions/latest"
    unsigned = UnsignedRequest("GET", f"{base}/v1/{path}:access", (("accept-encoding", "identity"),), b"")

    def read(found: Mapping[str, Any]) -> SecretVersion:
        payload = found.get("payload")
        return SecretVersion(_decode_text(payload.get("data") if isinstance(payload, dict) else None))

    sign_in = GoogleSignIn()
    return CloudRequest(sign_in, lambda _: (unsigned, sign_in.signer), read)


def azure_request(secret: StoredSecret) -> CloudRequest:
    """Return the request for a secret of Azure. Raises ``SecretUnreadable`` for hosts that are none of its vaults."""
    host = (urlsplit(secret.path).hostname or "").lower()
    scope = _AZURE_SCOPES.get(host.partition(".")[2])
    if scope is None:
        raise SecretUnreadable(f"{host} is not a vault of Azure, such as NAME.vault.azure.net")
    url = f"{secret.path}?api-version={AZURE_VERSION}"
    unsigned = UnsignedRequest("GET", url, (("accept-encoding", "identity"),), b"")
    sign_in = AzureSignIn(scope=scope)
    return CloudRequest(sign_in, lambda _: (unsigned, sign_in.signer), _read_azure)


def _read_azure(found: Mapping[str, Any]) -> SecretVersion:
    about, text = found.get("attributes"), found.get("value")
    created = about.get("created") if isinstance(about, dict) else None
    if not isinstance(text, str):
        raise SecretUnreadable("the response has no value")
    return SecretVersion(text, float(created) if isinstance(created, int | float) else None)


_REQUESTS: Final[Mapping[str, Callable[[StoredSecret], CloudRequest]]] = {
    "aws_secret": aws_request,
    "google_secret": google_request,
    "azure_secret": azure_request,
}


def _decode_text(data: object) -> str:
    try:
        return base64.b64decode(data if isinstance(data, str) else b"", validate=True).decode()
    except ValueError:
        raise SecretUnreadable("its value is not text") from None


def _make_error(status: int, found: Mapping[str, Any]) -> SecretUnreadable:
    """Return the error of a response: AWS has ``__type`` and ``message``, Google and Azure an object ``error``."""
    error = found.get("error")
    about: Mapping[str, Any] = error if isinstance(error, dict) else found
    kind = str(about.get("__type") or about.get("status") or about.get("code") or "").rpartition("#")[2]
    message = about.get("message") or about.get("Message")
    return refusal(status, f"{kind}: {message}" if message else kind)
