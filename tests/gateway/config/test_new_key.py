"""A new key is one attribute of one class: everything that people see of it follows."""

import attrs
import pytest

from configfile.document import Document
from configfile.json_schema import json_schema
from configfile.keys import setting
from configfile.kinds import Duration, Secret
from configfile.reading import read
from gateway.config.changes import setting_changes, without_restart_settings
from gateway.config.client_access import AccessNames
from gateway.config.findings import Findings
from gateway.config.issuer_checks import build_issuers
from gateway.config.issuers import AdmitRule, TrustedIssuer
from gateway.config.settings import Config
from tests.pages.configuration import rows


@attrs.frozen
class Extended(Config):
    """The root with two keys more."""

    siesta: Duration = setting("The daily rest of the gateway.", 7200.0, restart=True)
    siesta_key: Secret | None = setting("The key that ends it.", None, shown="none", secret=True)


def said(content):
    """The mistakes in ``content``."""
    return [(fault.path, fault.wrong.words) for fault in read(content, Extended).faults]


def test_it_is_read_and_has_its_default():
    assert read({"siesta": "90m"}, Extended).value.siesta == 5400.0
    assert read({}, Extended).value.siesta == 7200.0


def test_a_wrong_value_is_a_mistake_at_its_place():
    expected = "expected a duration such as 30s, 0.5s or 5m"
    assert said({"siesta": "long"}) == [(("siesta",), ("'long'", expected, None, ()))]


def test_its_name_is_suggested():
    assert said({"sesta": "90m"}) == [(("sesta",), ("unknown key", "", "siesta", ()))]


MEANING = "The daily rest of the gateway. A change needs a restart."


def test_the_page_of_keys_has_a_row():
    assert ("`siesta`", "duration, `2h`", "The daily rest of the gateway. *Restart.*") in rows(Extended)
    assert ("`siesta_key`", "text or file", "The key that ends it.") in rows(Extended)


def test_the_json_schema_describes_it():
    shape = json_schema(Extended, {})["properties"]["siesta"]
    assert shape["description"] == MEANING
    assert shape["default"] == "2h"


@pytest.mark.parametrize(
    ("given", "line"),
    [({"siesta": "90m"}, "~ siesta 2h → 90m (needs a restart)"), ({"siesta_key": "k"}, "~ siesta_key added")],
    ids=["shown", "secret"],
)
def test_a_difference_of_two_files_lists_it(given, line):
    changes = setting_changes(read({}, Extended).value, read(given, Extended).value)
    assert list(map(str, changes)) == [line]


def test_a_reload_keeps_what_needs_a_restart():
    new = read({"siesta": "90m", "siesta_key": "k"}, Extended).value
    found = without_restart_settings(read({}, Extended).value, new)
    assert (found.siesta, found.siesta_key) == (7200.0, "k")


@attrs.frozen
class ExtendedRule(AdmitRule):
    """A rule for people that sets one more of the keys that clients have."""

    foreign_ids: bool = setting("As a client's `foreign_ids`.", False)


def test_a_right_in_a_rule_is_a_right_of_its_people():
    rule = ExtendedRule(when={}, foreign_ids=True)
    config = Config(issuers=(TrustedIssuer("okta", "https://okta.example", ("trigate",), (rule,)),))
    findings = Findings(Document("trigate.yaml", {}), [], (), {})
    [issuer] = build_issuers(config, AccessNames.of(config), findings)
    assert findings.mistakes == []
    assert issuer.admit[0].client.foreign_ids
