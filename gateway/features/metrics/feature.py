"""The row of metrics, and the key ``metrics``: who may read ``/metrics``."""

from typing import Annotated, Any, Final, Literal, TypeAlias

import attrs

from configfile.keys import Kind, part_of, setting
from configfile.wording import Wrong, describe
from gateway.config.settings import Config
from gateway.seams.feature import Feature, Keys

Scraping: TypeAlias = Literal["off", "keyed", "open"]
"""The readers of ``/metrics``: none, clients with a key for everything, or all."""


FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"
"""The client library's variable for the directory; for another ASGI server's workers it can be set manually."""


@attrs.frozen(repr=False)
class MetricsSettings:
    """The mapping form of the key ``metrics``, which selects who may read ``/metrics``."""

    open: bool = setting("Let everyone who can connect read `/metrics`, even with `client_keys`.", False)


def _pick_metrics_type(value: Any) -> Any:
    if isinstance(value, bool | dict):
        return MetricsSettings if isinstance(value, dict) else bool
    raise Wrong(describe(value), "expected true, false or a mapping with the key open")


def _read_scraping(value: bool | MetricsSettings) -> Scraping:
    if isinstance(value, bool):
        return "keyed" if value else "off"
    return "open" if value.open else "keyed"


MetricsAccess: TypeAlias = Annotated[
    Scraping, Kind("true, false or mapping", _read_scraping, pick=_pick_metrics_type, parts=(bool, MetricsSettings))
]


@attrs.frozen(repr=False)
class MetricsKeys:
    """The keys of the root."""

    metrics: MetricsAccess = setting(
        "Serve [`/metrics`](metrics.md#access).",
        "keyed",
        restart=True,
        shown="`true`",
    )


FEATURE: Final = Feature(
    "metrics",
    "gateway.features.metrics.opening:open_running_metrics",
    lambda config: part_of(config, MetricsKeys).metrics != "off",
    supervised="gateway.features.metrics.shared_metrics:shared_metrics",
    keys=(Keys(Config, MetricsKeys),),
)
