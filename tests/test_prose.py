"""The check of plain English: ``.ci/prose.py`` finds offences, and no folder may get more."""

import importlib
import re
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
    """Return a repository with two pages, with as many offences as the check allows."""
    (tmp_path / ".ci").mkdir()
    for script in SCRIPT.parent.glob("prose*.py"):
        shutil.copy(script, tmp_path / ".ci")
    script = tmp_path / ".ci/prose.py"
    script.write_text(re.sub(r"(?s)ALLOWED: Final = \{.*?\}", 'ALLOWED: Final = {"docs": 3}', script.read_text()))
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/page.md").write_text("What is sent is logged.\n")
    (tmp_path / "docs/other.md").write_text("The client is told.\n")
    git(tmp_path, "init", "-q", "-b", "main")
    (tmp_path / ".gitignore").write_text(".lint_cache/\n__pycache__/\n")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "Change")
    return tmp_path


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the copy of the script in ``folder``."""
    command = [sys.executable, ".ci/prose.py", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments], cwd=folder, check=True)


def test_offences_in_a_page_are_found(prose):
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


def test_offences_in_a_module_are_found(prose):
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
        ("price = 1  \x23 beside others", [(1, "word")]),
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


def test_the_number_of_a_folder_may_not_grow(prose):
    allowed = {"a": 2, "b": 2}
    assert prose.grown_folders({"a": 2, "b": 3, "": 0}, allowed) == {"b": (3, 2)}
    assert prose.grown_folders({"a": 1, "": 1}, allowed) == {"": (1, 0)}


@pytest.mark.process
def test_new_offences_are_listed_with_their_line_and_the_replacement(project):
    assert run(project).returncode == 0
    (project / "docs/page.md").write_text("What is sent is logged.\nThe client is told.\n")
    (project / "new.md").write_text("The client is asked for a key.\n")
    report = run(project)
    assert report.returncode == 1
    assert "docs/page.md:2: word: 'is told" in report.stdout
    assert "new.md:1: word: 'is asked" in report.stdout
    assert "docs/other.md" not in report.stdout
    (project / "new.md").unlink()
    (project / "docs/other.md").unlink()
    assert run(project).returncode == 0
