"""Decrypts the values in LiteLLM's database: models, credentials and settings of its web pages.

Values in AES-256-GCM start with a version, older ones are XSalsa20-Poly1305 without a mark. The key is made from
``LITELLM_SALT_KEY``, or else from the master key (``litellm/proxy/common_utils/encrypt_decrypt_utils.py``)."""

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final

import attrs

from gateway.commands.imports.imported_values import ENVIRONMENT, section_of

SALT_KEY: Final = "LITELLM_SALT_KEY"
MASTER_KEY: Final = "LITELLM_MASTER_KEY"
"""The variable with LiteLLM's master key, if its settings have none."""

_VERSION: Final = re.compile(r"(v[0-9]+):gcm:")
_LEGACY: Final = re.compile(r"[\w+/-]{54,}={0,2}", re.ASCII)
"""40 bytes at least, a nonce and a tag, in base64."""

NO_KEY: Final = f"they are encrypted: set {SALT_KEY} to LiteLLM's salt key (or {MASTER_KEY}, if it has none)"
_NO_PACKAGE: Final = "a package for their encryption is missing: pip install 'trigate[litellm]'"
_WRONG_KEY: Final = f"they cannot be decrypted: set {SALT_KEY} to the key with which LiteLLM stored them"


class Undecryptable(Exception):
    """An error for a value that cannot be decrypted; the message is the reason and advice."""


def salt_key_of(content: Any, environ: Mapping[str, str]) -> str | None:
    """Return the key of LiteLLM's encryption: the salt key, or else the master key in its file or the environment."""
    master = section_of(content, "general_settings").get("master_key") if isinstance(content, dict) else None
    if isinstance(master, str) and master.startswith(ENVIRONMENT):
        master = environ.get(master.removeprefix(ENVIRONMENT))
    found = environ.get(SALT_KEY) or master or environ.get(MASTER_KEY)
    return found if isinstance(found, str) else None


@attrs.frozen(repr=False)
class Decryption:
    """The decryption with a salt key, which may be missing."""

    key: str | None = None

    def decrypt(self, value: Any) -> Any:
        """Return ``value`` with every encrypted text in it decrypted. Raises ``Undecryptable``."""
        if isinstance(value, dict):
            return {name: self.decrypt(inner) for name, inner in value.items()}
        if isinstance(value, list):
            return [self.decrypt(inner) for inner in value]
        return self._decrypt_text(value) if is_encrypted(value) else value

    def _decrypt_text(self, text: str) -> str:
        if not self.key:
            raise Undecryptable(NO_KEY)
        version = _VERSION.match(text)
        try:
            data = base64.b64decode(text[version.end() if version else 0 :].replace("-", "+").replace("_", "/"))
            if version is None:
                box = import_module("nacl.secret").SecretBox(hashlib.sha256(self.key.encode()).digest())
                return str(box.decrypt(data).decode())
            cipher = import_module("cryptography.hazmat.primitives.ciphers.aead").AESGCM(_gcm_key(self.key, version[1]))
            return str(cipher.decrypt(data[:12], data[12:], None).decode())
        except ImportError:
            raise Undecryptable(_NO_PACKAGE) from None
        except Exception:
            raise Undecryptable(_WRONG_KEY) from None


def is_encrypted(value: Any) -> bool:
    """Return whether ``value`` has the form of an encrypted text."""
    if not isinstance(value, str):
        return False
    return _VERSION.match(value) is not None or (len(value) % 4 == 0 and _LEGACY.fullmatch(value) is not None)


def _gcm_key(key: str, version: str) -> bytes:
    if version == "v2":
        return hashlib.sha256(key.encode()).digest()
    first = hmac.digest(b"\0" * 32, key.encode(), "sha256")  # HKDF (RFC 5869) of one block
    return hmac.digest(first, b"litellm-at-rest-v3\1", "sha256")
