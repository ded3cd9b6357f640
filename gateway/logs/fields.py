"""The fields of a line of the JSON log, which are a promise: what each means, its unit, and when it is there.

``docs/log.md`` is written from these rows, and a test holds them to the lines that the ledger writes.
"""

from collections.abc import Mapping
from typing import Final, get_args

import attrs

from streams.events import ErrorKind, FailureReason, Reason

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
        "The client's API: `chat`, `messages`, `responses`, `gemini`, `converse`; `none` for a path that is not "
        "served.",
    ),
    Field(
        "endpoint", "word", "the request is no conversation",
        "What was asked for: `embeddings`, `rerank`, `speech` …; `api` says then in whose words errors are told.",
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
        "Why the model stopped: " + ", ".join(f"`{reason}`" for reason in get_args(Reason)) + ". Of an answer in a "
        "[realtime session](realtime.md) the provider's own word, of a transcript `transcribed`, of the session what "
        "has ended it: `client_closed`, `provider_closed`, `upstream_lost`, `stalled` (the provider took nothing any "
        "more), `expired`, `refused`, `replaced` (another configuration holds) or `drained`.",
    ),
    Field(
        "first_byte_ms", "milliseconds", "the client was answered", "From the request to the first byte of its answer."
    ),
    Field("duration_ms", "milliseconds", ALWAYS, "From the request to the end of its last task."),
    Field("input_tokens", "tokens", "they were counted or estimated", "The prompt, cached parts included."),
    Field("cached_tokens", "tokens", "as `input_tokens`", "The part of the prompt that was read from a cache."),
    Field("output_tokens", "tokens", "as `input_tokens`", "The answer, reasoning included."),
    Field(
        "units", "numbers by unit", "something is billed beside tokens",
        "Pictures, seconds, characters, searches: `{\"image\": 2}`. Tokens of sounds and pictures are also among "
        "`input_tokens` and `output_tokens`.",
    ),
    Field(
        "picture", "texts by name", "pictures were asked for, and something was said of these",
        "What their price may depend on, in the client's words: `{\"size\": \"1024x1024\", \"quality\": \"high\", "
        "\"n\": \"2\"}`.",
    ),
    Field(
        "usage_complete", "boolean", CALLED,
        "Whether these are the provider's own last word: false for an answer that broke off.",
    ),
    Field(
        "usage_estimated", "`true`", "they are an estimate",
        "The answer broke off, or the provider does not count: about four characters to a token.",
    ),
    Field(
        "cost_usd", "dollars", "a price is known",
        "What all its attempts have cost, to the billionth of a dollar.",
    ),
    Field(
        "cost_grade", "word", "a price is known, or a subscription paid",
        "How well the cost is known: `exact`; `estimated`, where tokens or a price are; `at_least`, where something is "
        "missing from it; `subscription`, without `cost_usd`, where a [plan](subscriptions.md) paid for all of it.",
    ),
    Field(
        "computed_usd", "dollars", "a provider has stated the cost",
        "What the list of prices says instead: the two together show how well the list is kept.",
    ),
    Field(
        "cache", "word", "answers are [cached](caching.md) for the client or the name",
        "`hit`: the answer was there already, or was on its way for another request, and this one has taken no tokens; "
        "`miss`: a provider was asked; `bypass`: the cache was not.",
    ),
    Field("cache_age_s", "seconds", "`cache` is `hit`", "Since its provider gave the answer."),
    Field("saved_input_tokens", "tokens", "`cache` is `hit`", "What the prompt would have taken, had one been asked."),
    Field("saved_output_tokens", "tokens", "as `saved_input_tokens`", "The same of the answer."),
    Field("saved_usd", "dollars", "a price is known", "What that would have cost."),
    Field("attempts", "requests", ALWAYS, "Requests that were made to providers."),
    Field("route", "text", "the name has several targets", "The alias whose targets were tried."),
    Field("waited_ms", "milliseconds", "there was a wait", "Between attempts, or for a target that was out."),
    Field(
        "tried", "list of objects", "several requests were made, or the only one failed",
        "What was tried, in order: [below](#attempts). At most the last 20.",
    ),
    Field(
        "error", "word", "something failed",
        "What was wrong: " + ", ".join(f"`{kind}`" for kind in get_args(ErrorKind)) + ".",
    ),
    Field(
        "message", "text", "as `error`, but for the end of the process",
        "The message in the client's error. Of a provider's error the log has the status, codes and types, and the "
        "numbers of tokens of a prompt that is too long: a provider may quote the prompt in its message. `log_level: "
        "debug` logs the whole message.",
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

TRIED: Final = (
    Field("target", "text", ALWAYS, "The `name` of its entry in `model_providers`; of a wildcard `provider/model`."),
    Field("api", "word", ALWAYS, "The API that the provider was asked in."),
    Field("lane", "word", ALWAYS, "`byte` or `hub`, as above."),
    Field(
        "cause", "word", ALWAYS,
        "Why it was made: `first`, `retry` (a target that was asked before), `fallback` (another one), `hedge` (beside "
        "one that was slow).",
    ),
    Field(
        "reason", "word", ALWAYS,
        "`ok`: its answer went to the client; `hedge_lost`: another one's did; `client_left`; `internal`: trigate's "
        "limits or its mistake; else why it failed: "
        + ", ".join(f"`{reason}`" for reason in get_args(FailureReason)) + ".",
    ),
    Field("status", "HTTP status", "the provider has answered", "The provider's."),
    Field("head_ms", "milliseconds", "as `status`", "From its sending to the head of the answer."),
    Field("content_ms", "milliseconds", "content came", "The same to the first content."),
    Field("duration_ms", "milliseconds", "it failed", "The same to its end."),
    Field(
        "input_tokens", "tokens", "its answer went to nobody, and the provider may bill it",
        "What the provider said, else about what its request has.",
    ),
    Field("output_tokens", "tokens", "as `input_tokens`, and the provider said it", "What went to nobody."),
    Field(
        "usage", "`unknown`", "as `input_tokens`, and the provider said nothing",
        "It may have done the work: the sum of the exchange is at least what the line says.",
    ),
)  # fmt: skip
"""The fields of one attempt."""

OTHER: Final = (
    Field("event", "text", ALWAYS, "`log`"),
    Field("at", "UTC, RFC 3339, seconds", ALWAYS, "When it was written."),
    Field("level", "word", ALWAYS, "`debug`, `info`, `warning`, `error`"),
    Field(
        "message", "text", ALWAYS, "What there is to say. A file that is refused has a record for each line about it."
    ),
    Field("traceback", "text of several lines", "something crashed", "Where: report it with the line."),
)

EVENTS: Final[Mapping[str, tuple[str, str]]] = {
    "key_refused": ("`address`, `path`, `reason`, `client`", "A request without a good key."),
    "keys_guessed": ("`address`, `path`", "Too many wrong keys from one address: told to wait (429)."),
    "page_refused": (
        "`address`, `path`, `host`, `origin`",
        "What a browser sends for another page, or under a foreign name.",
    ),
    "ui_opened": ("`address`, `path`, `client`, `by`", "Somebody looks at the live view."),
    "ui_stream_opened": ("`address`, `path`, `client`, `by`", "Somebody has opened one stream there."),
    "reloaded": ("`changes`", "The configuration is another one, or was read again."),
    "reload_refused": ("`reason`", "It had mistakes, and all stays as it was."),
    "keys_changed": (
        "`added`, `removed`, `changed`, `made_by`",
        "With a reload: keys of clients, `ui_key` and `metrics_key`. Or with `trigate keys`, from each process once it "
        "holds there.",
    ),
    "started": ("`version`, `listeners`, `clients`", "It serves."),
    "stopped": ("", "It has ended, by itself: a process that was killed says nothing."),
}
"""The events of the audit: the fields of each, and what it says."""

AUDITED: Final = (
    Field("event", "word", ALWAYS, "What has happened: see above."),
    Field("at", "UTC, RFC 3339, seconds", ALWAYS, "When."),
    Field("worker", "process id", ALWAYS, "The process that tells it."),
    Field("address", "text", "somebody asked", "As `address` of an exchange."),
    Field("path", "text", "as `address`", "The path that was asked for."),
    Field(
        "reason", "word, or lines", "a key or a reload was refused",
        "Of a key `missing`, `unknown`, `several` (different ones), `ended` or `wrong place`; of a reload the "
        "mistakes.",
    ),
    Field("client", "text", "it is known", "The `name` in `client_keys`: of who looks, or whose key has ended."),
    Field("host", "text", "a page was refused", "The name by which the gateway was called."),
    Field("origin", "text", "as `host`, and the browser says it", "The page."),
    Field("by", "text", "somebody looks", "What let them in: `ui_key`, `client key` or `this machine`."),
    Field("changes", "list of texts", "it was reloaded", "As `trigate check --diff` has them, the first 50."),
    Field("added", "list of names", "keys changed", "Clients that are new."),
    Field("removed", "list of names", "as `added`", "Clients that are gone."),
    Field("changed", "list of names", "as `added`", "Clients with other keys, models or limits."),
    Field(
        "made_by", "list of texts", "stored keys changed",
        "The users who made the changes, each with a machine's name; with `--by alice`, `alice via` before it.",
    ),
    Field("version", "text", "it started", "Of trigate."),
    Field("listeners", "list of texts", "it started", "Where it listens."),
    Field("clients", "list of names", "it started, with `client_keys`", "Who may come in."),
    Field("more", "number", "more of it happened within a minute than is told", "How often, beyond what was told."),
)  # fmt: skip

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
