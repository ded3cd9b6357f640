"""Tables for ``trigate import``: LiteLLM's providers and settings, with their counterparts or the groups of losses.

The names are those of https://docs.litellm.ai/docs/proxy/config_settings.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

import attrs

from gateway.commands.imports.imported_values import word_set
from gateway.commands.imports.losses import Group, Reason
from providers.endpoints.model_types import ModelType

# Providers


@attrs.frozen
class LiteLLMProvider:
    """trigate's counterpart of one of LiteLLM's providers.

    LiteLLM reads the key from ``key_env`` if the file has none; some servers need no key. ``base_url`` is the address
    that LiteLLM uses, ``type`` the type of all models of this provider name."""

    provider: str
    key_env: str | None = None
    base_url: str | None = None
    extra: Mapping[str, Any] = attrs.field(factory=dict)
    key_required: bool = True
    type: ModelType | None = None


ORIGINS: Final[Mapping[str, LiteLLMProvider]] = {
    "openai": LiteLLMProvider("openai", "OPENAI_API_KEY"),
    "text-completion-openai": LiteLLMProvider("openai", "OPENAI_API_KEY", type="completion"),
    # It translates Chat clients to Messages, as `speaks: [messages]` does.
    "anthropic": LiteLLMProvider("anthropic", "ANTHROPIC_API_KEY", extra={"speaks": ["messages"]}),
    "gemini": LiteLLMProvider("gemini", "GEMINI_API_KEY"),
    "groq": LiteLLMProvider("groq", "GROQ_API_KEY"),
    "mistral": LiteLLMProvider("mistral", "MISTRAL_API_KEY"),
    "codestral": LiteLLMProvider("mistral", "CODESTRAL_API_KEY", "https://codestral.mistral.ai/v1"),
    "deepseek": LiteLLMProvider("deepseek", "DEEPSEEK_API_KEY"),
    "xai": LiteLLMProvider("xai", "XAI_API_KEY"),
    "together_ai": LiteLLMProvider("together_ai", "TOGETHERAI_API_KEY"),
    "moonshot": LiteLLMProvider("moonshotai", "MOONSHOT_API_KEY"),
    "openrouter": LiteLLMProvider("openrouter", "OPENROUTER_API_KEY"),
    "perplexity": LiteLLMProvider("perplexity", "PERPLEXITYAI_API_KEY"),
    "dashscope": LiteLLMProvider("qwen", "DASHSCOPE_API_KEY"),
    "vercel_ai_gateway": LiteLLMProvider("vercel", "VERCEL_AI_GATEWAY_API_KEY"),
    "ollama": LiteLLMProvider("ollama", base_url="http://localhost:11434"),
    "ollama_chat": LiteLLMProvider("ollama", base_url="http://localhost:11434"),
    "cohere": LiteLLMProvider("cohere", "COHERE_API_KEY"),
    "cohere_chat": LiteLLMProvider("cohere", "COHERE_API_KEY"),
    "jina_ai": LiteLLMProvider("jina", "JINA_AI_API_KEY"),
    "voyage": LiteLLMProvider("voyage", "VOYAGE_API_KEY"),
    "hosted_vllm": LiteLLMProvider("vllm", "HOSTED_VLLM_API_KEY", key_required=False),
    "lm_studio": LiteLLMProvider("lm_studio"),
    "llamafile": LiteLLMProvider("llamafile"),
    "custom_openai": LiteLLMProvider("compatible"),
    "openai_like": LiteLLMProvider("compatible"),
    "litellm_proxy": LiteLLMProvider("litellm_proxy", "LITELLM_PROXY_API_KEY"),
    "fireworks_ai": LiteLLMProvider("fireworks", "FIREWORKS_API_KEY"),
    "deepinfra": LiteLLMProvider("deepinfra", "DEEPINFRA_API_KEY"),
    "cerebras": LiteLLMProvider("cerebras", "CEREBRAS_API_KEY"),
    "nvidia_nim": LiteLLMProvider("nvidia", "NVIDIA_NIM_API_KEY"),
    # Not in the catalogue: a server with OpenAI's Chat API, at the address in its documentation.
    "sambanova": LiteLLMProvider("sambanova", "SAMBANOVA_API_KEY", "https://api.sambanova.ai/v1"),
}
"""The providers by the prefix of ``litellm_params.model``."""

BARE: Final[Mapping[str, re.Pattern[str]]] = {
    "vertex_ai": re.compile(r"gemini-|.+@20[0-9]{6}$"),
    "bedrock": re.compile(r"(?:[a-z-]+\.)?(?:anthropic|amazon|meta|mistral|cohere|ai21|deepseek|qwen|openai)\."),
}
"""Models without a prefix that LiteLLM has at a cloud."""

COMPATIBLE: Final = "compatible"
"""The provider for ``openai/`` with another address: most servers support less than OpenAI itself."""

NOT_SPOKEN: Final[Mapping[str, str]] = {
    "sagemaker": "trigate does not support SageMaker",
    "sagemaker_chat": "trigate does not support SageMaker",
    "text-completion-codestral": "clients of trigate send these requests to /v1/fim/completions: write an entry "
    "mistral/MODEL with `base_url: https://codestral.mistral.ai/v1`",
}
TYPES: Final[Mapping[str, ModelType]] = {
    "chat": "chat", "completion": "completion", "responses": "chat", "batch": "chat", "ocr": "chat",
    "embedding": "embedding", "rerank": "rerank",
    "image_generation": "image", "image_edit": "image", "audio_speech": "speech",
    "audio_transcription": "transcription", "moderation": "moderation", "realtime": "realtime",
}  # fmt: skip
"""LiteLLM's modes with their model types."""

NOT_CONVERTED: Final = "trigate import cannot convert this provider: write an entry {}/MODEL for it"
"""The reason for a provider in the catalogue that ``ORIGINS`` lacks."""

NOT_KNOWN: Final = (
    "trigate does not know the provider {}; if it speaks OpenAI's Chat, write an entry with its name and base_url"
)


# Settings

CARRIED: Final = word_set(
    "model api_base base_url api_key api_version extra_headers headers organization litellm_credential_name "
    "weight order num_retries max_retries cooldown_time"
)
"""The members of ``litellm_params`` that are converted."""

NO_MATTER: Final = word_set(
    "drop_params modify_params set_verbose debug json_logs telemetry "
    "turn_off_message_logging redact_user_api_key_info redact_messages_in_exceptions disable_spend_logs "
    "disable_spend_updates disable_error_logs disable_master_key_return disable_adding_master_key_hash_to_db "
    "disable_reset_budget force_ipv4 suppress_debug_info log_raw_request_response "
    "use_in_pass_through use_chat_completions_url_for_anthropic_messages "
    "enable_pre_call_checks custom_llm_provider "
    "disable_hf_tokenizer_download detailed_debug model_group_alias model_alias_map credential_list"
)
"""Settings that describe trigate's normal behaviour, that clients cannot notice, or that are read elsewhere."""

NO_BATCHES: Final = "trigate does not send batches to Bedrock: clients must send single requests"
_STEPS: Final = "write these checks under `steps` (docs/steps.md)"
CACHE_ADVICE: Final = "set `cache: {ttl: 1h}` for a client key or an alias, `prompt_cache` in entries (docs/caching.md)"
ROWS: Final = (
    (Group.PROTECTION, "set `retries` of the file or an alias, or a target with `when: [context_too_long]`",
     "retry_policy model_group_retry_policy context_window_fallback_dict"),
    (Group.PROTECTION, "set `ratelimits` at the root, or for the client key, the group or the entry",
     "rpm tpm max_parallel_requests default_max_rpm default_max_tpm default_api_key_rpm_limit "
     "default_api_key_tpm_limit model_rpm_limit model_tpm_limit default_max_parallel_requests"),
    (Group.PROTECTION, _STEPS, "guardrails guardrails_list guardrail_settings policies "
     "policy_attachments enable_json_schema_validation blocked_user_list banned_keywords_list "
     "presidio_ad_hoc_recognizers output_parse_pii llm_guard_mode prompt_injection_params "
     "skip_system_message_in_guardrail skip_tool_message_in_guardrail"),
    (Group.PROTECTION, "client_keys and issuers decide who may use which model (docs/keys.md, docs/people.md)",
     "enable_jwt_auth litellm_jwtauth enable_oauth2_auth enable_oauth2_proxy_auth oauth2_config_mappings custom_auth "
     "custom_auth_run_common_checks custom_key_generate custom_sso allowed_ips "
     "use_x_forwarded_for allowed_routes public_routes admin_only_routes enforce_user_param enforced_params "
     "reject_clientside_metadata_tags key_generation_settings upperbound_key_generate_params "
     "default_key_generate_params user_header_name user_header_mappings litellm_key_header_name "
     "default_internal_user_params default_team_params role_permissions team_id team_public_model_name access_groups"),
    (Group.PROTECTION, "keys from /key/generate are in that database: import them with --database", "database_url"),
    (Group.PROTECTION, "every client may use all targets of a name: give the tagged models names of their own, and "
     "list these under `models` of the client keys", "enable_tag_filtering tag_filtering_match_any tag_regex"),
    (Group.PROTECTION, "if you run several gateways, set `counters: {type: redis, url: …}`; otherwise each counts "
     "limits separately", "redis_host redis_port redis_password redis_url redis_db redis_ssl redis_startup_nodes"),
    (Group.RESIDENCY, "the base_url of an entry determines its region", "allowed_model_region region_name"),
    (Group.MONEY, "set `budgets: [20 usd/day]` and `timezone` at the root, or budgets for the key, group or entry",
     "max_budget budget_duration soft_budget max_end_user_budget max_end_user_budget_id "
     "default_soft_budget provider_budget_config tag_budget_config model_max_budget budget_config "
     "litellm_budget_table default_end_user_params max_user_budget max_internal_user_budget "
     "internal_user_budget_duration timezone"),
    (Group.MONEY, "set `price` in the entry: `input` and `output` for tokens, `per` for other units (docs/costs.md)",
     "cost_discount_config "
     "cost_margin_config custom_cost_per_token "
     "input_cost_per_token output_cost_per_token input_cost_per_second output_cost_per_second "
     "input_cost_per_character output_cost_per_character input_cost_per_request output_cost_per_request "
     "cache_read_input_token_cost cache_creation_input_token_cost output_cost_per_reasoning_token "
     "input_cost_per_token_batches output_cost_per_token_batches input_cost_per_audio_token "
     "output_cost_per_audio_token input_cost_per_image"),
    (Group.MONEY, CACHE_ADVICE,
     "cache cache_params enable_caching_on_provider_specific_optional_params cache_responses "
     "caching_groups client_ttl caching default_redis_ttl cache_kwargs cache_control_injection_points"),
    (Group.LOGS, "", "extra_spend_tag_headers store_audit_logs callbacks success_callback failure_callback "
     "service_callback service_callbacks callback_settings store_prompts_in_spend_logs"),
    (Group.TRIFLES, "", "max_fallbacks num_retries_per_request max_retries retry_after allowed_fails_policy tags "
     "cooldown_time_in_seconds disable_cooldowns routing_strategy_args routing_groups optional_pre_call_checks "
     "stream_timeout timeout request_timeout environment_variables model_info ssl_verify ssl_certificate "
     "ssl_security_level ssl_cert_path"),
)  # fmt: skip
_REASONS: Final[Mapping[str, Reason]] = {name: (group, why) for group, why, names in ROWS for name in names.split()}
_TRIFLES: Final = re.compile(
    r"(?:slack_)?alert\w*|\w*health_?check\w*|database_\w+|proxy_(?:batch|budget_rescheduler)\w+|\w*_?ui_\w+|\w+_ui"
    r"|maximum_spend_logs\w+|spend_report_frequency|use_redis_transaction_buffer|supported_db_objects"
    r"|disable_prisma_schema_update|proxy_base_url|user_mcp_management_mode|public_model_groups"
    r"|forward_\w+|add_user_information_to_llm_headers|default_in_memory_ttl|expose_model_info|return_response_headers"
    r"|enable_preview_features|\w+include\w*_usage|include_cost_in_streaming_usage|allow_requests_on_db_unavailable"
)
"""Settings that clients and operators hardly miss."""


def reason_of(name: str, default: Reason = (Group.UNKNOWN, "it has no counterpart")) -> Reason:
    """Return the group of the setting ``name`` in any section, and the reason if it is on money or protection."""
    return _REASONS.get(name, (Group.TRIFLES, "") if _TRIFLES.fullmatch(name) else default)


UNENFORCED: Final = (
    Group.PROTECTION,
    "LiteLLM does not enforce it: set `ratelimits: {concurrent: …}` where you need it",
)
"""The reason for ``general_settings.max_parallel_requests``."""

UNVERIFIED: Final = (
    Group.NAMES,
    "trigate always verifies certificates: set the CA of your servers in overrides.upstream_tls_ca_path",
)
"""The group and reason of ``ssl_verify: false``."""

GUARDS: Final = word_set(
    "presidio lakera lakera_prompt_injection hide_secrets hide-secrets llamaguard_moderations "
    "llmguard_moderations google_text_moderation openai_moderations detect_prompt_injection banned_keywords "
    "blocked_user_check aporia aporia_prompt_injection guardrails_ai dynamic_rate_limiter dynamic_rate_limiter_v3 "
    "azure_content_safety max_budget_limiter batch_redis_requests"
)
"""Callbacks that block requests or content."""
