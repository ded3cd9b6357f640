"""The order of the features: the only module that lists them.

The order is a decision about security: who may see a text before it is hidden, and who may stop a request before money
is reserved. Hooks run in it, and features end in reverse. Each row has the reason of its place."""

from typing import Final

from configfile.keys import add_part
from gateway.features.admin.feature import FEATURE as ADMIN
from gateway.features.answer_cache.feature import FEATURE as ANSWER_CACHE
from gateway.features.cache_acts.feature import FEATURE as CACHE_ACTS
from gateway.features.files.feature import FEATURE as FILES
from gateway.features.kept_ledger.feature import FEATURE as KEPT_LEDGER
from gateway.features.live_view.feature import FEATURE as LIVE_VIEW
from gateway.features.mcp.feature import FEATURE as MCP
from gateway.features.metrics.feature import FEATURE as METRICS
from gateway.features.model_lists.feature import FEATURE as MODEL_LISTS
from gateway.features.other_endpoints.feature import FEATURE as OTHER_ENDPOINTS
from gateway.features.people.feature import CALLS as PEOPLE_CALLS
from gateway.features.people.feature import CONSOLE
from gateway.features.people.feature import FEATURE as PEOPLE
from gateway.features.prompt_caches.feature import FEATURE as PROMPT_CACHES
from gateway.features.realtime.feature import FEATURE as REALTIME
from gateway.features.recording.feature import FEATURE as RECORDING
from gateway.features.request_members.feature import FEATURE as REQUEST_MEMBERS
from gateway.features.secret_stores.feature import FEATURE as SECRET_STORES
from gateway.features.steps.feature import FEATURE as STEPS
from gateway.features.tracing.feature import FEATURE as TRACING
from gateway.seams.feature import Feature

FEATURES: Final[tuple[Feature, ...]] = (
    SECRET_STORES,
    ADMIN,
    PEOPLE,
    PEOPLE_CALLS,
    CONSOLE,
    STEPS,
    REQUEST_MEMBERS,
    CACHE_ACTS,
    ANSWER_CACHE,
    PROMPT_CACHES,
    RECORDING,
    METRICS,
    TRACING,
    LIVE_VIEW,
    KEPT_LEDGER,
    MODEL_LISTS,
    OTHER_ENDPOINTS,
    FILES,
    MCP,
    REALTIME,
)

for _feature in FEATURES:
    for _keys in _feature.keys:
        add_part(_keys.place, _keys.keys)
