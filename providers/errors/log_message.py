"""What the log says of a provider's error: its status, codes and types, and never its message.

A provider may quote the prompt in its message, in quotation marks or not, cut, escaped or reworded. Codes, types and
the path of a parameter are identifiers of the provider's own.
"""

import re
from collections.abc import Mapping
from itertools import islice
from typing import Any, Final

from providers.errors.limits import Headers
from providers.errors.reasons import error_words

SHOWN_AT_DEBUG: Final = "its message is logged at log_level: debug"
_MOST_WORDS: Final = 4
_IDENTIFIER: Final = re.compile(r"[A-Za-z_$/\[][\w.$/:\[\]-]{0,79}", re.ASCII)


def log_message(status: int | None, error: Mapping[str, Any], headers: Headers = ()) -> str:
    """Return what the log says of ``error``, the object of a provider's error. ``status`` is None inside a stream."""
    words = [*error_words(error, headers), *_identifiers(error.get("status"))]
    named = list(islice(dict.fromkeys(word for one in words for word in _identifiers(one)), _MOST_WORDS))
    named += [f"param {param}" for param in _identifiers(error.get("param"))]
    where = "an error in the stream" if status is None else f"status {status}"
    return f"the provider sent {where}{': ' if named else ''}{', '.join(named)} ({SHOWN_AT_DEBUG})"


def _identifiers(value: Any) -> tuple[str, ...]:
    """Return ``value`` in a tuple if it is an identifier, else an empty tuple."""
    return (value,) if isinstance(value, str) and _IDENTIFIER.fullmatch(value) else ()
