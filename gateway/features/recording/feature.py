"""The row of recordings of exchanges."""

from typing import Final

from gateway.config.model_entry import ModelEntry
from gateway.config.parts import Instead
from gateway.config.settings import Config
from gateway.seams.feature import Feature

ADVICE: Final = (
    Instead("prompts and answers are never logged; `trigate serve --record DIR` writes whole exchanges to files",
            "log_prompts log_requests log_responses log_bodies log_content log_messages message_logging "
            "enable_logging store_prompts store_prompts_in_spend_logs logs_store turn_off_message_logging record "
            "recording", (Config, ModelEntry)),
)  # fmt: skip
"""Advice on other gateways' keys for it."""

FEATURE: Final = Feature(
    "recording",
    "gateway.features.recording.opening:open_recorder",
    advice="gateway.features.recording.feature:ADVICE",
    option="record",
    check_option="gateway.features.recording.opening:open_target",
)
