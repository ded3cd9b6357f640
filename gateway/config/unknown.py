"""Advice on unknown keys: missing features, and other gateways' spellings.

The rows about a feature are its own (``Feature.advice``). A test fails if a listed key is read."""

import re
from collections.abc import Iterator, Mapping
from typing import Final

from configfile.reading import unknown_key
from configfile.wording import UNKNOWN_KEY, Wrong
from gateway.config.aliases import Route, RouteTarget
from gateway.config.allowances import QueueSettings, RateLimits
from gateway.config.attempts import CircuitSettings, Retries
from gateway.config.clients import AcceptedKey, ClientGroup, ClientKey
from gateway.config.limits import Limits
from gateway.config.listening import LegacyListeners, Listener
from gateway.config.model_entry import ModelEntry
from gateway.config.parts import Absent, Instead
from gateway.config.settings import Config
from gateway.config.state_storage import CounterSettings, StateStorage
from gateway.features.known import features
from gateway.named_imports import import_named
from providers.neutral.quirks import Quirks
from streams.timeouts import Timeouts

ROOT, ENTRY, ALIAS, CLIENT, LISTENER = Config, ModelEntry, Route, ClientKey, Listener


_LITELLM = "it belongs to LiteLLM: `trigate import FILE` converts such a file"
_ONE_ENTRY = "list the models under `model_providers`, each as `- model: PROVIDER/MODEL`"
_OF_AN_ENTRY = "it belongs to an entry of `model_providers`"
_OF_A_NAME = "it belongs to an alias: `model_aliases: {NAME: {targets: [FIRST, NEXT]}}`"
_OVER_HTTP = "write `base_url: https://HOST:PORT/PREFIX`"

_RATES: Final = (
    "rate_limits rate_limit rate_limiting ratelimit throttle throttling quota quotas rpm tpm rpm_limit tpm_limit "
    "requests_per_minute tokens_per_minute max_rpm max_tpm"
)

INSTEAD: Final = (
    Instead("write a list: `listeners: [{port: 12000}]`", "type name port address timeout", (LegacyListeners,)),
    Instead(
        "secrets come from the environment, a file or a store: `access_key: $NAME`, `access_key: {file: PATH}` or "
        "`access_key: {vault: mount/path#member}`",
        "vault secrets secret_manager secret_store key_management_system key_management_settings access_key_file "
        "api_key_file access_key_env api_key_env key_env env_key",
        (ROOT, ENTRY, CLIENT),
    ),
    Instead("set a price in the model's entry, in dollars per million tokens: `price: {input: 1.25, output: 10}`; "
            "the default is the price list",
            "cost costs pricing prices custom_pricing input_cost_per_token output_cost_per_token input_cost "
            "output_cost input_price output_price prompt_price completion_price price_per_token cost_per_token "
            "cache_read_input_token_cost cache_creation_input_token_cost", (ROOT, ENTRY),
            words="cost costs price prices pricing"),
    Instead("write `region: us-east-1` and `sign_in: aws`; if AWS's credential chain is not enough, write "
            "`sign_in: {type: aws, …}` with `role_arn`, `profile` or keys",
            "aws_region aws_region_name aws_access_key_id aws_secret_access_key aws_session_token aws_profile "
            "aws_profile_name aws_role_name aws_session_name aws_bedrock_runtime_endpoint bedrock_key_config "
            "credentials sigv4", (ENTRY,), words="aws bedrock"),
    Instead("write `sign_in: google`, or `sign_in: {type: google, credentials_file: PATH}`",
            "vertex_project vertex_location vertex_credentials vertex_project_id vertex_region vertex_key_config "
            "project_id service_account", (ENTRY,), words="vertex gcp"),
    Instead("write `sign_in: azure`, or `sign_in: {type: azure, tenant_id: …, client_id: …, client_secret: …}`",
            "tenant_id client_id client_secret azure_ad_token", (ENTRY,), words="entra"),
    Instead("write `budgets: [20 usd/day]` at the root, or in a client key, a group or an entry",
            "budget max_budget soft_budget budget_duration budget_config spend spend_limit spending",
            (ROOT, ENTRY, CLIENT, Limits), words="budget spend"),
    Instead(_LITELLM, "model_list litellm_settings general_settings litellm_params callback_settings credential_list",
            (ROOT, ENTRY)),
    Instead("not needed: the gateway drops fields that a provider is known to refuse, and lists them in "
            "`x-trigate-dropped`; `strict: true` refuses such requests instead; to drop more fields, write `quirks: "
            "{refused_fields: [NAME]}` in the entry", "drop_params modify_params", (ROOT, ENTRY)),
    Instead("write `quirks: {refused_fields: [NAME]}`", "refused_fields", (ENTRY,)),
    Instead("set variables in the environment of trigate, and use them here as `$NAME`", "environment_variables env "
            "environment", (ROOT, ENTRY)),
    # The root
    Instead(_ONE_ENTRY, "models upstreams upstream backends backend llms deployments", (ROOT,)),
    Instead("mark one entry of `model_providers` with `default: true`",
            "model default_model default completion_model default_provider", (ROOT,)),
    Instead("write `listeners: [{type: model, address: 127.0.0.1, port: 12000}]`",
            "port host address bind listen server addr listen_port bind_address", (ROOT,)),
    Instead(f"{_OF_AN_ENTRY}, as `access_key: $NAME`", "api_key access_key provider_key apikey", (ROOT,)),
    Instead(_OF_AN_ENTRY, "base_url api_base headers extra_headers speaks quirks passthrough_auth on_disconnect "
            "provider_interface http_host", (ROOT,)),
    Instead("list the keys that clients must send under `client_keys`",
            "keys api_keys auth authentication master_key allowed_keys tokens access_keys api_tokens", (ROOT,)),
    Instead("write `model_aliases: {NAME: {target: MODEL}}`", "aliases alias model_group_alias model_alias model_map",
            (ROOT,)),
    Instead("write it as `timeouts: {first_byte: 60s}`; other limits are `connect`, `idle` and `total`",
            "timeout request_timeout stream_timeout read_timeout", (ROOT, ENTRY)),
    Instead("set the number of processes with `trigate serve --workers N`", "workers num_workers worker_processes "
            "processes", (ROOT, LISTENER)),
    Instead("`log_level` sets the level, and `trigate serve --log-format` the format",
            "log logs logger logging log_format log_file log_settings debug verbose set_verbose json_logs", (ROOT,)),
    Instead("set the storage in `state_storage`",
            "database database_url db store storage state sqlite postgres config_store state_store", (ROOT,)),
    Instead("list the origins in "
            "`cors`", "allowed_origins cors_origins cors_allowed_origins origins", (ROOT, LISTENER)),
    Instead("set the variable `HTTPS_PROXY` in the environment of trigate", "proxy http_proxy https_proxy proxies "
            "proxy_url", (ROOT, ENTRY)),
    Instead("set the CA certificates for providers in `overrides.upstream_tls_ca_path`; verification cannot be turned "
            "off", "verify verify_ssl ssl_verify insecure insecure_skip_verify tls ssl ca ca_file ca_cert ca_bundle "
            "ca_path", (ENTRY,)),
    Instead("set the CA certificates for providers in `overrides.upstream_tls_ca_path`; verification cannot be turned "
            "off", "verify_ssl ssl_verify insecure ca ca_file ca_cert ca_bundle", (ROOT,)),
    Instead("a configuration is one file: copy the contents "
            "into it", "include includes import imports extends", (ROOT,)),
    Instead("the gateway reloads this file on SIGHUP", "reload hot_reload watch auto_reload", (ROOT,)),
    Instead("not needed: `GET /healthz` and `GET /readyz` are always available", "health health_check health_checks "
            "healthcheck background_health_checks", (ROOT, ENTRY, LISTENER)),
    Instead("write it as `limits: {request_body: 64MiB}`", "max_body_size max_request_size max_request_body body_limit "
            "max_request_size_mb client_max_body_size", (ROOT, LISTENER)),
    Instead("`limits.in_flight` limits simultaneous requests, and `limits.upstream_connections` connections to "
            "providers", "max_parallel_requests global_max_parallel_requests concurrency max_concurrency "
            "max_concurrent_requests max_connections concurrency_and_buffer_size max_in_flight",
            (ROOT, ENTRY, CLIENT, LISTENER)),
    Instead("write it as `drain`, the time for responses in progress", "shutdown_timeout graceful_timeout grace_period "
            "graceful_shutdown shutdown", (ROOT,)),
    # An entry of model_providers
    Instead("write it as `access_key`", "api_key key apikey token secret auth_token bearer api_token credential auth",
            (ENTRY,)),
    Instead("an entry has one `access_key`: for several keys, write one entry for each, with its own `name`",
            "keys api_keys access_keys", (ENTRY,)),
    Instead("it belongs to Portkey: write the provider's own key as `access_key: $NAME`", "virtual_key portkey_api_key",
            (ENTRY, ROOT)),
    Instead(_OVER_HTTP, "api_base url endpoint host base uri address server custom_host azure_endpoint network_config "
            "port scheme path prefix", (ENTRY,)),
    Instead("write it into the address: `base_url: https://HOST?api-version=2024-10-21`",
            "api_version apiversion azure_api_version", (ENTRY, ROOT)),
    Instead("write it as `name`", "model_name alias id title display_name", (ENTRY,)),
    Instead("write one entry for each model, or `model: PROVIDER/*` for all models of a provider", "models model_ids",
            (ENTRY,)),
    Instead("write the provider before the slash in `model`; for a provider that trigate does not know, set "
            "`provider_interface` to a known provider that it behaves like",
            "provider vendor interface custom_llm_provider provider_name kind", (ENTRY,)),
    Instead("list the provider's APIs in `speaks`: `chat`, `messages`, `responses`",
            "api apis protocol wire_api api_type format api_format", (ENTRY,)),
    Instead("write them as `headers`", "extra_headers custom_headers default_headers request_headers",
            (ENTRY,)),
    Instead("list them in `pass_headers`", "forward_headers forwarded_headers forward_client_headers", (ENTRY,)),
    Instead("send it as a header: `headers: {openai-organization: …}`", "organization org organization_id",
            (ENTRY,)),
    Instead("write it as `quirks: {default_max_tokens: 8192}`, for requests to a Messages provider "
            "without a limit", "max_tokens",
            (ENTRY,)),
    Instead("write the deployment as the model: `model: azure_openai/DEPLOYMENT`",
            "deployment deployment_id deployment_name azure_deployment azure_key_config deployments", (ENTRY,)),
    Instead("trigate knows the abilities of models; to correct them, set `quirks`", "model_info context_window "
            "context_length max_input_tokens max_context supports_vision supports_tools capabilities modalities "
            "description tags metadata mode base_model", (ENTRY,)),
    Instead("to disable the entry, remove it or comment it out", "enabled disabled active enable disable", (ENTRY,)),
    Instead("set the models that a client may use in `models` of its key", "allowed_clients allowed_users "
            "access_groups teams client_keys", (ENTRY,)),
    Instead("write it as `on_disconnect: cancel` or `on_disconnect: finish`", "cancel_on_disconnect", (ENTRY,)),
    # An item of model_aliases
    Instead("write it as `target`", "model model_name to name alias_of provider", (ALIAS, RouteTarget)),
    Instead("write it as `targets`, in the order in which the gateway tries them",
            "models fallbacks fallback entries members providers pool pools candidates deployments backends upstreams "
            "order priority routes route groups", (ALIAS,)),
    Instead("write it as `balance`", "strategy routing_strategy load_balancing load_balance loadbalance lb balancer "
            "algorithm policy", (ALIAS,)),
    Instead("it belongs to a target: `targets: [[{target: A, weight: 3}, B]]`", "weight weights", (ALIAS,)),
    Instead("it belongs to a target: `targets: [A, {target: B, when: [quota]}]`",
            "when on conditions on_error on_status on_status_codes fallback_on", (ALIAS,)),
    Instead("write it as `sticky`: `auto`, `false` or the name of a header",
            "stickiness sticky_sessions session_affinity affinity session_header hash_on", (ALIAS,)),
    Instead("write it as `first_content`", "patience timeout ttft first_token time_to_first_token first_byte",
            (ALIAS,)),
    Instead("write it as `hedge: {after: 2s}`", "hedging", (ALIAS,)),
    Instead("write it as `when`: YAML reads this word as true", "on true yes", (RouteTarget,)),
    Instead("write it as `when`, a list of failures", "conditions on_error on_status on_status_codes if reasons reason "
            "fallback_on", (RouteTarget,)),
    Instead("write it as `weight`", "share ratio", (RouteTarget,)),
    Instead("the gateway tries targets in the order of `targets`; targets in an inner list share the requests",
            "order priority rank", (RouteTarget,)),
    # Routes, as other gateways write them
    Instead(_OF_A_NAME, "fallbacks fallback default_fallbacks context_window_fallbacks content_policy_fallbacks "
            "strategy targets load_balancing load_balance loadbalance lb balancer weight weights order priority "
            "routing_strategy router router_settings routes routing_rules conditional_routing model_groups pools pool "
            "virtual_models balance sticky first_content hedge hedging", (ROOT, ENTRY),
            words="fallback fallbacks balancer balancing"),
    Instead("write it as `retries: {attempts: 3}`, which counts all provider requests for one client request",
            "retry num_retries max_retries retry_policy backoff attempts", (ROOT, ENTRY, ALIAS),
            words="retry retries backoff"),
    Instead("set `max_retries` here, or `retries` at the root",
            "retries retry num_retries retry_policy attempts", (LISTENER,)),
    Instead("write it as `circuit: {failures: 5, cooldown: 5s}`", "allowed_fails cooldown cooldown_time "
            "circuit_breaker circuit_breakers outlier_detection ejection", (ROOT, ENTRY)),
    Instead("write `circuit` in the entry of `model_providers`, or at the root",
            "circuit allowed_fails cooldown cooldown_time circuit_breaker circuit_breakers", (ALIAS,)),
    Instead("write it as `attempts`, the first one included", "max_retries num_retries retries count max_attempts max",
            (Retries,)),
    Instead("write it as `wait`, the longest wait between two attempts", "backoff max_backoff max_wait delay max_delay",
            (Retries,)),
    Instead("write it as `deadline`", "timeout total", (Retries,)),
    Instead("write it as `failures`", "allowed_fails threshold failure_threshold consecutive_failures max_failures",
            (CircuitSettings,)),
    Instead("write it as `cooldown`", "cooldown_time open_for timeout", (CircuitSettings,)),
    Instead("write it as `longest`", "max_cooldown max", (CircuitSettings,)),
    # Others
    Instead("write it as `key`", "token api_key value secret access_key virtual_key", (CLIENT,)),
    Instead("write it as `sha256`", "hash key_hash digest hashed_key key_sha256 token_hash", (CLIENT,)),
    Instead("write it as `name`", "id user user_id client alias key_alias key_name label", (CLIENT,)),
    Instead("write it as `group`, with the name of one of `client_groups`",
            "team team_id teams groups organization organization_id customer", (CLIENT,)),
    Instead("list the entries that may serve the client in `only`", "providers allowed_providers provider_configs "
            "regions region allowed_targets allow", (CLIENT, ClientGroup)),
    Instead("write the keys under `client_keys`, each with the name of its `group`", "key keys sha256 members clients",
            (ClientGroup,)),
    Instead("list the allowed models in `models`", "model allowed_models model_access access_groups", (ClientGroup,)),
    Instead("write them as `client_groups`, each with a name", "groups teams team key_groups access_groups", (ROOT,)),
    Instead("list the allowed models in "
            "`models`", "model allowed_models model_access aliases access_groups", (CLIENT,)),
    Instead("write it as `until`, the last day or the time of expiry, such as `until: 2027-01-31`",
            "expires expires_at expire expiry expiration expiration_date ttl duration valid_until lifetime",
            (CLIENT, AcceptedKey)),
    Instead("to revoke a key, remove it and reload with SIGHUP; to let it expire, set `until`",
            "blocked enabled disabled active", (CLIENT, AcceptedKey)),
    Instead("write it as `role`: `user`, `lead`, `auditor` or `admin`",
            "admin roles scope scopes permissions", (CLIENT,)),
    Instead("it belongs to a listener: `tls: {certificate: FILE, key: FILE}`",
            "tls ssl https cert certs certificate certificates cert_file key_file certfile keyfile ssl_certfile "
            "ssl_keyfile ssl_keyfile_path ssl_certfile_path tls_cert tls_key acme", (ROOT,)),
    Instead("write it as `tls: {certificate: FILE, key: FILE}`",
            "ssl https cert certs certificate certificates cert_file key_file certfile keyfile ssl_certfile "
            "ssl_keyfile ssl_keyfile_path ssl_certfile_path tls_cert tls_key acme", (LISTENER,)),
    Instead("write it as `socket`", "path unix unix_socket uds sock", (LISTENER,)),
    Instead("write it as `proxy_protocol`", "proxy send_proxy accept_proxy", (LISTENER,)),
    Instead("write it as `address`", "host bind ip hostname listen", (LISTENER,)),
    Instead("write `client_keys` at the root, for all listeners", "client_keys auth api_keys keys authentication",
            (LISTENER,)),
    Instead("write it at the root, for all listeners", "cors limits timeouts drain keep_alive strict "
            "websocket log_level model_providers llm_providers model_aliases", (LISTENER,)),
    Instead("write it as `limits: {in_flight: …}`", "max_requests max_in_flight in_flight", (CLIENT,)),
    Instead("write it as `ratelimits: {concurrent: …}`", "concurrent concurrency max_concurrency parallel_requests "
            "max_parallel_requests max_concurrent", (CLIENT, ClientGroup, ENTRY), words="concurrency parallel"),
    Instead("write it as `ratelimits: {requests: 60/m, tokens: 100k/m}`", f"{_RATES} limits limit", (ENTRY,),
            words="rpm tpm rps"),
    Instead("write it as `ratelimits: {requests: 60/m, tokens: 100k/m}`", _RATES, (CLIENT, ClientGroup),
            words="rpm tpm rps"),
    Instead("write `ratelimits: {requests: 60/m}` at the root, or in an entry, a client key or a group",
            _RATES, (ROOT, Limits, LISTENER), words="rpm tpm rps"),
    Instead("write it as `requests: 60/m`", "rpm rpm_limit max_rpm requests_per_minute request rps rph rpd",
            (RateLimits,)),
    Instead("write it as `tokens: 100k/m`", "tpm tpm_limit max_tpm tokens_per_minute token tpd", (RateLimits,)),
    Instead("write it as `concurrent`", "concurrency max_concurrency max_parallel_requests parallel_requests in_flight "
            "max_concurrent", (RateLimits,)),
    Instead("write it next to `ratelimits`, not inside", "queue", (RateLimits,)),
    Instead("write it as `size`", "max_size length limit depth max", (QueueSettings,)),
    Instead("write it as `wait`", "timeout max_wait", (QueueSettings,)),
    Instead("write it as `in_flight`", "requests concurrency max_concurrency max_requests parallel_requests "
            "max_parallel_requests max_in_flight", (Limits,)),
    Instead("write it as `request_body`", "body max_body body_size max_body_size request max_request_size",
            (Limits,)),
    Instead("write it as `answer`", "response response_body", (Limits,)),
    Instead("write `timeouts` next to `limits`, not inside", "timeout timeouts", (Limits,)),
    Instead("not limited here: clients set the length of an answer "
            "in their requests", "max_tokens tokens output_tokens", (Limits,)),
    Instead("write it as `first_byte`", "first first_token ttft time_to_first_token stream_timeout", (Timeouts,)),
    Instead("write it as `idle`", "read stream chunk silence inter_chunk stream_idle", (Timeouts,)),
    Instead("write it as `total`", "request response overall all answer whole", (Timeouts,)),
    Instead("write `write_timeout` at the root", "write write_timeout send", (Timeouts,)),
    Instead("write it as `connection_string`", "url dsn uri connection database_url host", (StateStorage,)),
    Instead("write it as `url`", "dsn uri connection connection_string host redis_url database_url",
            (CounterSettings,)),
    Instead("write it as `path`", "file filename database db directory", (StateStorage,)),
    Instead("write it as `ttl`", "expire expires expiry retention max_age", (StateStorage,)),
    Instead("write it as `max_bytes`", "size max_size limit", (StateStorage,)),
    Instead("write it as `encryption_key`", "key secret encryption", (StateStorage,)),
    Instead("write it as `max_tokens_field` for its name, or as `default_max_tokens` for Messages", "max_tokens",
            (Quirks,)),
    Instead("write it as `refused_fields`", "drop_params additional_drop_params dropped_fields drop_fields",
            (Quirks,)),
)  # fmt: skip
"""Features with another name here; each key applies in each of the places."""


def _rows_of_features() -> Iterator[Instead | Absent]:
    """Yield the advice of features."""
    for feature in features():
        if feature.advice:
            yield from import_named(feature.advice)


ROWS: Final[tuple[Instead | Absent, ...]] = (*_rows_of_features(), *INSTEAD)
ABSENT: Final = tuple(row for row in ROWS if isinstance(row, Absent))
"""The features that trigate lacks. The README lists them."""


def _advice_rows() -> Iterator[tuple[tuple[type, str], str]]:
    for row in ROWS:
        for place in row.places:
            for key in row.keys.split():
                yield (place, key), row.advice


ADVICE: Final[Mapping[tuple[type, str], str]] = dict(_advice_rows())
"""Advice by the class that is read, and the key in snake case."""


def advice(place: type, key: str) -> str | None:
    """Return the advice on an unknown ``key`` where ``place`` is read, ``None`` if there is none."""
    return ADVICE.get((place, snake_case(key)))


def wrong_key(place: type, key: str) -> Wrong:
    """Return the message about an unknown ``key`` where ``place`` is read.

    It has the advice on that key, else a similar key, else advice on one of its words, else all keys."""
    if (advised := advice(place, key)) is not None:
        return Wrong(UNKNOWN_KEY, advised)
    words = set(snake_case(key).split("_"))
    rows = (row for row in ROWS if place in row.places and words & set(row.words.split()))
    return unknown_key(place, key, next((row.advice for row in rows), None))


def snake_case(key: str) -> str:
    """Return ``key`` in snake case: ``maxTokens`` and ``max-tokens`` become ``max_tokens``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", key).replace("-", "_").lower()
