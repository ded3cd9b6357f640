"""The fields of a line of the JSON log, which are a promise: what each means, its unit, and when it is there.

``docs/log.md`` is written from these rows, and a test holds them to the lines that the ledger writes.
"""

from collections.abc import Mapping
from typing import Final, get_args

import attrs

from streams.events import ErrorKind, Reason

ALWAYS: Final = "always"
CALLED: Final = "a provider was asked"


@attrs.frozen
class Field:
    """``unit`` is what the value is counted in, or its kind."""

    name: str
    unit: str
    when: str
    meaning: str


EXCHANGE: Final = (
    Field("event", "text", ALWAYS, "`exchange`"),
    Field("at", "UTC, RFC 3339, seconds", ALWAYS, "When it ended."),
    Field(
        "request_id", "text", ALWAYS,
        "`x-request-id` of the answer: the client's own if that is 1 to 128 printable ASCII characters.",
    ),
    Field("client", "text", "`client_keys` are configured and one was shown", "The `name` of the key."),
    Field(
        "address", "text", "it is known",
        "The client's IP address: the peer's, or behind `trusted_proxies` the one that they say; `unix` on a Unix "
        "socket.",
    ),
    Field(
        "api", "word", ALWAYS,
        "The client's API: `chat`, `messages`, `responses`; `none` for a path that is not served.",
    ),
    Field("model", "text", "the request names one, or there is a default", "The name that was asked for."),
    Field("target", "text", "the name was found", "`provider/model` that was to answer."),
    Field("provider_api", "word", "as `target`", "The API that the provider is asked in, in the words of `api`."),
    Field("lane", "word", "the request was good", "`byte`: passed untouched, `hub`: translated."),
    Field("stream", "boolean", ALWAYS, "Whether a stream was asked for."),
    Field(
        "status", "HTTP status", ALWAYS,
        "What the client was sent, or would have been; 499 if it left before the end of its answer.",
    ),
    Field("ended", "word", ALWAYS, "How it ended: [below](#how-it-ended)."),
    Field(
        "reason", "word", "the answer is whole, and of a model",
        "Why the model stopped: " + ", ".join(f"`{reason}`" for reason in get_args(Reason)) + ".",
    ),
    Field(
        "first_byte_ms", "milliseconds", "the client was answered", "From the request to the first byte of its answer."
    ),
    Field("duration_ms", "milliseconds", ALWAYS, "From the request to the end of its last task."),
    Field("input_tokens", "tokens", "they were counted or estimated", "The prompt, cached parts included."),
    Field("cached_tokens", "tokens", "as `input_tokens`", "The part of the prompt that was read from a cache."),
    Field("output_tokens", "tokens", "as `input_tokens`", "The answer, reasoning included."),
    Field(
        "usage_complete", "boolean", CALLED,
        "Whether these are the provider's own last word: false for an answer that broke off.",
    ),
    Field(
        "usage_estimated", "`true`", "they are an estimate",
        "The answer broke off, or the provider does not count: about four characters to a token.",
    ),
    Field("attempts", "requests", ALWAYS, "Requests that were made to the provider."),
    Field(
        "error", "word", "something failed",
        "What was wrong: " + ", ".join(f"`{kind}`" for kind in get_args(ErrorKind)) + ".",
    ),
    Field(
        "message", "text", "as `error`, but for the end of the process",
        "What the client was told; of a provider's words the first 200 characters, without what they quote at length, "
        "unless `log_level` is `debug`.",
    ),
    Field("upstream_request_id", "text", "the provider says one", "The provider's own id, for its support."),
    Field(
        "dropped", "paths, comma-separated", "something was",
        "What of the request the provider's API has no place for, hints included (`x-trigate-dropped`); at most "
        "2 kB and 50 paths of 100 characters, then how many more (`+3`).",
    ),
    Field(
        "adapted", "paths, comma-separated", "something was",
        "What was said to the provider in other words of the same API (`x-trigate-adapted`); at most 2 kB.",
    ),
)  # fmt: skip

OTHER: Final = (
    Field("event", "text", ALWAYS, "`log`"),
    Field("at", "UTC, RFC 3339, seconds", ALWAYS, "When it was written."),
    Field("level", "word", ALWAYS, "`debug`, `info`, `warning`, `error`"),
    Field(
        "message", "text", ALWAYS, "What there is to say. A file that is refused has a record for each line about it."
    ),
    Field("traceback", "text of several lines", "something crashed", "Where: report it with the line."),
)

ENDED: Final[Mapping[str, tuple[str, str]]] = {
    "complete": ("the `reason`, or `done`", "The answer is whole."),
    "upstream_error": (
        "`provider failed`, or `cut off` behind a status of 200",
        "The provider refused or failed; what it said is in `error` and `message`.",
    ),
    "refused": ("`refused`", "trigate refused, and asked no provider."),
    "client_disconnected": ("`client left`", "The client left first, or was cut because it did not read."),
    "shutdown": ("`shutdown`", "The process came to its end first: the provider is not to blame."),
    "internal_error": ("`internal error`", "A mistake of trigate's own; another line with its `request_id` says more."),
}
"""What the terminal says for each, and what it means."""
