"""``.ci/prose.py`` finds odd English, and its ratchet only goes down."""

import importlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.cases import case
from tests.support.repository import ROOT

SCRIPT = ROOT / ".ci/prose.py"
LONG = "word " * 26


@pytest.fixture(scope="module")
def prose():
    sys.path.insert(0, str(SCRIPT.parent))
    try:
        yield importlib.import_module("prose")
    finally:
        sys.path.remove(str(SCRIPT.parent))
        for name in ("prose", "prose_offences", "prose_rules"):
            sys.modules.pop(name)


@pytest.fixture
def project(tmp_path) -> Path:
    """Return a repository with one page and one module, both with offences that the ratchet allows."""
    (tmp_path / ".ci").mkdir()
    for script in SCRIPT.parent.glob("prose*.py"):
        shutil.copy(script, tmp_path / ".ci")
    (tmp_path / "page.md").write_text("What is sent is logged.\n")
    (tmp_path / "module.py").write_text('def asked():\n    """The request."""\n')
    git(tmp_path, "init", "-q", "-b", "main")
    run(tmp_path, "--lower")
    (tmp_path / ".gitattributes").write_text((ROOT / ".gitattributes").read_text())
    (tmp_path / ".gitignore").write_text(".lint_cache/\n__pycache__/\n")
    commit(tmp_path)
    return tmp_path


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the copy of the script in ``folder``."""
    command = [sys.executable, ".ci/prose.py", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments], cwd=folder, check=True)


def commit(folder: Path) -> None:
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "Change")


def test_offences_in_a_page(prose):
    for text, expected in [
        ("You send a request.", []),
        (LONG.strip() + ".", [(1, "long")]),
        (f"- {'word ' * 20}\n- {'word ' * 20}", []),
        (f"| {'word ' * 20} | {'word ' * 20} |", []),
        (f"```\n{LONG}\n```", []),
        (f"`{LONG}`", []),
        ("A line.\n\nA line. What the client\nwants is sent.", [(3, "opening")]),
        ("# Of limits", [(1, "opening")]),
        ("Of course it works. What does it cost?", []),
        ("Whether it works is unknown.", [(1, "opening")]),
        ("One, or two.", [(1, "opening")]),
        ("One of the workers stops.", []),
        ("The client\nis\nasked for a key.", [(2, "word")]),
        ("Run it behind a TLS proxy, and send the `said` header.", []),
        ("A queue behind the first.", [(1, "word")]),
        ("Everyone has a [room](other.md#said).", [(1, "word")]),
        ("It is besides the stand-in.", []),
    ]:
        with case((text, expected)):
            offences = prose.file_offences(Path("page.md"), text)
            assert [(offence.line, offence.rule) for offence in offences] == expected


def test_offences_in_a_module(prose):
    for text, expected in [
        ('def price_of():\n    """Return the price."""', []),
        ('def price_of():\n    """``None`` if it is free."""', [(2, "verb")]),
        ('def price_of():\n    """Whether it is free."""', [(2, "verb")]),
        ('def price_of():\n    """Prices of all models."""', [(2, "verb")]),
        ('def price_of():\n    """Process a request."""', []),
        ('class A:\n    @property\n    def price(self):\n        """Each price."""', []),
        ('class A:\n    price: int\n    """What it costs."""', [(3, "opening")]),
        ('def test_price():\n    """Each price."""', []),
        ("def asked(): ...", [(1, "name")]),
        ("async def _found(): ...", [(1, "name")]),
        ("def need(): ...", []),
        ("def is_asked(): ...", []),
        ("# The client is\n# told why.", [(1, "word")]),
        ("price = 1  # beside others", [(1, "word")]),
        (f"# {LONG}", []),
        ("print('is told')", []),
    ]:
        with case((text, expected)):
            offences = prose.file_offences(Path("module.py"), text)
            assert [(offence.line, offence.rule) for offence in offences] == expected


def test_comments_are_checked_in_other_files(prose):
    assert [offence.rule for offence in prose.file_offences(Path("a.yaml"), "key: told\n# Nobody.")] == [
        "opening",
        "word",
    ]


def test_a_count_may_not_grow(prose):
    assert prose.grown_files({"a": 2, "b": 3, "c": 0}, {"a": 2, "b": 2}) == ["b"]


def test_a_new_file_may_have_as_many_offences_as_other_files_lost(prose):
    assert prose.grown_files({"new": 2}, {"gone": 2}) == []
    assert prose.grown_files({"new": 3}, {"gone": 2}) == ["new"]
    assert prose.grown_files({"new": 2, "split": 3}, {"split": 5}) == []
    assert prose.grown_files({"new": 1, "a": 5, "b": 6}, {"a": 5, "b": 5}) == ["b", "new"]
    assert prose.grown_files({"clean": 1, "a": 4}, {"clean": 0, "a": 5}) == ["clean"]


def test_lowering_keeps_counts_that_have_grown_or_are_not_meant(prose):
    allowed = {"a/x": 5, "a/y": 5, "b": 5, "a/gone": 2}
    counts = {"a/x": 3, "a/y": 7, "b": 3, "new": 2}
    assert prose.lowered(allowed, counts, ["a"]) == {"a/x": 3, "a/y": 5, "b": 5, "new": 2}
    assert prose.lowered(allowed, counts | {"new": 8}, ["a"]) == {"a/x": 3, "a/y": 5, "b": 5}


@pytest.mark.process
def test_new_offences_are_listed_with_their_place_and_the_replacement(project):
    assert run(project).returncode == 0
    (project / "module.py").write_text('# One that is new.\ndef asked():\n    """The request."""\n')
    (project / "new.md").write_text("The client is told.\n")
    report = run(project)
    assert report.returncode == 1
    assert "module.py:1: opening: 'One that is new.' (use the noun)" in report.stdout
    assert "new.md:1: word: 'is told" in report.stdout
    assert "asked" not in report.stdout
    run(project, "--lower")
    assert run(project).returncode == 1


@pytest.mark.process
def test_fewer_offences_pass_and_lower_the_ratchet(project):
    (project / "module.py").write_text("def fetch_page(): ...\n")
    report = run(project)
    assert report.returncode == 0
    assert "2 offences fewer" in report.stdout
    run(project, "--lower", "module.py")
    assert (project / ".ci/prose-ratchet.txt").read_text() == ".ci/prose.py 0\nmodule.py 0\npage.md 2\n"
    assert run(project).stdout == ""


@pytest.mark.process
@pytest.mark.soak
def test_two_changes_of_the_ratchet_merge_to_the_lower_counts(project):
    git(project, "checkout", "-qb", "other")
    (project / "module.py").write_text("def fetch_page(): ...\n")
    run(project, "--lower")
    commit(project)
    git(project, "checkout", "-q", "main")
    (project / "page.md").write_text("What the client sends.\n")
    run(project, "--lower")
    commit(project)
    git(project, "rebase", "-q", "other")
    assert run(project).returncode == 0
    run(project, "--lower")
    assert (project / ".ci/prose-ratchet.txt").read_text() == ".ci/prose.py 0\nmodule.py 0\npage.md 1\n"


@pytest.mark.process
@pytest.mark.slow
def test_the_ratchet_is_close_to_the_counts(prose, monkeypatch):
    if not (ROOT / ".git").exists():
        pytest.skip("no git repository")
    monkeypatch.chdir(ROOT)
    allowed = sum(prose.read_ratchet(prose.RATCHET.read_text()).values())
    counted = sum(map(len, prose.all_offences().values()))
    assert counted <= allowed <= max(counted * 1.25, counted + 100), "run .venv/bin/python .ci/prose.py --lower"
