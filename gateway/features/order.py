"""The order of the features: the only module that lists them.

The order is a decision about security: who may see a text before it is hidden, and who may stop a request before money
is reserved. Hooks run in it, and features end in reverse. To remove a feature, delete its folder and its line."""

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Final, NamedTuple, cast

if TYPE_CHECKING:
    from gateway.config.settings import Config
    from gateway.seams.feature import Feature


class OrderLine(NamedTuple):
    """A feature: the ``name`` of its folder, and the ``reason`` of its place.

    With commands, its module ``interface`` has them as ``COMMANDS``. ``trigate --help`` imports this module, so it
    imports little."""

    name: str
    reason: str
    has_commands: bool = False


ORDER: Final[tuple[OrderLine, ...]] = (
    OrderLine("secret_stores", "its place does not matter: it supplies keys of providers, and sees no request"),
    OrderLine("admin", "before people, who use its tables and its way to serve calls"),
    OrderLine("people", "first of those that identify clients"),
    OrderLine("people.api", "after people; the HTTP API has these calls without issuers, too"),
    OrderLine("people.console", "after people, who sign in for its pages"),
    OrderLine("steps", "before all features that read or send texts: they get what the steps leave", has_commands=True),
    OrderLine("request_members", "before the features that edit each attempt: it edits what the client sent"),
    OrderLine("cache_acts", "after the features that change texts: its marks count what is sent"),
    OrderLine("answer_cache", "after the features that change a request: requests must be equal for the provider"),
    OrderLine("prompt_caches", "after all features that change what is sent: it compares what providers get"),
    OrderLine("recording", "first of the observers: it writes down what the others only count"),
    OrderLine("metrics", "among the observers, whose order does not matter"),
    OrderLine("tracing", "after the metrics, which count its lost spans"),
    OrderLine("live_view", "among the observers, whose order does not matter"),
    OrderLine("kept_ledger", "after the observers: it stores what is settled", has_commands=True),
    OrderLine("model_lists", "among the routes, whose order does not matter"),
    OrderLine("other_endpoints", "among the routes, whose order does not matter"),
    OrderLine("files", "among the routes, whose order does not matter"),
    OrderLine("mcp", "among the routes, whose order does not matter"),
    OrderLine("realtime", "among the routes, whose order does not matter"),
)


@cache
def features() -> "tuple[Feature, ...]":
    """Return the rows of the features in their order. The first call adds their keys to the configuration."""
    found = tuple(cast("Feature", import_module(f"gateway.features.{one.name}.feature").FEATURE) for one in ORDER)
    for feature in found:
        _add_keys(feature)
    return found


@cache
def other_feature(place: str) -> "Feature":
    """Return the feature ``module:NAME`` of another package, and add its keys to the configuration.

    Other features follow those of ``ORDER``. Raises what the import raises, and ``Wrong`` for an object that is no
    feature with this contract."""
    from configfile.wording import Wrong, describe
    from gateway.config.named_imports import import_named
    from gateway.seams.feature import CONTRACT, Feature

    feature = import_named(place)
    if not isinstance(feature, Feature):
        raise Wrong(f"{describe(place)} is no `trigate.features.Feature`", "name one, as `module:NAME`")
    if feature.contract != CONTRACT:
        found = f"it is written for contract {feature.contract}, and this version has contract {CONTRACT}"
        raise Wrong(found, "install a version of its package for this contract")
    _add_keys(feature)
    return feature


def features_of(config: "Config") -> "tuple[Feature, ...]":
    """Return the rows of the features for ``config``, in their order."""
    return (*features(), *map(other_feature, config.features))


def _add_keys(feature: "Feature") -> None:
    from configfile.keys import add_part

    for keys in feature.keys:
        add_part(keys.place, keys.keys)
