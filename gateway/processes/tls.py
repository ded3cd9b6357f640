"""The certificate of a listener, and the certificates that it requests from clients."""

import contextlib
import ssl
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

import attrs

_PROTOCOLS: Final = {True: ["h2", "http/1.1"], False: ["http/1.1"]}
"""The protocols offered in the handshake (RFC 7301), with and without HTTP/2."""


@attrs.frozen(eq=False, repr=False)
class TlsFiles:
    """The PEM files of a listener: its certificate chain, its key, and the roots of client certificates.

    Without ``key``, the key is in the certificate's file. Without ``client_ca``, clients need no certificate."""

    certificate: Path
    key: Path | None = None
    client_ca: Path | None = None


class CertificateFailed(Exception):
    """A TLS file of a listener cannot be used. ``key`` is its key in the configuration. The message names the file, the
    reason and the remedy."""

    def __init__(self, key: str, path: Path, reason: str) -> None:
        super().__init__(f"tls.{key} {path}: {reason}")
        self.key = key
        self.path = path
        self.reason = reason


def load_context(files: TlsFiles, http2: bool) -> ssl.SSLContext:
    """Read the files. Raises ``CertificateFailed``."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_alpn_protocols(_PROTOCOLS[http2])
    _load_certificate(files)
    _load_key(context, files)
    _load_client_ca(context, files)
    return context


def unusable_files(files: TlsFiles) -> Iterator[CertificateFailed]:
    """Yield the error of each file that cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    failed = _failure(partial(_load_certificate, files))
    # OpenSSL reads a key only together with its certificate
    load_key = partial(_load_key, context, files) if failed is None else partial(_open_key, files)
    others = _failure(load_key), _failure(partial(_load_client_ca, context, files))
    yield from (one for one in (failed, *others) if one is not None)


def _failure(load: Callable[[], None]) -> CertificateFailed | None:
    try:
        load()
    except CertificateFailed as error:
        return error
    return None


def _open_key(files: TlsFiles) -> None:
    if files.key is not None:
        with _reading("key", files.key, _NO_KEY):
            pass


def _load_certificate(files: TlsFiles) -> None:
    with _reading("certificate", files.certificate, _NO_CERTIFICATE):
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(files.certificate)


def _load_key(context: ssl.SSLContext, files: TlsFiles) -> None:
    with _reading("key", files.key or files.certificate, _NO_KEY):
        # OpenSSL would ask for a passphrase on the terminal
        context.load_cert_chain(files.certificate, files.key or files.certificate, lambda: "")


def _load_client_ca(context: ssl.SSLContext, files: TlsFiles) -> None:
    if files.client_ca is not None:
        with _reading("client_ca", files.client_ca, _NO_CERTIFICATE):
            context.load_verify_locations(files.client_ca)
        context.verify_mode = ssl.CERT_REQUIRED


@contextlib.contextmanager
def _reading(name: str, path: Path, unusable: str) -> Iterator[None]:
    """Raise an error that names the file and the reason; ``unusable`` if OpenSSL gives none."""
    try:
        path.open().close()  # OpenSSL would not name the missing file
        yield
    except ssl.SSLError as error:
        why = _MISMATCH if error.reason == "KEY_VALUES_MISMATCH" else unusable
        raise CertificateFailed(name, path, why) from error
    except OSError as error:
        why = f"{(error.strerror or 'unreadable').lower()}: give a file that trigate can read"
        raise CertificateFailed(name, path, why) from error


_NO_CERTIFICATE: Final = "no readable PEM certificate: the file must contain -----BEGIN CERTIFICATE-----"
_NO_KEY: Final = "no readable PEM key: the file must contain -----BEGIN PRIVATE KEY-----, without a passphrase"
_MISMATCH: Final = "the key does not belong to the certificate: give the certificate's key"


class ListenerTls:
    """The TLS of one listener. New connections use the certificate that was read last."""

    def __init__(self, files: TlsFiles, http2: bool = True) -> None:
        """Read the files. Raises ``CertificateFailed``."""
        self.files = files
        self._http2 = http2
        self.context = load_context(files, http2)

    def reread(self) -> None:
        """Read the files again for new connections. Raises ``CertificateFailed`` and changes nothing then."""
        self.context = load_context(self.files, self._http2)
