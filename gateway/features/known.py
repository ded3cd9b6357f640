"""The rows of all features: those of this gateway, and those of other packages."""

from functools import cache
from typing import TYPE_CHECKING, Final, cast

from configfile.keys import add_part, keys_of, parts_of
from configfile.wording import Wrong, describe
from gateway.features.order import EFFECTIVE
from gateway.named_imports import import_named
from gateway.seams.feature import CONTRACT, Feature

if TYPE_CHECKING:
    from gateway.config.settings import Config


@cache
def features() -> tuple[Feature, ...]:
    """Return the rows of all features in their order. The first call adds the keys of late features to the
    configuration."""
    return tuple(map(_row, range(len(EFFECTIVE))))


def import_early_features() -> None:
    """Import the rows of all features but the late ones, and add their keys to the configuration."""
    for number, line in enumerate(EFFECTIVE):
        if not line.late:
            _row(number)


def imported_features() -> tuple[Feature, ...]:
    """Return the rows of the features with an effect on the configurations that were read, in their order."""
    return tuple(map(_row, sorted(_IMPORTED)))


_IMPORTED: Final[set[int]] = set()
"""The numbers of the imported rows in the order."""


@cache
def _row(number: int) -> Feature:
    feature = cast("Feature", import_named(f"gateway.features.{EFFECTIVE[number].name}.feature:FEATURE"))
    _add_keys(feature, number)
    _IMPORTED.add(number)
    return feature


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
    _add_keys(feature, len(EFFECTIVE))
    return feature


def features_of(config: "Config") -> tuple[Feature, ...]:
    """Return the rows of the features for ``config``, in their order."""
    return (*imported_features(), *map(other_feature, config.features))


def _add_keys(feature: Feature, number: int) -> None:
    for keys in feature.keys:
        add_part(keys.place, keys.keys, number)
