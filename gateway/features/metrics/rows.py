"""All metrics. Tests compare ``docs/metrics.md``, the dashboard and the alert rules with ``ROWS``."""

from typing import Final, Literal, TypeAlias

import attrs

from gateway.ledger.buckets import GAPS

Kind: TypeAlias = Literal["counter", "histogram", "sum", "greatest", "latest"]
"""The last three are gauges, by how the numbers of several workers are combined. ``latest`` is for a total that every
worker knows: the most recent number is correct."""

_WAITS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
_LONG: Final = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
_LAGS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)


@attrs.frozen(eq=False, repr=False)
class MetricRow:
    """One metric. ``bounds`` are the buckets of a histogram."""

    name: str
    kind: Kind
    meaning: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()


_STEPS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


def _counter(name: str, meaning: str, *labels: str) -> MetricRow:
    return MetricRow(name, "counter", meaning, labels)


def _histogram(name: str, meaning: str, *labels: str, bounds: tuple[float, ...]) -> MetricRow:
    return MetricRow(name, "histogram", meaning, labels, bounds)


def _gauge(name: str, kind: Kind, meaning: str, *labels: str) -> MetricRow:
    return MetricRow(name, kind, meaning, labels)


_WHERE: Final = ("provider", "model")

EXCHANGES = _counter(
    "trigate_exchanges_total", "Ended exchanges, including rejected requests.", "api", *_WHERE, "lane", "status",
    "ended", "client",
)  # fmt: skip
IN_FLIGHT = _gauge("trigate_exchanges_in_flight", "sum", "Exchanges in progress.", "api")
FIRST_BYTE = _histogram(
    "trigate_first_byte_seconds", "Time from the request to the first byte of the response, or the first keep-alive.",
    *_WHERE, "lane", bounds=_WAITS,
)  # fmt: skip
FIRST_TOKEN = _histogram(
    "trigate_first_token_seconds", "Time from the request to the first content of a stream.", *_WHERE, "lane",
    bounds=_WAITS,
)  # fmt: skip
SILENCE = _histogram(
    "trigate_write_gap_seconds", "Time between two writes of a stream, without the time that the client took to read.",
    bounds=GAPS,
)  # fmt: skip
DURATION = _histogram(
    "trigate_duration_seconds", "Time from the request to the end of the response.", *_WHERE, "lane", bounds=_LONG,
)  # fmt: skip
TOKENS = _counter(
    "trigate_tokens_total",
    "Tokens of all attempts that cost something, including failed ones and answers that broke off.", *_WHERE, "client",
    "kind",
)  # fmt: skip
BILLED_UNITS = _counter(
    "trigate_units_total", "Billed units other than tokens: images, seconds of audio, characters, searches.", *_WHERE,
    "client", "unit",
)  # fmt: skip
ESTIMATED = _counter(
    "trigate_usage_estimated_total",
    "Exchanges with estimated tokens: the answer broke off, or the provider reported no usage.", "provider",
)  # fmt: skip
COST = _counter(
    "trigate_cost_dollars_total", "Cost of all attempts with a price, including attempts whose answer was discarded.",
    *_WHERE, "target", "client", "grade",
)  # fmt: skip
UNPRICED = _counter(
    "trigate_unpriced_total", "Attempts that used tokens without a known price; no cost includes them.", *_WHERE,
    "target",
)  # fmt: skip
ON_SUBSCRIPTION = _counter(
    "trigate_subscription_total", "Attempts that a subscription paid for; no cost includes them.", *_WHERE, "target",
    "client",
)  # fmt: skip
BUDGET_USED = _gauge(
    "trigate_budget_used_ratio", "latest",
    "Spent fraction of each budget in its period; above 1 if answers cost more than reserved.", "holder_kind", "holder",
    "budget",
)  # fmt: skip
BUDGET_HELD = _gauge(
    "trigate_budget_held_ratio", "latest",
    "Fraction of each budget that is reserved by requests in progress and by batches.", "holder_kind", "holder",
    "budget",
)  # fmt: skip
LIMIT_USED = _gauge(
    "trigate_limit_used_ratio", "latest", "Used fraction of each rate and of each concurrency limit.", "holder_kind",
    "holder", "limit",
)  # fmt: skip
LIMIT_QUEUED = _gauge("trigate_limit_queued", "sum", "Requests waiting in the `queue` of an entry.", "entry")
LIMIT_REFUSALS = _counter(
    "trigate_limit_refusals_total",
    "Requests rejected by a client's limit, and attempts skipped because of a limit of an entry or a client's budget.",
    "holder_kind", "holder", "limit",
)  # fmt: skip
DROPS = _counter(
    "trigate_dropped_total", "Requests with fields that the provider's API does not have.", "api", "provider",
)  # fmt: skip
UPSTREAM_ERRORS = _counter(
    "trigate_upstream_errors_total", "Exchanges that failed because of the provider or the connection to it.", *_WHERE,
    "error",
)  # fmt: skip
DISCONNECTS = _counter(
    "trigate_disconnects_total", "Clients that disconnected before the end of their response.", "api", "phase",
)  # fmt: skip
SHARE_REFUSALS = _counter(
    "trigate_share_refusals_total", "Requests rejected because their client had reached one of `limits.per_client`.",
    "share",
)  # fmt: skip
ATTEMPTS = _counter("trigate_upstream_attempts_total", "Requests to providers.", "provider")
RETRIES = _counter(
    "trigate_upstream_retries_total", "Requests to providers after the first one of an exchange.", "provider",
)  # fmt: skip
TARGET_ATTEMPTS = _counter(
    "trigate_target_attempts_total", "Requests to each target, by their result.", "target", "reason",
)  # fmt: skip
FALLBACKS = _counter(
    "trigate_fallbacks_total", "Exchanges that continued at another target after the first one failed.", "route",
    "answered",
)  # fmt: skip
HEDGES = _counter("trigate_hedges_total", "Hedges, by whether the client got their answer.", "route", "won")
ATTEMPT_WAIT = _histogram(
    "trigate_attempt_wait_seconds",
    "Time that exchanges waited between attempts or for an unavailable target, without those that did not wait.",
    "route", bounds=_WAITS,
)  # fmt: skip
STICKY = _counter(
    "trigate_sticky_turns_total",
    "Conversation turns answered by a group, by whether the member with the cached prompt answered.", "route", "landed",
)  # fmt: skip
TARGETS_OUT = _gauge(
    "trigate_targets_out", "greatest",
    "Unavailable targets: 1 for an entry; the number of unavailable models for a wildcard entry.", "entry",
)  # fmt: skip
OUTAGES = _counter("trigate_target_outages_total", "How often a target became unavailable.", "entry", "reason")
POOL = _gauge("trigate_upstream_connections", "sum", "Connections to providers.", "state")
QUEUED = _gauge("trigate_upstream_queued", "sum", "Requests waiting for a connection to a provider.")
CONNECTIONS = _gauge("trigate_client_connections", "sum", "Client connections, including idle ones.")
BACKGROUND = _gauge("trigate_background_turns", "sum", "Background responses in progress.")
STORE_ENTRIES = _gauge(
    "trigate_store_entries", "greatest", "Entries in `state_storage`: turns, their parts, and conversations.",
)  # fmt: skip
STORE_BYTES = _gauge("trigate_store_bytes", "greatest", "Size of these entries, as `max_bytes` counts it.")
STORE_LIMIT = _gauge("trigate_store_limit_bytes", "greatest", "`max_bytes`; 0 without a limit.")
LEDGER_LOST = _counter(
    "trigate_ledger_lines_lost_total",
    "Exchanges missing from the kept ledger because the database was unavailable for too long; the log has them.",
)  # fmt: skip
LEDGER_FOLDED = _counter(
    "trigate_ledger_lines_folded_total",
    "Ledger lines merged into sums: `ledger.max_bytes` was exceeded, or the database was unavailable.",
)  # fmt: skip
KEYS_STALE = _gauge(
    "trigate_stored_keys_stale_seconds", "greatest",
    "Time since the keys in `state_storage` could last be read; the last known keys remain valid.",
)  # fmt: skip
ISSUER_STALE = _gauge(
    "trigate_issuer_stale_seconds", "greatest",
    "Time since the keys of this issuer could last be fetched when due; the last keys remain valid for a day.",
    "issuer",
)  # fmt: skip
SECRETS_STALE = _gauge(
    "trigate_secret_stale_seconds", "greatest",
    "Time since a secret could last be read from its store; its last value remains in use.",
)  # fmt: skip
COUNTERS_AWAY = _gauge("trigate_counters_away", "sum", "Processes that cannot reach the store of `counters`.")
COUNTED_ALONE = _counter(
    "trigate_counted_alone_total", "Requests whose limits were decided, or rejected, without the store of `counters`.",
)  # fmt: skip
CACHE = _counter(
    "trigate_cache_requests_total", "Requests whose model name or client uses the response cache.", "client", "outcome",
)  # fmt: skip
CACHE_SAVED = _counter("trigate_cache_saved_dollars_total", "Cost saved by cached answers that have a price.", "client")
CACHE_SAVED_TOKENS = _counter(
    "trigate_cache_saved_tokens_total", "Input and output tokens saved by cached answers.", "client",
)  # fmt: skip
CACHE_FAILURES = _counter(
    "trigate_cache_failures_total",
    "Failures of the cache: it was unavailable or took over 50 ms. The request then goes to its provider.",
)  # fmt: skip
PROMPT_CACHE_TOKENS = _counter(
    "trigate_prompt_cache_tokens_total",
    "Prompt tokens that the provider's cache could serve, that it served (`read`), and that it missed, by cause.",
    *_WHERE, "client", "kind", "cause",
)  # fmt: skip
PROMPT_CACHE_LOST = _counter(
    "trigate_prompt_cache_lost_dollars_total", "Cost of missed tokens above the price of cached ones, by cause.",
    *_WHERE, "client", "cause",
)  # fmt: skip
PROMPT_CACHE_CONTRADICTIONS = _counter(
    "trigate_prompt_cache_contradictions_total",
    "Requests whose provider reported cached tokens that contradict the comparison of prompts.", *_WHERE, "client",
)  # fmt: skip
STEP_OUTCOMES = _counter(
    "trigate_step_outcomes_total", "Exchanges by the outcome of each step that checked them.", "step", "at", "outcome",
)  # fmt: skip
STEP_FAILURES = _counter(
    "trigate_step_failures_total", "Exchanges with content that a step could not check, by the reason.", "step",
    "failure",
)  # fmt: skip
STEP_FINDINGS = _counter(
    "trigate_step_findings_total", "Findings of steps by label, at most 50 labels of a step; then `other`.", "step",
    "label",
)  # fmt: skip
STEP_SECONDS = _histogram(
    "trigate_step_seconds", "Time that a step took in an exchange, all its calls together.", "step", "at",
    bounds=_STEPS,
)  # fmt: skip
STEP_RECORDS_LOST = _counter(
    "trigate_step_records_lost_total", "Records of finished exchanges that an observer did not get, by the reason.",
    "step", "reason",
)  # fmt: skip
SHADOW_ANSWERS = _counter(
    "trigate_shadow_answers_total",
    "Sampled requests of a name with a second target, by the comparison of the answers.", "route", "outcome",
)  # fmt: skip
SHADOW_DIFFERENCES = _counter(
    "trigate_shadow_differences_total",
    "Differences between the answers of the two targets, by the part and by the effect on clients.", "route", "part",
    "effect",
)  # fmt: skip
LAG = _histogram("trigate_event_loop_lag_seconds", "Delay of a task that sleeps for half a second.", bounds=_LAGS)
MEMORY = _gauge("trigate_memory_bytes", "sum", "Resident memory of the workers.")
CPU = _counter("trigate_cpu_seconds_total", "CPU time of the workers.")
WORKERS = _gauge("trigate_workers", "sum", "Worker processes.")
DRAINING = _gauge("trigate_draining", "sum", "Workers that finish their requests and accept no new ones.")
RELOADS = _counter("trigate_config_reloads_total", "Configuration reloads since the start.", "result")
SPANS = _counter(
    "trigate_spans_dropped_total", "Spans not exported: the queue was full, or the collector did not accept them.",
)  # fmt: skip
CLIENT = _gauge(
    "trigate_client_info", "greatest",
    "1 for each client seen, with its group. Join it to any metric with the label `client`.", "client", "group",
)  # fmt: skip
BUILD = _gauge("trigate_build_info", "greatest", "1, with the version.", "version")

ROWS: Final = tuple([row for row in [*globals().values()] if isinstance(row, MetricRow)])

BY_NAME: Final = {row.name: row for row in ROWS}
