"""Names that other load testers use, and their equivalents here: options, scenario keys and measures."""

from collections.abc import Mapping
from typing import Final


def _read_rows(*rows: tuple[str, str]) -> Mapping[str, str]:
    return {name: ours for names, ours in rows for name in names.split()}


OPTIONS_ELSEWHERE: Final = _read_rows(
    ("--request-rate --qps -q --rps --requests-per-second", "--rate"),
    ("--request-rate-mode --arrival-pattern --rate-type", "--poisson"),
    ("--burst-rate --burst-delay", "--burst"),
    ("-c --vus -u --users --max-workers --concurrent", "--concurrency"),
    ("--num-prompts --num-requests --request-count --max-requests --requests-count --iterations -i", "-n"),
    ("--duration -z -t --benchmark-duration --max-duration --max-seconds --run-time", "--seconds"),
    ("--num-warmups --warmup-request-count --warmup-requests --warmup-percent --warm-up", "--warmup"),
    ("--random-input-len --input-len --isl --prompt-tokens --synthetic-input-tokens-mean", "--prompt"),
    ("--random-output-len --output-len --osl --output-tokens --output-tokens-mean --max-new-tokens", "--output"),
    ("--ignore-eos --min-tokens", "--exact"),
    ("--random-prefix-len --prefix-prompt-length --prefix-tokens --prefix-count", "--prefix"),
    ("--dataset-name --dataset-path --dataset --data --input-file -Z --targets", "--requests"),
    ("--fixed-schedule --self-timed --replay", "--trace"),
    ("--time-scale", "--speed"),
    ("--random-seed", "--seed"),
    ("--goodput", "--slo"),
    ("--thresholds --threshold", "--fail-if"),
    ("--max-error-rate --max-errors --abort-on-fail --over-saturation", "--until"),
    ("--save-result --output-format --output-path --summary-export -o --result-filename", "--json"),
    ("--save-detailed --profile-export-file", "--log"),
    ("--metric-percentiles --percentile-metrics --summary-trend-stats", "--percentiles"),
    ("--workers-max --cpus -cpus --num-workers", "--processes"),
    ("--http2", "--http"),
    ("--api-key --token --bearer", "--key-env"),
    ("--endpoint-type --backend --request-type", "--api"),
    ("--model-name --model-names --served-model-name -m", "--model"),
    ("--streaming --no-streaming --stream", "--no-stream"),
    ("--request-timeout --request-timeout-seconds --timeout-seconds", "--timeout"),
    ("--max-retries --retries --retry", "--respect-retry-after"),
    ("--profile", "--rate"),
    ("--ready-check-timeout-sec --wait", "--wait-ready"),
)
"""Options of other tools, and ours."""

ADVICE_ELSEWHERE: Final = _read_rows(
    ("--base-url --url --target --host --endpoint --server", "give the URL without an option: trigate load URL"),
    ("-H --header", "set the key with --key-env NAME; for other headers, use `headers` in a scenario"),
    ("--tokenizer", "not needed: the tokens come from the usage in responses"),
    ("--extra-body --extra-inputs --body", "use `extra` in a scenario for members of the body"),
    ("-d", "use --seconds for the duration, and --requests FILE, or `extra` in a scenario, for the content"),
    ("--disable-keepalive --no-connection-reuse", "use --connections new"),
    ("--request-cancellation-rate", "use `cancel` in a scenario for the share of clients that disconnect"),
    (
        "--ramp-up-strategy --ramp-up-start-rps --ramp-up-end-rps --stage -s --rampup",
        "use `steps` in a scenario to ramp the load",
    ),
    ("--benchmark-grace-period --graceful-stop", "use `grace` in a scenario for the time after the last arrival"),
    (
        "--latency-correction --e2el-including-client-queue",
        "not needed: latencies always count from the planned start",
    ),
)
"""Options of other tools without an equivalent, and what to do instead."""

_IN_PARTS: Final = (
    "was removed: run `trigate load ... --part K/N --start-at TIME --json FILE` on each of N machines, then "
    "`trigate load merge FILE...`"
)
REMOVED: Final = {
    "worker": _IN_PARTS,
    "--workers": _IN_PARTS,
    "--secret-env": _IN_PARTS,
    "--remote-write": (
        "was removed: send the metrics with --otlp, also to Prometheus (--otlp http://HOST:9090/api/v1/otlp; start it "
        "with --web.enable-otlp-receiver)"
    ),
}
"""Options of earlier versions, and what to do instead."""

REMOVED_KEYS: Final = {"workers": f"this key {_IN_PARTS}", "secret_env": f"this key {_IN_PARTS}"}
"""Keys of earlier versions, and what to do instead."""

KEYS_ELSEWHERE: Final = _read_rows(
    ("vus users clients", "concurrency"),
    ("duration max_duration max_seconds", "seconds"),
    ("iterations max_requests num_prompts request_count number", "count"),
    ("stages ramp ramping", "steps"),
    ("thresholds threshold assertions", "fail_if"),
    ("abort_on_fail max_error_rate abort_if", "until"),
    ("goodput objectives slos", "slo"),
    ("request_rate rps qps", "rate"),
    ("graceful_stop grace_period", "grace"),
    ("random_seed", "seed"),
    ("base_url target host endpoint", "url"),
    ("poisson arrival_pattern rate_type", "spacing"),
    ("api_key", "key_env"),
    ("prompt_tokens isl input_len", "prompt"),
    ("output_tokens osl output_len", "output"),
    ("extra_body extra_inputs", "extra"),
)
"""Keys of other tools, and ours."""

MEASURES_ELSEWHERE: Final = _read_rows(
    ("e2el e2e latency request_latency http_req_duration end_to_end_latency", "duration"),
    ("time_to_first_token", "ttft"),
    ("ttfot time_to_first_output_token time_to_first_answer_token", "ttfo"),
    ("itl icl inter_chunk_latency", "gap"),
    ("inter_token_latency time_per_output_token", "tpot"),
    ("http_req_waiting", "ttfb"),
    ("http_req_connecting", "connect"),
    ("output_throughput output_token_throughput", "throughput"),
    ("request_throughput", "completed"),
    ("request_goodput", "goodput_rate"),
    ("http_req_failed failed failures failure_rate error_rate", "errors"),
    ("dropped_iterations schedule_delay", "late"),
    ("isl input_sequence_length", "input_tokens"),
    ("osl output_sequence_length", "output_tokens"),
)
"""Measures and figures of other tools, and ours."""
