"""Files that a plan names, on a machine that does not have them."""

import pytest

from loadtest.crew.messages import SentFile
from loadtest.crew.plan_files import contents, placed
from loadtest.crew.values import NoValue, packed, paths, unpacked


def test_files_and_directories_are_there_by_the_names_that_they_had(tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    (here / "records" / "a").mkdir(parents=True)
    (here / "records" / "a" / "1.json").write_text("one")
    (here / "records" / "2.json").write_text("two")
    (here / "x.jsonl").write_text("three")
    other = here / "more" / "x.jsonl"  # of the same name
    other.parent.mkdir()
    other.write_text("four")
    word = here / "synthetic"  # there is no such file
    plan = packed({"a": (here / "records", here / "x.jsonl"), "b": [other, word, "x"]})
    found = unpacked(plan, placed(list(contents(paths(plan))), there))
    records, first = found["a"]
    assert (records.name, first.name) == ("records", "x.jsonl")
    assert [(records / name).read_text() for name in ("a/1.json", "2.json")] == ["one", "two"]
    assert [first.read_text(), found["b"][0].read_text()] == ["three", "four"]
    assert all(path.is_relative_to(there) for path in (records, first, found["b"][0]))
    assert found["b"][1:] == [word, "x"]


def test_a_plan_from_another_machine_names_no_file_of_this_one(tmp_path):
    """Its lines would go to whatever server the plan names, or into a message."""
    ours = tmp_path / "ours.jsonl"
    ours.write_text("secret")
    place = placed([SentFile("x.jsonl", "", b"theirs")], tmp_path / "in", far=True)
    with pytest.raises(NoValue, match="not sent with it"):
        unpacked(packed({"a": (ours,)}), place)
    assert unpacked(packed(tmp_path / "x.jsonl"), placed([], tmp_path)) == tmp_path / "x.jsonl"
    assert place(type(ours)("x.jsonl")).read_text() == "theirs"


def test_nothing_is_written_outside_of_its_folder(tmp_path):
    for within in ("../x", "a/../../x", "/etc/x"):
        with pytest.raises(NoValue):
            placed([SentFile("a", within, b"")], tmp_path)
    with pytest.raises(NoValue):
        placed([SentFile("..", "", b"")], tmp_path)
    placed([SentFile("../../x", "", b"1"), SentFile("/etc/y", "", b"2")], tmp_path / "in")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]
