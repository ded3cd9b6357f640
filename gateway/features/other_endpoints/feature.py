"""The row of endpoints other than conversations."""

from typing import Final

from gateway.config.parts import Instead
from gateway.config.settings import Config
from gateway.seams.feature import Feature

ADVICE: Final = (
    Instead("embeddings, images, audio, rerank, files, batches and realtime need no key here: the entries of "
            "`model_providers` serve them, too (docs/endpoints.md)",
            "embeddings embedding images image_generation audio speech transcription transcriptions rerank batches "
            "batch files realtime moderations", (Config,)),
)  # fmt: skip
"""Advice on other gateways' keys for endpoints."""

FEATURE: Final = Feature(
    "other_endpoints",
    "gateway.features.other_endpoints.routes:open_other_endpoints",
    first_steps=("v2",),
    advice="gateway.features.other_endpoints.feature:ADVICE",
)
