"""Features whose rows are imported with the first file that has their keys."""

import subprocess
import sys
from typing import Final

import pytest

from configfile.keys import keys_of
from gateway.config_files.loading import from_mapping
from gateway.features.known import features
from gateway.features.order import EFFECTIVE
from gateway.seams.feature import Feature
from tests.support.features import needs_feature
from tests.support.harness import ROOT

LATE: Final = [feature for line, feature in zip(EFFECTIVE, features(), strict=True) if line.late]

ENTRY: Final = {"model": "openai/gpt-6", "access_key": "a"}
PLAIN: Final = {"version": "v0.4.0", "model_providers": [ENTRY]}
WITH_MEMBERS: Final = {"version": "v0.4.0", "model_providers": [{**ENTRY, "request": {"set": {"user": "one"}}}]}
PROGRAM: Final = f"""
from gateway.config_files.loading import from_mapping
from gateway.features.known import features_of

for content in ({PLAIN!r}, {WITH_MEMBERS!r}, {PLAIN!r}):
    config = from_mapping(content)
    print(*(feature.name for feature in features_of(config) if feature.is_wanted(config)))
"""


@pytest.mark.parametrize("feature", LATE, ids=lambda feature: feature.name)
def test_a_late_feature_has_no_effect_without_its_keys(feature: Feature):
    assert feature.keys
    assert not feature.is_wanted(from_mapping(PLAIN))
    used_before = (feature.option, feature.secrets, feature.client_source, feature.unwanted_paths)
    assert not any((*used_before, feature.served_clients, feature.supervised))
    assert not any(field.key.ignored for keys in feature.keys for field in keys_of(keys.keys).values())


@pytest.mark.process
@needs_feature("request_members")
def test_a_later_file_has_the_features_of_its_keys():
    command = [sys.executable, "-c", PROGRAM]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    first, second, third = (line.split() for line in found.stdout.splitlines())
    assert {*second} - {*first} == {"request_members"}
    assert third == first
