"""Mistakes and warnings about ``prompt_cache`` of the root, and the causes on the pages."""

from typing import get_args

import pytest

from configfile.document import ConfigError
from gateway.config_files.loading import from_mapping
from gateway.features.prompt_caches.interface import CauseName
from tests.pages.tables import rows_of
from tests.support.features import needs_feature
from tests.support.harness import ROOT, config, provider

URL = "https://api.example/v1"
NAMES = get_args(CauseName)


def texts_of(**more):
    entry = provider("anthropic/claude-sonnet-4-6", URL, ["messages"])
    return from_mapping(config([entry], 12000, **more))


@needs_feature("live_view")
def test_texts_without_a_key_or_a_page_are_a_warning():
    wanted = {"prompt_cache": {"texts": "16MiB"}}
    (found,) = [one for one in texts_of(**wanted).warnings if "prompt_cache" in one]
    assert "Set ui_key" in found
    assert not [one for one in texts_of(**wanted, ui_key="x" * 32).warnings if "prompt_cache" in one]
    keys = [{"name": "me", "key": "y" * 32}]
    assert not [one for one in texts_of(**wanted, client_keys=keys).warnings if "prompt_cache" in one]
    assert not [one for one in texts_of(prompt_cache={}).warnings if "prompt_cache" in one]


@needs_feature("live_view")
def test_texts_that_no_page_shows_are_a_warning():
    (found,) = [one for one in texts_of(prompt_cache={"texts": "16MiB"}, ui=False).warnings if "prompt_cache" in one]
    assert "`ui: false` turns it off" in found


@pytest.mark.parametrize("size", ["1KiB", "2GiB", -1])
def test_texts_have_a_size_within_bounds(size):
    with pytest.raises(ConfigError, match="texts"):
        texts_of(prompt_cache={"texts": size})


def test_every_cause_is_on_the_pages():
    page = (ROOT / "docs/prompt-caching.md").read_text()
    explained = [word for first, *_ in rows_of(page, "Causes") for word in first.replace("`", "").split(", ")]
    assert sorted(explained) == sorted(NAMES)
    (label,) = (text for name, text in rows_of((ROOT / "docs/metrics.md").read_text(), "Labels") if name == "cause")
    assert [name for name in NAMES if f"`{name}`" not in label] == []
