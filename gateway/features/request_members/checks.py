"""The advice on keys of other gateways that set members of requests."""

from typing import Final

from gateway.config.aliases import Route
from gateway.config.model_entry import ModelEntry
from gateway.config.parts import Absent
from gateway.config.settings import Config

ADVICE: Final = (
    Absent(
        "Prompt templates",
        "`request: {system: {before: TEXT}}` adds constant instructions; there are no variables",
        "prompt_template prompt_templates prompts transforms",
        (Config, ModelEntry, Route),
    ),
)
