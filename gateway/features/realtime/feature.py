"""The row of realtime sessions."""

from typing import Final

from gateway.config.clients import ClientKey
from gateway.config.model_entry import ModelEntry
from gateway.features.realtime.settings import RealtimeKeys, RealtimeRights
from gateway.seams.feature import Feature, Keys

FEATURE: Final = Feature(
    "realtime",
    "gateway.features.realtime.routes:open_realtime",
    keys=(Keys(ModelEntry, RealtimeKeys), Keys(ClientKey, RealtimeRights)),
)
