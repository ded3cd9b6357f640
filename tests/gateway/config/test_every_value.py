"""Any value in the place of any key of the documented configurations is valid, or a mistake with an explanation."""

import base64
import contextlib
import gc
import re
from collections.abc import Iterator, Mapping
from datetime import date
from functools import cache
from types import FunctionType, ModuleType
from typing import Any, Literal, get_args

import attrs
import pytest
from jsonschema import Draft202012Validator

from configfile.document import Document
from configfile.expanded import Expanded
from configfile.keys import KEY, Given, Key, keys_of, kind_of
from configfile.reading import read
from configfile.secret_files import SecretFiles, UnreadFiles
from gateway.commands.listening import options_of
from gateway.commands.schema import schema
from gateway.config.settings import Config
from gateway.config_files.loading import ConfigError, configure
from gateway.processes.tls import CertificateFailed
from tests.support.each_row import each_row
from tests.support.harness import ROOT
from tests.support.places import changed_at, places, value_at
from tests.support.quick_yaml import load_yaml

VALUES: tuple[Any, ...] = (
    None, "", " ", "x", "a\nb", 0, -1, 10**400, 0.5, float("nan"), True, date(2026, 1, 1), [], [None], [""], [{}], {},
    {"x": None}, {"type": ["x"]},
)  # fmt: skip
SMALL = {"version": "v0.4.0", "model_providers": [{"model": "openai/gpt-4o"}, {"model": "anthropic/claude-sonnet-4-5"}]}
SECTIONS = [
    {**SMALL, **content}
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    for body in re.findall(r"^```yaml\n(.*?)^```$", page.read_text(), re.M | re.S)
    if isinstance(content := load_yaml(body), dict)
]


def configured(content: Any) -> Config | None:
    try:
        return configure(Document("", content), None, UnreadFiles())
    except ConfigError:
        return None


@cache
def kinds_of_places() -> dict[str, tuple[Any, tuple[Any, ...]]]:
    """Return one content and place for each key of the configurations that are valid without an environment."""
    found: dict[str, tuple[Any, tuple[Any, ...]]] = {}
    for content in SECTIONS:
        if configured(content) is not None:
            for place in places(content):
                name = ".".join("[]" if isinstance(step, int) else str(step) for step in place)
                found.setdefault(name, (content, place))
    return found


SCHEMA = Draft202012Validator(schema())
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
    assert len(kinds_of_places()) > 300
    for number, (content, place) in enumerate(kinds_of_places().values()):
        changed = changed_at(content, place, VALUES[(number + shift) % len(VALUES)])
        if (config := configured(changed)) is not None:
            for listener in config.listeners:
                with contextlib.suppress(CertificateFailed):
                    options_of(listener)


def test_no_text_keeps_the_mark_of_a_variable():
    """Encoders reject classes derived from ``str``: names from variables were missing in the log."""
    number = 0
    for content, place in kinds_of_places().values():
        if isinstance(value := value_at(content, place), str):
            env = {**dict.fromkeys(NAMES, SECRET), "TEXT": value}
            with contextlib.suppress(ConfigError):  # the values of some of the other variables are no secrets
                config = configure(Document("", changed_at(content, place, "$TEXT")), env, SecretFiles())
                assert not marked_texts(config), place
                number += 1
    assert number > 50


def is_valid(content: Any, env: Mapping[str, str] | None) -> bool:
    try:
        configure(Document("", content), env, UnreadFiles())
    except ConfigError:
        return False
    return True


def test_a_variable_can_give_each_number_and_boolean():
    """The check with and without the environment and the schema agree."""
    number = 0
    for content, place in kinds_of_places().values():
        value = value_at(content, place)
        env = {**{name: f"{SECRET[:-6]}{i:04}k=" for i, name in enumerate(NAMES)}, "TEXT": str(value).lower()}
        if isinstance(value, bool | int | float) and is_valid(content, env):
            changed = changed_at(content, place, "$TEXT")
            assert is_valid(changed, env), place
            assert is_valid(changed, None), place
            assert SCHEMA.is_valid(changed), place
            number += 1
    assert number > 30


WORDS = {"true": True, "False": False, "1": True, "0": False, "on": True, "NO": False}


def boolean_types(of: Any, seen: set[Any]) -> Iterator[Any]:
    """Yield the types of keys below the type ``of`` that are booleans, or that may be written as one."""
    if of in seen:
        return
    seen.add(of)
    kind = kind_of(of)
    parts = () if kind is None else kind.parts
    if of is bool or bool in parts or Literal[False] in parts:
        yield of
    of = of.cls if isinstance(of, Given) else of
    is_mapping = isinstance(of, type) and attrs.has(of)
    for part in [field.type for field in keys_of(of).values()] if is_mapping else (*parts, *get_args(of)):
        yield from boolean_types(part, seen)


@each_row(("text", "meaning"), WORDS.items())
def test_every_key_with_a_boolean_takes_these_words(text, meaning):
    found = list(boolean_types(Config, set()))
    assert len(found) > 5
    for of in found:
        file = attrs.make_class("File", {"key": attrs.field(type=of, metadata={KEY: Key()})})
        given, written = (read({"key": value}, file) for value in (Expanded(text), meaning))
        assert given.value == written.value, of
        assert [one.wrong.words for one in given.faults] == [one.wrong.words for one in written.faults], of


@pytest.mark.parametrize("text", ["maybe", "", "2"])
def test_another_word_of_a_variable_is_a_mistake(text):
    with pytest.raises(ConfigError, match=r"^websocket: the variable's value; expected true or false[.]$"):
        configure(Document("", {**SMALL, "websocket": "$TEXT"}), {"TEXT": text}, UnreadFiles())


@each_row("key", ["model_aliases", "budgets", "timeouts", "client_keys", "cors"])
def test_no_variable_gives_a_list_or_mapping(key):
    content = {**SMALL, key: "$TEXT"}
    assert not is_valid(content, {"TEXT": "x"})
    assert not is_valid(content, None)
    assert not SCHEMA.is_valid(content)
