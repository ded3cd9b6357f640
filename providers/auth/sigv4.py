"""AWS Signature Version 4, computed by the vendor's signer (``botocore``, the extra ``aws``).

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html
"""

import re
import time
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import attrs

from providers.auth.signer import BEARER_TOKEN, AwsKeys, Credential, UnsignedRequest
from streams.errors import GatewayError

SERVICE: Final = "bedrock"
MANTLE: Final = "bedrock-mantle"
"""The newer Bedrock endpoint, a service of its own
(https://docs.aws.amazon.com/service-authorization/latest/reference/list_bedrock-mantle.html).

Signed for ``bedrock``, its requests fail for lack of a permission that does not exist (BerriAI/litellm#31475).
"""

_HOST: Final = re.compile(
    r"(?:.+\.)?(bedrock(?:-[a-z]+)*)\.([a-z]{2}(?:-[a-z]+)+-\d+)\.(?:vpce\.)?(?:amazonaws\.com(?:\.cn)?|api\.aws)"
)
_ARN: Final = re.compile(r"arn:aws[a-z-]*:bedrock:([a-z]{2}(?:-[a-z]+)+-\d+):")

# Proxies may change other headers (such as `accept-encoding`), which would invalidate the signature.
_SIGNED: Final = ("host", "content-type")
_SIGNED_PREFIX: Final = "x-amz"

NO_REGION: Final = "the provider's region is unknown: set it in sign_in, such as {type: aws, region: us-east-1}"


@attrs.frozen(repr=False)
class SigV4:
    """A signer for ``AwsKeys``; it sends a Bedrock API key as a bearer token.

    ``region`` is the default if neither host nor model determines one; ``service`` overrides the service of the host.
    """

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
        own_headers = (("x-amz-date", stamp), *token)
        signed = (pair for pair in request.headers if _is_signed(pair[0]))
        whole = attrs.evolve(request, headers=(*signed, *own_headers))
        service = self.service or service_of(request.url)
        return (("authorization", _authorization(whole, service, region, credential, stamp)), *own_headers)


def region_of(url: str) -> str | None:
    """Return the region of ``url`` according to its host, or else to the ARN in its path; ``None`` without either."""
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
    """Return the authorization header's value for ``request``, all of whose headers are signed.

    Calls the parts of the vendor's signer, because the signer as a whole reads the clock itself.
    """
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import ReadOnlyCredentials

    auth: Any = SigV4Auth(ReadOnlyCredentials(keys.id, keys.secret, keys.token), service, region)
    unsigned: Any = AWSRequest(request.method, request.url, data=request.body)
    for name, value in request.headers:
        unsigned.headers[name] = value
    unsigned.context["timestamp"] = stamp
    signature = auth.signature(auth.string_to_sign(unsigned, auth.canonical_request(unsigned)), unsigned)
    names = auth.signed_headers(auth.headers_to_sign(unsigned))
    return f"AWS4-HMAC-SHA256 Credential={auth.scope(unsigned)}, SignedHeaders={names}, Signature={signature}"
