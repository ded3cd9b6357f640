"""Any value in the place of any key of the documented configurations is valid, or a mistake with an explanation."""

import base64
import contextlib
import gc
import re
from datetime import date
from types import FunctionType, ModuleType
from typing import Any

import pytest
import yaml

from configfile.document import Document
from configfile.expanded import Expanded
from configfile.secret_files import SecretFiles, UnreadFiles
from gateway.commands.listening import options_of
from gateway.config.loading import ConfigError, configure
from gateway.config.settings import Config
from gateway.serving.tls import CertificateFailed
from tests.support.harness import ROOT
from tests.support.places import changed_at, places, value_at

VALUES: tuple[Any, ...] = (
    None, "", " ", "x", "a\nb", 0, -1, 10**400, 0.5, float("nan"), True, date(2026, 1, 1), [], [None], [""], [{}], {},
    {"x": None}, {"type": ["x"]},
)  # fmt: skip
SMALL = {"version": "v0.4.0", "model_providers": [{"model": "openai/gpt-4o"}, {"model": "anthropic/claude-sonnet-4-5"}]}
SECTIONS = [
    {**SMALL, **content}
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    for body in re.findall(r"^```yaml\n(.*?)^```$", page.read_text(), re.M | re.S)
    if isinstance(content := yaml.safe_load(body), dict)
]


def configured(content: Any) -> Config | None:
    try:
        return configure(Document("", content), None, UnreadFiles())
    except ConfigError:
        return None


def kinds_of_places() -> dict[str, tuple[Any, tuple[Any, ...]]]:
    """Return one content and place for each key of the configurations that are valid without an environment."""
    found: dict[str, tuple[Any, tuple[Any, ...]]] = {}
    for content in SECTIONS:
        if configured(content) is not None:
            for place in places(content):
                name = ".".join("[]" if isinstance(step, int) else str(step) for step in place)
                found.setdefault(name, (content, place))
    return found


KEYS = kinds_of_places()
NAMES = sorted(set(re.findall(r"\$\{?([A-Za-z_]\w*)", repr(SECTIONS))))
SECRET = base64.b64encode(b"k" * 32).decode()


def marked_texts(config: Config) -> list[str]:
    """Return the texts in ``config`` with the mark of a variable."""
    seen, waiting, found = set(), [config], []
    while waiting:
        one = waiting.pop()
        if id(one) not in seen and not isinstance(one, type | ModuleType | FunctionType):
            seen.add(id(one))
            waiting += gc.get_referents(one)
            if type(one) is Expanded:
                found.append(one)
    return found


SHIFTS = [pytest.param(n, marks=[pytest.mark.soak] if n % 4 else []) for n in range(len(VALUES))]
"""Each gives every key another of the values."""


@pytest.mark.parametrize("shift", SHIFTS)
def test_no_value_of_a_key_is_an_internal_error(shift):
    assert len(KEYS) > 300
    for number, (content, place) in enumerate(KEYS.values()):
        changed = changed_at(content, place, VALUES[(number + shift) % len(VALUES)])
        if (config := configured(changed)) is not None:
            for listener in config.listeners:
                with contextlib.suppress(CertificateFailed):
                    options_of(listener)


def test_no_text_keeps_the_mark_of_a_variable():
    """Encoders reject classes derived from ``str``: names from variables were missing in the log."""
    number = 0
    for content, place in KEYS.values():
        if isinstance(value := value_at(content, place), str):
            env = {**dict.fromkeys(NAMES, SECRET), "TEXT": value}
            with contextlib.suppress(ConfigError):  # the values of some of the other variables are no secrets
                config = configure(Document("", changed_at(content, place, "$TEXT")), env, SecretFiles())
                assert not marked_texts(config), place
                number += 1
    assert number > 50
