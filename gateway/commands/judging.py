"""The remarks of features on a configuration before it is served, and their part in a request."""

from collections.abc import Sequence

from configfile.document import ConfigError, Mistake
from gateway.config.settings import Config, Remark
from gateway.features.known import imported_features
from gateway.named_imports import import_named
from gateway.seams.feature import Explained, ExplainedRequest


def judge_features(config: Config, mistakes: Sequence[Mistake] = ()) -> Sequence[tuple[Remark, str]]:
    """Return the remarks of features on ``config``; none if there are ``mistakes``. Raises ``ConfigError`` with those
    that only the features find."""
    remarks: list[tuple[Remark, str]] = []
    found: list[Mistake] = []
    for feature in imported_features():
        if feature.judge and feature.is_wanted(config):
            try:
                remarks += import_named(feature.judge)(config, mistakes)
            except ConfigError as error:
                found += error.mistakes
    if found:
        raise ConfigError(tuple(found))
    return remarks


def explain_features(config: Config, request: ExplainedRequest) -> Sequence[Explained]:
    """Return the parts of features in ``request``. Raises ``ConfigError``."""
    wanted = (one for one in imported_features() if one.explain and one.is_wanted(config))
    return [import_named(one.explain)(config, request) for one in wanted]


async def try_features(config: Config) -> Sequence[tuple[Remark, str]]:
    """Open and close the features of ``config`` whose start may fail, and return their remarks. Raises
    ``ConfigError``."""
    remarks: list[tuple[Remark, str]] = []
    for feature in imported_features():
        if feature.trial and feature.is_wanted(config):
            remarks += await import_named(feature.trial)(config)
    return remarks
