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


@attrs.frozen(repr=False)
class MetricRow:
    """One metric. ``bounds`` are the buckets of a histogram."""

    name: str
    kind: Kind
    meaning: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()


_WHERE: Final = ("provider", "model")

EXCHANGES = MetricRow(
    "trigate_exchanges_total", "counter", "Ended exchanges, including rejected requests.",
    ("api", *_WHERE, "lane", "status", "ended", "client"),
)  # fmt: skip
IN_FLIGHT = MetricRow("trigate_exchanges_in_flight", "sum", "Exchanges in progress.", ("api",))
FIRST_BYTE = MetricRow(
    "trigate_first_byte_seconds", "histogram",
    "Time from the request to the first byte of the response, or the first keep-alive.",
    (*_WHERE, "lane"), _WAITS,
)  # fmt: skip
FIRST_TOKEN = MetricRow(
    "trigate_first_token_seconds", "histogram", "Time from the request to the first content of a stream.",
    (*_WHERE, "lane"), _WAITS,
)  # fmt: skip
DURATION = MetricRow(
    "trigate_duration_seconds",
    "histogram",
    "Time from the request to the end of the response.",
    (*_WHERE, "lane"),
    _LONG,
)
SILENCE = MetricRow(
    "trigate_write_gap_seconds", "histogram",
    "Time between two writes of a stream, without the time that the client took to read.", bounds=GAPS,
)  # fmt: skip
TOKENS = MetricRow(
    "trigate_tokens_total", "counter",
    "Tokens of all attempts that cost something, including failed ones and answers that broke off.",
    (*_WHERE, "client", "kind"),
)  # fmt: skip
BILLED_UNITS = MetricRow(
    "trigate_units_total", "counter", "Billed units other than tokens: images, seconds of audio, characters, searches.",
    (*_WHERE, "client", "unit"),
)  # fmt: skip
ESTIMATED = MetricRow(
    "trigate_usage_estimated_total", "counter",
    "Exchanges with estimated tokens: the answer broke off, or the provider reported no usage.", ("provider",),
)  # fmt: skip
COST = MetricRow(
    "trigate_cost_dollars_total", "counter",
    "Cost of all attempts with a price, including attempts whose answer was discarded.",
    (*_WHERE, "target", "client", "grade"),
)  # fmt: skip
UNPRICED = MetricRow(
    "trigate_unpriced_total", "counter", "Attempts that used tokens without a known price; no cost includes them.",
    (*_WHERE, "target"),
)  # fmt: skip
ON_SUBSCRIPTION = MetricRow(
    "trigate_subscription_total", "counter", "Attempts that a subscription paid for; no cost includes them.",
    (*_WHERE, "target", "client"),
)  # fmt: skip
LIMIT_REFUSALS = MetricRow(
    "trigate_limit_refusals_total", "counter",
    "Requests rejected by a client's limit, and attempts skipped because of a limit of an entry or a client's budget.",
    ("holder_kind", "holder", "limit"),
)  # fmt: skip
BUDGET_USED = MetricRow(
    "trigate_budget_used_ratio", "latest",
    "Spent fraction of each budget in its period; above 1 if answers cost more than reserved.",
    ("holder_kind", "holder", "budget"),
)  # fmt: skip
BUDGET_HELD = MetricRow(
    "trigate_budget_held_ratio", "latest",
    "Fraction of each budget that is reserved by requests in progress and by batches.",
    ("holder_kind", "holder", "budget"),
)  # fmt: skip
LIMIT_QUEUED = MetricRow("trigate_limit_queued", "sum", "Requests waiting in the `queue` of an entry.", ("entry",))
LIMIT_USED = MetricRow(
    "trigate_limit_used_ratio", "latest",
    "Used fraction of each rate and of each concurrency limit.",
    ("holder_kind", "holder", "limit"),
)  # fmt: skip
DROPS = MetricRow(
    "trigate_dropped_total", "counter", "Requests with fields that the provider's API does not have.",
    ("api", "provider"),
)  # fmt: skip
UPSTREAM_ERRORS = MetricRow(
    "trigate_upstream_errors_total", "counter",
    "Exchanges that failed because of the provider or the connection to it.",
    (*_WHERE, "error"),
)  # fmt: skip
DISCONNECTS = MetricRow(
    "trigate_disconnects_total",
    "counter",
    "Clients that disconnected before the end of their response.",
    ("api", "phase"),
)
ATTEMPTS = MetricRow("trigate_upstream_attempts_total", "counter", "Requests to providers.", ("provider",))
RETRIES = MetricRow(
    "trigate_upstream_retries_total",
    "counter",
    "Requests to providers after the first one of an exchange.",
    ("provider",),
)
STICKY = MetricRow(
    "trigate_sticky_turns_total", "counter",
    "Conversation turns answered by a group, by whether the member with the cached prompt answered.",
    ("route", "landed"),
)  # fmt: skip
TARGETS_OUT = MetricRow(
    "trigate_targets_out", "greatest",
    "Unavailable targets: 1 for an entry; the number of unavailable models for a wildcard entry.", ("entry",),
)  # fmt: skip
OUTAGES = MetricRow(
    "trigate_target_outages_total", "counter", "How often a target became unavailable.", ("entry", "reason")
)
TARGET_ATTEMPTS = MetricRow(
    "trigate_target_attempts_total", "counter", "Requests to each target, by their result.",
    ("target", "reason"),
)  # fmt: skip
FALLBACKS = MetricRow(
    "trigate_fallbacks_total", "counter", "Exchanges that continued at another target after the first one failed.",
    ("route", "answered"),
)  # fmt: skip
HEDGES = MetricRow(
    "trigate_hedges_total", "counter", "Hedges, by whether the client got their answer.",
    ("route", "won"),
)  # fmt: skip
ATTEMPT_WAIT = MetricRow(
    "trigate_attempt_wait_seconds", "histogram",
    "Time that exchanges waited between attempts or for an unavailable target, without those that "
    "did not wait.",
    ("route",), _WAITS,
)  # fmt: skip
POOL = MetricRow("trigate_upstream_connections", "sum", "Connections to providers.", ("state",))
SHARE_REFUSALS = MetricRow(
    "trigate_share_refusals_total", "counter",
    "Requests rejected because their client had reached one of `limits.per_client`.",
    ("share",),
)  # fmt: skip
QUEUED = MetricRow("trigate_upstream_queued", "sum", "Requests waiting for a connection to a provider.")
CONNECTIONS = MetricRow("trigate_client_connections", "sum", "Client connections, including idle ones.")
BACKGROUND = MetricRow("trigate_background_turns", "sum", "Background responses in progress.")
STORE_ENTRIES = MetricRow(
    "trigate_store_entries", "greatest",
    "Entries in `state_storage`: turns, their parts, and conversations.",
)  # fmt: skip
STORE_BYTES = MetricRow("trigate_store_bytes", "greatest", "Size of these entries, as `max_bytes` counts it.")
STORE_LIMIT = MetricRow("trigate_store_limit_bytes", "greatest", "`max_bytes`; 0 without a limit.")
LEDGER_LOST = MetricRow(
    "trigate_ledger_lines_lost_total", "counter",
    "Exchanges missing from the kept ledger because the database was unavailable for too long; the "
    "log has them.",
)  # fmt: skip
LEDGER_FOLDED = MetricRow(
    "trigate_ledger_lines_folded_total", "counter",
    "Ledger lines merged into sums: `ledger.max_bytes` was exceeded, or the database was unavailable.",
)  # fmt: skip
KEYS_STALE = MetricRow(
    "trigate_stored_keys_stale_seconds", "greatest",
    "Time since the keys in `state_storage` could last be read; the last known keys remain valid.",
)  # fmt: skip
ISSUER_STALE = MetricRow(
    "trigate_issuer_stale_seconds", "greatest",
    "Time since the keys of this issuer could last be fetched when due; the last keys remain valid for a day.",
    ("issuer",),
)  # fmt: skip
SECRETS_STALE = MetricRow(
    "trigate_secret_stale_seconds", "greatest",
    "Time since a secret could last be read from its store; its last value remains in use.",
)  # fmt: skip
COUNTERS_AWAY = MetricRow(
    "trigate_counters_away", "sum",
    "Processes that cannot reach the store of `counters`.",
)  # fmt: skip
COUNTED_ALONE = MetricRow(
    "trigate_counted_alone_total", "counter",
    "Requests whose limits were decided, or rejected, without the store of `counters`.",
)  # fmt: skip
CACHE = MetricRow(
    "trigate_cache_requests_total", "counter", "Requests whose model name or client uses the response cache.",
    ("client", "outcome"),
)  # fmt: skip
CACHE_SAVED = MetricRow(
    "trigate_cache_saved_dollars_total", "counter",
    "Cost saved by cached answers that have a price.", ("client",),
)  # fmt: skip
CACHE_SAVED_TOKENS = MetricRow(
    "trigate_cache_saved_tokens_total", "counter", "Input and output tokens saved by cached answers.",
    ("client",),
)  # fmt: skip
CACHE_FAILURES = MetricRow(
    "trigate_cache_failures_total", "counter",
    "Failures of the cache: it was unavailable or took over 50 ms. The request then goes to its provider.",
)  # fmt: skip
PROMPT_CACHE_TOKENS = MetricRow(
    "trigate_prompt_cache_tokens_total", "counter",
    "Prompt tokens that the provider's cache could serve, that it served (`read`), and that it missed, by cause.",
    (*_WHERE, "client", "kind", "cause"),
)  # fmt: skip
PROMPT_CACHE_LOST = MetricRow(
    "trigate_prompt_cache_lost_dollars_total", "counter",
    "Cost of missed tokens above the price of cached ones, by cause.",
    (*_WHERE, "client", "cause"),
)  # fmt: skip
PROMPT_CACHE_CONTRADICTIONS = MetricRow(
    "trigate_prompt_cache_contradictions_total", "counter",
    "Requests whose provider reported cached tokens that contradict the comparison of prompts.",
    (*_WHERE, "client"),
)  # fmt: skip
STEP_OUTCOMES = MetricRow(
    "trigate_step_outcomes_total", "counter", "Exchanges by the outcome of each step that checked them.",
    ("step", "at", "outcome"),
)  # fmt: skip
STEP_FAILURES = MetricRow(
    "trigate_step_failures_total", "counter", "Exchanges with content that a step could not check, by the reason.",
    ("step", "failure"),
)  # fmt: skip
STEP_FINDINGS = MetricRow(
    "trigate_step_findings_total", "counter", "Findings of steps by label, at most 50 labels of a step; then `other`.",
    ("step", "label"),
)  # fmt: skip
STEP_SECONDS = MetricRow(
    "trigate_step_seconds", "histogram", "Time that a step took in an exchange, all its calls together.",
    ("step", "at"), (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
)  # fmt: skip
STEP_RECORDS_LOST = MetricRow(
    "trigate_step_records_lost_total", "counter",
    "Records of finished exchanges that an observer did not get, by the reason.",
    ("step", "reason"),
)  # fmt: skip
SHADOW_ANSWERS = MetricRow(
    "trigate_shadow_answers_total", "counter",
    "Sampled requests of a name with a second target, by the comparison of the answers.", ("route", "outcome"),
)  # fmt: skip
SHADOW_DIFFERENCES = MetricRow(
    "trigate_shadow_differences_total", "counter",
    "Differences between the answers of the two targets, by the part and by the effect on clients.",
    ("route", "part", "effect"),
)  # fmt: skip
LAG = MetricRow(
    "trigate_event_loop_lag_seconds",
    "histogram",
    "Delay of a task that sleeps for half a second.",
    bounds=_LAGS,
)
MEMORY = MetricRow("trigate_memory_bytes", "sum", "Resident memory of the workers.")
CPU = MetricRow("trigate_cpu_seconds_total", "counter", "CPU time of the workers.")
WORKERS = MetricRow("trigate_workers", "sum", "Worker processes.")
DRAINING = MetricRow("trigate_draining", "sum", "Workers that finish their requests and accept no new ones.")
RELOADS = MetricRow("trigate_config_reloads_total", "counter", "Configuration reloads since the start.", ("result",))
SPANS = MetricRow(
    "trigate_spans_dropped_total",
    "counter",
    "Spans not exported: the queue was full, or the collector did not accept them.",
)
CLIENT = MetricRow(
    "trigate_client_info", "greatest",
    "1 for each client seen, with its group. Join it to any metric with the label `client`.",
    ("client", "group"),
)  # fmt: skip
BUILD = MetricRow("trigate_build_info", "greatest", "1, with the version.", ("version",))

ROWS: Final = (
    EXCHANGES, IN_FLIGHT, FIRST_BYTE, FIRST_TOKEN, SILENCE, DURATION, TOKENS, BILLED_UNITS, ESTIMATED, COST,
    UNPRICED, ON_SUBSCRIPTION,
    BUDGET_USED, BUDGET_HELD, LIMIT_USED, LIMIT_QUEUED, LIMIT_REFUSALS, DROPS, UPSTREAM_ERRORS,
    DISCONNECTS, SHARE_REFUSALS, ATTEMPTS, RETRIES, TARGET_ATTEMPTS, FALLBACKS, HEDGES, ATTEMPT_WAIT, STICKY,
    TARGETS_OUT, OUTAGES, POOL, QUEUED, CONNECTIONS, BACKGROUND, STORE_ENTRIES, STORE_BYTES, STORE_LIMIT,
    LEDGER_LOST, LEDGER_FOLDED, KEYS_STALE, ISSUER_STALE, SECRETS_STALE, COUNTERS_AWAY, COUNTED_ALONE,
    CACHE, CACHE_SAVED, CACHE_SAVED_TOKENS, CACHE_FAILURES,
    PROMPT_CACHE_TOKENS, PROMPT_CACHE_LOST, PROMPT_CACHE_CONTRADICTIONS, STEP_OUTCOMES, STEP_FAILURES,
    STEP_FINDINGS, STEP_SECONDS, STEP_RECORDS_LOST, SHADOW_ANSWERS, SHADOW_DIFFERENCES,
    LAG, MEMORY, CPU, WORKERS, DRAINING, RELOADS, SPANS, CLIENT, BUILD,
)  # fmt: skip

BY_NAME: Final = {row.name: row for row in ROWS}
