"""AWS Signature Version 4, computed by the vendor's own signer (``botocore``, the extra ``aws``).

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html
"""

import re
import time
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import attrs

from providers.auth.credential import AwsKeys, Credential
from providers.auth.keys import BEARER_TOKEN
from providers.auth.signer import UnsignedRequest
from streams.errors import GatewayError

SERVICE: Final = "bedrock"
MANTLE: Final = "bedrock-mantle"
"""The services that requests are signed for. The newer endpoint is one of its own
(https://docs.aws.amazon.com/service-authorization/latest/reference/list_bedrock-mantle.html): signed for the other, its
requests are refused for a permission that nobody has (BerriAI/litellm#31475)."""

_HOST: Final = re.compile(
    r"(?:.+\.)?(bedrock(?:-[a-z]+)*)\.([a-z]{2}(?:-[a-z]+)+-\d+)\.(?:vpce\.)?(?:amazonaws\.com(?:\.cn)?|api\.aws)"
)
_ARN: Final = re.compile(r"arn:aws[a-z-]*:bedrock:([a-z]{2}(?:-[a-z]+)+-\d+):")

# What stands between us and AWS may change other headers (a proxy its `accept-encoding`), and the signature with them.
_SIGNED: Final = ("host", "content-type")
_SIGNED_PREFIX: Final = "x-amz"

NO_REGION: Final = "the provider's region is not known: give sign_in a region, such as {type: aws, region: us-east-1}"


@attrs.frozen
class SigV4:
    """A signer for ``AwsKeys``; a Bedrock API key goes out as a Bearer token. ``region`` is the one where neither the
    host nor the model says, ``service`` the one that is signed for whatever the host is."""

    region: str | None = None
    service: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        return ("authorization", "x-amz-date", "x-amz-security-token", "x-amz-content-sha256")

    def sign(self, request: UnsignedRequest, credential: Credential, at: float) -> tuple[tuple[str, str], ...]:
        if not isinstance(credential, AwsKeys):
            return BEARER_TOKEN.sign(request, credential, at)
        region = region_of(request.url) or self.region or credential.region
        if region is None:
            raise GatewayError("upstream", NO_REGION, reason="credential")
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(at))
        token = (("x-amz-security-token", credential.token),) if credential.token else ()
        own = (("x-amz-date", stamp), *token)
        kept = (pair for pair in request.headers if _is_signed(pair[0]))
        whole = attrs.evolve(request, headers=(*kept, *own))
        service = self.service or service_of(request.url)
        return (("authorization", _authorization(whole, service, region, credential, stamp)), *own)


def region_of(url: str) -> str | None:
    """Return the region that ``url`` belongs to: as its host says, else as the ARN in its path does."""
    parts = urlsplit(url)
    host = _HOST.fullmatch((parts.hostname or "").lower())
    if host is not None:
        return host[2]
    arn = _ARN.search(unquote(parts.path))
    return None if arn is None else arn[1]


def service_of(url: str) -> str:
    """Return the service at ``url``, as AWS names it in signatures."""
    host = _HOST.fullmatch((urlsplit(url).hostname or "").lower())
    return MANTLE if host is not None and host[1] == MANTLE else SERVICE


def _is_signed(name: str) -> bool:
    return name in _SIGNED or name.startswith(_SIGNED_PREFIX)


def _authorization(request: UnsignedRequest, service: str, region: str, keys: AwsKeys, stamp: str) -> str:
    """Return the header's value for ``request``, all of whose headers are signed. The vendor's signer asks the clock
    itself when it is used whole, so its parts are put together here."""
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import ReadOnlyCredentials

    auth: Any = SigV4Auth(ReadOnlyCredentials(keys.id, keys.secret, keys.token), service, region)
    asked: Any = AWSRequest(request.method, request.url, data=request.body)
    for name, value in request.headers:
        asked.headers[name] = value
    asked.context["timestamp"] = stamp
    signature = auth.signature(auth.string_to_sign(asked, auth.canonical_request(asked)), asked)
    names = auth.signed_headers(auth.headers_to_sign(asked))
    return f"AWS4-HMAC-SHA256 Credential={auth.scope(asked)}, SignedHeaders={names}, Signature={signature}"
