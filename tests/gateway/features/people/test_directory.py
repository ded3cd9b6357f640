"""The directory of people: bounded, except for people with running requests, and tables that include people."""

import gc
from weakref import WeakSet

import attrs
import pytest

from gateway.config.clients import ClientKey
from gateway.features.people.directory import PeopleDirectory, PersonTable
from gateway.features.people.records import Person
from gateway.features.people.settings import AdmitRule

RULE = AdmitRule({}, client=ClientKey("okta:*", models=("a",), source="rule"))


def person(number: int) -> Person:
    return Person(f"okta:{number}", None, "okta", 0)


def test_the_people_seen_longest_ago_are_dropped():
    directory = PeopleDirectory(most=100)
    for number in range(1000):
        directory.note(person(number), RULE)
    gc.collect()
    assert len(directory) == 100
    assert directory.find("okta:0") is None
    assert directory.find("okta:999") is not None


def test_the_groups_of_people_are_not_kept():
    """Some issuers send 200 groups of 40 characters in each token."""
    directory = PeopleDirectory()
    with_groups = attrs.evolve(person(1), groups=("ml", "platform"))
    known = directory.note(with_groups, RULE)
    assert known.person.groups == ()
    assert directory.note(with_groups, RULE) is known


def test_a_person_with_a_running_request_is_never_dropped():
    directory = PeopleDirectory(most=10)
    running = directory.note(person(0), RULE)
    for number in range(1, 1000):
        directory.note(person(number), RULE)
    assert directory.find("okta:0") is running


def test_a_person_that_is_seen_again_stays():
    directory = PeopleDirectory(most=10)
    for number in range(1, 1000):
        directory.note(person(0), RULE)
        directory.note(person(number), RULE)
    assert directory.find("okta:0") is not None


def make_table(directory: PeopleDirectory, *, is_own: bool) -> tuple[PersonTable[str], list[str]]:
    made: list[str] = []

    def make(key: ClientKey) -> str | None:
        made.append(key.name)
        return None if key.models is None else f"{key.name} {','.join(key.models)}"

    return PersonTable({"ann": "of the file"}, directory.find, make, is_own=is_own), made


def test_a_table_has_the_file_and_makes_the_values_of_people_once():
    directory = PeopleDirectory()
    kept = [directory.note(person(number), RULE) for number in range(2)]
    shared, made = make_table(directory, is_own=False)
    own, made_own = make_table(directory, is_own=True)
    for _ in range(2):
        assert [shared.get(name) for name in ("ann", "okta:0", "okta:1", "bob")] == [
            "of the file", "okta:* a", "okta:* a", None,
        ]  # fmt: skip
        assert [own[name] for name in ("ann", "okta:0", "okta:1")] == ["of the file", "okta:0 a", "okta:1 a"]
    assert made == ["okta:*"]
    assert made_own == ["okta:0", "okta:1"]
    assert own.get("bob", "default") == "default"
    with pytest.raises(KeyError):
        own["bob"]
    assert len(kept) == 2
    assert list(own.values()) == ["of the file"], "people are not listed"


def test_the_values_of_dropped_people_are_dropped():
    directory, values = PeopleDirectory(most=10), WeakSet[ClientKey]()
    table = PersonTable[ClientKey]({}, directory.find, lambda key: key, is_own=True)
    for number in range(1000):
        directory.note(person(number), RULE)
        values.add(table[f"okta:{number}"])
    gc.collect()
    assert len(values) <= 10


def test_a_person_with_other_labels_is_another_record():
    directory = PeopleDirectory()
    before = directory.note(person(0), RULE)
    assert directory.note(person(0), RULE) is before
    assert directory.note(attrs.evolve(person(0), label="Ada"), RULE) is not before
