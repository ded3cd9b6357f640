"""The certificate that a listener shows, and the clients' certificates that it asks for."""

import contextlib
import ssl
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import attrs

_PROTOCOLS: Final = {True: ["h2", "http/1.1"], False: ["http/1.1"]}
"""What is offered in the handshake (RFC 7301), by whether HTTP/2 is spoken."""


@attrs.frozen(eq=False, repr=False)
class TlsFiles:
    """The PEM files of a listener: the certificate with those that lead to its root, its key (``None``: in the same
    file), and the roots that clients' certificates must come from (``None``: none are asked for)."""

    certificate: Path
    key: Path | None = None
    client_ca: Path | None = None


class CertificateFailed(Exception):
    """A file of a listener's TLS cannot be used. The message says which, why, and what to do."""


def load_context(files: TlsFiles, http2: bool) -> ssl.SSLContext:
    """Read the files. Raises ``CertificateFailed``."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_alpn_protocols(_PROTOCOLS[http2])
    certificate, key = files.certificate, files.key or files.certificate
    with _reading("certificate", certificate, _NO_CERTIFICATE):
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(certificate)
    with _reading("key", key, _NO_KEY):
        context.load_cert_chain(certificate, key, _ask_nobody)
    if files.client_ca is not None:
        with _reading("client_ca", files.client_ca, _NO_CERTIFICATE):
            context.load_verify_locations(files.client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


@contextlib.contextmanager
def _reading(name: str, path: Path, unusable: str) -> Iterator[None]:
    """Say which file could not be read, and why: with ``unusable`` where OpenSSL says only that it could not."""
    try:
        path.open().close()  # OpenSSL would not say which of two it misses
        yield
    except ssl.SSLError as error:
        why = _MISMATCH if error.reason == "KEY_VALUES_MISMATCH" else unusable
        raise CertificateFailed(f"tls.{name} {path}: {why}") from error
    except OSError as error:
        raise CertificateFailed(f"tls.{name} {path}: {(error.strerror or 'unreadable').lower()}") from error


_NO_CERTIFICATE: Final = "no readable PEM certificate: the file must contain -----BEGIN CERTIFICATE-----"
_NO_KEY: Final = "no readable PEM key: the file must contain -----BEGIN PRIVATE KEY-----, without a passphrase"
_MISMATCH: Final = "the key does not belong to the certificate: give the certificate's key"


def _ask_nobody() -> str:
    """Answer for the terminal that OpenSSL would ask for a passphrase."""
    return ""


class ListenerTls:
    """The TLS of one listener. The certificate that was read last is shown to each new connection."""

    def __init__(self, files: TlsFiles, http2: bool = True) -> None:
        """Raises ``CertificateFailed``."""
        self.files = files
        self._http2 = http2
        self.context = load_context(files, http2)

    def reread(self) -> None:
        """Read the files again, for new connections. Raises ``CertificateFailed``, and nothing has changed."""
        self.context = load_context(self.files, self._http2)


# What is good and probably not meant


SOON: Final = timedelta(days=14)
"""The time before its end in which a certificate is remarked on."""


def remark_on_end(files: TlsFiles) -> str | None:
    """A sentence on a certificate that has ended, or soon will; the files have been read already."""
    end = _end_of(files)
    if end is None:
        return f"the certificate {files.certificate} is expired or not valid yet, so clients will reject it: renew it"
    if end - datetime.now(UTC) > SOON:
        return None
    return f"the certificate {files.certificate} expires on {end:%Y-%m-%d %H:%M} UTC: renew it, and send SIGHUP"


def remark_on_mode(files: TlsFiles) -> str | None:
    """A sentence on a key that every user of the machine can read."""
    path = files.key or files.certificate
    if not path.stat().st_mode & stat.S_IROTH:
        return None
    return f"every user of this machine can read the key {path}: run chmod 600 or 640 on it"


def _end_of(files: TlsFiles) -> datetime | None:
    """The end of a certificate that holds now. It is shown to a client of our own that trusts it: what it says can be
    read from nothing else in the standard library."""
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    server.load_cert_chain(files.certificate, files.key, _ask_nobody)
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
