"""The metrics that there are: ``docs/metrics.md``, the dashboard and the alert rules are held to ``ROWS`` by tests."""

from typing import Final, Literal, TypeAlias

import attrs

from gateway.ledger.buckets import GAPS

Kind: TypeAlias = Literal["counter", "histogram", "sum", "greatest", "latest"]
"""The last three are gauges, by what becomes of the numbers of several workers: of what these count together the one
that was asked last is right."""

_WAITS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
_LONG: Final = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
_LAGS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)


@attrs.frozen
class MetricRow:
    """One metric. ``bounds`` are those of a histogram's buckets."""

    name: str
    kind: Kind
    meaning: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()


_WHERE: Final = ("provider", "model")

EXCHANGES = MetricRow(
    "trigate_exchanges_total", "counter", "Exchanges that have ended, also those that were refused.",
    ("api", *_WHERE, "lane", "status", "ended", "client"),
)  # fmt: skip
IN_FLIGHT = MetricRow("trigate_exchanges_in_flight", "sum", "Exchanges that are going on.", ("api",))
FIRST_BYTE = MetricRow(
    "trigate_first_byte_seconds", "histogram", "From the request to the first byte of its answer, or keep-alive.",
    (*_WHERE, "lane"), _WAITS,
)  # fmt: skip
FIRST_TOKEN = MetricRow(
    "trigate_first_token_seconds", "histogram", "From the request to the first content of its stream.",
    (*_WHERE, "lane"), _WAITS,
)  # fmt: skip
DURATION = MetricRow(
    "trigate_duration_seconds", "histogram", "From the request to the end of its answer.", (*_WHERE, "lane"), _LONG
)
SILENCE = MetricRow(
    "trigate_write_gap_seconds", "histogram",
    "Between two writes of a stream, less the time that its client took to read.", bounds=GAPS,
)  # fmt: skip
TOKENS = MetricRow(
    "trigate_tokens_total", "counter", "Tokens, of answers that broke off as far as they came.",
    (*_WHERE, "client", "kind"),
)  # fmt: skip
BILLED_UNITS = MetricRow(
    "trigate_units_total", "counter", "What is billed beside tokens: pictures, seconds of sound, characters, searches.",
    (*_WHERE, "client", "unit"),
)  # fmt: skip
ESTIMATED = MetricRow(
    "trigate_usage_estimated_total", "counter",
    "Exchanges whose tokens are estimated: the answer broke off, or nobody counted.", ("provider",),
)  # fmt: skip
COST = MetricRow(
    "trigate_cost_dollars_total", "counter",
    "What attempts have cost, those included whose answers went to nobody, as far as there is a price.",
    (*_WHERE, "target", "client", "grade"),
)  # fmt: skip
UNPRICED = MetricRow(
    "trigate_unpriced_total", "counter", "Attempts that took tokens whose price nobody knows: no sum has them.",
    (*_WHERE, "target"),
)  # fmt: skip
ON_SUBSCRIPTION = MetricRow(
    "trigate_subscription_total", "counter", "Attempts that a subscription paid for: no sum of costs includes them.",
    (*_WHERE, "target", "client"),
)  # fmt: skip
LIMIT_REFUSALS = MetricRow(
    "trigate_limit_refusals_total", "counter",
    "Requests for which there was no room in what their client may use, and attempts for which there was none in what "
    "an entry may be given: those go on to the next target.",
    ("holder_kind", "holder", "limit"),
)  # fmt: skip
BUDGET_USED = MetricRow(
    "trigate_budget_used_ratio", "latest",
    "The part of each budget that is spent in its period; above 1 where answers cost more than was expected of them.",
    ("holder_kind", "holder", "budget"),
)  # fmt: skip
BUDGET_HELD = MetricRow(
    "trigate_budget_held_ratio", "latest",
    "The part of each budget that is reserved by requests under way, or set aside for batches.",
    ("holder_kind", "holder", "budget"),
)  # fmt: skip
LIMIT_QUEUED = MetricRow(
    "trigate_limit_queued", "sum", "Requests that wait for their place at an entry, in its `queue`.", ("entry",)
)
LIMIT_USED = MetricRow(
    "trigate_limit_used_ratio", "latest",
    "The part of each rate that has not refilled yet, and of each number of requests at once that is taken.",
    ("holder_kind", "holder", "limit"),
)  # fmt: skip
DROPS = MetricRow(
    "trigate_dropped_total", "counter", "Requests of which something could not be carried to the provider.",
    ("api", "provider"),
)  # fmt: skip
UPSTREAM_ERRORS = MetricRow(
    "trigate_upstream_errors_total", "counter", "Exchanges that a provider, or the way to it, has failed.",
    (*_WHERE, "error"),
)  # fmt: skip
DISCONNECTS = MetricRow(
    "trigate_disconnects_total", "counter", "Clients that left before the end of their answer.", ("api", "phase")
)
ATTEMPTS = MetricRow(
    "trigate_upstream_attempts_total", "counter", "Requests that were sent to providers.", ("provider",)
)
RETRIES = MetricRow(
    "trigate_upstream_retries_total",
    "counter",
    "Those of them that were not the first of their exchange.",
    ("provider",),
)
STICKY = MetricRow(
    "trigate_sticky_turns_total", "counter",
    "Turns of conversations that a group has answered, by whether it was the target with their prompt in its cache.",
    ("route", "landed"),
)  # fmt: skip
TARGETS_OUT = MetricRow(
    "trigate_targets_out", "greatest",
    "Targets that are not asked now: 1 for an entry, of a wildcard entry the number of its models.", ("entry",),
)  # fmt: skip
OUTAGES = MetricRow("trigate_target_outages_total", "counter", "How often a target was taken out.", ("entry", "reason"))
TARGET_ATTEMPTS = MetricRow(
    "trigate_target_attempts_total", "counter", "Requests that were sent to each target, by what became of them.",
    ("target", "reason"),
)  # fmt: skip
FALLBACKS = MetricRow(
    "trigate_fallbacks_total", "counter", "Exchanges whose first target failed and that went on to another one.",
    ("route", "answered"),
)  # fmt: skip
HEDGES = MetricRow(
    "trigate_hedges_total", "counter", "Second attempts beside a slow first one, by whether theirs was the answer.",
    ("route", "won"),
)  # fmt: skip
ATTEMPT_WAIT = MetricRow(
    "trigate_attempt_wait_seconds", "histogram",
    "What exchanges have waited between attempts, or for a target that was out; those that did not are not in it.",
    ("route",), _WAITS,
)  # fmt: skip
POOL = MetricRow("trigate_upstream_connections", "sum", "Connections to providers.", ("state",))
SHARE_REFUSALS = MetricRow(
    "trigate_share_refusals_total", "counter", "Requests that were refused because their client had its share already.",
    ("share",),
)  # fmt: skip
QUEUED = MetricRow("trigate_upstream_queued", "sum", "Requests that wait for a connection to a provider.")
CONNECTIONS = MetricRow("trigate_client_connections", "sum", "Clients' connections, idle ones included.")
BACKGROUND = MetricRow("trigate_background_turns", "sum", "Responses that are being made in the background.")
STORE_ENTRIES = MetricRow(
    "trigate_store_entries", "greatest",
    "What is kept in `state_storage`: turns, what belongs to them, and conversations.",
)  # fmt: skip
STORE_BYTES = MetricRow("trigate_store_bytes", "greatest", "What that takes, as `max_bytes` counts it.")
STORE_LIMIT = MetricRow("trigate_store_limit_bytes", "greatest", "`max_bytes`; 0 where there is none.")
LEDGER_LOST = MetricRow(
    "trigate_ledger_lines_lost_total", "counter",
    "Exchanges that are in the log and missing from the kept ledger: the database was away for too long.",
)  # fmt: skip
LEDGER_FOLDED = MetricRow(
    "trigate_ledger_lines_folded_total", "counter",
    "Lines that the kept ledger has in sums alone: there were more than `ledger.max_bytes`, or the database was away.",
)  # fmt: skip
KEYS_STALE = MetricRow(
    "trigate_stored_keys_stale_seconds", "greatest",
    "Since when the keys in `state_storage` cannot be read: those that were read last go on.",
)  # fmt: skip
COUNTERS_AWAY = MetricRow(
    "trigate_counters_away", "sum",
    "Processes that do not reach the store of `counters`, and hold limits by their share.",
)  # fmt: skip
COUNTED_ALONE = MetricRow(
    "trigate_counted_alone_total", "counter",
    "Requests whose limits were decided without the store of `counters`, or refused for want of it.",
)  # fmt: skip
CACHE = MetricRow(
    "trigate_cache_requests_total", "counter", "Requests whose name or client uses the cache of answers.",
    ("client", "outcome"),
)  # fmt: skip
CACHE_SAVED = MetricRow(
    "trigate_cache_saved_dollars_total", "counter",
    "What the answers out of the cache would have cost, as far as there is a price.", ("client",),
)  # fmt: skip
CACHE_SAVED_TOKENS = MetricRow(
    "trigate_cache_saved_tokens_total", "counter", "The tokens that they would have taken, input and output.",
    ("client",),
)  # fmt: skip
CACHE_FAILURES = MetricRow(
    "trigate_cache_failures_total", "counter",
    "How often the store of answers was away, or had no answer within 50 ms: then their providers are asked.",
)  # fmt: skip
LAG = MetricRow(
    "trigate_event_loop_lag_seconds",
    "histogram",
    "How late a task runs that has asked for half a second.",
    bounds=_LAGS,
)
MEMORY = MetricRow("trigate_memory_bytes", "sum", "Resident memory of the workers.")
CPU = MetricRow("trigate_cpu_seconds_total", "counter", "Processor time of the workers.")
WORKERS = MetricRow("trigate_workers", "sum", "Worker processes.")
DRAINING = MetricRow("trigate_draining", "sum", "Those of them that take no more requests and finish what they have.")
RELOADS = MetricRow(
    "trigate_config_reloads_total", "counter", "Configurations taken over, or refused, since the start.", ("result",)
)
SPANS = MetricRow(
    "trigate_spans_dropped_total", "counter", "Spans that were not exported: the queue was full, or nobody took them."
)
CLIENT = MetricRow(
    "trigate_client_info", "greatest",
    "1 for each client that has been seen, with its group. Join it to any metric with the label `client`.",
    ("client", "group"),
)  # fmt: skip
BUILD = MetricRow("trigate_build_info", "greatest", "1, with the version.", ("version",))

ROWS: Final = (
    EXCHANGES, IN_FLIGHT, FIRST_BYTE, FIRST_TOKEN, SILENCE, DURATION, TOKENS, BILLED_UNITS, ESTIMATED, COST,
    UNPRICED, ON_SUBSCRIPTION,
    BUDGET_USED, BUDGET_HELD, LIMIT_USED, LIMIT_QUEUED, LIMIT_REFUSALS, DROPS, UPSTREAM_ERRORS,
    DISCONNECTS, SHARE_REFUSALS, ATTEMPTS, RETRIES, TARGET_ATTEMPTS, FALLBACKS, HEDGES, ATTEMPT_WAIT, STICKY,
    TARGETS_OUT, OUTAGES, POOL, QUEUED, CONNECTIONS, BACKGROUND, STORE_ENTRIES, STORE_BYTES, STORE_LIMIT,
    LEDGER_LOST, LEDGER_FOLDED, KEYS_STALE, COUNTERS_AWAY, COUNTED_ALONE,
    CACHE, CACHE_SAVED, CACHE_SAVED_TOKENS, CACHE_FAILURES, LAG, MEMORY, CPU, WORKERS, DRAINING, RELOADS, SPANS,
    CLIENT, BUILD,
)  # fmt: skip
