"""Verifies AWS Signature Version 4 by the vendor's documentation alone, without its code or ours
(https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html)."""

import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import quote, unquote

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request, "
    r"SignedHeaders=([^,]+), Signature=([0-9a-f]{64})"
)


def fault_of(
    method: str,
    target: str,
    headers: Mapping[str, str],
    body: bytes,
    secrets: Mapping[str, str],
    scope: tuple[str, str],
) -> str | None:
    """Return AWS's name for the fault of a signed request, or ``None`` if the signature is valid.

    ``secrets`` maps key ids to secrets, ``scope`` is region and service.
    """
    found = _AUTHORIZATION.fullmatch(headers.get("authorization", ""))
    if found is None:
        return "MissingAuthenticationTokenException"
    id, day, region, service, names, signature = found.groups()
    stamp = headers.get("x-amz-date", "")
    if id not in secrets:
        return "UnrecognizedClientException"
    age = (datetime.now(UTC) - datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)).total_seconds()
    if (region, service) != scope or not stamp.startswith(day) or abs(age) > 300:
        return "InvalidSignatureException"
    signed = names.split(";")
    needed = {"host", *(name for name in headers if name.startswith("x-amz-"))}
    if signed != sorted(signed) or needed - set(signed):
        return "IncompleteSignatureException"
    path, _, query = target.partition("?")
    pairs = sorted(
        tuple(_encode(unquote(part)) for part in pair.partition("=")[::2]) for pair in query.split("&") if pair
    )
    canonical = "\n".join(
        (
            method,
            "/".join(_encode(segment) for segment in path.split("/")),
            "&".join(f"{name}={value}" for name, value in pairs),
            *(f"{name}:{' '.join(headers[name].split())}" for name in signed),
            "",
            names,
            hashlib.sha256(body).hexdigest(),
        )
    )
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{day}/{region}/{service}/aws4_request\n{digest}"
    key = f"AWS4{secrets[id]}".encode()
    for step in (day, region, service, "aws4_request", text):
        key = hmac.new(key, step.encode(), hashlib.sha256).digest()
    return None if hmac.compare_digest(key.hex(), signature) else "InvalidSignatureException"


def _encode(text: str) -> str:
    return quote(text, safe="-_.~")
