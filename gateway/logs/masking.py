"""Masking of keys in log lines, wherever they came from, and of characters that would mislead a terminal."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final

from gateway.config.credentials import secrets_in
from gateway.config.settings import Config
from gateway.http.redaction import FETCHED, REDACTED, Secrets, SecretSearch

MASKED: Final = REDACTED.decode()

_REST: Final = r"[A-Za-z0-9_-]{16,}"
_KEY_PREFIXES: Final[Mapping[str, str]] = {
    "sk-": r"[A-Za-z0-9_*-]{4,}",  # also half keys: a provider repeats one as sk-****abcd
    "AIza": r"[A-Za-z0-9_-]{30,}",
    **dict.fromkeys(("AKIA", "ASIA"), r"[A-Z0-9]{16}"),
    "ya29.": _REST,
    # A JSON Web Token, searched once per word: at every hyphen of a long word it would take quadratic time.
    "eyJ": r"(?<!-eyJ)[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}",
    **dict.fromkeys(
        ("sk_", "pk-", "rk-", "csk-", "gsk_", "hf_", "r8_", "fw_", "ghp_", "gho_", "github_pat_", "xai-", "pplx-",
         "nvapi-", "tgp_v1_"),
        _REST,
    ),
}  # fmt: skip
"""Prefixes of providers' keys, and the characters that follow."""
_LOOKS_LIKE_A_KEY = re.compile(
    "(?<![A-Za-z0-9_])(?:" + "|".join(re.escape(mark) + rest for mark, rest in _KEY_PREFIXES.items()) + ")"
    "|sk-trigate-[A-Za-z0-9]{16,}"  # the gateway's own keys, also within a word
)
_SEARCHED_PREFIXES: Final = tuple(
    mark for mark in _KEY_PREFIXES if not any(other != mark and other in mark for other in _KEY_PREFIXES)
)
"""Prefixes that contain no other prefix: a search for ``sk-`` also finds ``csk-``."""
_WORDS = re.compile(r"[A-Za-z0-9_.~+/=-]{8,}")
_SEPARATORS = re.compile("[/=]")
_SPACE: Final = re.compile(r"\s")
_CACHED_LENGTH: Final = 200  # characters of a word whose digest is cached: a client may send megabytes

_MARKED_ENDS: Final = "'\"`\u201d"
_QUOTED: Final = 60
"""The longest quotation in characters that may be a name. Longer ones, and ones with a space, may be a prompt."""
_TEXT_QUOTES: Final = "'\"\u201c"
"""Quotation marks of clients' text; backticks surround the gateway's own words."""
_QUOTATIONS: Final = re.compile(
    r"""(?<!\w)'[^']*(?:'|$)|"[^"]*(?:"|$)|`[^`]*(?:`|$)|\u201c[^\u201d]*(?:\u201d|$)|(?:\{|\[["'{]).*""", re.DOTALL
)
"""Quoted text, also truncated, and everything from the start of JSON on, which may contain quotation marks."""

_CONTROLS: Final = (
    *range(0x20), 0x7F, *range(0x80, 0xA0),
    0x61C, 0x200E, 0x200F, 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A),
)  # fmt: skip
"""C0, DEL and C1 characters; marks that reverse the writing direction (https://trojansource.codes); Unicode line
ends."""
_ESCAPED: Final = {code: f"\\u{code:04x}" for code in _CONTROLS}
_ESCAPED_BETWEEN_LINES: Final = {**_ESCAPED, **{ord(one): one for one in "\n\t"}, ord("\r"): ""}
_ESCAPED_IN_LINES: Final = {**_ESCAPED, ord("\n"): "\\n", ord("\r"): "\\r", ord("\t"): "\\t"}


_search_for: Final = lru_cache(maxsize=1)(SecretSearch)  # several masks of a process have the same secrets


class Mask:
    """Removes keys from texts: ``secrets``, fetched credentials, keys known only by SHA-256, and texts that look like
    keys."""

    def __init__(self, secrets: Iterable[str] = (), digests: Iterable[bytes] = ()) -> None:
        self.secrets: Secrets = tuple(secrets)
        self._search = _search_for(self.secrets)
        self._digests = frozenset(digests)
        self._applied: Config | None = None

    def apply_config(self, config: Config) -> None:
        """Mask the keys of ``config`` in addition to those of earlier configurations. May run in a thread; a repetition
        costs nothing."""
        if config is self._applied:
            return
        self.secrets = tuple(dict.fromkeys((*self.secrets, *secrets_in(config))))
        self._search = _search_for(self.secrets)
        self._digests |= {
            key.digest
            for client in config.client_keys
            if client.source == "file"  # the others look like keys
            for key in client.keys
            if key.key is None
        }
        self._digests |= {key for key in (config.ui_key, config.metrics_key) if key is not None}
        self._applied = config

    def __call__(self, text: str) -> str:
        text = FETCHED.search.replace_in(self._search.replace_in(text, MASKED), MASKED)
        if self._digests:
            text = _WORDS.sub(self._mask_word, text)
        for sign in _SEARCHED_PREFIXES:  # almost no line has one, and this check is twenty times cheaper
            if sign in text:
                return _LOOKS_LIKE_A_KEY.sub(MASKED, text)
        return text

    def redact(self, data: bytes) -> bytes:
        """Return ``data`` without secrets and fetched credentials; texts that only look like keys stay."""
        return FETCHED.search.redact(self._search.redact(data))

    def _mask_word(self, found: re.Match[str]) -> str:
        word = found[0]
        if self._is_key(word):
            return MASKED
        keys = {part for part in _SEPARATORS.split(word) if part != word and self._is_key(part)}
        for key in keys:
            word = word.replace(key, MASKED)
        return word

    def _is_key(self, word: str) -> bool:
        return (_kept_digest if len(word) <= _CACHED_LENGTH else _digest)(word) in self._digests


def _digest(word: str) -> bytes:
    return hashlib.sha256(word.encode()).digest()


_kept_digest = lru_cache(maxsize=512)(_digest)  # most words repeat in all lines


def without_quotations(text: str) -> str:
    """Return ``text`` without quotations that may be from a prompt. Short quoted names stay."""
    return _QUOTATIONS.sub(_shorten, text)


def _shorten(found: re.Match[str]) -> str:
    quoted = found[0]
    is_name = len(quoted) <= _QUOTED and not (quoted[0] in _TEXT_QUOTES and _SPACE.search(quoted))
    return quoted if is_name else f"{quoted[0]}…{quoted[-1] if quoted[-1] in _MARKED_ENDS else ''}"


def escape(text: str) -> str:
    """Return ``text`` on one line for a terminal, with unprintable characters escaped as in JSON."""
    if text.isascii() and text.isprintable():
        return text
    return text.translate(_ESCAPED_IN_LINES)


def escape_lines(text: str) -> str:
    """Return ``text`` with each line passed through ``escape``."""
    return "\n".join(map(escape, text.splitlines()))


def escape_text(text: str) -> str:
    """Return ``text``, perhaps a part, with its lines and tabs for a terminal."""
    return text.translate(_ESCAPED_BETWEEN_LINES)


def escape_json(text: str) -> str:
    """Return a line of JSON with the same characters escaped; JSON itself requires only C0, already escaped."""
    return text if text.isascii() and "\x7f" not in text else text.translate(_ESCAPED)
