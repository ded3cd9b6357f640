"""Warnings about the certificates and keys of listeners that are valid but probably unintended."""

import ssl
import stat
from datetime import UTC, datetime, timedelta
from typing import Final

from gateway.processes.tls import TlsFiles

SOON: Final = timedelta(days=14)
"""The time before a certificate's expiry in which a warning is logged."""


def warnings_of(files: TlsFiles) -> tuple[str, ...]:
    """Return the warnings about a listener's files, which are usable."""
    found = expiry_warning(files), key_mode_warning(files)
    return tuple(one for one in found if one is not None)


def expiry_warning(files: TlsFiles) -> str | None:
    """Return a warning about a certificate that has expired or soon will. The files are already read."""
    end = _expiry_of(files)
    if end is None:
        return f"the certificate {files.certificate} is expired or not valid yet, so clients will reject it: renew it"
    if end - datetime.now(UTC) > SOON:
        return None
    return f"the certificate {files.certificate} expires on {end:%Y-%m-%d %H:%M} UTC: renew it, and send SIGHUP"


def key_mode_warning(files: TlsFiles) -> str | None:
    """Return a warning about a key that every user of the machine can read."""
    path = files.key or files.certificate
    if not path.stat().st_mode & stat.S_IROTH:
        return None
    return f"every user of this machine can read the key {path}: run chmod 600 or 640 on it"


def _expiry_of(files: TlsFiles) -> datetime | None:
    """Return the expiry of a valid certificate. It comes from a handshake with a local client that trusts it, because
    the standard library has no other parser."""
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    server.load_cert_chain(files.certificate, files.key, lambda: "")
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    client.load_verify_locations(files.certificate)
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(back, there)
    theirs = server.wrap_bio(there, back, server_side=True)
    for side in (ours, theirs, ours):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
        except ssl.SSLCertVerificationError:
            return None
    shown = ours.getpeercert() or {}
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(str(shown["notAfter"])), UTC)
