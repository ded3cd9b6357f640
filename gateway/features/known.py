"""The rows of all features: those of this gateway, and those of other packages."""

from functools import cache
from typing import TYPE_CHECKING, cast

from configfile.keys import add_part, keys_of, parts_of
from configfile.wording import Wrong, describe
from gateway.features.order import EFFECTIVE
from gateway.named_imports import import_named
from gateway.seams.feature import CONTRACT, Feature

if TYPE_CHECKING:
    from gateway.config.settings import Config


@cache
def features() -> tuple[Feature, ...]:
    """Return the rows of the features in their order. The first call adds their keys to the configuration."""
    places = (f"gateway.features.{one.name}.feature:FEATURE" for one in EFFECTIVE)
    found = tuple(cast("Feature", import_named(place)) for place in places)
    for feature in found:
        _add_keys(feature)
    return found


@cache
def other_feature(place: str) -> Feature:
    """Return the feature ``module:NAME`` of another package, and add its keys to the configuration.

    Other features follow those of ``ORDER``. Raises what the import raises, and ``Wrong`` for an object that is no
    feature with this contract, or whose keys exist already."""
    feature = import_named(place)
    if not isinstance(feature, Feature):
        raise Wrong(f"{describe(place)} is no `trigate.features.Feature`", "name one, as `module:NAME`")
    if feature.contract != CONTRACT:
        found = f"it is written for contract {feature.contract}, and this version has contract {CONTRACT}"
        raise Wrong(found, "install a version of its package for this contract")
    for keys in feature.keys:
        known = sorted(keys_of(keys.place).keys() & keys_of(keys.keys).keys())
        if known and keys.keys not in parts_of(keys.place):
            raise Wrong(f"its key {known[0]} exists already", "rename the key in its package")
    _add_keys(feature)
    return feature


def features_of(config: "Config") -> tuple[Feature, ...]:
    """Return the rows of the features for ``config``, in their order."""
    return (*features(), *map(other_feature, config.features))


def _add_keys(feature: Feature) -> None:
    for keys in feature.keys:
        add_part(keys.place, keys.keys)
