"""The identity of a counter, the same in every process and in every gateway."""

import hashlib


def counter_key(text: str) -> bytes:
    """The key of the counter that ``text`` names: whose it is, of what, and where that may change of how much and of
    which period, such as ``client_keys.alice.tokens 400k/m``. 16 bytes."""
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=16).digest()
