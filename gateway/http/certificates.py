"""The names in a client's certificate, from the TLS handshake to authentication."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeAlias

CLIENT_CERTIFICATE: Final = "trigate.client_certificate"
"""The ASGI extension with the names in the client's verified certificate."""

CertificateNames: TypeAlias = frozenset[str]
"""For example ``cn:search-team``, ``uri:spiffe://example.org/search``, ``dns:search.example.org``,
``email:search@example.org``, and ``sha256:…`` for the whole certificate."""

NOBODY: Final[CertificateNames] = frozenset()

_WRITTEN: Final = re.compile(r"(cn|uri|dns|email|sha256)\s*[:=]\s*(\S(?:.*\S)?)", re.I)
_SPELLED: Final = {"URI": "uri", "DNS": "dns", "email": "email"}
"""The prefix of each kind of alternative name in Python's ``ssl``."""


def names_of(certificate: Mapping[str, Any], encoded: bytes) -> CertificateNames:
    """Return the names in a verified certificate in the form of ``ssl``."""
    return frozenset(_names_of(certificate, encoded))


def _names_of(certificate: Mapping[str, Any], encoded: bytes) -> Iterator[str]:
    yield f"sha256:{hashlib.sha256(encoded).hexdigest()}"
    for part in certificate.get("subject", ()):
        yield from (f"cn:{value}" for name, value in part if name == "commonName")
    for kind, value in certificate.get("subjectAltName", ()):
        if kind in _SPELLED:
            yield f"{_SPELLED[kind]}:{value.lower() if kind == 'DNS' else value}"


def as_name(text: str) -> str | None:
    """Return the canonical form of a name as people write it, or ``None`` if it is invalid.

    Examples: ``CN=search-team``, ``spiffe://…``, a fingerprint with or without colons."""
    if (written := _WRITTEN.fullmatch(text.strip())) is None:
        return f"uri:{text.strip()}" if re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*://\S+", text.strip()) else None
    kind, value = written[1].lower(), written[2]
    if kind == "sha256":
        value = value.replace(":", "").lower()
        return f"sha256:{value}" if re.fullmatch(r"[0-9a-f]{64}", value) else None
    return f"{kind}:{value.lower() if kind == 'dns' else value}"


def certificate_names(asgi: Mapping[str, Any]) -> CertificateNames:
    """Return the names in the client certificate of an ASGI scope."""
    names: CertificateNames = (asgi.get("extensions") or {}).get(CLIENT_CERTIFICATE, NOBODY)
    return names
