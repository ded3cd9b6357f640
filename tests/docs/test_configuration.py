"""The page of keys has every key that is read, as its class reads it, and the defaults that hold."""

from typing import get_type_hints

import attrs
import pytest
import yaml

from gateway.config import schema
from gateway.config.loading import from_mapping
from gateway.config.reference import KEYS
from providers.neutral.quirks import Quirks
from tests.pages.configuration import PAGE, PLACES, README, WITHOUT_EFFECT, defaults, effective, in_words, page, readme

BARE = {"version": "v0.3.0", "model_providers": [{"model": "openai/gpt-4o"}]}


def test_the_tables_are_those_of_the_classes():
    assert PAGE.read_text() == page(PAGE.read_text()), "run: python -m tests.pages.configuration"


def test_the_readme_lists_what_is_not_here():
    assert README.read_text() == readme(README.read_text()), "run: python -m tests.pages.configuration"


@pytest.mark.parametrize("kind", KEYS, ids=lambda kind: kind.__name__)
def test_every_key_that_is_read_is_explained_and_no_other(kind):
    assert set(KEYS[kind]) == set(effective(kind))
    assert all(in_words(hint) for name, hint in get_type_hints(kind).items() if name in KEYS[kind])


@pytest.mark.parametrize("kind", KEYS, ids=lambda kind: kind.__name__)
def test_a_key_is_required_where_its_class_says_so(kind):
    required = {field.name for field in attrs.fields(kind) if field.default is attrs.NOTHING}
    of_more = {"version", "model_providers"} if kind is schema.RawConfig else set()
    assert {name for name, key in KEYS[kind].items() if key.default == "required"} == required | of_more


def test_every_class_of_the_configuration_has_its_table():
    classes = {value for name, value in vars(schema).items() if name.startswith("Raw")}
    assert set(KEYS) == classes | {Quirks}
    assert set(KEYS) == {*PLACES.values(), schema.RawLegacyListeners, schema.RawTraffic}
    unread = {kind for kind in classes if any(schema.ACCEPTED in field.metadata for field in attrs.fields(kind))}
    assert set(WITHOUT_EFFECT.values()) == unread


def test_the_defaults_on_the_page_are_the_real_ones():
    listener = {"type": "model", **defaults(schema.RawListener)}
    written = {
        **defaults(schema.RawConfig),
        **BARE,
        "listeners": [listener],
        "timeouts": defaults(schema.RawTimeouts),
        "limits": defaults(schema.RawLimits),
        "overrides": defaults(schema.RawOverrides),
        "model_providers": [{**defaults(schema.RawEntry), **BARE["model_providers"][0]}],
    }
    text = yaml.safe_dump(written).replace("'", "")  # as it would be written by hand
    assert len(defaults(schema.RawConfig)) >= 6
    assert from_mapping(yaml.safe_load(text)) == from_mapping(BARE)


def test_the_defaults_of_quirks_are_the_real_ones():
    told = yaml.safe_load(yaml.safe_dump(defaults(Quirks)).replace("'", ""))
    assert {name: str(getattr(Quirks(), name)) for name in told} == {name: str(value) for name, value in told.items()}
    assert told
