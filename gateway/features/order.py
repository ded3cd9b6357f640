"""The order of the features: the only module that lists them.

The order is a decision about security: who may see a text before it is hidden, and who may stop a request before money
is reserved. Hooks run in it, and features end in reverse. Each row has the reason of its place."""

from typing import Final

from configfile.keys import add_part
from gateway.features.metrics.feature import FEATURE as METRICS
from gateway.features.request_members.feature import FEATURE as REQUEST_MEMBERS
from gateway.features.secret_stores.feature import FEATURE as SECRET_STORES
from gateway.features.tracing.feature import FEATURE as TRACING
from gateway.seams.feature import Feature

FEATURES: Final[tuple[Feature, ...]] = (
    SECRET_STORES,
    REQUEST_MEMBERS,
    METRICS,
    TRACING,
)

for _feature in FEATURES:
    for _keys in _feature.keys:
        add_part(_keys.place, _keys.keys)
