"""The certificates that providers are checked against."""

import os
import ssl
import sys
from pathlib import Path
from typing import Final

import trio

from gateway.upstream.errors import misconfigured

NO_ROOTS = "the certificates to check providers with cannot be loaded; check upstream_tls_ca_path and SSL_CERT_FILE"

# Where distributions keep theirs: a Python that was built elsewhere looks for them in the wrong place.
_BUNDLES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


class TlsRoots:
    """``ca_path``, a file or directory, else ``SSL_CERT_FILE`` or ``SSL_CERT_DIR`` where the environment is trusted,
    else the system's."""

    def __init__(self, ca_path: str | None, trust_env: bool) -> None:
        self._ca_path = ca_path
        self._trust_env = trust_env
        self._context: ssl.SSLContext | None = None

    async def context(self) -> ssl.SSLContext:
        """The TLS context, made when it is first asked for: that takes about 20 ms, and plain HTTP never needs it.
        Raises ``UpstreamError``."""
        if self._context is None:
            try:
                self._context = await trio.to_thread.run_sync(self._load)
            except OSError as error:  # ssl.SSLError is one
                raise misconfigured(NO_ROOTS) from error
        return self._context

    def _load(self) -> ssl.SSLContext:
        named = Path(self._ca_path) if self._ca_path is not None else self._of_environment()
        if named is None:
            context = _of_system()
        else:
            folder = named.is_dir()
            context = ssl.create_default_context(capath=named if folder else None, cafile=None if folder else named)
        context.set_alpn_protocols(["http/1.1"])
        return context

    def _of_environment(self) -> Path | None:
        if not self._trust_env:
            return None
        value = os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR")
        return Path(value) if value else None


def _of_system() -> ssl.SSLContext:
    if sys.platform in ("darwin", "win32"):
        import truststore  # their stores are no files

        return truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # The paths that OpenSSL was built with: ssl.create_default_context would heed SSL_CERT_FILE.
    built_in = ssl.get_default_verify_paths()
    file = next(filter(os.path.isfile, (built_in.openssl_cafile, *_BUNDLES)), None)
    folder = built_in.openssl_capath if os.path.isdir(built_in.openssl_capath) else None
    if file or folder:
        context.load_verify_locations(file, folder)
    return context
