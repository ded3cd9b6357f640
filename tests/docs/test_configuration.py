"""The page of keys has every key that is read, as its class reads it, and the defaults that hold."""

import yaml

from configfile.keys import keys_of
from gateway.config.limits import Limits
from gateway.config.listening import LegacyListener, LegacyListeners, Listener
from gateway.config.model_entry import ModelEntry
from gateway.config.settings import Config, Overrides
from gateway.config_files.loading import from_mapping
from providers.neutral.quirks import Quirks
from streams.timeouts import Timeouts
from tests.pages.configuration import (
    CLASSES,
    INLINED,
    KINDS,
    PAGE,
    PARTS,
    README,
    WITHOUT_EFFECT,
    defaults,
    page,
    read_keys,
    readme,
)
from tests.support.declared import classes_of
from tests.support.each_row import each_row
from tests.support.features import describes_all_features

BARE = {"version": "v0.3.0", "model_providers": [{"model": "openai/gpt-4o"}]}


@describes_all_features
def test_the_tables_match_the_classes():
    assert PAGE.read_text() == page(PAGE.read_text()), "run: python -m tests.pages.configuration"


@describes_all_features
def test_the_readme_lists_the_missing_features():
    assert README.read_text() == readme(README.read_text()), "run: python -m tests.pages.configuration"


@each_row("cls", classes_of(Config), ids=lambda cls: cls.__name__)
def test_every_key_that_is_read_is_explained(cls):
    unexplained = {field.name for field in read_keys(cls) if not field.key.meaning}
    assert unexplained <= {"port", "address"}  # which their names explain


def test_every_class_of_the_configuration_has_its_table():
    classes = classes_of(Config)
    kinds = {row.settings_class for row in KINDS.values()}
    assert {*classes, *kinds} == {*CLASSES.values(), *INLINED, *PARTS, LegacyListeners, LegacyListener}
    assert all(keys_of(part).keys() <= keys_of(whole).keys() for part, whole in PARTS.items())
    without_effect = {cls for cls in classes if any(field.key.ignored for field in keys_of(cls).values())}
    assert set(WITHOUT_EFFECT.values()) == without_effect


def test_the_defaults_on_the_page_are_the_real_ones():
    listener = {"type": "model", **defaults(Listener)}
    written = {
        **defaults(Config),
        **BARE,
        "listeners": [listener],
        "timeouts": defaults(Timeouts),
        "limits": defaults(Limits),
        "overrides": defaults(Overrides),
        "model_providers": [{**defaults(ModelEntry), **BARE["model_providers"][0]}],
    }
    text = yaml.safe_dump(written).replace("'", "")  # as it would be written by hand
    assert len(defaults(Config)) >= 6
    assert from_mapping(yaml.safe_load(text)) == from_mapping(BARE)


def test_the_defaults_of_quirks_are_the_real_ones():
    told = yaml.safe_load(yaml.safe_dump(defaults(Quirks)).replace("'", ""))
    assert {name: str(getattr(Quirks(), name)) for name in told} == {name: str(value) for name, value in told.items()}
    assert told
